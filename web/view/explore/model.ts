/**
 * What the explorer shows, derived from one profile and the URL. Graph, tree, table and details all read from here, so
 * selecting in any of them moves the others.
 */
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { FlameInput } from "../flame/FlameCanvas";
import { layOut } from "../flame/layout";
import type { ColourMode } from "../flame/palette";
import { byWeight } from "../profile/build";
import { estimateQ, scaleOf, selfWeights, type WidthMode } from "../profile/diff";
import { calleesOf, callersOf } from "../profile/invert";
import { bottomUpOf, ownOf, sortedOf } from "../profile/known";
import { compileSearch, findMatches, widestFirst } from "../profile/search";
import { functionTable } from "../profile/table";
import {
  applyTransforms,
  exactly,
  isWithoutFrameworks,
  parseTransform,
  type Transform,
  transformText,
  WITHOUT_FRAMEWORKS,
} from "../profile/transform";
import { findKey, type Profile, pathKey, type Tree } from "../profile/tree";
import { parseSpeedup, remainingTotal, type Speedup, sped } from "../profile/whatif";
import { BY_NAME, param, paramList, setParams, splitList } from "../state/location";
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

export type Model = ReturnType<typeof createModel>;

export function createModel(profile: ReadonlySignal<Profile>) {
  const viewText = param("view");
  const view = computed<ViewName>(
    () => ([...VIEWS.map((v) => v.name), "requests"].find((v) => v === viewText.value) ?? "flame") as ViewName,
  );
  const frames = computed(() => profile.value.frames);
  const diff = computed(() => profile.value.diff);
  const scale = computed(() => scaleOf(profile.value));

  const transformList = paramList("t");
  const transforms = computed(() =>
    splitList(transformList.value)
      .map(parseTransform)
      .filter((t): t is Transform => t !== null && !isWithoutFrameworks(t)),
  );
  const whole = computed(() => applyTransforms(profile.value.tree, frames.value, transforms.value));
  /** All that is applied where runtimes are hidden: after the others, since what these name can be a runtime's; but before stacks are turned over. */
  const ownTransforms = computed(() => {
    const turned = transforms.value.findIndex((t) => t.kind === "pivot");
    return transforms.value.toSpliced(turned < 0 ? transforms.value.length : turned, 0, WITHOUT_FRAMEWORKS);
  });
  const own = computed(() =>
    isWithoutFrameworks(ownTransforms.value.at(-1)!)
      ? ownOf(whole.value, frames.value)
      : applyTransforms(profile.value.tree, frames.value, ownTransforms.value),
  );
  /** What costs something by itself in what is shown: before stacks are turned over, where callers come last. */
  const upright = computed(() => {
    if (!transforms.value.some((t) => t.kind === "pivot")) return whole.value;
    const kept = transforms.value.map((t) => (t.kind === "pivot" ? { ...t, kind: "keep" as const } : t));
    return applyTransforms(profile.value.tree, frames.value, kept);
  });
  const frameworksText = param("fw");
  /** Are the frames of runtimes and servers that lead to the program's own code shown? */
  const frameworks = computed(() => frameworksText.value === "shown" && !transformList.value.includes(LEGACY_HIDING));
  const base = computed(() => (frameworks.value ? whole.value : own.value));
  /** The filters in force, as the collector takes them. */
  const filters = computed(() => {
    if (base.value === profile.value.tree) return [];
    return (frameworks.value ? transforms.value : ownTransforms.value).map(transformText);
  });

  // What if. A comparison stays what it was: of a speed-up there is no evidence.
  const basketList = paramList("wi");
  const basket = computed<Speedup[]>(() =>
    splitList(basketList.value)
      .map((text) => parseSpeedup(text, frames.value))
      .filter((s) => s !== null),
  );
  const relaid = computed(() =>
    basket.value.length === 0 || diff.value ? base.value : sped(base.value, frames.value, basket.value),
  );
  /** What the speed-ups take away: room that stays empty, so that it can be seen. */
  const saved = computed(() => base.value.totalB[0]! - relaid.value.totalB[0]!);

  const widthText = param("w");
  const width = computed<WidthMode>(
    () => (["a", "union", "delta"].find((w) => w === widthText.value) ?? "b") as WidthMode,
  );
  const orderText = param("order");
  const sorted = computed(() => (orderText.value === "" ? !diff.value : orderText.value === "weight"));
  const oriented = computed(() => (view.value === "bottomup" ? bottomUpOf(relaid.value, frames.value) : relaid.value));
  const shown = computed<Tree>(() => {
    const tree = oriented.value;
    if (!sorted.value || view.value === "bottomup") return tree;
    if (tree.selfA === tree.selfB) return sortedOf(tree);
    const weights = selfWeights(tree, scale.value, width.value).slice();
    for (let i = tree.count - 1; i > 0; i--) weights[tree.parent[i]!]! += weights[i]!;
    return byWeight(tree, weights);
  });
  const layout = computed(() => {
    const weights = selfWeights(shown.value, scale.value, width.value);
    if (saved.value <= 0) return layOut(shown.value, weights);
    const withRoom = weights.slice();
    withRoom[0]! += saved.value;
    return layOut(shown.value, withRoom);
  });
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
  /** The matches as they are walked: the widest first. */
  const walk = computed(() => widestFirst(matches.value?.nodes ?? [], layout.value.w));

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
  const table = computed(() => functionTable(relaid.value, frames.value));
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
  const pivotName = param("pivot");
  const pivot = computed(() => {
    const named = pivotName.value === "" ? selectedFunc.value : frames.value.funcByName(pivotName.value);
    if (named >= 0) return named;
    const { funcs, selfB } = table.value;
    let best = -1;
    for (const f of funcs) if (best < 0 || selfB[f]! > selfB[best]!) best = f;
    return best;
  });
  const callers = computed(() => callersOf(relaid.value, frames.value, pivot.value));
  const callees = computed(() => calleesOf(relaid.value, frames.value, pivot.value));

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
    const half = layOut(tree, selfWeights(tree, scale.value, width.value));
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
    hiddenMatches,
    selected,
    selectedFunc,
    focus,
    select,
    selectFunction,
    focusOn,
    table,
    tableEvidence,
    pivot,
    callers,
    callees,
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
    announce,
    requestsPath,
    fixed,
  };
}
