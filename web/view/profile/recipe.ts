/**
 * From a profile to what is drawn of it: filters, runtimes, what-ifs, orientation, order, and where each box lies. One recipe is
 * followed by a worker, who says what was made on the way, and by the page, which then knows it all and makes nothing.
 */

import { byWeight } from "./build";
import { type Scale, scaleOf, selfWeights, type WidthMode } from "./diff";
import { bottomUpOf, fasterOf, filteredOf, halvesOf, once, sharesOf, sortedOf, tableOf } from "./known";
import { type Layout, layOut } from "./layout";
import { parseTransform, transformText, WITHOUT_FRAMEWORKS } from "./transform";
import type { Profile, Tree } from "./tree";

export interface Recipe {
  view: string;
  /** As in links, but for the one that hides runtimes. */
  filters: string[];
  /** Are runtimes and servers hidden? */
  hidden: boolean;
  /** What-ifs, as in links. */
  faster: string[];
  width: WidthMode;
  /** Is the heaviest sibling first? Null: where nothing is compared. */
  sorted: boolean | null;
  /** The function in the middle of a sandwich; "" for the one that costs most by itself. */
  pivot: string;
}

/** What a page that says nothing shows. */
export const PLAIN: Recipe = {
  view: "flame",
  filters: [],
  hidden: true,
  faster: [],
  width: "b",
  sorted: null,
  pivot: "",
};

export interface Cooked {
  /** With the filters, runtimes and all. */
  whole: Tree;
  /** What costs something by itself in what is shown: before stacks are turned over, where callers come last. */
  upright: Tree;
  /** Without runtimes. */
  own: Tree;
  /** What is looked at. */
  base: Tree;
  /** The same with the what-ifs. */
  relaid: Tree;
  shown: Tree;
  layout: Layout;
  /** Of a sandwich: the function in its middle, and its halves. */
  halves: { func: number; callers: Tree; callees: Tree } | null;
}

/** The filters as they are applied where runtimes are hidden: after the others, since what these name can be a runtime's; but before stacks are turned over. */
export function withoutRuntimes(filters: readonly string[]): string[] {
  const turned = filters.findIndex((f) => parseTransform(f)?.kind === "pivot");
  return filters.toSpliced(turned < 0 ? filters.length : turned, 0, transformText(WITHOUT_FRAMEWORKS));
}

export function cook(profile: Profile, recipe: Recipe): Cooked {
  const { tree, frames, diff } = profile;
  const { filters, width, view } = recipe;
  const scale = scaleOf(profile);
  const whole = filteredOf(tree, frames, filters);
  const isPivot = (f: string) => parseTransform(f)?.kind === "pivot";
  const upright = filters.some(isPivot)
    ? filteredOf(
        tree,
        frames,
        filters.map((f) => (isPivot(f) ? f.replace("pivot", "keep") : f)),
      )
    : whole;
  // The most usual way, and the one that most others begin with.
  const hiding = withoutRuntimes(filters);
  const own = filters.some(isPivot) ? filteredOf(tree, frames, hiding) : filteredOf(whole, frames, hiding.slice(-1));
  const base = recipe.hidden ? own : whole;
  // A comparison stays what it was: of a speed-up there is no evidence.
  const relaid = diff ? base : fasterOf(base, frames, recipe.faster);
  const upside = view === "bottomup";
  const oriented = upside ? bottomUpOf(relaid, frames) : relaid;
  const shown = upside || !(recipe.sorted ?? !diff) ? oriented : sorted(oriented);
  // What the speed-ups take away: room that stays empty, so that it can be seen.
  const saved = base.totalB[0]! - relaid.totalB[0]!;
  const layout = layoutOf(shown, scale, width, saved);
  sharesOf(upright, frames);
  return { whole, upright, own, base, relaid, shown, layout, halves: halves() };

  function sorted(of: Tree): Tree {
    if (of.selfA === of.selfB) return sortedOf(of);
    return once(of, `sorted:${width}`, () => {
      const weights = selfWeights(of, scale, width).slice();
      for (let i = of.count - 1; i > 0; i--) weights[of.parent[i]!]! += weights[i]!;
      return byWeight(of, weights);
    });
  }

  function halves(): Cooked["halves"] {
    if (view === "table") tableOf(relaid, frames);
    if (view !== "sandwich") return null;
    const { funcs, selfB } = tableOf(relaid, frames);
    let func = recipe.pivot === "" ? -1 : frames.funcByName(recipe.pivot);
    if (func < 0) for (const f of funcs) if (func < 0 || selfB[f]! > selfB[func]!) func = f;
    if (func < 0) return null;
    const { callers, callees } = halvesOf(relaid, frames, func);
    for (const half of [callers, callees]) layoutOf(half, scale, width);
    return { func, callers, callees };
  }
}

/** Where each box lies. At the end is room for `saved`. */
export function layoutOf(tree: Tree, scale: Scale, width: WidthMode, saved = 0): Layout {
  return once(tree, `layout:${width}:${saved}`, () => {
    const weights = selfWeights(tree, scale, width);
    if (saved <= 0) return layOut(tree, weights);
    const withRoom = weights.slice();
    withRoom[0]! += saved;
    return layOut(tree, withRoom);
  });
}
