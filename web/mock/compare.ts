/** Made-up answers to "why are these requests slow". `service=few` has too few examples on one side. */
import type { CompareAnswer, FunctionCost, RequestCost, RequestsSide } from "../view/api/contract";

const MS = 1e6;
const KIB = 1024;

export function compare(service: string, p: URLSearchParams): CompareAnswer {
  const route = p.get("route") ?? "";
  const [from, until] = [Number(p.get("from")), Number(p.get("until"))];
  const number = (name: string) => (p.has(name) ? Number(p.get(name)) : null);
  const slowest = number("slowest");
  const few = service === "few";
  const side = (min_us: number | null, max_us: number | null, requests: number, mean_us: number): RequestsSide => ({
    min_us,
    max_us,
    from_ms: number("inside_from") ?? from,
    until_ms: number("inside_until") ?? until,
    requests,
    examples: Math.min(requests, 2000) - (requests > 100 ? 12 : 0),
    mean_us,
  });
  const answer: CompareAnswer = {
    service,
    route,
    from_ms: from,
    until_ms: until,
    chosen:
      slowest === null
        ? side(number("min_us"), number("max_us"), few ? 5 : 46, 431_000)
        : side(412_000, null, few ? 5 : 612, 431_000),
    others: {
      ...side(null, null, 0, 0),
      ...side(slowest === null ? null : 5_200, slowest === null ? null : 7_900, 30_602, 6_400),
    },
    sentences: few
      ? [
          "Only 5 examples of these requests were kept, and 8 are needed to compare: choose a longer time, or more requests.",
        ]
      : sentences(route, slowest),
    costs: few ? [] : [bytes(), cpu()],
    labels: few ? [] : labels(),
    evidence: {
      test: "A permutation test over requests decides, with Benjamini and Hochberg's correction over all functions, families and labels",
      false_discovery_rate: 0.01,
      requests_per_side_max: 2000,
    },
    partial: null,
  };
  return answer;
}

function sentences(route: string, slowest: number | null): string[] {
  const who = slowest === null ? "The selected requests" : `The slowest ${slowest} %`;
  return [
    `${who} of \`${route}\` take 425 ms longer: 290 ms of it is CPU, and 264 ms of that is \`checkout::render::receipt\` with what it calls.`,
    "Of them 97 % have `tenant=umbrella`, of the others 24 %.",
    "`format_escaped_str` takes 171 ms a request instead of 9.6 ms.",
    "They allocate 41 MiB a request, ten times what the others do, in RawVec::grow_one.",
  ];
}

function cpu(): CompareAnswer["costs"][number] {
  const f = (full_name: string, family: string, chosen: number, others: number, q: number) =>
    cost({ full_name, family }, chosen * MS, others * MS, q);
  return {
    type: "cpu",
    unit: "nanoseconds",
    chosen_per_request: 310 * MS,
    others_per_request: 20 * MS,
    q: 0.0001,
    significant: true,
    functions: [
      f("serde_json::ser::format_escaped_str", "serialization", 171, 9.6, 0.0001),
      f("alloc::raw_vec::RawVec<T,A>::grow_one", "allocation", 58, 2.1, 0.0001),
      f("<checkout::render::Receipt as core::fmt::Display>::fmt", "unknown", 31, 1.4, 0.0004),
      f("__memmove_avx_unaligned_erms", "copy", 14, 1.1, 0.002),
      f("checkout::tax_v2::Table::lookup", "unknown", 6.2, 3.9, 0.18),
      f("sha2::sha256::compress256", "crypto", 0.4, 1.2, 0.41),
    ],
    families: [
      family("serialization", 182 * MS, 10.4 * MS, 0.0001),
      family("allocation", 61 * MS, 2.4 * MS, 0.0001),
      family("crypto", 0.4 * MS, 1.2 * MS, 0.41),
    ],
  };
}

function bytes(): CompareAnswer["costs"][number] {
  return {
    type: "alloc_space",
    unit: "bytes",
    chosen_per_request: 41_200 * KIB,
    others_per_request: 3_980 * KIB,
    q: 0.0002,
    significant: true,
    functions: [
      cost(
        { full_name: "alloc::raw_vec::RawVec<T,A>::grow_one", family: "allocation" },
        38_400 * KIB,
        2_900 * KIB,
        0.0002,
      ),
      cost({ full_name: "checkout::cart::Cart::load", family: "unknown" }, 1_100 * KIB, 640 * KIB, 0.09),
    ],
    families: [],
  };
}

function cost<T extends { full_name: string }>(of: T, chosen: number, others: number, q: number): T & FunctionCost {
  const name = of.full_name.split("::").slice(-2).join("::");
  return { family: "unknown", ...of, name, chosen_per_request: chosen, others_per_request: others, q };
}

function family(name: string, chosen: number, others: number, q: number): RequestCost {
  return { name, chosen_per_request: chosen, others_per_request: others, q };
}

function labels(): CompareAnswer["labels"] {
  const label = (name: string, value: string, chosen: number, others: number, q: number) => ({
    name,
    value,
    chosen_share: chosen,
    others_share: others,
    chosen_requests: Math.round(600 * chosen),
    others_requests: Math.round(1988 * others),
    q,
    significant: q <= 0.01,
  });
  return [
    label("tenant", "umbrella", 0.97, 0.24, 1e-9),
    label("version", "4f2c1", 0.81, 0.52, 1e-5),
    label("zone", "eu-2", 0.54, 0.49, 0.22),
  ];
}
