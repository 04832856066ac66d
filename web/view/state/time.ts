/** Time ranges as the URL writes them: RFC 3339, unix seconds, unix milliseconds, `now`, `now-15m`. */

export interface Range {
  /** Unix milliseconds. */
  from: number;
  until: number;
}

const UNIT_MS: Record<string, number> = { s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3, w: 604_800e3 };

/** Unix milliseconds; NaN for what is no time. */
export function parseTime(text: string, now: number): number {
  const t = text.trim();
  if (t === "now") return now;
  const relative = /^now-(\d+(?:\.\d+)?)([smhdw])$/.exec(t);
  if (relative) return now - Number(relative[1]) * UNIT_MS[relative[2]!]!;
  if (/^\d+(\.\d+)?$/.test(t)) {
    const n = Number(t);
    return n < 1e11 ? n * 1000 : n;
  }
  return Date.parse(t);
}

/** `10m` → milliseconds; NaN if it is no duration. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text.trim());
  return match ? Number(match[1]) * UNIT_MS[match[2]!]! : Number.NaN;
}

/** Reads a range with the API's defaults: until now, from one hour earlier. */
export function readRange(from: string, until: string, now: number): Range {
  const end = until === "" ? now : parseTime(until, now);
  const safeEnd = Number.isFinite(end) ? end : now;
  const start = from === "" ? safeEnd - 3600e3 : parseTime(from, now);
  return { from: Number.isFinite(start) && start < safeEnd ? start : safeEnd - 3600e3, until: safeEnd };
}

export type Baseline = "prev" | "1d" | "1w";

/** The range a baseline means for `range`: right before it, or the same hours a day or a week ago. */
export function baselineOf(range: Range, vs: Baseline): Range {
  const shift = vs === "prev" ? range.until - range.from : vs === "1d" ? UNIT_MS.d! : UNIT_MS.w!;
  return { from: range.from - shift, until: range.until - shift };
}

/** The same length just before and just after a deploy, with a minute left for it to roll out. */
export function aroundDeploy(at: number, range: Range, now: number): { a: Range; b: Range } {
  const settle = 60e3;
  const span = Math.max(60e3, Math.min(range.until - range.from, now - at - settle));
  return { a: { from: at - span, until: at }, b: { from: at + settle, until: at + settle + span } };
}

export interface Earlier {
  a: Range;
  b: Range;
  /** What `a` is, in words. */
  word: string;
}

/**
 * What `range` can be compared with that came before: the same length before it; where there is no data yet, the time before its last
 * deploy against what followed; else its halves.
 */
export function earlier(range: Range, firstSeen: number, deploys: readonly number[], now: number): Earlier {
  const before = baselineOf(range, "prev");
  if (firstSeen <= (before.from + before.until) / 2) return { a: before, b: range, word: "the time before" };
  const deploy = deploys.filter((at) => at > Math.max(range.from, firstSeen) + 60e3 && at < range.until - 120e3).at(-1);
  if (deploy !== undefined) {
    const { a, b } = aroundDeploy(deploy, range, Math.min(now, range.until));
    return { a: { ...a, from: Math.max(a.from, firstSeen) }, b, word: "before the deploy" };
  }
  const from = Math.max(range.from, Math.min(firstSeen, range.until - 2000));
  const middle = Math.round((from + range.until) / 2);
  return { a: { from, until: middle }, b: { from: middle, until: range.until }, word: "its first half" };
}

export const PRESETS: readonly { label: string; from: string }[] = [
  { label: "15 min", from: "now-15m" },
  { label: "1 hour", from: "" },
  { label: "6 hours", from: "now-6h" },
  { label: "24 hours", from: "now-24h" },
  { label: "7 days", from: "now-7d" },
  { label: "30 days", from: "now-30d" },
];
