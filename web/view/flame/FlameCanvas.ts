/**
 * The interactive graph without any framework: two viewport-sized canvases under a transparent native scroller.
 *
 * The scroller gives touch, wheel and scroll bars for free; the lower canvas holds the boxes, the upper one hover and
 * selection, so moving the pointer never repaints the graph. Depth is no limit: nothing is as tall as the tree.
 */

import { hitTest, type Layout } from "../profile/layout";
import type { Tree } from "../profile/tree";
import { Gestures } from "./gestures";
import { GlyphWidths } from "./labels";
import { FONT, Painter, ROW_PX, type Scene } from "./paint";
import type { Palette } from "./palette";
import { Boxes, collectVisible } from "./visible";

export interface FlameInput {
  tree: Tree;
  layout: Layout;
  palette: Palette;
  bucket: Uint8Array;
  texture: Uint8Array | null;
  matches: Uint8Array | null;
  /** The node that fills the width; 0 for everything. */
  focus: number;
  /** Roots at the bottom, as callers are drawn. */
  flip: boolean;
  /** Rows at the root that say nothing and are left out. */
  skipRows: number;
  label: (node: number, room: number, glyphs: GlyphWidths) => string;
}

export interface FlameEvents {
  select(node: number): void;
  focus(node: number): void;
  hover(node: number, x: number, y: number, merged: number): void;
  menu(node: number, x: number, y: number): void;
  zoomed(x0: number, x1: number): void;
  /** `top` is where a row begins, from the pane's top. */
  drawn?(boxes: Boxes, thin: Boxes, top: (row: number) => number): void;
}

const ZOOM_MIN = 1e-7;
/** Thinner boxes have no label, and are zoomed to when they are chosen by name. */
const SEEN_MIN_PX = 48;
/** Of the pane's width, for a box that was zoomed to. */
const SEEN_SHARE = 0.4;

export class FlameCanvas {
  private readonly base: HTMLCanvasElement;
  private readonly over: HTMLCanvasElement;
  private readonly scroller: HTMLDivElement;
  private readonly spacer: HTMLDivElement;
  private readonly ctx: CanvasRenderingContext2D;
  private readonly overCtx: CanvasRenderingContext2D;
  private readonly glyphs: GlyphWidths;
  private readonly painter: Painter;
  private readonly boxes = new Boxes();
  private readonly thin = new Boxes();
  private readonly resize: ResizeObserver;
  private readonly gestures: Gestures;
  private input: FlameInput | null = null;
  private width = 0;
  private height = 0;
  private dpr = 1;
  private marked: Tree | null = null;
  private frame = 0;
  private animation = 0;
  private hostWidth = 0;
  /** Top of the first shown row, and the way to the next, in CSS pixels. */
  private firstTop = 0;
  private rowStep = ROW_PX;
  private hovered = -1;
  private selected = -1;
  private x0 = 0;
  private x1 = 1;
  /** Where an animation under way leads. */
  private goal: [number, number] = [0, 1];

  constructor(
    private readonly host: HTMLElement,
    private readonly events: FlameEvents,
    private readonly calm: () => boolean,
  ) {
    const make = <K extends keyof HTMLElementTagNameMap>(tag: K, cls: string) => {
      const el = document.createElement(tag);
      el.className = cls;
      host.append(el);
      return el;
    };
    this.base = make("canvas", "flame-base");
    this.over = make("canvas", "flame-over");
    this.over.setAttribute("aria-hidden", "true");
    this.base.setAttribute("role", "img");
    this.scroller = make("div", "flame-scroll");
    this.spacer = document.createElement("div");
    this.scroller.append(this.spacer);
    this.ctx = this.base.getContext("2d", { alpha: false })!;
    this.overCtx = this.over.getContext("2d")!;
    this.ctx.font = FONT;
    this.glyphs = new GlyphWidths(this.ctx);
    this.painter = new Painter(this.ctx, this.glyphs);
    this.scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
    this.gestures = new Gestures(this.scroller, {
      tap: (x, y) => this.at(x, y, (node) => this.events.select(node)),
      doubleTap: (x, y) => this.at(x, y, (node) => this.events.focus(node)),
      menu: (x, y, cx, cy) => this.at(x, y, (node) => node >= 0 && this.events.menu(node, cx, cy)),
      hover: (x, y, cx, cy) => this.hover(x, y, cx, cy),
      leave: () => this.setHover(-1, 0, 0, 0),
      zoom: (x, factor) => this.zoomAt(x, factor),
      pan: (dx, dy) => this.pan(dx, dy),
      canPan: () => this.x1 - this.x0 < 0.9999,
    });
    // Called once both are laid out, too: what is shown until then is drawn once, by that.
    this.resize = new ResizeObserver(() => this.measure());
    this.resize.observe(host);
    // Its width changes when a scroll bar comes or goes.
    this.resize.observe(this.spacer);
  }

