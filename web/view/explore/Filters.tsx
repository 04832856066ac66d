/** What is shown of the profile: filters in force as chips, in their order, and a box to type or pick the next one. */
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { crateOf, plainName } from "../profile/names";
import { familyQuery } from "../profile/search";
import {
  KINDS,
  parseTransform,
  readTyped,
  type Transform,
  type TransformKind,
  transformText,
} from "../profile/transform";
import { setParams } from "../state/location";
import * as fmt from "../ui/format";
import type { Model } from "./model";

export const KIND_WORD: Record<TransformKind, string> = {
  keep: "only with",
  drop: "without",
  hide: "hidden",
  focus: "from",
  pivot: "callers of",
};

const KIND_MEANS: Record<TransformKind, string> = {
  keep: "Keep stacks with",
  drop: "Drop stacks with",
  hide: "Hide frames",
  focus: "Start stacks at",
  pivot: "Who calls",
};

/** Suggestions of each sort. */
const SUGGESTED = 12;

/** Which filter is being written: a new one, or the one at a place; null when none is. */
type Writing = number | "new" | null;

export function Filters({ model }: { model: Model }) {
  const writing = useSignal<Writing>(null);
  const transforms = model.transforms.value;
  const towers = model.whole.value.count > model.own.value.count;
  const nothing = model.base.value.totalB[0] === 0 && model.profile.value.tree.totalB[0]! > 0;
  model.writeFilter.current = () => (writing.value = "new");
  return (
    <div class="chips" data-testid="chips">
      {towers ? <FrameworksChip model={model} /> : null}
      {transforms.map((t, at) => (
        <Chip key={transformText(t)} model={model} of={t} onEdit={() => (writing.value = at)} />
      ))}
      {writing.value === null ? (
        <button type="button" class="link" data-testid="filter-add" title="F" onClick={() => (writing.value = "new")}>
          + Filter frames
        </button>
      ) : (
        <FilterBox key={writing.value} model={model} writing={writing} />
      )}
      {model.canUndo.value ? (
        <button type="button" class="link" data-testid="filter-undo" title="u" onClick={model.undoFilters}>
          Undo
        </button>
      ) : null}
      {transforms.length > 1 ? (
        <button type="button" class="link" onClick={() => model.setTransforms([])}>
          Clear all
        </button>
      ) : null}
      {nothing ? <span class="field-error">These filters leave nothing.</span> : null}
      <WhatIfChip model={model} />
    </div>
  );
}

function Chip({ model, of: t, onEdit }: { model: Model; of: Transform; onEdit(): void }) {
  const words = patternWords(t.pattern);
  return (
    <span class="chip" data-filter={transformText(t)}>
      <b>{KIND_WORD[t.kind]}</b>{" "}
      <button type="button" class="chip-text" title={`${t.pattern}: click to change it`} onClick={onEdit}>
        <code>{words}</code>
      </button>
      <button type="button" aria-label={`Remove ${KIND_WORD[t.kind]} ${words}`} onClick={() => model.dropTransform(t)}>
        ✕
      </button>
    </span>
  );
}

function WhatIfChip({ model }: { model: Model }) {
  const remaining = model.remaining.value;
  if (remaining === null) return null;
  const { unit } = model.scale.value;
  const saved = (remaining - 1) * model.base.value.totalB[0]! * model.scale.value.b;
  return (
    <span class="chip whatif" data-testid="whatif">
      <b>What if</b> total {fmt.change(1, remaining)} ({fmt.signed(saved, unit)}) with{" "}
      {fmt.plural(model.basket.value.length, "speed-up")}
      <button type="button" aria-label="Empty the what-if basket" onClick={() => setParams({ wi: null })}>
        ✕
      </button>
    </span>
  );
}

/** Says that the frames that only lead to the program's own code are hidden, and takes them back; or offers to hide them. */
function FrameworksChip({ model }: { model: Model }) {
  if (model.frameworks.value)
    return (
      <button
        type="button"
        class="button small is-offer"
        data-testid="frameworks"
        title="Frames that only lead to your own code (t)"
        onClick={() => model.showFrameworks(false)}
      >
        Hide runtimes and servers
      </button>
    );
  return (
    <span class="chip" data-testid="frameworks" title="Frames that only lead to your own code: the cost stays">
      <b>hidden</b> runtimes and servers
      <button
        type="button"
        aria-label="Show runtimes and servers"
        title="Show them (t)"
        onClick={() => model.showFrameworks(true)}
      >
        ✕
      </button>
    </span>
  );
}

