/** The URL holds the state: what is written there is read back. */

import { describe, expect, test } from "vitest";
import type { TraceAnswer } from "../view/api/contract";
import { recipeOf } from "../view/explore/model";
import { swapped } from "../view/pages/DiffPage";
import { levelIn, splitLink } from "../view/pages/Split";
import { diffPath, labelsOf, sidesOf } from "../view/pages/selection";
import { nameSides } from "../view/pages/sides";
import { mostOf, ticksBySpan } from "../view/pages/ticks";
import { PLAIN } from "../view/profile/recipe";
import { href, showing, upgrade } from "../view/state/location";
import { aroundDeploy, baselineOf, earlier, parseDuration, parseTime, readRange } from "../view/state/time";
import { traceIdIn } from "../view/ui/Shell";
import { CPU } from "./random";

const NOW = 1_800_000_000_000;

describe("times", () => {
  test.each([
    ["now", NOW],
    ["now-15m", NOW - 900_000],
    ["now-7d", NOW - 604_800_000],
    ["1700000000", 1_700_000_000_000],
    ["1700000000000", 1_700_000_000_000],
    ["2023-11-14T22:13:20Z", 1_700_000_000_000],
  ])("%s", (text, at) => expect(parseTime(text, NOW)).toBe(at));

  test("what is no time falls back to the last hour, never to NaN", () => {
    expect(parseTime("soon", NOW)).toBeNaN();
    expect(readRange("soon", "later", NOW)).toEqual({ from: NOW - 3600e3, until: NOW });
    expect(readRange("now", "now-1h", NOW)).toEqual({ from: NOW - 7200e3, until: NOW - 3600e3 });
    expect(parseDuration("10m")).toBe(600_000);
  });

  test("baselines have the same length", () => {
    const r = { from: NOW - 600e3, until: NOW };
    expect(baselineOf(r, "prev")).toEqual({ from: NOW - 1200e3, until: NOW - 600e3 });
    expect(baselineOf(r, "1d")).toEqual({ from: NOW - 87_000e3, until: NOW - 86_400e3 });
  });

  test("the time before is one with data: before the range, before its last deploy, or its first half", () => {
    const r = { from: NOW - 3600e3, until: NOW };
    expect(earlier(r, 0, [NOW - 1800e3], NOW)).toEqual({ a: baselineOf(r, "prev"), b: r, word: "the time before" });
    const fresh = earlier(r, NOW - 3000e3, [NOW - 2400e3, NOW - 1800e3, NOW - 10e3], NOW);
    expect(fresh.word).toBe("before the deploy");
    expect(fresh.a).toEqual({ from: NOW - 3000e3, until: NOW - 1800e3 });
    expect(fresh.b).toEqual({ from: NOW - 1740e3, until: NOW });
    const halves = earlier(r, NOW - 2000e3, [], NOW);
    expect(halves).toEqual({
      a: { from: NOW - 2000e3, until: NOW - 1000e3 },
      b: { from: NOW - 1000e3, until: NOW },
      word: "its first half",
    });
  });

  test("around a fresh deploy, both sides are as long as there is data after it", () => {
    const { a, b } = aroundDeploy(NOW - 300e3, { from: NOW - 3600e3, until: NOW }, NOW);
    expect(a.until - a.from).toBe(240e3);
    expect(b.until).toBe(NOW);
  });
});

describe("a split by a label", () => {
  test("compares two of its values over one range, whatever was filtered by that label", () => {
    const params = new URLSearchParams("type=alloc_space&label.zone=eu-1&label.version=v1&by=version");
    const range = { from: NOW - 600e3, until: NOW };
    const asked = new URL(splitLink("checkout", params, "version", range, "v1", "v2"), "http://x");
    expect(asked.pathname).toBe("/diff");
    const sides = sidesOf(asked.searchParams, NOW);
    expect(sides.a).toEqual(range);
    expect(sides.b).toEqual(range);
    expect(nameSides(asked.searchParams, sides)).toEqual({ a: "version=v1", b: "version=v2" });
    expect(labelsOf(asked.searchParams)).toEqual({ "label.zone": ["eu-1"] });
  });

  test("a value's level is its mean over what is selected", () => {
    const points: [number, number | null][] = [
      [0, 9],
      [10, 1],
      [20, null],
      [30, 3],
      [40, 9],
    ];
    expect(levelIn({ label: "a", points }, { from: 10, until: 40 })).toBe(2);
    expect(levelIn({ label: "a", points }, { from: 20, until: 30 })).toBeNull();
  });
});

