/** What the words on the pages mean, a click away from where they are used. */
const ID = "words";

const WORDS: readonly [string, string][] = [
  ["core, mcore", "One CPU kept busy; a thousandth of that. 250 mcores are a quarter of a CPU."],
  ["self, total", "What a function costs itself; the same with everything it calls."],
  ["% of all, % of caller", "Its part of everything shown; its part of what the function above it costs."],
  ["pp", "Percentage points: a share that goes from 10 % to 14 % grew by 4 pp, which is 40 %."],
  [
    "sample",
    "One look at a running thread, 99 times for each second of CPU, or at one allocation of many. Counts are estimates.",
  ],
  ["window", "Ten seconds of one instance. Windows of one side show how much it differs by itself."],
  [
    "within noise",
    "The sides differ by no more than windows of one side do among themselves. Nothing shows that it is a change.",
  ],
  [
    "false-discovery rate",
    "Of changes as clear as this one, the part that chance alone would show. Up to 5 % counts as a change.",
  ],
  ["new, gone", "On one side only, and in so many samples that chance does not explain it."],
  ["family", "The kind of work, by reviewed rules over names: the nearest named function to the leaf owns the cost."],
  [
    "runtimes and servers",
    "Frames that only lead to your own code. Hidden, their own cost goes to their caller, and totals stay.",
  ],
  ["bytes in use", "Live memory at a moment, not summed over time: an average over the range."],
  [
    "what if",
    "Amdahl's law on the cost: what is left if a function took a part of its time. It says nothing of waiting.",
  ],
];

/** Opens the glossary. */
export function showWords(): void {
  const sheet = document.getElementById(ID) as HTMLDialogElement | null;
  if (!sheet?.open) sheet?.showModal();
}

/** The way to the glossary. */
export function WordsLink() {
  return (
    <button type="button" class="link words-link" data-testid="words" onClick={showWords}>
      What do these words mean?
    </button>
  );
}

export function Glossary() {
  return (
    <dialog id={ID} class="sheet" aria-label="Words">
      <form method="dialog">
        <h2>Words</h2>
        <dl class="words">
          {WORDS.map(([word, means]) => (
            <div key={word}>
              <dt>{word}</dt>
              <dd>{means}</dd>
            </div>
          ))}
        </dl>
        <button type="submit" class="button">
          Close
        </button>
      </form>
    </dialog>
  );
}
