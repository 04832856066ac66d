/**
 * Bottom-up trees: functions by self cost with their callers below, and the two halves of the sandwich.
 *
 * Inverting everything at once hangs on large profiles, so a group is only split while it is heavier than `share` of the
 * total; a lighter one stays whole, as a leaf. Totals are exact at every level.
 */
import { TreeBuilder } from "./build";
import type { Frames } from "./frames";
import { finishTree, type Tree } from "./tree";

/** A quarter of a pixel on a 2 k screen. */
export const SPLIT_SHARE = 1 / 8000;

interface Group {
  frame: number;
  depth: number;
  /** The node each stack has reached on its way to the root. */
  nodes: Int32Array;
  a: Float64Array;
  b: Float64Array;
}

/** Functions by self cost, callers as children. */
export function bottomUp(tree: Tree, frames: Frames, share = SPLIT_SHARE): Tree {
  const nodes: number[] = [];
  const a: number[] = [];
  const b: number[] = [];
  for (let i = 1; i < tree.count; i++) {
    if (tree.selfA[i]! <= 0 && tree.selfB[i]! <= 0) continue;
    nodes.push(i);
    a.push(tree.selfA[i]!);
    b.push(tree.selfB[i]!);
  }
  return climb(tree, frames, nodes, a, b, share);
}

/** Everything that leads to `func`, nearest caller first. The first row is the function itself. */
export function callersOf(tree: Tree, frames: Frames, func: number, share = SPLIT_SHARE): Tree {
  return callersOfMatches(tree, frames, (node) => frames.func[tree.frame[node]!] === func, share);
}

/** The same for all frames that match: they are the first row. */
export function callersOfMatches(
  tree: Tree,
  frames: Frames,
  isMatch: (node: number) => boolean,
  share = SPLIT_SHARE,
): Tree {
  const nodes = outermost(tree, isMatch);
  const a = nodes.map((i) => tree.totalA[i]!);
  const b = nodes.map((i) => tree.totalB[i]!);
  return climb(tree, frames, nodes, a, b, share);
}

/** Everything below `func`, its outermost calls merged. The first row is the function itself. */
export function calleesOf(tree: Tree, frames: Frames, func: number): Tree {
  const builder = new TreeBuilder(tree.frame[0]!, frames.count, tree.q !== null);
  const at = new Int32Array(tree.count);
  for (const top of outermost(tree, (node) => frames.func[tree.frame[node]!] === func)) {
    for (let i = top; i < tree.end[top]!; i++) {
      const frame = i === top ? frames.frameOfFunc[func]! : tree.frame[i]!;
      at[i] = builder.child(i === top ? 0 : at[tree.parent[i]!]!, frame);
      builder.add(at[i]!, tree.selfA[i]!, tree.selfB[i]!);
      if (tree.q) builder.addQ(at[i]!, tree.q[i]!);
    }
  }
  return builder.finish();
}

/** Matching nodes that are not below another one. */
function outermost(tree: Tree, isMatch: (node: number) => boolean): number[] {
  const out: number[] = [];
  for (let i = 1; i < tree.count; ) {
    if (isMatch(i)) {
      out.push(i);
      i = tree.end[i]!;
    } else i++;
  }
  return out;
}

function climb(tree: Tree, frames: Frames, start: number[], a: number[], b: number[], share: number): Tree {
  const compares = tree.q !== null;
  const floorA = sum(a) * share;
  const floorB = sum(b) * share;
  const depth: number[] = [0];
  const frame: number[] = [tree.frame[0]!];
  const selfA: number[] = [0];
  const selfB: number[] = [0];
  const todo = split(tree, frames, Int32Array.from(start), Float64Array.from(a), Float64Array.from(b), 1);
  while (todo.length > 0) {
    const group = todo.pop()!;
    const at = depth.push(group.depth) - 1;
    frame.push(group.frame);
    const [wholeA, wholeB] = [sum(group.a), sum(group.b)];
    if (wholeA <= floorA && wholeB <= floorB) {
      selfA.push(wholeA);
      selfB.push(wholeB);
      continue;
    }
    selfA.push(0);
    selfB.push(0);
    const up = new Int32Array(group.nodes.length);
    const upA = new Float64Array(up.length);
    const upB = new Float64Array(up.length);
    let kept = 0;
    for (let k = 0; k < up.length; k++) {
      const p = tree.parent[group.nodes[k]!]!;
      if (p > 0) {
        up[kept] = p;
        upA[kept] = group.a[k]!;
        upB[kept++] = group.b[k]!;
      } else {
        selfA[at]! += group.a[k]!;
        selfB[at]! += group.b[k]!;
      }
    }
    const next = split(
      tree,
      frames,
      up.subarray(0, kept),
      upA.subarray(0, kept),
      upB.subarray(0, kept),
      group.depth + 1,
    );
    for (const child of next) todo.push(child);
  }
  const outA = Float64Array.from(selfA);
  return finishTree(
    Uint16Array.from(depth),
    Uint32Array.from(frame),
    outA,
    compares ? Float64Array.from(selfB) : outA,
    compares ? new Uint16Array(depth.length).fill(10_000) : null,
  );
}

/** Groups stacks by the function they stand on; lightest first, because the work list is a stack. */
function split(
  tree: Tree,
  frames: Frames,
  nodes: Int32Array,
  a: Float64Array,
  b: Float64Array,
  depth: number,
): Group[] {
  const sizes = new Map<number, number>();
  for (const i of nodes) {
    const f = frames.func[tree.frame[i]!]!;
    sizes.set(f, (sizes.get(f) ?? 0) + 1);
  }
  const groups = new Map<number, Group & { used: number; weight: number }>();
  for (let k = 0; k < nodes.length; k++) {
    const f = frames.func[tree.frame[nodes[k]!]!]!;
    let g = groups.get(f);
    if (!g) {
      const n = sizes.get(f)!;
      g = {
        frame: frames.frameOfFunc[f]!,
        depth,
        nodes: new Int32Array(n),
        a: new Float64Array(n),
        b: new Float64Array(n),
        used: 0,
        weight: 0,
      };
      groups.set(f, g);
    }
    g.nodes[g.used] = nodes[k]!;
    g.a[g.used] = a[k]!;
    g.b[g.used++] = b[k]!;
    g.weight += a[k]! + b[k]!;
  }
  return [...groups.values()].sort((x, y) => x.weight - y.weight);
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