describe("URLs", () => {
  test("parameters round-trip, repeated ones too, with the vocabulary's version in front", () => {
    const link = href("/s/a", { q: "/a b&c=d/", t: ["with:x::y", "hide:/^z$/"], empty: "", none: null, from: 12 });
    expect(link.startsWith("/s/a?v=1&")).toBe(true);
    const params = new URL(link, "http://x").searchParams;
    expect(params.get("q")).toBe("/a b&c=d/");
    expect(params.getAll("t")).toEqual(["with:x::y", "hide:/^z$/"]);
    expect([...params.keys()]).toEqual(["v", "q", "t", "t", "from"]);
  });

  test("links without a version are version 1, later ones are said to be newer", () => {
    expect(upgrade(new URLSearchParams("service=a")).newer).toBe(false);
    expect(upgrade(new URLSearchParams("v=99&service=a"))).toMatchObject({ newer: true });
    expect(upgrade(new URLSearchParams("v=abc")).newer).toBe(false);
  });

  test("the collector's own diff links are understood as they are", () => {
    const p = new URLSearchParams(
      "service=s&a.from=1700000000000&a.until=1700000600000&b.from=1700001000000&b.until=1700001600000&label.zone=eu",
    );
    const sides = sidesOf(p, NOW);
    expect(sides).toEqual({
      a: { from: 1_700_000_000_000, until: 1_700_000_600_000 },
      b: { from: 1_700_001_000_000, until: 1_700_001_600_000 },
    });
    const asked = new URL(diffPath(p, sides, "flame"), "http://x").searchParams;
    expect(asked.get("label.zone")).toBe("eu");
    expect(asked.get("b.until")).toBe("1700001600000");
    expect(asked.get("format")).toBe("flame");
  });

  test("without an A, it is the time before B; with labels of its own, the same time", () => {
    const time = sidesOf(new URLSearchParams("service=s&from=now-10m"), NOW);
    expect(time.a.until).toBe(time.b.from);
    const labels = sidesOf(new URLSearchParams("service=s&a.label.version=1&b.label.version=2"), NOW);
    expect(labels.a).toEqual(labels.b);
  });

  test("sides are named by what tells them apart", () => {
    const named = (query: string) => {
      const p = new URLSearchParams(query);
      return nameSides(p, sidesOf(p, NOW), NOW);
    };
    expect(named("service=s&a.label.tenant=acme&b.label.tenant=umbrella")).toEqual({
      a: "tenant=acme",
      b: "tenant=umbrella",
    });
    expect(named("service=s&b.label.zone=eu&b.label.version=2")).toEqual({ a: "everything", b: "version=2 zone=eu" });
    expect(named("service=s&label.zone=eu&a.label.version=2&b.label.version=2&from=now-10m").a).toMatch(/^\d\d:\d\d/);
  });

  test("a link to a function keeps what its page compares", () => {
    const link = showing("/diff?service=s&a.from=1&a.until=2&b.from=3&b.until=4", "<a::B as c::D>::e");
    const { pathname, searchParams } = new URL(link, "http://x");
    expect(pathname).toBe("/diff");
    expect(Object.fromEntries(searchParams)).toEqual({
      ...{ v: "1", service: "s", "a.from": "1", "a.until": "2", "b.from": "3", "b.until": "4" },
      ...{ fn: "<a::B as c::D>::e", sel: "function" },
    });
  });

  test("swapping twice is where it began", () => {
    const p = new URLSearchParams(
      "service=s&a.label.version=1&b.label.version=2&a.from=1700000000000&a.until=1700000600000&b.from=1700001000000&b.until=1700001600000",
    );
    const once = swapped(p, sidesOf(p, NOW));
    expect(once.get("b.label.version")).toBe("1");
    const twice = swapped(once, sidesOf(once, NOW));
    expect(sidesOf(twice, NOW)).toEqual(sidesOf(p, NOW));
    expect(labelsOf(twice, "a.")).toEqual(labelsOf(p, "a."));
  });
});

