/** What changed, in words and as a ranked list. */
import type { Mover, Sentence } from "../api/contract";
import { breakable } from "../explore/Details";
import { tidyName } from "../flame/labels";
import { CHANGE_MARK } from "../profile/diff";
import * as fmt from "../ui/format";

export function Sentences({ sentences, pick }: { sentences: readonly Sentence[]; pick?(frame: number): void }) {
  if (sentences.length === 0) return null;
  return (
    <ul class="sentences" data-testid="sentences">
      {sentences.map((s) => (
        <li key={s.text} class={`is-${s.kind}`}>
          {s.text}
          {pick && s.frames.length > 0 && s.kind !== "headline" ? (
            <>
              {" "}
              <button type="button" class="link" onClick={() => pick(s.frames[0]!)}>
                show
              </button>
            </>
          ) : null}
        </li>
      ))}
    </ul>
  );
}

const STATE_WORD = { grew: "grew", shrank: "shrank", new: "new", gone: "gone", unchanged: "unchanged" };

export function MoverList({
  movers,
  unit,
  pick,
}: {
  movers: readonly Mover[];
  unit: string;
  pick?(mover: Mover): void;
}) {
  const most = Math.max(...movers.map((m) => Math.abs(m.delta)), 1e-12);
  return (
    <ol class="movers" data-testid="movers">
      {movers.map((m) => {
        const more = m.delta > 0;
        const name = tidyName(m.name);
        return (
          <li
            key={`${m.module} ${m.name}`}
            class={more ? "is-more" : "is-less"}
            data-name={m.name}
            data-state={m.state}
          >
            <span class="mover-mark" aria-hidden="true">
              {CHANGE_MARK[m.state]}
            </span>
            <span class="mover-delta num">{fmt.shortSigned(m.delta, unit)}</span>
            <span class="mover-bar" aria-hidden="true">
              <span style={{ width: `${Math.max(1, (Math.abs(m.delta) / most) * 100)}%` }} />
            </span>
            {pick ? (
              <button type="button" class="link mover-name" title={m.name} onClick={() => pick(m)}>
                {breakable(name)}
              </button>
            ) : (
              <span class="mover-name" title={m.name}>
                {breakable(name)}
              </span>
            )}
            <span class="mover-note quiet">
              {STATE_WORD[m.state]} · {fmt.value(m.a, unit)} → {fmt.value(m.b, unit)}
              {Math.abs(m.share_of_change) >= 0.01
                ? ` · ${fmt.percent(Math.abs(m.share_of_change))} of all ${more ? "increase" : "decrease"}`
                : ""}
            </span>
          </li>
        );
      })}
    </ol>
  );
}
