/** A rectangle of the map of durations: in the URL, on the map, in the form. */
import { describe, expect, it } from "vitest";
import { seeded } from "../mock/shop";
import {
  boxOf,
  brushBetween,
  brushOfFields,
  brushWords,
  cellAt,
  type Fields,
  fieldsOf,
  tookWords,
} from "../view/pages/brush";
import { latencyMap, rowBounds } from "../view/pages/latency";
import { type Brush, type Chosen, chosenParams, chosenQuery, readChosen, SLOWEST } from "../view/state/chosen";
import { zone } from "../view/state/zone";

const FROM = Date.UTC(2026, 10, 27, 12);
const TIMES = { from: FROM, step_ms: 10_000 };
/** 20 columns of 10 s, and rows from bin 160 (1024 µs) to bin 240 (32 768 µs). */
const MAP = latencyMap({
  ...TIMES,
  bins_per_doubling: 16,
  covered_ms: [],
  columns: Array.from({ length: 20 }, () => [160, 1, 239, 1]),
  errors: [],
})!;

const read = (patch: Record<string, string | null>) =>
  readChosen(new URLSearchParams(Object.entries(patch).filter((e): e is [string, string] => e[1] !== null)));

describe("what is chosen, as the URL writes it", () => {
  const all: Chosen[] = [
    SLOWEST,
    { slowest: 0.1 },
    { brush: { minUs: 412_000, maxUs: null, during: null } },
    { brush: { minUs: 0, maxUs: 900, during: null } },
    { brush: { minUs: 1, maxUs: 2, during: [FROM, FROM + 1] } },
    { brush: { minUs: 0, maxUs: null, during: [FROM, FROM + 60_000] } },
  ];

  it("comes back as it was", () => {
    for (const chosen of all) expect(read(chosenParams(chosen))).toEqual(chosen);
    expect(read(chosenParams(null))).toBeNull();
  });

  it("takes the other kind away", () => {
    expect(chosenParams(SLOWEST)).toEqual({ why: "1", took: null, during: null });
    expect(chosenParams({ brush: { minUs: 5, maxUs: null, during: null } })).toEqual({
      why: null,
      took: "5-",
      during: null,
    });
  });

  it("is nothing where it cannot be read", () => {
    for (const why of ["", "0", "51", "-1", "x", "NaN"]) expect(read({ why }), why).toBeNull();
    for (const took of ["", "-", "-5", "5", "5-5", "9-5", "1e3-", "5-x", "1234567890123456-"])
      expect(read({ took }), took).toBeNull();
    expect(read({ took: "5-9", during: "9-5" })).toBeNull();
    expect(read({ took: "5-9", during: "now-1h" })).toEqual({ brush: { minUs: 5, maxUs: 9, during: null } });
  });

  it("is asked of the collector in its own words", () => {
    expect(chosenQuery(SLOWEST)).toEqual({ slowest: 1 });
    expect(chosenQuery({ brush: { minUs: 5, maxUs: null, during: [7, 9] } })).toEqual({
      min_us: 5,
      max_us: undefined,
      inside_from: 7,
      inside_until: 9,
    });
  });
});

