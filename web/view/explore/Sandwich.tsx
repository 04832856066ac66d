/** One function in the middle: who calls it above, what it calls below. */
import { useComputed } from "@preact/signals";
import type { Tree } from "../profile/tree";
import { setParams } from "../state/location";
import * as fmt from "../ui/format";
import { Name } from "../ui/Name";
import { FlamePane } from "./FlamePane";
import type { Model } from "./model";

const NOTHING = -1;

export function Sandwich({ model }: { model: Model }) {
  const up = useComputed(() => model.halfInput(model.halves.value?.callers ?? model.shown.value, true));
  const down = useComputed(() => model.halfInput(model.halves.value?.callees ?? model.shown.value, false));
  const halves = model.halves.value;
  const none = useComputed(() => NOTHING);
  if (!halves) return <p class="empty-line">There is no function to look at.</p>;
  const { func } = halves;
  const frames = model.frames.value;
  const name = frames.name(frames.frameOfFunc[func]!);
  const { totalB, selfB } = model.table.value;
  const scale = model.scale.value;
  const pivotOn = (tree: Tree, node: number) => {
    if (node > 0) setParams({ pivot: frames.name(tree.frame[node]!), z: null });
  };
  return (
    <div class="sandwich" data-testid="sandwich">
      <div class="sandwich-title">
        <h2>
          <Name of={name} />
        </h2>
        <span class="quiet num">
          total {fmt.value(totalB[func]! * scale.b, scale.unit)} · self {fmt.value(selfB[func]! * scale.b, scale.unit)}{" "}
          · {fmt.percent(totalB[func]! / (model.base.value.totalB[0] || 1))}
        </span>
      </div>
      <p class="sandwich-label">Callers</p>
      <FlamePane
        model={model}
        input={up}
        title={`Callers of ${name}`}
        testId="callers"
        selected={none}
        maxRows={14}
        onSelect={(node) => node > 0 && model.selectFunction(frames.func[up.value.tree.frame[node]!]!)}
        onFocus={(node) => pivotOn(up.value.tree, node)}
      />
      <p class="sandwich-label">Callees</p>
      <FlamePane
        model={model}
        input={down}
        title={`Callees of ${name}`}
        testId="callees"
        selected={none}
        maxRows={18}
        onSelect={(node) => node > 0 && model.selectFunction(frames.func[down.value.tree.frame[node]!]!)}
        onFocus={(node) => pivotOn(down.value.tree, node)}
      />
      <p class="quiet">Double click a frame to put it in the middle.</p>
    </div>
  );
}
