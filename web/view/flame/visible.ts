/**
 * Picks what to draw for a viewport. Pure, so tests can assert names and widths without a canvas.
 *
 * One preorder walk; a subtree that is off screen, below the last row or thinner than half a pixel is skipped whole.
 * Thin neighbours in a row become one merged box, so drawn + merged always adds up to the parent.
 */

import type { Layout } from "../profile/layout";
import type { Tree } from "../profile/tree";

export interface Viewport {
  /** Shown part of the x axis, within 0..1. */
  x0: number;
  x1: number;
  /** CSS pixels. */
  width: number;
  firstRow: number;
  lastRow: number;
}

/** Boxes in CSS pixels. Reused between frames: only the first `count` entries are valid. */
export class Boxes {
  count = 0;
  node = new Int32Array(4096);
  x = new Float32Array(4096);
  w = new Float32Array(4096);
  row = new Uint16Array(4096);
  /** How many nodes a box stands for; 1 for a node of its own. */
  merged = new Uint32Array(4096);

  push(node: number, x: number, w: number, row: number, merged: number): void {
    const at = this.count++;
    if (at === this.node.length) this.grow();
    this.node[at] = node;
    this.x[at] = x;
    this.w[at] = w;
    this.row[at] = row;
    this.merged[at] = merged;
  }

  private grow(): void {
    const size = this.node.length * 2;
    const copy = <T extends { set(from: T): void }>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.node = copy(new Int32Array(size), this.node);
    this.x = copy(new Float32Array(size), this.x);
    this.w = copy(new Float32Array(size), this.w);
    this.row = copy(new Uint16Array(size), this.row);
    this.merged = copy(new Uint32Array(size), this.merged);
  }
}

/** Thinner is not drawn on its own. */
export const WIDTH_MIN_PX = 0.5;

/** Collects boxes of nodes into `boxes` and thin runs into `thin`. */
export function collectVisible(tree: Tree, layout: Layout, port: Viewport, boxes: Boxes, thin: Boxes): void {
  boxes.count = 0;
  thin.count = 0;
  const perPx = port.width / (port.x1 - port.x0);
  const minW = WIDTH_MIN_PX / perPx;
  const { x, w } = layout;
  const { depth, end, count } = tree;
  const { x0, x1, firstRow, lastRow } = port;
  // The open thin run of each row: start, end, nodes, first node.
  const runX = new Float64Array(tree.rows);
  const runEnd = new Float64Array(tree.rows).fill(-1);
  const runNodes = new Uint32Array(tree.rows);
  const runFirst = new Int32Array(tree.rows);
  const close = (row: number) => {
    if (runEnd[row]! < 0) return;
    const px = (runX[row]! - x0) * perPx;
    thin.push(runFirst[row]!, px, (runEnd[row]! - x0) * perPx - px, row, runNodes[row]!);
    runEnd[row] = -1;
  };
  for (let i = 0; i < count; ) {
    const row = depth[i]!;
    const width = w[i]!;
    const left = x[i]!;
    if (width <= 0 || left + width <= x0 || left >= x1 || row > lastRow) {
      i = end[i]!;
      continue;
    }
    if (width < minW) {
      if (row >= firstRow) {
        if (runEnd[row]! < 0 || left - runEnd[row]! > minW) {
          close(row);
          runX[row] = left;
          runNodes[row] = 0;
          runFirst[row] = i;
        }
        runEnd[row] = left + width;
        runNodes[row]!++;
      }
      i = end[i]!;
      continue;
    }
    if (row >= firstRow) {
      const px0 = Math.max(-2, (left - x0) * perPx);
      const px1 = Math.min(port.width + 2, (left + width - x0) * perPx);
      boxes.push(i, px0, px1 - px0, row, 1);
    }
    i++;
  }
  for (let row = 0; row < tree.rows; row++) close(row);
}
