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
  // Numbers instead of names: this is done for each node of a large tree.
  const names: string[] = [UNCLASSIFIED];
  const idOfName = new Map([[UNCLASSIFIED, 0]]);
  const familyOfFrame = new Uint16Array(frames.count);
  for (let f = 0; f < frames.count; f++) {
    const name = frames.family(f);
    const id = idOfName.get(name) ?? names.push(name) - 1;
    idOfName.set(name, id);
    familyOfFrame[f] = id;
  }
  const carries = names.map((name) => carriers.has(name));
  const sums = new Float64Array(names.length);
  const owner = new Uint16Array(tree.rows);
  for (let i = 1; i < tree.count; i++) {
    const depth = tree.depth[i]!;
    const above = owner[depth - 1]!;
    const family = familyOfFrame[tree.frame[i]!]! || (carries[above] ? 0 : above);
    owner[depth] = family;
    if (tree.selfB[i]! > 0) sums[family]! += tree.selfB[i]!;
  }
  const total = tree.totalB[0] || 1;
  return names
    .map((name, id): [string, number] => [name, sums[id]! / total])
    .filter(([, share]) => share > 0)
    .sort((x, y) => y[1] - x[1]);
}
