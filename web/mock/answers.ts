/** The stand-in's answers. `service=empty`, `few`, `cut`, `broken` and `unsymbolised` show the other states. */
import type {
  AlertAnswer,
  FlameJson,
  FunctionAnswer,
  GrowthAnswer,
  Mover,
  ProfileType,
  Sentence,
  Service,
  Side,
  StatusAnswer,
  TephraEvent,
  Timeline,
  TraceAnswer,
} from "../view/api/contract";
import { compare } from "./compare.ts";
import { encodeFlame } from "./encode.ts";
import { largeProfile } from "./large.ts";
import { flameOf, moversOf } from "./profile.ts";
import { type StackCost, seeded, shopStacks } from "./shop.ts";

export interface Answer {
  status: number;
  type: string;
  body: string | ArrayBuffer;
}

const TYPES: Record<string, ProfileType> = {
  cpu: { name: "cpu", unit: "nanoseconds", kind: "counter", period: 10_101_010 },
  alloc_space: { name: "alloc_space", unit: "bytes", kind: "counter", period: 524_288 },
  alloc_objects: { name: "alloc_objects", unit: "count", kind: "counter", period: 1 },
  inuse_space: { name: "inuse_space", unit: "bytes", kind: "gauge", period: 524_288 },
};
const MIN = 60e3;
/** The deploy happened this long before now. */
const DEPLOY_AGO = 22 * MIN;
const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";

export function answerFor(method: string, url: URL): Answer | null {
  const p = url.searchParams;
  const path = url.pathname;
  const service = p.get("service") ?? "checkout";
  if (service === "broken" && path.startsWith("/api/v1/"))
    return json(
      {
        code: "unavailable",
        message: "the store did not answer within 10 s",
        hint: "wait for the disk to recover; see /status",
      },
      503,
    );
  if (path === "/api/v1/services") return json({ services: process.env.TEPHRA_MOCK === "empty" ? [] : services(p) });
  if (path === "/api/v1/profile-types") return json({ types: Object.values(TYPES) });
  if (path === "/api/v1/labels") return json({ labels: ["instance", "version", "zone"] });
  const values = /^\/api\/v1\/labels\/(\w+)\/values$/.exec(path);
  if (values)
    return json({
      values:
        values[1] === "version"
          ? ["4f2c1", "9ab07"]
          : values[1] === "zone"
            ? ["eu-1", "eu-2"]
            : ["checkout-0", "checkout-1"],
    });
  if (path === "/api/v1/timeline") return json(timeline(p));
  if (path === "/api/v1/flamegraph" && service === "large") {
    const [from, until] = [ms(p.get("from"), Date.now() - 60 * MIN), ms(p.get("until"), Date.now())];
    return flame(
      largeProfile(TYPES.cpu!, (total) => sideOf(TYPES.cpu!, from, until, total)),
      p,
    );
  }
  if (path === "/api/v1/flamegraph") return flame(single(service, p.get("type") ?? "cpu", p), p);
  if (path === "/api/v1/diff") return flame(diff(service, p.get("type") ?? "cpu", p), p);
  if (path === "/api/v1/growth") return json(growth(service, p));
  if (path.startsWith("/api/v1/traces/"))
    return path.endsWith(TRACE_ID)
      ? json(trace())
      : json(
          {
            code: "not_found",
            message: `no sample carries trace ${path.slice(15, 31)}…`,
            hint: "traces are kept for 7 days",
          },
          404,
        );
  if (path === "/api/v1/requests/heatmap") return json(heatmap(ms(p.get("from"), Date.now() - 60 * MIN)));
  if (path === "/api/v1/requests/compare") return json(compare(service, p));
  if (path === "/api/v1/requests")
    return json({
      routes: [
        route("POST /checkout", 61_204, 41),
        route("GET /cart/{id}", 212_480, 9),
        route("GET /healthz", 3_600, 0.2),
      ],
    });
  if (path === "/api/v1/functions/requests") return json(functionRequests(p.get("function") ?? ""));
  if (path === "/api/v1/events" && method === "POST") return json(deployEvent(), 201);
  if (path === "/api/v1/events") return json({ events: [deployEvent()] });
  if (path === "/alert.json") return json(alert(service));
  if (path === "/api/v1/pins" && method === "POST")
    return json({ id: "b7k2", url: "/p/b7k2", expires: Date.now() + 90 * 86_400e3 }, 201);
  if (path.startsWith("/api/v1/pins/"))
    return json({
      id: "b7k2",
      url: "/s/checkout?v=1&q=rate_for",
      note: "Before the tax table",
      expires: Date.now() + 90 * 86_400e3,
    });
  if (path === "/api/v1/status") return json(status());
  return path.startsWith("/api/v1/")
    ? json({ code: "not_found", message: `no such endpoint ${path}`, hint: "see collector/API.md" }, 404)
    : null;
}

