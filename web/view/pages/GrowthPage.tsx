/** `/growth`: what a service holds more of at the end of a range than at its start: growers, their course, and the graph. */
import { apiPath, getFlame, getJson } from "../api/client";
import type { Grower, GrowthAnswer, Life, Slope, TephraEvent, Timeline as TimelineData } from "../api/contract";
import { useResource } from "../api/resource";
import { Explorer } from "../explore/Explorer";
import { chooseFunction } from "../explore/sight";
import { CHANGE_MARK } from "../profile/diff";
import { here, href, setParams } from "../state/location";
import { readRange } from "../state/time";
import * as fmt from "../ui/format";
import { Name } from "../ui/Name";
import { PartialNote } from "../ui/PartialNote";
import { RangeChoice } from "../ui/RangeChoice";
import { Shell } from "../ui/Shell";
import { marksOf, Spark } from "../ui/Spark";
import { Empty, Failure, Loading, Progress } from "../ui/States";
import { Timeline } from "../ui/Timeline";
import { namesOf, Sentences } from "./Findings";
import { ExportMenu, LabelFilters, PinButton, ServiceSwitch } from "./parts";
import { detail, labelsOf, now, refresh } from "./selection";

const TYPES = ["inuse_space", "inuse_objects"];

const EXPORTS = [
  ["markdown", "Markdown summary"],
  ["svg", "SVG"],
  ["folded", "Folded, two columns"],
] as const;

export function GrowthPage() {
  const params = here.value.params;
  const service = params.get("service") ?? "";
  const type = params.get("type") ?? TYPES[0]!;
  const range = readRange(params.get("from") ?? "", params.get("until") ?? "", now.value);
  const common = { service, type, ...labelsOf(params) };
  const times = { from: Math.round(range.from), until: Math.round(range.until) };
  const ask = (path: string, query: Record<string, string | number>) =>
    service === "" ? null : apiPath(path, { ...common, ...query });
  const growth = useResource(ask("/api/v1/growth", times), (p, signal) => getJson<GrowthAnswer>(p, signal), service);
  const timeline = useResource(ask("/api/v1/timeline", times), (p, s) => getJson<TimelineData>(p, s), service);
  const { value: answer, error, loading } = growth.state.value;
  const ends = answer && {
    "a.from": answer.a.from,
    "a.until": answer.a.until,
    "b.from": answer.b.from,
    "b.until": answer.b.until,
  };
  const held = answer !== null && answer.empty === undefined;
  const diffPath = (format: string, filter: readonly string[] = []) =>
    apiPath("/api/v1/diff", { ...common, ...ends, ...detail(params), format, filter });
  const flame = useResource(held ? diffPath("flame") : null, getFlame, service);
  const { value: profile, error: flameError } = flame.state.value;

  return (
    <Shell title={service === "" ? "What grew" : `${service}: what grew`}>
      <section class="page" aria-label="What grew">
        <Progress on={loading || flame.state.value.loading} />
        <div class="page-head">
          <h1>
            <ServiceSwitch
              service={service}
              to={(name) => href("/growth", { service: name, type: params.get("type"), from: params.get("from") })}
            />
          </h1>
          <div class="segments" role="group" aria-label="Profile type" data-testid="types">
            {(TYPES.includes(type) ? TYPES : [...TYPES, type]).map((name) => (
              <button
                key={name}
                type="button"
                aria-pressed={name === type}
                data-type={name}
                onClick={() => setParams({ type: name === TYPES[0] ? null : name, z: null })}
              >
                {fmt.typeLabel(name)}
              </button>
            ))}
          </div>
          {service === "" ? null : <LabelFilters service={service} range={range} />}
          <div class="bar-end">
            <RangeChoice params={params} range={range} onChange={(from) => setParams({ from, until: null, z: null })} />
            <button type="button" class="button" onClick={refresh} data-testid="refresh">
              Refresh
            </button>
          </div>
        </div>
        {service === "" ? (
          <Empty title="Whose memory grew?">
            <p>Choose a service above, or open one and follow “What grew”.</p>
          </Empty>
        ) : (
          <>
            <Timeline
              data={withRestarts(timeline.state.value.value, answer, service)}
              context={range}
              a={answer ? answer.a : null}
              b={answer ? answer.b : null}
              loading={timeline.state.value.loading}
              onB={(r) => setParams({ from: r.from, until: r.until, z: null })}
              eventHref={(e) =>
                href(`/s/${encodeURIComponent(service)}`, { type, from: e.at - 900e3, until: e.at + 900e3 })
              }
            />
            <div class="range-line">
              <span class="strong num" data-testid="range-text">
                {fmt.range(range.from, range.until)}
              </span>
              {answer && held ? (
                <span class="facts-line" data-testid="growth-total">
                  <b class="num">{fmt.signed(answer.delta, answer.unit)}</b> ·{" "}
                  {fmt.signed(answer.per_hour, answer.unit)} an hour{answer.significant ? "" : " · within noise"}
                  {answer.since_restart ? (
                    <>
                      {" "}
                      · since the restart <b class="num">{slopeWords(answer.since_restart, answer.unit)}</b>
                    </>
                  ) : null}
                </span>
              ) : null}
              {answer ? (
                <span class="bar-end">
                  <a href={answer.diff} data-testid="growth-diff">
                    Compare A and B
                  </a>
                </span>
              ) : null}
            </div>
          </>
        )}
        {error ? <Failure error={error} retry={growth.retry} /> : null}
        {!answer && loading ? <Loading what="Merging the range and both of its ends" /> : null}
        {answer && !held ? (
          <Empty title={`${service} held nothing here`}>
            <p>{answer.empty}</p>
          </Empty>
        ) : null}
        <PartialNote partial={answer?.partial} />
        {answer && held ? (
          <div class="growth-findings">
            <Sentences
              sentences={answer.sentences}
              nameOf={namesOf(answer.growers)}
              pick={(frame) => pickName(answer, frame)}
            />
            <GrowerList
              growers={answer.growers}
              unit={answer.unit}
              events={withRestarts(timeline.state.value.value, answer, service)?.events ?? []}
            />
            <LifeTable lives={answer.lives} unit={answer.unit} />
          </div>
        ) : null}
        {flameError ? <Failure error={flameError} retry={flame.retry} /> : null}
        {profile && held ? (
          <Explorer
            profile={profile}
            loading={flame.state.value.loading}
            fixed={times}
            actions={(model) => (
              <>
                <ExportMenu name={`${service}-${type}-growth`} model={model} path={diffPath} formats={EXPORTS} />
                <PinButton fixed={times} />
              </>
            )}
          />
        ) : null}
      </section>
    </Shell>
  );
}

