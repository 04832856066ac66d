/** What a worker makes of a profile is what the page would have made: it comes over whole, and the page makes nothing again. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { encodeFlame } from "../mock/encode";
import { decodeFlame, FlameError } from "../view/profile/decode";
import { filteredOf, writingDown } from "../view/profile/known";
import { copied, Kitchen, Pantry } from "../view/profile/parcel";
import { cook, PLAIN, type Recipe } from "../view/profile/recipe";
import type { Profile } from "../view/profile/tree";
import { flameJson, randomStacks } from "./random";

/** Every other one has runtimes above its own code. */
function randomFlame(seed: number, diff: boolean) {
  const stacks = randomStacks(seed);
  const tower = ["tokio::runtime::poll", "hyper::server::poll"];
  return flameJson(seed % 2 ? stacks : stacks.map((s) => ({ ...s, path: [...tower, ...s.path] })), diff);
}

/** What happens to a message between a worker and its page. */
function sent<T>(message: T): T {
  const { copy, transfer } = copied(message);
  return structuredClone(copy, { transfer });
}

function apart(bytes: ArrayBuffer): { kitchen: Kitchen; pantry: Pantry } {
  const kitchen = new Kitchen(bytes);
  return { kitchen, pantry: new Pantry(sent(kitchen.parcel())) };
}

const LOOKS: Partial<Recipe>[] = [
  {},
  { view: "bottomup" },
  { hidden: false },
  { view: "sandwich" },
  { view: "sandwich", pivot: "f3", filters: ["drop:f1"] },
  { view: "table", filters: ["keep:/^f[0-4]$/", "hide:f2"] },
  { filters: ["keep:/^f[0-4]$/", "pivot:f2"], width: "union" },
  { faster: ["3:f2", "inf:f4"] },
  { sorted: true, width: "a" },
  {},
];

/** What everything in it is, in short: comparing columns number by number takes seconds. */
function digest(of: unknown, hash = createHash("sha256"), depth = 0): string {
  if (ArrayBuffer.isView(of)) hash.update(new Uint8Array(of.buffer, of.byteOffset, of.byteLength));
  else if (typeof of === "object" && of !== null)
    for (const key of Object.keys(of).sort()) digest((of as never)[key], hash.update(`${key}\n`), depth + 1);
  else hash.update(String(of));
  return depth === 0 ? hash.digest("hex") : "";
}

/** Nothing of it is made here. */
function cookedWithoutWork(profile: Profile, recipe: Recipe): ReturnType<typeof cook> {
  let cooked: ReturnType<typeof cook> | undefined;
  const made = writingDown(() => {
    cooked = cook(profile, recipe);
  });
  expect(made.map((one) => one.what)).toEqual([]);
  return cooked!;
}

describe.each([false, true])("a profile from a worker, comparing: %s", (diff) => {
  for (let seed = 1; seed <= 8; seed++)
    it(`is the same, and so are its views (${seed})`, () => {
      const bytes = encodeFlame(randomFlame(seed, diff));
      const direct = decodeFlame(bytes.slice(0));
      const { kitchen, pantry } = apart(bytes);
      const { profile } = pantry;
      expect(digest(profile.tree)).toBe(digest(direct.tree));
      expect(profile.header).toEqual(direct.header);
      expect(profile.tree.selfA === profile.tree.selfB).toBe(!diff);
      for (let f = 0; f < direct.frames.count; f++) {
        expect(profile.frames.name(f)).toBe(direct.frames.name(f));
        expect(profile.frames.hash(f)).toBe(direct.frames.hash(f));
        expect(profile.frames.func[f]).toBe(direct.frames.func[f]);
      }
      for (const look of LOOKS) {
        const recipe = { ...PLAIN, ...look };
        pantry.take(sent(kitchen.cook(recipe)));
        const came = cookedWithoutWork(profile, recipe);
        const made = cook(direct, recipe);
        expect(digest(came)).toBe(digest(made));
        // What is one tree there is one tree here, and so is what is one column.
        expect(came.base === came.shown).toBe(made.base === made.shown);
        expect(came.own === profile.tree).toBe(made.own === direct.tree);
        expect(came.shown.selfA === came.shown.selfB).toBe(made.shown.selfA === made.shown.selfB);
      }
    });
});

it("hands copies over and keeps what it reads again", () => {
  const kitchen = new Kitchen(encodeFlame(randomFlame(3, false)));
  sent(kitchen.parcel());
  expect(kitchen.parcel().tree.parent.length).toBeGreaterThan(0);
});

it("sends nothing twice, until both ends begin afresh, and is right then too", () => {
  const bytes = encodeFlame(randomFlame(6, false));
  const direct = decodeFlame(bytes.slice(0));
  const { kitchen, pantry } = apart(bytes);
  pantry.take(sent(kitchen.cook(PLAIN)));
  expect(kitchen.cook(PLAIN).made).toEqual([]);
  let afresh = 0;
  for (let k = 0; k < 60; k++) {
    const recipe = { ...PLAIN, filters: [`drop:f${k}`] };
    const delivery = sent(kitchen.cook(recipe));
    if (delivery.afresh) afresh++;
    pantry.take(delivery);
    expect(digest(cookedWithoutWork(pantry.profile, recipe))).toBe(digest(cook(direct, recipe)));
  }
  expect(afresh).toBeGreaterThan(0);
});

it("what the page made by itself meanwhile stays, and later deliveries build on it", () => {
  const { kitchen, pantry } = apart(encodeFlame(randomFlame(4, false)));
  const { profile } = pantry;
  const mine = filteredOf(profile.tree, profile.frames, ["drop:f1"]);
  const recipe = { ...PLAIN, filters: ["drop:f1"], hidden: false };
  pantry.take(sent(kitchen.cook(recipe)));
  expect(cookedWithoutWork(profile, recipe).whole).toBe(mine);
});

it("refuses what the page would refuse", () => {
  expect(() => new Kitchen(new ArrayBuffer(3))).toThrow(FlameError);
});

it("works a view out once", () => {
  const profile = decodeFlame(encodeFlame(randomFlame(5, false)));
  for (const look of LOOKS) {
    cook(profile, { ...PLAIN, ...look });
    cookedWithoutWork(profile, { ...PLAIN, ...look });
  }
});
