/** Search over names: substring, `/regex/`, `family:` and a family's name, comma for or. A bad expression says where it is bad. */
import { UNCLASSIFIED } from "./families";
import type { Frames } from "./frames";
import type { Tree } from "./tree";

export type Test = (name: string, family: string) => boolean;

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

/** Compiles what was typed. Commas inside `/…/` belong to the expression. */
export function compileSearch(query: string): Search {
  const text = query.trim();
  if (text === "") return { test: null, error: null };
  const tests: Test[] = [];
  for (const term of splitTerms(text)) {
    if (term.startsWith(FAMILY)) {
      const wanted = term.slice(FAMILY.length).toLowerCase();
      tests.push((_, family) => (family === UNCLASSIFIED ? OWN : family.toLowerCase()) === wanted);
      continue;
    }
    const regex = /^\/(.+?)\/?$/s.exec(term);
    if (!regex) {
      const needle = term.toLowerCase();
      tests.push((name) => name.toLowerCase().includes(needle));
      continue;
    }
    try {
      const compiled = new RegExp(regex[1]!, "i");
      tests.push((name) => compiled.test(name));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message.replace(/^Invalid regular expression: /, "") : "not valid";
      return { test: null, error: `column ${query.indexOf(term) + 1}: ${why}` };
    }
  }
  if (tests.length === 0) return { test: null, error: null };
  return { test: (name, family) => tests.some((t) => t(name, family)), error: null };
}

function splitTerms(text: string): string[] {
  const terms: string[] = [];
  const pattern = /\/(?:\\.|[^/\\])+\/?(?=\s*(?:,|$))|[^,]+/g;
  for (const match of text.matchAll(pattern)) {
    const term = match[0].trim();
    if (term !== "") terms.push(term);
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

/** Does `test` find `frame`? */
export function matchesFrame(test: Test, frames: Frames, frame: number): boolean {
  return test(frames.name(frame), frames.family(frame));
}

/** Runs `test` over the distinct names, then over the tree. */
export function findMatches(tree: Tree, frames: Frames, test: Test): Matches {
  const flags = new Uint8Array(frames.count);
  let functions = 0;
  for (let func = 0; func < frames.funcCount; func++)
    if (matchesFrame(test, frames, frames.frameOfFunc[func]!)) {
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
