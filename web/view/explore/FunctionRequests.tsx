/** Whose requests the selected function works for: routes by their share of its cost, and traces in which it cost most. */
import { signal } from "@preact/signals";
import { getJson } from "../api/client";
import type { FunctionAnswer } from "../api/contract";
import { useResource } from "../api/resource";
import * as fmt from "../ui/format";
import { PartialNote } from "../ui/PartialNote";
import { RouteButton } from "../ui/RouteButton";
import { FailureLine } from "../ui/States";
import { Bar } from "../ui/VirtualRows";

/** Asked once, it is answered for every function that is selected. */
const open = signal(false);

const ROUTES_SHOWN = 6;

export function FunctionRequests({ path }: { path: string }) {
  return (
    <details
      class="function-requests"
      data-testid="function-requests"
      open={open.value}
      onToggle={(e) => (open.value = e.currentTarget.open)}
    >
      <summary>Requests it works for</summary>
      {open.value ? <Found path={path} /> : null}
    </details>
  );
}

function Found({ path }: { path: string }) {
  const asked = useResource(path, (p, signal) => getJson<FunctionAnswer>(p, signal), path);
  const { value, error } = asked.state.value;
  if (error) return <FailureLine error={error} retry={asked.retry} />;
  if (!value) return <p class="quiet">Asking whose requests these are …</p>;
  if (value.routes.every((r) => r.route === ""))
    return <p class="quiet">No sample of it was taken in a request with a route.</p>;
  const us = (n: number) => fmt.duration(n / 1000);
  const amount = (v: number) => fmt.value(v, value.type.unit);
  return (
    <>
      <PartialNote partial={value.partial} />
      <table class="facts">
        <thead>
          <tr>
            <th scope="col">Route</th>
            <th scope="col">of its cost</th>
            <th scope="col">p50</th>
            <th scope="col">p99</th>
          </tr>
        </thead>
        <tbody>
          {value.routes.slice(0, ROUTES_SHOWN).map((r) => (
            <tr key={r.route}>
              <th scope="row">
                <RouteButton route={r.route} />
              </th>
              <td class="share">
                <Bar share={r.share} />
                <span>{fmt.percent(r.share)}</span>
              </td>
              <td>{r.requests ? us(r.requests.p50_us) : "–"}</td>
              <td>{r.requests ? us(r.requests.p99_us) : "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {value.traces.length > 0 ? (
        <>
          <p class="quiet">Costliest of the {value.looked_at} slowest requests of these routes:</p>
          <ol class="trace-list">
            {value.traces.map((t) => (
              <li key={t.trace_id}>
                <a href={`/trace/${t.trace_id}`}>
                  <b class="num">{amount(t.value)}</b> of {us(t.duration_us)} · {t.route}
                </a>
              </li>
            ))}
          </ol>
        </>
      ) : (
        <p class="quiet">None of the {value.looked_at} slowest requests of these routes holds a sample of it.</p>
      )}
    </>
  );
}