function json(body: unknown, status = 200): Answer {
  return { status, type: "application/json", body: JSON.stringify(body) };
}

function flame(f: FlameJson, p: URLSearchParams): Answer {
  return p.get("format") === "flame"
    ? { status: 200, type: "application/vnd.tephra.flame", body: encodeFlame(f) }
    : json(f);
}

function ms(text: string | null, fallback: number): number {
  return text === null ? fallback : Number(text);
}

function services(p: URLSearchParams): Service[] {
  const until = ms(p.get("until"), Date.now());
  const from = ms(p.get("from"), until - 60 * MIN);
  const one = (name: string, cores: number, step: number, instances: number, seed: number): Service => {
    const r = seeded(seed + Math.round(until / 86_400e3));
    const spark = Array.from({ length: 60 }, (_, i) => {
      const t = from + ((until - from) * i) / 60;
      return cores * (1 + 0.06 * (r() - 0.5) + 0.05 * Math.sin(t / 9e5)) + (t > Date.now() - DEPLOY_AGO ? step : 0);
    });
    return {
      name,
      instances,
      types: Object.keys(TYPES),
      first_seen: from,
      last_seen: Date.now() - 4000,
      cpu_cores: spark.reduce((s, v) => s + v, 0) / 60,
      spark,
      labels: { version: seed === 1 ? ["4f2c1", "9ab07"] : ["31d8e"] },
    };
  };
  return [
    one("checkout", 2.42, 0.92, 4, 1),
    one("search", 1.87, 0, 6, 2),
    one("gateway", 0.94, 0.02, 3, 3),
    one("inventory", 0.41, -0.12, 2, 4),
    one("mailer", 0.038, 0, 1, 5),
  ];
}

function timeline(p: URLSearchParams): Timeline {
  const until = ms(p.get("until"), Date.now());
  const from = ms(p.get("from"), until - 60 * MIN);
  const step = Math.max(10e3, Math.ceil((until - from) / 400 / 10e3) * 10e3);
  const type = TYPES[p.get("type") ?? "cpu"] ?? TYPES.cpu!;
  const factor = type.name === "cpu" ? 1 : type.unit === "bytes" ? 38e6 : 9000;
  const labels = p.get("by") === "version" ? ["9ab07", "4f2c1"] : p.get("by") ? ["one", "two", "three"] : [""];
  const r = seeded(9);
  const deploy = Date.now() - DEPLOY_AGO;
  const series = labels.map((label, k) => ({
    label,
    points: Array.from({ length: Math.floor((until - from) / step) }, (_, i): [number, number | null] => {
      const t = Math.floor(from / step) * step + i * step;
      const gap = t > until - 47 * MIN && t < until - 45 * MIN;
      const level = 2.42 * (1 + 0.05 * (r() - 0.5) + 0.04 * Math.sin(t / 4e5)) + (t > deploy ? 0.92 : 0);
      const side =
        label === "9ab07" ? (t < deploy ? 1 : 0) : label === "4f2c1" ? (t >= deploy ? 1 : 0) : 1 / labels.length;
      return [t, gap || p.get("service") === "empty" ? null : level * side * factor * (k === 0 ? 1 : 0.9)];
    }),
  }));
  const unit = type.name === "cpu" ? "cores" : type.kind === "gauge" ? type.unit : `${type.unit}/s`;
  return { step_ms: step, unit, series, events: [deployEvent()] };
}

