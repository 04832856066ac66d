/** Puts boxes on a canvas, bucket by bucket, so the fill style changes a dozen times a frame and not once a box. */
import { STEP_NEUTRAL } from "../profile/diff";
import type { Tree } from "../profile/tree";
import type { GlyphWidths } from "./labels";
import type { Palette } from "./palette";
import type { Boxes } from "./visible";

export const ROW_PX = 20;
export const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const LABEL_MIN_PX = 24;

export interface Scene {
  tree: Tree;
  palette: Palette;
  /** Palette bucket of each node. */
  bucket: Uint8Array;
  /** 1 = gone (hatched), 2 = changed but within noise (dotted). */
  texture: Uint8Array | null;
  /** Per frame: does the search match it? Null without a search. */
  matches: Uint8Array | null;
  /** Rows above this belong to the ancestors of the focus and are dimmed. */
  focusRow: number;
  label: (node: number, room: number) => string;
  /** y of a row's top in CSS pixels, scrolling included. */
  top: (row: number) => number;
  /** Device pixels per CSS pixel. */
  dpr: number;
}

export class Painter {
  private order = new Uint32Array(0);
  private keys = new Uint16Array(0);
  private readonly hatches = new Map<string, CanvasPattern | null>();

  constructor(
    private readonly ctx: CanvasRenderingContext2D,
    private readonly glyphs: GlyphWidths,
  ) {}

  boxes(scene: Scene, boxes: Boxes, thin: Boxes, width: number, height: number): void {
    const { ctx } = this;
    const { palette } = scene;
    ctx.fillStyle = palette.background;
    ctx.fillRect(0, 0, width, height);
    this.fills(scene, boxes);
    this.thin(scene, thin);
    this.textures(scene, boxes);
    this.labels(scene, boxes);
  }

  private fills(scene: Scene, boxes: Boxes): void {
    const { ctx } = this;
    const { bucket, palette, tree, matches, focusRow } = scene;
    const n = boxes.count;
    const dimBucket = palette.fills.length;
    const starts = new Uint32Array(dimBucket + 2);
    const key = (k: number) => {
      const node = boxes.node[k]!;
      return boxes.row[k]! < focusRow || (matches && !matches[tree.frame[node]!]) ? dimBucket : bucket[node]!;
    };
    if (this.order.length < n) {
      this.order = new Uint32Array(boxes.node.length);
      this.keys = new Uint16Array(boxes.node.length);
    }
    for (let k = 0; k < n; k++) {
      this.keys[k] = key(k);
      starts[this.keys[k]! + 1]!++;
    }
    for (let b = 0; b <= dimBucket; b++) starts[b + 1]! += starts[b]!;
    const at = starts.slice();
    for (let k = 0; k < n; k++) this.order[at[this.keys[k]!]!++] = k;
    const h = ROW_PX - 1;
    const { dpr } = scene;
    const pixel = 1 / dpr;
    for (let b = 0; b <= dimBucket; b++) {
      if (starts[b] === starts[b + 1]) continue;
      ctx.fillStyle = b === dimBucket ? palette.dim : palette.fills[b]!;
      for (let o = starts[b]!; o < starts[b + 1]!; o++) {
        const k = this.order[o]!;
        // Whole device pixels: edges stay sharp, and nothing is blended.
        const x = Math.round(boxes.x[k]! * dpr) / dpr;
        const right = Math.round((boxes.x[k]! + boxes.w[k]!) * dpr) / dpr;
        ctx.fillRect(x, scene.top(boxes.row[k]!), right - x > 2 ? right - x - 1 : Math.max(right - x, pixel), h);
      }
    }
    if (palette.forced) {
      ctx.strokeStyle = "CanvasText";
      for (let k = 0; k < n; k++)
        if (boxes.w[k]! > 3) ctx.strokeRect(boxes.x[k]! + 0.5, scene.top(boxes.row[k]!) + 0.5, boxes.w[k]! - 2, h - 1);
    }
  }