  destroy(): void {
    this.resize.disconnect();
    this.gestures.destroy();
    cancelAnimationFrame(this.frame);
    cancelAnimationFrame(this.animation);
    this.host.replaceChildren();
  }

  /** Shows `input`. With `zoom`, that part of the x axis; else the focus. */
  show(input: FlameInput, description: string, zoom: [number, number] | null): void {
    const first = this.input === null;
    const sameTree = this.input?.tree === input.tree && this.input.layout === input.layout;
    const refocused = this.input?.focus !== input.focus;
    this.input = input;
    this.base.setAttribute("aria-label", description);
    this.spacer.style.height = `${this.contentHeight()}px`;
    if (input.flip && first) this.scroller.scrollTop = this.contentHeight();
    if (refocused && input.focus > 0) this.scrollToFocus(input);
    const [x0, x1] = zoom ?? this.spanOf(input.focus);
    if (!sameTree || first) this.hovered = -1;
    this.zoomTo(x0, x1, sameTree && !first);
    this.schedule();
  }

  /** Runtimes put dozens of frames above a request: what was focused comes to the edge, its nearest callers in sight. */
  private scrollToFocus(input: FlameInput): void {
    if (input.flip) {
      this.scrollToRow(input.tree.depth[input.focus]!);
      return;
    }
    this.locate();
    const top = this.rowTop(input.tree.depth[input.focus]!) + this.scroller.scrollTop - 2 * ROW_PX;
    // Below a shallow subtree there is empty room, so that its top can come up.
    this.spacer.style.height = `${Math.max(this.contentHeight(), top + this.host.clientHeight)}px`;
    this.scroller.scrollTop = top;
  }

  select(node: number): void {
    this.selected = node;
    this.paintOver();
  }

  /**
   * Scrolls the pane so that `node`'s row is in it. With `zoom`, also zooms to a box that is out of sight or too thin to see. Returns
   * where the box and the pane's top now are, in client coordinates.
   */
  reveal(node: number, zoom: boolean): { top: number; bottom: number; paneTop: number } | null {
    const input = this.input;
    if (!input || node < 0 || node >= input.tree.count) return null;
    const row = input.tree.depth[node]!;
    this.scrollToRow(row);
    if (zoom) this.zoomUntilSeen(input.layout.x[node]!, input.layout.w[node]!);
    this.locate();
    this.paintOver();
    const paneTop = this.host.getBoundingClientRect().top;
    const top = paneTop + this.rowTop(row);
    return { top, bottom: top + ROW_PX, paneTop };
  }

  private scrollToRow(row: number): void {
    this.locate();
    const top = this.scroller.scrollTop;
    const y = this.rowTop(row) + top;
    if (y < top) this.scroller.scrollTop = y - ROW_PX;
    else if (y + ROW_PX > top + this.height) this.scroller.scrollTop = y + 2 * ROW_PX - this.height;
  }

  private zoomUntilSeen(x: number, w: number): void {
    const [x0, x1] = this.goal;
    const shown = ((Math.min(x + w, x1) - Math.max(x, x0)) / (x1 - x0)) * this.width;
    if (w <= 0 || shown >= SEEN_MIN_PX) return;
    const span = Math.min(1, Math.max(ZOOM_MIN, w / SEEN_SHARE));
    const from = Math.min(Math.max(0, x + w / 2 - span / 2), 1 - span);
    this.commitZoom(from, from + span, true);
  }

