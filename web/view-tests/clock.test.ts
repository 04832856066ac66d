/** Times by the clock that was chosen: as they are said, drawn and read. */
import { afterEach, expect, test } from "vitest";
import { clockText, readClock } from "../view/pages/NoteButton";
import { zone } from "../view/state/zone";
import * as fmt from "../view/ui/format";
import { timeTicks } from "../view/ui/scale";

const AT = Date.UTC(2026, 10, 27, 13, 40, 5);

afterEach(() => {
  zone.value = "local";
});

test("in UTC all say the same", () => {
  zone.value = "utc";
  expect(fmt.time(AT, AT)).toBe("13:40");
  expect(fmt.time(AT, AT, true)).toBe("13:40:05");
  expect(fmt.range(AT, AT + 600e3, AT)).toBe("13:40–13:50");
  // A trace that is over within a second.
  expect(fmt.range(AT, AT + 412, AT)).toBe("13:40:05");
  expect(fmt.date(AT)).toBe("27 Nov 2026");
  expect(fmt.utcTime(AT)).toBe("13:40 UTC");
  expect(clockText(AT)).toBe("2026-11-27 13:40:05");
  for (const t of timeTicks(AT, AT + 20 * 3600e3, 6)) expect(t % 3600e3).toBe(0);
  expect(timeTicks(Date.UTC(2016, 5, 1), AT, 8).map((t) => new Date(t).toISOString().slice(4, 10))).toContain("-01-01");
});

test("what is written is the moment that is read, by either clock", () => {
  for (const chosen of ["utc", "local"] as const) {
    zone.value = chosen;
    for (const at of [AT, AT + 86_400e3 * 200]) expect(readClock(clockText(at))).toBe(at);
    expect(readClock("2026-11-27T13:40:05Z")).toBe(AT);
    expect(readClock("soon")).toBeNaN();
  }
});
