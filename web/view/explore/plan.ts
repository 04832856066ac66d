/** Colours, textures and labels of a tree's boxes: everything a paint needs that does not change with zoom or scroll. */
import type { GlyphWidths } from "../flame/labels";
import {
  type ColourMode,
  diffPalette,
  forcedPalette,
  normalPalette,
  type Palette,
  selfPalette,
} from "../flame/palette";
import { CHANGE_MARK, changeOf, Q_SIGNIFICANT, type Scale, STEP_NEUTRAL, stepOf } from "../profile/diff";
import { FLAG_ROOT, type Frames } from "../profile/frames";
import type { Layout } from "../profile/layout";
import { lastPart, plainName } from "../profile/names";
import type { Profile, Tree } from "../profile/tree";
import { forcedColours } from "../state/screen";
import { isDark } from "../state/theme";
import * as fmt from "../ui/format";

export interface Plan {
  palette: Palette;
  bucket: Uint8Array;
  texture: Uint8Array | null;
  label: (node: number, room: number, glyphs: GlyphWidths) => string;
}

const TEXTURE_GONE = 1;
const TEXTURE_NOISE = 2;

export function paintPlan(
  tree: Tree,
  layout: Layout,
  profile: Profile,
  colour: ColourMode,
  scale: Scale,
  q: Uint16Array | null,
  minEffect: number,
): Plan {
  const names = labelNames(profile.frames);
  const plan = q
    ? diffPlan(tree, scale, q, minEffect, names)
    : { ...plainPlan(tree, layout, profile, colour), texture: null, label: plainLabel(tree, profile, scale, names) };
  return forcedColours.value ? { ...plan, palette: forcedPalette(plan.palette.fills.length) } : plan;
}

function plainPlan(tree: Tree, layout: Layout, profile: Profile, colour: ColourMode): Pick<Plan, "palette" | "bucket"> {
  const bucket = new Uint8Array(tree.count);
  if (colour === "self") {
    for (let i = 1; i < tree.count; i++) {
      const share = tree.totalB[0]! > 0 ? tree.selfB[i]! / tree.totalB[0]! : 0;
      bucket[i] = share <= 0 ? 1 : 1 + Math.min(5, Math.max(0, Math.round(5 + Math.log10(share) * 2)));
    }
    return { palette: selfPalette(isDark.value), bucket };
  }
  const { palette, bucketOfFrame } = normalPalette(profile.frames, colour, isDark.value);
  for (let i = 0; i < tree.count; i++) if (layout.w[i]! > 0) bucket[i] = bucketOfFrame[tree.frame[i]!]!;
  return { palette, bucket };
}

function diffPlan(tree: Tree, scale: Scale, q: Uint16Array, minEffect: number, names: Names): Plan {
  const bucket = new Uint8Array(tree.count);
  const texture = new Uint8Array(tree.count);
  const floor = minEffect * Math.max((tree.totalA[0] ?? 0) * scale.a, (tree.totalB[0] ?? 0) * scale.b);
  for (let i = 0; i < tree.count; i++) {
    const a = tree.totalA[i]! * scale.a;
    const b = tree.totalB[i]! * scale.b;
    const shownChange = q[i]! <= Q_SIGNIFICANT && Math.abs(b - a) >= floor;
    bucket[i] = stepOf(a, b, shownChange);
    if (b <= 0 && a > 0) texture[i] = TEXTURE_GONE;
    else if (!shownChange && (a <= 0 || Math.abs(Math.log2(b / a)) > 0.4)) texture[i] = TEXTURE_NOISE;
  }
  const label = (node: number, room: number, glyphs: GlyphWidths): string => {
    const a = tree.totalA[node]! * scale.a;
    const b = tree.totalB[node]! * scale.b;
    const changed = bucket[node] !== STEP_NEUTRAL;
    const mark = changed ? `${CHANGE_MARK[changeOf(a, b)]} ` : "";
    const plain = names.fit(tree.frame[node]!, room - (mark ? 15 : 0), glyphs);
    if (!changed || room < 90) return plain === "" ? "" : mark + plain;
    const full = `${mark}${plain} ${fmt.shortSigned(b - a, scale.unit)}`;
    return glyphs.of(full) <= room ? full : mark + plain;
  };
  return { palette: diffPalette(isDark.value), bucket, texture, label };
}

function plainLabel(tree: Tree, profile: Profile, scale: Scale, names: Names): Plan["label"] {
  const total = fmt.value(tree.totalB[0]! * scale.b, scale.unit);
  return (node, room, glyphs) => {
    if (profile.frames.flags(tree.frame[node]!) & FLAG_ROOT || node === 0) return glyphs.fit(`all · ${total}`, room);
    return names.fit(tree.frame[node]!, room, glyphs);
  };
}

interface Names {
  /** The fullest form of a frame's name that has room. */
  fit(frame: number, room: number, glyphs: GlyphWidths): string;
}

function labelNames(frames: Frames): Names {
  const plain: (string | undefined)[] = new Array(frames.count);
  const widths = new Float32Array(frames.count);
  return {
    fit(frame, room, glyphs) {
      plain[frame] ??= plainName(frames.name(frame));
      widths[frame] ||= glyphs.of(plain[frame]!);
      return widths[frame]! <= room ? plain[frame]! : glyphs.fit(lastPart(plain[frame]!), room);
    },
  };
}
