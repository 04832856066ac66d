/**
 * What finds frames: a part of the name, `/regex/`, `fn:` and a whole name, `crate:`, `family:`, `file:`; comma for or. The same grammar is in
 * the collector (`collector/src/analysis/filter.rs`), and `view-tests/filters.json` is for both. A bad expression says where it is bad.
 */
import { UNCLASSIFIED } from "./families";
import type { Frames } from "./frames";
import { crateOf } from "./names";
import type { Tree } from "./tree";

export type Test = (frames: Frames, frame: number) => boolean;

export interface Search {
  /** Null while there is nothing to look for. */
  test: Test | null;
  error: string | null;
}

const FAMILY = "family:";
/** What no rule names is called that. */
const OWN = "own";

/** The query that finds a family's functions. */
export function familyQuery(family: string): string {
  return FAMILY + (family === UNCLASSIFIED ? OWN : family);
}

/** Compiles what was typed. Commas inside `/…/`, and after `fn:`, belong to what they stand in. */
export function compileSearch(query: string): Search {
  const tests: Test[] = [];
  for (const term of splitTerms(query)) {
    if (!term.startsWith("/")) {
      tests.push(wordTest(term));
      continue;
    }
    const expression = /^\/(.+?)\/?$/s.exec(term)?.[1];
    if (expression === undefined) continue;
    try {
      const compiled = new RegExp(expression, "i");
      tests.push((frames, frame) => compiled.test(frames.name(frame)));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message.replace(/^Invalid regular expression: /, "") : "not valid";
      return { test: null, error: `column ${query.indexOf(term) + 1}: ${why}` };
    }
  }
  if (tests.length === 0) return { test: null, error: null };
  return { test: (frames, frame) => tests.some((t) => t(frames, frame)), error: null };
}

function wordTest(term: string): Test {
  const [, by, word] = /^(fn|crate|family|file):(.+)$/s.exec(term) ?? [];
  if (word === undefined) {
    const part = term.toLowerCase();
    return (frames, frame) => frames.name(frame).toLowerCase().includes(part);
  }
  if (by === "fn") return (frames, frame) => frames.name(frame) === word;
  const wanted = word.trim().toLowerCase();
  if (by === "crate")
    return (frames, frame) => crateOf(frames.name(frame), frames.module(frame)).toLowerCase() === wanted;
  if (by === "file") return (frames, frame) => frames.file(frame).toLowerCase().includes(wanted);
  return (frames, frame) => {
    const family = frames.family(frame);
    return (family === UNCLASSIFIED ? OWN : family.toLowerCase()) === wanted;
  };
}

/** Terms between commas. */
function splitTerms(text: string): string[] {
  const terms: string[] = [];
  for (let at = 0; at < text.length; ) {
    const rest = text.slice(at);
    const blank = /^[\s,]+/.exec(rest);
    if (blank) {
      at += blank[0].length;
      continue;
    }
    const term =
      /^fn:.*/s.exec(rest) ??
      /^\/(?:\\.|[^\\])+?\/(?=\s*(?:,|$))/s.exec(rest) ??
      /^\/.*/s.exec(rest) ??
      /^[^,]+/.exec(rest)!;
    at += term[0].length;
    terms.push(term[0].trim());
  }
  return terms;
}

export interface Matches {
  /** One flag per frame of the table. */
  frames: Uint8Array;
  /** Matching nodes, in preorder. */
  nodes: number[];
  functions: number;
  /** Inclusive cost under any match; recursion and nested matches count once. */
  totalA: number;
  totalB: number;
}

/** At most this many matches are stepped through with n / N. */
const NODES_MAX = 50_000;

/** Nodes by width, the widest first; equal ones in their order. */
export function widestFirst(nodes: readonly number[], width: Float64Array): number[] {
  return nodes.filter((node) => width[node]! > 0).sort((x, y) => width[y]! - width[x]! || x - y);
}

/** Runs `test` over the distinct names, then over the tree. */
export function findMatches(tree: Tree, frames: Frames, test: Test): Matches {
  const flags = new Uint8Array(frames.count);
  let functions = 0;
  for (let func = 0; func < frames.funcCount; func++)
    if (test(frames, frames.frameOfFunc[func]!)) {
      flags[frames.frameOfFunc[func]!] = 1;
      functions++;
    }
  for (let f = 0; f < frames.count; f++) flags[f] = flags[frames.frameOfFunc[frames.func[f]!]!]!;
  const nodes: number[] = [];
  let totalA = 0;
  let totalB = 0;
  let covered = 0;
  for (let i = 1; i < tree.count; i++) {
    if (!flags[tree.frame[i]!]) continue;
    if (nodes.length < NODES_MAX) nodes.push(i);
    if (i < covered) continue;
    totalA += tree.totalA[i]!;
    totalB += tree.totalB[i]!;
    covered = tree.end[i]!;
  }
  return { frames: flags, nodes, functions, totalA, totalB };
}
