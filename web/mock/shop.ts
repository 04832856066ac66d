/** A made-up shop to look at: stacks with plausible Rust names and two releases that differ. Deterministic. */

export interface StackCost {
  path: string[];
  /** CPU share before and after the release, in thousandths of a core. */
  a: number;
  b: number;
}

const RUNTIME = [
  "std::sys::thread::unix::Thread::new::thread_start",
  "core::ops::function::FnOnce::call_once{{vtable.shim}}",
  "std::thread::Builder::spawn_unchecked_::{{closure}}",
  "tokio::runtime::blocking::pool::Inner::run",
  "tokio::runtime::scheduler::multi_thread::worker::run",
  "tokio::runtime::scheduler::multi_thread::worker::Context::run",
  "tokio::runtime::task::harness::Harness<T,S>::poll",
];
const HTTP = [
  "hyper_util::server::conn::auto::Connection<I,S,E>::poll",
  "hyper::proto::h1::dispatch::Dispatcher<D,Bs,I,T>::poll_loop",
  "axum::routing::route::RouteFuture<E>::poll",
  "tower::util::oneshot::Oneshot<S,Req>::poll",
];
const PARKED = [
  "tokio::runtime::scheduler::multi_thread::worker::Context::park_timeout",
  "tokio::runtime::io::driver::Driver::turn",
  "mio::poll::Poll::poll",
  "epoll_wait",
];

/** Handlers with their leaves: `[path below the handler, cost before, cost after]`. */
const HANDLERS: [string, [string, number, number][]][] = [
  [
    "checkout::routes::handle_checkout",
    [
      ["checkout::pricing::Cart::total>checkout::tax::rate_for>core::str::pattern::StrSearcher::new", 180, 186],
      ["checkout::pricing::Cart::total>checkout::tax::rate_for", 210, 204],
      [
        "checkout::pricing::Cart::total>checkout::tax_v2::Table::lookup>hashbrown::map::HashMap<K,V,S>::get>siphasher::sip::Hasher::write",
        0,
        164,
      ],
      ["checkout::pricing::Cart::total>checkout::tax_v2::Table::lookup", 0, 96],
      ["checkout::pricing::Cart::total>rust_decimal::ops::mul::mul_impl", 120, 117],
      ["checkout::cache::Cache::get>parking_lot::raw_mutex::RawMutex::lock_slow>syscall", 88, 0],
      ["checkout::cache::Cache::get>hashbrown::map::HashMap<K,V,S>::get", 64, 0],
      ["checkout::render::receipt>serde_json::ser::to_vec>serde_json::ser::format_escaped_str", 260, 610],
      [
        "checkout::render::receipt>serde_json::ser::to_vec>alloc::raw_vec::RawVec<T,A>::grow_one>__rust_realloc>realloc>_int_realloc",
        90,
        300,
      ],
      ["checkout::render::receipt>serde_json::ser::to_vec>itoa::Buffer::format", 55, 130],
      ["checkout::render::receipt>serde_json::ser::to_vec>__memmove_avx_unaligned_erms", 60, 165],
      [
        "checkout::render::receipt>flate2::write::GzEncoder<W>::write>miniz_oxide::deflate::core::compress_inner",
        240,
        246,
      ],
      ["checkout::auth::verify>hmac::Hmac<D>::finalize>sha2::sha256::compress256", 150, 147],
      ["sqlx_core::pool::Pool<DB>::acquire>tokio::sync::batch_semaphore::Acquire::poll", 44, 47],
      ["sqlx_postgres::connection::executor::run>sqlx_postgres::message::row::DataRow::decode", 130, 126],
      ["sqlx_postgres::connection::executor::run>tokio::net::tcp::stream::TcpStream::poll_read>__libc_recv", 96, 99],
    ],
  ],
  [
    "checkout::routes::handle_cart",
    [
      ["checkout::cart::Cart::load>serde_json::de::from_slice>serde_json::read::SliceRead::parse_str", 230, 226],
      ["checkout::cart::Cart::load>serde_json::de::from_slice>alloc::string::String::from_utf8", 60, 62],
      [
        "checkout::cart::Cart::load>core::slice::sort::unstable::quicksort::quicksort>core::slice::sort::unstable::quicksort::quicksort>core::slice::sort::shared::smallsort::small_sort_general",
        80,
        82,
      ],
      [
        "checkout::cart::Cart::apply_coupons>regex_automata::meta::regex::Regex::search>regex_automata::hybrid::search::find_fwd",
        190,
        194,
      ],
      [
        "checkout::cart::Cart::apply_coupons>regex_automata::meta::regex::Regex::search>regex_automata::hybrid::dfa::Lazy::cache_next_state",
        48,
        45,
      ],
      ["tracing_subscriber::fmt::Layer<S,N,E,W>::on_event>core::fmt::write", 70, 72],
    ],
  ],
  ["checkout::routes::healthz", [["tracing::span::Span::in_scope", 8, 7]]],
];

