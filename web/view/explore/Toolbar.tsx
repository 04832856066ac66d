/** Transforms in force as chips, and the choices of width, order and colour. */
import { plainName } from "../profile/names";
import { setParams } from "../state/location";
import { Choice } from "../ui/Choice";
import * as fmt from "../ui/format";
import type { Model } from "./model";

const KIND_WORD = { with: "only with", without: "without", hide: "hidden" };

export function Chips({ model }: { model: Model }) {
  const transforms = model.transforms.value;
  const remaining = model.remaining.value;
  const towers = model.whole.value.count > model.own.value.count;
  if (!towers && transforms.length === 0 && remaining === null) return null;
  return (
    <div class="chips" data-testid="chips">
      {towers ? <FrameworksChip model={model} /> : null}
      {transforms.map((t) => (
        <span class="chip" key={`${t.kind}:${t.pattern}`}>
          <b>{KIND_WORD[t.kind]}</b> <code title={plainPattern(t.pattern)}>{plainName(plainPattern(t.pattern))}</code>
          <button
            type="button"
            aria-label={`Remove ${KIND_WORD[t.kind]} ${t.pattern}`}
            onClick={() => model.dropTransform(t)}
          >
            ✕
          </button>
        </span>
      ))}
      {transforms.length > 0 ? (
        <button type="button" class="link" onClick={() => setParams({ t: null, z: null })}>
          Clear all
        </button>
      ) : null}
      {remaining !== null ? (
        <span class="chip whatif" data-testid="whatif">
          <b>What if</b> total {fmt.change(1, remaining)} (
          {fmt.signed((remaining - 1) * model.base.value.totalB[0]! * model.scale.value.b, model.scale.value.unit)})
          with {fmt.plural(model.basket.value.length, "speed-up")}
          <button type="button" aria-label="Empty the what-if basket" onClick={() => setParams({ wi: null })}>
            ✕
          </button>
        </span>
      ) : null}
    </div>
  );
}

/** Says that the frames that only lead to the program's own code are hidden, and takes them back; or offers to hide them. */
function FrameworksChip({ model }: { model: Model }) {
  if (model.frameworks.value)
    return (
      <button
        type="button"
        class="button small is-offer"
        data-testid="frameworks"
        title="Frames that only lead to your own code (t)"
        onClick={() => model.showFrameworks(false)}
      >
        Hide runtimes and servers
      </button>
    );
  return (
    <span class="chip" data-testid="frameworks" title="Frames that only lead to your own code: the cost stays">
      <b>hidden</b> runtimes and servers
      <button
        type="button"
        aria-label="Show runtimes and servers"
        title="Show them (t)"
        onClick={() => model.showFrameworks(true)}
      >
        ✕
      </button>
    </span>
  );
}

/** The name in an exact pattern, as it was clicked. */
function plainPattern(pattern: string): string {
  const exact = /^\/\^(.*)\$\/$/.exec(pattern);
  return exact ? exact[1]!.replace(/\\(.)/g, "$1") : pattern;
}

export function DisplayOptions({ model }: { model: Model }) {
  const view = model.view.value;
  if (view === "table" || view === "requests") return null;
  const diff = model.diff.value;
  return (
    <>
      {diff ? (
        <Choice
          label="Width"
          testId="width"
          value={model.width.value}
          options={[
            ["b", "B + gone"],
            ["a", "A"],
            ["union", "Larger of both"],
            ["delta", "Change only"],
          ]}
          onChange={(w) => setParams({ w: w === "b" ? null : w, z: null })}
        />
      ) : (
        <Choice
          label="Colour"
          testId="colour"
          value={model.colour.value}
          options={[
            ["family", "Bottleneck family"],
            ["module", "Crate"],
            ["self", "Self cost"],
            ["plain", "One colour"],
          ]}
          onChange={(c) => setParams({ color: c === "family" ? null : c })}
        />
      )}
      <Choice
        label="Order"
        minor
        testId="order"
        value={model.sorted.value ? "weight" : "name"}
        options={[
          ["weight", "Heaviest first"],
          ["name", "By name"],
        ]}
        onChange={(o) => setParams({ order: (o === "weight") === !diff ? null : o, z: null })}
      />
    </>
  );
}
