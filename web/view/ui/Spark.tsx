/** A line the size of a word, with marks at moments in it. */
import type { TephraEvent } from "../api/contract";
import { type MarkKind, markPath } from "./marks";
import { areaPath, linePath } from "./scale";

const W = 140;
const H = 28;

export interface Mark {
  kind: MarkKind;
  x: number;
}

/** The marks of a range's events. */
export function marksOf(events: readonly TephraEvent[], range: { from: number; until: number }): Mark[] {
  return events
    .filter((e) => e.at >= range.from && e.at <= range.until)
    .map((e) => ({ kind: e.kind, x: (e.at - range.from) / (range.until - range.from) }));
}

interface Props {
  values: readonly (number | null)[];
  max: number;
  /** Deploys, alerts and the like, at places from 0 to 1. */
  marks?: readonly Mark[];
}

export function Spark({ values, max, marks = [] }: Props) {
  const points = values.map((v, i): [number, number | null] => [i, v]);
  const x = (i: number) => (i / Math.max(1, values.length - 1)) * (W - 2) + 1;
  const y = (v: number) => H - 2 - (v / (max || 1)) * (H - 5);
  return (
    <svg class="spark" viewBox={`0 0 ${W} ${H}`} width={W} height={H} aria-hidden="true" focusable="false">
      <path class="tl-area" d={areaPath(points, x, y, H - 1)} />
      <path class="tl-line" d={linePath(points, x, y)} />
      {marks.map(({ kind, x: at }) => (
        <g key={`${kind} ${at}`} class={`tl-event is-${kind}`}>
          <line x1={at * W} x2={at * W} y1={5} y2={H} />
          <path d={markPath(kind, at * W, 3, 3)} />
        </g>
      ))}
    </svg>
  );
}
