/** Everything about the selected frame: where it is, what it costs, what it did, and what making it faster would give. */
import { familyColour, familyLabel } from "../flame/palette";
import { changeOf } from "../profile/diff";
import { FLAG_INLINED, FLAG_MERGED, FLAG_TRUNCATED, FLAG_UNSYMBOLISED } from "../profile/frames";
import { plainName } from "../profile/names";
import { remainingTotal } from "../profile/whatif";
import { setParams, splitList } from "../state/location";
import { isDark } from "../state/theme";
import * as fmt from "../ui/format";
import { breakable, Name } from "../ui/Name";
import { FunctionRequests } from "./FunctionRequests";
import { frameActions } from "./Menu";
import type { Model } from "./model";
import { changeWords, isSignificant } from "./words";

export function Details({ model }: { model: Model }) {
  const node = model.selected.value;
  if (node <= 0) return <Hint />;
  const tree = model.shown.value;
  const frames = model.frames.value;
  const frame = tree.frame[node]!;
  const name = frames.name(frame);
  const flags = frames.flags(frame);
  const file = frames.file(frame);
  const family = frames.family(frame);
  return (
    <section class="details" aria-label="Selected frame" data-testid="details">
      <header>
        <h2 data-testid="details-name">
          <Name of={name} />
        </h2>
        <button type="button" class="button icon" aria-label="Close details" onClick={() => model.select(-1)}>
          ✕
        </button>
      </header>
      {plainName(name) === name ? null : <p class="whole-name">{breakable(name)}</p>}
      <p class="quiet">
        {frames.module(frame) || "no module"}
        {file ? (
          <>
            {" · "}
            <code>
              {file}
              {frames.line(frame) ? `:${frames.line(frame)}` : ""}
            </code>
          </>
        ) : null}
        {flags & FLAG_INLINED ? " · inlined" : ""}
      </p>
      {flags & FLAG_UNSYMBOLISED ? (
        <p class="note">No symbols for this module yet, so the name is an address.</p>
      ) : null}
      {flags & FLAG_TRUNCATED ? <p class="note">The stack was cut here; callers above are missing.</p> : null}
      {flags & FLAG_MERGED ? (
        <p class="note">Small frames the collector merged. “Load every frame” shows them.</p>
      ) : null}
      {model.diff.value ? <Compared model={model} node={node} /> : <Costs model={model} node={node} />}
      <p class="family">
        <span class="swatch" style={{ backgroundColor: familyColour(family, isDark.value) }} />
        {familyLabel(family)}
      </p>
      <WhatIf model={model} name={name} />
      {model.requestsPath.value ? <FunctionRequests path={model.requestsPath.value(name)} /> : null}
      <div class="button-row">
        {frameActions(model, node).map(({ short, run }) =>
          short ? (
            <button key={short} type="button" class="button" onClick={run}>
              {short}
            </button>
          ) : null,
        )}
      </div>
    </section>
  );
}

function Hint() {
  return (
    <section class="details is-empty" aria-label="Selected frame" data-testid="details">
      <p class="quiet">
        Click a frame to see what it costs. Double click focuses it, right click offers more, <kbd>?</kbd> lists the
        keys.
      </p>
    </section>
  );
}

function Costs({ model, node }: { model: Model; node: number }) {
  const tree = model.shown.value;
  const scale = model.scale.value;
  const all = tree.totalB[0] || 1;
  const func = model.selectedFunc.value;
  const table = model.table.value;
  const caller = tree.totalB[tree.parent[node]!] || 1;
  const row = (label: string, v: number, id: string, here = false) => (
    <tr>
      <th scope="row">{label}</th>
      <td data-testid={id}>{fmt.value(v * scale.b, scale.unit)}</td>
      <td>{fmt.percent(v / all)}</td>
      <td>{here ? fmt.percent(v / caller) : ""}</td>
    </tr>
  );
  return (
    <table class="facts">
      <thead>
        <tr>
          <td />
          <td />
          <th scope="col">of all</th>
          <th scope="col">of caller</th>
        </tr>
      </thead>
      <tbody>
        {row("Here, with callees", tree.totalB[node]!, "details-total", true)}
        {row("Here, itself", tree.selfB[node]!, "details-self", true)}
        {func >= 0 ? row("Everywhere", table.totalB[func]!, "details-everywhere") : null}
        {func >= 0 ? row("Everywhere, itself", table.selfB[func]!, "details-everywhere-self") : null}
      </tbody>
    </table>
  );
}

