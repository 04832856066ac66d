/** What width and colour mean right now. */
import { DIFF_DARK, DIFF_LIGHT, familyColour, familyLabel } from "../flame/palette";
import { sharesOf } from "../profile/known";
import { familyQuery } from "../profile/search";
import { setParams } from "../state/location";
import { isDark } from "../state/theme";
import * as fmt from "../ui/format";
import type { Model } from "./model";

const WIDTH_WORDS = {
  b: "Width is B; hatched frames are gone and keep their A width.",
  a: "Width is A.",
  union: "Width is the larger of A and B at each frame.",
  delta: "Width is the change in self cost; what did not change, or is within noise, vanishes.",
};

export function Legend({ model }: { model: Model }) {
  return model.diff.value ? <DiffLegend model={model} /> : <FamilyLegend model={model} />;
}

function DiffLegend({ model }: { model: Model }) {
  const scale = isDark.value ? DIFF_DARK : DIFF_LIGHT;
  return (
    <div class="legend" data-testid="legend">
      <span class="scale" aria-hidden="true">
        <span>less, ÷4</span>
        {scale.map((c) => (
          <Swatch key={c} colour={c} />
        ))}
        <span>×4, more</span>
      </span>
      <span>▲ grew ▽ shrank + new ▨ gone</span>
      <span>{WIDTH_WORDS[model.width.value]}</span>
      <span>Grey: no change, or within noise.</span>
      <label class="choice">
        <span>Ignore changes under</span>
        <select
          value={String(model.minEffect.value * 100)}
          data-testid="min-effect"
          onChange={(e) => setParams({ min: e.currentTarget.value === "0" ? null : e.currentTarget.value })}
        >
          {["0", "0.5", "1", "2", "5"].map((v) => (
            <option key={v} value={v}>
              {v} %
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}

/** Self cost by family, as one bar: where the time goes before any frame is read. A click highlights a family's functions. */
function FamilyLegend({ model }: { model: Model }) {
  if (model.colour.value !== "family")
    return <p class="legend">Width is {fmt.typeLabel(model.profile.value.header.type.name)}, callers above callees.</p>;
  // Of everything: what is hidden costs something too.
  const families = sharesOf(model.upright.value, model.frames.value);
  const query = model.query.value;
  const find = (name: string) => setParams({ q: query === familyQuery(name) ? null : familyQuery(name) });
  return (
    <div class="families" data-testid="legend">
      <div class="family-bar" aria-hidden="true">
        {families.map(([name, share]) => (
          <button
            key={name}
            type="button"
            tabIndex={-1}
            title={`${familyLabel(name)} ${fmt.percent(share)}`}
            class={query !== "" && query !== familyQuery(name) ? "is-dim" : ""}
            style={{ flexGrow: share, backgroundColor: familyColour(name, isDark.value) }}
            onClick={() => find(name)}
          />
        ))}
      </div>
      <div class="legend" role="group" aria-label="Cost by family">
        {families.map(([name, share]) => (
          <button
            key={name}
            type="button"
            class="legend-item"
            aria-pressed={query === familyQuery(name)}
            title={`Highlight ${familyLabel(name)} in the graph`}
            data-family={name}
            onClick={() => find(name)}
          >
            <Swatch colour={familyColour(name, isDark.value)} />
            {familyLabel(name)} <span class="num">{fmt.percent(share)}</span>
          </button>
        ))}
      </div>
    </div>
  );
}

function Swatch({ colour }: { colour: string }) {
  return <span class="swatch" style={{ backgroundColor: colour }} />;
}
