/** Families of work: which family owns which cost. */
import { expect, test } from "vitest";
import { familyShares } from "../view/profile/families";
import { profileOf } from "./random";

test("a family owns what it calls, unless it only carries", () => {
  const cost = (path: string[], a: number) => ({ path, a, b: 0 });
  const profile = profileOf([
    cost(["tokio::runtime::poll", "hyper::server::poll", "shop::rate_for"], 7),
    cost(["tokio::runtime::poll"], 2),
    cost(["tokio::runtime::poll", "shop::order", "serde_json::to_vec", "shop::visit"], 5),
  ]);
  const { frames } = profile;
  const family = (name: string) => frames.family(frames.frameOfFunc[frames.funcByName(name)]!);
  expect(frames.carriers).toContain(family("tokio::runtime::poll"));
  expect(family("shop::rate_for")).toBe("unknown");
  const shares = new Map(familyShares(profile.tree, profile.frames));
  expect(shares.get("unknown")).toBeCloseTo(7 / 14);
  expect(shares.get(family("tokio::runtime::poll"))).toBeCloseTo(2 / 14);
  expect(shares.get(family("serde_json::to_vec"))).toBeCloseTo(5 / 14);
});
