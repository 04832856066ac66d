/** All functions as a sortable table; only the rows in sight are in the document. */
import { computed, useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { Q_SIGNIFICANT } from "../profile/diff";
import { param, setParams } from "../state/location";
import { isNarrow } from "../state/screen";
import * as fmt from "../ui/format";
import { Name } from "../ui/Name";
import { CARD_PX, ShareCell, VirtualRows } from "../ui/VirtualRows";
import type { Model } from "./model";

type Column = "name" | "self" | "total" | "selfA" | "totalA" | "selfDelta" | "totalDelta";
interface Spec {
  id: Column;
  label: string;
  of(func: number): number;
  text(v: number): string;
  /** Of the whole: shown beside the value, as a number and a bar. */
  share?(func: number): number;
}

export function FunctionList({ model }: { model: Model }) {
  const sortText = useMemo(() => param("sort"), []);
  const specs = useMemo(() => computed(() => columnsOf(model)), []);
  const rows = useMemo(() => computed(() => sortedRows(model, specs.value, sortText.value)), []);
  const active = useSignal(0);
  const [column, ascending] = parseSort(sortText.value, model.diff.value);
  const list = rows.value;
  const selected = model.selectedFunc.value;
  useEffect(() => {
    const at = rows.value.indexOf(selected);
    if (at >= 0) active.value = at;
  }, [selected]);
  const frames = model.frames.value;
  const q = model.tableEvidence.value;
  const most = Math.max(1e-9, ...specs.value.map((s) => largest(list, s.share)));
  const flip = (id: Column) => setParams({ sort: column === id && !ascending ? `${id}:asc` : id });
  const head = (id: Column, label: string, cls: string) => (
    <div
      key={id}
      role="columnheader"
      class={cls}
      aria-sort={column === id ? (ascending ? "ascending" : "descending") : "none"}
    >
      <button type="button" onClick={() => flip(id)}>
        {label}
        <span aria-hidden="true">{column === id ? (ascending ? " ↑" : " ↓") : ""}</span>
      </button>
    </div>
  );
  return (
    <div
      class={`grid functions columns-${specs.value.length}`}
      role="grid"
      aria-label="Functions"
      aria-rowcount={list.length + 1}
      data-testid="functions"
    >
      <div class="grid-head" role="row">
        {specs.value.flatMap((s) => [
          head(s.id, s.label, "num"),
          s.share ? (
            <div key={`${s.id}%`} role="columnheader" class="num">
              % of all
            </div>
          ) : null,
        ])}
        {head("name", "Function", "")}
      </div>
      <VirtualRows
        count={list.length}
        rowPx={isNarrow.value ? CARD_PX : 26}
        active={active}
        label="Functions"
        onPick={(k) => model.selectFunction(list[k]!)}
        row={(k) => {
          const func = list[k]!;
          const frame = frames.frameOfFunc[func]!;
          const noise = q !== null && q[func]! > Q_SIGNIFICANT;
          return (
            <div
              key={func}
              role="row"
              tabIndex={k === active.value ? 0 : -1}
              aria-selected={func === model.selectedFunc.value}
              aria-rowindex={k + 2}
              class={`grid-row${func === model.selectedFunc.value ? " is-selected" : ""}${noise ? " is-noise" : ""}`}
              data-name={frames.name(frame)}
              onClick={() => {
                active.value = k;
                model.selectFunction(func);
              }}
            >
              {specs.value.flatMap((s) => [
                <div role="gridcell" class="num" key={s.id} data-label={s.label}>
                  <span>{s.text(s.of(func))}</span>
                </div>,
                s.share ? <ShareCell key={`${s.id}%`} share={s.share(func)} most={most} /> : null,
              ])}
              <div role="gridcell" class="name">
                <Name of={frames.name(frame)} />
                <span class="quiet"> {frames.module(frame)}</span>
              </div>
            </div>
          );
        }}
      />
      {list.length === 0 ? <p class="empty-line">No function matches.</p> : null}
    </div>
  );
}

/** The largest share in a column; 0 for one without shares. */
function largest(list: number[], share: Spec["share"]): number {
  return share ? list.reduce((most, func) => Math.max(most, share(func)), 0) : 0;
}

function columnsOf(model: Model): Spec[] {
  const t = model.table.value;
  const { a, b, unit } = model.scale.value;
  const text = (v: number) => fmt.value(v, unit);
  const short = (v: number) => fmt.bare(text(v));
  const delta = (v: number) => fmt.shortSigned(v, unit);
  const all = model.base.value.totalB[0] || 1;
  if (!model.diff.value)
    return [
      { id: "self", label: "Self", of: (f) => t.selfB[f]! * b, text, share: (f) => t.selfB[f]! / all },
      { id: "total", label: "Total", of: (f) => t.totalB[f]! * b, text, share: (f) => t.totalB[f]! / all },
    ];
  return [
    { id: "selfDelta", label: "Δ self", of: (f) => t.selfB[f]! * b - t.selfA[f]! * a, text: delta },
    { id: "totalDelta", label: "Δ total", of: (f) => t.totalB[f]! * b - t.totalA[f]! * a, text: delta },
    { id: "selfA", label: "Self A", of: (f) => t.selfA[f]! * a, text: short },
    { id: "self", label: "Self B", of: (f) => t.selfB[f]! * b, text: short },
    { id: "totalA", label: "Total A", of: (f) => t.totalA[f]! * a, text: short },
    { id: "total", label: "Total B", of: (f) => t.totalB[f]! * b, text: short, share: (f) => t.totalB[f]! / all },
  ];
}

function parseSort(text: string, diff: boolean): [Column, boolean] {
  const [id, direction] = text.split(":");
  return [
    (id || (diff ? "selfDelta" : "self")) as Column,
    direction === "asc" || (id === "name" && direction !== "desc" && text !== ""),
  ];
}

function sortedRows(model: Model, specs: Spec[], sort: string): number[] {
  const { funcs } = model.table.value;
  const frames = model.frames.value;
  const test = model.search.value.test;
  const rows: number[] = [];
  for (const f of funcs) if (!test || test(frames, frames.frameOfFunc[f]!)) rows.push(f);
  const [id, ascending] = parseSort(sort, model.diff.value);
  if (id === "name") {
    rows.sort((x, y) => (frames.name(frames.frameOfFunc[x]!) < frames.name(frames.frameOfFunc[y]!) ? -1 : 1));
    return ascending ? rows : rows.reverse();
  }
  const spec = specs.find((s) => s.id === id) ?? specs[0]!;
  const size = id.endsWith("Delta") ? (f: number) => Math.abs(spec.of(f)) : spec.of;
  return rows.sort((x, y) => (ascending ? size(x) - size(y) : size(y) - size(x)) || x - y);
}
