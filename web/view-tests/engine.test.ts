/** The engine's transforms and inversions, as properties over made-up trees. */
import { describe, expect, test } from "vitest";
import { byWeight } from "../view/profile/build";
import { bottomUp, calleesOf, callersOf } from "../view/profile/invert";
import { functionTable } from "../view/profile/table";
import { applyTransforms, parseTransform, transformText } from "../view/profile/transform";
import { findKey, type Profile, pathKey, pathOf, type Tree } from "../view/profile/tree";
import { parseSpeedup, remainingTotal, sped } from "../view/profile/whatif";
import { profileOf, randomStacks, SEEDS } from "./random";

const each = (check: (profile: Profile, seed: number) => void) => {
  for (const seed of SEEDS) check(profileOf(randomStacks(seed), true), seed);
};

/** Collects faults and asserts once: an assertion per node would take most of the run. */
function sound(tree: Tree): void {
  const faults: string[] = [];
  for (let i = 0; i < tree.count; i++) {
    let [a, b] = [tree.selfA[i]!, tree.selfB[i]!];
    for (let c = i + 1; c < tree.end[i]!; c = tree.end[c]!) {
      if (tree.parent[c] !== i) faults.push(`parent of ${c} is ${tree.parent[c]}, not ${i}`);
      a += tree.totalA[c]!;
      b += tree.totalB[c]!;
    }
    if (tree.totalA[i] !== a || tree.totalB[i] !== b) faults.push(`total of ${i}`);
  }
  expect(faults).toEqual([]);
}

describe("trees", () => {
  test("a node's total is its own cost plus its children's", () => each((p) => sound(p.tree)));

  test("a path key finds its node again, also in another order", () =>
    each((p) => {
      const heavy = byWeight(p.tree, p.tree.totalB);
      for (let i = 0; i < p.tree.count; i += 7) {
        const key = pathKey(p.tree, p.frames, i);
        expect(findKey(p.tree, p.frames, key)).toBe(i);
        const there = findKey(heavy, p.frames, key);
        const names = (t: Tree, n: number) => pathOf(t, n).map((x) => p.frames.name(t.frame[x]!));
        expect(names(heavy, there)).toEqual(names(p.tree, i));
      }
      expect(findKey(p.tree, p.frames, "zzzzzzzzzz")).toBe(-1);
    }));

  test("ordering by weight changes no total and puts the heaviest sibling first", () =>
    each((p) => {
      const heavy = byWeight(p.tree, p.tree.totalB);
      sound(heavy);
      expect(heavy.totalA[0]).toBe(p.tree.totalA[0]);
      expect(heavy.count).toBe(p.tree.count);
      const lighterFirst: number[] = [];
      for (let i = 0; i < heavy.count; i++) {
        const next = heavy.end[i]!;
        const siblings = next < heavy.count && heavy.depth[next] === heavy.depth[i];
        if (siblings && heavy.totalB[next]! > heavy.totalB[i]!) lighterFirst.push(i);
      }
      expect(lighterFirst).toEqual([]);
    }));
});

describe("bottom-up", () => {
  test("its first row is every function's self cost, and the whole adds up", () =>
    each((p) => {
      const up = bottomUp(p.tree, p.frames);
      const table = functionTable(p.tree, p.frames);
      sound(up);
      expect(up.totalA[0]).toBe(p.tree.totalA[0]! - p.tree.selfA[0]!);
      for (let i = 1; i < up.count; i = up.end[i]!)
        expect(up.totalB[i]).toBe(table.selfB[p.frames.func[up.frame[i]!]!]);
    }));

  test("light groups stay whole instead of being split or lost", () =>
    each((p) => {
      const coarse = bottomUp(p.tree, p.frames, 0.05);
      const fine = bottomUp(p.tree, p.frames, 0);
      expect(coarse.totalB[0]).toBe(fine.totalB[0]);
      expect(coarse.count).toBeLessThan(fine.count);
    }));
});

describe("sandwich and table", () => {
  test("callers, callees and table agree on a function's total, recursion counted once", () =>
    each((p) => {
      const table = functionTable(p.tree, p.frames);
      for (const func of table.funcs) {
        const callers = callersOf(p.tree, p.frames, func);
        const callees = calleesOf(p.tree, p.frames, func);
        sound(callers);
        sound(callees);
        expect(callers.totalB[0]).toBe(table.totalB[func]);
        expect(callees.totalB[0]).toBe(table.totalB[func]);
        expect(callees.totalA[0]).toBe(table.totalA[func]);
        expect(table.totalB[func]).toBeLessThanOrEqual(p.tree.totalB[0]!);
      }
    }));

  test("a function that calls itself is not counted twice", () => {
    const p = profileOf([{ path: ["f", "f", "g", "f"], a: 100, b: 0 }]);
    const f = p.frames.funcByName("f");
    expect(functionTable(p.tree, p.frames).totalA[f]).toBe(100);
    expect(functionTable(p.tree, p.frames).selfA[f]).toBe(100);
  });
});

