/** The axis of a trace: time that nothing of it was open in is folded, so that short spans far apart can both be seen. Pure. */

/** A stretch of the axis, in milliseconds and as parts of its width. */
export interface Stretch {
  from: number;
  until: number;
  left: number;
  right: number;
  /** Nothing happened in it, and it takes less room than its time would. */
  folded: boolean;
}

export interface Axis {
  stretches: readonly Stretch[];
  /** Where a moment lies, from 0 to 1. */
  x(at: number): number;
  /** Moments to write at the axis, counted from its start. */
  ticks: readonly { x: number; after: number }[];
}

/** A gap is folded from this part of the time in which something was open. */
const FOLD_FROM_SHARE = 0.25;
const FOLDED_WIDTH = 0.04;
/** However many gaps are folded, they leave this much. */
const FOLDED_WIDTH_ALL = 0.4;
const TICKS_MOST = 6;
/** Ticks are no nearer to each other, nor to the end, than this part of the width. */
const TICK_ROOM = 0.07;

/** An axis over spans, each from and until when; `room` is the part of the width that a tick's text takes. */
export function axisOf(spans: readonly (readonly [from: number, until: number])[], room = TICK_ROOM): Axis {
  const blocks = merged(spans);
  const open = blocks.reduce((sum, [from, until]) => sum + until - from, 0);
  const isFolded = (gap: number) => gap > FOLD_FROM_SHARE * open;
  const gaps = blocks.slice(1).map(([from], i) => from - blocks[i]![1]);
  const folds = gaps.filter(isFolded).length;
  const foldWidth = folds === 0 ? 0 : Math.min(FOLDED_WIDTH, FOLDED_WIDTH_ALL / folds);
  const drawn = open + gaps.reduce((sum, gap) => sum + (isFolded(gap) ? 0 : gap), 0);
  const perMs = (1 - folds * foldWidth) / drawn;
  const stretches: Stretch[] = [];
  const push = (from: number, until: number, folded: boolean) => {
    const left = stretches.at(-1)?.right ?? 0;
    const last = stretches.at(-1);
    if (last && !last.folded && !folded) {
      last.until = until;
      last.right += (until - from) * perMs;
    } else stretches.push({ from, until, left, right: left + (folded ? foldWidth : (until - from) * perMs), folded });
  };
  blocks.forEach(([from, until], i) => {
    if (i > 0) push(blocks[i - 1]![1], from, isFolded(gaps[i - 1]!));
    push(from, until, false);
  });
  const x = (at: number) => {
    const stretch = stretches.find((s) => at <= s.until) ?? stretches.at(-1)!;
    const part = (at - stretch.from) / (stretch.until - stretch.from);
    return stretch.left + Math.min(1, Math.max(0, part)) * (stretch.right - stretch.left);
  };
  return { stretches, x, ticks: ticksOf(stretches, drawn, room) };
}

/** Times in which anything is open, in order; at least a microsecond of it. */
function merged(spans: readonly (readonly [number, number])[]): [number, number][] {
  const out: [number, number][] = [];
  for (const [from, until] of [...spans].sort((p, q) => p[0] - q[0])) {
    const last = out.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], until);
    else out.push([from, Math.max(until, from + 1e-3)]);
  }
  return out;
}

function ticksOf(stretches: readonly Stretch[], drawn: number, room: number): { x: number; after: number }[] {
  const start = stretches[0]!.from;
  const rough = drawn / TICKS_MOST;
  const base = 10 ** Math.floor(Math.log10(rough));
  const step = base * ([1, 2, 5, 10].find((k) => k * base >= rough) ?? 10);
  const ticks: { x: number; after: number }[] = [];
  for (const s of stretches) {
    if (s.folded) continue;
    const width = s.right - s.left;
    // Where a stretch begins is said: behind a fold nobody could know it.
    const first = s.from - start;
    const moments = [first];
    for (let after = Math.ceil(first / step + 1e-9) * step; after < s.until - start; after += step) moments.push(after);
    for (const after of moments) {
      const x = s.left + ((after + start - s.from) / (s.until - s.from)) * width;
      if (ticks.length === 0 || (x - ticks.at(-1)!.x >= room && x <= 1 - room)) ticks.push({ x, after });
    }
  }
  return ticks;
}
