/** Typed filters ("only stacks with …", "hide …"), evaluated on the full tree so totals stay exact. The collector has the same for exports. */
import { TreeBuilder } from "./build";
import { UNCLASSIFIED } from "./families";
import type { Frames } from "./frames";
import { callersOfMatches } from "./invert";
import { compileSearch } from "./search";
import { finishTree, type Tree } from "./tree";

/**
 * `keep` and `drop` whole stacks that have a matching frame; `hide` matching frames, whose cost goes to their callers; `focus`: stacks
 * start at their first matching frame; `pivot`: these frames first, with their callers below.
 */
export const KINDS = ["keep", "drop", "hide", "focus", "pivot"] as const;
export type TransformKind = (typeof KINDS)[number];
export interface Transform {
  kind: TransformKind;
  pattern: string;
}

/** As links of earlier versions call them. */
const FORMER: Record<string, TransformKind> = { with: "keep", without: "drop" };

/** Reads `keep:…`, `hide:…` and the like; null for anything else. */
export function parseTransform(text: string): Transform | null {
  const [, word, pattern] = /^([a-z]+):\s*(.+)$/s.exec(text) ?? [];
  const kind = KINDS.find((k) => k === word) ?? FORMER[word ?? ""];
  return kind && pattern ? { kind, pattern } : null;
}

/** Reads what was typed into the filter box: without a word in front, it is what to keep. The error says what is wrong. */
export function readTyped(text: string): Transform | string {
  const typed = text.trim();
  const filter = parseTransform(typed) ?? { kind: "keep" as const, pattern: typed };
  if (isWithoutFrameworks(filter)) return filter;
  const { test, error } = compileSearch(filter.pattern);
  if (test) return filter;
  return error ?? "Type what to keep, or hide: and what to hide.";
}

/** A pattern that finds one function, and no namesake. */
export function exactly(name: string): string {
  return `fn:${name}`;
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
      out = hide(out, towers(out, frames));
      continue;
    }
    const { test } = compileSearch(t.pattern);
    if (!test) continue;
    const matches = new Uint8Array(frames.count);
    for (let f = 0; f < frames.count; f++) matches[f] = test(frames, f) ? 1 : 0;
    out = applyOne(out, frames, t.kind, matches);
  }
  return out;
}

function applyOne(tree: Tree, frames: Frames, kind: TransformKind, matches: Uint8Array): Tree {
  // The root is no frame.
  const isMatch = (node: number) => node > 0 && matches[tree.frame[node]!] === 1;
  if (kind === "focus") return startAt(tree, frames, isMatch);
  if (kind === "pivot") return callersOfMatches(tree, frames, isMatch);
  if (kind === "hide")
    return hide(
      tree,
      tree.frame.map((f) => matches[f]!),
    );
  return keep(tree, frames, matches, kind === "keep");
}

/** Stacks from their first matching frame on, merged where they meet; those without one are gone. */
function startAt(tree: Tree, frames: Frames, isMatch: (node: number) => boolean): Tree {
  const builder = new TreeBuilder(tree.frame[0]!, frames.count, tree.q !== null);
  const at = new Int32Array(tree.count);
  for (let i = 1; i < tree.count; i++) {
    const above = at[tree.parent[i]!]!;
    if (above === 0 && !isMatch(i)) continue;
    at[i] = builder.child(above, tree.frame[i]!);
    builder.add(at[i]!, tree.selfA[i]!, tree.selfB[i]!);
    if (tree.q) builder.addQ(at[i]!, tree.q[i]!);
  }
  return builder.finish();
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

/**
 * Hidden nodes disappear, their cost goes to the caller, and calls of the same function that meet become one. Most subtrees hold no hidden
 * node and meet no other: these are copied as they are, since this is done before a large profile is first drawn.
 */
function hide(tree: Tree, isHidden: ArrayLike<number>): Tree {
  const n = tree.count;
  const touched = new Uint8Array(n);
  for (let i = n - 1; i > 0; i--) if (isHidden[i] || touched[i]) touched[tree.parent[i]!] = 1;
  if (touched[0] !== 1) return tree;
  const out = new Columns(n, tree);
  // Nodes that become one, with the depth they get; the next in preorder is the last.
  const open: [sources: number[], depth: number][] = [[[0], 0]];
  for (let task = open.pop(); task; task = open.pop()) {
    const [sources, depth] = task;
    const only = sources.length === 1 ? sources[0]! : -1;
    if (only >= 0 && !touched[only]) {
      out.copy(only, depth);
      continue;
    }
    const at = out.start(sources, depth);
    const groups = new Map<number, number[]>();
    const gather = (node: number) => {
      for (let c = node + 1; c < tree.end[node]!; ) {
        if (isHidden[c]) {
          // Its children follow it in preorder, as if they were its caller's.
          out.addSelf(at, c);
          c++;
          continue;
        }
        const group = groups.get(tree.frame[c]!);
        if (group) group.push(c);
        else groups.set(tree.frame[c]!, [c]);
        c = tree.end[c]!;
      }
    };
    for (const source of sources) gather(source);
    for (const group of [...groups.values()].reverse()) open.push([group, depth + 1]);
  }
  return out.finish();
}

/** A tree that is made of parts of another, in preorder. */
class Columns {
  private count = 0;
  private readonly depth: Uint16Array;
  private readonly frame: Uint32Array;
  private readonly a: Float64Array;
  private readonly b: Float64Array;
  private readonly q: Uint16Array | null;

  constructor(
    most: number,
    private readonly from: Tree,
  ) {
    this.depth = new Uint16Array(most);
    this.frame = new Uint32Array(most);
    this.a = new Float64Array(most);
    this.b = from.selfA === from.selfB ? this.a : new Float64Array(most);
    this.q = from.q ? new Uint16Array(most) : null;
  }

  /** A node that stands for all of `sources`. Its evidence is the strongest of theirs, paid for by their number (Bonferroni). */
  start(sources: readonly number[], depth: number): number {
    const at = this.count++;
    const { from, q } = this;
    this.depth[at] = depth;
    this.frame[at] = from.frame[sources[0]!]!;
    for (const source of sources) this.addSelf(at, source);
    if (q) q[at] = Math.min(10_000, sources.length * sources.reduce((q, s) => Math.min(q, from.q![s]!), 10_000));
    return at;
  }

  addSelf(at: number, source: number): void {
    this.a[at]! += this.from.selfA[source]!;
    if (this.b !== this.a) this.b[at]! += this.from.selfB[source]!;
  }

  /** A whole subtree, unchanged but for its depth. */
  copy(source: number, depth: number): void {
    const { from, count } = this;
    const end = from.end[source]!;
    const shift = depth - from.depth[source]!;
    for (let i = source; i < end; i++) this.depth[count + i - source] = from.depth[i]! + shift;
    this.frame.set(from.frame.subarray(source, end), count);
    this.a.set(from.selfA.subarray(source, end), count);
    if (this.b !== this.a) this.b.set(from.selfB.subarray(source, end), count);
    this.q?.set(from.q!.subarray(source, end), count);
    this.count += end - source;
  }

  finish(): Tree {
    const n = this.count;
    const a = this.a.subarray(0, n);
    const b = this.b === this.a ? a : this.b.subarray(0, n);
    return finishTree(this.depth.subarray(0, n), this.frame.subarray(0, n), a, b, this.q?.subarray(0, n) ?? null);
  }
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