/** What happened, with the restarts that the windows tell of. */
function withRestarts(data: TimelineData | null, answer: GrowthAnswer | null, service: string): TimelineData | null {
  if (!data || !answer) return data;
  const restarts = answer.restarts.map(
    ([at, count]): TephraEvent => ({
      id: `restart ${at}`,
      at,
      kind: "restart",
      service,
      title: count === 1 ? "restart" : `${count} restarts`,
      labels: {},
    }),
  );
  return { ...data, events: [...data.events, ...restarts].sort((x, y) => x.at - y.at) };
}

/** `+400 MiB an hour (+380 MiB to +420 MiB)`. */
function slopeWords({ per_hour, low, high }: Slope, unit: string): string {
  return `${fmt.signed(per_hour, unit)} an hour (${fmt.signed(low, unit)} to ${fmt.signed(high, unit)})`;
}

/** One life says what the headline says. */
function LifeTable({ lives, unit }: { lives: readonly Life[]; unit: string }) {
  if (lives.length < 2) return null;
  return (
    <details class="lives" data-testid="lives">
      <summary>{fmt.plural(lives.length, "process", "processes")}, each with its own slope</summary>
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">Process</th>
            <th scope="col">There</th>
            <th scope="col" class="num">
              Grew, with its 95 % interval
            </th>
          </tr>
        </thead>
        <tbody>
          {lives.map((life) => (
            <tr key={`${life.instance} ${life.from}`}>
              <th scope="row">{life.instance}</th>
              <td>{fmt.range(life.from, life.until)}</td>
              <td class="num">{life.slope ? slopeWords(life.slope, unit) : "too short to tell"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

const COURSE = { steady: "steadily", uneven: "unevenly", unclear: "" };

function GrowerList({
  growers,
  unit,
  events,
}: {
  growers: readonly Grower[];
  unit: string;
  events: readonly TephraEvent[];
}) {
  if (growers.length === 0) return null;
  return (
    <ol class="growers" data-testid="growers">
      {growers.slice(0, 8).map((g) => {
        const values = g.points.map((p) => p[1]);
        const span = { from: g.points[0]?.[0] ?? 0, until: g.points.at(-1)?.[0] ?? 0 };
        return (
          <li
            key={`${g.module} ${g.name}`}
            class={g.delta > 0 ? "is-more" : "is-less"}
            data-name={g.name}
            data-trend={g.trend}
          >
            <Spark values={values} max={Math.max(...values, 1)} marks={marksOf(events, span)} />
            <span class="mover-mark" aria-hidden="true">
              {CHANGE_MARK[g.state]}
            </span>
            <button type="button" class="link mover-name" onClick={() => chooseFunction(g.name)}>
              <Name of={g.name} />
            </button>
            <span class="grower-note quiet num">
              <b class="mover-delta">{fmt.signed(g.delta, unit)}</b> · {fmt.value(g.a, unit)} → {fmt.value(g.b, unit)} ·{" "}
              {fmt.signed(g.per_hour, unit)} an hour
              {COURSE[g.trend] === "" ? "" : `, ${COURSE[g.trend]}`}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

/** Selects the function that a sentence speaks of, where it is among the growers. */
function pickName(answer: GrowthAnswer, frame: number): void {
  const found = answer.growers.find((g) => g.frame === frame);
  if (found) chooseFunction(found.name);
}
