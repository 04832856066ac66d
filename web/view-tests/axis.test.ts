/** The axis of a trace. */
import { describe, expect, test } from "vitest";
import { axisOf } from "../view/pages/axis";

describe("the axis of a trace", () => {
  test("without long gaps is the time itself", () => {
    const axis = axisOf([
      [1000, 1100],
      [1050, 1200],
      [1210, 1400],
    ]);
    expect(axis.stretches).toHaveLength(1);
    for (const at of [1000, 1100, 1300, 1400]) expect(axis.x(at)).toBeCloseTo((at - 1000) / 400, 9);
    expect(axis.ticks.map((t) => t.after)).toEqual([0, 100, 200, 300]);
  });

  test("folds a gap that is long against what was open, and says when what follows begins", () => {
    const axis = axisOf([
      [0, 40],
      [9000, 9060],
    ]);
    expect(axis.stretches.map((s) => s.folded)).toEqual([false, true, false]);
    expect(axis.stretches[1]!.right - axis.stretches[1]!.left).toBeCloseTo(0.04, 9);
    expect(axis.stretches.at(-1)!.right).toBeCloseTo(1, 9);
    expect(axis.ticks.map((t) => t.after)).toContain(9000);
    // Both are drawn to one scale.
    expect(axis.x(40) / (1 - axis.x(9000))).toBeCloseTo(40 / 60, 6);
  });

  test("never turns back, whatever the spans are", () => {
    for (let n = 1; n < 60; n++) {
      const spans = Array.from({ length: n }, (_, i): [number, number] => [
        (i * 7919) % 10_007,
        ((i * 7919) % 10_007) + ((i * 31) % 40),
      ]);
      const axis = axisOf(spans);
      const moments = spans.flat().sort((p, q) => p - q);
      const places = moments.map((at) => axis.x(at));
      expect(places).toEqual([...places].sort((p, q) => p - q));
      expect(places[0]).toBe(0);
      expect(places.at(-1)).toBeLessThanOrEqual(1 + 1e-9);
      for (let k = 1; k < axis.ticks.length; k++)
        expect(axis.ticks[k]!.x - axis.ticks[k - 1]!.x).toBeGreaterThanOrEqual(0.07 - 1e-9);
    }
  });

  test("of a span without length is there", () => {
    const axis = axisOf([[5, 5]]);
    expect(axis.x(5)).toBe(0);
    expect(axis.ticks[0]).toEqual({ x: 0, after: 0 });
  });
});
