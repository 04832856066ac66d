/** The graph as a picture to pass on: all of its rows, with a line that says what it is. */
import type { FlameInput } from "./FlameCanvas";
import { GlyphWidths } from "./labels";
import { FONT, Painter, ROW_PX, type Scene } from "./paint";
import { Boxes, collectVisible } from "./visible";

const WIDTH_PX = 1600;
const HEAD_PX = 58;
const MARGIN_PX = 12;
/** Device pixels for each of the above. */
const SCALE = 2;
/** Browsers draw no canvas that is taller than 16 384 device pixels; deeper rows are left out, and it is said. */
const ROWS_MAX = 390;

/** A PNG of what `input` shows below its focus, under `title` and a quieter line `about` it. */
export async function pictureOf(input: FlameInput, title: string, about: string): Promise<Blob> {
  const { tree, layout, palette } = input;
  const focus = Math.max(0, input.focus);
  const deepest = tree.depth.subarray(focus, tree.end[focus]!).reduce((most, depth) => Math.max(most, depth), 0);
  const rows = Math.min(ROWS_MAX, deepest + 1);
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH_PX * SCALE;
  canvas.height = (HEAD_PX + rows * ROW_PX + MARGIN_PX) * SCALE;
  const ctx = canvas.getContext("2d", { alpha: false })!;
  ctx.scale(SCALE, SCALE);
  ctx.font = FONT;
  const glyphs = new GlyphWidths(ctx);
  const x0 = layout.x[focus]!;
  const span = layout.w[focus]! || 1;
  const [boxes, thin] = [new Boxes(), new Boxes()];
  const width = WIDTH_PX - 2 * MARGIN_PX;
  collectVisible(tree, layout, { x0, x1: x0 + span, width, firstRow: 0, lastRow: rows - 1 }, boxes, thin);
  const scene: Scene = {
    ...input,
    focusRow: tree.depth[focus]!,
    label: (node, room) => input.label(node, room, glyphs),
    top: (row) => row * ROW_PX,
    dpr: SCALE,
  };
  ctx.fillStyle = palette.background;
  ctx.fillRect(0, 0, WIDTH_PX, canvas.height);
  ctx.textBaseline = "alphabetic";
  ctx.fillStyle = palette.inks[0]!;
  ctx.font = FONT.replace("12px", "600 18px");
  ctx.fillText(title, MARGIN_PX, 24, width);
  ctx.font = FONT;
  ctx.fillStyle = palette.dimInk;
  const cut = deepest + 1 > rows ? ` · ${deepest + 1 - rows} deeper rows left out` : "";
  ctx.fillText(about + cut, MARGIN_PX, 44, width);
  ctx.translate(MARGIN_PX, HEAD_PX);
  new Painter(ctx, glyphs).boxes(scene, boxes, thin, width, rows * ROW_PX);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser drew no picture"))), "image/png"),
  );
}
