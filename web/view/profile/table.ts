/** Functions with self and total cost. Recursion counts once: a call below a call of the same function adds no total. */
import type { Frames } from "./frames";
import type { Tree } from "./tree";

export interface FunctionTable {
  /** Functions that occur, in no order. */
  funcs: Uint32Array;
  /** All indexed by function id. */
  selfA: Float64Array;
  selfB: Float64Array;
  totalA: Float64Array;
  totalB: Float64Array;
}

export function functionTable(tree: Tree, frames: Frames): FunctionTable {
  const n = frames.funcCount;
  const table = { selfA: f64(n), selfB: f64(n), totalA: f64(n), totalB: f64(n) };
  const covered = new Uint32Array(n);
  const seen = new Uint8Array(n);
  const funcs: number[] = [];
  for (let i = 1; i < tree.count; i++) {
    const func = frames.func[tree.frame[i]!]!;
    if (!seen[func]) {
      seen[func] = 1;
      funcs.push(func);
    }
    table.selfA[func]! += tree.selfA[i]!;
    table.selfB[func]! += tree.selfB[i]!;
    if (i < covered[func]!) continue;
    table.totalA[func]! += tree.totalA[i]!;
    table.totalB[func]! += tree.totalB[i]!;
    covered[func] = tree.end[i]!;
  }
  return { funcs: Uint32Array.from(funcs), ...table };
}

const f64 = (n: number) => new Float64Array(n);
