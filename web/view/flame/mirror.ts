/**
 * The drawn boxes as DOM, for tests: `?mirror=1` in the URL or `window.__tephraMirror = true` before the page loads.
 *
 * `<ul data-testid="<pane>-mirror">` holds one `<li>` per drawn box with data-name, -depth, -x, -y, -w (px), -share (of the total),
 * -a, -b (in the unit shown), -state, -node and -merged (nodes in a box of thin frames; "1" for a frame of its own). The list's
 * own data-selected is the selected node.
 */
import type { Model } from "../explore/model";
import { isSignificant } from "../explore/words";
import { changeOf } from "../profile/diff";
import type { FlameInput } from "./FlameCanvas";
import type { Boxes } from "./visible";

const BOXES_MAX = 5000;

declare global {
  interface Window {
    __tephraMirror?: boolean;
  }
}

export function mirrorWanted(): boolean {
  return window.__tephraMirror === true || new URLSearchParams(location.search).get("mirror") === "1";
}

export function mirror(pane: string): {
  update(model: Model, input: FlameInput, boxes: Boxes, thin: Boxes, top: (row: number) => number): void;
  select(node: number): void;
  remove(): void;
} {
  const list = document.createElement("ul");
  list.dataset.testid = `${pane}-mirror`;
  list.hidden = true;
  document.body.append(list);
  return {
    update(model, input, boxes, thin, top) {
      const items: HTMLLIElement[] = [];
      for (const set of [boxes, thin])
        for (let k = 0; k < set.count && items.length < BOXES_MAX; k++) items.push(item(model, input, set, k, top));
      list.replaceChildren(...items);
      list.dataset.boxes = String(boxes.count + thin.count);
    },
    select(node) {
      list.dataset.selected = String(node);
    },
    remove: () => list.remove(),
  };
}

function item(model: Model, { tree }: FlameInput, set: Boxes, k: number, top: (row: number) => number): HTMLLIElement {
  const li = document.createElement("li");
  const node = set.node[k]!;
  const scale = model.scale.peek();
  const [a, b] = [tree.totalA[node]! * scale.a, tree.totalB[node]! * scale.b];
  Object.assign(li.dataset, {
    name: node === 0 ? "all" : model.frames.peek().name(tree.frame[node]!),
    depth: String(tree.depth[node]),
    x: set.x[k]!.toFixed(2),
    w: set.w[k]!.toFixed(2),
    y: top(set.row[k]!).toFixed(2),
    share: String(tree.totalB[0]! > 0 ? tree.totalB[node]! / tree.totalB[0]! : 0),
    b: String(b),
    merged: String(set.merged[k]),
    node: String(node),
  });
  if (model.diff.peek()) {
    li.dataset.a = String(a);
    li.dataset.state = changeOf(a, b);
    li.dataset.significant = String(isSignificant(model, tree, node));
  }
  return li;
}
