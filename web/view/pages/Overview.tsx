/** `/`: every service, what it burns now and what moved. Empty, it shows how the first profile gets here. */
import { useEffect, useRef } from "preact/hooks";
import { apiPath, getJson } from "../api/client";
import type { Partial, Service, TephraEvent } from "../api/contract";
import { useResource } from "../api/resource";
import { here, href, setParams } from "../state/location";
import { type Range, readRange } from "../state/time";
import * as fmt from "../ui/format";
import { PartialNote } from "../ui/PartialNote";
import { RangeChoice } from "../ui/RangeChoice";
import { Shell } from "../ui/Shell";
import { marksOf, Spark } from "../ui/Spark";
import { capital, Failure, Loading, Progress } from "../ui/States";
import { Bar } from "../ui/VirtualRows";
import { FirstRun } from "./FirstRun";
import { type Moved, movedAgainst } from "./moved";
import { aroundOnset, canTell, deployBefore, type Onset, onsetIn } from "./onset";
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
  const deploys = useResource(
    apiPath("/api/v1/events", { from: Math.round(range.from), until: Math.round(range.until) }),
    (path, signal) => getJson<{ events: TephraEvent[] }>(path, signal),
  );
  const events = deploys.state.value.value?.events ?? [];
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
      {!value && loading ? <Loading what="Asking for services" page /> : null}
      {!value && error ? <Failure error={error} retry={services.retry} page /> : null}
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
          <Changed services={value.services} events={events} range={range} />
          <ServiceTable
            services={value.services}
            events={events}
            baselines={(baselines.state.value.value ?? []).map((b) => b.services)}
            length={length}
            range={range}
          />
        </section>
      ) : null}
    </Shell>
  );
}

/** Where a step of a service leads: the comparison of before and after it. */
function onsetLink(service: string, onset: Onset, range: Range): string {
  const { a, b } = aroundOnset(onset, range);
  return href("/diff", {
    service,
    "a.from": Math.round(a.from),
    "a.until": Math.round(a.until),
    "b.from": Math.round(b.from),
    "b.until": Math.round(b.until),
  });
}

/** What changed most within the range, in one sentence. */
function Changed({ services, events, range }: { services: Service[]; events: TephraEvent[]; range: Range }) {
  const steps = services
    .map((s) => ({ name: s.name, onset: onsetIn(s.spark, range) }))
    .flatMap(({ name, onset }) => (onset ? [{ name, onset }] : []))
    .sort((x, y) => Math.abs(y.onset.after - y.onset.before) - Math.abs(x.onset.after - x.onset.before));
  const most = steps[0];
  if (!most) return null;
  const { name, onset } = most;
  const deploy = deployBefore(onset, name, events);
  const more = onset.after > onset.before;
  return (
    <p class="changed" data-testid="changed">
      <b>{name}</b> uses{" "}
      <b class={more ? "is-more" : "is-less"}>
        {fmt.value(Math.abs(onset.after - onset.before), "cores")} {more ? "more" : "less"} CPU
      </b>{" "}
      ({fmt.change(onset.before, onset.after)}) since {fmt.time(onset.at)}
      {deploy ? (
        <>
          , when <b>{deploy.title}</b> was deployed
        </>
      ) : null}
      .{" "}
      <a href={onsetLink(name, onset, range)} data-testid="changed-link">
        Why?
      </a>
      {steps.length > 1 ? (
        <span class="quiet"> {fmt.plural(steps.length - 1, "other service")} changed, too.</span>
      ) : null}
    </p>
  );
}

interface TableProps {
  services: Service[];
  events: TephraEvent[];
  /** Last week, yesterday, just before. */
  baselines: Service[][];
  length: number;
  range: Range;
}

const BASELINE_WORD = ["last week", "yesterday", "just before"];

function ServiceTable({ services, events, baselines, length, range }: TableProps) {
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
          <th scope="col" class="num">
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
          const onset = onsetIn(s.spark, range);
          const marks = marksOf(
            events.filter((e) => e.service === s.name),
            range,
          );
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
              <td class="num share">
                <Bar share={s.cpu_cores / all} />
                <span>{fmt.percent(s.cpu_cores / all)}</span>
              </td>
              <td class="spark-cell">
                <Spark values={s.spark} max={most} marks={marks} />
              </td>
              <td>
                {onset ? (
                  <MovedCell
                    moved={{ before: onset.before, after: onset.after, significant: true }}
                    word={`since ${fmt.time(onset.at)}`}
                    diff={onsetLink(s.name, onset, range)}
                  />
                ) : moved ? (
                  <MovedCell moved={moved} word={`vs ${BASELINE_WORD[k]!}`} diff={diff} />
                ) : (
                  <span class="quiet">{canTell(s.spark) ? "no clear step" : "too little data to tell"}</span>
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
      <span class="quiet">{word}</span>
    </a>
  );
}
