/** Small things that were wrong once. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { isSilent, sortAgents } from "../view/pages/agents";
import { fileName } from "../view/pages/parts";
import { sampleProfile } from "../view/pages/sample";
import { flameFromJson } from "../view/profile/decode";
import { familyShares } from "../view/profile/families";
import { applyTransforms, WITHOUT_FRAMEWORKS } from "../view/profile/transform";
import { here } from "../view/state/location";
import { fixedLink } from "../view/state/share";
import * as fmt from "../view/ui/format";
import { linePath, timeTicks } from "../view/ui/scale";

const NOW = Date.UTC(2026, 10, 27, 12);
const DAY = 86_400e3;

describe("downloads", () => {
  test("are called by what they hold, and end as what they are", () => {
    expect(fileName("checkout-cpu", "json")).toBe("checkout-cpu.json");
    expect(fileName("a/b c-cpu-diff", "pprof")).toBe("a-b-c-cpu-diff.pb.gz");
    expect(fileName("checkout-cpu", "markdown")).toBe("checkout-cpu.md");
  });
});

describe("the axis of time", () => {
  test("of ten years has years and no black bar", () => {
    for (const years of [0.5, 1, 3, 10, 50]) {
      const ticks = timeTicks(NOW - years * 365 * DAY, NOW, 8);
      expect(ticks.length, `${years} years`).toBeGreaterThan(1);
      expect(ticks.length, `${years} years`).toBeLessThanOrEqual(9);
      for (const t of ticks) if (years >= 3) expect(new Date(t).getDate()).toBe(1);
    }
  });

  test("shows a window without neighbours as a dot", () => {
    const id = (v: number) => v;
    const path = linePath(
      [
        [0, null],
        [1, 5],
        [2, null],
        [3, 5],
        [4, 6],
      ],
      id,
      id,
    );
    expect(path).toBe("M1.0 5.0h0M3.0 5.0L4.0 6.0");
  });
});

test("a time far away has its year", () => {
  expect(fmt.date(NOW + 90 * DAY)).toBe("25 Feb 2027");
  expect(fmt.time(NOW + 90 * DAY, NOW)).toContain("2027");
  expect(fmt.time(NOW - 2 * DAY, NOW)).not.toContain("2026");
});

describe("a link that is copied", () => {
  afterEach(() => vi.unstubAllGlobals());

  test("has the times that are seen, not those relative to whoever opens it", () => {
    vi.stubGlobal("location", { origin: "http://tephra" });
    here.value = { path: "/s/a", params: new URLSearchParams("from=now-15m&q=x"), newer: false, pinned: null };
    const { pathname, searchParams } = new URL(fixedLink({ from: 1000.4, until: 2000 }));
    expect(pathname).toBe("/s/a");
    expect(Object.fromEntries(searchParams)).toEqual({ v: "1", from: "1000", q: "x", until: "2000" });
  });

  test("of a pinned view is the pin", () => {
    vi.stubGlobal("location", { origin: "http://tephra" });
    here.value = { path: "/s/a", params: new URLSearchParams("from=1"), newer: false, pinned: "/p/b7k2" };
    expect(fixedLink({ from: 1 })).toBe("http://tephra/p/b7k2");
  });
});

test("an instance that ended in a deploy is not missed, a service of which nobody reports is", () => {
  const agent = (service: string, instance: string, ago: number) => ({
    ...{ service, instance, last_seen: NOW - ago, agent_version: "1", sampled: 1, stored: 1 },
    ...{ dropped: {}, cpu_covered_share: 1 },
  });
  const agents = [
    agent("shop", "new", 3e3),
    agent("shop", "old", 600e3),
    agent("mailer", "only", 600e3),
    agent("mailer", "before", 9000e3),
  ];
  const { here: shown, ended } = sortAgents(agents, NOW);
  expect(ended.map((a) => a.instance)).toEqual(["old"]);
  expect(shown.filter((a) => isSilent(a, NOW)).map((a) => a.instance)).toEqual(["only", "before"]);
});

test("the sample profile is a sound one, with towers to hide and several families", () => {
  const profile = flameFromJson(sampleProfile(NOW));
  const { tree, frames } = profile;
  expect(tree.totalB[0]).toBe(profile.header.a.total);
  expect(applyTransforms(tree, frames, [WITHOUT_FRAMEWORKS]).count).toBeLessThan(tree.count);
  expect(familyShares(tree, frames).length).toBeGreaterThan(5);
  for (const name of ["shop::tax::TaxRules::rate_for", "alloc::raw_vec::RawVec<T,A>::grow_one", "realloc"])
    expect(frames.funcByName(name), name).toBeGreaterThan(0);
});
