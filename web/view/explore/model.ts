/**
 * What the explorer shows, derived from one profile and the URL. Graph, tree, table and details all read from here, so
 * selecting in any of them moves the others.
 */
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import { lookingAt, prepare, prepared } from "../api/reader";
import type { FlameInput } from "../flame/FlameCanvas";
import type { ColourMode } from "../flame/palette";
import { estimateQ, scaleOf, type WidthMode } from "../profile/diff";
import { basketOf, tableOf } from "../profile/known";
import { type Cooked, cook, layoutOf, type Recipe, withoutRuntimes } from "../profile/recipe";
import { compileSearch, findMatches, widestFirst } from "../profile/search";
import {
  exactly,
  isWithoutFrameworks,
  parseTransform,
  type Transform,
  transformText,
  WITHOUT_FRAMEWORKS,
} from "../profile/transform";
import { findKey, type Profile, pathKey, type Tree } from "../profile/tree";
import { remainingTotal } from "../profile/whatif";
import { BY_NAME, here, param, paramList, setParams, splitList } from "../state/location";
import { remember, remembered } from "../state/remembered";
import { paintPlan } from "./plan";

export type ViewName = "flame" | "bottomup" | "sandwich" | "tree" | "table" | "requests";
export const VIEWS: readonly { name: ViewName; label: string }[] = [
  { name: "flame", label: "Flame" },
  { name: "bottomup", label: "Bottom-up" },
  { name: "sandwich", label: "Sandwich" },
  { name: "tree", label: "Tree" },
  { name: "table", label: "Functions" },
];

/** How links of earlier versions hid runtimes and servers. */
const LEGACY_HIDING = transformText(WITHOUT_FRAMEWORKS);

const FRAMEWORKS = ["hidden", "shown"] as const;

/** What the reader chose the last time: `hidden` or `shown`. */
export function rememberedFrameworks(): string {
  return remembered("frameworks", FRAMEWORKS);
}

function rememberFrameworks(shown: boolean): void {
  remember("frameworks", FRAMEWORKS[shown ? 1 : 0]);
}

/** What a link asks to be made. */
export function recipeOf(params: URLSearchParams): Recipe {
  const text = (name: string) => params.get(name) ?? "";
  const isFilter = (t: string) => {
    const parsed = parseTransform(t);
    return parsed !== null && !isWithoutFrameworks(parsed);
  };
  const all = params.getAll("t");
  const view = text("view");
  return {
    view,
    filters: all.filter(isFilter),
    hidden: text("fw") !== "shown" || all.includes(LEGACY_HIDING),
    faster: params.getAll("wi"),
    width: (["a", "union", "delta"].find((w) => w === text("w")) ?? "b") as WidthMode,
    sorted: text("order") === "" ? null : text("order") === "weight",
    pivot: view === "sandwich" ? text("pivot") || text("fn") : "",
  };
}

lookingAt.current = () => recipeOf(here.peek().params);

export type Model = ReturnType<typeof createModel>;

