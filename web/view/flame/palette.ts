/** Colours of the graph, for both themes and for forced colours. Text on every fill has a contrast of at least 4.5. */
import { FLAG_MERGED, FLAG_ROOT, FLAG_UNSYMBOLISED, type Frames, hashString } from "../profile/frames";
import { crateOf } from "../profile/names";

export type ColourMode = "family" | "module" | "self" | "plain";

export interface Palette {
  background: string;
  /** Fill per bucket. */
  fills: string[];
  /** Ink per bucket. */
  inks: string[];
  dim: string;
  dimInk: string;
  hatch: string;
  /** For hatches on the end steps of the diff scale. */
  hatchOnStrong: string;
  focusRing: string;
  match: string;
  forced: boolean;
}

/** Nine steps from less to more; checked for the three dichromacies (ΔE00 of neighbours ≥ 8.5, extremes ≥ 47). */
export const DIFF_LIGHT = [
  "#2b7bba",
  "#5e9ccd",
  "#92bfe0",
  "#c6dff0",
  "#e8e8e8",
  "#f9d9c1",
  "#f2b58a",
  "#e48a4a",
  "#d1650f",
];
export const DIFF_DARK = [
  "#5aa9e6",
  "#4685b8",
  "#35618a",
  "#2f4a63",
  "#3a3a3a",
  "#5f4630",
  "#96592b",
  "#c37133",
  "#f0883e",
];
/** Ink per step, whichever of the two has the higher contrast. */
const DIFF_INK_DARK = ["#101010", "#101010", "#fff", "#fff", "#fff", "#fff", "#fff", "#101010", "#101010"];
const DIFF_INK_LIGHT = ["#fff", "#101010", "#101010", "#101010", "#101010", "#101010", "#101010", "#101010", "#101010"];

interface Family {
  match: RegExp;
  label: string;
  tag: string;
  hue: number;
  /** Below 1: nearer to grey. What only carries is mute, so that it recedes. */
  strength: number;
  /** Away from the paper; below 0 towards it. */
  lift?: number;
}

/** Bottleneck families by the words in the server's name for them. */
const FAMILIES: Family[] = [
  { match: /alloc|gc|heap/i, label: "Allocation", tag: "AL", hue: 25, strength: 1.15 },
  { match: /lock|wait|sync/i, label: "Lock & wait", tag: "LK", hue: 350, strength: 1.1 },
  { match: /syscall|kernel|\bio\b|i\/o/i, label: "Syscall & I/O", tag: "IO", hue: 250, strength: 0.9 },
  { match: /net/i, label: "Network", tag: "NW", hue: 225, strength: 0.4 },
  { match: /serial/i, label: "Serialization", tag: "SE", hue: 300, strength: 1 },
  { match: /compress/i, label: "Compression", tag: "CM", hue: 195, strength: 0.9 },
  { match: /crypt/i, label: "Cryptography", tag: "CR", hue: 210, strength: 0.6 },
  { match: /hash/i, label: "Hashing", tag: "HA", hue: 165, strength: 0.9 },
  { match: /regex|pars/i, label: "Regex & parsing", tag: "RX", hue: 135, strength: 1 },
  { match: /format/i, label: "Formatting", tag: "FM", hue: 320, strength: 0.8 },
  { match: /copy|mem/i, label: "Copying", tag: "CP", hue: 50, strength: 1.1 },
  { match: /log|metric/i, label: "Logging & metrics", tag: "LG", hue: 110, strength: 0.9 },
  { match: /profil/i, label: "Profiler itself", tag: "PR", hue: 0, strength: 0.12, lift: -0.035 },
  { match: /runtime|sched/i, label: "Runtime", tag: "RT", hue: 270, strength: 0.12, lift: -0.035 },
  { match: /cpu|algo|comput/i, label: "Computation", tag: "CA", hue: 105, strength: 1.1 },
];
/** The program's own code, for the most part: what is looked at first. */
const UNKNOWN: Family = { match: /./, label: "Own & other code", tag: "··", hue: 66, strength: 1.75, lift: 0.045 };

/** There are few names, and many frames that have them. */
const byName = new Map<string, Family>();

export function familyOf(name: string): Family {
  let family = byName.get(name);
  if (!family) {
    family = FAMILIES.find((f) => f.match.test(name)) ?? UNKNOWN;
    byName.set(name, family);
  }
  return family;
}

/** Text for people: our label where the family is known, else the server's word. */
export function familyLabel(name: string): string {
  const family = familyOf(name);
  return family === UNKNOWN && name !== "" && !/unknown/i.test(name) ? name : family.label;
}

function oklch(dark: boolean, hue: number, strength: number, lift = 0): string {
  return dark
    ? `oklch(${(0.42 + lift).toFixed(3)} ${(0.075 * strength).toFixed(3)} ${hue})`
    : `oklch(${(0.875 - lift).toFixed(3)} ${(0.075 * strength).toFixed(3)} ${hue})`;
}