test("a trace id is found in an id, a traceparent and a link, and nowhere else", () => {
  const id = "4bf92f3577b34da6a3ce929d0e0e4736";
  for (const text of [id, ` ${id.toUpperCase()} `, `00-${id}-00f067aa0ba902b7-01`, `https://x/trace/${id}?v=1`])
    expect(traceIdIn(text)).toBe(id);
  for (const text of ["", "4bf92f", `${id}0`]) expect(traceIdIn(text)).toBeNull();
});

test("a trace opens with the service that has most of it", () => {
  const service = (name: string, cpu: number, alloc: number, us: number) => ({
    service: name,
    types: [
      { type: { ...CPU, name: "alloc_space" }, total: alloc, samples: alloc },
      { type: CPU, total: cpu, samples: cpu },
    ] as unknown as TraceAnswer["services"][number]["types"],
    spans: [{ span_id: "a", route: "", start_ms: 0, duration_us: us, status: "ok" }],
    samples: [],
    samples_left_out: 0,
  });
  const idle = service("idle", 0, 900, 9000);
  const busy = service("busy", 2, 0, 1);
  const slow = service("slow", 0, 900, 99_000);
  expect(mostOf([idle, busy, slow])?.service).toBe("busy");
  expect(mostOf([idle, slow])?.service).toBe("slow");
  expect(mostOf([])).toBeUndefined();
});

describe("samples of a trace", () => {
  const span = (span_id: string, start_ms: number, ms: number) => ({
    span_id,
    route: "GET /",
    start_ms,
    duration_us: ms * 1000,
    status: "ok",
  });
  const counts = (spans: ReturnType<typeof span>[], samples: [number, string, string, number][]) =>
    [...ticksBySpan({ service: "s", types: [], spans, samples, samples_left_out: 0 }).values()].map(
      (ticks) => ticks.length,
    );

  test("of a span inside the request belong to the request", () => {
    expect(
      counts(
        [span("a", 100, 50)],
        [
          [120, "inner", "cpu", 1],
          [999, "", "cpu", 1],
        ],
      ),
    ).toEqual([2]);
  });

  test("belong to the span they name, else to the innermost that was open", () => {
    const spans = [span("a", 100, 100), span("b", 140, 20)];
    const samples: [number, string, string, number][] = [
      [150, "a", "cpu", 1],
      [150, "x", "cpu", 1],
      [190, "x", "cpu", 1],
      [900, "x", "cpu", 1],
      [150, "a", "alloc_space", 1],
    ];
    expect(counts(spans, samples)).toEqual([2, 1]);
  });
});

test("a link says what is made of a profile, and links of earlier versions say it too", () => {
  const recipe = (text: string) => recipeOf(new URLSearchParams(text));
  expect(recipe("")).toEqual({ ...PLAIN, view: "" });
  expect(recipe("view=sandwich&fn=a&t=keep:x&t=bogus&wi=2:f&order=name&w=delta&fw=shown")).toEqual({
    view: "sandwich",
    filters: ["keep:x"],
    hidden: false,
    faster: ["2:f"],
    width: "delta",
    sorted: false,
    pivot: "a",
  });
  expect(recipe("fw=shown&t=hide:@frameworks")).toMatchObject({ filters: [], hidden: true });
  // What is selected is made already, except where it is in the middle.
  expect(recipe("fn=a&sel=function&q=x&z=0-1").pivot).toBe("");
});
