/** The decoder: what the collector writes is read back exactly, and what is damaged is refused. */
import { describe, expect, test } from "vitest";
import { encodeFlame } from "../mock/encode";
import { seeded } from "../mock/shop";
import { decodeFlame, FlameError, flameFromJson } from "../view/profile/decode";
import type { Tree } from "../view/profile/tree";
import { flameJson, randomStacks, SEEDS } from "./random";

describe("flame/1", () => {
  test("the binary form and its JSON twin decode to the same profile", () => {
    for (const seed of SEEDS) {
      const json = flameJson(randomStacks(seed), seed % 2 === 0);
      const binary = decodeFlame(encodeFlame(json));
      const twin = flameFromJson(json);
      const columns = (t: Tree) =>
        [t.depth, t.frame, t.selfA, t.selfB, t.totalA, t.totalB, t.q ?? []].map((c) => c.join(" "));
      expect(columns(binary.tree)).toEqual(columns(twin.tree));
      expect(binary.header.frames).toEqual(twin.header.frames);
    }
  });

  test("values beyond 32 bits survive", () => {
    const json = flameJson([{ path: ["a"], a: 2 ** 52 + 1, b: 0 }], false);
    expect(decodeFlame(encodeFlame(json)).tree.totalA[0]).toBe(2 ** 52 + 1);
  });

  test("every truncation is refused with a FlameError", () => {
    const bytes = encodeFlame(flameJson(randomStacks(3, 8), true));
    for (let n = 0; n < bytes.byteLength; n++) expect(() => decodeFlame(bytes.slice(0, n))).toThrow(FlameError);
  });

  test("random damage is refused or decodes to a sound tree, and nothing else is thrown", () => {
    const clean = new Uint8Array(encodeFlame(flameJson(randomStacks(5, 20), true)));
    const random = seeded(11);
    let refused = 0;
    for (let round = 0; round < 3000; round++) {
      const bytes = clean.slice();
      for (let k = 0; k < 3; k++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      try {
        const { tree, frames } = decodeFlame(bytes.buffer);
        const sound = tree.frame.every((f, i) => f < frames.count && tree.parent[i]! < i && tree.end[i]! <= tree.count);
        expect(sound).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(FlameError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  test("a huge node count is refused before anything is allocated", () => {
    const json = { ...flameJson(randomStacks(1, 4), false), node_count: 2 ** 31 };
    expect(() => decodeFlame(encodeFlame(json))).toThrow(/nodes need/);
  });

  test("a second root and a frame outside the table are refused", () => {
    const json = flameJson([{ path: ["a"], a: 1, b: 0 }], false);
    expect(() => flameFromJson({ ...json, nodes: { ...json.nodes, up: [0, 1] } })).toThrow(/node 1 has depth 0/);
    expect(() => flameFromJson({ ...json, nodes: { ...json.nodes, frame: [0, 9] } })).toThrow(/frame 9 of 2/);
  });
});
