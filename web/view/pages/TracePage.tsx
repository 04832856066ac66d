/** `/trace/{id}`: what the requests of one trace burned, across services. */
import { useMemo } from "preact/hooks";
import { getJson } from "../api/client";
import type { Span, TraceAnswer } from "../api/contract";
import { useResource } from "../api/resource";
import { Explorer } from "../explore/Explorer";
import { flameFromJson } from "../profile/decode";
import type { Profile } from "../profile/tree";
import { here, href, setParams } from "../state/location";
import { isNarrow } from "../state/screen";
import * as fmt from "../ui/format";
import { PartialNote } from "../ui/PartialNote";
import { Shell } from "../ui/Shell";
import { Empty, Failure, Loading } from "../ui/States";
import { axisOf } from "./axis";
import { mostOf, ticksBySpan } from "./ticks";

const HZ = 99;

type TracedService = TraceAnswer["services"][number];

export function TracePage({ id }: { id: string }) {
  const trace = useResource(
    `/api/v1/traces/${encodeURIComponent(id)}`,
    (path, signal) => getJson<TraceAnswer>(path, signal),
    id,
  );
  const { value, error, loading } = trace.state.value;
  return (
    <Shell title={`Trace ${id.slice(0, 8)}`}>
      <section class="page" aria-label="Trace">
        {loading && !value ? <Loading what="Looking for the trace in all services" page /> : null}
        {error ? <Failure error={error} retry={trace.retry} page={!value} /> : null}
        {value ? <Trace trace={value} /> : null}
      </section>
    </Shell>
  );
}

function Trace({ trace }: { trace: TraceAnswer }) {
  const params = here.value.params;
  const service = trace.services.find((s) => s.service === params.get("svc")) ?? mostOf(trace.services);
  const types = service?.types ?? [];
  const chosen =
    types.find((t) => t.type.name === params.get("type")) ??
    types.find((t) => t.type.name === "cpu" && t.total > 0) ??
    types.find((t) => t.total > 0) ??
    types[0];
  const profile = useMemo(() => (chosen ? inTotals(flameFromJson(chosen.flame)) : null), [chosen]);
  const spans = trace.services.flatMap((s) => s.spans);
  const longest = Math.max(0, ...spans.map((s) => s.duration_us)) / 1000;
  const samplesOf = (type: string) =>
    trace.services.reduce((n, s) => n + (s.types.find((t) => t.type.name === type)?.samples ?? 0), 0);
  const allocSamples = samplesOf("alloc_space");
  return (
    <>
      <div class="page-head">
        <h1>
          Trace <code class="trace-id">{trace.trace_id}</code>
        </h1>
        <p class="quiet">
          {fmt.plural(trace.services.length, "service")} · {fmt.plural(spans.length, "span")}
          {longest > 0 ? ` · longest ${fmt.duration(longest)}` : ""} · {fmt.plural(samplesOf("cpu"), "CPU sample")}
          {allocSamples > 0 ? ` · ${fmt.plural(allocSamples, "allocation sample")}` : ""} ·{" "}
          {fmt.range(trace.from, trace.until)}
        </p>
      </div>
      <PartialNote partial={trace.partial} then="" />
      {service && service.samples_left_out > 0 ? (
        <p class="note is-cut" role="status">
          The first {fmt.count(service.samples.length)} samples of {service.service} are drawn in time, and{" "}
          {fmt.count(service.samples_left_out)} later ones are not; its flame graph has them all.
        </p>
      ) : null}
      <Waterfall trace={trace} chosen={service?.service ?? ""} />
      {service ? (
        <div class="page-head is-sub">
          <div class="segments" role="group" aria-label="Service">
            {trace.services.map((s) => (
              <button
                key={s.service}
                type="button"
                aria-pressed={s === service}
                onClick={() => setParams({ svc: s.service, type: null, focus: null, z: null, sel: null })}
              >
                {s.service}
              </button>
            ))}
          </div>
          <div class="segments" role="group" aria-label="Profile type" data-testid="types">
            {types.map((t) => (
              <button
                key={t.type.name}
                type="button"
                data-type={t.type.name}
                aria-pressed={t === chosen}
                onClick={() => setParams({ type: t.type.name, focus: null, z: null })}
              >
                {fmt.typeLabel(t.type.name)} <span class="quiet num">{fmt.count(t.samples)}</span>
              </button>
            ))}
          </div>
          <span class="bar-end">
            <a
              href={href(`/s/${encodeURIComponent(service.service)}`, {
                from: Math.round(trace.from - 300e3),
                until: Math.round(trace.until + 300e3),
                type: chosen?.type.name,
              })}
            >
              All of {service.service} around that time
            </a>
          </span>
        </div>
      ) : null}
      {profile && chosen && chosen.total > 0 ? (
        <Explorer key={`${service!.service} ${chosen.type.name}`} profile={profile} loading={false} />
      ) : null}
      {service && !(chosen && chosen.total > 0) ? <NoSamples service={service} /> : null}
    </>
  );
}