  private thin(scene: Scene, thin: Boxes): void {
    const { ctx } = this;
    ctx.fillStyle = scene.palette.dim;
    for (let k = 0; k < thin.count; k++)
      ctx.fillRect(thin.x[k]!, scene.top(thin.row[k]!), Math.max(thin.w[k]!, 0.5), ROW_PX - 1);
    ctx.fillStyle = this.hatching(scene.palette.hatch) ?? scene.palette.dim;
    for (let k = 0; k < thin.count; k++)
      if (thin.w[k]! > 3) ctx.fillRect(thin.x[k]!, scene.top(thin.row[k]!), thin.w[k]!, ROW_PX - 1);
  }

  private textures(scene: Scene, boxes: Boxes): void {
    const { texture } = scene;
    if (!texture) return;
    const { ctx } = this;
    const quiet = this.hatching(scene.palette.hatch);
    const strong = this.hatching(scene.palette.hatchOnStrong);
    ctx.strokeStyle = scene.palette.dimInk;
    ctx.setLineDash([1, 3]);
    for (let k = 0; k < boxes.count; k++) {
      const t = texture[boxes.node[k]!];
      if (!t || boxes.w[k]! < 2) continue;
      const y = scene.top(boxes.row[k]!);
      const hatch = scene.bucket[boxes.node[k]!] === STEP_NEUTRAL ? quiet : strong;
      if (t === 1 && hatch) {
        ctx.fillStyle = hatch;
        ctx.fillRect(boxes.x[k]!, y, boxes.w[k]! - 1, ROW_PX - 1);
      } else if (t === 2 && boxes.w[k]! > LABEL_MIN_PX) {
        ctx.strokeRect(boxes.x[k]! + 0.5, y + 0.5, boxes.w[k]! - 2, ROW_PX - 2);
      }
    }
    ctx.setLineDash([]);
  }

  private labels(scene: Scene, boxes: Boxes): void {
    const { ctx } = this;
    const { palette, matches, tree } = scene;
    ctx.font = FONT;
    ctx.textBaseline = "middle";
    let ink = "";
    for (let k = 0; k < boxes.count; k++) {
      const w = boxes.w[k]!;
      if (w < LABEL_MIN_PX) continue;
      const node = boxes.node[k]!;
      const x = Math.max(boxes.x[k]!, 0);
      const room = boxes.x[k]! + w - x - 9;
      if (room < 12) continue;
      const text = scene.label(node, room);
      if (text === "") continue;
      const dim = boxes.row[k]! < scene.focusRow || (matches && !matches[tree.frame[node]!]);
      const want = dim ? palette.dimInk : palette.inks[scene.bucket[node]!]!;
      if (want !== ink) {
        ctx.fillStyle = want;
        ink = want;
      }
      const y = scene.top(boxes.row[k]!) + ROW_PX / 2;
      if (scene.texture?.[node] === 1) this.plate(scene, node, x, y, text, want);
      ctx.fillText(text, x + 4, y);
    }
  }

  /** Text on a hatch needs a plain ground. */
  private plate(scene: Scene, node: number, x: number, y: number, text: string, ink: string): void {
    this.ctx.fillStyle = scene.palette.fills[scene.bucket[node]!]!;
    this.ctx.fillRect(x + 2, y - 8, this.glyphs.of(text) + 4, 15);
    this.ctx.fillStyle = ink;
  }

  private hatching(colour: string): CanvasPattern | null {
    const known = this.hatches.get(colour);
    if (known !== undefined) return known;
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const t = tile.getContext("2d");
    if (!t) return null;
    t.strokeStyle = colour;
    t.lineWidth = 1;
    t.beginPath();
    for (const o of [-6, 0, 6]) {
      t.moveTo(o, 6);
      t.lineTo(o + 6, 0);
    }
    t.stroke();
    const pattern = this.ctx.createPattern(tile, "repeat");
    this.hatches.set(colour, pattern);
    return pattern;
  }
}