describe("a rectangle on the map", () => {
  it("finds the cell under a point, and the nearest beyond an edge", () => {
    expect(cellAt(MAP, [0, 0])).toEqual([0, 0]);
    expect(cellAt(MAP, [0.5, 0.5])).toEqual([10, 10]);
    expect(cellAt(MAP, [1, 1])).toEqual([19, 19]);
    expect(cellAt(MAP, [-3, 7])).toEqual([0, 19]);
  });

  it("is made of whole cells, in whichever direction it is drawn", () => {
    // Rows 4 to 7: one doubling, from 2048 to 4096 µs. Columns 2 to 3.
    const brush = { minUs: 2049, maxUs: 4097, during: [FROM + 20_000, FROM + 40_000] };
    expect(brushBetween(MAP, TIMES, [0.11, 0.21], [0.19, 0.39])).toEqual(brush);
    expect(brushBetween(MAP, TIMES, [0.19, 0.21], [0.11, 0.39])).toEqual(brush);
    expect(brushBetween(MAP, TIMES, [0.19, 0.39], [0.11, 0.21])).toEqual(brush);
  });

  it("has no bound where it reaches the edge of durations, or spans all the time", () => {
    expect(brushBetween(MAP, TIMES, [0.5, -1], [0.5, 0.1]).minUs).toBe(0);
    expect(brushBetween(MAP, TIMES, [0.5, 0.9], [0.5, 2]).maxUs).toBeNull();
    expect(brushBetween(MAP, TIMES, [-1, 0.5], [2, 0.5]).during).toBeNull();
    expect(brushBetween(MAP, TIMES, [-1, 0.5], [0.9, 0.5]).during?.[0]).toBe(FROM);
  });

  it("lies where it was drawn", () => {
    const random = seeded(7);
    for (let k = 0; k < 200; k++) {
      const [p, q] = [[random(), random()] as const, [random(), random()] as const];
      const box = boxOf(MAP, TIMES, brushBetween(MAP, TIMES, p, q))!;
      for (const [x, y] of [p, q]) {
        expect(x).toBeGreaterThanOrEqual(box.left - 1e-9);
        expect(x).toBeLessThanOrEqual(box.right + 1e-9);
        expect(y).toBeGreaterThanOrEqual(box.bottom - 1e-3);
        expect(y).toBeLessThanOrEqual(box.top + 1e-3);
      }
      expect(box.right - box.left).toBeLessThanOrEqual(Math.abs(p[0] - q[0]) + 2 / 20 + 1e-9);
      expect(box.top - box.bottom).toBeLessThanOrEqual(Math.abs(p[1] - q[1]) + 2 / 20 + 1e-3);
    }
  });

  it("takes the durations of its rows and of no other", () => {
    for (let row = 1; row < MAP.rows - 1; row++) {
      const y = (row + 0.5) / MAP.rows;
      const { minUs, maxUs } = brushBetween(MAP, TIMES, [0.1, y], [0.2, y]);
      const [low, high] = rowBounds(MAP, row);
      expect(minUs > low && minUs - 1 <= low, `${row}`).toBe(true);
      expect(maxUs! > high && maxUs! - 1 <= high, `${row}`).toBe(true);
    }
  });

  it("is not drawn beyond the map", () => {
    const far: Brush = { minUs: 0, maxUs: null, during: [FROM - 60_000, FROM - 1] };
    expect(boxOf(MAP, TIMES, far)).toBeNull();
    expect(boxOf(MAP, TIMES, { minUs: 40_000, maxUs: null, during: null })).toBeNull();
    expect(boxOf(MAP, TIMES, { minUs: 0, maxUs: null, during: [FROM - 60_000, FROM + 100_000] })).toEqual({
      left: 0,
      right: 0.5,
      bottom: 0,
      top: 1,
    });
  });
});

describe("the form of it", () => {
  const SHOWN = [FROM, FROM + 200_000] as const;
  const NONE: Fields = { atLeast: "", below: "", from: "", until: "" };

  it("says what the brush is, and means the same", () => {
    zone.value = "utc";
    const brush: Brush = { minUs: 2049, maxUs: 4097, during: [FROM + 20_000, FROM + 40_000] };
    const fields = fieldsOf(brush);
    expect(fields).toEqual({
      atLeast: "2.049",
      below: "4.097",
      from: "2026-11-27 12:00:20",
      until: "2026-11-27 12:00:40",
    });
    expect(brushOfFields(fields, SHOWN)).toEqual(brush);
    expect(fieldsOf(null)).toEqual(NONE);
  });

  it("leaves open what is left empty", () => {
    expect(brushOfFields({ ...NONE, atLeast: " 250 " }, SHOWN)).toEqual({ minUs: 250_000, maxUs: null, during: null });
    expect(brushOfFields({ ...NONE, from: "2026-11-27 12:01" }, SHOWN)).toEqual({
      minUs: 0,
      maxUs: null,
      during: [FROM + 60_000, SHOWN[1]],
    });
  });

  it("says what is wrong", () => {
    expect(brushOfFields(NONE, SHOWN)).toContain("Say a duration");
    expect(brushOfFields({ ...NONE, atLeast: "fast" }, SHOWN)).toContain("milliseconds");
    expect(brushOfFields({ ...NONE, below: "-1" }, SHOWN)).toContain("milliseconds");
    expect(brushOfFields({ ...NONE, atLeast: "5", below: "4" }, SHOWN)).toContain("below the shortest");
    expect(brushOfFields({ ...NONE, until: "noon" }, SHOWN)).toContain("Write times");
    expect(brushOfFields({ ...NONE, until: "2026-11-27 11:00" }, SHOWN)).toContain("not after");
  });
});

it("is said in words", () => {
  zone.value = "utc";
  expect(tookWords(0, null)).toBe("of any duration");
  expect(tookWords(null, 900)).toBe("below 900 µs");
  expect(tookWords(411_800, 1_500_000)).toBe("412 ms to 1.50 s");
  expect(brushWords({ minUs: 412_000, maxUs: null, during: null })).toBe("412 ms and longer");
  expect(brushWords({ minUs: 412_000, maxUs: null, during: [FROM, FROM + 900_000] })).toMatch(
    /^412 ms and longer, .*12:00–12:15$/,
  );
});