function Compared({ model, node }: { model: Model; node: number }) {
  const tree = model.shown.value;
  const scale = model.scale.value;
  const { header } = model.profile.value;
  const real = isSignificant(model, tree, node);
  const line = (label: string, rawA: number, rawB: number) => {
    const [a, b] = [rawA * scale.a, rawB * scale.b];
    return (
      <tr>
        <th scope="row">{label}</th>
        <td>{fmt.bare(fmt.value(a, scale.unit))}</td>
        <td>{fmt.bare(fmt.value(b, scale.unit))}</td>
        <td>
          {fmt.shortSigned(b - a, scale.unit)}
          <span class="quiet under">{changeWords(a, b, real)}</span>
        </td>
      </tr>
    );
  };
  const func = model.selectedFunc.value;
  const table = model.table.value;
  const q = model.evidence.value?.[node] ?? 10_000;
  const [a, b] = [tree.totalA[node]! * scale.a, tree.totalB[node]! * scale.b];
  const samples = (raw: number, side: typeof header.a) =>
    fmt.count(side.total > 0 ? (raw * side.samples) / side.total : 0);
  return (
    <>
      <table class="facts">
        <thead>
          <tr>
            <td class="quiet">{scale.unit}</td>
            <th scope="col">A</th>
            <th scope="col">B</th>
            <th scope="col">Change</th>
          </tr>
        </thead>
        <tbody>
          {line("Here, with callees", tree.totalA[node]!, tree.totalB[node]!)}
          {line("Here, itself", tree.selfA[node]!, tree.selfB[node]!)}
          {func >= 0 ? line("Everywhere", table.totalA[func]!, table.totalB[func]!) : null}
        </tbody>
      </table>
      <p class={real ? "verdict is-real" : "verdict"} data-testid="details-verdict">
        {real
          ? `${{ grew: "More", shrank: "Less", new: "New", gone: "Gone", unchanged: "Different" }[changeOf(a, b)]}, and not by chance (false-discovery rate ${q < 1 ? "<0.01 %" : fmt.percent(q / 10_000)}).`
          : "Within noise: windows of one side differ from each other as much as the sides do."}{" "}
        <span class="quiet">
          {samples(tree.totalA[node]!, header.a)} vs {samples(tree.totalB[node]!, header.b!)} samples
        </span>
      </p>
    </>
  );
}

const FACTORS = [1.5, 2, 3, 10, Number.POSITIVE_INFINITY];

function WhatIf({ model, name }: { model: Model; name: string }) {
  const func = model.selectedFunc.value;
  if (func < 0) return null;
  const current = model.basket.value.find((s) => s.func === func)?.factor;
  const others = model.basket.value.filter((s) => s.func !== func);
  const tree = model.base.value;
  const total = tree.totalB[0] || 1;
  const effect = (factor: number) => remainingTotal(tree, model.frames.value, [{ func, factor }]) / total - 1;
  const shown = current ?? 2;
  const choose = (factor: number) => {
    const kept = splitList(model.basketList.value).filter((text) => text.slice(text.indexOf(":") + 1) !== name);
    const text = `${factor === Number.POSITIVE_INFINITY ? "inf" : factor}:${name}`;
    setParams({ wi: factor === current ? kept : [...kept, text] }, { replace: true });
  };
  return (
    <section class="what-if" aria-label="What if">
      <h3>What if it were faster?</h3>
      <div class="segments" role="group" aria-label="Speed-up">
        {FACTORS.map((f) => (
          <button key={f} type="button" aria-pressed={f === current} onClick={() => choose(f)}>
            {f === Number.POSITIVE_INFINITY ? "∞" : `${f}×`}
          </button>
        ))}
      </div>
      <p>
        {shown === Number.POSITIVE_INFINITY ? "Free" : `${shown}× faster`}: total{" "}
        <b class="num">{fmt.change(1, 1 + effect(shown))}</b>
        {others.length > 0 && model.remaining.value !== null
          ? `, with the basket ${fmt.change(1, model.remaining.value)}`
          : ""}
        <span class="quiet"> · cost, not latency; waiting is unaffected</span>
      </p>
    </section>
  );
}
