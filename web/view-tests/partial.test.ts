/** What is said of an answer that could not read everything. */
import { describe, expect, test } from "vitest";
import { partialWords } from "../view/ui/PartialNote";

const covered = { covered_from: Date.UTC(2026, 2, 1, 9), covered_until: Date.UTC(2026, 2, 2, 9) };

describe("an answer about a part says so", () => {
  test.each([
    ["time", "ran out of its time"],
    ["windows", "too many windows"],
    ["size", "outgrew its memory"],
    ["something-new", "a limit of the query was reached"],
  ])("%s", (reason, why) => {
    const words = partialWords({ reason, ...covered });
    expect(words).toMatch(/^Only .*1 Mar.* – .*2 Mar.* is in this, the newest part/);
    expect(words).toContain(why);
    expect(words).toContain("shorter range");
  });

  test("damage cuts nothing off, and a shorter range does not help", () => {
    const words = partialWords({ reason: "damaged", damaged: true, ...covered });
    expect(words).toContain("damaged and left out");
    expect(words).not.toMatch(/newest part|shorter range/);
  });

  test("a part in which something is damaged says both", () => {
    const words = partialWords({ reason: "time", damaged: true, ...covered });
    expect(words).toContain("ran out of its time");
    expect(words).toContain("damaged and left out");
  });
});
