/** The graph's layout, and what of it is drawn. */
import { describe, expect, test } from "vitest";
import { Boxes, collectVisible, WIDTH_MIN_PX } from "../view/flame/visible";
import { scaleOf, selfWeights } from "../view/profile/diff";
import { hitTest, layOut, neighbour } from "../view/profile/layout";
import { profileOf, randomStacks, SEEDS } from "./random";

const PORT = { x0: 0, x1: 1, width: 900, firstRow: 0, lastRow: 1000 };

describe("layout", () => {
  test("children lie inside their parent, side by side, from its left edge", () => {
    for (const seed of SEEDS) {
      const { tree } = profileOf(randomStacks(seed));
      const l = layOut(tree, tree.selfB);
      expect(l.w[0]).toBeCloseTo(1, 12);
      const faults: number[] = [];
      for (let i = 0; i < tree.count; i++) {
        let x = l.x[i]!;
        for (let c = i + 1; c < tree.end[i]!; c = tree.end[c]!) {
          if (Math.abs(l.x[c]! - x) > 1e-9) faults.push(c);
          x += l.w[c]!;
        }
        if (x > l.x[i]! + l.w[i]! + 1e-9) faults.push(i);
      }
      expect(faults).toEqual([]);
    }
  });

  test("the hit test finds the box that covers a point, as a search of all boxes does", () => {
    for (const seed of SEEDS.slice(0, 10)) {
      const { tree } = profileOf(randomStacks(seed));
      const l = layOut(tree, tree.selfB);
      for (let k = 0; k < 300; k++) {
        const [depth, x] = [k % 11, (k * 0.618034) % 1];
        let expected = -1;
        for (let i = 0; i < tree.count; i++)
          if (tree.depth[i] === depth && x >= l.x[i]! && x < l.x[i]! + l.w[i]!) expected = i;
        expect(hitTest(l, depth, x)).toBe(expected);
      }
      expect(hitTest(l, 99, 0.5)).toBe(-1);
      expect(hitTest(l, -1, 0.5)).toBe(-1);
    }
  });

  test("right, then left, comes back to the same box", () => {
    const { tree } = profileOf(randomStacks(4));
    const l = layOut(tree, tree.selfB);
    for (let i = 1; i < tree.count; i++) {
      const right = l.w[i]! > 0 ? neighbour(tree, l, i, 1) : -1;
      if (right >= 0) expect(neighbour(tree, l, right, -1)).toBe(i);
    }
  });

  test("an empty profile lays out to nothing and is not NaN", () => {
    const { tree } = profileOf([{ path: ["a"], a: 0, b: 0 }]);
    const l = layOut(tree, tree.selfB);
    expect(Array.from(l.w)).toEqual([0, 0]);
    expect(hitTest(l, 1, 0)).toBe(-1);
  });
});

describe("what is drawn", () => {
  test("drawn and merged boxes of a fully shown row cover exactly the row's cost", () => {
    for (const seed of SEEDS) {
      const { tree } = profileOf(randomStacks(seed, 400));
      const l = layOut(tree, tree.selfB);
      const [boxes, thin] = [new Boxes(), new Boxes()];
      collectVisible(tree, l, PORT, boxes, thin);
      for (const depth of [0, 1]) {
        let drawn = 0;
        for (const set of [boxes, thin])
          for (let k = 0; k < set.count; k++) if (set.row[k] === depth) drawn += set.w[k]!;
        let cost = 0;
        for (let i = 0; i < tree.count; i++) if (tree.depth[i] === depth) cost += l.w[i]! * PORT.width;
        expect(Math.abs(drawn - cost)).toBeLessThan(0.5);
      }
    }
  });

  test("nothing thinner than half a pixel is a box of its own, and merged boxes count their nodes", () => {
    const stacks = Array.from({ length: 5000 }, (_, i) => ({ path: [`g${i}`], a: 1, b: 0 }));
    const { tree } = profileOf([...stacks, { path: ["big"], a: 5000, b: 0 }]);
    const [boxes, thin] = [new Boxes(), new Boxes()];
    collectVisible(tree, layOut(tree, tree.selfB), PORT, boxes, thin);
    for (let k = 0; k < boxes.count; k++) expect(boxes.w[k]).toBeGreaterThanOrEqual(WIDTH_MIN_PX - 1e-3);
    let merged = 0;
    for (let k = 0; k < thin.count; k++) merged += thin.merged[k]!;
    expect(merged).toBe(5000);
    expect(thin.count).toBe(1);
  });

  test("zoomed in, only what is in the window is collected", () => {
    const { tree } = profileOf(randomStacks(9, 300));
    const l = layOut(tree, tree.selfB);
    const [boxes, thin] = [new Boxes(), new Boxes()];
    collectVisible(tree, l, { ...PORT, x0: 0.4, x1: 0.45 }, boxes, thin);
    for (let k = 0; k < boxes.count; k++) {
      const node = boxes.node[k]!;
      expect(l.x[node]! < 0.45 && l.x[node]! + l.w[node]! > 0.4).toBe(true);
    }
    expect(boxes.count).toBeGreaterThan(0);
  });
});

describe("comparison widths", () => {
  const p = profileOf(
    [
      { path: ["kept"], a: 100, b: 200 },
      { path: ["gone", "below"], a: 300, b: 0 },
      { path: ["new"], a: 0, b: 50 },
    ],
    true,
  );
  const scale = { ...scaleOf(p), a: 1, b: 1 };
  const width = (mode: "a" | "b" | "union" | "delta") => {
    const weights = selfWeights(p.tree, scale, mode);
    const l = layOut(p.tree, weights);
    const of = (name: string) => {
      for (let i = 0; i < p.tree.count; i++)
        if (p.frames.name(p.tree.frame[i]!) === name) return Math.round(l.w[i]! * l.total);
      return -1;
    };
    return [of("kept"), of("gone"), of("below"), of("new")];
  };

  test("B keeps what is gone as a ghost of its A width", () => expect(width("b")).toEqual([200, 300, 300, 50]));
  test("A is A", () => expect(width("a")).toEqual([100, 300, 300, 0]));
  test("union is the larger side", () => expect(width("union")).toEqual([200, 300, 300, 50]));
  test("change only drops what is within noise", () => {
    // Changes by a tenth: the test profiles call less than a fifth noise.
    const noisy = profileOf(
      [
        { path: ["steady"], a: 1000, b: 1100 },
        { path: ["doubled"], a: 100, b: 250 },
      ],
      true,
    );
    const weights = [...selfWeights(noisy.tree, { ...scale, a: 1, b: 1 }, "delta")];
    expect(weights.filter((w) => w > 0)).toEqual([150]);
  });
  test("change only drops what did not change", () => expect(width("delta")).toEqual([100, 300, 300, 50]));
});
