/**
 * What was worked out of a tree before: asked for at every change of view, and long in the making for a large tree. It is remembered as
 * long as the tree is. A worker writes down what it makes, so that the page can know the same without making it.
 */
import { byWeight } from "./build";
import { familyShares } from "./families";
import type { Frames } from "./frames";
import { bottomUp, calleesOf, callersOf } from "./invert";
import { type FunctionTable, functionTable } from "./table";
import { applyTransforms, parseTransform, type Transform } from "./transform";
import type { Tree } from "./tree";
import { parseSpeedup, type Speedup, sped } from "./whatif";

/** Of `from`, by `what`: this. */
export interface Made {
  from: Tree;
  what: string;
  value: unknown;
}

const known = new WeakMap<Tree, Map<string, unknown>>();
/** Where is written down what is made; null where nobody asks for it. */
let journal: Made[] | null = null;

/** Does `work`, and returns what was made for it, in order: of a tree, first the tree itself. */
export function writingDown(work: () => void): Made[] {
  const made: Made[] = [];
  journal = made;
  try {
    work();
  } finally {
    journal = null;
  }
  return made;
}

/** Adds what somebody else made. What is there already stays, and is returned: it may be on the screen. */
export function remember({ from, what, value }: Made): unknown {
  let all = known.get(from);
  if (!all) {
    all = new Map();
    known.set(from, all);
  }
  if (!all.has(what)) all.set(what, value);
  return all.get(what);
}

/** Of this tree nothing is known any more. */
export function forget(tree: Tree): void {
  known.delete(tree);
}

/** `make()`, or what it returned the last time. */
export function once<T>(from: Tree, what: string, make: () => T): T {
  const all = known.get(from);
  if (all?.has(what)) return all.get(what) as T;
  const made = { from, what, value: make() };
  remember(made);
  journal?.push(made);
  return made.value;
}

/** With filters applied, written as in links. */
export function filteredOf(tree: Tree, frames: Frames, filters: readonly string[]): Tree {
  if (filters.length === 0) return tree;
  const parsed = () => filters.map(parseTransform).filter((t): t is Transform => t !== null);
  return once(tree, `t:${filters.join("\n")}`, () => applyTransforms(tree, frames, parsed()));
}

/** The heaviest sibling first. Only for trees that compare nothing: weights of others depend on how they are drawn. */
export function sortedOf(tree: Tree): Tree {
  return once(tree, "sorted", () => byWeight(tree, tree.totalB));
}

/** Functions by self cost, with their callers below. */
export function bottomUpOf(tree: Tree, frames: Frames): Tree {
  return once(tree, "bottomUp", () => bottomUp(tree, frames));
}

/** Both halves of a sandwich. */
export function halvesOf(tree: Tree, frames: Frames, func: number): { callers: Tree; callees: Tree } {
  return {
    callers: once(tree, `callers:${func}`, () => callersOf(tree, frames, func)),
    callees: once(tree, `callees:${func}`, () => calleesOf(tree, frames, func)),
  };
}

/** What functions cost. */
export function tableOf(tree: Tree, frames: Frames): FunctionTable {
  return once(tree, "table", () => functionTable(tree, frames));
}

/** What families cost. */
export function sharesOf(tree: Tree, frames: Frames): [string, number][] {
  return once(tree, "shares", () => familyShares(tree, frames));
}

/** With functions made faster, written as in links. */
export function fasterOf(tree: Tree, frames: Frames, faster: readonly string[]): Tree {
  const basket = basketOf(frames, faster);
  return basket.length === 0 ? tree : once(tree, `wi:${faster.join("\n")}`, () => sped(tree, frames, basket));
}

export function basketOf(frames: Frames, faster: readonly string[]): Speedup[] {
  return faster.map((text) => parseSpeedup(text, frames)).filter((s) => s !== null);
}
