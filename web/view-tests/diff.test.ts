/** Two sides of a comparison: which frames changed, and how sure that is. */
import { describe, expect, test } from "vitest";
import { seeded } from "../mock/shop";
import { movedAgainst } from "../view/pages/moved";
import { benjaminiHochberg, changeOf, estimateQ, Q_SIGNIFICANT, stepOf, twoSided } from "../view/profile/diff";
import { CPU, side } from "./random";

describe("diff states", () => {
  test.each([
    [0, 0, "unchanged"],
    [0, 1, "new"],
    [1, 0, "gone"],
    [1, 1.005, "unchanged"],
    [1, 1.5, "grew"],
    [1.5, 1, "shrank"],
  ] as const)("%d → %d is %s", (a, b, state) => expect(changeOf(a, b)).toBe(state));

  test("without evidence everything is neutral, also what is new or gone", () => {
    for (const [a, b] of [
      [0, 9],
      [9, 0],
      [1, 4],
      [4, 1],
    ] as const)
      expect(stepOf(a, b, false)).toBe(4);
  });

  test("steps grow with the ratio, are symmetric, and end at a factor of four", () => {
    expect([1, 1.2, 1.8, 2.5, 4, 400].map((b) => stepOf(1, b, true))).toEqual([4, 5, 6, 7, 8, 8]);
    for (const r of [1.2, 1.8, 2.5, 4]) expect(stepOf(r, 1, true) + stepOf(1, r, true)).toBe(8);
    expect([stepOf(0, 1, true), stepOf(1, 0, true)]).toEqual([8, 0]);
  });
});

describe("evidence", () => {
  test("the normal tail matches its tables", () => {
    expect(twoSided(1.96)).toBeCloseTo(0.05, 3);
    expect(twoSided(3.2905)).toBeCloseTo(0.001, 5);
    expect(twoSided(0)).toBeCloseTo(1, 6);
  });

  test("Benjamini–Hochberg is monotone and never below p", () => {
    const q = benjaminiHochberg(Float64Array.of(0.001, 0.04, 0.03, 0.5));
    expect(Array.from(q)).toEqual([40, 533, 533, 5000]);
  });

  /** Sums of bursts of two samples: variance twice Poisson's, as assumed. */
  const gap = (random: () => number) => -Math.log(1 - random());
  const draw = (mean: number, random: () => number) => {
    let n = 0;
    for (let t = gap(random); t < mean / 2; t += gap(random)) n += 2;
    return n;
  };
  const tree = (rates: number[], factor: number, random: () => number) => {
    const a = Float64Array.from(rates, (r) => draw(r, random) * CPU.period);
    const b = Float64Array.from(rates, (r) => draw(r * factor, random) * CPU.period);
    const total = (x: Float64Array) => x.reduce((s, v) => s + v, 0);
    const sides = { a: side(total(a)), b: side(total(b)) };
    const k = 1 / 600 / 1e9;
    return estimateQ({ count: rates.length, totalA: a, totalB: b }, sides, { a: k, b: k, unit: "cores" });
  };

  test("equal sides look neutral: fewer than one page in ten shows any change at all", () => {
    const random = seeded(42);
    const rates = Array.from({ length: 60 }, (_, i) => 20 + i * 40);
    let alarms = 0;
    for (let page = 0; page < 100; page++) if (tree(rates, 1, random).some((q) => q <= Q_SIGNIFICANT)) alarms++;
    // q = 5 %, so some pages may; the +1 per side and the burst factor keep it well below.
    expect(alarms).toBeLessThan(10);
  });

  test("a frame of 2 000 samples that grows by a fifth is found", () => {
    const random = seeded(7);
    for (let k = 0; k < 30; k++) expect(tree([2000, 2000, 2000], 1.2, random)[0]).toBeLessThanOrEqual(Q_SIGNIFICANT);
  });
});

describe("moved services", () => {
  const noise = (level: number, seed: number) => {
    const random = seeded(seed);
    return Array.from({ length: 60 }, () => level * (1 + 0.1 * (random() - 0.5)));
  };
  test("the same level is within noise, a step of a quarter is not", () => {
    for (let s = 1; s < 40; s++) {
      expect(movedAgainst(noise(2, s), noise(2, s + 100))!.significant).toBe(false);
      expect(movedAgainst(noise(2, s), noise(2.5, s + 100))!.significant).toBe(true);
    }
  });
  test("no data is no statement", () => expect(movedAgainst([null, null], [1, 2])).toBeNull());
});
