/** The frame table of a profile: names, places, families, and which frames are the same function. */
import type { FlameHeader, FrameTuple } from "../api/contract";

export const FLAG_INLINED = 1;
export const FLAG_UNSYMBOLISED = 2;
export const FLAG_TRUNCATED = 4;
export const FLAG_MERGED = 8;
export const FLAG_ROOT = 16;

/** What is worked out of a header's frames once. */
export interface FrameIndex {
  func: Uint32Array;
  frameOfFunc: Uint32Array;
  hashes: Uint32Array;
}

export class Frames {
  readonly count: number;
  /** Function id of each frame: frames with the same module and name are one function, whatever their line. */
  readonly func: Uint32Array;
  /** One frame of each function. */
  readonly frameOfFunc: Uint32Array;
  private readonly hashes: Uint32Array;
  private readonly tuples: FrameTuple[];

  constructor(
    private readonly header: FlameHeader,
    index?: FrameIndex,
  ) {
    this.tuples = header.frames;
    this.count = this.tuples.length;
    const { func, frameOfFunc, hashes } = index ?? this.sameFunctions();
    this.func = func;
    this.frameOfFunc = frameOfFunc;
    this.hashes = hashes;
  }

  private sameFunctions(): FrameIndex {
    const func = new Uint32Array(this.count);
    const hashes = new Uint32Array(this.count);
    const ids = new Map<string, number>();
    const first: number[] = [];
    for (let i = 0; i < this.count; i++) {
      const key = `${this.module(i)}\n${this.name(i)}`;
      let id = ids.get(key);
      if (id === undefined) {
        id = first.length;
        ids.set(key, id);
        first.push(i);
        hashes[i] = hashString(key);
      } else hashes[i] = hashes[first[id]!]!;
      func[i] = id;
    }
    return { func, frameOfFunc: Uint32Array.from(first), hashes };
  }

  /** For another [`Frames`] over the same header. */
  get index(): FrameIndex {
    return { func: this.func, frameOfFunc: this.frameOfFunc, hashes: this.hashes };
  }

  get funcCount(): number {
    return this.frameOfFunc.length;
  }
  name(frame: number): string {
    return this.header.names[this.tuples[frame]![0]]!;
  }
  module(frame: number): string {
    return this.header.modules[this.tuples[frame]![1]]!;
  }
  file(frame: number): string {
    return this.header.files[this.tuples[frame]![2]]!;
  }
  line(frame: number): number {
    return this.tuples[frame]![3];
  }
  flags(frame: number): number {
    return this.tuples[frame]![4];
  }
  family(frame: number): string {
    return this.header.families[this.tuples[frame]![5]] ?? "unknown";
  }
  /** Families that own only their own functions. Headers that were kept before they said so name none. */
  get carriers(): ReadonlySet<string> {
    return new Set(this.header.carriers ?? []);
  }
  hash(frame: number): number {
    return this.hashes[frame]!;
  }
  /** The function called exactly `name`; -1 if the profile has none. */
  funcByName(name: string): number {
    for (let f = 0; f < this.funcCount; f++) if (this.name(this.frameOfFunc[f]!) === name) return f;
    return -1;
  }
}

/** FNV-1a over UTF-16 units: stable between visits, which colours and URLs rely on. */
export function hashString(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