function functionRequests(name: string): FunctionAnswer {
  const trace = (k: number) => ({
    trace_id: TRACE_ID,
    route: "POST /checkout",
    duration_us: 412_000 - k * 20_000,
    start_ms: Date.now() - 9 * MIN,
    value: (34 - 5 * k) * 10_101_010,
    samples: 34 - 5 * k,
  });
  const requests = { count: 1200, p50_us: 61_204, p99_us: 380_000 };
  return {
    function: name,
    type: TYPES.cpu!,
    total: 9e11,
    samples: 89_100,
    routes: [
      { route: "POST /checkout", value: 7e11, share: 0.78, requests },
      { route: "GET /cart/{id}", value: 1.6e11, share: 0.18, requests: { ...requests, p50_us: 9_000, p99_us: 44_000 } },
      { route: "", value: 4e10, share: 0.04, requests: null },
    ],
    traces: [0, 1, 2].map(trace),
    looked_at: 12,
  };
}

function deployEvent(): TephraEvent {
  return {
    id: "e1",
    at: Date.now() - DEPLOY_AGO,
    kind: "deploy",
    service: "checkout",
    title: "4f2c1 tax table",
    labels: { version: "4f2c1" },
    link: null,
  };
}

function sideOf(type: ProfileType, from: number, until: number, total: number): Side {
  const seconds = (until - from) / 1000;
  const value = type.kind === "gauge" ? total : type.name === "cpu" ? total / seconds / 1e9 : total / seconds;
  const unit = type.name === "cpu" ? "cores" : type.kind === "gauge" ? type.unit : `${type.unit}/s`;
  return {
    from,
    until,
    total,
    samples: Math.round(total / type.period),
    seconds,
    windows: Math.max(1, Math.floor(seconds / 10)) * 4,
    instances: 4,
    labels: { version: ["4f2c1"] },
    value,
    unit,
  };
}

/** Thousandths of a core to the type's unit over the side's time. */
function unitsPer(type: ProfileType, seconds: number): number {
  return type.name === "cpu"
    ? 1e6 * seconds
    : type.kind === "gauge"
      ? 40_000
      : type.unit === "bytes"
        ? 38_000 * seconds
        : 9 * seconds;
}

function scaled(stacks: StackCost[], a: number, b: number): StackCost[] {
  return stacks.map((s) => ({ path: s.path, a: Math.round(s.a * a), b: Math.round(s.b * b) }));
}

const sum = (stacks: StackCost[], side: "a" | "b") => stacks.reduce((s, x) => s + x[side], 0);

function single(service: string, typeName: string, p: URLSearchParams): FlameJson {
  const type = TYPES[typeName] ?? TYPES.cpu!;
  const until = ms(p.get("until"), Date.now());
  const from = ms(p.get("from"), until - 60 * MIN);
  const cut = service === "cut" ? (from + 3 * until) / 4 : from;
  const seconds = service === "few" ? 1.2 : (until - cut) / 1000;
  const k = service === "empty" ? 0 : unitsPer(type, seconds);
  const stacks = scaled(
    shopStacks().map((s) => ({ ...s, a: s.b })),
    k,
    0,
  ).filter((s) => s.a > 0);
  const side = { ...sideOf(type, from, until, sum(stacks, "a")) };
  if (service === "few") side.value *= (until - from) / 1000 / seconds;
  if (cut > from) {
    Object.assign(side, { ...sideOf(type, cut, until, side.total), from });
    side.partial = { reason: "time", covered_from: cut, covered_until: until };
  }
  const f = flameOf(stacks, { service, type, sides: { a: side, b: null } });
  if (service === "empty") f.empty = "empty last sent a profile 3 h 12 min ago, from instance empty-0";
  if (service === "unsymbolised" || service === "checkout")
    f.symbols = {
      share: 0.979,
      missing: [
        {
          build_id: "8f1d3ac09e5b7726",
          module: "libcrypto.so.3",
          share: 0.021,
          hint: "Install its debug package on a host with the agent, or run `tephra symbols upload libcrypto.so.3.debug`.",
        },
      ],
      no_lines: [],
    };
  f.pruned = { nodes: 1840, share: 0.0031 };
  return f;
}

