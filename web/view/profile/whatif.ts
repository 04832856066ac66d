/** What if these functions were faster? Amdahl's law over a basket; CPU, not latency. */
import type { Frames } from "./frames";
import { finishTree, type Tree } from "./tree";

export interface Speedup {
  func: number;
  /** 2 = twice as fast; Infinity = free. */
  factor: number;
}

/** More would not be a plan, and the mask below has 31 bits. */
export const BASKET_MAX = 20;

/** The total that would remain. */
export function remainingTotal(tree: Tree, frames: Frames, basket: readonly Speedup[]): number {
  const factor = factors(tree, frames, basket);
  let total = 0;
  for (let i = 0; i < tree.count; i++) total += tree.selfB[i]! * factor[i]!;
  return total;
}

/** The tree as it would be, of a profile without a comparison. */
export function sped(tree: Tree, frames: Frames, basket: readonly Speedup[]): Tree {
  const factor = factors(tree, frames, basket);
  const self = tree.selfB.map((v, i) => v * factor[i]!);
  return finishTree(tree.depth, tree.frame, self, self, null);
}

/** What remains of each node's own cost. Each function counts once per stack, so recursion does not square its factor. */
function factors(tree: Tree, frames: Frames, basket: readonly Speedup[]): Float64Array {
  const used = basket.slice(0, BASKET_MAX);
  const slot = new Int8Array(frames.funcCount).fill(-1);
  used.forEach((s, k) => {
    if (s.func >= 0) slot[s.func] = k;
  });
  const factor = new Float64Array(tree.count).fill(1);
  const mask = new Uint32Array(tree.count);
  for (let i = 1; i < tree.count; i++) {
    const p = tree.parent[i]!;
    const k = slot[frames.func[tree.frame[i]!]!]!;
    mask[i] = mask[p]!;
    factor[i] = factor[p]!;
    if (k >= 0 && (mask[p]! & (1 << k)) === 0) {
      mask[i] = mask[p]! | (1 << k);
      factor[i] = factor[p]! / used[k]!.factor;
    }
  }
  return factor;
}

/** Reads `3:serde_json::to_vec` or `inf:name`; null if it is neither. */
export function parseSpeedup(text: string, frames: Frames): Speedup | null {
  const at = text.indexOf(":");
  const factor = text.slice(0, at) === "inf" ? Number.POSITIVE_INFINITY : Number(text.slice(0, at));
  const func = frames.funcByName(text.slice(at + 1));
  return at > 0 && factor >= 1 && func >= 0 ? { func, factor } : null;
}
