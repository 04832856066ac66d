/** Contrast in both themes, and how numbers and axes read. */
import { describe, expect, test } from "vitest";
import { changeWords } from "../view/explore/words";
import { diffPalette, familyColour, normalPalette, selfPalette } from "../view/flame/palette";
import { inOrder } from "../view/pages/parts";
import * as fmt from "../view/ui/format";
import { areaPath, linePath, niceMax, timeTicks } from "../view/ui/scale";
import { profileOf } from "./random";

describe("contrast", () => {
  const everyFamily = [
    "malloc",
    "lock_slow",
    "syscall",
    "serde",
    "regex",
    "sip_hash",
    "sha2",
    "zstd",
    "memcpy",
    "fmt",
    "tephra",
    "tokio",
    "sort_pricing",
    "other_thing",
  ];
  const { frames } = profileOf(everyFamily.map((f) => ({ path: [f], a: 1, b: 0 })));
  for (const dark of [false, true]) {
    const palettes = {
      diff: diffPalette(dark),
      self: selfPalette(dark),
      family: normalPalette(frames, "family", dark).palette,
      crate: normalPalette(frames, "module", dark).palette,
    };
    test.each(Object.entries(palettes))(
      `text on every %s fill is at least 4.5 (${dark ? "dark" : "light"})`,
      (_, palette) => {
        expect(palette.fills.length).toBe(palette.inks.length);
        palette.fills.forEach((fill, i) => {
          expect(contrast(rgb(fill), rgb(palette.inks[i]!)), `${fill} ${palette.inks[i]}`).toBeGreaterThanOrEqual(4.5);
        });
      },
    );
  }
});

