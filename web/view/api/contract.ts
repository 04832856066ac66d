/** The collector's answers as types; `collector/API.md` is the contract. */

export interface ProfileType {
  name: string;
  unit: string;
  kind: "counter" | "gauge";
  period: number;
}

export interface Service {
  name: string;
  instances: number;
  types: string[];
  first_seen: number;
  last_seen: number;
  cpu_cores: number;
  spark: (number | null)[];
  labels: Record<string, string[]>;
}

export interface TephraEvent {
  id: string;
  at: number;
  /** Restarts are told by the windows themselves and not kept as events. */
  kind: "deploy" | "alert" | "note" | "restart";
  service: string;
  title: string;
  labels: Record<string, string>;
  link?: string | null;
}

/** The part of the range that an answer is about, where the limits of one query did not allow all of it. */
export interface Partial {
  reason: string;
  covered_from: number;
  covered_until: number;
  /** Some of what was stored in it is damaged and left out; alone, the reason is `damaged` and nothing is cut off. */
  damaged?: boolean;
}

export interface Series {
  label: string;
  rest?: boolean;
  points: [number, number | null][];
}

export interface Timeline {
  step_ms: number;
  unit: string;
  series: Series[];
  events: TephraEvent[];
  partial?: Partial;
}

export interface Side {
  from: number;
  until: number;
  total: number;
  samples: number;
  seconds: number;
  windows: number;
  instances: number;
  labels: Record<string, string[]>;
  value: number;
  unit: string;
  partial?: Partial;
}

export type Change = "grew" | "shrank" | "new" | "gone" | "unchanged";

export interface Mover {
  name: string;
  module: string;
  file: string;
  line: number;
  frame: number;
  family: string;
  a: number;
  b: number;
  delta: number;
  self_a: number;
  self_b: number;
  q: number;
  state: Change;
  share_of_change: number;
}

export interface Sentence {
  text: string;
  frames: number[];
  kind: "headline" | "cause" | "gone" | "new" | "noise" | "basis" | "quality";
}

/** A function that holds more or less at the end of a range than at its start. */
export interface Grower extends Mover {
  per_hour: number;
  trend: "steady" | "uneven" | "unclear";
  points: [number, number][];
}

/** A change an hour, and where it lies with 95 %. */
export interface Slope {
  per_hour: number;
  low: number;
  high: number;
}

export interface Life {
  instance: string;
  from: number;
  until: number;
  slope: Slope | null;
}

export interface GrowthAnswer {
  service: string;
  type: ProfileType;
  a: Side;
  b: Side;
  unit: string;
  delta: number;
  per_hour: number;
  significant: boolean;
  sentences: Sentence[];
  growers: Grower[];
  /** Processes in the range, by their start. */
  lives: Life[];
  /** When processes began: moment and how many. */
  restarts: [number, number][];
  /** Of all that run at the end, since the last restart. */
  since_restart: Slope | null;
  diff: string;
  partial?: Partial;
  empty?: string;
}

/** `[name, module, file, line, flags, family]`, all but line and flags indexes into the header's tables. */
export type FrameTuple = [number, number, number, number, number, number];

export interface FlameHeader {
  v: number;
  diff: boolean;
  node_count: number;
  type: ProfileType;
  service: string;
  a: Side;
  b?: Side;
  basis?: string;
  names: string[];
  modules: string[];
  files: string[];
  frames: FrameTuple[];
  families: string[];
  /** Families that own only their own functions, not what these call. */
  carriers?: string[];
  pruned: { nodes: number; share: number };
  symbols: {
    share: number;
    missing: { build_id: string; module: string; share: number; hint: string }[];
    no_lines: { build_id: string; module: string }[];
  };
  movers?: Mover[];
  summary?: Sentence[];
  empty?: string;
}

export interface FlameJson extends FlameHeader {
  nodes: { up: number[]; frame: number[]; a: number[]; b?: number[]; q?: number[] };
}

export interface Span {
  span_id: string;
  route: string;
  start_ms: number;
  duration_us: number;
  status: string;
}

export interface TraceAnswer {
  trace_id: string;
  from: number;
  until: number;
  services: {
    service: string;
    spans: Span[];
    types: { type: ProfileType; total: number; samples: number; flame: FlameJson }[];
    samples: [number, string, string, number][];
    /** Rows beyond those in `samples`, later ones. */
    samples_left_out: number;
  }[];
  partial?: Partial;
}

