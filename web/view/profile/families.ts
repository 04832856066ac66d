/** Which families own the cost of a tree: the same rule as the collector's, for what is shown of it. */
import type { Frames } from "./frames";
import type { Tree } from "./tree";

/** What no rule names: the program's own code, for the most part. */
export const UNCLASSIFIED = "unknown";

/**
 * Self cost by family, as shares of the whole, largest first. The classified frame nearest to the leaf owns a cost, unless it only
 * carries: what a runtime or a server calls is somebody else's, and unclassified unless a rule names it.
 */
export function familyShares(tree: Tree, frames: Frames): [string, number][] {
  const { carriers } = frames;
  const sums = new Map<string, number>();
  const owner: string[] = [UNCLASSIFIED];
  for (let i = 1; i < tree.count; i++) {
    const own = frames.family(tree.frame[i]!);
    const above = owner[tree.depth[i]! - 1]!;
    const family = own !== UNCLASSIFIED ? own : carriers.has(above) ? UNCLASSIFIED : above;
    owner[tree.depth[i]!] = family;
    if (tree.selfB[i]! <= 0) continue;
    sums.set(family, (sums.get(family) ?? 0) + tree.selfB[i]!);
  }
  const total = tree.totalB[0] || 1;
  return [...sums].map(([f, v]): [string, number] => [f, v / total]).sort((x, y) => y[1] - x[1]);
}