function diff(service: string, typeName: string, p: URLSearchParams): FlameJson {
  const type = TYPES[typeName] ?? TYPES.cpu!;
  const [a0, a1, b0, b1] = ["a.from", "a.until", "b.from", "b.until"].map((k) => ms(p.get(k), Date.now())) as [
    number,
    number,
    number,
    number,
  ];
  const stacks = scaled(shopStacks(), unitsPer(type, (a1 - a0) / 1000), unitsPer(type, (b1 - b0) / 1000));
  const sides = { a: sideOf(type, a0, a1, sum(stacks, "a")), b: sideOf(type, b0, b1, sum(stacks, "b")) };
  const [ka, kb] = [sides.a.value / sides.a.total, sides.b.value / sides.b.total];
  const f = flameOf(stacks, {
    service,
    type,
    sides,
    q: (a, b) =>
      Math.abs(b * kb - a * ka) > 0.06 * Math.max(a * ka, b * kb) &&
      Math.abs(b * kb - a * ka) > 0.02 * sides.b.value * 0.2
        ? 3
        : 8200,
  });
  f.movers = moversOf({ ...f, nodes: { ...f.nodes, a: f.nodes.a.map((v) => (v * ka) / kb) } }, (raw) => raw * kb);
  f.summary = sentences(service, f.movers, sides.a.value, sides.b.value, sides.b.unit);
  return f;
}

function growth(service: string, p: URLSearchParams): GrowthAnswer {
  const type = TYPES[p.get("type") ?? "inuse_space"] ?? TYPES.inuse_space!;
  const until = ms(p.get("until"), Date.now());
  const from = ms(p.get("from"), until - 60 * MIN);
  const end = (until - from) / 8;
  const sides = { "a.from": from, "a.until": from + end, "b.from": until - end, "b.until": until };
  const ends = new URLSearchParams(Object.entries(sides).map(([k, v]) => [k, String(Math.round(v))]));
  const f = diff(service, type.name, ends);
  const [a, b] = [f.a, f.b!];
  const hours = (until - from - end) / 3600e3;
  const r = seeded(3);
  const growers = f.movers!.map((m, k) => ({
    ...m,
    per_hour: m.delta / hours,
    trend: k === 0 ? ("steady" as const) : ("uneven" as const),
    points: Array.from({ length: 48 }, (_, i): [number, number] => {
      const part = k === 0 ? i / 47 : i < 30 ? 0.1 * r() : 0.9 + 0.1 * r();
      return [from + (i * (until - from)) / 48, m.a + m.delta * part * (1 + 0.05 * (r() - 0.5))];
    }),
  }));
  const mib = (v: number) => `${(v / 2 ** 20).toFixed(1)} MiB`;
  const rate = mib((b.value - a.value) / hours);
  const grew = `grew by ${mib(b.value - a.value)} (+${Math.round((b.value / a.value - 1) * 100)} %)`;
  const empty = service === "empty" ? { empty: "empty was up, but nothing was sampled for inuse_space" } : {};
  return {
    service,
    type,
    a,
    b,
    unit: b.unit,
    delta: b.value - a.value,
    per_hour: (b.value - a.value) / hours,
    significant: true,
    sentences: [
      {
        kind: "headline",
        frames: [],
        text: `${service}'s live memory ${grew}, from ${mib(a.value)} to ${mib(b.value)}: ${rate} an hour.`,
      },
      {
        kind: "cause",
        frames: [growers[0]!.frame],
        text: `What ${growers[0]!.name} allocated grew steadily, by ${mib(growers[0]!.per_hour)} an hour, and was not given back: it may be a leak.`,
      },
      { kind: "noise", frames: [], text: "The other 61 functions hold what they held before." },
    ],
    growers,
    lives: [
      { instance: "checkout-0", from, until: until - 22 * MIN, slope: { per_hour: 9e7, low: 8.2e7, high: 9.8e7 } },
      { instance: "checkout-1", from: until - 22 * MIN, until, slope: { per_hour: 4.2e8, low: 3.9e8, high: 4.5e8 } },
    ],
    restarts: [[until - 22 * MIN, 1]],
    since_restart: { per_hour: 4.2e8, low: 3.9e8, high: 4.5e8 },
    diff: `/diff?service=${service}&type=${type.name}&${ends}`,
    ...empty,
  };
}

