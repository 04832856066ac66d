/** A profile to try the view with before anything was received: an invented shop. It is never stored. */
import type { FlameJson, FrameTuple, Side } from "../api/contract";

const SERVICE = "sample";
const PERIOD_NS = 10_101_010;
const RANGE_S = 600;

const TOWER =
  "std::thread::Builder::spawn_unchecked_>tokio::runtime::scheduler::multi_thread::worker::run>tokio::runtime::task::harness::Harness<T,S>::poll>hyper::proto::h1::dispatch::Dispatcher<D,Bs,I,T>::poll_loop>axum::routing::route::RouteFuture<E>::poll";

/** Own code under the tower, with its samples. */
const STACKS: readonly (readonly [path: string, samples: number])[] = [
  ["shop::routes::checkout>shop::cart::Cart::total>shop::tax::TaxRules::rate_for", 2140],
  [
    "shop::routes::checkout>shop::cart::Cart::total>shop::tax::TaxRules::rate_for>core::str::pattern::StrSearcher::new",
    960,
  ],
  ["shop::routes::checkout>shop::cart::Cart::total>rust_decimal::ops::mul::mul_impl", 410],
  ["shop::routes::checkout>shop::receipt::render>serde_json::ser::to_vec>serde_json::ser::format_escaped_str", 820],
  [
    "shop::routes::checkout>shop::receipt::render>serde_json::ser::to_vec>alloc::raw_vec::RawVec<T,A>::grow_one>realloc",
    530,
  ],
  ["shop::routes::checkout>shop::auth::verify>sha2::sha256::compress256", 390],
  ["shop::routes::search>shop::index::Index::find>regex_automata::meta::regex::Regex::search", 740],
  ["shop::routes::search>shop::index::Index::find>hashbrown::map::HashMap<K,V,S>::get", 280],
  ["shop::routes::search>shop::index::Index::rank", 610],
  ["shop::routes::search>tracing::span::Span::in_scope", 90],
];

const FAMILIES: readonly (readonly [rule: RegExp, family: string])[] = [
  [/^(tokio|std::thread)/, "runtime"],
  [/^(hyper|axum)/, "network"],
  [/^serde/, "serialization"],
  [/RawVec|realloc/, "allocation"],
  [/^(regex|core::str)/, "regex/parse"],
  [/^sha2/, "crypto"],
  [/^hashbrown/, "hashing"],
  [/^tracing/, "logging"],
  [/^rust_decimal/, "cpu"],
];

/** The sample as a collector would answer it. */
export function sampleProfile(now: number): FlameJson {
  const names = new Table(["all"]);
  const families = new Table(["unknown"]);
  const frames: FrameTuple[] = [[0, 0, 0, 0, 16, 0]];
  const nodes = { up: [0], frame: [0], a: [0] };
  let before: string[] = [];
  for (const [own, samples] of [...STACKS].sort()) {
    const path = `${TOWER}>${own}`.split(/>(?=[a-z])/);
    let shared = 0;
    while (shared < before.length && before[shared] === path[shared]) shared++;
    path.slice(shared).forEach((name, i) => {
      // Callers left behind since the node before, plus one.
      nodes.up.push(i === 0 ? before.length - shared : 0);
      const id = names.id(name);
      frames[id] ??= [id, 1, 0, 0, 0, families.id(FAMILIES.find(([rule]) => rule.test(name))?.[1] ?? "unknown")];
      nodes.frame.push(id);
      nodes.a.push(0);
    });
    nodes.a[nodes.a.length - 1]! += samples * PERIOD_NS;
    before = path;
  }
  const total = STACKS.reduce((sum, [, samples]) => sum + samples * PERIOD_NS, 0);
  return {
    v: 1,
    diff: false,
    node_count: nodes.up.length,
    type: { name: "cpu", unit: "nanoseconds", kind: "counter", period: PERIOD_NS },
    service: SERVICE,
    a: sideOf(total, now),
    names: names.all,
    modules: ["", "shop"],
    files: [""],
    frames,
    families: families.all,
    carriers: ["runtime", "network"],
    pruned: { nodes: 0, share: 0 },
    symbols: { share: 1, missing: [], no_lines: [] },
    nodes,
  };
}

function sideOf(total: number, now: number): Side {
  return {
    from: now - RANGE_S * 1000,
    until: now,
    total,
    samples: Math.round(total / PERIOD_NS),
    seconds: RANGE_S,
    windows: RANGE_S / 10,
    instances: 1,
    labels: {},
    value: total / RANGE_S / 1e9,
    unit: "cores",
  };
}

class Table {
  constructor(readonly all: string[]) {}

  id(text: string): number {
    const known = this.all.indexOf(text);
    return known >= 0 ? known : this.all.push(text) - 1;
  }
}
