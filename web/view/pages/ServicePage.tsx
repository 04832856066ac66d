/** `/s/{service}`: one service over time, and the profile of what is selected there. */
import { apiPath, getFlame, getJson } from "../api/client";
import type { FlameHeader, Service, TephraEvent, Timeline as TimelineData } from "../api/contract";
import { useResource } from "../api/resource";
import { Explorer } from "../explore/Explorer";
import { here, href, setParams } from "../state/location";
import { isNarrow } from "../state/screen";
import { aroundDeploy, baselineOf, earlier, type Range, readRange } from "../state/time";
import * as fmt from "../ui/format";
import { PartialNote } from "../ui/PartialNote";
import { Popover } from "../ui/Popover";
import { RangeChoice } from "../ui/RangeChoice";
import { Shell } from "../ui/Shell";
import { Empty, Failure, Loading, Progress } from "../ui/States";
import { Timeline } from "../ui/Timeline";
import { isLive, LiveButton } from "./Live";
import { NoteButton } from "./NoteButton";
import { ExportMenu, LabelFilters, PinButton, ServiceSwitch, SplitBy, TypeSwitch } from "./parts";
import { Requests } from "./Requests";
import { Split } from "./Split";
import { compareParams, contextOf, detail, labelsOf, now, refresh } from "./selection";

const EXPORTS = [
  ["pprof", "pprof"],
  ["folded", "Folded stacks"],
  ["svg", "SVG"],
  ["speedscope", "speedscope"],
  ["json", "JSON"],
] as const;

export function ServicePage({ service }: { service: string }) {
  const params = here.value.params;
  const type = params.get("type") ?? "cpu";
  const by = params.get("by") ?? "";
  const range = readRange(params.get("from") ?? "", params.get("until") ?? "", now.value);
  const context = contextOf(params, [range], now.value);
  const common = { service, type, ...labelsOf(params), trace: params.get("trace") };
  const flamePath = (format: string, filter: readonly string[] = []) =>
    apiPath("/api/v1/flamegraph", {
      ...common,
      from: Math.round(range.from),
      until: Math.round(range.until),
      ...detail(params),
      format,
      filter,
    });
  const timelinePath = apiPath("/api/v1/timeline", {
    ...common,
    from: Math.round(context.from),
    until: Math.round(context.until),
    by,
  });
  const flame = useResource(flamePath("flame"), getFlame, service);
  const timeline = useResource(timelinePath, (path, signal) => getJson<TimelineData>(path, signal), service);
  const { value: profile, error, loading } = flame.state.value;
  const isGauge = profile?.header.type.kind === "gauge";
  const line = timeline.state.value;
  const narrowed = params.has("tl.from");
  const select = (r: Range) =>
    setParams({
      from: r.from,
      until: r.until,
      "tl.from": Math.round(context.from),
      "tl.until": Math.round(context.until),
      z: null,
    });
  const link = (vs: "1d" | "1w") => href("/diff", compareParams(service, params, baselineOf(range, vs), range));
  const services = useResource("/api/v1/services", (path, signal) => getJson<{ services: Service[] }>(path, signal));
  const known = services.state.value.value?.services.find((s) => s.name === service);
  const deploys = (line.value?.events ?? []).filter((e) => e.kind === "deploy").map((e) => e.at);
  const before = earlier(range, known?.first_seen ?? 0, deploys, now.value);

  return (
    <Shell title={service}>
      <section class="page" aria-label={service}>
        <Progress on={loading && !isLive()} />
        <div class="page-head">
          <h1>
            <ServiceSwitch service={service} to={(name) => href(`/s/${encodeURIComponent(name)}`, keep(params))} />
          </h1>
          <TypeSwitch service={service} value={type} />
          <LabelFilters service={service} range={context} />
          <div class="bar-end">
            <SplitBy service={service} range={context} value={by} />
            <RangeChoice
              params={params}
              range={range}
              narrowed={narrowed}
              onChange={(from) => setParams({ from, until: null, "tl.from": null, "tl.until": null, z: null })}
            />
            <span class="hide-narrow">
              <NoteButton service={service} at={narrowed ? range.from : range.until} onAdded={timeline.retry} />
            </span>
            <LiveButton range={range} fixed={narrowed || !isFollowing(params)} />
            <button type="button" class="button hide-narrow" onClick={refresh} data-testid="refresh">
              Refresh
            </button>
          </div>
        </div>
        <Timeline
          data={line.value}
          context={context}
          b={narrowed ? range : null}
          loading={line.loading && !isLive()}
          onB={select}
          eventHref={(e) => deployLink(service, params, e, range)}
          legend={
            line.value && by !== "" ? (
              <Split service={service} by={by} data={line.value} context={context} range={range} />
            ) : undefined
          }
        />
        <PartialNote partial={line.value?.partial} who="Timeline: " />
        <div class="range-line">
          <span class="strong num" data-testid="range-text">
            {fmt.range(range.from, range.until)}
          </span>
          {profile ? <Facts header={profile.header} /> : null}
          {narrowed ? (
            <button
              type="button"
              class="link"
              onClick={() =>
                setParams({
                  from: params.get("tl.from"),
                  until: params.get("tl.until"),
                  "tl.from": null,
                  "tl.until": null,
                  z: null,
                })
              }
            >
              Select all of it
            </button>
          ) : null}
          <Comparisons
            links={[
              [href("/diff", compareParams(service, params, before.a, before.b)), before.word, "compare-prev"],
              [link("1d"), "a day ago", "compare-1d"],
              [link("1w"), "a week ago", "compare-1w"],
            ]}
            growth={[
              growthLink(service, params, isGauge ? type : null),
              isGauge ? "What grew" : "What grew in memory",
              "growth",
            ]}
          />
        </div>
        {error ? <Failure error={error} retry={flame.retry} /> : null}
        {!profile && loading ? (
          <Loading what={`Merging ${fmt.duration(range.until - range.from)} of ${service}`} />
        ) : null}
        {profile && profile.header.a.total === 0 && !error ? (
          <NoData header={profile.header} service={service} />
        ) : null}
        {profile && profile.header.a.total > 0 ? (
          <Explorer
            profile={profile}
            loading={loading && !isLive()}
            fixed={{ from: range.from, until: range.until }}
            requestsPath={(name) =>
              apiPath("/api/v1/functions/requests", {
                ...common,
                from: Math.round(range.from),
                until: Math.round(range.until),
                function: name,
              })
            }
            actions={(model) => (
              <>
                <ExportMenu name={`${service}-${type}`} model={model} path={flamePath} formats={EXPORTS} />
                <PinButton fixed={{ from: range.from, until: range.until }} />
              </>
            )}
            extra={{ name: "requests", label: "Requests", content: <Requests service={service} range={range} /> }}
          />
        ) : null}
      </section>
    </Shell>
  );
}

