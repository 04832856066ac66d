/** An answer that is not about all of what was asked says so, wherever it is shown: only the newest part fits, or some of it is damaged. */
import type { Partial } from "../api/contract";
import * as fmt from "./format";

const REASONS: Record<string, string> = {
  time: "the query ran out of its time",
  windows: "the query would have read too many windows",
  size: "the answer outgrew its memory",
};

const NARROWER = "Choose a shorter range, or narrow it down with a label.";

const DAMAGED =
  "Some of what was stored here is damaged and left out: sums are too small. The status page says what to do.";

export function partialWords(partial: Partial, then = NARROWER): string {
  if (partial.reason === "damaged") return DAMAGED;
  const why = REASONS[partial.reason] ?? "a limit of the query was reached";
  const part = fmt.range(partial.covered_from, partial.covered_until);
  const words = `Only ${part} is in this, the newest part of what was asked: ${why}. ${then}`.trimEnd();
  return partial.damaged ? `${words} ${DAMAGED}` : words;
}

interface Props {
  partial?: Partial | undefined;
  /** "A: " or "B: " in a comparison. */
  who?: string;
  /** What to do about it. */
  then?: string;
}

export function PartialNote({ partial, who = "", then = NARROWER }: Props) {
  if (!partial) return null;
  return (
    <p class="note is-cut" role="status" data-testid="note-cut">
      {who}
      {partialWords(partial, then)}
    </p>
  );
}
