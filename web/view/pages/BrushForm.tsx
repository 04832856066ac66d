/** The rectangle of the map as numbers: what the mouse draws, for everybody else, and exactly. */
import { useSignal } from "@preact/signals";
import type { Brush } from "../state/chosen";
import { brushOfFields, FIELDS, type Fields, fieldsOf } from "./brush";

const LABELS: Record<keyof Fields, string> = {
  atLeast: "Took at least (ms)",
  below: "and less than (ms)",
  from: "From",
  until: "until",
};

interface Props {
  brush: Brush | null;
  /** The times that the map shows. */
  shown: readonly [from: number, until: number];
  onBrush(brush: Brush): void;
}

export function BrushForm({ brush, shown, onBrush }: Props) {
  const error = useSignal("");
  const fields = fieldsOf(brush);
  return (
    <details class="brush-form" data-testid="brush-form">
      <summary>Select by numbers</summary>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          const data = new FormData(e.currentTarget);
          const read = Object.fromEntries(FIELDS.map((name) => [name, String(data.get(name) ?? "")])) as unknown;
          const made = brushOfFields(read as Fields, shown);
          error.value = typeof made === "string" ? made : "";
          if (typeof made !== "string") onBrush(made);
        }}
        onInput={() => (error.value = "")}
      >
        {FIELDS.map((name) => (
          <label class="choice is-stacked" key={`${name} ${fields[name]}`}>
            <span>{LABELS[name]}</span>
            <input name={name} defaultValue={fields[name]} placeholder="any" />
          </label>
        ))}
        <button type="submit" class="button">
          Compare
        </button>
        {error.value ? (
          <p class="field-error" role="alert">
            {error.value}
          </p>
        ) : null}
      </form>
    </details>
  );
}
