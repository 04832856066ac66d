/** What can be done with one frame. */
import type { Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { crateOf } from "../profile/names";
import { pathOf } from "../profile/tree";
import { setParams } from "../state/location";
import { copy } from "../ui/toast";
import { copyLink } from "./keys";
import type { Model } from "./model";

export interface MenuAt {
  node: number;
  x: number;
  y: number;
}

export function FrameMenu({ model, at }: { model: Model; at: Signal<MenuAt | null> }) {
  const ref = useRef<HTMLDivElement>(null);
  const back = useRef<Element | null>(null);
  const place = at.value;
  useEffect(() => {
    if (!place) return;
    const el = ref.current!;
    back.current = document.activeElement;
    el.style.transform = `translate(${Math.min(place.x, innerWidth - el.offsetWidth - 8)}px, ${Math.min(place.y, innerHeight - el.offsetHeight - 8)}px)`;
    el.querySelector<HTMLButtonElement>("button")?.focus();
    const close = (e: Event) => {
      if (!el.contains(e.target as Node)) at.value = null;
    };
    addEventListener("pointerdown", close);
    addEventListener("scroll", close, true);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("scroll", close, true);
    };
  }, [place]);
  if (!place || place.node >= model.shown.value.count) return null;
  const done = (then: () => void) => () => {
    at.value = null;
    (back.current as HTMLElement | null)?.focus?.();
    then();
  };
  const items = frameActions(model, place.node);
  return (
    <div
      ref={ref}
      class="menu"
      role="menu"
      aria-label="Frame"
      tabIndex={-1}
      data-testid="frame-menu"
      onKeyDown={(e) => {
        if (e.key === "Escape") done(() => {})();
        const buttons = [...ref.current!.querySelectorAll("button")];
        const k = buttons.indexOf(document.activeElement as HTMLButtonElement);
        if (e.key === "ArrowDown") buttons[(k + 1) % buttons.length]?.focus();
        if (e.key === "ArrowUp") buttons.at(k - 1)?.focus();
        if (e.key.startsWith("Arrow")) e.preventDefault();
        e.stopPropagation();
      }}
    >
      {items.map((item) => (
        <button key={item.label} type="button" role="menuitem" onClick={done(item.run)}>
          <span>{item.label}</span>
          {item.key ? <kbd>{item.key}</kbd> : null}
        </button>
      ))}
    </div>
  );
}

interface Action {
  label: string;
  /** On a button beside the frame's details; without it there is none. */
  short?: string;
  key?: string;
  run(): void;
}

/** The most usual first. */
export function frameActions(model: Model, node: number): Action[] {
  const tree = model.shown.value;
  const frames = model.frames.value;
  const name = frames.name(tree.frame[node]!);
  if (node === 0) return [{ label: "Copy link to this view", key: "y", run: () => copyLink(model) }];
  const crate = crateOf(name, frames.module(tree.frame[node]!));
  const stack = pathOf(tree, node).map((i) => frames.name(tree.frame[i]!));
  return [
    { label: "Focus", short: "Focus", key: "f", run: () => model.focusOn(node) },
    {
      label: "Sandwich: callers and callees",
      short: "Sandwich",
      key: "p",
      run: () => setParams({ view: "sandwich", pivot: name, focus: null, z: null }),
    },
    { label: "Only stacks with this", short: "Only with", key: "o", run: () => model.addTransform("keep", name) },
    { label: "Without stacks through this", short: "Without", key: "x", run: () => model.addTransform("drop", name) },
    { label: "Hide (cost goes to the caller)", short: "Hide", key: "h", run: () => model.addTransform("hide", name) },
    { label: "Start stacks here", key: ">", run: () => model.addTransform("focus", name) },
    { label: "Turn over: who calls this", run: () => model.addTransform("pivot", name) },
    ...(crate === ""
      ? []
      : [
          { label: `Hide crate ${crate}`, run: () => model.addFilter("hide", `crate:${crate}`) },
          { label: `Only stacks with crate ${crate}`, run: () => model.addFilter("keep", `crate:${crate}`) },
        ]),
    {
      label: "Highlight everywhere",
      run: () => setParams({ q: name.includes(",") ? `/${name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}/` : name }),
    },
    { label: "Copy name", run: () => copy(name, "Name") },
    { label: "Copy stack", run: () => copy(stack.join(";"), "Stack") },
    { label: "Copy link", key: "y", run: () => copyLink(model) },
  ];
}
