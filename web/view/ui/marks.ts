/** Moments that explain a change, drawn alike wherever there is time: a diamond for a deploy, a triangle for an alert, a bar for a restart, a dot for a note. */
import type { TephraEvent } from "../api/contract";

export type MarkKind = TephraEvent["kind"];

/** The mark around (`x`, `y`), `r` pixels from its middle to its edge. */
export function markPath(kind: MarkKind, x: number, y: number, r: number): string {
  if (kind === "alert") return `M${x} ${y - r}l${r} ${2 * r}h${-2 * r}z`;
  if (kind === "restart") return `M${x - r / 2} ${y - r}h${r}v${2 * r}h${-r}z`;
  if (kind === "note") return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
  return `M${x} ${y - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`;
}
