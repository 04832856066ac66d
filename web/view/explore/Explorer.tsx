/** The explorer: tabs, search and filters above one profile seen as graph, tree or table, with details beside it. */
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { FlameCanvas } from "../flame/FlameCanvas";
import type { Profile } from "../profile/tree";
import { here, param, setParams } from "../state/location";
import { Glossary, WordsLink } from "../ui/Glossary";
import { Breadcrumb } from "./Breadcrumb";
import { Details } from "./Details";
import { Filters } from "./Filters";
import { FlamePane } from "./FlamePane";
import { FunctionList } from "./FunctionList";
import { KeysDialog, showKeys } from "./KeysDialog";
import { flameKeys } from "./keys";
import { Legend } from "./Legend";
import { FrameMenu, type MenuAt } from "./Menu";
import { createModel, type Model, rememberedFrameworks, VIEWS, type ViewName } from "./model";
import { ProfileNotes, PrunedNote } from "./Notes";
import { Sandwich } from "./Sandwich";
import { SearchBox } from "./SearchBox";
import { afterLayout, bringIntoSight, sought } from "./sight";
import { DisplayOptions } from "./Toolbar";
import { TreeGrid } from "./TreeGrid";

/** Left of the active tab, so that the one before it can be guessed. */
const TAB_MARGIN_PX = 40;

/** Parameters that choose a frame, or where it is drawn. */
const CHOICES = ["sel", "fn", "focus", "fw", "view"];

interface Props {
  profile: Profile;
  loading: boolean;
  /** Export menu and the like, at the end of the tab row. */
  actions?(model: Model): ComponentChildren;
  /** What relative times of the page are now, for links. */
  fixed?: Record<string, number>;
  /** How to ask for a function's requests. */
  requestsPath?(name: string): string;
  /** One more tab that brings its own content. */
  extra?: { name: ViewName; label: string; content: ComponentChildren };
}

