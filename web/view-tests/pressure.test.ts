/** The status page's words for what is held back. */
import { describe, expect, test } from "vitest";
import type { StatusAnswer } from "../view/api/contract";
import { pressure } from "../view/pages/pressure";

const calm: StatusAnswer["ingest"] = {
  ready: true,
  windows_total: 10,
  samples_total: 100,
  duplicates_total: 0,
  overloaded_total: 0,
  overflows: [],
  series_max: 2000,
  memory_max_bytes: 256 * 2 ** 20,
  refused: {},
};

const said = (ingest: Partial<StatusAnswer["ingest"]>) => pressure({ ingest: { ...calm, ...ingest } } as StatusAnswer);

describe("the status page says what is held back", () => {
  test("a calm collector has nothing to say", () => expect(said({})).toEqual([]));

  test("overload names how many windows came too early and how much room there is", () => {
    const [text] = said({ overloaded_total: 31 });
    expect(text).toContain("31 windows");
    expect(text).toContain("256 MiB");
    expect(text).toContain("send them again");
  });

  test("an overflow names the service, the cap and what to do", () => {
    const [text] = said({ overflows: [{ service: "search", windows: 1 }] });
    expect(text).toMatch(/^search has more than 2.?000 series/);
    expect(text).toContain("1 window so far");
    expect(text).toContain("__other__");
    expect(text).toContain("Leave out the label");
  });

  test("a collector that takes nothing says so first", () => {
    expect(said({ ready: false, overloaded_total: 5 })[0]).toContain("No windows are taken");
  });
});
