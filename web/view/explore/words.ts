/** One node in words: the tooltip's line, and the sentence a screen reader speaks. */
import { changeOf, Q_SIGNIFICANT } from "../profile/diff";
import { childrenOf, type Tree } from "../profile/tree";
import * as fmt from "../ui/format";
import type { Model } from "./model";

/** Total, share and, in a comparison, what became of it. */
export function totalsLine(model: Model, tree: Tree, node: number): string {
  const scale = model.scale.value;
  const b = tree.totalB[node]! * scale.b;
  const shareB = tree.totalB[0]! > 0 ? tree.totalB[node]! / tree.totalB[0]! : 0;
  if (!model.diff.value) {
    const self = tree.selfB[node]! * scale.b;
    const own = tree.selfB[node]! > 0 ? ` · self ${fmt.value(self, scale.unit)}` : "";
    const parent = tree.parent[node]!;
    const ofCaller =
      parent > 0 ? ` · ${fmt.percent(tree.totalB[node]! / (tree.totalB[parent] || 1))} of its caller` : "";
    return `${fmt.value(b, scale.unit)} · ${fmt.percent(shareB)} of all${ofCaller}${own}`;
  }
  const a = tree.totalA[node]! * scale.a;
  return `${fmt.value(a, scale.unit)} → ${fmt.value(b, scale.unit)} · ${fmt.signed(b - a, scale.unit)} (${changeWord(model, tree, node)})`;
}

export function isSignificant(model: Model, tree: Tree, node: number): boolean {
  const q = tree === model.shown.value ? model.evidence.value : tree.q;
  return q !== null && q[node]! <= Q_SIGNIFICANT;
}

/** What became of it: `+32 %`; `new` and `gone` only where chance does not explain them. */
export function changeWord(model: Model, tree: Tree, node: number): string {
  const scale = model.scale.value;
  const [a, b] = [tree.totalA[node]! * scale.a, tree.totalB[node]! * scale.b];
  return changeWords(a, b, isSignificant(model, tree, node));
}

/** The same of two values. Pure. */
export function changeWords(a: number, b: number, significant: boolean): string {
  if (significant) return fmt.change(a, b);
  return a > 0 && b > 0 ? `${fmt.change(a, b)}, within noise` : "within noise";
}

export function sentenceOf(model: Model, tree: Tree, node: number): string {
  if (node >= tree.count) return "";
  const frames = model.frames.value;
  const scale = model.scale.value;
  const name = node === 0 ? "all" : frames.name(tree.frame[node]!);
  const b = tree.totalB[node]! * scale.b;
  const parts = [
    name,
    fmt.value(b, scale.unit),
    fmt.percent(tree.totalB[0]! > 0 ? tree.totalB[node]! / tree.totalB[0]! : 0),
  ];
  if (model.diff.value) {
    const a = tree.totalA[node]! * scale.a;
    const significant = isSignificant(model, tree, node);
    const state = significant ? changeOf(a, b) : a < b ? "grew" : a > b ? "shrank" : "unchanged";
    const words = { grew: "up by", shrank: "down by", new: "new,", gone: "gone, was", unchanged: "unchanged" };
    parts.push(state === "unchanged" ? "unchanged" : `${words[state]} ${fmt.value(Math.abs(b - a), scale.unit)}`);
    parts.push(significant ? "significant" : "within noise");
  }
  parts.push(`depth ${tree.depth[node]}`);
  const kids = childrenOf(tree, node).length;
  parts.push(kids === 1 ? "1 child" : `${kids} children`);
  return parts.join(", ");
}
