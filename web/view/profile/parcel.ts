/** A decoded profile on its way from a worker to the page: columns are handed over and not copied. Both ends; pure but for what is remembered. */
import type { FlameHeader } from "../api/contract";
import { decodeFlame } from "./decode";
import { type FrameIndex, Frames } from "./frames";
import { bottomUpOf, ownOf, remember, sortedOf } from "./known";
import type { Profile, Tree } from "./tree";

/** What is shown first: the profile, and its default view worked out of it. */
export interface Parcel {
  header: FlameHeader;
  index: FrameIndex;
  tree: Tree;
  own: Tree;
  sorted: Tree | null;
}

export interface Packed {
  parcel: Parcel;
  transfer: Transferable[];
  /** What is asked for later, once the parcel is on its way: its default view bottom-up. */
  bottomUp(): { tree: Tree; transfer: Transferable[] };
}

/** Decodes `application/vnd.tephra.flame` and works out what is looked at first. Throws as [`decodeFlame`] does. */
export function pack(bytes: ArrayBuffer): Packed {
  const { header, frames, tree, diff } = decodeFlame(bytes);
  const own = ownOf(tree, frames);
  const sorted = diff ? null : sortedOf(own);
  // What is handed over is gone here: of the columns that are read again there is a copy.
  const kept = { ...own, parent: own.parent.slice(), frame: own.frame.slice(), ...copyOfSelf(own) };
  const index = structuredClone(frames.index);
  return {
    parcel: { header, index, tree, own, sorted },
    transfer: buffersOf([tree, own, ...(sorted ? [sorted] : [])], index),
    bottomUp() {
      const turned = bottomUpOf(kept, frames);
      return { tree: turned, transfer: buffersOf([turned]) };
    },
  };
}

/** The profile in a parcel. Its default view is remembered, so that it is not worked out again. */
export function unpack({ header, index, tree, own, sorted }: Parcel): Profile {
  remember(tree, { own });
  if (sorted) remember(own, { sorted });
  return { header, frames: new Frames(header, index), tree, diff: header.diff };
}

/** The default view of a profile turned bottom-up, when it comes. */
export function addBottomUp(profile: Profile, bottomUp: Tree): void {
  remember(ownOf(profile.tree, profile.frames), { bottomUp });
}

function copyOfSelf(tree: Tree): Pick<Tree, "selfA" | "selfB"> {
  const selfA = tree.selfA.slice();
  return { selfA, selfB: tree.selfB === tree.selfA ? selfA : tree.selfB.slice() };
}

/** Each buffer once: columns of one tree, and those of another that is a part of it, may share one. */
function buffersOf(trees: readonly Tree[], index?: FrameIndex): Transferable[] {
  const columns = [...trees, ...(index ? [index] : [])].flatMap((of) => Object.values(of) as unknown[]);
  return [...new Set(columns.filter((c) => ArrayBuffer.isView(c)).map((c) => c.buffer as ArrayBuffer))];
}
