/** Stacks to the collector's flame answer. Also used by tests, as an independent way to make trees. */
import type { FlameHeader, FlameJson, FrameTuple, Mover, ProfileType, Side } from "../view/api/contract";
import { familyOfName, type StackCost } from "./shop.ts";

interface Node {
  name: string;
  kids: Map<string, Node>;
  a: number;
  b: number;
}

export interface Shape {
  service: string;
  type: ProfileType;
  /** Null: one side, made of the `a` costs. */
  sides: { a: Side; b: Side | null };
  basis?: string;
  /** What a node's `q` is, from its totals. */
  q?(a: number, b: number): number;
}

export function flameOf(stacks: readonly StackCost[], shape: Shape): FlameJson {
  const root: Node = { name: "all", kids: new Map(), a: 0, b: 0 };
  for (const s of stacks) {
    let at = root;
    for (const name of s.path) {
      let kid = at.kids.get(name);
      if (!kid) {
        kid = { name, kids: new Map(), a: 0, b: 0 };
        at.kids.set(name, kid);
      }
      at = kid;
    }
    at.a += s.a;
    at.b += s.b;
  }
  const diff = shape.sides.b !== null;
  const tables = new Tables();
  const nodes = { up: [] as number[], frame: [] as number[], a: [] as number[], b: [] as number[], q: [] as number[] };
  let previous = -1;
  const walk = (node: Node, depth: number): [number, number] => {
    const at = nodes.up.push(depth === 0 ? 0 : previous + 1 - depth) - 1;
    previous = depth;
    nodes.frame.push(tables.frame(node.name, depth === 0));
    nodes.a.push(node.a);
    nodes.b.push(node.b);
    nodes.q.push(10_000);
    let [a, b] = [node.a, node.b];
    for (const kid of [...node.kids.values()].sort((x, y) => (x.name < y.name ? -1 : 1))) {
      const [ka, kb] = walk(kid, depth + 1);
      a += ka;
      b += kb;
    }
    nodes.q[at] = shape.q ? Math.round(shape.q(a, b)) : 10_000;
    return [a, b];
  };
  walk(root, 0);
  const header: FlameHeader = {
    v: 1,
    diff,
    node_count: nodes.up.length,
    type: shape.type,
    service: shape.service,
    a: shape.sides.a,
    ...(diff ? { b: shape.sides.b!, basis: shape.basis ?? "cores" } : {}),
    ...tables.columns(),
    pruned: { nodes: 0, share: 0 },
    symbols: { share: 1, missing: [], no_lines: [] },
  };
  return { ...header, nodes: diff ? nodes : { up: nodes.up, frame: nodes.frame, a: nodes.a } };
}

class Tables {
  private readonly names = new Map<string, number>([]);
  private readonly modules = new Map<string, number>([
    ["", 0],
    ["checkout", 1],
    ["libc.so.6", 2],
  ]);
  private readonly families = new Map<string, number>([["unknown", 0]]);
  private readonly files = new Map<string, number>([["", 0]]);
  private readonly frames: FrameTuple[] = [];
  private readonly ids = new Map<string, number>();

  frame(name: string, root: boolean): number {
    const known = this.ids.get(name);
    if (known !== undefined) return known;
    const own = /^(checkout::[a-z_0-9]+)/.exec(name);
    const file = own ? `src/${own[1]!.split("::")[1]}.rs` : "";
    const library = /^\[(lib[^+]+)/.exec(name)?.[1];
    const module = root ? "" : (library ?? (name.includes("::") || name === "main" ? "checkout" : "libc.so.6"));
    const flags = (root ? 16 : 0) | (library ? 2 : 0);
    const line = own ? 10 + (name.length % 300) : 0;
    const tuple: FrameTuple = [
      id(this.names, name),
      id(this.modules, module),
      id(this.files, file),
      line,
      flags,
      id(this.families, root ? "unknown" : familyOfName(name)),
    ];
    this.ids.set(name, this.frames.length);
    return this.frames.push(tuple) - 1;
  }

  columns() {
    return {
      names: [...this.names.keys()],
      modules: [...this.modules.keys()],
      files: [...this.files.keys()],
      frames: this.frames,
      families: [...this.families.keys()],
      carriers: ["runtime", "network", "logging", "profiler"],
    };
  }
}

function id(table: Map<string, number>, text: string): number {
  const known = table.get(text);
  if (known !== undefined) return known;
  table.set(text, table.size);
  return table.size - 1;
}

/** Functions by change of self cost. `scale` turns units into the basis. */
export function moversOf(flame: FlameJson, scale: (raw: number) => number): Mover[] {
  const byFrame = new Map<number, { a: number; b: number }>();
  flame.nodes.frame.forEach((f, i) => {
    const sums = byFrame.get(f) ?? { a: 0, b: 0 };
    sums.a += flame.nodes.a[i]!;
    sums.b += flame.nodes.b![i]!;
    byFrame.set(f, sums);
  });
  const change = [...byFrame.values()].reduce((s, x) => s + x.b - x.a, 0) || 1;
  return [...byFrame]
    .map(([frame, { a, b }]): Mover => {
      const [name, module, file, line, , family] = flame.frames[frame]!;
      return {
        name: flame.names[name]!,
        module: flame.modules[module]!,
        file: flame.files[file]!,
        line,
        frame,
        family: flame.families[family]!,
        a: scale(a),
        b: scale(b),
        delta: scale(b - a),
        self_a: scale(a),
        self_b: scale(b),
        q: 0.0001,
        state: a === 0 ? "new" : b === 0 ? "gone" : b > a ? "grew" : "shrank",
        share_of_change: (b - a) / change,
      };
    })
    .filter((m) => Math.abs(m.delta) > 0.03)
    .sort((x, y) => Math.abs(y.delta) - Math.abs(x.delta));
}