function sentences(service: string, movers: Mover[], a: number, b: number, unit: string): Sentence[] {
  const top = movers[0]!;
  return [
    {
      kind: "headline",
      frames: [],
      text: `${service} used ${(b - a).toFixed(2)} ${unit} more (+${Math.round((b / a - 1) * 100)} %): ${a.toFixed(2)} → ${b.toFixed(2)}.`,
    },
    {
      kind: "cause",
      frames: [top.frame],
      text: `${Math.round(top.share_of_change * 100)} % of it is ${top.name}, reached through checkout::render::receipt.`,
    },
    {
      kind: "new",
      frames: [movers.find((m) => m.state === "new")?.frame ?? 0],
      text: "checkout::tax_v2::Table::lookup is new and costs 0.26 cores with what it calls.",
    },
    {
      kind: "gone",
      frames: [movers.find((m) => m.state === "gone")?.frame ?? 0],
      text: "checkout::cache::Cache::get is gone; it used 0.15 cores.",
    },
  ];
}

function trace(): TraceAnswer {
  const t0 = Date.now() - 9 * MIN;
  const stacks = shopStacks().filter((s) => s.path.includes("checkout::routes::handle_checkout") && s.b > 0);
  const type = TYPES.cpu!;
  const make = (service: string, picked: StackCost[], k: number) => {
    const cost = picked.map((s) => ({ path: s.path, a: Math.ceil((s.b * k) / 40) * type.period, b: 0 }));
    const total = sum(cost, "a");
    return {
      type,
      total,
      samples: Math.round(total / type.period),
      flame: flameOf(cost, { service, type, sides: { a: sideOf(type, t0, t0 + 412, total), b: null } }),
    };
  };
  const ticks = Array.from({ length: 34 }, (_, i): [number, string, string, number] => [
    t0 + 40 + i * 8.6 + (i % 5),
    i < 30 ? "b2" : "b3",
    "cpu",
    type.period,
  ]);
  return {
    trace_id: TRACE_ID,
    from: t0,
    until: t0 + 412,
    services: [
      {
        service: "checkout",
        spans: [
          { span_id: "b2", route: "POST /checkout", start_ms: t0 + 31, duration_us: 362_000, status: "200" },
          { span_id: "b3", route: "GET /cart/{id}", start_ms: t0 + 300, duration_us: 44_000, status: "200" },
        ],
        types: [make("checkout", stacks.slice(0, 120), 0.4)],
        samples: ticks,
        samples_left_out: 0,
      },
      {
        service: "gateway",
        spans: [{ span_id: "a1", route: "POST /checkout", start_ms: t0, duration_us: 412_000, status: "200" }],
        types: [make("gateway", stacks.slice(3, 6), 0.05)],
        samples: [[t0 + 12, "a1", "cpu", type.period]],
        samples_left_out: 0,
      },
      {
        service: "inventory",
        spans: [{ span_id: "c4", route: "GET /stock/{sku}", start_ms: t0 + 210, duration_us: 4_000, status: "200" }],
        types: [],
        samples: [],
        samples_left_out: 0,
      },
    ],
  };
}

/** Two kinds of requests, and a tail since the deploy. */
function heatmap(from: number) {
  const columns = Array.from({ length: 180 }, (_, x) => {
    const column = [];
    for (let bin = 176; bin < 320; bin += 2) {
      const near = (middle: number, width: number) => Math.exp(-(((bin - middle) / width) ** 2));
      const tail = x > 110 ? 3 * near(296, 14) : 0;
      const count = Math.round(90 * near(200, 9) + 25 * near(246, 8) + tail);
      if (count > 0) column.push(bin, count);
    }
    return column;
  });
  const every = (value: number) => columns.map(() => value);
  return { from, step_ms: 20_000, bins_per_doubling: 16, covered_ms: every(20_000), columns, errors: every(0) };
}

function route(name: string, count: number, p50: number) {
  const us = p50 * 1000;
  return {
    route: name,
    count,
    per_second: count / 3600,
    error_share: count > 1e5 ? 0.0004 : 0,
    p50_us: us,
    p90_us: us * 2.1,
    p99_us: us * 6.4,
    max_us: us * 10,
    slowest: [10, 9.1, 8.8, 8.1, 7.7].map((f) => ({
      trace_id: TRACE_ID,
      duration_us: us * f,
      start_ms: Date.now() - f * MIN,
      status: "200",
    })),
  };
}