export function familyColour(name: string, dark: boolean): string {
  const f = familyOf(name);
  return oklch(dark, f.hue, f.strength, f.lift);
}

const BASE_LIGHT = {
  background: "#fbfaf7",
  dim: "#efede8",
  dimInk: "#7b766e",
  hatch: "rgba(60,50,40,.34)",
  hatchOnStrong: "rgba(255,255,255,.6)",
  focusRing: "#4c3bbd",
  match: "#ffd84d",
};
const BASE_DARK = {
  background: "#151412",
  dim: "#262422",
  dimInk: "#8d867d",
  hatch: "rgba(235,225,215,.32)",
  hatchOnStrong: "rgba(10,20,40,.6)",
  focusRing: "#b3a7ff",
  match: "#e0b400",
};

type Tint = Pick<Family, "hue" | "strength" | "lift">;
const UNNAMED: Tint = { hue: 75, strength: 0.1 };
const MODULES: Tint[] = Array.from({ length: 12 }, (_, k) => ({ hue: k * 30, strength: 0.85 }));

interface Colours {
  palette: Palette;
  bucketOfFrame: Uint8Array;
}

/** Palettes that were made: there are a few for each profile, and making one looks at every frame. */
const made = new WeakMap<Frames, Map<string, Colours>>();

/** Bucket 0 is for the root, merged boxes and everything that should stay quiet. */
export function normalPalette(frames: Frames, mode: ColourMode, dark: boolean): Colours {
  let all = made.get(frames);
  if (!all) {
    all = new Map();
    made.set(frames, all);
  }
  const key = `${mode} ${dark}`;
  const colours = all.get(key) ?? paletteOf(frames, mode, dark);
  all.set(key, colours);
  return colours;
}

function paletteOf(frames: Frames, mode: ColourMode, dark: boolean): Colours {
  const base = dark ? BASE_DARK : BASE_LIGHT;
  const quiet = dark ? "#33302d" : "#e6e3dc";
  const fills = [quiet];
  const bucketOfFrame = new Uint8Array(frames.count);
  /** Three steps of each tint. */
  const bucketOf = new Map<Tint, number[]>();
  const own = mode === "plain" || mode === "self" ? { hue: 60, strength: 0.8 } : null;
  for (let f = 0; f < frames.count; f++) {
    const flags = frames.flags(f);
    if (flags & (FLAG_ROOT | FLAG_MERGED)) continue;
    // A small lift per name keeps neighbours of one family apart.
    const step = (frames.hash(f) >>> 8) % 3;
    const tint: Tint =
      flags & FLAG_UNSYMBOLISED
        ? UNNAMED
        : (own ??
          (mode === "module"
            ? MODULES[hashString(crateOf(frames.name(f), frames.module(f))) % MODULES.length]!
            : familyOf(frames.family(f))));
    let buckets = bucketOf.get(tint);
    if (!buckets) {
      buckets = [];
      bucketOf.set(tint, buckets);
    }
    buckets[step] ??= fills.push(oklch(dark, tint.hue, tint.strength, step * 0.02 - 0.02 + (tint.lift ?? 0))) - 1;
    bucketOfFrame[f] = buckets[step]!;
  }
  const ink = dark ? "#f3efe9" : "#1b1917";
  return { palette: { ...base, fills, inks: fills.map(() => ink), forced: false }, bucketOfFrame };
}

/** Heat steps for "by self cost": bucket 1 + step. */
export function selfPalette(dark: boolean): Palette {
  const base = dark ? BASE_DARK : BASE_LIGHT;
  const fills = [dark ? "#33302d" : "#e6e3dc"];
  for (let k = 0; k < 6; k++)
    fills.push(
      dark ? `oklch(${0.3 + k * 0.045} ${0.012 + k * 0.022} 50)` : `oklch(${0.94 - k * 0.045} ${0.012 + k * 0.022} 55)`,
    );
  const ink = dark ? "#f3efe9" : "#1b1917";
  return { ...base, fills, inks: fills.map(() => ink), forced: false };
}

export function diffPalette(dark: boolean): Palette {
  const base = dark ? BASE_DARK : BASE_LIGHT;
  return dark
    ? { ...base, fills: DIFF_DARK, inks: DIFF_INK_DARK, forced: false }
    : { ...base, fills: DIFF_LIGHT, inks: DIFF_INK_LIGHT, forced: false };
}

/** Borders, glyphs and hatches carry the meaning when the system owns the colours. */
export function forcedPalette(buckets: number): Palette {
  return {
    background: "Canvas",
    fills: new Array<string>(buckets).fill("Canvas"),
    inks: new Array<string>(buckets).fill("CanvasText"),
    dim: "Canvas",
    dimInk: "GrayText",
    hatch: "CanvasText",
    hatchOnStrong: "CanvasText",
    focusRing: "Highlight",
    match: "Highlight",
    forced: true,
  };
}
