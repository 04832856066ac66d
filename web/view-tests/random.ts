/** Random profiles for property tests: recursion, empty nodes, single nodes and wide levels all occur. */
import { flameOf } from "../mock/profile";
import { type StackCost, seeded } from "../mock/shop";
import type { FlameJson, ProfileType, Side } from "../view/api/contract";
import { flameFromJson } from "../view/profile/decode";
import type { Profile } from "../view/profile/tree";

export const CPU: ProfileType = { name: "cpu", unit: "nanoseconds", kind: "counter", period: 10_101_010 };

export function side(total: number, seconds = 600): Side {
  const samples = Math.round(total / CPU.period);
  const span = { from: 1_700_000_000_000, until: 1_700_000_000_000 + seconds * 1000 };
  return {
    ...span,
    total,
    samples,
    seconds,
    windows: 60,
    instances: 1,
    labels: {},
    value: total / seconds / 1e9,
    unit: "cores",
  };
}

export function randomStacks(seed: number, stacks = 120): StackCost[] {
  const random = seeded(seed);
  const pick = (n: number) => Math.floor(random() * n);
  return Array.from({ length: stacks }, () => ({
    path: Array.from({ length: 1 + pick(9) }, () => `f${pick(12)}`),
    a: pick(4) === 0 ? 0 : pick(1000) * CPU.period,
    b: pick(4) === 0 ? 0 : pick(1000) * CPU.period,
  }));
}

export function flameJson(stacks: readonly StackCost[], compare: boolean): FlameJson {
  const total = (key: "a" | "b") => stacks.reduce((s, x) => s + x[key], 0);
  const sides = { a: side(total("a")), b: compare ? side(total("b")) : null };
  return flameOf(stacks, {
    service: "test",
    type: CPU,
    sides,
    q: (a, b) => (Math.abs(a - b) > 0.2 * (a + b) ? 1 : 9000),
  });
}

export function profileOf(stacks: readonly StackCost[], compare = false): Profile {
  return flameFromJson(flameJson(stacks, compare));
}

/** Seeds of the property tests; one that ever fails can be added for good. */
export const SEEDS = Array.from({ length: 40 }, (_, i) => i + 1);
