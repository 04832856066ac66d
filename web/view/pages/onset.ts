/** Since when a service uses more or less than before, within one range. Pure. */
import type { TephraEvent } from "../api/contract";
import { twoSided } from "../profile/diff";
import type { Range } from "../state/time";

export interface Onset {
  /** Unix milliseconds. */
  at: number;
  before: number;
  after: number;
  /** Time that one point stands for. */
  step: number;
}

/** Points on each side of a change, at least. */
const SIDE_MIN = 4;

/** Are there enough points to say that nothing changed? */
export function canTell(spark: readonly (number | null)[]): boolean {
  return spark.filter((v) => v !== null).length >= 2 * SIDE_MIN;
}

/** After looking at every split of a range. */
const P_SIGNIFICANT = 0.001;
/** Neighbouring points are alike, so they count for less than as many independent ones. */
const INDEPENDENT_SHARE = 0.5;
/** A smaller part of the level is not worth a line. */
const CHANGE_MIN = 0.1;
/** Of the variance: a step explains more of it than a drift or a wave. */
const EXPLAINED_MIN = 0.5;
/** A deploy this long before a change explains it. */
const DEPLOY_EXPLAINS_MS = 600e3;

/** The clearest step of a sparkline over `range`; null if chance, a drift or a wave explains it. */
export function onsetIn(spark: readonly (number | null)[], range: Range): Onset | null {
  const known = spark.flatMap((v, i): [number, number][] => (v === null ? [] : [[i, v]]));
  const n = known.length;
  if (n < 2 * SIDE_MIN) return null;
  const sum = known.reduce((s, [, v]) => s + v, 0);
  const squares = known.reduce((s, [, v]) => s + v * v, 0);
  const spread = Math.max(0, squares - (sum * sum) / n);
  let best = { k: 0, explained: 0 };
  let left = 0;
  for (let k = 1; k <= n - SIDE_MIN; k++) {
    left += known[k - 1]![1];
    const explained = (left * left) / k + (sum - left) ** 2 / (n - k) - (sum * sum) / n;
    if (k >= SIDE_MIN && explained > best.explained) best = { k, explained };
  }
  const { k, explained } = best;
  if (k === 0 || explained < EXPLAINED_MIN * spread) return null;
  const mean = (part: [number, number][]) => part.reduce((s, [, v]) => s + v, 0) / part.length;
  const [before, after] = [mean(known.slice(0, k)), mean(known.slice(k))];
  const delta = Math.abs(after - before);
  if (delta < CHANGE_MIN * Math.max(before, after)) return null;
  const se = Math.sqrt(((spread - explained) / (n - 2) / INDEPENDENT_SHARE) * (1 / k + 1 / (n - k)));
  if (se > 0 && twoSided(delta / se) * n > P_SIGNIFICANT) return null;
  const step = (range.until - range.from) / spark.length;
  return { at: range.from + known[k]![0] * step, before, after, step };
}

/** The deploy that explains a change: of those shortly before it, the last. A point's time is only as exact as its step. */
export function deployBefore(onset: Onset, service: string, events: readonly TephraEvent[]): TephraEvent | null {
  const fits = (e: TephraEvent) =>
    e.kind === "deploy" &&
    e.service === service &&
    e.at <= onset.at + onset.step &&
    e.at >= onset.at - onset.step - DEPLOY_EXPLAINS_MS;
  return events.filter(fits).sort((x, y) => y.at - x.at)[0] ?? null;
}

/** Both sides of a change: what was before it, and what is after it, without the point in which it happened. */
export function aroundOnset(onset: Onset, range: Range): { a: Range; b: Range } {
  return {
    a: { from: range.from, until: onset.at - onset.step },
    b: { from: onset.at + onset.step, until: range.until },
  };
}
