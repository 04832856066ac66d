/** Folded stacks of a tree as it is shown, filters and all: `main;handle;parse 12`, in a comparison with both sides. */
import type { Frames } from "./frames";
import type { Tree } from "./tree";

/** One line a stack that costs something by itself, in the type's unit. */
export function foldedStacks(tree: Tree, frames: Frames, diff: boolean): string {
  const path: string[] = [];
  let out = "";
  for (let i = 0; i < tree.count; i++) {
    const depth = tree.depth[i]!;
    path.length = Math.max(0, depth - 1);
    // The root is no function: what it costs by itself belongs to frames that are hidden.
    if (i > 0) path.push(frames.name(tree.frame[i]!).replaceAll(";", ":"));
    const [a, b] = [tree.selfA[i]!, tree.selfB[i]!];
    if (a <= 0 && b <= 0) continue;
    const stack = path.length === 0 ? "(hidden)" : path.join(";");
    out += diff ? `${stack} ${a} ${b}\n` : `${stack} ${b}\n`;
  }
  return out;
}
