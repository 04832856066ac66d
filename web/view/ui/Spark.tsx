/** A line the size of a word. */
import { areaPath, linePath } from "./scale";

const W = 140;
const H = 28;

export function Spark({ values, max }: { values: readonly (number | null)[]; max: number }) {
  const points = values.map((v, i): [number, number | null] => [i, v]);
  const x = (i: number) => (i / Math.max(1, values.length - 1)) * (W - 2) + 1;
  const y = (v: number) => H - 2 - (v / (max || 1)) * (H - 5);
  return (
    <svg class="spark" viewBox={`0 0 ${W} ${H}`} width={W} height={H} aria-hidden="true" focusable="false">
      <path class="tl-area" d={areaPath(points, x, y, H - 1)} />
      <path class="tl-line" d={linePath(points, x, y)} />
    </svg>
  );
}
