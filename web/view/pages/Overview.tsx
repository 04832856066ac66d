/** `/`: every service, what it burns now and what moved. Empty, it shows how the first profile gets here. */
import { useEffect, useRef } from "preact/hooks";
import { apiPath, getJson } from "../api/client";
import type { Partial, Service } from "../api/contract";
import { useResource } from "../api/resource";
import { here, href, setParams } from "../state/location";
import { readRange } from "../state/time";
import * as fmt from "../ui/format";
import { PartialNote } from "../ui/PartialNote";
import { RangeChoice } from "../ui/RangeChoice";
import { Shell } from "../ui/Shell";
import { Spark } from "../ui/Spark";
import { capital, Failure, Loading, Progress } from "../ui/States";
import { Bar } from "../ui/VirtualRows";
import { FirstRun } from "./FirstRun";
import { type Moved, movedAgainst } from "./moved";
import { now, refresh } from "./selection";

interface Answer {
  services: Service[];
  partial?: Partial;
}

const WAITING_MS = 3_000;
const LIVE_MS = 30_000;

export function Overview() {
  const params = here.value.params;
  const range = readRange(params.get("from") ?? "", params.get("until") ?? "", now.value);
  const length = range.until - range.from;
  const at = (shift: number) =>
    apiPath("/api/v1/services", { from: Math.round(range.from - shift), until: Math.round(range.until - shift) });
  const services = useResource(at(0), (path, signal) => getJson<Answer>(path, signal));
  const baselines = useResource([604_800e3, 86_400e3, length].map(at).join(" "), (paths, signal) =>
    Promise.all(paths.split(" ").map((path) => getJson<Answer>(path, signal).catch(() => ({ services: [] })))),
  );
  const { value, error, loading } = services.state.value;
  // When the answer on the page came.
  const seen = useRef(0);
  useEffect(() => {
    seen.current = Date.now();
  }, [value]);
  const empty = value?.services.length === 0;
  const relative = !/^\d|Z$/.test(params.get("until") ?? "");
  useEffect(() => {
    if (!relative) return;
    const timer = setInterval(
      () => {
        if (document.visibilityState === "visible") refresh();
      },
      empty || error ? WAITING_MS : LIVE_MS,
    );
    return () => clearInterval(timer);
  }, [empty, error !== null, relative]);

  return (
    <Shell title="Services" narrow={!!empty}>
      {empty ? <FirstRun /> : null}
      {!value && loading ? <Loading what="Asking for services" /> : null}
      {!value && error ? <Failure error={error} retry={services.retry} /> : null}
      {value && !empty ? (
        <section class="page" aria-label="Services">
          <Progress on={loading} />
          <div class="page-head">
            <h1>Services</h1>
            <p class="quiet">
              {fmt.plural(value.services.length, "service")} ·{" "}
              {fmt.value(
                value.services.reduce((s, x) => s + x.cpu_cores, 0),
                "cores",
              )}{" "}
              · {fmt.range(range.from, range.until)}
            </p>
            <div class="bar-end">
              <RangeChoice params={params} range={range} onChange={(from) => setParams({ from, until: null })} />
            </div>
          </div>
          {error ? (
            <p class="note is-cut" role="alert" data-testid="stale">
              {capital(error.message)}. This is what it said {fmt.ago(seen.current, Date.now())}; it is asked again
              every {fmt.duration(WAITING_MS)}.
            </p>
          ) : null}
          <PartialNote partial={value.partial} />
          <ServiceTable
            services={value.services}
            baselines={(baselines.state.value.value ?? []).map((b) => b.services)}
            length={length}
            range={range}
          />
        </section>
      ) : null}
    </Shell>
  );
}

interface TableProps {
  services: Service[];
  /** Last week, yesterday, just before. */
  baselines: Service[][];
  length: number;
  range: { from: number; until: number };
}

const BASELINE_WORD = ["last week", "yesterday", "just before"];

function ServiceTable({ services, baselines, length, range }: TableProps) {
  const all = services.reduce((sum, s) => sum + s.cpu_cores, 0) || 1;
  const most = Math.max(...services.flatMap((s) => s.spark.map((v) => v ?? 0)));
  const shifts = [604_800e3, 86_400e3, length];
  const carried = here.value.params.get("from");
  return (
    <table class="services" data-testid="services">
      <thead>
        <tr>
          <th scope="col">Service</th>
          <th scope="col" class="num">
            CPU
          </th>
          <th scope="col" class="num hide-narrow">
            % of all
          </th>
          <th scope="col" class="spark-cell">
            <span class="off-screen">CPU over the range</span>
          </th>
          <th scope="col">Moved</th>
          <th scope="col" class="num hide-narrow">
            Instances
          </th>
          <th scope="col" class="hide-narrow">
            Versions
          </th>
          <th scope="col" class="num hide-narrow">
            Last seen
          </th>
        </tr>
      </thead>
      <tbody>
        {services.map((s) => {
          const k = baselines.findIndex((list) =>
            list.some((x) => x.name === s.name && x.spark.some((v) => v !== null)),
          );
          const base = k < 0 ? null : baselines[k]!.find((x) => x.name === s.name)!;
          const moved = base ? movedAgainst(base.spark, s.spark) : null;
          const diff = href("/diff", {
            service: s.name,
            "a.from": Math.round(range.from - (shifts[k] ?? 0)),
            "a.until": Math.round(range.until - (shifts[k] ?? 0)),
            "b.from": Math.round(range.from),
            "b.until": Math.round(range.until),
          });
          return (
            <tr key={s.name} data-testid="service-row" data-service={s.name}>
              <th scope="row">
                <a href={href(`/s/${encodeURIComponent(s.name)}`, { from: carried })}>{s.name}</a>
              </th>
              <td class="num strong">{fmt.value(s.cpu_cores, "cores")}</td>
              <td class="num share hide-narrow">
                <Bar share={s.cpu_cores / all} />
                <span>{fmt.percent(s.cpu_cores / all)}</span>
              </td>
              <td class="spark-cell">
                <Spark values={s.spark} max={most} />
              </td>
              <td>
                {moved ? (
                  <MovedCell moved={moved} word={BASELINE_WORD[k]!} diff={diff} />
                ) : (
                  <span class="quiet">no earlier data</span>
                )}
              </td>
              <td class="num hide-narrow">{fmt.count(s.instances)}</td>
              <td class="hide-narrow quiet">{(s.labels.version ?? []).slice(0, 3).join(", ") || "–"}</td>
              <td class="num hide-narrow quiet">{fmt.ago(s.last_seen, Date.now())}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function MovedCell({ moved, word, diff }: { moved: Moved; word: string; diff: string }) {
  const text = fmt.change(moved.before, moved.after);
  return (
    <a
      href={diff}
      class={`moved${moved.significant ? (moved.after > moved.before ? " is-more" : " is-less") : " is-noise"}`}
    >
      <b class="num">{moved.significant ? `${moved.after > moved.before ? "▲" : "▽"} ${text}` : "within noise"}</b>{" "}
      <span class="quiet">vs {word}</span>
    </a>
  );
}
