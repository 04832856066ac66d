/** What a comparison says about one node: its state, its evidence and its step on the nine-step scale. */
import type { Change, Side } from "../api/contract";
import type { Profile, Tree } from "./tree";

/** 5 % of what is called a change may be noise. In 1/10000, as on the wire. */
export const Q_SIGNIFICANT = 500;
export const STEP_NEUTRAL = 4;

/** How raw units become the basis' unit: multiply side A by `a`, side B by `b`. */
export interface Scale {
  a: number;
  b: number;
  unit: string;
}

export function scaleOf(profile: Profile): Scale {
  const { a, b } = profile.header;
  const main = b ?? a;
  const kb = factor(main, 0);
  const ka = b ? factor(a, kb) : kb;
  return { a: ka, b: kb || ka, unit: main.unit };
}

function factor(side: Side, fallback: number): number {
  return side.total > 0 ? side.value / side.total : fallback;
}

/** The state of values already in the basis' unit. Below 1 % either way is unchanged. */
export function changeOf(a: number, b: number): Change {
  if (a <= 0 && b <= 0) return "unchanged";
  if (a <= 0) return "new";
  if (b <= 0) return "gone";
  if (Math.abs(b - a) <= 0.01 * a) return "unchanged";
  return b > a ? "grew" : "shrank";
}

/** 0 (gone or a quarter) … 4 (no evidence) … 8 (new or four times as much). */
export function stepOf(a: number, b: number, significant: boolean): number {
  if (!significant) return STEP_NEUTRAL;
  const state = changeOf(a, b);
  if (state === "unchanged") return STEP_NEUTRAL;
  if (state === "new") return 8;
  if (state === "gone") return 0;
  const ratio = Math.min(2, Math.abs(Math.log2(b / a)));
  const steps = Math.min(4, Math.max(1, Math.ceil(ratio / 0.5)));
  return b > a ? STEP_NEUTRAL + steps : STEP_NEUTRAL - steps;
}

export const CHANGE_MARK: Record<Change, string> = { grew: "▲", shrank: "▽", new: "+", gone: "▨", unchanged: "·" };

export type WidthMode = "b" | "a" | "union" | "delta";

/**
 * Self weights that make the widths of a mode: the layout is their subtree sums. In mode `b`, paths that are gone keep
 * their A width as ghosts in place, so nothing that vanished is invisible. In mode `delta` what is within noise has no width: nothing shows that it changed.
 */
export function selfWeights(tree: Tree, scale: Scale, mode: WidthMode): Float64Array {
  if (tree.selfA === tree.selfB) return tree.selfB;
  const out = new Float64Array(tree.count);
  for (let i = 0; i < tree.count; i++) {
    const a = tree.selfA[i]! * scale.a;
    const b = tree.selfB[i]! * scale.b;
    if (mode === "a") out[i] = a;
    else if (mode === "union") out[i] = Math.max(a, b);
    else if (mode === "delta") out[i] = tree.q && tree.q[i]! > Q_SIGNIFICANT ? 0 : Math.abs(b - a);
    else out[i] = tree.totalB[i]! > 0 ? b : a;
  }
  return out;
}

/**
 * Evidence for nodes the server never saw (inverted, merged): a two-sided test on sample counts, then Benjamini–Hochberg.
 * Samples come in bursts, so their variance is taken as twice Poisson's; that keeps equal sides neutral.
 */
export function estimateQ(
  tree: Pick<Tree, "count" | "totalA" | "totalB">,
  sides: { a: Side; b: Side },
  scale: Scale,
): Uint16Array {
  const perSampleA = sides.a.total > 0 ? sides.a.samples / sides.a.total : 0;
  const perSampleB = sides.b.total > 0 ? sides.b.samples / sides.b.total : 0;
  const p = new Float64Array(tree.count);
  for (let i = 0; i < tree.count; i++)
    p[i] = countTest(tree.totalA[i]!, tree.totalB[i]!, perSampleA, perSampleB, scale);
  return benjaminiHochberg(p);
}

const OVERDISPERSION = 2;

function countTest(a: number, b: number, perA: number, perB: number, scale: Scale): number {
  const nA = a * perA;
  const nB = b * perB;
  if (nA + nB < 10 || perA === 0 || perB === 0) return 1;
  // One sample more on each side keeps an absent side from being certain.
  const varA = (nA + 1) * (scale.a / perA) ** 2 * OVERDISPERSION;
  const varB = (nB + 1) * (scale.b / perB) ** 2 * OVERDISPERSION;
  return twoSided(Math.abs(b * scale.b - a * scale.a) / Math.sqrt(varA + varB));
}

/** P(|Z| > z), Abramowitz & Stegun 26.2.17: absolute error below 1e-7. */
export function twoSided(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const poly = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return Math.min(1, 2 * 0.3989422804 * Math.exp((-z * z) / 2) * poly);
}

export function benjaminiHochberg(p: Float64Array): Uint16Array {
  const order = Uint32Array.from(p.keys()).sort((x, y) => p[x]! - p[y]!);
  const q = new Uint16Array(p.length);
  let least = 1;
  for (let rank = p.length; rank > 0; rank--) {
    const i = order[rank - 1]!;
    least = Math.min(least, (p[i]! * p.length) / rank);
    q[i] = Math.round(least * 10_000);
  }
  return q;
}
