/**
 * A service over time, and the way to pick ranges: drag selects B, shift-drag selects A where two sides exist.
 *
 * SVG with classes only, so themes and forced colours apply without drawing it again. Keys: ← → move the selection,
 * + − resize it, Shift for side A.
 */
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Timeline as Data, TephraEvent } from "../api/contract";
import { isNarrow } from "../state/screen";
import type { Range } from "../state/time";
import * as fmt from "./format";
import { markPath } from "./marks";
import { areaPath, linePath, niceMax, timeTicks } from "./scale";

interface Props {
  data: Data | null;
  context: Range;
  b: Range | null;
  a?: Range | null;
  loading: boolean;
  onB(range: Range): void;
  onA?(range: Range): void;
  eventHref(event: TephraEvent): string;
  /** In place of the names of the lines below it. */
  legend?: ComponentChildren;
}

const TOP = 14;
/** Room for an event's name to the right of its mark; without it, the name stands at the left. */
const EVENT_TEXT_PX = 170;
/** From the top to the axis, and to the end. */
const TALL = { floor: 92, height: 116 };
const SHORT = { floor: 60, height: 82 };
const SNAP_MS = 10_000;
/** From here on the axis has days and no hours. */
const DAYS_SPAN_MS = 60 * 86_400e3;

export function Timeline(props: Props) {
  const { data, context, a, b } = props;
  const host = useRef<SVGSVGElement>(null);
  const width = useSignal(1000);
  const hover = useSignal<number | null>(null);
  const drag = useSignal<{ from: number; to: number; side: "a" | "b" } | null>(null);
  useEffect(() => {
    const frame = host.current!.parentElement!;
    const watch = new ResizeObserver(() => {
      width.value = Math.max(200, frame.clientWidth);
    });
    watch.observe(frame);
    return () => watch.disconnect();
  }, []);
  const w = width.value;
  const { floor, height } = isNarrow.value ? SHORT : TALL;
  const span = context.until - context.from;
  const x = (t: number) => ((t - context.from) / span) * w;
  const unit = data?.unit ?? "";
  const max = niceMax(
    Math.max(0, ...(data?.series ?? []).flatMap((s) => s.points.map((p) => p[1] ?? 0))) * 1.05,
    /bytes/.test(unit),
  );
  const y = (v: number) => floor - (v / max) * (floor - TOP);
  const timeAt = (clientX: number) => {
    const box = host.current!.getBoundingClientRect();
    return context.from + Math.min(1, Math.max(0, (clientX - box.left) / box.width)) * span;
  };
  const snapped = (from: number, to: number): Range => {
    const step = span > 20 * SNAP_MS ? SNAP_MS : 1000;
    const lo = Math.floor(Math.min(from, to) / step) * step;
    return { from: lo, until: Math.max(lo + step, Math.ceil(Math.max(from, to) / step) * step) };
  };
  const live = drag.value && Math.abs(x(drag.value.to) - x(drag.value.from)) > 4 ? drag.value : null;
  const shownA = live?.side === "a" ? snapped(live.from, live.to) : (a ?? null);
  const shownB = live?.side === "b" ? snapped(live.from, live.to) : b;
  const emit = (side: "a" | "b", range: Range) => (side === "a" ? props.onA?.(range) : props.onB(range));
  const single = data?.series.length === 1;
  const ticks = timeTicks(context.from, context.until, Math.max(2, w / 110));
  const named = withRoom(data?.events ?? [], x);
  const inDays = span > DAYS_SPAN_MS;
  const inSeconds = ticks.length > 1 && ticks[1]! - ticks[0]! < 60e3;
  return (
    <div class={`timeline${props.loading ? " is-loading" : ""}`} data-testid="timeline">
      <svg
        ref={host}
        viewBox={`0 0 ${w} ${height}`}
        width={w}
        height={height}
        role="application"
        aria-roledescription="timeline"
        aria-label={`${describe(data, context)} Arrow keys move the selected range, plus and minus resize it.`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: role application is interactive
        tabIndex={0}
        onPointerDown={(e) => {
          if (e.button !== 0 || (e.target as Element).closest("a")) return;
          e.currentTarget.setPointerCapture(e.pointerId);
          const t = timeAt(e.clientX);
          drag.value = { from: t, to: t, side: e.shiftKey && props.onA ? "a" : "b" };
        }}
        onPointerMove={(e) => {
          const t = timeAt(e.clientX);
          hover.value = t;
          if (drag.value) drag.value = { ...drag.value, to: t };
        }}
        onPointerUp={() => {
          if (live) emit(live.side, snapped(live.from, live.to));
          drag.value = null;
        }}
        onPointerLeave={() => (hover.value = null)}
        onPointerCancel={() => (drag.value = null)}
        onKeyDown={(e) => nudge(e, a ?? null, b, emit, !!props.onA)}
      >
        {[max, max / 2].map((v) => (
          <g key={v} class="tl-grid">
            <line x1={0} x2={w} y1={y(v)} y2={y(v)} />
          </g>
        ))}
        <line class="tl-floor" x1={0} x2={w} y1={floor} y2={floor} />
        {ticks.map((t) => (
          <g key={t} class="tl-tick">
            <line x1={x(t)} x2={x(t)} y1={floor} y2={floor + 4} />
            <text x={x(t)} y={floor + 17} text-anchor={x(t) < 24 ? "start" : x(t) > w - 24 ? "end" : "middle"}>
              {inDays ? fmt.date(t) : fmt.time(t, context.until, inSeconds)}
            </text>
          </g>
        ))}
        {shownA ? <Brush side="a" range={shownA} x={x} w={w} floor={floor} /> : null}
        {shownB ? <Brush side="b" range={shownB} x={x} w={w} floor={floor} labelled={!!shownA} /> : null}
        {data?.series.map((s, i) => (
          <g key={s.label} class={`tl-series hue-${s.rest ? "rest" : i % 8}`}>
            {single ? <path class="tl-area" d={areaPath(s.points, x, y, floor)} /> : null}
            <path class="tl-line" d={linePath(s.points, x, y)} />
          </g>
        ))}
        {(data?.events ?? [])
          .filter((e) => e.at >= context.from && e.at <= context.until)
          .map((e) => (
            <a
              key={e.id}
              class={`tl-event is-${e.kind}`}
              href={props.eventHref(e)}
              aria-label={`${e.kind} ${e.title}, ${fmt.time(e.at)}: compare before and after`}
            >
              <title>{`${e.kind}: ${e.title}, ${fmt.time(e.at, undefined, true)}. Click to compare before and after.`}</title>
              <line x1={x(e.at)} x2={x(e.at)} y1={TOP - 4} y2={floor} />
              <path d={markPath(e.kind, x(e.at), TOP - 7, 5)} />
              <rect x={x(e.at) - 12} y={0} width={24} height={24} />
              {named.has(e.id) ? (
                <text
                  x={x(e.at) + (x(e.at) < w - EVENT_TEXT_PX ? 9 : -9)}
                  y={TOP - 3}
                  text-anchor={x(e.at) < w - EVENT_TEXT_PX ? "start" : "end"}
                >
                  {e.title.slice(0, 24)}
                </text>
              ) : null}
            </a>
          ))}
        <g class="tl-grid">
          <text x={2} y={TOP - 3}>
            {data ? fmt.value(max, unit) : ""}
          </text>
        </g>
        {hover.value !== null && !live ? (
          <line class="tl-cross" x1={x(hover.value)} x2={x(hover.value)} y1={TOP} y2={floor} />
        ) : null}
      </svg>
      <div class={`tl-read${live || hover.value !== null ? " is-live" : ""}`} aria-hidden="true">
        {live
          ? fmt.range(snapped(live.from, live.to).from, snapped(live.from, live.to).until)
          : data && hover.value !== null
            ? `${readout(data, hover.value)}   ·   ${props.onA ? "drag: B, Shift-drag: A" : "drag to select"}`
            : ""}
      </div>
      {props.legend}
      {props.legend === undefined && data && data.series.length > 1 ? (
        <div class="legend">
          {data.series.map((s, i) => (
            <span class="legend-item" key={s.label}>
              <span class={`swatch hue-${s.rest ? "rest" : i % 8}`} />
              {s.label || "no value"}
            </span>
          ))}
        </div>
      ) : null}
    </div>
  );
}

/** What is named first where there is room for one name: what people did, before what follows from it. */
const NAMED_FIRST: readonly TephraEvent["kind"][] = ["deploy", "alert", "note", "restart"];

/** Events whose names do not lie over those of others. */
function withRoom(events: readonly TephraEvent[], x: (at: number) => number): Set<string> {
  const rank = (e: TephraEvent) => NAMED_FIRST.indexOf(e.kind);
  const named: TephraEvent[] = [];
  for (const e of [...events].sort((p, q) => rank(p) - rank(q) || q.at - p.at))
    if (named.every((other) => Math.abs(x(other.at) - x(e.at)) > EVENT_TEXT_PX)) named.push(e);
  return new Set(named.map((e) => e.id));
}

function Brush({
  side,
  range,
  x,
  w,
  floor,
  labelled,
}: {
  side: "a" | "b";
  range: Range;
  x(t: number): number;
  w: number;
  floor: number;
  labelled?: boolean;
}) {
  const left = Math.max(-1, x(range.from));
  const right = Math.min(w + 1, x(range.until));
  if (right <= left) return null;
  return (
    <g class={`tl-brush is-${side}`} data-testid={`brush-${side}`}>
      <rect x={left} y={TOP} width={Math.max(2, right - left)} height={floor - TOP} />
      <line x1={left} x2={left} y1={TOP} y2={floor} />
      <line x1={right} x2={right} y1={TOP} y2={floor} />
      {labelled || side === "a" ? (
        <text
          x={side === "a" ? left + 6 : right - 6}
          y={side === "a" ? floor - 6 : floor - 20}
          text-anchor={side === "a" ? "start" : "end"}
        >
          {side.toUpperCase()}
        </text>
      ) : null}
    </g>
  );
}

function nudge(
  e: KeyboardEvent,
  a: Range | null,
  b: Range | null,
  emit: (side: "a" | "b", r: Range) => void,
  two: boolean,
): void {
  const side = e.shiftKey && two ? "a" : "b";
  const range = side === "a" ? a : b;
  if (!range) return;
  const length = range.until - range.from;
  const step = Math.max(1000, length / 4);
  const next: Record<string, Range> = {
    ArrowLeft: { from: range.from - step, until: range.until - step },
    ArrowRight: { from: range.from + step, until: range.until + step },
    "+": { from: range.from - step / 2, until: range.until + step / 2 },
    "-": { from: range.from + step / 2, until: range.until - step / 2 },
  };
  const to = next[e.key];
  if (!to || to.until - to.from < 1000) return;
  e.preventDefault();
  e.stopPropagation();
  emit(side, { from: Math.round(to.from), until: Math.round(to.until) });
}

function readout(data: Data, at: number): string {
  const k = Math.round((at - (data.series[0]?.points[0]?.[0] ?? at)) / data.step_ms);
  const values = data.series.slice(0, 4).map((s) => {
    const v = s.points[k]?.[1];
    return `${s.label ? `${s.label} ` : ""}${v === null || v === undefined ? "no data" : fmt.value(v, data.unit)}`;
  });
  return `${fmt.time(at, undefined, true)}   ${values.join("   ")}`;
}

function describe(data: Data | null, context: Range): string {
  if (!data) return "Timeline, loading.";
  const values = data.series.flatMap((s) => s.points.map((p) => p[1]).filter((v) => v !== null));
  if (values.length === 0) return `Timeline ${fmt.range(context.from, context.until)}, no data.`;
  return `Timeline ${fmt.range(context.from, context.until)}, from ${fmt.value(Math.min(...values), data.unit)} to ${fmt.value(Math.max(...values), data.unit)}, ${fmt.plural(data.events.length, "event")}.`;
}