/** How many requests took how long, in steps of time. */
export interface HeatmapAnswer {
  from: number;
  step_ms: number;
  bins_per_doubling: number;
  covered_ms: number[];
  /** For each step bins that hold something, each followed by its requests. Bin b begins at 2^(b / bins_per_doubling) µs. */
  columns: number[][];
  errors: number[];
  partial?: Partial;
}

export interface RequestsAnswer {
  routes: {
    route: string;
    count: number;
    per_second: number;
    error_share: number;
    p50_us: number;
    p90_us: number;
    p99_us: number;
    max_us: number;
    slowest: { trace_id: string; duration_us: number; start_ms: number; status: string }[];
  }[];
  partial?: Partial;
}

/** Requests on one side of a comparison. */
export interface RequestsSide {
  min_us: number | null;
  max_us: number | null;
  from_ms: number;
  until_ms: number;
  /** All of them; `examples` are those whose samples were looked at. */
  requests: number;
  examples: number;
  mean_us: number;
}

/** What a request costs in one function or family. */
export interface RequestCost {
  name: string;
  chosen_per_request: number;
  others_per_request: number;
  q: number;
}

export interface FunctionCost extends RequestCost {
  full_name: string;
  family: string;
}

/** What requests cost in one profile type. */
export interface TypeCost {
  type: string;
  unit: string;
  chosen_per_request: number;
  others_per_request: number;
  q: number;
  significant: boolean;
  functions: FunctionCost[];
  families: RequestCost[];
}

export interface LabelShare {
  name: string;
  value: string;
  chosen_share: number;
  others_share: number;
  chosen_requests: number;
  others_requests: number;
  q: number;
  significant: boolean;
}

/** Why some requests of a route are slower than others. */
export interface CompareAnswer {
  service: string;
  route: string;
  from_ms: number;
  until_ms: number;
  chosen: RequestsSide;
  others: RequestsSide;
  /** Plain text, most important first. */
  sentences: string[];
  /** Empty where a side has too few examples, as `labels` is. */
  costs: TypeCost[];
  labels: LabelShare[];
  evidence: { test: string; false_discovery_rate: number; requests_per_side_max: number };
  partial: Partial | null;
}

/** Whose requests a function works for. */
export interface FunctionAnswer {
  function: string;
  type: ProfileType;
  total: number;
  samples: number;
  routes: {
    route: string;
    value: number;
    share: number;
    requests: { count: number; p50_us: number; p99_us: number } | null;
  }[];
  /** Of the `looked_at` slowest requests of its first routes. */
  traces: {
    trace_id: string;
    route: string;
    duration_us: number;
    start_ms: number;
    value: number;
    samples: number;
  }[];
  looked_at: number;
  partial?: Partial;
}

export interface AlertAnswer {
  service: string;
  type: ProfileType;
  /** Of all values in it. */
  unit: string;
  at: number;
  window: { from: number; until: number };
  baseline: { from: number; until: number; vs: string; why: string };
  tried: { vs: string; why_not: string }[];
  deploy: TephraEvent | null;
  alert: TephraEvent | null;
  headline: string;
  sentences: Sentence[];
  movers: Mover[];
  confidence: "high" | "low" | "none";
  confidence_why: string;
  traces: { trace_id: string; route: string; duration_us: number; start_ms: number }[];
  types: { name: string; delta_share: number }[];
  links: { page: string; diff: string; flame: string; trace: string | null };
}

export interface Pin {
  id: string;
  url: string;
  note?: string | null;
  created?: number;
  expires?: number | null;
}

/** What an operator must know while it lasts. */
export interface Condition {
  kind: string;
  subject: string;
  severity: "notice" | "degraded" | "unready";
  message: string;
  since_ms: number;
}

export interface StatusAnswer {
  version: string;
  uptime_s: number;
  data_dir: string;
  store: { segments: number; bytes: number; windows: number; samples: number };
  ingest: {
    ready: boolean;
    windows_total: number;
    samples_total: number;
    duplicates_total: number;
    overloaded_total: number;
    overflows: { service: string; windows: number }[];
    series_max: number;
    memory_max_bytes: number;
    refused: Record<string, number>;
  };
  conditions: Condition[];
  agents: {
    service: string;
    instance: string;
    last_seen: number;
    agent_version: string;
    sampled: number;
    stored: number;
    dropped: Record<string, number>;
    cpu_covered_share: number;
  }[];
  symbols: { builds: number; bytes: number };
  disk_free_bytes: number;
}
