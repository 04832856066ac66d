/** The way from the root to the focus; each step leads back to it. */
import { plainName } from "../profile/names";
import { pathOf } from "../profile/tree";
import type { Model } from "./model";

/** Longer paths show their ends. */
const STEPS_MAX = 6;

export function Breadcrumb({ model }: { model: Model }) {
  const focus = model.focus.value;
  if (focus <= 0) return null;
  const tree = model.shown.value;
  const path = pathOf(tree, focus);
  const hidden = path.length > STEPS_MAX ? path.length - STEPS_MAX : 0;
  return (
    <nav class="breadcrumb" aria-label="Focused path" data-testid="breadcrumb">
      <button type="button" class="link" onClick={() => model.focusOn(0)}>
        all
      </button>
      {hidden > 0 ? <span class="quiet">… {hidden} frames …</span> : null}
      {path.slice(hidden).map((node) => (
        <button
          key={node}
          type="button"
          class="link"
          aria-current={node === focus ? "true" : undefined}
          title={model.frames.value.name(tree.frame[node]!)}
          onClick={() => model.focusOn(node)}
        >
          {plainName(model.frames.value.name(tree.frame[node]!))}
        </button>
      ))}
      <button type="button" class="button small" onClick={() => model.focusOn(0)} aria-label="Leave focus">
        ✕
      </button>
    </nav>
  );
}
