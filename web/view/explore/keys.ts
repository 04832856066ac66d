/** The keyboard of the explorer. Nothing fires inside inputs; arrows only while the graph has the focus. */
import type { Signal } from "@preact/signals";
import type { FlameCanvas } from "../flame/FlameCanvas";
import { Q_SIGNIFICANT } from "../profile/diff";
import { neighbour } from "../profile/layout";
import { widestChild } from "../profile/tree";
import { here, setParams } from "../state/location";
import { fixedLink } from "../state/share";
import { ownsKeys } from "../ui/keyboard";
import { copy } from "../ui/toast";
import { showKeys } from "./KeysDialog";
import type { MenuAt } from "./Menu";
import type { Model, ViewName } from "./model";
import { sought } from "./sight";

interface Context {
  model: Model;
  canvas: { current: FlameCanvas | null };
  tabs: ViewName[];
  pick(view: ViewName): void;
  menu: Signal<MenuAt | null>;
}

export function flameKeys(ctx: Context): (event: KeyboardEvent, onGraph: boolean) => void {
  const { model, canvas } = ctx;
  const move = (node: number) => {
    if (node < 0) return;
    model.select(node);
    sought.value++;
  };
  const selectedName = () => {
    const node = model.selected.value;
    return node > 0 ? model.frames.value.name(model.shown.value.frame[node]!) : null;
  };
  const onName = (then: (name: string) => void) => () => {
    const name = selectedName();
    if (name) then(name);
  };
  const anywhere: Record<string, () => void> = {
    "?": showKeys,
    "/": () => document.querySelector<HTMLInputElement>("[data-testid=search]")?.focus(),
    n: () => move(nextMatch(model, 1)),
    N: () => move(nextMatch(model, -1)),
    ".": () => move(nextChange(model, 1)),
    ",": () => move(nextChange(model, -1)),
    "+": () => canvas.current?.zoomBy(1.6),
    "=": () => canvas.current?.zoomBy(1.6),
    w: () => canvas.current?.zoomBy(1.6),
    "-": () => canvas.current?.zoomBy(1 / 1.6),
    s: () => canvas.current?.zoomBy(1 / 1.6),
    "0": () => canvas.current?.resetZoom(),
    a: () => canvas.current?.panBy(-120),
    d: () => canvas.current?.panBy(120),
    f: () => model.focusOn(Math.max(0, model.selected.value)),
    p: onName((name) => setParams({ view: "sandwich", pivot: name, focus: null, z: null })),
    h: onName((name) => model.addTransform("hide", name)),
    x: onName((name) => model.addTransform("drop", name)),
    o: onName((name) => model.addTransform("keep", name)),
    F: () => model.writeFilter.current(),
    ">": onName((name) => model.addTransform("focus", name)),
    u: model.undoFilters,
    t: () => model.showFrameworks(!model.frameworks.value),
    m: () => openMenu(ctx),
    y: () => copyLink(model),
    Escape: () => clearOne(model, canvas),
  };
  ctx.tabs.forEach((tab, i) => {
    anywhere[String(i + 1)] = () => ctx.pick(tab);
  });
  const graph: Record<string, () => void> = {
    ArrowUp: () => move(Math.max(0, model.shown.value.parent[Math.max(0, model.selected.value)]!)),
    ArrowDown: () =>
      move(model.selected.value < 0 ? 0 : widestChild(model.shown.value, model.selected.value, model.layout.value.w)),
    ArrowLeft: () => move(neighbour(model.shown.value, model.layout.value, Math.max(0, model.selected.value), -1)),
    ArrowRight: () => move(neighbour(model.shown.value, model.layout.value, Math.max(0, model.selected.value), 1)),
    Enter: () => model.focusOn(Math.max(0, model.selected.value)),
    Backspace: () => history.back(),
  };
  return (event, onGraph) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (ownsKeys(event.target)) return;
    const action = onGraph ? (graph[event.key] ?? anywhere[event.key]) : anywhere[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };
}

/** Copies the link to what is seen, with times that stay. */
export function copyLink(model: Model): void {
  copy(fixedLink(model.fixed.value), "Link");
}

/** The match after (before) the selected one, around the end; the widest if none is selected. -1 without matches. */
export function nextMatch(model: Model, step: 1 | -1): number {
  const nodes = model.walk.value;
  const at = nodes.indexOf(model.selected.value);
  if (nodes.length === 0) return -1;
  return nodes[at < 0 ? 0 : (at + step + nodes.length) % nodes.length]!;
}

function nextChange(model: Model, step: 1 | -1): number {
  const q = model.evidence.value;
  if (!q) return -1;
  const { w } = model.layout.value;
  const nodes: number[] = [];
  for (let i = 1; i < q.length; i++) if (q[i]! <= Q_SIGNIFICANT && w[i]! > 0.002) nodes.push(i);
  return following(nodes, model.selected.value, step);
}

function following(nodes: number[], from: number, step: 1 | -1): number {
  if (nodes.length === 0) return -1;
  if (step > 0) return nodes.find((n) => n > from) ?? nodes[0]!;
  return nodes.findLast((n) => n < from) ?? nodes.at(-1)!;
}

function clearOne(model: Model, canvas: Context["canvas"]): void {
  if (model.query.value !== "") setParams({ q: null });
  else if (model.focus.value > 0) model.focusOn(0);
  else if (here.value.params.has("z")) canvas.current?.resetZoom();
  else model.select(-1);
}

function openMenu({ model, menu }: Context): void {
  if (model.selected.value <= 0) return;
  const box = document.querySelector("[data-testid=flame]")?.getBoundingClientRect();
  menu.value = { node: model.selected.value, x: (box?.left ?? 0) + 40, y: (box?.top ?? 0) + 40 };
}
