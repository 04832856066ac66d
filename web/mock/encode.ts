/** Writes `flame/1`, the way the collector does; fixtures and round-trip tests use it. */
import type { FlameHeader, FlameJson } from "../view/api/contract";

export function encodeFlame(json: FlameJson): ArrayBuffer {
  const { nodes, ...header } = json;
  const head = new TextEncoder().encode(JSON.stringify(header satisfies FlameHeader));
  const body: number[] = [];
  for (const column of [nodes.up, nodes.frame, nodes.a, ...(json.diff ? [nodes.b!, nodes.q!] : [])])
    for (const v of column) varint(body, v);
  const bytes = new Uint8Array(12 + head.length + body.length);
  bytes.set([0x54, 0x46, 0x4c, 0x4d, 1, 0, 0, 0]);
  new DataView(bytes.buffer).setUint32(8, head.length, true);
  bytes.set(head, 12);
  bytes.set(body, 12 + head.length);
  return bytes.buffer;
}

function varint(out: number[], value: number): void {
  let v = value;
  while (v >= 128) {
    out.push((v % 128) + 128);
    v = Math.floor(v / 128);
  }
  out.push(v);
}
