/** What `npm run bench` measures in the browser. Only in builds with `--mode bench`; never shipped. */
import type { FlameHeader } from "./api/contract";
import { FlameCanvas } from "./flame/FlameCanvas";
import { normalPalette } from "./flame/palette";
import { decodeFlame } from "./profile/decode";
import { bottomUp } from "./profile/invert";
import { layOut } from "./profile/layout";
import { compileSearch, findMatches } from "./profile/search";
import { functionTable } from "./profile/table";
import type { Profile } from "./profile/tree";
import "./styles/index.css";

declare global {
  interface Window {
    bench: typeof bench;
  }
}

const bench = { frames, firstFlame, engine };
window.bench = bench;

/** Frame times of a zoom and pan over `nodes` nodes, in milliseconds. */
async function frames(nodes: number): Promise<{ p50: number; p95: number; max: number }> {
  const { canvas, show } = await mount();
  show(decodeFlame(synthetic(nodes)));
  const times: number[] = [];
  const pixel = document.querySelector<HTMLCanvasElement>(".flame-base")!.getContext("2d")!;
  for (let k = 0; k < 240; k++) {
    // In, across and out again: wide views and deep ones.
    const span = 10 ** (-2.5 * Math.sin((k / 240) * Math.PI));
    const x0 = (1 - span) * (0.5 + 0.45 * Math.sin(k / 17));
    canvas.setView(x0, x0 + span);
    const start = performance.now();
    canvas.drawNow();
    // Reading one pixel makes the rasteriser finish, so its work is counted.
    pixel.getImageData(0, 0, 1, 1);
    times.push(performance.now() - start);
  }
  canvas.destroy();
  times.sort((a, b) => a - b);
  return { p50: times[120]!, p95: times[228]!, max: times[239]! };
}

/** Bytes in to pixels out, in milliseconds. */
async function firstFlame(nodes: number): Promise<number> {
  const bytes = synthetic(nodes);
  const { canvas, show } = await mount();
  const start = performance.now();
  show(decodeFlame(bytes));
  canvas.drawNow();
  document.querySelector<HTMLCanvasElement>(".flame-base")!.getContext("2d")!.getImageData(0, 0, 1, 1);
  const took = performance.now() - start;
  canvas.destroy();
  return took;
}

/** The engine's other work on `nodes` nodes, in milliseconds. */
function engine(nodes: number): { search: number; table: number; bottomUp: number } {
  const { tree, frames } = decodeFlame(synthetic(nodes));
  const time = (work: () => void) => {
    const start = performance.now();
    work();
    return performance.now() - start;
  };
  return {
    search: time(() => findMatches(tree, frames, compileSearch("/f1.*7/").test!)),
    table: time(() => functionTable(tree, frames)),
    bottomUp: time(() => bottomUp(tree, frames)),
  };
}

async function mount(): Promise<{ canvas: FlameCanvas; show(profile: Profile): void }> {
  const host = document.querySelector<HTMLElement>("#bench")!;
  host.style.height = "900px";
  const nothing = () => undefined;
  const canvas = new FlameCanvas(
    host,
    { select: nothing, focus: nothing, hover: nothing, menu: nothing, zoomed: nothing },
    () => true,
  );
  // It has its size once it is laid out.
  for (let k = 0; k < 2; k++) await new Promise(requestAnimationFrame);
  return {
    canvas,
    show({ tree, frames }) {
      const layout = layOut(tree, tree.selfB);
      const { palette, bucketOfFrame } = normalPalette(frames, "family", false);
      const bucket = new Uint8Array(tree.count);
      for (let i = 0; i < tree.count; i++) bucket[i] = bucketOfFrame[tree.frame[i]!]!;
      const label = (node: number, room: number, glyphs: { fit(text: string, room: number): string }) =>
        glyphs.fit(frames.name(tree.frame[node]!), room);
      canvas.show(
        { tree, layout, palette, bucket, texture: null, matches: null, focus: 0, flip: false, skipRows: 0, label },
        "bench",
        null,
      );
    },
  };
}

const NAMES = 8000;
const DEPTH = 80;

/** `flame/1` bytes of a random tree of about `nodes` nodes with depths and fan-outs as real services have them. */
function synthetic(nodes: number): ArrayBuffer {
  let seed = 12345;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 4294967296;
  };
  const columns = [new Uint8Array(nodes * 3), new Uint8Array(nodes * 3), new Uint8Array(nodes * 4)];
  const used = [0, 0, 0];
  const put = (c: number, value: number) => {
    let v = value;
    for (; v >= 128; v >>>= 7) columns[c]![used[c]!++] = (v & 127) | 128;
    columns[c]![used[c]!++] = v;
  };
  let depth = 0;
  for (let i = 0; i < nodes; i++) {
    // Mostly one step down; sometimes back up by a random number of callers.
    const next =
      i === 0 ? 0 : random() < 0.62 && depth < DEPTH ? depth + 1 : Math.max(1, depth - Math.floor(random() ** 2 * 12));
    put(0, i === 0 ? 0 : depth + 1 - next);
    depth = next;
    put(1, i === 0 ? 0 : 1 + Math.floor(random() ** 2 * (NAMES - 1)));
    put(2, random() < 0.4 ? Math.floor(1 / (random() + 1e-5)) : 0);
  }
  const header = new TextEncoder().encode(JSON.stringify(headerOf(nodes)));
  const parts = columns.map((c, k) => c.subarray(0, used[k]));
  const out = new Uint8Array(12 + header.length + used.reduce((s, n) => s + n, 0));
  out.set([0x54, 0x46, 0x4c, 0x4d, 1]);
  new DataView(out.buffer).setUint32(8, header.length, true);
  out.set(header, 12);
  let at = 12 + header.length;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out.buffer;
}

function headerOf(nodes: number): FlameHeader {
  const side = {
    from: 0,
    until: 3600e3,
    total: 1,
    samples: 1,
    seconds: 3600,
    windows: 360,
    instances: 1,
    labels: {},
    value: 1,
    unit: "cores",
  };
  return {
    v: 1,
    diff: false,
    node_count: nodes,
    type: { name: "cpu", unit: "nanoseconds", kind: "counter", period: 1 },
    service: "bench",
    a: side,
    names: Array.from({ length: NAMES }, (_, i) => (i === 0 ? "all" : `crate_${i % 40}::module_${i % 300}::f${i}`)),
    modules: ["", "bench"],
    files: [""],
    frames: Array.from({ length: NAMES }, (_, i) => [i, i === 0 ? 0 : 1, 0, 0, i === 0 ? 16 : 0, i % 12]),
    families: [
      "unknown",
      "allocation",
      "lock",
      "syscall/io",
      "serialization",
      "hashing",
      "crypto",
      "copy",
      "regex/parse",
      "runtime",
      "cpu",
      "logging",
    ],
    carriers: ["runtime", "logging"],
    pruned: { nodes: 0, share: 0 },
    symbols: { share: 1, missing: [], no_lines: [] },
  };
}
