/** Searching a profile: what matches, and how much of it that is. */
import { describe, expect, test } from "vitest";
import { compileSearch, familyQuery, findMatches } from "../view/profile/search";
import { profileOf, randomStacks, SEEDS } from "./random";

const matches = (query: string, names: string[]) => {
  const { frames } = profileOf(names.map((name) => ({ path: [name], a: 1, b: 0 })));
  const { test } = compileSearch(query);
  return names.filter((name) => test!(frames, frames.frameOfFunc[frames.funcByName(name)]!));
};

describe("search", () => {
  test("a family's query finds its functions, and what no rule names is called own", () => {
    const { tree, frames } = profileOf([
      { path: ["tokio::run", "shop::rate_for", "serde_json::to_vec"], a: 7, b: 0 },
      { path: ["tokio::run"], a: 2, b: 0 },
    ]);
    const found = (query: string) => {
      const { frames: flags } = findMatches(tree, frames, compileSearch(query).test!);
      return [...flags].flatMap((flag, f) => (flag ? [frames.name(f)] : [])).filter((name) => name !== "all");
    };
    expect(familyQuery("unknown")).toBe("family:own");
    expect(found(familyQuery("unknown"))).toEqual(["shop::rate_for"]);
    expect(found(familyQuery("serialization"))).toEqual(["serde_json::to_vec"]);
    expect(found("family:serialization, rate_for").sort()).toEqual(["serde_json::to_vec", "shop::rate_for"]);
  });

  const names = ["serde_json::to_vec", "alloc::Vec", "malloc", "tokio::run"];

  test("text is a case-insensitive part of the name", () =>
    expect(matches("VEC", names)).toEqual(["serde_json::to_vec", "alloc::Vec"]));
  test("a comma means or", () => expect(matches("malloc, tokio", names)).toEqual(["malloc", "tokio::run"]));
  test("slashes hold a regular expression, closed or not", () => {
    expect(matches("/^alloc/", names)).toEqual(["alloc::Vec"]);
    expect(matches("/^alloc", names)).toEqual(["alloc::Vec"]);
    expect(matches("/a{1,2}lloc/, run", names)).toEqual(["alloc::Vec", "malloc", "tokio::run"]);
  });
  test("crates, whole names and slashes within names", () => {
    const more = [...names, "<tokio::Task as Future>::poll", "shop::map<K, V>", "main/handler.go", "run"];
    expect(matches("crate:tokio", more)).toEqual(["tokio::run", "<tokio::Task as Future>::poll"]);
    expect(matches("crate:serde_json, malloc", more)).toEqual(["serde_json::to_vec", "malloc"]);
    expect(matches("fn:run", more)).toEqual(["run"]);
    expect(matches("fn:shop::map<K, V>", more)).toEqual(["shop::map<K, V>"]);
    expect(matches("main/handler", more)).toEqual(["main/handler.go"]);
    expect(matches("run, /^shop::map<K, V>$/", more)).toEqual(["tokio::run", "shop::map<K, V>", "run"]);
  });
  test("a bad expression is reported with its column and matches nothing", () => {
    const search = compileSearch("run, /(/");
    expect(search.test).toBeNull();
    expect(search.error).toMatch(/^column 6: /);
  });
  test("blank text is no search", () => {
    expect(compileSearch("  ").test).toBeNull();
    expect(compileSearch(" , ").test).toBeNull();
  });

  test("the matched share counts nested matches once", () => {
    for (const seed of SEEDS) {
      const { tree, frames } = profileOf(randomStacks(seed), true);
      const found = findMatches(tree, frames, (of, frame) => /^f[02468]$/.test(of.name(frame)));
      let expected = 0;
      for (let i = 1; i < tree.count; i++) {
        let on = false;
        for (let n = i; n > 0; n = tree.parent[n]!) on ||= /^f[02468]$/.test(frames.name(tree.frame[n]!));
        if (on) expected += tree.selfB[i]!;
      }
      expect(found.totalB).toBe(expected);
    }
  });
});
