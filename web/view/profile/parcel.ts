/** A profile and what was made of it, on the way from a worker to the page. Both ends; pure but for what is remembered. */
import type { FlameHeader } from "../api/contract";
import { decodeFlame } from "./decode";
import { type FrameIndex, Frames } from "./frames";
import { forget, type Made, remember, writingDown } from "./known";
import { cook, type Recipe } from "./recipe";
import type { Profile, Tree } from "./tree";

/** What was made: trees are told by number, in the order in which they came; the profile's own is 0. */
export interface Delivery {
  made: { from: number; what: string; value: unknown; tree: number | null }[];
  /** What was numbered before is forgotten, at both ends. */
  afresh: boolean;
}

export interface Parcel {
  header: FlameHeader;
  index: FrameIndex;
  tree: Tree;
}

/** At either end so many trees are kept: of a large profile each holds some megabytes. */
const TREES_MAX = 24;

/** The worker's end: a profile, and what the page knows of it. */
export class Kitchen {
  private readonly profile: Profile;
  private trees: Map<Tree, number>;

  /** Throws as [`decodeFlame`] does. */
  constructor(bytes: ArrayBuffer) {
    this.profile = decodeFlame(bytes);
    this.trees = new Map([[this.profile.tree, 0]]);
  }

  parcel(): Parcel {
    const { header, frames, tree } = this.profile;
    return { header, index: frames.index, tree };
  }

  /** Follows the recipe; returns what the page does not know. */
  cook(recipe: Recipe): Delivery {
    const { tree } = this.profile;
    const afresh = this.trees.size > TREES_MAX;
    if (afresh) {
      forget(tree);
      this.trees = new Map([[tree, 0]]);
    }
    const made = writingDown(() => cook(this.profile, recipe));
    return { afresh, made: made.map((one) => this.entry(one)) };
  }

  private entry({ from, what, value }: Made): Delivery["made"][number] {
    const { trees } = this;
    const isTree = typeof value === "object" && value !== null && "depth" in value;
    const known = isTree ? trees.get(value as Tree) : undefined;
    const number = isTree ? (known ?? trees.size) : null;
    if (isTree && known === undefined) trees.set(value as Tree, number!);
    return { from: trees.get(from)!, what, value: known === undefined ? value : null, tree: number };
  }
}

/** The page's end: a profile, and its trees by number. */
export class Pantry {
  readonly profile: Profile;
  private trees: Tree[];

  constructor({ header, index, tree }: Parcel) {
    this.profile = { header, frames: new Frames(header, index), tree, diff: header.diff };
    this.trees = [tree];
  }

  take({ made, afresh }: Delivery): void {
    const { tree } = this.profile;
    if (afresh) {
      forget(tree);
      this.trees = [tree];
    }
    for (const { from, what, value, tree: number } of made) {
      const came = number === null ? value : (this.trees[number] ?? value);
      const kept = remember({ from: this.trees[from]!, what, value: came });
      if (number !== null) this.trees[number] = kept as Tree;
    }
  }
}

/** A copy whose buffers can be handed over, and these. What was one array stays one. */
export function copied<T>(value: T): { copy: T; transfer: Transferable[] } {
  const copies = new Map<ArrayBufferView, ArrayBufferView>();
  const copy = (of: unknown): unknown => {
    if (ArrayBuffer.isView(of)) {
      if (!copies.has(of)) copies.set(of, (of as Float64Array).slice());
      return copies.get(of);
    }
    if (Array.isArray(of)) return of.map(copy);
    if (typeof of !== "object" || of === null) return of;
    return Object.fromEntries(Object.entries(of).map(([key, v]) => [key, copy(v)]));
  };
  return { copy: copy(value) as T, transfer: [...copies.values()].map((view) => view.buffer as ArrayBuffer) };
}