test.each([false, true])("own code stands out and runtimes recede (dark: %s)", (dark) => {
  const chroma = (family: string) => Number(/^oklch\([\d.]+ ([\d.]+)/.exec(familyColour(family, dark))![1]);
  for (const family of ["allocation", "lock", "serialization", "network", "cpu", "syscall/io"]) {
    expect(chroma("unknown"), family).toBeGreaterThan(1.4 * chroma(family));
    expect(chroma("runtime"), family).toBeLessThan(0.4 * chroma(family));
  }
});

describe("numbers", () => {
  test.each([
    [1.934, "cores", "1.93 cores"],
    [0.0421, "cores", "42 mcores"],
    [-0.0042, "cores", "−4.2 mcores"],
    [0.1, "cores", "0.10 cores"],
    [0.00004, "cores", "0.040 mcores"],
    [1, "cores", "1 core"],
    [0, "cores", "0 cores"],
    [13_000_000, "bytes/s", "12.4 MiB/s"],
    [512, "bytes", "512 B"],
    [0.4123, "share", "41.2\u00a0%"],
    [3_200_000_000, "nanoseconds", "3.20 s"],
    [1500, "count/s", "1.50 k/s"],
    [Number.NaN, "cores", "–"],
  ])("%d %s", (v, unit, text) => expect(fmt.value(v, unit)).toBe(text));

  test("signs are typographic and zero has none", () => {
    expect(fmt.signed(1.2, "cores")).toBe("+1.20 cores");
    expect(fmt.signed(-0.31, "cores")).toBe("−0.31 cores");
    expect(fmt.signed(0, "cores")).toBe("±0 cores");
    expect(fmt.shortSigned(-0.31, "cores")).toBe("−0.31");
    expect(fmt.shortSigned(0.0421, "cores")).toBe("+42\u00a0m");
  });

  test("the difference of two shares is in percentage points", () => {
    expect(fmt.signed(0.041, "share")).toBe("+4.1\u00a0pp");
    expect(fmt.shortSigned(-0.5, "share")).toBe("−50.0\u00a0pp");
    expect(fmt.value(0.041, "share")).toBe("4.1\u00a0%");
  });

  test("new and gone are said only where chance does not explain them", () => {
    expect(changeWords(0, 5, true)).toBe("new");
    expect(changeWords(0, 5, false)).toBe("within noise");
    expect(changeWords(5, 0, false)).toBe("within noise");
    expect(changeWords(4, 5, false)).toBe("+25\u00a0%, within noise");
  });

  test("changes say new and gone instead of infinite per cents", () => {
    expect(fmt.change(0, 5)).toBe("new");
    expect(fmt.change(5, 0)).toBe("gone");
    expect(fmt.change(0, 0)).toBe("–");
    expect(fmt.change(4.1, 5.4)).toBe("+32\u00a0%");
    expect(fmt.change(1, 30)).toBe("×30");
  });

  test.each([
    [0.004, "4 µs"],
    [41, "41 ms"],
    [1400, "1.40 s"],
    [12 * 60e3, "12 min"],
    [200 * 60e3, "3 h 20 min"],
    [52 * 3600e3, "2 d 4 h"],
  ])("%d ms", (ms, text) => expect(fmt.duration(ms)).toBe(text));
});

test("CPU is offered first, whatever order a collector names types in, and none is lost", () => {
  expect(inOrder(["alloc_objects", "zeta", "inuse_space", "goroutine", "cpu", "alloc_space"])).toEqual([
    ...["cpu", "alloc_space", "alloc_objects", "inuse_space", "goroutine", "zeta"],
  ]);
});

test("types that count bytes and types that count objects say which", () => {
  for (const [name, word] of Object.entries({ space: "Bytes", objects: "Objects" }))
    for (const type of [`alloc_${name}`, `inuse_${name}`]) expect(fmt.typeLabel(type)).toContain(word);
});

describe("axes", () => {
  test("the top of an axis is round and never below the data", () => {
    for (let v = 0.001; v < 1e12; v *= 1.7) {
      expect(niceMax(v, false)).toBeGreaterThanOrEqual(v);
      expect(niceMax(v, true)).toBeGreaterThanOrEqual(v);
      expect(niceMax(v, false)).toBeLessThanOrEqual(v * 2);
    }
    expect(niceMax(0, false)).toBe(1);
  });

  test("ticks stay inside the range and within the number asked for", () => {
    for (const span of [60e3, 3600e3, 86_400e3, 30 * 86_400e3]) {
      const ticks = timeTicks(1_700_000_000_000, 1_700_000_000_000 + span, 10);
      expect(ticks.length).toBeGreaterThan(1);
      expect(ticks.length).toBeLessThanOrEqual(11);
    }
  });

  test("a gap breaks lines and areas instead of being drawn over", () => {
    const points: [number, number | null][] = [
      [0, 1],
      [1, 2],
      [2, null],
      [3, 1],
    ];
    const id = (v: number) => v;
    expect(linePath(points, id, id).match(/M/g)).toHaveLength(2);
    expect(areaPath(points, id, id, 9).match(/Z/g)).toHaveLength(2);
  });
});

type Rgb = [number, number, number];

/** Linear sRGB of `#hex` or `oklch(l c h)`. */
function rgb(colour: string): Rgb {
  const lch = /^oklch\(([\d.]+) ([\d.]+) ([\d.]+)\)$/.exec(colour);
  if (lch) {
    const [l, c, h] = [Number(lch[1]), Number(lch[2]), (Number(lch[3]) * Math.PI) / 180];
    const [a, b] = [c * Math.cos(h), c * Math.sin(h)];
    const [x, y, z] = [
      l + 0.3963377774 * a + 0.2158037573 * b,
      l - 0.1055613458 * a - 0.0638541728 * b,
      l - 0.0894841775 * a - 1.291485548 * b,
    ].map((v) => v ** 3) as Rgb;
    const clip = (v: number) => Math.min(1, Math.max(0, v));
    return [
      clip(4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z),
      clip(-1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z),
      clip(-0.0041960863 * x - 0.7034186147 * y + 1.707614701 * z),
    ];
  }
  const hex = colour.length === 4 ? colour.replace(/[0-9a-f]/gi, "$&$&") : colour;
  return [1, 3, 5].map((i) => {
    const v = Number.parseInt(hex.slice(i, i + 2), 16) / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
}

function contrast(x: Rgb, y: Rgb): number {
  const lum = ([r, g, b]: Rgb) => 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  const [a, b] = [lum(x), lum(y)];
  return Math.max(a, b) / Math.min(a, b);
}
