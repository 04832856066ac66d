/** Filters: what is left of stacks, and what is typed. The collector reads the same cases. */
import { describe, expect, test } from "vitest";
import { patternWords } from "../view/explore/Filters";
import { applyTransforms, parseTransform, readTyped, type Transform, transformText } from "../view/profile/transform";
import { pathOf, type Tree } from "../view/profile/tree";
import cases from "./filters.json";
import { profileOf, randomStacks, SEEDS } from "./random";

const stacks = Object.entries(cases.stacks).map(([path, a]) => ({ path: path.split(";"), a, b: 0 }));
const profile = profileOf(stacks);

function costs(tree: Tree, name: (frame: number) => string): Record<string, number> {
  const out: Record<string, number> = {};
  for (let i = 0; i < tree.count; i++) {
    if (tree.selfA[i] === 0) continue;
    const path = pathOf(tree, i).map((node) => name(tree.frame[node]!));
    out[path.join(";")] = tree.selfA[i]!;
  }
  return out;
}

describe("what filters leave", () => {
  test.each(cases.cases)("$filters", ({ filters, left }) => {
    const shown = applyTransforms(profile.tree, profile.frames, filters.map(parseTransform) as Transform[]);
    expect(costs(shown, (frame) => profile.frames.name(frame))).toEqual(left);
  });

  test("by file", () => {
    const { tree, frames } = profileOf([{ path: ["main", "checkout::order::run", "checkout::cart::sum"], a: 3, b: 0 }]);
    const shown = applyTransforms(tree, frames, [{ kind: "hide", pattern: "file:SRC/order" }]);
    expect(costs(shown, (frame) => frames.name(frame))).toEqual({ "main;checkout::cart::sum": 3 });
  });

  test("start and turned over hold the same cost: that of the stacks with a match", () => {
    for (const seed of SEEDS) {
      const { tree, frames } = profileOf(randomStacks(seed), true);
      const sum = (kind: Transform["kind"]) => {
        const { totalA, totalB } = applyTransforms(tree, frames, [{ kind, pattern: "f3, f7" }]);
        return [totalA[0], totalB[0]];
      };
      expect(sum("focus")).toEqual(sum("keep"));
      expect(sum("pivot")).toEqual(sum("keep"));
    }
  });
});

describe("what is typed", () => {
  test("without a word in front is what to keep", () => {
    expect(readTyped(" crate:shop ")).toEqual({ kind: "keep", pattern: "crate:shop" });
    expect(readTyped("hide: family:runtime")).toEqual({ kind: "hide", pattern: "family:runtime" });
    expect(readTyped("without:x")).toEqual({ kind: "drop", pattern: "x" });
    expect(readTyped("hide:@frameworks")).toEqual({ kind: "hide", pattern: "@frameworks" });
  });

  test("and finds nothing to look for is refused with the reason", () => {
    expect(readTyped("keep:/(/")).toMatch(/^column 1: /);
    for (const text of ["", "  ", "keep: , "]) expect(typeof readTyped(text), text).toBe("string");
  });

  test("is read by its words, and written as it was", () => {
    for (const { filters } of cases.cases)
      for (const text of filters) {
        const read = parseTransform(text)!;
        expect(parseTransform(transformText(read))).toEqual(read);
      }
    expect(patternWords("fn:<shop::tax::TaxRules as shop::tax::TaxOffice>::rate_for")).toBe("TaxRules::rate_for");
    expect(patternWords("/^shop::f\\.x$/")).toBe("shop::f.x");
    expect(patternWords("crate:serde_json")).toBe("crate serde_json");
  });
});
