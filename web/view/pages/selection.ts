/** What a page's URL selects, as API parameters. Relative times are pinned to one "now", so all requests agree. */
import { signal } from "@preact/signals";
import { apiPath } from "../api/client";
import { baselineOf, type Range, readRange } from "../state/time";

/** The moment relative times refer to; "Refresh" moves it. */
export const now = signal(Date.now());

export function refresh(): void {
  now.value = Date.now();
}

/** `label.*` parameters with their prefix (`""`, `"a."`, `"b."`) taken off. */
export function labelsOf(params: URLSearchParams, prefix = ""): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (const [key, value] of params) if (key.startsWith(`${prefix}label.`)) push(out, key.slice(prefix.length), value);
  return out;
}

function push(to: Record<string, string[]>, key: string, value: string): void {
  to[key] ??= [];
  to[key].push(value);
}

export interface Sides {
  a: Range;
  b: Range;
}

/** The two ranges of a comparison. Without an A of its own, A is the time just before B, or B's time if only labels differ. */
export function sidesOf(params: URLSearchParams, at: number): Sides {
  const time = (side: string, bound: string) => params.get(`${side}.${bound}`) ?? params.get(bound) ?? "";
  const b = readRange(time("b", "from"), time("b", "until"), at);
  if (params.has("a.from") || params.has("a.until"))
    return { a: readRange(time("a", "from"), time("a", "until"), at), b };
  const vs = params.get("vs");
  if (vs === "1d" || vs === "1w") return { a: baselineOf(b, vs), b };
  const splitByLabel = [...params.keys()].some(
    (k) => k.startsWith("a.label.") || k === "a.service" || k.startsWith("b.label."),
  );
  return { a: splitByLabel ? b : baselineOf(b, "prev"), b };
}

/** The part of the timeline to show around what is selected. */
export function contextOf(params: URLSearchParams, ranges: readonly Range[], at: number): Range {
  const stated = params.get("tl.from") ?? "";
  if (stated !== "") return readRange(stated, params.get("tl.until") ?? "", at);
  const from = Math.min(...ranges.map((r) => r.from));
  const until = Math.max(...ranges.map((r) => r.until));
  const pad = ranges.length > 1 ? (until - from) * 0.15 : 0;
  return { from: from - pad, until: Math.max(until, Math.min(at, until + pad)) };
}

/** The diff request of a `/diff` URL. */
export function diffPath(
  params: URLSearchParams,
  sides: Sides,
  format: string,
  filter: readonly string[] = [],
): string {
  const pass: Record<string, string[]> = {};
  for (const [key, value] of params)
    if (/^(service|type|basis|trace)$|^label\.|^[ab]\.(label\.|service$|type$|trace$)/.test(key))
      push(pass, key, value);
  return apiPath("/api/v1/diff", {
    ...pass,
    "a.from": Math.round(sides.a.from),
    "a.until": Math.round(sides.a.until),
    "b.from": Math.round(sides.b.from),
    "b.until": Math.round(sides.b.until),
    ...detail(params),
    format,
    filter,
  });
}

/** Everything, where the reader asked for it. */
export function detail(params: URLSearchParams): Record<string, string> {
  return params.get("full") === "1" ? { max_nodes: "1000000", min_share: "0" } : {};
}

/** Parameters that a link to a comparison takes along. */
export function compareParams(
  service: string,
  params: URLSearchParams,
  a: Range,
  b: Range,
): Record<string, string | number | string[]> {
  return {
    service,
    type: params.get("type") ?? "",
    ...labelsOf(params),
    "a.from": Math.round(a.from),
    "a.until": Math.round(a.until),
    "b.from": Math.round(b.from),
    "b.until": Math.round(b.until),
  };
}
