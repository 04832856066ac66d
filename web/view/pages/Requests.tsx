/** Requests by route, with the slowest traces one click away: averages hide what one request burned. */
import { apiPath, getJson } from "../api/client";
import type { RequestsAnswer } from "../api/contract";
import { useResource } from "../api/resource";
import { chosenParams, SLOWEST } from "../state/chosen";
import { here, setParams } from "../state/location";
import type { Range } from "../state/time";
import * as fmt from "../ui/format";
import { PartialNote } from "../ui/PartialNote";
import { RouteButton } from "../ui/RouteButton";
import { Empty, Failure, Loading } from "../ui/States";
import { Bar } from "../ui/VirtualRows";
import { LatencyMap } from "./LatencyMap";
import { labelsOf } from "./selection";

const SLOWEST_SHOWN = 5;

/** Columns that a phone has no room for. */
const MINOR = /^[RES]|p90/;

export function Requests({ service, range }: { service: string; range: Range }) {
  // All routes stay in the table when one of them is chosen.
  const { "label.route": _, ...labels } = labelsOf(here.value.params);
  const time = { from: Math.round(range.from), until: Math.round(range.until) };
  const path = apiPath("/api/v1/requests", { service, ...time, ...labels });
  const requests = useResource(path, (p, signal) => getJson<RequestsAnswer>(p, signal));
  const { value, error } = requests.state.value;
  if (error) return <Failure error={error} retry={requests.retry} />;
  if (!value) return <Loading what="Counting requests" />;
  if (value.routes.length === 0)
    return (
      <Empty title="No requests were recorded here">
        <p>
          Spans come from the agent's <code>tower_layer()</code> or <code>tracing_layer()</code>; without them samples
          carry no trace.
        </p>
      </Empty>
    );
  const all = value.routes.reduce((sum, r) => sum + r.count, 0) || 1;
  const us = (n: number) => fmt.duration(n / 1000);
  return (
    <>
      <PartialNote partial={value.partial} />
      <LatencyMap service={service} range={range} labels={labels} routes={value.routes.map((r) => r.route)} />
      <div class="scroll-x">
        <table class="plain" data-testid="requests">
          <thead>
            <tr>
              <th scope="col">Route</th>
              {["Requests", "% of all", "Errors", "p50", "p90", "p99", "Slowest"].map((h) => (
                <th scope="col" class={MINOR.test(h) ? "num hide-narrow" : "num"} key={h}>
                  {h}
                </th>
              ))}
              <th scope="col">Slowest traces</th>
            </tr>
          </thead>
          <tbody>
            {value.routes.map((r) => (
              <tr key={r.route}>
                <th scope="row">
                  <RouteButton route={r.route} />
                  {r.route === "" ? null : (
                    <button
                      type="button"
                      class="link why-link"
                      aria-label={`Why slow requests to ${r.route} are slow`}
                      onClick={() => setParams({ ...chosenParams(SLOWEST), route: r.route })}
                    >
                      why slow?
                    </button>
                  )}
                </th>
                <td class="num hide-narrow">{fmt.count(r.count)}</td>
                <td class="num share">
                  <Bar share={r.count / all} />
                  <span>{fmt.percent(r.count / all)}</span>
                </td>
                <td class="num hide-narrow">{r.error_share > 0 ? fmt.percent(r.error_share) : "–"}</td>
                <td class="num">{us(r.p50_us)}</td>
                <td class="num hide-narrow">{us(r.p90_us)}</td>
                <td class="num strong">{us(r.p99_us)}</td>
                <td class="num hide-narrow">{us(r.max_us)}</td>
                <td>
                  {r.slowest.slice(0, SLOWEST_SHOWN).map((t) => (
                    <a
                      class="trace-link"
                      key={t.trace_id}
                      href={`/trace/${t.trace_id}`}
                      title={`${t.trace_id}, ${t.status}`}
                    >
                      {us(t.duration_us)}
                    </a>
                  ))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
