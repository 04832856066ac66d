/** `/diff`: two selections of one service side by side: sentences, movers, and the union flame graph. */
import { useEffect } from "preact/hooks";
import { apiPath, getFlame, getJson } from "../api/client";
import type { FlameHeader, Side, TephraEvent, Timeline as TimelineData } from "../api/contract";
import { useResource } from "../api/resource";
import { Explorer } from "../explore/Explorer";
import { chooseFunction } from "../explore/sight";
import { go, here, href, setParams } from "../state/location";
import { aroundDeploy, baselineOf, type Range } from "../state/time";
import { Choice } from "../ui/Choice";
import * as fmt from "../ui/format";
import { ownsKeys } from "../ui/keyboard";
import { PartialNote } from "../ui/PartialNote";
import { Shell } from "../ui/Shell";
import { Empty, Failure, Loading, Progress } from "../ui/States";
import { Timeline } from "../ui/Timeline";
import { MoverList, Sentences } from "./Findings";
import { ExportMenu, LabelFilters, PinButton, ServiceSwitch, TypeSwitch } from "./parts";
import { contextOf, diffPath, labelsOf, now, sidesOf } from "./selection";
import { nameSides } from "./sides";

const EXPORTS = [
  ["markdown", "Markdown summary"],
  ["svg", "SVG"],
  ["folded", "Folded, two columns"],
  ["json", "JSON"],
] as const;