export function Explorer({ profile, loading, actions, fixed, requestsPath, extra }: Props) {
  const current = useSignal(profile);
  current.value = profile;
  const model = useMemo(() => createModel(current), []);
  model.fixed.value = fixed ?? {};
  model.requestsPath.value = requestsPath ?? null;
  const canvas = useRef<FlameCanvas | null>(null);
  const menu = useSignal<MenuAt | null>(null);
  const zoomText = useMemo(() => param("z"), []);
  const zoom = useComputed(() => parseZoom(zoomText.value));
  const later = useRef(0);
  const tabRow = useRef<HTMLDivElement>(null);
  const chosen = useComputed(() => CHOICES.map((name) => here.value.params.get(name)).join("\n"));
  /** A box that was clicked is in sight, however thin it is. */
  const byPointer = useRef(false);
  /** What was brought into sight: what is being made is so once it is there. */
  const shownChoice = useRef("");
  const tabs = extra ? [...VIEWS, extra] : VIEWS;
  const view =
    extra && model.view.value === extra.name
      ? extra.name
      : model.view.value === "requests"
        ? "flame"
        : model.view.value;
  const pick = (name: ViewName) =>
    setParams({ view: name === "flame" ? null : name, focus: null, z: null, pivot: null });
  const busy = loading || model.pending.value;
  const keys = flameKeys({ model, canvas, tabs: tabs.map((t) => t.name), pick, menu });

  useSignalEffect(() => {
    // What a person chose last is part of the link, so that it shows others the same.
    if (!here.value.params.has("fw")) setParams({ fw: rememberedFrameworks() }, { replace: true });
  });

  useSignalEffect(model.settle);

  useSignalEffect(() => {
    // Chosen anyhow: by a click, a key, a search, a link, the back button. New data alone moves nothing.
    const choice = `${chosen.value}\n${sought.value}`;
    if (model.pending.value || choice === shownChoice.current) return;
    shownChoice.current = choice;
    const clicked = byPointer.current;
    byPointer.current = false;
    return afterLayout(() => {
      model.unhideChosen();
      const node = model.selected.peek() > 0 ? model.selected.peek() : model.focus.peek();
      if (canvas.current && node > 0) bringIntoSight(canvas.current, node, !clicked);
    });
  });

  useEffect(() => {
    // On a phone the row of tabs is wider than the screen.
    const tab = tabRow.current?.querySelector<HTMLElement>("[aria-selected=true]");
    if (tab) tabRow.current!.scrollLeft = tab.offsetLeft - tabRow.current!.offsetLeft - TAB_MARGIN_PX;
  }, [view]);

  useEffect(() => {
    const listen = (e: KeyboardEvent) => keys(e, false);
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  });

  return (
    <section class={`explorer${loading ? " is-loading" : ""}`} aria-busy={busy} data-testid="explorer">
      <div class="explorer-bar">
        <div class="tabs" role="tablist" aria-label="Views" ref={tabRow}>
          {tabs.map((tab, i) => (
            <button
              key={tab.name}
              type="button"
              role="tab"
              class="tab"
              aria-selected={view === tab.name}
              title={`${tab.label} (${i + 1})`}
              data-testid={`tab-${tab.name}`}
              onClick={() => pick(tab.name)}
            >
              {tab.label}
            </button>
          ))}
        </div>
        {view === "requests" ? null : (
          <SearchBox model={model} onLook={(node) => canvas.current?.reveal(node, false)} />
        )}
        <div class="bar-end">
          <DisplayOptions model={model} />
          {actions?.(model)}
          <button
            type="button"
            class="button icon"
            aria-label="Keyboard shortcuts"
            title="Keyboard shortcuts (?)"
            onClick={showKeys}
          >
            ?
          </button>
        </div>
      </div>
      <Filters model={model} />
      {view === "requests" ? null : <ProfileNotes profile={profile} />}
      <div class="explorer-body">
        <div class="explorer-main">
          {view === "flame" || view === "bottomup" ? (
            <>
              <Legend model={model} />
              <Breadcrumb model={model} />
              <FlamePane
                model={model}
                input={model.input}
                title={view === "flame" ? "Flame graph" : "Bottom-up flame graph"}
                testId="flame"
                selected={model.selected}
                zoom={zoom}
                handle={canvas}
                onSelect={(node) => {
                  byPointer.current = true;
                  model.select(node);
                }}
                onFocus={(node) => model.focusOn(node === model.focus.value ? 0 : node)}
                onMenu={(node, x, y) => {
                  byPointer.current = true;
                  model.select(node);
                  menu.value = { node, x, y };
                }}
                onZoom={(x0, x1) => {
                  clearTimeout(later.current);
                  later.current = window.setTimeout(() => setParams({ z: zoomToText(x0, x1) }, { replace: true }), 250);
                }}
                onKey={(e) => keys(e, true)}
              />
              <PrunedNote header={profile.header} />
              <WordsLink />
            </>
          ) : null}
          {view === "sandwich" ? <Sandwich model={model} /> : null}
          {view === "tree" ? <TreeGrid model={model} /> : null}
          {view === "table" ? <FunctionList model={model} /> : null}
          {extra && view === extra.name ? extra.content : null}
        </div>
        {view === "requests" ? null : <Details model={model} />}
      </div>
      <FrameMenu model={model} at={menu} />
      <KeysDialog />
      <Glossary />
      <div class="off-screen" role="status" aria-live="polite">
        {busy ? "Loading" : model.announce.value}
      </div>
    </section>
  );
}

function zoomToText(x0: number, x1: number): string | null {
  return x1 - x0 > 0.9999 ? null : `${x0.toPrecision(7)}-${x1.toPrecision(7)}`;
}

function parseZoom(text: string): [number, number] | null {
  const match = /^([\d.e-]+?)-([\d.]+(?:e-?\d+)?)$/.exec(text);
  if (!match) return null;
  const [x0, x1] = [Number(match[1]), Number(match[2])];
  return x0 >= 0 && x1 <= 1 && x1 > x0 ? [x0, x1] : null;
}
