/** Did a service's CPU move between two ranges, or does it only fluctuate? Pure. */
import { twoSided } from "../profile/diff";

export interface Moved {
  before: number;
  after: number;
  significant: boolean;
}

/** One in a thousand: a page of services is looked at many times a day. */
const P_SIGNIFICANT = 0.001;
/** Neighbouring points are alike, so they count for less than as many independent ones. */
const INDEPENDENT_SHARE = 0.5;

/** Welch's test over the points of two sparklines; null if either has none. */
export function movedAgainst(before: readonly (number | null)[], after: readonly (number | null)[]): Moved | null {
  const a = momentsOf(before);
  const b = momentsOf(after);
  if (!a || !b) return null;
  const se = Math.sqrt(a.variance / (a.n * INDEPENDENT_SHARE) + b.variance / (b.n * INDEPENDENT_SHARE));
  const delta = Math.abs(b.mean - a.mean);
  const enough = a.n >= 4 && b.n >= 4 && delta > 0.02 * Math.max(a.mean, b.mean);
  return {
    before: a.mean,
    after: b.mean,
    significant: enough && (se === 0 ? delta > 0 : twoSided(delta / se) < P_SIGNIFICANT),
  };
}

function momentsOf(values: readonly (number | null)[]): { n: number; mean: number; variance: number } | null {
  const known = values.filter((v) => v !== null);
  const n = known.length;
  if (n === 0) return null;
  const mean = known.reduce((s, v) => s + v, 0) / n;
  return { n, mean, variance: known.reduce((s, v) => s + (v - mean) ** 2, 0) / Math.max(1, n - 1) };
}