function alert(service: string): AlertAnswer {
  const at = Date.now() - 12 * MIN;
  const deploy = deployEvent();
  const range = (from: number, until: number) => `from=${Math.round(from)}&until=${Math.round(until)}`;
  const f = diff(
    service,
    "cpu",
    new URLSearchParams({
      "a.from": String(deploy.at - 10 * MIN),
      "a.until": String(deploy.at),
      "b.from": String(at - 10 * MIN),
      "b.until": String(at),
    }),
  );
  return {
    service,
    type: TYPES.cpu!,
    unit: "cores",
    at,
    window: { from: at - 10 * MIN, until: at },
    baseline: {
      from: deploy.at - 10 * MIN,
      until: deploy.at,
      vs: "deploy",
      why: "the last deploy lies inside the day before the alert, and the ten minutes before it have data and no other alert",
    },
    tried: [{ vs: "1w", why_not: "no data a week ago" }],
    deploy,
    alert: { id: "a9", at, kind: "alert", service, title: "HighCPU checkout eu-1", labels: {}, link: null },
    headline: f.summary![0]!.text,
    sentences: f.summary!,
    movers: f.movers!,
    confidence: "high",
    confidence_why: "240 windows on each side, and 7 functions differ beyond noise",
    traces: [{ trace_id: TRACE_ID, route: "POST /checkout", duration_us: 412_000, start_ms: at - 3 * MIN }],
    types: [
      { name: "alloc_space", delta_share: 0.41 },
      { name: "inuse_space", delta_share: 0.02 },
    ],
    links: {
      page: `/alert?service=${service}&at=${at}`,
      diff: `/diff?service=${service}&a.from=${deploy.at - 10 * MIN}&a.until=${deploy.at}&b.from=${at - 10 * MIN}&b.until=${at}`,
      flame: `/s/${service}?${range(at - 10 * MIN, at)}`,
      trace: `/trace/${TRACE_ID}`,
    },
  };
}

function status(): StatusAnswer {
  const agent = (service: string, k: number, dropped: Record<string, number>, silent = 0) => {
    const sampled = 1_284_330 + k * 7919;
    const lost = Object.values(dropped).reduce((s, n) => s + n, 0);
    return {
      service,
      instance: `${service}-${k}`,
      last_seen: Date.now() - 3000 - silent,
      agent_version: "0.1.0",
      sampled,
      stored: sampled - lost - (k === 1 ? 990 : 0),
      dropped,
      cpu_covered_share: 0.9994,
    };
  };
  return {
    version: "0.1.0",
    uptime_s: 273_120,
    data_dir: "/var/lib/tephra",
    store: { segments: 412, bytes: 184_220_416, windows: 1_922_004, samples: 1_204_338_112 },
    ingest: {
      windows_total: 1_922_410,
      samples_total: 1_204_338_112,
      duplicates_total: 406,
      ready: true,
      overloaded_total: 31,
      overflows: [{ service: "search", windows: 1204 }],
      series_max: 2000,
      memory_max_bytes: 268_435_456,
      refused: { too_large: 0, disk_full: 0 },
    },
    conditions: [
      {
        kind: "disk_full",
        subject: "",
        severity: "unready",
        message: "the disk of /var/lib/tephra has 912000 bytes left, 268435456 are needed: free some space",
        since_ms: Date.now() - 95_000,
      },
      {
        kind: "symbols_failed",
        subject: "9f2c41",
        severity: "notice",
        message: "the names of build 9f2c41 could not be read; the next try is in 10 minutes",
        since_ms: Date.now() - 3_600_000,
      },
    ],
    agents: [
      agent("checkout", 0, {}),
      agent("checkout", 1, {}),
      agent("search", 0, { queue_full: 1204 }),
      agent("search", 1, {}, 3_940e3),
      agent("inventory", 0, {}, 940e3),
    ],
    symbols: { builds: 17, bytes: 61_003_776 },
    disk_free_bytes: 91_268_055_040,
  };
}
