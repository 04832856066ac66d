/** Axis arithmetic of the small charts. Pure. */

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

/** Round times between `from` and `until`, at most `most`, on local-time boundaries. */
export function timeTicks(from: number, until: number, most: number): number[] {
  const step = STEPS_MS.find((s) => (until - from) / s <= most) ?? STEPS_MS.at(-1)!;
  const shift = new Date(from).getTimezoneOffset() * 60e3;
  const out: number[] = [];
  for (let t = Math.ceil((from - shift) / step) * step + shift; t <= until; t += step) out.push(t);
  return out;
}

/** An SVG path through the points, broken where there is no value. */
export function linePath(
  points: readonly (readonly [number, number | null])[],
  x: (t: number) => number,
  y: (v: number) => number,
): string {
  let path = "";
  let open = false;
  for (const [t, v] of points) {
    if (v === null) {
      open = false;
      continue;
    }
    path += `${open ? "L" : "M"}${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
    open = true;
  }
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
