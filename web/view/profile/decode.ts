/**
 * Reads `flame/1` bytes or their JSON twin into a [`Profile`] whose every index is known to be valid.
 *
 * The answer may come through a proxy or from a file, so counts are checked against the bytes present before anything is
 * allocated, and a refusal names the value and the limit.
 */
import type { FlameHeader, FlameJson } from "../api/contract";
import { Frames } from "./frames";
import { DEPTH_MAX, finishTree, type Profile } from "./tree";

export class FlameError extends Error {}

const MAGIC = 0x4d4c4654; // "TFLM", little endian
const PREFIX_BYTES = 12;

/** Decodes `application/vnd.tephra.flame`. Throws [`FlameError`]. */
export function decodeFlame(buffer: ArrayBuffer): Profile {
  if (buffer.byteLength < PREFIX_BYTES)
    throw new FlameError(`answer has ${buffer.byteLength} bytes, a flame has at least 12`);
  const view = new DataView(buffer);
  if (view.getUint32(0, true) !== MAGIC) throw new FlameError("answer does not start with TFLM");
  const version = view.getUint8(4);
  if (version !== 1) throw new FlameError(`flame version is ${version}, this page reads 1; reload it`);
  const headerBytes = view.getUint32(8, true);
  if (headerBytes > buffer.byteLength - PREFIX_BYTES)
    throw new FlameError(`header of ${headerBytes} bytes, ${buffer.byteLength - PREFIX_BYTES} are there`);
  const header = parseHeader(new TextDecoder().decode(new Uint8Array(buffer, PREFIX_BYTES, headerBytes)));
  const bytes = new Uint8Array(buffer, PREFIX_BYTES + headerBytes);
  const n = header.node_count;
  const columns = header.diff ? 5 : 3;
  if (n * columns > bytes.length)
    throw new FlameError(`${n} nodes need ${n * columns} bytes, ${bytes.length} are there`);
  const reader = new Varints(bytes);
  const up = reader.column(n);
  const frame = reader.column(n);
  const a = reader.column(n);
  return assemble(header, up, frame, a, header.diff ? reader.column(n) : null, header.diff ? reader.column(n) : null);
}

/** Takes the JSON form apart; same checks, same result. Throws [`FlameError`]. */
export function flameFromJson(json: FlameJson): Profile {
  const header = checkHeader(json);
  const { nodes } = json;
  const n = header.node_count;
  const column = (name: string, values: number[] | undefined): Float64Array => {
    if (!Array.isArray(values) || values.length !== n)
      throw new FlameError(`column ${name} has ${values?.length ?? 0} entries, node_count is ${n}`);
    return Float64Array.from(values);
  };
  const [up, frame, a] = [column("up", nodes?.up), column("frame", nodes?.frame), column("a", nodes?.a)];
  return assemble(
    header,
    up,
    frame,
    a,
    json.diff ? column("b", nodes.b) : null,
    json.diff ? column("q", nodes.q) : null,
  );
}

function parseHeader(text: string): FlameHeader {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FlameError("flame header is not JSON", { cause });
  }
  return checkHeader(value as FlameHeader);
}

function checkHeader(h: FlameHeader): FlameHeader {
  if (typeof h !== "object" || h === null) throw new FlameError("flame header is not an object");
  if (!Number.isInteger(h.node_count) || h.node_count < 0) throw new FlameError(`node_count is ${h.node_count}`);
  for (const key of ["names", "modules", "files", "frames", "families"] as const)
    if (!Array.isArray(h[key])) throw new FlameError(`flame header has no ${key}`);
  if (!h.type || !h.a || (h.diff && !h.b)) throw new FlameError("flame header lacks type or sides");
  const limits = [h.names.length, h.modules.length, h.files.length];
  h.frames.forEach((tuple, i) => {
    for (let k = 0; k < 3; k++)
      if (!(tuple[k]! >= 0 && tuple[k]! < limits[k]!))
        throw new FlameError(`frame ${i} points to entry ${tuple[k]} of a table of ${limits[k]}`);
  });
  return h;
}

function assemble(
  header: FlameHeader,
  up: Float64Array,
  frame: Float64Array,
  a: Float64Array,
  b: Float64Array | null,
  q: Float64Array | null,
): Profile {
  const n = header.node_count;
  const depth = new Uint16Array(n);
  const frameIds = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const d: number = i === 0 ? -up[i]! : depth[i - 1]! + 1 - up[i]!;
    if (d < (i === 0 ? 0 : 1) || d > DEPTH_MAX)
      throw new FlameError(`node ${i} has depth ${d}, allowed are 1 to ${DEPTH_MAX}`);
    depth[i] = d;
    if (!(frame[i]! < header.frames.length))
      throw new FlameError(`node ${i} points to frame ${frame[i]} of ${header.frames.length}`);
    frameIds[i] = frame[i]!;
  }
  const tree = finishTree(depth, frameIds, a, b ?? a, q ? Uint16Array.from(q, (v) => Math.min(v, 10_000)) : null);
  return { header, frames: new Frames(header), tree, diff: header.diff };
}

/** Unsigned LEB128. Values above 2^53 lose their low bits, which no picture can show. */
class Varints {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  column(count: number): Float64Array {
    const out = new Float64Array(count);
    const { bytes } = this;
    let at = this.at;
    for (let i = 0; i < count; i++) {
      let byte = bytes[at++];
      if (byte === undefined) throw new FlameError(`columns end at entry ${i} of ${count}`);
      if (byte < 0x80) {
        out[i] = byte;
        continue;
      }
      let value = byte & 0x7f;
      let scale = 128;
      let used = 1;
      do {
        byte = bytes[at++];
        if (byte === undefined) throw new FlameError(`columns end at entry ${i} of ${count}`);
        if (++used > 10) throw new FlameError(`entry ${i} is longer than 10 bytes`);
        value += (byte & 0x7f) * scale;
        scale *= 128;
      } while (byte >= 0x80);
      out[i] = value;
    }
    this.at = at;
    return out;
  }
}