  zoomBy(factor: number): void {
    const input = this.input;
    const at =
      input && this.selected >= 0
        ? input.layout.x[this.selected]! + input.layout.w[this.selected]! / 2
        : (this.x0 + this.x1) / 2;
    const anchor = at > this.x0 && at < this.x1 ? at : (this.x0 + this.x1) / 2;
    this.zoomAround(anchor, factor, true);
  }

  panBy(pixels: number): void {
    this.pan(pixels, 0);
  }

  resetZoom(): void {
    this.zoomTo(0, 1, true);
    this.events.zoomed(0, 1);
  }

  /** Draws one frame now; benchmarks time this. */
  drawNow(): void {
    const input = this.input;
    if (!input || this.width === 0) return;
    const rows = this.visibleRows();
    const port = { x0: this.x0, x1: this.x1, width: this.width, firstRow: rows[0], lastRow: rows[1] };
    collectVisible(input.tree, input.layout, port, this.boxes, this.thin);
    const scene: Scene = {
      tree: input.tree,
      palette: input.palette,
      bucket: input.bucket,
      texture: input.texture,
      matches: input.matches,
      focusRow: input.tree.depth[input.focus] ?? 0,
      label: (node, room) => input.label(node, room, this.glyphs),
      top: (row) => this.rowTop(row),
      dpr: this.dpr,
    };
    this.painter.boxes(scene, this.boxes, this.thin, this.hostWidth, this.height);
    if (this.marked !== input.tree) {
      // What benchmarks measure in the page itself: when a tree was first drawn.
      this.marked = input.tree;
      performance.mark("flame");
    }
    this.events.drawn?.(this.boxes, this.thin, scene.top);
  }

  setView(x0: number, x1: number): void {
    this.goal = [x0, x1];
    this.setSpan(x0, x1);
  }

  private setSpan(x0: number, x1: number): void {
    this.x0 = x0;
    this.x1 = x1;
  }

  private spanOf(node: number): [number, number] {
    const { layout } = this.input!;
    const w = layout.w[node] ?? 1;
    return w > 0 ? [layout.x[node]!, layout.x[node]! + w] : [0, 1];
  }

  private contentHeight(): number {
    return this.shownRows() * ROW_PX + 2;
  }

  private shownRows(): number {
    return Math.max(1, (this.input?.tree.rows ?? 1) - (this.input?.skipRows ?? 0));
  }

  /** Reads where the scroller is. Once a frame: asking the DOM for every box costs more than drawing it. */
  private locate(): void {
    const input = this.input;
    if (!input) return;
    const slack = input.flip ? Math.max(0, this.height - this.contentHeight()) : 0;
    this.firstTop = slack - this.scroller.scrollTop + (input.flip ? (this.shownRows() - 1) * ROW_PX : 0);
    this.rowStep = input.flip ? -ROW_PX : ROW_PX;
  }

  private rowTop(row: number): number {
    return this.firstTop + (row - this.input!.skipRows) * this.rowStep;
  }

  private rowAt(y: number): number {
    this.locate();
    return Math.floor((y - this.firstTop) / ROW_PX) * Math.sign(this.rowStep) + this.input!.skipRows;
  }

  private visibleRows(): [number, number] {
    const [a, b] = [this.rowAt(0), this.rowAt(this.height)];
    return [Math.max(this.input!.skipRows, Math.min(a, b)), Math.max(a, b)];
  }

  private measure(): void {
    this.dpr = Math.min(devicePixelRatio || 1, 3);
    this.width = this.scroller.clientWidth;
    this.hostWidth = this.host.clientWidth;
    this.height = this.host.clientHeight;
    for (const [canvas, ctx] of [
      [this.base, this.ctx],
      [this.over, this.overCtx],
    ] as const) {
      canvas.width = Math.max(1, Math.round(this.hostWidth * this.dpr));
      canvas.height = Math.max(1, Math.round(this.height * this.dpr));
      ctx.setTransform(this.dpr, 0, 0, this.dpr, 0, 0);
    }
    // A resized canvas is blank; painting now instead of next frame avoids a flash.
    this.drawNow();
    this.paintOver();
  }