describe("transforms", () => {
  test("only-with and without split the total exactly", () =>
    each((p) => {
      const parts = (["keep", "drop"] as const).map((kind) =>
        applyTransforms(p.tree, p.frames, [{ kind, pattern: "/^f[0-3]$/" }]),
      );
      for (const part of parts) sound(part);
      expect(parts[0]!.totalA[0]! + parts[1]!.totalA[0]!).toBe(p.tree.totalA[0]);
      expect(parts[0]!.totalB[0]! + parts[1]!.totalB[0]!).toBe(p.tree.totalB[0]);
    }));

  test("hiding a frame keeps the total and removes the name", () =>
    each((p) => {
      const hidden = applyTransforms(p.tree, p.frames, [{ kind: "hide", pattern: "/^f1$/" }]);
      sound(hidden);
      expect(hidden.totalB[0]).toBe(p.tree.totalB[0]);
      expect(Array.from(hidden.frame, (f) => p.frames.name(f))).not.toContain("f1");
    }));

  test("without frameworks the program's own code is on top, and what they do themselves stays", () => {
    const [run, poll, park, order] = [
      "tokio::runtime::run",
      "hyper::server::poll",
      "tokio::runtime::park",
      "shop::order",
    ];
    const p = profileOf([
      { path: [run!, poll!, order!, "serde_json::to_vec"], a: 50, b: 0 },
      { path: [run!, poll!, "hyper::buffer::flush", "malloc"], a: 3, b: 0 },
      { path: [run!, park!, "epoll_wait"], a: 7, b: 0 },
      { path: [run!, poll!], a: 1, b: 0 },
      { path: [run!, poll!, order!, run!, "shop::nested"], a: 20, b: 0 },
    ]);
    const t = parseTransform("hide:@frameworks")!;
    const own = applyTransforms(p.tree, p.frames, [t]);
    sound(own);
    expect(own.totalA[0]).toBe(81);
    expect(own.selfA[0]).toBe(1);
    const paths = Array.from(own.frame, (_, i) => {
      const path: string[] = [];
      for (let at = i; at > 0; at = own.parent[at]!) path.unshift(p.frames.name(own.frame[at]!));
      return path.join(";");
    });
    expect(paths.sort()).toEqual(
      [
        "",
        "hyper::buffer::flush",
        "hyper::buffer::flush;malloc",
        "shop::order",
        "shop::order;serde_json::to_vec",
        "shop::order;shop::nested",
        "tokio::runtime::park",
        "tokio::runtime::park;epoll_wait",
      ].sort(),
    );
  });

  test("evidence of a frame whose stacks were partly removed is dropped", () => {
    const p = profileOf(
      [
        { path: ["x", "y"], a: 10, b: 1000 },
        { path: ["x", "z"], a: 500, b: 10 },
      ],
      true,
    );
    const kept = applyTransforms(p.tree, p.frames, [{ kind: "drop", pattern: "z" }]);
    expect(Array.from(kept.q!)).toEqual([10_000, 10_000, 1]);
  });

  test("their text form round-trips, and an unknown one is no transform", () => {
    const t = { kind: "drop" as const, pattern: "/^a:b$/" };
    expect(parseTransform(transformText(t))).toEqual(t);
    expect(parseTransform("lose:x")).toBeNull();
    expect(parseTransform("drop:")).toBeNull();
  });

  test("a broken pattern leaves the tree as it is", () => {
    const p = profileOf(randomStacks(2));
    expect(applyTransforms(p.tree, p.frames, [{ kind: "hide", pattern: "/(/" }])).toBe(p.tree);
  });
});

describe("what if", () => {
  test("Amdahl's law: p/k remains of the part p", () => {
    const p = profileOf([
      { path: ["f", "x"], a: 600, b: 0 },
      { path: ["g"], a: 400, b: 0 },
    ]);
    const at = (text: string) => remainingTotal(p.tree, p.frames, [parseSpeedup(text, p.frames)!]);
    expect(at("2:f")).toBe(700);
    expect(at("inf:f")).toBe(400);
    expect(parseSpeedup("0.5:f", p.frames)).toBeNull();
    expect(parseSpeedup("2:nobody", p.frames)).toBeNull();
  });

  test("the graph is laid out anew: every node has what remains of it, and the whole is the remaining total", () =>
    each(({ tree, frames }) => {
      const basket = [
        { func: frames.funcByName("f2"), factor: 4 },
        { func: frames.funcByName("f5"), factor: Number.POSITIVE_INFINITY },
      ];
      const after = sped(tree, frames, basket);
      sound(after);
      expect(after.totalB[0]).toBeCloseTo(remainingTotal(tree, frames, basket), 3);
      expect(after.frame).toEqual(tree.frame);
      for (let i = 0; i < after.count; i++) expect(after.totalB[i]!).toBeLessThanOrEqual(tree.totalB[i]!);
      const sum = after.selfB.reduce((s, v) => s + v, 0);
      expect(sum).toBeCloseTo(after.totalB[0]!, 3);
    }));

  test("recursion does not square the factor, and two functions on one stack multiply", () => {
    const p = profileOf([{ path: ["f", "f", "g"], a: 800, b: 0 }]);
    const basket = ["2:f", "4:g"].map((t) => parseSpeedup(t, p.frames)!);
    expect(remainingTotal(p.tree, p.frames, [basket[0]!])).toBe(400);
    expect(remainingTotal(p.tree, p.frames, basket)).toBe(100);
  });
});
