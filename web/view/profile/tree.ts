/**
 * The one tree model behind every view: preorder columns in typed arrays.
 *
 * A node's subtree is the run `i .. end[i]`, so "skip this subtree" is one assignment; that is what keeps a million nodes
 * drawable. Side B is the side being looked at; where nothing is compared, the A columns are the same arrays.
 */
import type { FlameHeader } from "../api/contract";
import type { Frames } from "./frames";

export interface Tree {
  readonly count: number;
  /** Number of rows: the deepest depth + 1. */
  readonly rows: number;
  readonly depth: Uint16Array;
  /** Parent's index; -1 for the root. */
  readonly parent: Int32Array;
  /** First index after the subtree. */
  readonly end: Uint32Array;
  readonly frame: Uint32Array;
  readonly selfA: Float64Array;
  readonly selfB: Float64Array;
  readonly totalA: Float64Array;
  readonly totalB: Float64Array;
  /** False-discovery rate in 1/10000; null where nothing is compared. */
  readonly q: Uint16Array | null;
}

export interface Profile {
  readonly header: FlameHeader;
  readonly frames: Frames;
  readonly tree: Tree;
  readonly diff: boolean;
}

/** More than any unwinder walks; the depth column is 16 bits wide. */
export const DEPTH_MAX = 65_535;

/** Fills in what follows from depth and self values. `selfB === selfA` means nothing is compared. */
export function finishTree(
  depth: Uint16Array,
  frame: Uint32Array,
  selfA: Float64Array,
  selfB: Float64Array,
  q: Uint16Array | null,
): Tree {
  const count = depth.length;
  const parent = new Int32Array(count);
  const end = new Uint32Array(count);
  let rows = 0;
  for (let i = 0; i < count; i++) if (depth[i]! >= rows) rows = depth[i]! + 1;
  const last = new Int32Array(rows + 1);
  for (let i = 0; i < count; i++) {
    const d = depth[i]!;
    parent[i] = d === 0 ? -1 : last[d - 1]!;
    last[d] = i;
    end[i] = i + 1;
  }
  const totalA = selfA.slice();
  const same = selfA === selfB;
  const totalB = same ? totalA : selfB.slice();
  for (let i = count - 1; i > 0; i--) {
    const p = parent[i]!;
    if (p < 0) continue;
    if (end[p]! < end[i]!) end[p] = end[i]!;
    totalA[p]! += totalA[i]!;
    if (!same) totalB[p]! += totalB[i]!;
  }
  return { count, rows, depth, parent, end, frame, selfA, selfB, totalA, totalB, q };
}

/** The frames from the root (left out) to `node`. */
export function pathOf(tree: Tree, node: number): number[] {
  const path: number[] = [];
  for (let i = node; i > 0; i = tree.parent[i]!) path.push(i);
  return path.reverse();
}

/** Children of `node`, in order. */
export function childrenOf(tree: Tree, node: number): number[] {
  const out: number[] = [];
  for (let c = node + 1; c < tree.end[node]!; c = tree.end[c]!) out.push(c);
  return out;
}

/** The child with the largest side-B (then side-A) total; -1 for a leaf. */
export function widestChild(tree: Tree, node: number, weight: Float64Array): number {
  let best = -1;
  for (let c = node + 1; c < tree.end[node]!; c = tree.end[c]!) if (best < 0 || weight[c]! > weight[best]!) best = c;
  return best;
}

/** A node's name for URLs: a hash over the names on its path, so it survives new data and other orders. */
export function pathKey(tree: Tree, frames: Frames, node: number): string {
  let hash = 0x811c9dc5;
  for (const i of pathOf(tree, node)) hash = mixPath(hash, frames.hash(tree.frame[i]!));
  return hash.toString(36);
}

/** Finds the node [`pathKey`] named; -1 if this tree has none. */
export function findKey(tree: Tree, frames: Frames, key: string): number {
  const at = new Uint32Array(tree.rows);
  at[0] = 0x811c9dc5;
  if (key === at[0].toString(36)) return 0;
  const want = Number.parseInt(key, 36);
  for (let i = 1; i < tree.count; i++) {
    const d = tree.depth[i]!;
    at[d] = mixPath(at[d - 1]!, frames.hash(tree.frame[i]!));
    if (at[d] === want) return i;
  }
  return -1;
}

function mixPath(hash: number, frame: number): number {
  let h = Math.imul(hash ^ frame, 0x01000193);
  h ^= h >>> 15;
  h = Math.imul(h, 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}