  private schedule(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      this.drawNow();
      this.paintOver();
    });
  }

  private at(x: number, y: number, then: (node: number) => void): void {
    if (this.input) then(this.nodeAt(x, y));
  }

  private nodeAt(x: number, y: number): number {
    const { layout } = this.input!;
    return hitTest(layout, this.rowAt(y), this.x0 + (x / this.width) * (this.x1 - this.x0));
  }

  private hover(x: number, y: number, clientX: number, clientY: number): void {
    if (!this.input) return;
    const node = this.nodeAt(x, y);
    let merged = 0;
    if (node >= 0 && this.pxWidth(node) < 0.5) {
      const row = this.input.tree.depth[node]!;
      for (let k = 0; k < this.thin.count; k++)
        if (this.thin.row[k] === row && x >= this.thin.x[k]! - 1 && x <= this.thin.x[k]! + this.thin.w[k]! + 1)
          merged = this.thin.merged[k]!;
    }
    this.setHover(node, clientX, clientY, merged);
  }

  private setHover(node: number, clientX: number, clientY: number, merged: number): void {
    const changed = node !== this.hovered;
    this.hovered = node;
    this.scroller.classList.toggle("over-box", node >= 0);
    this.events.hover(node, clientX, clientY, merged);
    if (changed) this.paintOver();
  }

  private pxWidth(node: number): number {
    return (this.input!.layout.w[node]! / (this.x1 - this.x0)) * this.width;
  }

  private paintOver(): void {
    const ctx = this.overCtx;
    ctx.clearRect(0, 0, this.hostWidth, this.height);
    if (!this.input) return;
    this.locate();
    if (this.selected >= 0) this.outline(this.selected, 2);
    if (this.hovered >= 0 && this.hovered !== this.selected) this.outline(this.hovered, 1);
  }

  private outline(node: number, line: number): void {
    const { layout, tree, palette } = this.input!;
    if (node >= tree.count) return;
    const perPx = this.width / (this.x1 - this.x0);
    const left = Math.max(-4, (layout.x[node]! - this.x0) * perPx);
    const right = Math.min(this.width + 4, (layout.x[node]! + layout.w[node]! - this.x0) * perPx);
    const y = this.rowTop(tree.depth[node]!);
    if (right < 0 || left > this.width || y < -ROW_PX || y > this.height) return;
    this.overCtx.strokeStyle = palette.focusRing;
    this.overCtx.lineWidth = line;
    const inset = line / 2;
    this.overCtx.strokeRect(left + inset - 0.5, y + inset - 0.5, Math.max(2, right - left - line), ROW_PX - line);
  }

  private zoomAt(px: number, factor: number): void {
    this.zoomAround(this.x0 + (px / this.width) * (this.x1 - this.x0), factor, false);
  }

  private zoomAround(anchor: number, factor: number, animate: boolean): void {
    const span = Math.min(1, Math.max(ZOOM_MIN, (this.x1 - this.x0) / factor));
    const ratio = (anchor - this.x0) / (this.x1 - this.x0);
    const x0 = Math.min(Math.max(0, anchor - ratio * span), 1 - span);
    this.commitZoom(x0, x0 + span, animate);
  }

  private pan(dx: number, dy: number): void {
    if (dy !== 0) this.scroller.scrollTop += dy;
    const span = this.x1 - this.x0;
    const x0 = Math.min(Math.max(0, this.x0 + (dx / this.width) * span), 1 - span);
    if (x0 !== this.x0) this.commitZoom(x0, x0 + span);
  }

  private commitZoom(x0: number, x1: number, animate = false): void {
    this.zoomTo(x0, x1, animate);
    this.events.zoomed(x0, x1);
  }

  private zoomTo(x0: number, x1: number, animate: boolean): void {
    cancelAnimationFrame(this.animation);
    const [a0, a1] = [this.x0, this.x1];
    this.goal = [x0, x1];
    if (a0 === x0 && a1 === x1) return;
    if (!animate || this.calm()) {
      this.setView(x0, x1);
      this.schedule();
      return;
    }
    const start = performance.now();
    const step = (now: number) => {
      const t = Math.min(1, (now - start) / 140);
      const e = 1 - (1 - t) ** 3;
      this.setSpan(a0 + (x0 - a0) * e, a1 + (x1 - a1) * e);
      this.drawNow();
      this.paintOver();
      if (t < 1) this.animation = requestAnimationFrame(step);
    };
    this.animation = requestAnimationFrame(step);
  }
}
