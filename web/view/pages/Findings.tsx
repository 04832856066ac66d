/** What changed, in words and as a ranked list. */
import type { Mover, Sentence } from "../api/contract";
import { CHANGE_MARK, Q_SIGNIFICANT } from "../profile/diff";
import * as fmt from "../ui/format";
import { cutAtNames, Name } from "../ui/Name";

interface SentencesProps {
  sentences: readonly Sentence[];
  /** Name of a frame that a sentence speaks of. */
  nameOf(frame: number): string | undefined;
  pick?(frame: number): void;
}

export function Sentences({ sentences, nameOf, pick }: SentencesProps) {
  if (sentences.length === 0) return null;
  return (
    <ul class="sentences" data-testid="sentences">
      {sentences.map((s) => (
        <li key={s.text} class={`is-${s.kind}`}>
          <Worded text={s.text} names={s.frames.map((frame) => nameOf(frame) ?? "")} />
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

/** The collector's words, with the functions in them as people say them. */
export function Worded({ text, names }: { text: string; names: readonly string[] }) {
  return (
    <>
      {cutAtNames(text, names).map((part, i) =>
        part.name === null ? <span key={`${i}`}>{part.text}</span> : <Name key={`${i}`} of={part.name} />,
      )}
    </>
  );
}

/** Names of the frames in a list of movers. */
export function namesOf(movers: readonly Mover[]): (frame: number) => string | undefined {
  return (frame) => movers.find((m) => m.frame === frame)?.name;
}

/** False-discovery rate up to which a change is called one. */
const SIGNIFICANT = Q_SIGNIFICANT / 10_000;
const STATE_WORD = { grew: "grew", shrank: "shrank", new: "new", gone: "gone", unchanged: "unchanged" };

export function MoverList({
  movers,
  unit,
  pick,
  to,
}: {
  movers: readonly Mover[];
  unit: string;
  /** Shows the function on this page; */
  pick?(mover: Mover): void;
  /** or where it can be seen. */
  to?(mover: Mover): string;
}) {
  const most = Math.max(...movers.map((m) => Math.abs(m.delta)), 1e-12);
  return (
    <ol class="movers" data-testid="movers">
      {movers.map((m) => {
        const more = m.delta > 0;
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
            <span class="mover-delta num">{fmt.signed(m.delta, unit).replace(/ cores?$/, "")}</span>
            <span class="mover-bar" aria-hidden="true">
              <span style={{ width: `${Math.max(1, (Math.abs(m.delta) / most) * 100)}%` }} />
            </span>
            {pick ? (
              <button type="button" class="link mover-name" onClick={() => pick(m)}>
                <Name of={m.name} />
              </button>
            ) : to ? (
              <a class="mover-name" href={to(m)}>
                <Name of={m.name} />
              </a>
            ) : (
              <span class="mover-name">
                <Name of={m.name} />
              </span>
            )}
            <span class="mover-note quiet">
              {m.q <= SIGNIFICANT ? STATE_WORD[m.state] : "within noise"} · {fmt.value(m.a, unit)} →{" "}
              {fmt.value(m.b, unit)}
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
