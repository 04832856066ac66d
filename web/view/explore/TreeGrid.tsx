/** The same tree as text: a treegrid that opens level by level and shares the graph's selection. */
import { computed, useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { Q_SIGNIFICANT } from "../profile/diff";
import { childrenOf, pathOf, type Tree } from "../profile/tree";
import { isNarrow } from "../state/screen";
import * as fmt from "../ui/format";
import { Name } from "../ui/Name";
import { CARD_PX, ShareCell, VirtualRows } from "../ui/VirtualRows";
import type { Model } from "./model";

/** Deeper rows stand where these do. */
const INDENT = { px: 14, most: 24 };
const INDENT_NARROW = { px: 8, most: 10 };

/** A chain is opened while one child holds this share of its parent. */
const OPEN_SHARE = 0.9;

export function TreeGrid({ model }: { model: Model }) {
  const open = useSignal<{ tree: Tree; nodes: Set<number> }>({
    tree: model.shown.value,
    nodes: hotPath(model.shown.value, 0),
  });
  if (open.value.tree !== model.shown.value)
    open.value = { tree: model.shown.value, nodes: hotPath(model.shown.value, 0) };
  const rows = useMemo(() => computed(() => openRows(open.value.tree, open.value.nodes)), []);
  const active = useSignal(0);
  const selected = model.selected.value;
  useEffect(() => {
    // A selection made elsewhere opens the way to it.
    if (selected < 0) return;
    const missing = pathOf(model.shown.value, selected)
      .slice(0, -1)
      .filter((n) => !open.value.nodes.has(n));
    if (missing.length > 0 || !open.value.nodes.has(0))
      open.value = { tree: open.value.tree, nodes: new Set([0, ...open.value.nodes, ...missing]) };
    const at = rows.value.indexOf(selected);
    if (at >= 0) active.value = at;
  }, [selected]);
  const tree = model.shown.value;
  const toggle = (node: number, want?: boolean) => {
    const nodes = new Set(open.value.nodes);
    const opening = want ?? !nodes.has(node);
    if (opening) for (const n of hotPath(tree, node)) nodes.add(n);
    else nodes.delete(node);
    open.value = { tree, nodes };
  };
  const list = rows.value;
  const narrow = isNarrow.value;
  const indent = narrow ? INDENT_NARROW : INDENT;
  const scale = model.scale.value;
  const frames = model.frames.value;
  const diff = model.diff.value;
  return (
    <div
      class={`grid treegrid${diff ? " columns-3" : " columns-2"}`}
      role="treegrid"
      aria-label="Call tree"
      aria-rowcount={list.length}
      data-testid="tree"
    >
      <div class="grid-head" role="row">
        <div role="columnheader" class="num">
          {diff ? "Total B" : "Total"}
        </div>
        <div role="columnheader" class="num">
          % of all
        </div>
        <div role="columnheader" class="num hide-narrow">
          % of caller
        </div>
        <div role="columnheader" class="num hide-narrow">
          {diff ? "Self B" : "Self"}
        </div>
        {diff ? (
          <div role="columnheader" class="num">
            Δ total
          </div>
        ) : null}
        <div role="columnheader">Call</div>
      </div>
      <VirtualRows
        count={list.length}
        rowPx={narrow ? CARD_PX : 24}
        active={active}
        label="Call tree"
        onPick={(k) => model.select(list[k]!)}
        onKey={(e) => {
          const node = list[active.value]!;
          if (e.key === "ArrowRight") toggle(node, true);
          else if (e.key === "ArrowLeft") {
            if (open.value.nodes.has(node)) toggle(node, false);
            else if (node > 0) model.select(tree.parent[node]!);
          } else return;
          e.preventDefault();
        }}
        row={(k) => {
          const node = list[k]!;
          const kids = tree.end[node]! > node + 1;
          const isOpen = open.value.nodes.has(node);
          const noise = diff && (model.evidence.value?.[node] ?? 10_000) > Q_SIGNIFICANT;
          const name = node === 0 ? "all" : frames.name(tree.frame[node]!);
          return (
            <div
              key={node}
              role="row"
              tabIndex={k === active.value ? 0 : -1}
              aria-level={tree.depth[node]! + 1}
              aria-rowindex={k + 1}
              aria-expanded={kids ? isOpen : undefined}
              aria-selected={node === selected}
              class={`grid-row${node === selected ? " is-selected" : ""}${noise ? " is-noise" : ""}`}
              data-name={name}
              onClick={() => {
                active.value = k;
                model.select(node);
              }}
              onDblClick={() => toggle(node)}
            >
              <div role="gridcell" class="num">
                <span>{fmt.value(tree.totalB[node]! * scale.b, scale.unit)}</span>
              </div>
              <ShareCell share={tree.totalB[node]! / (tree.totalB[0] || 1)} />
              <div role="gridcell" class="num hide-narrow">
                <span>
                  {node === 0 ? "" : fmt.percent(tree.totalB[node]! / (tree.totalB[tree.parent[node]!] || 1))}
                </span>
              </div>
              <div role="gridcell" class="num hide-narrow">
                <span>{fmt.value(tree.selfB[node]! * scale.b, scale.unit)}</span>
              </div>
              {diff ? (
                <div role="gridcell" class="num">
                  {fmt.signed(tree.totalB[node]! * scale.b - tree.totalA[node]! * scale.a, scale.unit)}
                </div>
              ) : null}
              <div
                role="gridcell"
                class="name"
                style={{ paddingLeft: `${Math.min(tree.depth[node]!, indent.most) * indent.px}px` }}
              >
                <button
                  type="button"
                  class="twist"
                  tabIndex={-1}
                  aria-hidden={!kids}
                  disabled={!kids}
                  aria-label={isOpen ? "Close" : "Open"}
                  onClick={(e) => {
                    e.stopPropagation();
                    toggle(node);
                  }}
                >
                  {kids ? (isOpen ? "▾" : "▸") : ""}
                </button>
                <Name of={name} />
              </div>
            </div>
          );
        }}
      />
    </div>
  );
}

/** `node` and the chain of single heavy children below it: what opening a row should open. */
function hotPath(tree: Tree, node: number): Set<number> {
  const out = new Set<number>();
  for (let at = node; out.size < 200; ) {
    out.add(at);
    const heavy = childrenOf(tree, at).find((k) => tree.totalB[k]! >= OPEN_SHARE * tree.totalB[at]!);
    if (heavy === undefined) break;
    at = heavy;
  }
  return out;
}

function openRows(tree: Tree, open: Set<number>): number[] {
  const rows: number[] = [];
  for (let i = 0; i < tree.count; ) {
    rows.push(i);
    i = open.has(i) ? i + 1 : tree.end[i]!;
  }
  return rows;
}
