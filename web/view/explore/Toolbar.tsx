/** The choices of width, order and colour. */
import { setParams } from "../state/location";
import { Choice } from "../ui/Choice";
import type { Model } from "./model";

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
