/** Where each node lies: x and width as shares of the whole, plus the nodes of each row for hit tests. */
import type { Tree } from "./tree";

export interface Layout {
  readonly x: Float64Array;
  readonly w: Float64Array;
  /** Sum of all weights, in the weights' unit. */
  readonly total: number;
  /** Nodes of depth d are `rowNodes[rowStart[d] .. rowStart[d + 1]]`, left to right. */
  readonly rowStart: Uint32Array;
  readonly rowNodes: Uint32Array;
}

/** Children lie left to right from their parent's left edge; what the parent spent itself is the gap at its right. */
export function layOut(tree: Tree, selfWeight: Float64Array): Layout {
  const n = tree.count;
  const w = selfWeight.slice();
  for (let i = n - 1; i > 0; i--) w[tree.parent[i]!]! += w[i]!;
  const total = n > 0 ? w[0]! : 0;
  const scale = total > 0 ? 1 / total : 0;
  const x = new Float64Array(n);
  const next = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    w[i]! *= scale;
    const p = tree.parent[i]!;
    if (p >= 0) {
      x[i] = next[p]!;
      next[p]! += w[i]!;
    }
    next[i] = x[i]!;
  }
  const rowStart = new Uint32Array(tree.rows + 1);
  for (let i = 0; i < n; i++) rowStart[tree.depth[i]! + 1]!++;
  for (let d = 0; d < tree.rows; d++) rowStart[d + 1]! += rowStart[d]!;
  const at = rowStart.slice();
  const rowNodes = new Uint32Array(n);
  for (let i = 0; i < n; i++) rowNodes[at[tree.depth[i]!]!++] = i;
  return { x, w, total, rowStart, rowNodes };
}

/** The node of row `depth` that covers `x`; -1 if there is none. */
export function hitTest(layout: Layout, depth: number, x: number): number {
  if (depth < 0 || depth >= layout.rowStart.length - 1) return -1;
  const from = layout.rowStart[depth]!;
  let lo = from;
  let hi = layout.rowStart[depth + 1]!;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (layout.x[layout.rowNodes[mid]!]! <= x) lo = mid + 1;
    else hi = mid;
  }
  // Of nodes that start here, empty ones may follow the one that has width.
  for (let k = lo - 1; k >= from; k--) {
    const node = layout.rowNodes[k]!;
    if (layout.w[node]! > 0) return x < layout.x[node]! + layout.w[node]! ? node : -1;
  }
  return -1;
}

/** The neighbour in the same row with visible width, `step` = −1 or 1; -1 at the edge. */
export function neighbour(tree: Tree, layout: Layout, node: number, step: 1 | -1): number {
  const d = tree.depth[node]!;
  const [from, to] = [layout.rowStart[d]!, layout.rowStart[d + 1]!];
  let lo = from;
  let hi = to;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (layout.rowNodes[mid]! < node) lo = mid + 1;
    else hi = mid;
  }
  for (let k = lo + step; k >= from && k < to; k += step)
    if (layout.w[layout.rowNodes[k]!]! > 0) return layout.rowNodes[k]!;
  return -1;
}
