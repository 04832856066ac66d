/** The answer to "why are these requests slow", shaped for reading: names of both sides, sentences, rows of the tables. Pure. */
import type { CompareAnswer, FunctionCost, RequestCost, RequestsSide, TypeCost } from "../api/contract";
import { plainName } from "../profile/names";
import type { Chosen } from "../state/chosen";
import * as fmt from "../ui/format";
import { cutAtNames } from "../ui/Name";
import { capital } from "../ui/States";
import { tookWords } from "./brush";
import { inOrder } from "./parts";

export interface SideNames {
  chosen: string;
  others: string;
  /** Where there is room. */
  othersInFull: string;
}

/** What both sides are called at the head of a column. */
export function sideNames(chosen: Chosen): SideNames {
  return "slowest" in chosen
    ? { chosen: `Slowest ${chosen.slowest}\u00a0%`, others: "Median", othersInFull: "Around the median" }
    : { chosen: "Selected", others: "Others", othersInFull: "All others" };
}

/** `31 requests, 412 ms and longer, on average 431 ms`. */
export function sideWords(side: RequestsSide): string {
  const parts = [fmt.plural(side.requests, "request")];
  if (side.min_us || side.max_us !== null) parts.push(tookWords(side.min_us, side.max_us));
  if (side.requests > 0) parts.push(`on average ${fmt.duration(side.mean_us / 1000)}`);
  return parts.join(", ");
}

/** A piece of a sentence: plain text, what the collector quotes, or a function by its whole name. */
export interface Piece {
  kind: "text" | "quote" | "function";
  text: string;
}

/** How a sentence may name a function, and its whole name. */
export type Named = Pick<FunctionCost, "name" | "full_name">;

/** A sentence cut at what it quotes in backticks and at the functions it names, quoted or not. */
export function pieces(sentence: string, functions: readonly Named[]): Piece[] {
  const whole = new Map<string, string>();
  for (const { name, full_name: full } of functions)
    for (const form of [name, plainName(full), full]) if (!whole.has(form)) whole.set(form, full);
  const parts = sentence.split("`");
  // A backtick without its twin is a sign like any other.
  if (parts.length % 2 === 0) parts.push(`${parts.splice(-2, 1)[0]}\`${parts.pop()}`);
  return parts.flatMap((text, i): Piece[] => {
    if (text === "") return [];
    if (i % 2 === 1) {
      const full = whole.get(text);
      return [full === undefined ? { kind: "quote", text } : { kind: "function", text: full }];
    }
    return cutAtNames(
      text,
      functions.map((f) => f.full_name),
    ).map((part) => (part.name === null ? { kind: "text", text: part.text } : { kind: "function", text: part.name }));
  });
}

/** Costs with what people look at first in front: CPU, then allocated bytes. */
export function costsInOrder(costs: readonly TypeCost[]): TypeCost[] {
  const order = inOrder(costs.map((cost) => cost.type));
  return [...costs].sort((x, y) => order.indexOf(x.type) - order.indexOf(y.type));
}

export interface CostRow {
  /** Whole, where it is a function. */
  name: string;
  family: string;
  isFunction: boolean;
  chosen: number;
  others: number;
  /** Of the largest value of its table, 0…1. */
  share: number;
  noise: boolean;
}

/** Functions and families of a cost, each with the largest difference first. Noise is what the rate of false discoveries does not allow. */
export function costRows(cost: TypeCost, rate: number): { functions: CostRow[]; families: CostRow[] } {
  const most = Math.max(...[...cost.functions, ...cost.families].map((c) => c.chosen_per_request), 1e-12);
  const row = (c: RequestCost, of: Pick<CostRow, "name" | "family" | "isFunction">): CostRow => ({
    ...of,
    chosen: c.chosen_per_request,
    others: c.others_per_request,
    share: Math.max(0, c.chosen_per_request) / most,
    noise: !cost.significant || c.q > rate,
  });
  return {
    functions: byDifference(cost.functions).map((c: FunctionCost) =>
      row(c, { name: c.full_name, family: c.family, isFunction: true }),
    ),
    families: byDifference(cost.families).map((c) => row(c, { name: c.name, family: c.name, isFunction: false })),
  };
}

function byDifference<T extends RequestCost>(costs: readonly T[]): T[] {
  const size = (c: T) => Math.abs(c.chosen_per_request - c.others_per_request);
  return [...costs].sort((x, y) => size(y) - size(x));
}

/** `+290 ms`, and by how much where that can be said: `+290 ms, ×15.5`. */
export function differenceWords(chosen: number, others: number, unit: string): string {
  const by = fmt.signed(chosen - others, unit);
  const times = chosen / others;
  return others > 0 && times >= TIMES_FROM ? `${by}, ×${fmt.digits(Number(times.toPrecision(2)))}` : by;
}

/** Below it, a difference says more than a multiple. */
const TIMES_FROM = 1.5;

/** On what all of it rests, in a line. */
export function evidenceWords(answer: CompareAnswer): string {
  const { test, false_discovery_rate } = answer.evidence;
  const side = ({ requests, examples }: RequestsSide) =>
    examples === requests ? fmt.count(requests) : `${fmt.count(examples)} examples of ${fmt.count(requests)}`;
  const sentence = capital(test.trim()).replace(/[.\s]*$/, ".");
  const rate = `At most ${fmt.percent(false_discovery_rate)} of what is called a difference is expected to be chance.`;
  return `${sentence} ${rate} Requests: ${side(answer.chosen)} against ${side(answer.others)}.`;
}
