/** Typed transforms ("only stacks with …", "hide …"), evaluated on the full tree so totals stay exact. */
import { TreeBuilder } from "./build";
import { UNCLASSIFIED } from "./families";
import type { Frames } from "./frames";
import { compileSearch, matchesFrame } from "./search";
import type { Tree } from "./tree";

export type TransformKind = "with" | "without" | "hide";
export interface Transform {
  kind: TransformKind;
  pattern: string;
}

/** Reads `with:…`, `without:…`, `hide:…`; null for anything else. */
export function parseTransform(text: string): Transform | null {
  const match = /^(with|without|hide):(.+)$/s.exec(text);
  return match ? { kind: match[1] as TransformKind, pattern: match[2]! } : null;
}

/**
 * Hides the towers of runtimes and servers above the program's own code: no pattern, since what of them costs something by
 * itself stays.
 */
export const WITHOUT_FRAMEWORKS: Transform = { kind: "hide", pattern: "@frameworks" };

export function isWithoutFrameworks(t: Transform): boolean {
  return t.kind === WITHOUT_FRAMEWORKS.kind && t.pattern === WITHOUT_FRAMEWORKS.pattern;
}

export function transformText(t: Transform): string {
  return `${t.kind}:${t.pattern}`;
}

/** Applies each transform in turn. A pattern that is no regular expression leaves the tree as it is. */
export function applyTransforms(tree: Tree, frames: Frames, transforms: readonly Transform[]): Tree {
  let out = tree;
  for (const t of transforms) {
    if (isWithoutFrameworks(t)) {
      out = hide(out, frames, towers(out, frames));
      continue;
    }
    const search = compileSearch(t.pattern);
    if (!search.test) continue;
    const matches = new Uint8Array(frames.count);
    for (let f = 0; f < frames.count; f++) matches[f] = matchesFrame(search.test, frames, f) ? 1 : 0;
    const matching = () => out.frame.map((f) => matches[f]!);
    out = t.kind === "hide" ? hide(out, frames, matching()) : keep(out, frames, matches, t.kind === "with");
  }
  return out;
}

/** Nodes of carrying families that lead to code which no family names, as the program's own: what only they call is theirs. */
function towers(tree: Tree, frames: Frames): ArrayLike<number> {
  const { carriers } = frames;
  const leads = new Uint8Array(tree.count);
  const hidden = new Uint8Array(tree.count);
  for (let i = tree.count - 1; i > 0; i--) {
    const family = frames.family(tree.frame[i]!);
    if (leads[i] && carriers.has(family)) hidden[i] = 1;
    if (leads[i] || family === UNCLASSIFIED) leads[tree.parent[i]!] = 1;
  }
  return hidden;
}

/** Hidden nodes disappear, their cost goes to the caller. */
function hide(tree: Tree, frames: Frames, isHidden: ArrayLike<number>): Tree {
  const builder = new TreeBuilder(tree.frame[0]!, frames.count, tree.q !== null);
  const at = new Int32Array(tree.count);
  for (let i = 0; i < tree.count; i++) {
    const hidden = i > 0 && isHidden[i] === 1;
    const up = i === 0 ? 0 : at[tree.parent[i]!]!;
    at[i] = i === 0 || hidden ? up : builder.child(up, tree.frame[i]!);
    builder.add(at[i]!, tree.selfA[i]!, tree.selfB[i]!);
    if (tree.q && !hidden) builder.addQ(at[i]!, tree.q[i]!);
  }
  return builder.finish();
}

/** Keeps only the stacks that have (or have not) a matching frame. */
function keep(tree: Tree, frames: Frames, matches: Uint8Array, having: boolean): Tree {
  const n = tree.count;
  const onPath = new Uint8Array(n);
  const alive = new Uint8Array(n);
  for (let i = 1; i < n; i++) onPath[i] = onPath[tree.parent[i]!]! | matches[tree.frame[i]!]!;
  const wanted = (i: number) => (onPath[i] === 1) === having;
  for (let i = n - 1; i > 0; i--) {
    if (wanted(i) && (tree.selfA[i]! > 0 || tree.selfB[i]! > 0)) alive[i] = 1;
    if (alive[i]) alive[tree.parent[i]!] = 1;
  }
  const builder = new TreeBuilder(tree.frame[0]!, frames.count, tree.q !== null);
  const at = new Int32Array(n);
  // A frame whose stacks were partly removed is no longer what the server tested, so its evidence is dropped.
  const untouched = new Uint8Array(n).fill(1);
  for (let i = n - 1; i > 0; i--) {
    if (!wanted(i) && (tree.selfA[i]! > 0 || tree.selfB[i]! > 0)) untouched[i] = 0;
    if (!untouched[i]) untouched[tree.parent[i]!] = 0;
  }
  if (wanted(0)) builder.add(0, tree.selfA[0]!, tree.selfB[0]!);
  for (let i = 1; i < n; i++) {
    if (!alive[i]) continue;
    at[i] = builder.child(at[tree.parent[i]!]!, tree.frame[i]!);
    if (wanted(i)) builder.add(at[i]!, tree.selfA[i]!, tree.selfB[i]!);
    if (tree.q && untouched[i]) builder.addQ(at[i]!, tree.q[i]!);
  }
  return builder.finish();
}
