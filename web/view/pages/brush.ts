/** Between the map of durations, where a rectangle is drawn, and the durations and times it stands for. Pure. */
import type { HeatmapAnswer } from "../api/contract";
import type { Brush } from "../state/chosen";
import * as fmt from "../ui/format";
import { type LatencyMap, rowBounds } from "./latency";
import { clockText, readClock } from "./NoteButton";

/** A point of the map, as parts of its width from the left and of its height from below. */
export type Point = readonly [x: number, y: number];

type Times = Pick<HeatmapAnswer, "from" | "step_ms">;

/** The cell under a point; beyond an edge, the nearest one. */
export function cellAt(map: LatencyMap, [x, y]: Point): [column: number, row: number] {
  const within = (part: number, count: number) => Math.min(count - 1, Math.max(0, Math.floor(part * count)));
  return [within(x, map.columns), within(y, map.rows)];
}

/**
 * The rectangle between two points, widened to whole cells. Where it reaches the shortest or the longest duration of the map, it
 * has no bound, nor in time where it spans all that is shown: what the next minutes bring belongs to it.
 */
export function brushBetween(map: LatencyMap, times: Times, p: Point, q: Point): Brush {
  const [px, py] = cellAt(map, p);
  const [qx, qy] = cellAt(map, q);
  const [low, high] = [Math.min(py, qy), Math.max(py, qy)];
  const [first, last] = [Math.min(px, qx), Math.max(px, qx)];
  const minUs = low === 0 ? 0 : longerThan(rowBounds(map, low)[0]);
  const maxUs = high === map.rows - 1 ? null : Math.max(minUs + 1, longerThan(rowBounds(map, high)[1]));
  const always = first === 0 && last === map.columns - 1;
  const at = (column: number) => Math.round(times.from + column * times.step_ms);
  return { minUs, maxUs, during: always ? null : [at(first), at(last + 1)] };
}

/** A row holds durations above its lower bound and up to its upper one: the first whole microsecond above a bound. */
function longerThan(us: number): number {
  return Math.floor(us) + 1;
}

export interface Box {
  left: number;
  right: number;
  bottom: number;
  top: number;
}

/** Where a brush lies on the map, as parts of it; null if it is beyond its edges. */
export function boxOf(map: LatencyMap, times: Times, brush: Brush): Box | null {
  const [shortest] = rowBounds(map, 0);
  const [, longest] = rowBounds(map, map.rows - 1);
  // The bound of a row lies just below the first whole microsecond that is longer.
  const y = (us: number) => Math.log2(Math.max(us - 0.5, 0.5) / shortest) / Math.log2(longest / shortest);
  const x = (at: number) => (at - times.from) / (times.step_ms * map.columns);
  const inside = (part: number) => Math.min(1, Math.max(0, part));
  const box = {
    left: brush.during ? inside(x(brush.during[0])) : 0,
    right: brush.during ? inside(x(brush.during[1])) : 1,
    bottom: inside(y(brush.minUs)),
    top: brush.maxUs === null ? 1 : inside(y(brush.maxUs)),
  };
  return box.right > box.left && box.top > box.bottom ? box : null;
}

/** `412 ms and longer, 13:40–13:55`. */
export function brushWords(brush: Brush): string {
  const when = brush.during ? fmt.range(...brush.during) : "";
  return [tookWords(brush.minUs, brush.maxUs), when].filter((text) => text !== "").join(", ");
}

/** Durations from `minUs` on and below `maxUs`, in words. */
export function tookWords(minUs: number | null, maxUs: number | null): string {
  const us = (n: number) => fmt.duration(Number((n / 1000).toPrecision(3)));
  if (!minUs) return maxUs === null ? "of any duration" : `below ${us(maxUs)}`;
  return maxUs === null ? `${us(minUs)} and longer` : `${us(minUs)} to ${us(maxUs)}`;
}

/** The form beside the map: milliseconds and clock times, each of which may be left empty. */
export interface Fields {
  atLeast: string;
  below: string;
  from: string;
  until: string;
}

export const FIELDS = ["atLeast", "below", "from", "until"] as const;

/** What the form says of a brush. */
export function fieldsOf(brush: Brush | null): Fields {
  const [from, until] = brush?.during ?? [];
  const ms = (us: number | null | undefined) => (us ? String(us / 1000) : "");
  const clock = (at: number | undefined) => (at === undefined ? "" : clockText(at));
  return { atLeast: ms(brush?.minUs), below: ms(brush?.maxUs), from: clock(from), until: clock(until) };
}

/** The brush that the form means within the times shown, or what is wrong with it. */
export function brushOfFields(fields: Fields, shown: readonly [from: number, until: number]): Brush | string {
  const us = (text: string) => (text.trim() === "" ? null : Math.round(Number(text) * 1000));
  const [minUs, maxUs] = [us(fields.atLeast) ?? 0, us(fields.below)];
  if (!(minUs >= 0) || (maxUs !== null && !(maxUs > 0))) return "Write durations as milliseconds, such as 250 or 0.4.";
  if (maxUs !== null && maxUs <= minUs) return "The longest duration is below the shortest.";
  const at = (text: string, otherwise: number) => (text.trim() === "" ? otherwise : readClock(text));
  const [from, until] = [at(fields.from, shown[0]), at(fields.until, shown[1])].map(Math.round) as [number, number];
  if (!Number.isFinite(from + until)) return "Write times as 2026-11-27 13:40, or as now-10m.";
  if (from >= until) return "The end is not after the start.";
  const always = fields.from.trim() === "" && fields.until.trim() === "";
  if (always && minUs === 0 && maxUs === null) return "Say a duration or a time.";
  return { minUs, maxUs, during: always ? null : [from, until] };
}