export function DiffPage() {
  const params = here.value.params;
  const service = params.get("service") ?? "";
  const type = params.get("type") ?? "cpu";
  const sides = sidesOf(params, now.value);
  const names = nameSides(params, sides);
  const context = contextOf(params, [sides.a, sides.b], now.value);
  const path = (format: string, filters: readonly string[] = []) => diffPath(params, sides, format, filters);
  const flame = useResource(service === "" ? null : path("flame"), getFlame, service);
  const timelinePath =
    service === ""
      ? null
      : apiPath("/api/v1/timeline", {
          service,
          type,
          ...labelsOf(params),
          from: Math.round(context.from),
          until: Math.round(context.until),
        });
  const timeline = useResource(timelinePath, (p, signal) => getJson<TimelineData>(p, signal), service);
  const { value: profile, error, loading } = flame.state.value;
  const line = timeline.state.value;
  const setSides = (next: Partial<{ a: Range; b: Range }>) => {
    const { a, b } = { ...sides, ...next };
    setParams({
      ...times("a", a),
      ...times("b", b),
      vs: null,
      from: null,
      until: null,
      "tl.from": Math.round(context.from),
      "tl.until": Math.round(context.until),
      z: null,
    });
  };
  const swap = () => go(href("/diff", swapped(params, sides)));
  useEffect(() => {
    const listen = (e: KeyboardEvent) => {
      if (e.key === "r" && !e.ctrlKey && !e.metaKey && !e.altKey && !ownsKeys(e.target)) swap();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  });
  const deploys = (line.value?.events ?? []).filter((e) => e.kind === "deploy");
  const lastDeploy = deploys.filter((e) => e.at < now.value).at(-1);
  const preset = (vs: "prev" | "1d" | "1w") =>
    setParams({
      ...times("a", baselineOf(sides.b, vs)),
      ...times("b", sides.b),
      vs: null,
      "tl.from": null,
      "tl.until": null,
      z: null,
    });
  const around = (event: TephraEvent) => {
    const { a, b } = aroundDeploy(event.at, sides.b, now.value);
    return { ...times("a", a), ...times("b", b) };
  };

  return (
    <Shell title={service === "" ? "Compare" : `${service}: ${names.a} against ${names.b}`}>
      <section class="page" aria-label="Compare">
        <Progress on={loading} />
        <div class="page-head">
          <h1>
            <ServiceSwitch
              service={service}
              to={(name) => href("/diff", { service: name, type: params.get("type") })}
            />
          </h1>
          {service === "" ? null : <TypeSwitch service={service} value={type} />}
          {service === "" ? null : <LabelFilters service={service} range={context} />}
          <div class="bar-end">
            <Choice
              label="Basis"
              testId="basis"
              value={params.get("basis") ?? "cores"}
              options={[
                ["cores", rateWord(type, profile?.header.type.kind)],
                ["share", "share of total"],
                ["instance", "per instance"],
                ["total", "total"],
              ]}
              onChange={(b) => setParams({ basis: b === "cores" ? null : b, z: null })}
            />
          </div>
        </div>
        {service === "" ? (
          <Empty title="What should be compared?">
            <p>Choose a service above, or open one and follow “Compare with”.</p>
          </Empty>
        ) : (
          <>
            <Timeline
              data={line.value}
              context={context}
              a={sides.a}
              b={sides.b}
              loading={line.loading}
              onA={(a) => setSides({ a })}
              onB={(b) => setSides({ b })}
              eventHref={(e) => href("/diff", { ...Object.fromEntries(params), ...around(e) })}
            />
            <PartialNote partial={line.value?.partial} who="Timeline: " />
            <div class="sides">
              <SideBar
                name="A"
                words={names.a}
                range={sides.a}
                side={profile?.header.a}
                service={service}
                to={sideLink(params, "a", sides.a)}
              />
              <SideBar
                name="B"
                words={names.b}
                range={sides.b}
                side={profile?.header.b}
                service={service}
                to={sideLink(params, "b", sides.b)}
              />
              <div class="side-tools">
                <span class="quiet">A is</span>
                <div class="segments" role="group" aria-label="Baseline" data-testid="baselines">
                  {(["prev", "1d", "1w"] as const).map((vs) => (
                    <button
                      key={vs}
                      type="button"
                      aria-pressed={same(sides.a, baselineOf(sides.b, vs))}
                      onClick={() => preset(vs)}
                    >
                      {{ prev: "just before", "1d": "a day ago", "1w": "a week ago" }[vs]}
                    </button>
                  ))}
                  {lastDeploy ? (
                    <button
                      type="button"
                      aria-pressed={same(sides.a, aroundDeploy(lastDeploy.at, sides.b, now.value).a)}
                      onClick={() => setParams({ ...around(lastDeploy), z: null })}
                    >
                      before deploy
                    </button>
                  ) : null}
                </div>
                <button type="button" class="button" onClick={swap} data-testid="swap">
                  Swap
                </button>
              </div>
            </div>
          </>
        )}
        {error ? <Failure error={error} retry={flame.retry} /> : null}
        {!profile && loading ? <Loading what="Merging both sides" /> : null}
        {profile ? <Findings header={profile.header} /> : null}
        {profile && profile.header.a.total + (profile.header.b?.total ?? 0) > 0 ? (
          <Explorer
            profile={profile}
            loading={loading}
            fixed={{ ...times("a", sides.a), ...times("b", sides.b) }}
            requestsPath={(name) =>
              apiPath("/api/v1/functions/requests", {
                service: params.get("b.service") ?? service,
                type: params.get("b.type") ?? type,
                ...labelsOf(params),
                ...labelsOf(params, "b."),
                from: Math.round(sides.b.from),
                until: Math.round(sides.b.until),
                function: name,
              })
            }
            actions={(model) => (
              <>
                <ExportMenu name={`${service}-${type}-diff`} model={model} path={path} formats={EXPORTS} />
                <PinButton fixed={{ ...times("a", sides.a), ...times("b", sides.b) }} />
              </>
            )}
          />
        ) : null}
        {profile && profile.header.a.total + (profile.header.b?.total ?? 0) === 0 ? (
          <Empty title="Neither side has data">
            <p>{profile.header.empty ?? "Nothing was received in either range."}</p>
          </Empty>
        ) : null}
      </section>
    </Shell>
  );
}

function SideBar({
  name,
  words,
  range,
  side,
  service,
  to,
}: {
  name: "A" | "B";
  /** What tells it apart from the other. */
  words: string;
  range: Range;
  side: Side | undefined;
  service: string;
  to: string;
}) {
  const prefix = `${name.toLowerCase()}.`;
  return (
    <div class={`side is-${name.toLowerCase()}`} data-testid={`side-${name.toLowerCase()}`}>
      <b class="side-name">{name}</b>
      {words === fmt.range(range.from, range.until) ? null : <b data-testid={`name-${name.toLowerCase()}`}>{words}</b>}
      <a href={to} class="num" title={`Open ${name} alone`}>
        {fmt.range(range.from, range.until)}
      </a>
      {side ? (
        <span class="num">
          <b>{fmt.value(side.value, side.unit)}</b>{" "}
          <span class="quiet">{side.total === 0 ? "no data" : fmt.plural(side.samples, "sample")}</span>
        </span>
      ) : null}
      <LabelFilters service={service} prefix={prefix} range={range} />
    </div>
  );
}

function Findings({ header }: { header: FlameHeader }) {
  const movers = header.movers ?? [];
  return (
    <div class="findings" data-testid="findings">
      <Sentences
        sentences={header.summary ?? []}
        nameOf={(frame) => nameOf(header, frame)}
        pick={(frame) => pickFrame(header, frame)}
      />
      {movers.length > 0 ? (
        <MoverList
          movers={movers.slice(0, 6)}
          unit={header.b?.unit ?? header.a.unit}
          pick={(m) => pickFrame(header, m.frame)}
        />
      ) : null}
    </div>
  );
}

function nameOf(header: FlameHeader, frame: number): string | undefined {
  const tuple = header.frames[frame];
  return tuple && header.names[tuple[0]];
}

/** Selects a function in the graph. The path is not known here, so the explorer looks for its widest place. */
function pickFrame(header: FlameHeader, frame: number): void {
  const tuple = header.frames[frame];
  if (tuple) chooseFunction(header.names[tuple[0]]!);
}

function times(side: "a" | "b", range: Range): Record<string, number> {
  return { [`${side}.from`]: Math.round(range.from), [`${side}.until`]: Math.round(range.until) };
}

function same(x: Range, y: Range): boolean {
  return Math.abs(x.from - y.from) < 2000 && Math.abs(x.until - y.until) < 2000;
}

function sideLink(params: URLSearchParams, side: "a" | "b", range: Range): string {
  const service = params.get(`${side}.service`) ?? params.get("service") ?? "";
  return href(`/s/${encodeURIComponent(service)}`, {
    type: params.get("type"),
    ...labelsOf(params),
    ...labelsOf(params, `${side}.`),
    from: Math.round(range.from),
    until: Math.round(range.until),
  });
}

/** The same comparison the other way around. Pure. */
export function swapped(params: URLSearchParams, sides: { a: Range; b: Range }): URLSearchParams {
  const out = new URLSearchParams();
  for (const [key, value] of params) {
    if (/^[ab]\.(from|until)$|^(vs|from|until)$/.test(key)) continue;
    out.append(key.startsWith("a.") ? `b.${key.slice(2)}` : key.startsWith("b.") ? `a.${key.slice(2)}` : key, value);
  }
  for (const [k, v] of Object.entries({ ...times("a", sides.b), ...times("b", sides.a) })) out.set(k, String(v));
  return out;
}

/** What values are by default: a gauge's are no rate. */
function rateWord(type: string, kind: string | undefined): string {
  if (kind === "gauge") return "amount";
  return type === "cpu" || type === "cpu_time" ? "cores" : "per second";
}
