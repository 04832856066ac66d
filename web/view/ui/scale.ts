/** Axis arithmetic of the small charts. */
import { zone } from "../state/zone";

/** The smallest 1, 2, 2.5 or 5 × 10^k that is not below `max`; binary steps for bytes. */
export function niceMax(max: number, binary: boolean): number {
  if (!(max > 0)) return 1;
  const base = binary ? 1024 ** Math.floor(Math.log2(max) / 10) : 10 ** Math.floor(Math.log10(max));
  const steps = binary
    ? [1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 50, 64, 100, 128, 200, 256, 400, 512, 768, 1024]
    : [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
  return base * (steps.find((s) => s * base >= max) ?? steps.at(-1)!);
}

const STEPS_MS = [
  1e3, 5e3, 10e3, 30e3, 60e3, 300e3, 600e3, 900e3, 1800e3, 3600e3, 7200e3, 10_800e3, 21_600e3, 43_200e3, 86_400e3,
  172_800e3, 604_800e3,
];
const MONTHS = [1, 3, 6, 12, 24, 60, 120, 240];
const MONTH_MS = 30.44 * 86_400e3;

/** Round times between `from` and `until`, at most `most`, on boundaries of the clock that was chosen. */
export function timeTicks(from: number, until: number, most: number): number[] {
  const step = STEPS_MS.find((s) => (until - from) / s <= most);
  const utc = zone.value === "utc";
  if (step === undefined) return monthTicks(from, until, most, utc);
  const shift = utc ? 0 : new Date(from).getTimezoneOffset() * 60e3;
  const out: number[] = [];
  for (let t = Math.ceil((from - shift) / step) * step + shift; t <= until; t += step) out.push(t);
  return out;
}

/** First days of months or years, for ranges that weeks would crowd. */
function monthTicks(from: number, until: number, most: number, utc: boolean): number[] {
  const months = MONTHS.find((m) => (until - from) / (m * MONTH_MS) <= most) ?? MONTHS.at(-1)!;
  const first = new Date(from);
  const [firstYear, firstMonth] = utc
    ? [first.getUTCFullYear(), first.getUTCMonth()]
    : [first.getFullYear(), first.getMonth()];
  const year = months > 12 ? Math.floor(firstYear / (months / 12)) * (months / 12) : firstYear;
  const out: number[] = [];
  for (let month = Math.floor(firstMonth / months) * months; ; month += months) {
    const at = utc ? Date.UTC(year, month, 1) : new Date(year, month, 1).getTime();
    if (at > until) return out.slice(0, Math.ceil(most));
    if (at >= from) out.push(at);
  }
}

/** An SVG path through the points, broken where there is no value. A point alone is a line of no length, which round ends make a dot. */
export function linePath(
  points: readonly (readonly [number, number | null])[],
  x: (t: number) => number,
  y: (v: number) => number,
): string {
  let path = "";
  let open = false;
  points.forEach(([t, v], i) => {
    if (v === null) {
      open = false;
      return;
    }
    path += `${open ? "L" : "M"}${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
    if (!open && (points[i + 1]?.[1] ?? null) === null) path += "h0";
    open = true;
  });
  return path;
}

/** The same as closed areas down to `floor`. */
export function areaPath(
  points: readonly (readonly [number, number | null])[],
  x: (t: number) => number,
  y: (v: number) => number,
  floor: number,
): string {
  let path = "";
  let run: string[] = [];
  let [first, last] = [0, 0];
  const close = () => {
    if (run.length > 0) path += `M${first.toFixed(1)} ${floor}L${run.join("L")}L${last.toFixed(1)} ${floor}Z`;
    run = [];
  };
  for (const [t, v] of points) {
    if (v === null) {
      close();
      continue;
    }
    if (run.length === 0) first = x(t);
    last = x(t);
    run.push(`${x(t).toFixed(1)} ${y(v).toFixed(1)}`);
  }
  close();
  return path;
}