export function shopStacks(): StackCost[] {
  const out: StackCost[] = [
    { path: ["_start", "main", ...RUNTIME.slice(4), ...PARKED], a: 190, b: 192 },
    { path: ["clone3", "start_thread", ...RUNTIME, ...PARKED], a: 110, b: 106 },
    {
      path: [
        "clone3",
        "start_thread",
        ...RUNTIME.slice(0, 3),
        "tephra_agent::worker::run",
        "tephra_agent::export::encode",
        "zstd_safe::CCtx::compress2",
      ],
      a: 6,
      b: 6,
    },
    {
      path: ["clone3", "start_thread", ...RUNTIME, "[libcrypto.so.3+0x1f3a40]", "[libcrypto.so.3+0x20b11c]"],
      a: 60,
      b: 61,
    },
  ];
  const random = seeded(7);
  for (const [handler, leaves] of HANDLERS)
    for (const [path, a, b] of leaves) {
      const below = path.split(/>(?!:)/);
      const top = ["clone3", "start_thread", ...RUNTIME, ...HTTP, handler];
      out.push({ path: [...top, ...below], a, b });
      // Thin company, as real profiles have it.
      for (let k = 0; k < 14; k++) {
        const cut = 1 + Math.floor(random() * below.length);
        const dust = Math.floor((a + b) * 0.01 * random());
        out.push({
          path: [...top, ...below.slice(0, cut), `${DUST[Math.floor(random() * DUST.length)]}`],
          a: a > 0 ? dust : 0,
          b: b > 0 ? dust : 0,
        });
      }
    }
  return out;
}

const DUST = [
  "core::ptr::drop_in_place<T>",
  "malloc",
  "cfree",
  "__rust_dealloc",
  "core::iter::traits::iterator::Iterator::fold",
  "alloc::sync::Arc<T,A>::drop_slow",
  "<alloc::vec::Vec<T> as core::clone::Clone>::clone",
  "core::fmt::Formatter::pad_integral",
  "bytes::bytes_mut::BytesMut::reserve_inner",
  "http::header::map::HeaderMap<T>::get",
  "std::time::Instant::now",
  "__vdso_clock_gettime",
];

const RULES: [RegExp, string][] = [
  [/alloc|malloc|free|realloc|drop_in_place|RawVec/i, "allocation"],
  [/lock_slow|semaphore|futex/i, "lock"],
  [/epoll|syscall|recv|clock_gettime/i, "syscall/io"],
  [/serde|itoa/i, "serialization"],
  [/regex|pattern|parse/i, "regex/parse"],
  [/sip|hash/i, "hashing"],
  [/sha2|hmac|crypto/i, "crypto"],
  [/flate|deflate|zstd/i, "compression"],
  [/memmove|memcpy|clone$/i, "copy"],
  [/tracing|fmt/i, "logging"],
  [/tephra/i, "profiler"],
  [/tokio|std::|core::ops|start_thread|clone3|_start|hyper|axum|tower|mio/i, "runtime"],
  [/decimal|sort/i, "cpu"],
];

export function familyOfName(name: string): string {
  return RULES.find(([rule]) => rule.test(name))?.[1] ?? "unknown";
}

export function seeded(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