export function createModel(profile: ReadonlySignal<Profile>) {
  const frames = computed(() => profile.value.frames);
  const diff = computed(() => profile.value.diff);
  const scale = computed(() => scaleOf(profile.value));

  // What is drawn follows the URL as soon as it is made: of a large profile that is done apart, and the page goes on showing what it shows.
  const wanted = computed(() => JSON.stringify(recipeOf(here.value.params)));
  const came = signal(0);
  let made = wanted.peek();
  const ready = computed(() => {
    came.value;
    if (prepared(profile.value, wanted.value)) made = wanted.value;
    return made;
  });
  const recipe = computed<Recipe>(() => JSON.parse(ready.value));
  const pending = computed(() => ready.value !== wanted.value);
  const cooked = computed(() => cook(profile.value, recipe.value));

  /** Has made what is wanted, if it is not. */
  function settle(): void {
    if (!pending.value) return;
    void prepare(profile.value, JSON.parse(wanted.value)).then(() => came.value++);
  }

  const view = computed<ViewName>(
    () => ([...VIEWS.map((v) => v.name), "requests"].find((v) => v === recipe.value.view) ?? "flame") as ViewName,
  );
  const transformList = paramList("t");
  const transforms = computed(() => recipe.value.filters.map(parseTransform).filter((t): t is Transform => t !== null));
  const whole = computed(() => cooked.value.whole);
  const own = computed(() => cooked.value.own);
  const upright = computed(() => cooked.value.upright);
  /** Are the frames of runtimes and servers that lead to the program's own code shown? */
  const frameworks = computed(() => !recipe.value.hidden);
  const base = computed(() => cooked.value.base);
  /** The filters in force, as the collector takes them. */
  const filters = computed(() => {
    if (base.value === profile.value.tree) return [];
    return frameworks.value ? recipe.value.filters : withoutRuntimes(recipe.value.filters);
  });

  // What if.
  const basketList = paramList("wi");
  const basket = computed(() => basketOf(frames.value, recipe.value.faster));
  const relaid = computed(() => cooked.value.relaid);

  const width = computed(() => recipe.value.width);
  const sorted = computed(() => recipe.value.sorted ?? !diff.value);
  const shown = computed(() => cooked.value.shown);
  const layout = computed(() => cooked.value.layout);
  const evidence = computed(() => evidenceOf(shown.value));

  function evidenceOf(tree: Tree): Uint16Array | null {
    const { a, b } = profile.value.header;
    if (!b || !tree.q) return null;
    return view.value === "flame" || view.value === "tree" ? tree.q : estimateQ(tree, { a, b }, scale.value);
  }

  // Search.
  const query = param("q");
  const search = computed(() => compileSearch(query.value));
  const matches = computed(() =>
    search.value.test ? findMatches(shown.value, frames.value, search.value.test) : null,
  );
  /** The matches as they are walked: the widest first. Sorting many takes a while, and is left until somebody walks. */
  const walk = computed(() => widestFirst(matches.value?.nodes ?? [], layout.value.w));
  /** How many can be seen, and the widest; -1 for none. */
  const found = computed(() => {
    const { w } = layout.value;
    let count = 0;
    let widest = -1;
    for (const node of matches.value?.nodes ?? []) {
      if (w[node]! <= 0) continue;
      count++;
      if (widest < 0 || w[node]! > w[widest]!) widest = node;
    }
    return { count, widest };
  });
  /** Which match is selected, in that order; -1 if none is. */
  const walkedTo = computed(() => {
    const node = selected.value;
    return node > 0 && matches.value?.frames[shown.value.frame[node]!] ? walk.value.indexOf(node) : -1;
  });

  /** Functions that a search without result would find among what is hidden. */
  const hiddenMatches = computed(() => {
    const { test } = search.value;
    if (!test || frameworks.value || matches.value?.nodes.length !== 0) return 0;
    return findMatches(whole.value, frames.value, test).functions;
  });

  // Selection and focus: named in the URL by path, so that they survive new data.
  const selectKey = param("sel");
  const focusKey = param("focus");
  const functionName = param("fn");
  let known: { tree: Tree; key: string; node: number } | null = null;
  const selected = computed(() => {
    const key = selectKey.value;
    if (key === "") return -1;
    if (known?.tree === shown.value && known.key === key) return known.node;
    const node = findKey(shown.value, frames.value, key);
    return node >= 0 ? node : widestOf(functionName.value);
  });
  const focus = computed(() =>
    focusKey.value === "" ? 0 : Math.max(0, findKey(shown.value, frames.value, focusKey.value)),
  );

  function widestOf(name: string): number {
    const func = name === "" ? -1 : frames.value.funcByName(name);
    if (func < 0) return -1;
    const { w } = layout.value;
    let best = -1;
    for (let i = 1; i < shown.value.count; i++)
      if (frames.value.func[shown.value.frame[i]!] === func && (best < 0 || w[i]! > w[best]!)) best = i;
    return best;
  }

  function select(node: number): void {
    if (node < 0) {
      setParams({ sel: null, fn: null }, { replace: true });
      return;
    }
    const key = pathKey(shown.value, frames.value, node);
    known = { tree: shown.value, key, node };
    setParams({ sel: key, fn: node === 0 ? null : frames.value.name(shown.value.frame[node]!) }, { replace: true });
  }

  function selectFunction(func: number): void {
    const node = widestOf(frames.value.name(frames.value.frameOfFunc[func]!));
    if (node >= 0) select(node);
  }

  function focusOn(node: number): void {
    setParams({ focus: node > 0 ? pathKey(shown.value, frames.value, node) : null, z: null });
  }

  const selectedFunc = computed(() => {
    const node = selected.value;
    return node > 0 ? frames.value.func[shown.value.frame[node]!]! : -1;
  });

  // Functions.
  const table = computed(() => tableOf(relaid.value, frames.value));
  const tableEvidence = computed(() => {
    const { a, b } = profile.value.header;
    if (!b) return null;
    const q = estimateQ(
      { count: frames.value.funcCount, totalA: table.value.totalA, totalB: table.value.totalB },
      { a, b },
      scale.value,
    );
    for (const m of profile.value.header.movers ?? []) {
      const func = frames.value.func[m.frame];
      if (func !== undefined) q[func] = Math.round(m.q * 10_000);
    }
    return q;
  });

  // Sandwich.
  let lastHalves: Cooked["halves"] = null;
  /** While another view is shown: the last ones, since panes go after what they show. */
  const halves = computed(() => {
    if (view.value === "sandwich") lastHalves = cooked.value.halves;
    return lastHalves;
  });

  const remaining = computed(() =>
    basket.value.length === 0
      ? null
      : remainingTotal(base.value, frames.value, basket.value) / (base.value.totalB[0] || 1),
  );

  // Colours.
  const colourText = param("color");
  const colour = computed<ColourMode>(
    () => (["module", "self", "plain"].find((c) => c === colourText.value) ?? "family") as ColourMode,
  );
  const minText = param("min");
  const minEffect = computed(() => Math.min(50, Math.max(0, Number(minText.value) || 0)) / 100);
  const plan = computed(() =>
    paintPlan(shown.value, layout.value, profile.value, colour.value, scale.value, evidence.value, minEffect.value),
  );

  const input = computed<FlameInput>(() => ({
    tree: shown.value,
    layout: layout.value,
    matches: matches.value?.frames ?? null,
    focus: focus.value,
    flip: false,
    skipRows: 0,
    ...plan.value,
  }));

  /** The graph of one half of the sandwich. */
  function halfInput(tree: Tree, flip: boolean): FlameInput {
    const half = layoutOf(tree, scale.value, width.value);
    const q =
      profile.value.header.b && tree.q
        ? estimateQ(tree, { a: profile.value.header.a, b: profile.value.header.b }, scale.value)
        : null;
    const found = search.value.test ? findMatches(tree, frames.value, search.value.test).frames : null;
    return {
      tree,
      layout: half,
      matches: found,
      focus: 0,
      flip,
      skipRows: 1,
      ...paintPlan(tree, half, profile.value, colour.value, scale.value, q, minEffect.value),
    };
  }

  /** Filter lists that were left, the last at the end. */
  const past = signal<string[]>([]);
  const canUndo = computed(() => past.value.length > 0);

  /** Replaces the filters; the former ones can be had back. */
  function setTransforms(list: readonly Transform[]): void {
    past.value = [...past.value, transformList.peek()];
    useList(list.map(transformText));
  }

  function useList(t: string[]): void {
    setParams({ t, sel: null, fn: null, focus: null, z: null });
  }

  /** Takes the last change of the filters back. */
  function undoFilters(): void {
    const last = past.value.at(-1);
    if (last === undefined) return;
    past.value = past.value.slice(0, -1);
    useList(splitList(last));
  }

  /** Filters by one function: by its whole name, so that a short one does not sweep in its namesakes. */
  function addTransform(kind: Transform["kind"], name: string): void {
    addFilter(kind, exactly(name));
  }

  function addFilter(kind: Transform["kind"], pattern: string): void {
    setTransforms([...transforms.peek(), { kind, pattern }]);
  }

  /** Shows the frames of runtimes and servers that only lead to the program's own code, or hides them, here and in what is opened next. */
  function showFrameworks(shown: boolean): void {
    rememberFrameworks(shown);
    revealFrameworks(shown);
  }

  /** The same for this page alone. */
  function revealFrameworks(shown: boolean, options?: { replace: boolean }): void {
    const t = splitList(transformList.peek()).filter((text) => text !== LEGACY_HIDING);
    // The selected function stays selected; its path is another one.
    const sel = functionName.peek() === "" ? null : BY_NAME;
    setParams({ fw: shown ? "shown" : "hidden", t, sel, focus: null, z: null }, options);
  }

  /** A function that was chosen by name, but only leads to the program's own code, is shown with its like. */
  function unhideChosen(): void {
    if (selectKey.peek() !== BY_NAME || selected.peek() >= 0 || frameworks.peek()) return;
    if (frames.peek().funcByName(functionName.peek()) >= 0) revealFrameworks(true, { replace: true });
  }

  function dropTransform(transform: Transform): void {
    setTransforms(transforms.peek().filter((t) => t !== transform));
  }

  /** Opens the box that filters are typed into. */
  const writeFilter: { current: () => void } = { current: () => {} };

  /** What relative times of the page are now. */
  const fixed = signal<Record<string, number>>({});
  /** How to ask for a function's requests, where that can be asked. */
  const requestsPath = signal<((name: string) => string) | null>(null);
  const announce = signal("");
  return {
    profile,
    frames,
    diff,
    scale,
    view,
    base,
    shown,
    layout,
    evidence,
    width,
    sorted,
    query,
    search,
    matches,
    walk,
    found,
    walkedTo,
    hiddenMatches,
    selected,
    selectedFunc,
    focus,
    select,
    selectFunction,
    focusOn,
    table,
    tableEvidence,
    halves,
    basket,
    basketList,
    remaining,
    colour,
    minEffect,
    input,
    halfInput,
    transforms,
    filters,
    setTransforms,
    undoFilters,
    canUndo,
    writeFilter,
    addTransform,
    addFilter,
    dropTransform,
    frameworks,
    showFrameworks,
    unhideChosen,
    whole,
    upright,
    own,
    pending,
    settle,
    announce,
    requestsPath,
    fixed,
  };
}
