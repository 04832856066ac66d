/** The map of how long requests took: cells, bounds and ticks. */
import { describe, expect, it } from "vitest";
import type { HeatmapAnswer } from "../view/api/contract";
import { durationTicks, latencyMap, rowBounds, strength } from "../view/pages/latency";

const answer = (columns: number[][]): HeatmapAnswer => ({
  from: 0,
  step_ms: 10_000,
  bins_per_doubling: 16,
  covered_ms: columns.map(() => 10_000),
  columns,
  errors: columns.map(() => 0),
});

describe("a latency map", () => {
  it("adds bins up to rows of a quarter of a doubling, and leaves out what nothing took", () => {
    const map = latencyMap(answer([[160, 2, 163, 3, 164, 5], [], [175, 1]]))!;
    expect([map.columns, map.rows, map.firstRow]).toEqual([3, 4, 40]);
    expect([...map.cells]).toEqual([5, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect([map.most, map.total]).toEqual([5, 11]);
  });

  it("says between which durations a row lies", () => {
    const map = latencyMap(answer([[160, 1, 479 - 1, 1]]))!;
    // Bin 160 begins at 2^10 µs.
    expect(rowBounds(map, 0)[0]).toBeCloseTo(1024);
    expect(rowBounds(map, 3)[1]).toBeCloseTo(2048);
  });

  it("is none where nothing ended", () => {
    expect(latencyMap(answer([[], []]))).toBeNull();
  });

  it("draws one request among thousands so that it is seen, and none not at all", () => {
    expect(strength(0, 9_000)).toBe(0);
    expect(strength(1, 9_000)).toBeGreaterThan(0.2);
    expect(strength(9_000, 9_000)).toBe(1);
  });

  it("writes decades beside it, or its ends where there are not two", () => {
    const wide = durationTicks(latencyMap(answer([[105, 1, 320, 1]]))!);
    expect(wide.map((tick) => tick.us)).toEqual([100, 1_000, 10_000, 100_000, 1_000_000]);
    expect(wide.every((tick) => tick.at >= 0 && tick.at <= 1)).toBe(true);
    expect(durationTicks(latencyMap(answer([[160, 1]]))!).map((tick) => tick.at)).toEqual([0, 1]);
  });
});
