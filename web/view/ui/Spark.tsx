/** A line the size of a word, with marks at moments in it. */
import { areaPath, linePath } from "./scale";

const W = 140;
const H = 28;

interface Props {
  values: readonly (number | null)[];
  max: number;
  /** Where deploys were, from 0 to 1. */
  marks?: readonly number[];
}

export function Spark({ values, max, marks = [] }: Props) {
  const points = values.map((v, i): [number, number | null] => [i, v]);
  const x = (i: number) => (i / Math.max(1, values.length - 1)) * (W - 2) + 1;
  const y = (v: number) => H - 2 - (v / (max || 1)) * (H - 5);
  return (
    <svg class="spark" viewBox={`0 0 ${W} ${H}`} width={W} height={H} aria-hidden="true" focusable="false">
      <path class="tl-area" d={areaPath(points, x, y, H - 1)} />
      <path class="tl-line" d={linePath(points, x, y)} />
      {marks.map((mark) => (
        <g key={mark} class="tl-event">
          <line x1={mark * W} x2={mark * W} y1={5} y2={H} />
          <path d={`M${mark * W} 0l3 3l-3 3l-3 -3z`} />
        </g>
      ))}
    </svg>
  );
}
