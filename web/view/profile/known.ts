/**
 * What was worked out of a tree before: the same without frameworks, sorted by weight, and bottom-up. It is asked for at every
 * change of view, and takes long for a large tree; so it is remembered as long as the tree is, and may come from a worker.
 */
import { byWeight } from "./build";
import type { Frames } from "./frames";
import { bottomUp } from "./invert";
import { applyTransforms, WITHOUT_FRAMEWORKS } from "./transform";
import type { Tree } from "./tree";

export interface Known {
  own?: Tree;
  /** Where nothing is compared. */
  sorted?: Tree;
  bottomUp?: Tree;
}

const known = new WeakMap<Tree, Known>();

/** Adds what somebody else worked out of `tree`. What is there already stays: it may be on the screen. */
export function remember(tree: Tree, more: Known): void {
  known.set(tree, { ...more, ...known.get(tree) });
}

function once(tree: Tree, what: keyof Known, make: () => Tree): Tree {
  const found = known.get(tree)?.[what];
  if (found) return found;
  const made = make();
  remember(tree, { [what]: made });
  return made;
}

/** Without the towers of runtimes and servers. */
export function ownOf(tree: Tree, frames: Frames): Tree {
  return once(tree, "own", () => applyTransforms(tree, frames, [WITHOUT_FRAMEWORKS]));
}

/** The heaviest sibling first. Only for trees that compare nothing: weights of others depend on how they are drawn. */
export function sortedOf(tree: Tree): Tree {
  return once(tree, "sorted", () => byWeight(tree, tree.totalB));
}

/** Functions by self cost, with their callers below. */
export function bottomUpOf(tree: Tree, frames: Frames): Tree {
  return once(tree, "bottomUp", () => bottomUp(tree, frames));
}
