/** A profile that a worker read is the one that the page would have read, columns shared as they were, and its views come along. */
import { describe, expect, it } from "vitest";
import { encodeFlame } from "../mock/encode";
import { byWeight } from "../view/profile/build";
import { decodeFlame, FlameError } from "../view/profile/decode";
import { bottomUp } from "../view/profile/invert";
import { bottomUpOf, ownOf, sortedOf } from "../view/profile/known";
import { addBottomUp, pack, unpack } from "../view/profile/parcel";
import { applyTransforms, WITHOUT_FRAMEWORKS } from "../view/profile/transform";
import type { Tree } from "../view/profile/tree";
import { flameJson, randomStacks } from "./random";

/** Every other one has runtimes above its own code. */
function randomFlame(seed: number, diff: boolean) {
  const stacks = randomStacks(seed);
  const tower = ["tokio::runtime::poll", "hyper::server::poll"];
  return flameJson(seed % 2 ? stacks : stacks.map((s) => ({ ...s, path: [...tower, ...s.path] })), diff);
}

/** What happens to a message between a worker and its page. */
const sent = <T>(message: T, transfer: Transferable[]): T => structuredClone(message, { transfer });

describe.each([false, true])("a profile from a worker, comparing: %s", (diff) => {
  for (let seed = 1; seed <= 8; seed++)
    it(`is the same, and so are its views (${seed})`, () => {
      const bytes = encodeFlame(randomFlame(seed, diff));
      const direct = decodeFlame(bytes.slice(0));
      const packed = pack(bytes);
      const apart = unpack(sent(packed.parcel, packed.transfer));
      const later = packed.bottomUp();
      addBottomUp(apart, sent(later.tree, later.transfer));

      expect(apart.tree).toEqual(direct.tree);
      expect(apart.header).toEqual(direct.header);
      expect(apart.tree.selfA === apart.tree.selfB).toBe(direct.tree.selfA === direct.tree.selfB);
      for (let f = 0; f < direct.frames.count; f++) {
        expect(apart.frames.name(f)).toBe(direct.frames.name(f));
        expect(apart.frames.hash(f)).toBe(direct.frames.hash(f));
        expect(apart.frames.func[f]).toBe(direct.frames.func[f]);
      }
      const own = applyTransforms(direct.tree, direct.frames, [WITHOUT_FRAMEWORKS]);
      const come: Tree = ownOf(apart.tree, apart.frames);
      expect(come).toEqual(own);
      expect([come === apart.tree, own === direct.tree]).toEqual([seed % 2 === 1, seed % 2 === 1]);
      expect(bottomUpOf(come, apart.frames)).toEqual(bottomUp(own, direct.frames));
      if (!diff) expect(sortedOf(come)).toEqual(byWeight(own, own.totalB));
    });
});

it("hands its columns over and copies none", () => {
  const packed = pack(encodeFlame(randomFlame(3, false)));
  const { tree } = packed.parcel;
  sent(packed.parcel, packed.transfer);
  expect([tree.parent, tree.selfA, tree.totalA, tree.frame].map((column) => column.length)).toEqual([0, 0, 0, 0]);
});

it("refuses what the page would refuse", () => {
  expect(() => pack(new ArrayBuffer(3))).toThrow(FlameError);
});

it("works a view out once", () => {
  const { tree, frames } = decodeFlame(encodeFlame(randomFlame(5, false)));
  expect(ownOf(tree, frames)).toBe(ownOf(tree, frames));
  expect(sortedOf(tree)).toBe(sortedOf(tree));
  expect(bottomUpOf(tree, frames)).toBe(bottomUpOf(tree, frames));
});