/** A trace is too short for rates: its cost is time and bytes, not cores. */
function inTotals(profile: Profile): Profile {
  const { a, type } = profile.header;
  return { ...profile, header: { ...profile.header, a: { ...a, value: a.total, unit: type.unit } } };
}

/** Why there is nothing, with the odds. */
function NoSamples({ service }: { service: TracedService }) {
  const ms = service.spans.reduce((s, x) => s + x.duration_us / 1000, 0);
  const miss = Math.exp((-ms / 1000) * HZ);
  return (
    <Empty title={`No samples in ${service.service}`}>
      <p>
        {ms > 0
          ? `0 samples in ${fmt.duration(ms)} at ${HZ} Hz: even if it had computed all the time, a miss is expected in ${fmt.percent(miss)} of cases; time spent waiting is never sampled.`
          : "The trace id was seen, but no sample carries it."}
      </p>
      <p>
        <a href={href(`/s/${encodeURIComponent(service.service)}`, { view: "requests" })}>
          Look at all requests of {service.service}
        </a>
      </p>
    </Empty>
  );
}

/** More spans than fit a screen are counted, not drawn. */
const SPANS_MAX = 60;
/** Of a phone's width. */
const TICK_ROOM_NARROW = 0.2;

function Waterfall({ trace, chosen }: { trace: TraceAnswer; chosen: string }) {
  const rows = trace.services
    .flatMap((s) => s.spans.map((span) => ({ service: s, span })))
    .sort((x, y) => x.span.start_ms - y.span.start_ms);
  if (rows.length === 0)
    return (
      <p class="note">
        No span summary was kept for this trace (the slowest and a fair selection are), but its samples are below.
      </p>
    );
  const ticksOf = new Map(trace.services.map((service) => [service, ticksBySpan(service)]));
  const axis = axisOf(
    rows.map(({ span }) => [span.start_ms, span.start_ms + span.duration_us / 1000]),
    isNarrow.value ? TICK_ROOM_NARROW : undefined,
  );
  const percent = (t: number) => `${axis.x(t) * 100}%`;
  const width = (span: Span) => axis.x(span.start_ms + span.duration_us / 1000) - axis.x(span.start_ms);
  return (
    <ol class="waterfall" data-testid="waterfall">
      <li class="span-axis" data-testid="trace-axis">
        <span class="span-track">
          {axis.ticks.map(({ x, after }) => (
            <span key={after} class="axis-tick" style={{ left: `${x * 100}%` }}>
              {after === 0 ? fmt.time(rows[0]!.span.start_ms, undefined, true) : `+${fmt.duration(after)}`}
            </span>
          ))}
          {axis.stretches.flatMap((s) =>
            s.folded
              ? [
                  <span
                    key={s.from}
                    class="axis-fold"
                    title={`${fmt.duration(s.until - s.from)} in which no span was open`}
                    style={{ left: `${s.left * 100}%`, width: `${(s.right - s.left) * 100}%` }}
                  />,
                ]
              : [],
          )}
        </span>
      </li>
      {rows.slice(0, SPANS_MAX).map(({ service, span }) => {
        const ticks = ticksOf.get(service)?.get(span) ?? [];
        return (
          <li key={`${service.service} ${span.span_id}`} class={service.service === chosen ? "is-chosen" : ""}>
            <button
              type="button"
              class="link span-name"
              onClick={() => setParams({ svc: service.service, type: null })}
            >
              <b>{service.service}</b> {span.route}
            </button>
            <span class="span-track" title={describeSpan(span, ticks.length)}>
              <span
                class={`span-bar${isError(span) ? " is-error" : ""}`}
                style={{
                  left: percent(span.start_ms),
                  width: `${Math.max(0.3, width(span) * 100)}%`,
                }}
              />
              {ticks.slice(0, 400).map((s, i) => (
                <span key={`${s[0]}-${i}`} class="span-tick" style={{ left: percent(s[0]) }} />
              ))}
            </span>
            <span class="num span-time">
              {fmt.duration(span.duration_us / 1000)} <span class="quiet">{fmt.plural(ticks.length, "sample")}</span>
            </span>
          </li>
        );
      })}
      {rows.length > SPANS_MAX ? <li class="quiet">and {fmt.plural(rows.length - SPANS_MAX, "span")} more</li> : null}
    </ol>
  );
}

function isError(span: Span): boolean {
  return /err|fail|^5\d\d$/i.test(span.status);
}

function describeSpan(span: Span, samples: number): string {
  return `${span.route}: ${fmt.duration(span.duration_us / 1000)}, ${fmt.plural(samples, "CPU sample")}, ${span.status}`;
}
