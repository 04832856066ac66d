/** Mounts a [`FlameCanvas`], its tooltip, its off-screen text and, for tests, a DOM mirror of what is drawn. */
import type { ReadonlySignal } from "@preact/signals";
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useId, useMemo, useRef } from "preact/hooks";
import { FlameCanvas, type FlameInput } from "../flame/FlameCanvas";
import { mirror, mirrorWanted } from "../flame/mirror";
import { FLAG_MERGED } from "../profile/frames";
import { reducedMotion } from "../state/screen";
import type { Model } from "./model";
import { sentenceOf, totalsLine } from "./words";

interface Props {
  model: Model;
  input: ReadonlySignal<FlameInput>;
  title: string;
  testId: string;
  selected: ReadonlySignal<number>;
  zoom?: ReadonlySignal<[number, number] | null>;
  onSelect(node: number): void;
  onFocus(node: number): void;
  onMenu?(node: number, x: number, y: number): void;
  onZoom?(x0: number, x1: number): void;
  /** Hands out the canvas, for keys that zoom and pan. */
  handle?: { current: FlameCanvas | null };
  onKey?(event: KeyboardEvent): void;
  maxRows?: number;
}

/** Less is no graph to read: then the page is scrolled to it, and most of the screen is its. */
const PANE_MIN_PX = 300;
const PANE_SHARE = 0.7;
const PANE_MARGIN_PX = 12;

export function FlamePane(props: Props) {
  const { model } = props;
  const host = useRef<HTMLDivElement>(null);
  const canvas = useRef<FlameCanvas | null>(null);
  const tip = useSignal<{ node: number; x: number; y: number; merged: number } | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const activeId = useId();
  const boxes = useMemo(() => (mirrorWanted() ? mirror(props.testId) : null), []);

  useEffect(() => {
    const flame = new FlameCanvas(
      host.current!,
      {
        select: (node) => {
          host.current?.parentElement?.focus({ preventScroll: true });
          latest.current.onSelect(node);
        },
        focus: (node) => node >= 0 && latest.current.onFocus(node),
        hover: (node, x, y, merged) => {
          tip.value = node >= 0 ? { node, x, y, merged } : null;
        },
        menu: (node, x, y) => {
          tip.value = null;
          latest.current.onMenu?.(node, x, y);
        },
        zoomed: (x0, x1) => latest.current.onZoom?.(x0, x1),
        drawn: boxes
          ? (drawn, thin, top) => boxes.update(model, latest.current.input.peek(), drawn, thin, top)
          : undefined,
      },
      reducedMotion,
    );
    canvas.current = flame;
    if (props.handle) props.handle.current = flame;
    return () => {
      flame.destroy();
      boxes?.remove();
      canvas.current = null;
      if (props.handle) props.handle.current = null;
    };
  }, []);

  useSignalEffect(() => {
    const input = props.input.value;
    const description = `${props.title}. ${sentenceOf(model, input.tree, 0)}`;
    canvas.current?.show(input, description, props.zoom?.value ?? null);
    host.current!.style.setProperty(
      "--rows",
      String(Math.min(input.tree.rows - input.skipRows, props.maxRows ?? 4000)),
    );
  });
  useSignalEffect(() => {
    canvas.current?.select(props.selected.value);
    boxes?.select(props.selected.value);
  });
  useEffect(() => {
    // As tall as what is left of the screen below where the pane starts: what lies above it comes and goes.
    const el = host.current!;
    const fit = () => {
      const below = innerHeight - (el.getBoundingClientRect().top + scrollY) - PANE_MARGIN_PX;
      const room = below >= PANE_MIN_PX ? below : Math.max(PANE_MIN_PX, innerHeight * PANE_SHARE);
      el.style.setProperty("--room", `${Math.round(room)}px`);
    };
    const watch = new ResizeObserver(fit);
    watch.observe(document.body);
    addEventListener("resize", fit);
    fit();
    return () => {
      watch.disconnect();
      removeEventListener("resize", fit);
    };
  }, []);

  const node = props.selected.value;
  const tree = props.input.value.tree;
  return (
    <div
      class="flame"
      role="application"
      aria-roledescription="flame graph"
      aria-label={`${props.title}. Arrow keys move, Enter focuses, question mark lists all keys.`}
      aria-activedescendant={node >= 0 ? activeId : undefined}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: role application is interactive; arrows move the selection in it
      tabIndex={0}
      data-testid={props.testId}
      onKeyDown={props.onKey}
      onBlur={() => {
        tip.value = null;
      }}
    >
      <div class="flame-host" ref={host} />
      <div
        class="off-screen"
        id={activeId}
        role="img"
        aria-label={node >= 0 && node < tree.count ? sentenceOf(model, tree, node) : "nothing selected"}
      />
      {tip.value && tip.value.node < tree.count ? <Tip model={model} input={props.input.value} {...tip.value} /> : null}
    </div>
  );
}

function Tip({
  model,
  input,
  node,
  x,
  y,
  merged,
}: {
  model: Model;
  input: FlameInput;
  node: number;
  x: number;
  y: number;
  merged: number;
}) {
  const { tree } = input;
  const frames = model.frames.value;
  const frame = tree.frame[node]!;
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const el = ref.current!;
    const left = Math.max(8, Math.min(x + 14, innerWidth - el.offsetWidth - 8));
    const below = y + 18 + el.offsetHeight < innerHeight - 8;
    el.style.transform = `translate(${left}px, ${below ? y + 18 : y - el.offsetHeight - 12}px)`;
  });
  const place = frames.file(frame)
    ? `${frames.file(frame)}${frames.line(frame) ? `:${frames.line(frame)}` : ""}`
    : frames.module(frame);
  return (
    <div class="tip" ref={ref} role="presentation" data-testid="flame-tip">
      <div class="tip-name">{node === 0 ? "all" : frames.name(frame)}</div>
      <div class="tip-line">{totalsLine(model, tree, node)}</div>
      {merged > 1 ? (
        <div class="tip-quiet">and {merged - 1} more too thin to draw here; zoom in to see them</div>
      ) : null}
      {place ? <div class="tip-quiet">{place}</div> : null}
      {frames.flags(frame) & FLAG_MERGED ? <div class="tip-quiet">small frames merged by the collector</div> : null}
    </div>
  );
}
