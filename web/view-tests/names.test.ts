/** Names as people say them. */
import { describe, expect, test } from "vitest";
import { lastPart, plainName } from "../view/profile/names";
import { cutAtNames, withPlain, withWhole } from "../view/ui/Name";
import cases from "./names.json";

describe("plain names", () => {
  test.each(cases as [string, string][])("%s", (name, plain) => expect(plainName(name)).toBe(plain));

  test("of a name that is said already are the name", () => {
    for (const [, plain] of cases as [string, string][]) if (!plain.includes("<")) expect(plainName(plain)).toBe(plain);
  });

  test("never come out empty, whatever was pushed", () => {
    let seed = 7;
    const letters = "aZ_<>(){}[]:&' ,+-";
    for (let k = 0; k < 5000; k++) {
      let name = "";
      for (let i = 0; i < 1 + (k % 24); i++) {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        name += letters[seed % letters.length];
      }
      expect(plainName(name), name).not.toBe("");
    }
  });
});

test("where there is room for one part, it is the last, unless that says nothing by itself", () => {
  expect(lastPart("TaxRules::rate_for")).toBe("rate_for");
  expect(lastPart("fingerprint::of")).toBe("fingerprint::of");
  expect(lastPart("main")).toBe("main");
});

describe("whole names in text", () => {
  const rate = "<shop::tax::TaxRules as shop::tax::TaxOffice>::rate_for";

  test("are said plain wherever a sentence names a function", () => {
    const text = `73 % of it is ${rate}, called by shop::cart::total.`;
    expect(withPlain(text, [rate, "shop::cart::total"])).toBe(
      "73 % of it is TaxRules::rate_for, called by cart::total.",
    );
    expect(cutAtNames("nothing named", ["", rate])).toEqual([{ text: "nothing named", name: null }]);
  });

  test("are known where a sentence says them plain, and only there", () => {
    expect(cutAtNames("TaxRules::rate_for remains main.", [rate, "main"])).toEqual([
      { text: "TaxRules::rate_for", name: rate },
      { text: " remains ", name: null },
      { text: "main", name: "main" },
      { text: ".", name: null },
    ]);
  });

  test("of two that begin alike, the longer one is meant", () => {
    expect(withPlain("a::b::c::d is new", ["a::b::c", "a::b::c::d"])).toBe("c::d is new");
  });

  test("are what is copied, in their order, and a part of a name stays that part", () => {
    const shown = "TaxRules::rate_for\t12 %\ncart::total\t3 %";
    expect(
      withWhole(shown, [
        ["TaxRules::rate_for", rate],
        ["cart::total", "shop::cart::total"],
      ]),
    ).toBe(`${rate}\t12 %\nshop::cart::total\t3 %`);
    expect(withWhole("rate_for", [["rate_for", rate]])).toBe("rate_for");
  });
});
