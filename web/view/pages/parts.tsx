/** Controls that several pages share: service, type, labels, export, pin. */
import { useSignal } from "@preact/signals";
import { apiPath, getJson, postJson } from "../api/client";
import type { Pin, ProfileType, Service } from "../api/contract";
import { useResource } from "../api/resource";
import { copyLink } from "../explore/keys";
import type { Model } from "../explore/model";
import { pictureOf } from "../flame/picture";
import { go, here, href, setParams } from "../state/location";
import { isNarrow } from "../state/screen";
import { Choice } from "../ui/Choice";
import * as fmt from "../ui/format";
import { Popover } from "../ui/Popover";
import { copy, say } from "../ui/toast";

const DEFAULT_TYPES = ["cpu", "alloc_space", "inuse_space"];

/** The types a service has, as one row of buttons. */
export function TypeSwitch({ service, value, param = "type" }: { service: string; value: string; param?: string }) {
  const types = useResource(`/api/v1/profile-types?service=${encodeURIComponent(service)}`, (path, signal) =>
    getJson<{ types: ProfileType[] }>(path, signal),
  );
  const names = types.state.value.value?.types.map((t) => t.name) ?? DEFAULT_TYPES;
  const shown = inOrder(names.includes(value) ? names : [...names, value]);
  const choose = (name: string) => setParams({ [param]: name === "cpu" ? null : name, z: null });
  if (isNarrow.value)
    return (
      <Choice
        label="Profile type"
        testId="types"
        value={value}
        options={shown.map((name) => [name, fmt.typeLabel(name)] as const)}
        onChange={choose}
      />
    );
  return (
    <div class="segments" role="group" aria-label="Profile type" data-testid="types">
      {shown.map((name) => (
        <button key={name} type="button" aria-pressed={name === value} data-type={name} onClick={() => choose(name)}>
          {fmt.typeLabel(name)}
        </button>
      ))}
    </div>
  );
}

/** What types people look at first; others follow by name. */
const ORDER = ["cpu", "cpu_time", "wall", "alloc_space", "alloc_objects", "inuse_space", "inuse_objects"];

/** Types as they are offered: CPU first. Pure. */
export function inOrder(names: readonly string[]): string[] {
  const rank = (name: string) => (ORDER.indexOf(name) + ORDER.length + 1) % (ORDER.length + 1);
  return [...names].sort((x, y) => rank(x) - rank(y) || (x < y ? -1 : 1));
}

