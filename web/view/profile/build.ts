/** Builds trees that did not come from the server: merged, filtered, reordered. */
import { finishTree, type Tree } from "./tree";

/** A trie under construction. Node 0 is the root. */
export class TreeBuilder {
  private readonly frames: number[];
  private readonly parents: number[] = [-1];
  private readonly a: number[] = [0];
  private readonly b: number[] = [0];
  private readonly qs: number[] = [10_000];
  private readonly merged: number[] = [0];
  private readonly index = new Map<number, number>();

  constructor(
    rootFrame: number,
    private readonly frameCount: number,
    private readonly compares: boolean,
  ) {
    this.frames = [rootFrame];
  }

  /** The child of `parent` for `frame`, made if need be. */
  child(parent: number, frame: number): number {
    const key = parent * this.frameCount + frame;
    const found = this.index.get(key);
    if (found !== undefined) return found;
    const id = this.frames.push(frame) - 1;
    this.parents.push(parent);
    this.a.push(0);
    this.b.push(0);
    this.qs.push(10_000);
    this.merged.push(0);
    this.index.set(key, id);
    return id;
  }

  add(node: number, selfA: number, selfB: number): void {
    this.a[node]! += selfA;
    this.b[node]! += selfB;
  }

  /** Keeps the strongest evidence, paid for by the number of nodes it was chosen among (Bonferroni). */
  addQ(node: number, q: number): void {
    this.merged[node]!++;
    if (q < this.qs[node]!) this.qs[node] = q;
  }

  finish(): Tree {
    const n = this.frames.length;
    const q = this.compares ? new Uint16Array(n) : null;
    if (q) for (let i = 0; i < n; i++) q[i] = Math.min(10_000, this.qs[i]! * Math.max(1, this.merged[i]!));
    const selfA = Float64Array.from(this.a);
    return preorder(this.parents, this.frames, selfA, this.compares ? Float64Array.from(this.b) : selfA, q);
  }
}

/** Turns nodes whose parents come before them into preorder, siblings in the order they came. */
export function preorder(
  parents: ArrayLike<number>,
  frames: ArrayLike<number>,
  selfA: Float64Array,
  selfB: Float64Array,
  q: Uint16Array | null,
  before?: (x: number, y: number) => number,
): Tree {
  const n = parents.length;
  const first = new Int32Array(n).fill(-1);
  const next = new Int32Array(n).fill(-1);
  // From the back, so that each list ends up in arrival order.
  for (let i = n - 1; i > 0; i--) {
    const p = parents[i]!;
    next[i] = first[p]!;
    first[p] = i;
  }
  if (before) sortSiblings(first, next, before);
  const depth = new Uint16Array(n);
  const frame = new Uint32Array(n);
  const a = new Float64Array(n);
  const b = selfA === selfB ? a : new Float64Array(n);
  const outQ = q ? new Uint16Array(n) : null;
  const levels = new Uint16Array(n);
  const stack = [0];
  for (let at = 0; stack.length > 0; at++) {
    const i = stack.pop()!;
    const d = i === 0 ? 0 : levels[parents[i]!]! + 1;
    levels[i] = d;
    depth[at] = d;
    frame[at] = frames[i]!;
    a[at] = selfA[i]!;
    b[at] = selfB[i]!;
    if (outQ) outQ[at] = q![i]!;
    if (i !== 0 && next[i]! >= 0) stack.push(next[i]!);
    if (first[i]! >= 0) stack.push(first[i]!);
  }
  return finishTree(depth, frame, a, b, outQ);
}

function sortSiblings(first: Int32Array, next: Int32Array, before: (x: number, y: number) => number): void {
  const siblings: number[] = [];
  for (let p = 0; p < first.length; p++) {
    if (first[p]! < 0 || next[first[p]!]! < 0) continue;
    siblings.length = 0;
    for (let c = first[p]!; c >= 0; c = next[c]!) siblings.push(c);
    siblings.sort(before);
    first[p] = siblings[0]!;
    for (let k = 0; k < siblings.length; k++) next[siblings[k]!] = siblings[k + 1] ?? -1;
  }
}

/** The same tree with the heaviest sibling first. */
export function byWeight(tree: Tree, weight: Float64Array): Tree {
  return preorder(tree.parent, tree.frame, tree.selfA, tree.selfB, tree.q, (x, y) => weight[y]! - weight[x]! || x - y);
}
