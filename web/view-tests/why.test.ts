/** The answer to "why slow", as it is read: sentences, sides, rows, evidence. */
import { describe, expect, it } from "vitest";
import { compare } from "../mock/compare";
import type { RequestsSide, TypeCost } from "../view/api/contract";
import {
  costRows,
  costsInOrder,
  differenceWords,
  evidenceWords,
  pieces,
  sideNames,
  sideWords,
} from "../view/pages/why";

const FUNCTIONS = [{ name: "fingerprint::digest", full_name: "shop::fingerprint::digest" }];

describe("a sentence", () => {
  it("shows what it quotes, and leads to the functions it names", () => {
    expect(pieces("The slowest of `POST /orders` spend it in `fingerprint::digest`, mostly.", FUNCTIONS)).toEqual([
      { kind: "text", text: "The slowest of " },
      { kind: "quote", text: "POST /orders" },
      { kind: "text", text: " spend it in " },
      { kind: "function", text: "shop::fingerprint::digest" },
      { kind: "text", text: ", mostly." },
    ]);
    expect(pieces("In shop::fingerprint::digest.", FUNCTIONS)[1]).toEqual({
      kind: "function",
      text: "shop::fingerprint::digest",
    });
    expect(pieces("`fingerprint::digest`", FUNCTIONS)).toEqual([
      { kind: "function", text: "shop::fingerprint::digest" },
    ]);
  });

  it("loses nothing to a backtick without its twin", () => {
    for (const text of ["one ` alone", "`a` and `b", "`", "no sign", ""]) {
      const shown = pieces(text, []).map((p) => (p.kind === "quote" ? `\`${p.text}\`` : p.text));
      expect(shown.join(""), text).toBe(text);
    }
  });
});

describe("the sides", () => {
  it("are called by what was asked", () => {
    expect(sideNames({ slowest: 1 }).chosen).toBe("Slowest 1\u00a0%");
    expect(sideNames({ brush: { minUs: 5, maxUs: null, during: null } })).toEqual({
      chosen: "Selected",
      others: "Others",
      othersInFull: "All others",
    });
  });

  it("say how many requests they are and how long these took", () => {
    const side: RequestsSide = {
      min_us: 412_000,
      max_us: null,
      from_ms: 0,
      until_ms: 1,
      requests: 31,
      examples: 29,
      mean_us: 431_000,
    };
    expect(sideWords(side)).toBe("31 requests, 412 ms and longer, on average 431 ms");
    expect(sideWords({ ...side, min_us: null, requests: 0 })).toBe("0 requests");
  });
});

describe("the costs", () => {
  const one = (name: string, chosen: number, others: number, q = 0) => ({
    name,
    full_name: `shop::${name}`,
    family: "hashing",
    chosen_per_request: chosen,
    others_per_request: others,
    q,
  });
  const cost = (type: string, more: Partial<TypeCost> = {}): TypeCost => ({
    type,
    unit: "nanoseconds",
    chosen_per_request: 30,
    others_per_request: 10,
    q: 0,
    significant: true,
    functions: [one("small", 3, 2), one("less", 1, 20), one("large", 40, 1), one("chance", 9, 2, 0.2)],
    families: [one("hashing", 41, 30), one("runtime", 5, 40)],
    ...more,
  });

  it("have CPU first, then allocated bytes", () => {
    const order = costsInOrder([cost("alloc_objects"), cost("lock"), cost("alloc_space"), cost("cpu")]);
    expect(order.map((c) => c.type)).toEqual(["cpu", "alloc_space", "alloc_objects", "lock"]);
  });

  it("have the largest difference first, whichever way it goes, and tell noise", () => {
    const { functions, families } = costRows(cost("cpu"), 0.01);
    expect(functions.map((r) => r.name)).toEqual(["shop::large", "shop::less", "shop::chance", "shop::small"]);
    expect(functions.map((r) => r.noise)).toEqual([false, false, true, false]);
    expect(families.map((r) => r.name)).toEqual(["runtime", "hashing"]);
    expect(families.map((r) => r.share)).toEqual([5 / 41, 1]);
    expect(functions[0]!.share).toBeCloseTo(40 / 41);
  });

  it("are noise altogether where the whole is", () => {
    const { functions, families } = costRows(cost("cpu", { significant: false }), 0.01);
    expect([...functions, ...families].every((r) => r.noise)).toBe(true);
  });

  it("of nothing have no share that is none", () => {
    const { functions } = costRows(cost("cpu", { functions: [one("f", 0, 0)], families: [] }), 0.01);
    expect(functions[0]!.share).toBe(0);
  });

  it("differ by an amount, and by a multiple where that says more", () => {
    expect(differenceWords(310e6, 20e6, "nanoseconds")).toBe("+290 ms, ×16");
    expect(differenceWords(22e6, 20e6, "nanoseconds")).toBe("+2 ms");
    expect(differenceWords(5e6, 0, "nanoseconds")).toBe("+5 ms");
  });
});

it("says on what it rests in a line", () => {
  const answer = compare("checkout", new URLSearchParams("route=r&from=0&until=1&slowest=1"));
  answer.evidence.test = "a permutation test.";
  expect(evidenceWords(answer)).toBe(
    "A permutation test. At most 1.0\u00a0% of what is called a difference is expected to be chance. " +
      "Requests: 600 examples of 612 against 1 988 examples of 30 602.",
  );
});