/** The service as the page's title; a list hangs below it. */
export function ServiceSwitch({ service, to }: { service: string; to(name: string): string }) {
  const services = useResource("/api/v1/services", (path, signal) => getJson<{ services: Service[] }>(path, signal));
  const names = services.state.value.value?.services.map((s) => s.name) ?? [];
  const shown = names.includes(service) || service === "" ? names : [service, ...names];
  return (
    <label class="title-select">
      <span class="off-screen">Service</span>
      <select value={service} data-testid="service" onChange={(e) => go(to(e.currentTarget.value))}>
        {service === "" ? <option value="">Choose a service</option> : null}
        {shown.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

interface FilterProps {
  service: string;
  /** `""`, `"a."` or `"b."`. */
  prefix?: string;
  range: { from: number; until: number };
}

/** By which label the timeline is split. */
export function SplitBy({ service, range, value }: Omit<FilterProps, "prefix"> & { value: string }) {
  const labels = useLabels(service, range);
  const names = value === "" || labels.includes(value) ? labels : [...labels, value];
  return (
    <Choice
      label="Split by"
      testId="by"
      value={value}
      options={[["", "no label"] as const, ...names.map((name) => [name, name] as const)]}
      onChange={(by) => setParams({ by })}
    />
  );
}

function useLabels(service: string, range: { from: number; until: number }): string[] {
  const path = apiPath("/api/v1/labels", { service, from: Math.round(range.from), until: Math.round(range.until) });
  const labels = useResource(path, (p, signal) => getJson<{ labels: string[] }>(p, signal));
  return labels.state.value.value?.labels ?? [];
}

/** Label filters as chips, with a list of what there is to choose. */
export function LabelFilters({ service, prefix = "", range }: FilterProps) {
  const params = here.value.params;
  const name = useSignal("");
  const window = `service=${encodeURIComponent(service)}&from=${Math.round(range.from)}&until=${Math.round(range.until)}`;
  const labels = useLabels(service, range);
  const values = useResource(
    name.value === "" ? null : `/api/v1/labels/${encodeURIComponent(name.value)}/values?${window}`,
    (path, signal) => getJson<{ values: string[] }>(path, signal),
  );
  const chosen = [...params].filter(([k]) => k.startsWith(`${prefix}label.`));
  const key = (label: string) => `${prefix}label.${label}`;
  return (
    <div class="filters" data-testid={`filters${prefix === "" ? "" : `-${prefix[0]}`}`}>
      {chosen.map(([k, v]) => (
        <span class="chip" key={`${k}=${v}`}>
          {k.slice(prefix.length + 6)} = <b>{v}</b>
          <button
            type="button"
            aria-label={`Remove ${k} = ${v}`}
            onClick={() => setParams({ [k]: params.getAll(k).filter((x) => x !== v), z: null })}
          >
            ✕
          </button>
        </span>
      ))}
      <Popover label="+ Filter" align="start" testId={`add-filter${prefix === "" ? "" : `-${prefix[0]}`}`}>
        <label class="choice is-stacked">
          <span>Label</span>
          <select value={name.value} onChange={(e) => (name.value = e.currentTarget.value)}>
            <option value="">Choose…</option>
            {labels.map((l) => (
              <option key={l}>{l}</option>
            ))}
          </select>
        </label>
        <ul class="pick-list">
          {(name.value === "" ? [] : (values.state.value.value?.values ?? [])).map((v) => (
            <li key={v}>
              <button
                type="button"
                onClick={(e) => {
                  e.currentTarget.closest("details")?.removeAttribute("open");
                  const k = key(name.peek());
                  setParams({ [k]: [...params.getAll(k).filter((x) => x !== v), v], z: null });
                }}
              >
                {v}
              </button>
            </li>
          ))}
        </ul>
      </Popover>
    </div>
  );
}

/** Downloads of what is shown, filters and all, and of everything; and the same request for scripts. */
export function ExportMenu({
  name,
  model,
  path,
  formats,
}: {
  /** Of the files, without an ending. */
  name: string;
  model: Model;
  path(format: string, filters: readonly string[]): string;
  formats: readonly (readonly [string, string])[];
}) {
  const filters = model.filters.value;
  const list = (filters: readonly string[], group: string) =>
    formats.map(([format, label]) => (
      <li key={`${group} ${format}`}>
        <a href={path(format, filters)} download={fileName(name, format)} data-format={format} data-group={group}>
          {label}
        </a>
      </li>
    ));
  return (
    <Popover label="Export" testId="export">
      <ul class="pick-list">
        {filters.length > 0 ? <li class="pick-head">As shown, with the filters</li> : null}
        {list(filters, "shown")}
        <li>
          <button type="button" data-format="png" onClick={() => savePicture(model, fileName(name, "png"), name)}>
            Picture (PNG)
          </button>
        </li>
        <li>
          <button
            type="button"
            onClick={() => copy(`curl '${location.origin}${path("json", filters).replaceAll("'", "%27")}'`, "Command")}
          >
            Copy as curl
          </button>
        </li>
        <li>
          <button type="button" onClick={() => copyLink(model)}>
            Copy link
          </button>
        </li>
        {filters.length > 0 ? <li class="pick-head">Everything, without the filters</li> : null}
        {filters.length > 0 ? list([], "all") : null}
      </ul>
    </Popover>
  );
}

const ENDINGS: Record<string, string> = {
  pprof: "pb.gz",
  folded: "folded",
  svg: "svg",
  speedscope: "speedscope.json",
  json: "json",
  markdown: "md",
};

/** What a download is called: `checkout-cpu.json`. Pure. */
export function fileName(name: string, format: string): string {
  return `${name.replace(/[^\w.-]+/g, "-").slice(0, 100)}.${ENDINGS[format] ?? format}`;
}

/** Saves the graph as it is drawn, zoom aside. */
function savePicture(model: Model, file: string, name: string): void {
  const { a, b } = model.profile.value.header;
  const words = [
    b ? `${fmt.range(a.from, a.until)} against ${fmt.range(b.from, b.until)}` : fmt.range(a.from, a.until),
    b
      ? `${fmt.value(a.value, a.unit)} → ${fmt.value(b.value, b.unit)}`
      : `${fmt.value(a.value, a.unit)}, ${fmt.plural(a.samples, "sample")}`,
    ...model.filters.value.map((text) => text.replace("@frameworks", "runtimes and servers")),
  ];
  pictureOf(model.input.value, name, words.join(" · ")).then(
    (blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    },
    (cause: Error) => say(cause.message),
  );
}

/** Keeps this view: a short link whose data retention cannot delete. */
export function PinButton({ fixed }: { fixed: Record<string, number> }) {
  const state = useSignal<{ pin?: Pin; error?: string }>({});
  const { pin, error } = state.value;
  return (
    <Popover label="Pin" testId="pin">
      {pin ? (
        <p>
          Pinned: <a href={pin.url}>{pin.url}</a>
          {pin.expires ? <span class="quiet"> until {fmt.date(pin.expires)}</span> : null}{" "}
          <button type="button" class="link" onClick={() => copy(location.origin + pin.url, "Link")}>
            Copy link
          </button>
        </p>
      ) : (
        <form
          class="pin-form"
          onSubmit={(e) => {
            e.preventDefault();
            const note = String(new FormData(e.currentTarget).get("note") ?? "");
            const params = new URLSearchParams(here.peek().params);
            for (const [k, v] of Object.entries(fixed)) params.set(k, String(Math.round(v)));
            postJson<Pin>("/api/v1/pins", { url: href(here.peek().path, params), note: note || undefined }).then(
              (made) => (state.value = { pin: made }),
              (cause: Error) => (state.value = { error: cause.message }),
            );
          }}
        >
          <p class="quiet">A short link to this view; its data is kept with it.</p>
          <input name="note" placeholder="Note (optional)" aria-label="Note" maxLength={200} />
          <button type="submit" class="button primary">
            Make link
          </button>
          {error ? <p class="field-error">{error}</p> : null}
        </form>
      )}
    </Popover>
  );
}
