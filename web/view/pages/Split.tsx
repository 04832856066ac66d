/** A service split by a label: a small chart for each value, on one scale. Two of them that are picked are compared. */
import { useSignal } from "@preact/signals";
import type { Series, Timeline } from "../api/contract";
import { go, here, href, setParams } from "../state/location";
import type { Range } from "../state/time";
import * as fmt from "../ui/format";
import { marksOf, Spark } from "../ui/Spark";
import { compareParams } from "./selection";

interface Props {
  service: string;
  /** The label it is split by. */
  by: string;
  data: Timeline;
  /** Of the timeline. */
  context: Range;
  /** What is selected in it. */
  range: Range;
}

export function Split({ service, by, data, context, range }: Props) {
  const first = useSignal<string | null>(null);
  const params = here.value.params;
  const most = Math.max(1e-9, ...data.series.flatMap((s) => s.points.map((p) => p[1] ?? 0)));
  const marks = marksOf(data.events, context);
  const pick = (value: string) => {
    if (first.value === null) first.value = value;
    else if (first.value === value) first.value = null;
    else go(splitLink(service, params, by, range, first.value, value));
  };
  const picked = data.series.some((s) => s.label === first.value) ? first.value : null;
  return (
    <div class="split" data-testid="split">
      <p class="quiet" aria-live="polite">
        {picked === null ? `Pick two to compare them by ${by}.` : `A is ${picked}. Pick B.`}
      </p>
      <ul>
        {data.series.map((s, i) => {
          // The rest is many, and what has no value cannot be asked for.
          const canPick = !s.rest && s.label !== "";
          const name = s.rest ? "the rest" : s.label || `no ${by}`;
          return (
            <li key={s.label} class={`hue-${s.rest ? "rest" : i % 8}${picked === s.label ? " is-picked" : ""}`}>
              <button
                type="button"
                class="split-pick"
                disabled={!canPick}
                aria-pressed={picked === s.label}
                data-value={s.label}
                onClick={() => pick(s.label)}
              >
                <span class="split-name">
                  <span class="swatch" />
                  {picked === s.label ? <b>A</b> : null} {name}
                </span>
                <span class="num strong">{levelWords(s, range, data.unit)}</span>
                <Spark values={s.points.map((p) => p[1])} max={most} marks={marks} />
              </button>
              {canPick ? (
                <button
                  type="button"
                  class="link"
                  aria-label={`Only ${by} ${s.label}`}
                  onClick={() => setParams({ [`label.${by}`]: s.label, by: null, z: null })}
                >
                  Only this
                </button>
              ) : null}
            </li>
          );
        })}
      </ul>
    </div>
  );
}

function levelWords(series: Series, range: Range, unit: string): string {
  const level = levelIn(series, range);
  return level === null ? "no data" : fmt.value(level, unit);
}

/** Its mean over a range; null where it has nothing. Pure. */
export function levelIn(series: Series, range: Range): number | null {
  const known = series.points.flatMap(([at, v]) => (v !== null && at >= range.from && at < range.until ? [v] : []));
  return known.length === 0 ? null : known.reduce((sum, v) => sum + v, 0) / known.length;
}

/** The comparison of two values of a label over one range. Pure. */
export function splitLink(
  service: string,
  params: URLSearchParams,
  by: string,
  range: Range,
  a: string,
  b: string,
): string {
  const common = compareParams(service, params, range, range);
  delete common[`label.${by}`];
  return href("/diff", { ...common, [`a.label.${by}`]: a, [`b.label.${by}`]: b });
}
