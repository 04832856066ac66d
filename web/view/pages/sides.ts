/** What tells the two sides of a comparison apart, in words. Pure. */
import * as fmt from "../ui/format";
import { labelsOf, type Sides } from "./selection";

export interface SideNames {
  a: string;
  b: string;
}

/** Services or labels where these differ, and the times where nothing else does. */
export function nameSides(params: URLSearchParams, sides: Sides, now?: number): SideNames {
  const [a, b] = [ownWords(params, "a."), ownWords(params, "b.")];
  if (a !== b) return { a: a === "" ? "everything" : a, b: b === "" ? "everything" : b };
  return { a: fmt.range(sides.a.from, sides.a.until, now), b: fmt.range(sides.b.from, sides.b.until, now) };
}

function ownWords(params: URLSearchParams, prefix: string): string {
  const service = params.get(`${prefix}service`);
  const labels = Object.entries(labelsOf(params, prefix)).map(([k, values]) => `${k.slice(6)}=${values.join("|")}`);
  return [...(service ? [service] : []), ...labels.sort()].join(" ");
}
