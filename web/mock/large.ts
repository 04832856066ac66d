/** A profile as large as a real service's: 200 000 nodes, towers of runtimes above own code, thousands of names. `service=large`. */
import type { FlameJson, FrameTuple, ProfileType, Side } from "../view/api/contract";
import { seeded } from "./shop.ts";

const NODES = 200_000;
const NAMES = 8_000;
const DEPTH = 80;
/** Frames that stand above every request. */
const TOWER = 24;
const FAMILIES = ["unknown", "runtime", "serialization", "allocation", "hashing", "syscall/io"];

export function largeProfile(type: ProfileType, side: (total: number) => Side): FlameJson {
  const random = seeded(12345);
  const names = ["all"];
  const frames: FrameTuple[] = [[0, 0, 0, 0, 16, 0]];
  for (let i = 1; i <= NAMES; i++) {
    const tower = i <= TOWER;
    const family = tower ? 1 : random() < 0.55 ? 0 : 1 + Math.floor(random() * (FAMILIES.length - 1));
    const home = tower ? "tokio::runtime" : `crate_${i % 40}::module_${i % 400}`;
    names.push(`${home}::${i % 3 === 0 ? `<impl Trait<T> for Type${i}>::` : ""}function_${i}`);
    frames.push([i, 1, 0, 0, 0, family]);
  }
  const nodes = { up: [0], frame: [0], a: [0] };
  let depth = 0;
  let total = 0;
  while (nodes.up.length < NODES) {
    // Mostly one step down; sometimes back up by a random number of callers.
    const top = nodes.up.length < TOWER ? 0 : TOWER;
    const down = random() < 0.62 && depth < DEPTH;
    const next = depth < TOWER || down ? depth + 1 : Math.max(top + 1, depth - Math.floor(random() ** 2 * 12));
    const own = next > TOWER ? Math.floor(random() ** 8 * 1000) * type.period : 0;
    nodes.up.push(depth + 1 - next);
    nodes.frame.push(next <= TOWER ? next : TOWER + 1 + Math.floor(random() ** 2 * (NAMES - TOWER)));
    nodes.a.push(own);
    total += own;
    depth = next;
  }
  return {
    v: 1,
    diff: false,
    node_count: nodes.up.length,
    type,
    service: "large",
    a: side(total),
    names,
    modules: ["", "large"],
    files: [""],
    frames,
    families: FAMILIES,
    carriers: ["runtime"],
    pruned: { nodes: 0, share: 0 },
    symbols: { share: 1, missing: [], no_lines: [] },
    nodes,
  };
}
