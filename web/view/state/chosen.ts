/** Which requests the reader asks about, as the URL writes it: `why=1` is the slowest 1 %, `took=` and `during=` a rectangle of the map. */

/** A rectangle of time × duration. */
export interface Brush {
  /** Microseconds, from this on; 0 is any. */
  minUs: number;
  /** Microseconds, below this; null is any. */
  maxUs: number | null;
  /** Unix milliseconds; null is all the time that is shown. */
  during: readonly [from: number, until: number] | null;
}

export type Chosen = { slowest: number } | { brush: Brush };

/** What `why=` may be, in percent, as the collector has it. */
const SLOWEST_MIN = 0.01;
const SLOWEST_MAX = 50;

/** The preset. */
export const SLOWEST = { slowest: 1 } as const satisfies Chosen;

/** What a URL chooses; null for nothing, and for what cannot be read. A rectangle is more than a share. */
export function readChosen(params: URLSearchParams): Chosen | null {
  const brush = readBrush(params.get("took") ?? "", params.get("during") ?? "");
  if (brush) return { brush };
  const slowest = Number(params.get("why") ?? "");
  return slowest >= SLOWEST_MIN && slowest <= SLOWEST_MAX ? { slowest } : null;
}

/** The parameters that say it; null takes all of them away. */
export function chosenParams(chosen: Chosen | null): Record<"why" | "took" | "during", string | null> {
  const none = { why: null, took: null, during: null };
  if (!chosen) return none;
  if ("slowest" in chosen) return { ...none, why: String(chosen.slowest) };
  const { minUs, maxUs, during } = chosen.brush;
  return { why: null, took: `${minUs}-${maxUs ?? ""}`, during: during ? during.join("-") : null };
}

/** The same for the collector. */
export function chosenQuery(chosen: Chosen): Record<string, number | undefined> {
  if ("slowest" in chosen) return chosen;
  const { minUs, maxUs, during } = chosen.brush;
  return { min_us: minUs, max_us: maxUs ?? undefined, inside_from: during?.[0], inside_until: during?.[1] };
}

function readBrush(took: string, during: string): Brush | null {
  const durations = /^(\d{1,15})-(\d{1,15})?$/.exec(took);
  if (!durations) return null;
  const [minUs, maxUs] = [Number(durations[1]), durations[2] === undefined ? null : Number(durations[2])];
  if (maxUs !== null && maxUs <= minUs) return null;
  const times = /^(\d{1,15})-(\d{1,15})$/.exec(during);
  if (!times) return { minUs, maxUs, during: null };
  const [from, until] = [Number(times[1]), Number(times[2])];
  return from < until ? { minUs, maxUs, during: [from, until] } : null;
}