/** A filter being typed: its kind can be chosen or written in front, and what the profile has is suggested. */
function FilterBox({ model, writing }: { model: Model; writing: Signal<Writing> }) {
  const at = writing.value;
  const old = typeof at === "number" ? model.transforms.peek()[at] : undefined;
  const kind = useSignal<TransformKind>(old?.kind ?? "keep");
  const error = useSignal<string | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const suggestions = useMemo(() => suggest(model), []);
  useEffect(() => {
    input.current!.value = old?.pattern ?? "";
    input.current!.focus();
  }, []);
  const done = () => (writing.value = null);
  return (
    <form
      class="filter-box"
      data-testid="filter-box"
      onSubmit={(e) => {
        e.preventDefault();
        const text = input.current!.value;
        const read = readTyped(parseTransform(text.trim()) ? text : `${kind.value}:${text}`);
        if (typeof read === "string") {
          error.value = read;
          return;
        }
        const list = [...model.transforms.peek()];
        list.splice(typeof at === "number" ? at : list.length, typeof at === "number" ? 1 : 0, read);
        model.setTransforms(list);
        done();
      }}
      onKeyDown={(e) => {
        if (e.key !== "Escape") return;
        e.stopPropagation();
        done();
      }}
    >
      <select
        aria-label="What the filter does"
        value={kind.value}
        onChange={(e) => {
          kind.value = e.currentTarget.value as TransformKind;
          input.current!.focus();
        }}
      >
        {KINDS.map((k) => (
          <option key={k} value={k}>
            {KIND_MEANS[k]}
          </option>
        ))}
      </select>
      <input
        ref={input}
        aria-label="Frames: part of a name, crate:, family:, file:, fn: or /regex/"
        placeholder="name, crate:shop, family:own, file:tax.rs, /regex/"
        list="filter-words"
        spellcheck={false}
        autocomplete="off"
        aria-invalid={error.value !== null}
        onInput={() => (error.value = null)}
      />
      <datalist id="filter-words">
        {suggestions.map((word) => (
          <option key={word} value={word} />
        ))}
      </datalist>
      <button type="submit" class="button small">
        {old ? "Change" : "Add"}
      </button>
      <button type="button" class="button small" onClick={done}>
        Cancel
      </button>
      {error.value ? (
        <span class="field-error" role="alert">
          {error.value}
        </span>
      ) : null}
    </form>
  );
}

/** Crates, families and files by their own cost, the costliest first. */
function suggest(model: Model): string[] {
  const frames = model.frames.value;
  const { funcs, selfB } = model.table.value;
  const costs: Map<string, number>[] = [new Map(), new Map(), new Map()];
  for (const f of funcs) {
    const frame = frames.frameOfFunc[f]!;
    const file = frames.file(frame);
    const words = [
      `crate:${crateOf(frames.name(frame), frames.module(frame))}`,
      familyQuery(frames.family(frame)),
      file === "" ? "" : `file:${file}`,
    ];
    words.forEach((word, k) => {
      costs[k]!.set(word, (costs[k]!.get(word) ?? 0) + selfB[f]!);
    });
  }
  const best = (of: Map<string, number>) => [...of].sort((x, y) => y[1] - x[1]).slice(0, SUGGESTED);
  return costs.flatMap(best).flatMap(([word]) => (/^$|:$/.test(word) ? [] : [word]));
}

/** A pattern as it is said: a whole name plain, an exact expression as the name it means. Pure. */
export function patternWords(pattern: string): string {
  const exact = /^\/\^(.*)\$\/$/.exec(pattern);
  if (exact) return plainName(exact[1]!.replace(/\\(.)/g, "$1"));
  return pattern.startsWith("fn:") ? plainName(pattern.slice(3)) : pattern.replace(/^(crate|family|file):/, "$1 ");
}
