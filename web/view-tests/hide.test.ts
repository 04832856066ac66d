/** Hiding frames: the tree is the one that stacks without these frames make. */
import { expect, test } from "vitest";
import { applyTransforms, WITHOUT_FRAMEWORKS } from "../view/profile/transform";
import { type Profile, pathOf, type Tree } from "../view/profile/tree";
import { profileOf, randomStacks, SEEDS } from "./random";

/** Self costs by path, hidden frames left out. */
function costs({ frames }: Profile, tree: Tree, hidden: string): Map<string, [number, number]> {
  const out = new Map<string, [number, number]>();
  for (let i = 0; i < tree.count; i++) {
    if (tree.selfA[i] === 0 && tree.selfB[i] === 0) continue;
    const names = pathOf(tree, i).map((node) => frames.name(tree.frame[node]!));
    const key = names.filter((name) => name !== hidden).join(";");
    const [a, b] = out.get(key) ?? [0, 0];
    out.set(key, [a + tree.selfA[i]!, b + tree.selfB[i]!]);
  }
  return out;
}

test("every stack keeps its cost, one-sided and compared, and no two siblings are one function", () => {
  for (const seed of SEEDS)
    for (const compare of [false, true]) {
      const profile = profileOf(randomStacks(seed), compare);
      const { tree, frames } = profile;
      const shown = applyTransforms(tree, frames, [{ kind: "hide", pattern: "/^f3$/" }]);
      expect(costs(profile, shown, "")).toEqual(costs(profile, tree, "f3"));
      expect([shown.totalA[0], shown.totalB[0]]).toEqual([tree.totalA[0], tree.totalB[0]]);
      const siblings = new Set<string>();
      for (let i = 1; i < shown.count; i++) siblings.add(`${shown.parent[i]} ${shown.frame[i]}`);
      expect(siblings.size).toBe(shown.count - 1);
    }
});

test("where nothing is hidden, the tree is the same one", () => {
  const { tree, frames } = profileOf(randomStacks(1));
  expect(applyTransforms(tree, frames, [{ kind: "hide", pattern: "no such" }])).toBe(tree);
});

test("evidence of calls that become one is the strongest of theirs, paid for by their number", () => {
  const { tree, frames } = profileOf(
    [
      { path: ["tokio::a", "shop::f"], a: 1000, b: 9000 },
      { path: ["tokio::b", "shop::f"], a: 1000, b: 1000 },
    ],
    true,
  );
  const shown = applyTransforms(tree, frames, [WITHOUT_FRAMEWORKS]);
  expect(shown.count).toBe(2);
  expect(shown.q?.[1]).toBe(2);
  expect([shown.selfA[1], shown.selfB[1]]).toEqual([2000, 10_000]);
});

test("a tower of thousands of frames is no trouble", () => {
  const path = [...Array.from({ length: 2000 }, (_, i) => `tokio::runtime::f${i}`), "shop::own"];
  const { tree, frames } = profileOf([{ path, a: 5, b: 0 }]);
  const shown = applyTransforms(tree, frames, [WITHOUT_FRAMEWORKS]);
  expect([shown.count, shown.totalB[0]]).toEqual([2, 5]);
});