/** Does the range end now, whenever that is? */
function isFollowing(params: URLSearchParams): boolean {
  return /^$|^now/.test(params.get("from") ?? "") && /^$|^now/.test(params.get("until") ?? "");
}

type Way = readonly [href: string, text: string, testId: string];

/** What the range can be compared with: links, on a phone behind one button. */
function Comparisons({ links, growth }: { links: readonly Way[]; growth: Way }) {
  const way = ([to, text, testId]: Way) => (
    <a key={testId} href={to} data-testid={testId}>
      {text}
    </a>
  );
  if (isNarrow.value)
    return (
      <span class="bar-end">
        <Popover label="Compare" testId="compare">
          <ul class="pick-list">
            <li class="pick-head">Compare with</li>
            {[...links, growth].map((one) => (
              <li key={one[2]}>{way(one)}</li>
            ))}
          </ul>
        </Popover>
      </span>
    );
  return (
    <span class="bar-end">
      <span>Compare with</span>
      {[...links, growth].map(way)}
    </span>
  );
}

function Facts({ header }: { header: FlameHeader }) {
  const side = header.a;
  return (
    <span class="facts-line" data-testid="facts">
      <b class="num">{fmt.value(side.value, side.unit)}</b>
      {header.type.kind === "gauge" ? " on average" : ""} · {fmt.plural(side.samples, "sample")} ·{" "}
      {fmt.plural(side.instances, "instance")}
    </span>
  );
}

function NoData({ header, service }: { header: FlameHeader; service: string }) {
  const params = here.value.params;
  const filters = [...params.keys()].filter((k) => k.startsWith("label."));
  return (
    <Empty title={`No ${fmt.typeLabel(header.type.name)} profile of ${service} here`}>
      <p>{header.empty ?? "Nothing was received for this selection."}</p>
      <div class="button-row">
        {filters.map((k) => (
          <button key={k} type="button" class="button" onClick={() => setParams({ [k]: null })}>
            Drop {k.slice(6)} = {params.getAll(k).join(", ")}
          </button>
        ))}
        <button
          type="button"
          class="button"
          onClick={() => setParams({ from: "now-24h", until: null, "tl.from": null, "tl.until": null })}
        >
          Look at the last 24 hours
        </button>
        <a class="button" href="/status">
          See its agents
        </a>
      </div>
    </Empty>
  );
}

function deployLink(service: string, params: URLSearchParams, event: TephraEvent, range: Range): string {
  const { a, b } = aroundDeploy(event.at, range, now.value);
  return href("/diff", {
    service,
    type: params.get("type"),
    ...labelsOf(params),
    "a.from": Math.round(a.from),
    "a.until": Math.round(a.until),
    "b.from": Math.round(b.from),
    "b.until": Math.round(b.until),
  });
}

/** What grew over the range that is shown, in the type that is shown if it can grow. */
function growthLink(service: string, params: URLSearchParams, type: string | null): string {
  return href("/growth", {
    service,
    type: type === "inuse_space" ? null : type,
    ...labelsOf(params),
    from: params.get("from"),
    until: params.get("until"),
  });
}

/** What stays when the service changes. */
function keep(params: URLSearchParams): Record<string, string | null> {
  return {
    type: params.get("type"),
    from: params.get("from"),
    until: params.get("until"),
    view: params.get("view"),
    mirror: params.get("mirror"),
  };
}
