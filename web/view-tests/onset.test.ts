/** Since when: steps are found, and nothing else is taken for one. */
import { expect, test } from "vitest";
import { seeded } from "../mock/shop";
import type { TephraEvent } from "../view/api/contract";
import { aroundOnset, canTell, deployBefore, onsetIn } from "../view/pages/onset";

const RANGE = { from: 0, until: 3600e3 };
const spark = (of: (i: number) => number | null) => Array.from({ length: 60 }, (_, i) => of(i));

test("a step is found where it is, with gaps around it too", () => {
  const r = seeded(3);
  for (const at of [8, 30, 51])
    for (const factor of [1.3, 0.6, 2]) {
      const found = onsetIn(
        spark((i) => (i % 11 === 3 ? null : (i < at ? 1 : factor) * (1 + 0.05 * (r() - 0.5)))),
        RANGE,
      );
      expect(Math.abs(found!.at / 60e3 - at)).toBeLessThanOrEqual(1);
      expect(found!.after / found!.before).toBeCloseTo(factor, 1);
      const { a, b } = aroundOnset(found!, RANGE);
      expect([a.from, b.until]).toEqual([0, 3600e3]);
      expect(a.until).toBeLessThan(b.from);
    }
});

test("noise, drifts, waves, single peaks and silence are no steps", () => {
  const r = seeded(9);
  let told = 0;
  for (let k = 0; k < 300; k++)
    if (
      onsetIn(
        spark(() => 1 + 0.4 * (r() - 0.5)),
        RANGE,
      )
    )
      told++;
  expect(told).toBe(0);
  expect(
    onsetIn(
      spark((i) => 1 + Math.sin(i / 2) / 3),
      RANGE,
    ),
  ).toBeNull();
  expect(
    onsetIn(
      spark((i) => (i === 20 ? 9 : 1)),
      RANGE,
    ),
  ).toBeNull();
  expect(
    onsetIn(
      spark(() => null),
      RANGE,
    ),
  ).toBeNull();
  expect(
    onsetIn(
      spark(() => 1),
      RANGE,
    ),
  ).toBeNull();
  expect(onsetIn([], RANGE)).toBeNull();
  expect(
    onsetIn(
      spark((i) => (i < 30 ? 1 : 1.05)),
      RANGE,
    ),
  ).toBeNull();
});

test("a service of a few points is not called steady", () => {
  expect(canTell(spark((i) => (i < 4 ? 1 : null)))).toBe(false);
  expect(canTell(spark(() => 1))).toBe(true);
});

test("the deploy that explains a change is the service's own last one shortly before it", () => {
  const onset = { at: 1800e3, before: 1, after: 2, step: 60e3 };
  const event = (id: string, at: number, service = "shop", kind = "deploy") =>
    ({ id, at, service, kind, title: id, labels: {} }) as TephraEvent;
  const events = [
    event("long ago", 600e3),
    event("early", 1500e3),
    event("it", 1790e3),
    event("of another", 1799e3, "mailer"),
    event("no deploy", 1799e3, "shop", "note"),
    event("later", 2400e3),
  ];
  expect(deployBefore(onset, "shop", events)?.id).toBe("it");
  expect(deployBefore(onset, "search", events)).toBeNull();
});
