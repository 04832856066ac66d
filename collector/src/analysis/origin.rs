//! Tells a service's own code from the code that works on its behalf.

use crate::profile::tree::{FrameInfo, flag};

/// Whose code a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The service's own.
    Application,
    /// The standard library, libc, a runtime or a dependency.
    Library,
}

/// Crates that come with the compiler or that nearly every service links: known without line tables.
const LIBRARY_CRATES: &[&str] = &[
    "std",
    "core",
    "alloc",
    "proc_macro",
    "test",
    "compiler_builtins",
    "panic_unwind",
    "hashbrown",
    "addr2line",
    "gimli",
    "rustc_demangle",
    "backtrace",
    "tokio",
    "tokio_util",
    "tokio_stream",
    "mio",
    "futures",
    "futures_util",
    "futures_core",
    "futures_executor",
    "futures_channel",
    "async_std",
    "async_executor",
    "async_task",
    "smol",
    "polling",
    "rayon",
    "rayon_core",
    "crossbeam",
    "crossbeam_channel",
    "crossbeam_deque",
    "crossbeam_epoch",
    "crossbeam_utils",
    "parking_lot",
    "parking_lot_core",
    "lock_api",
    "once_cell",
    "lazy_static",
    "hyper",
    "hyper_util",
    "h2",
    "h3",
    "http",
    "http_body",
    "http_body_util",
    "httparse",
    "tower",
    "tower_http",
    "tower_layer",
    "tower_service",
    "axum",
    "axum_core",
    "actix_web",
    "actix_http",
    "actix_rt",
    "warp",
    "tonic",
    "prost",
    "bytes",
    "serde",
    "serde_core",
    "serde_json",
    "bincode",
    "itoa",
    "ryu",
    "memchr",
    "regex",
    "regex_automata",
    "regex_syntax",
    "aho_corasick",
    "tracing",
    "tracing_core",
    "tracing_subscriber",
    "log",
    "smallvec",
    "indexmap",
    "ahash",
    "rand",
    "rand_core",
    "rand_chacha",
    "sha2",
    "sha1",
    "digest",
    "block_buffer",
    "ring",
    "rustls",
    "zstd",
    "zstd_safe",
    "zstd_sys",
    "flate2",
    "miniz_oxide",
    "sqlx",
    "sqlx_core",
    "reqwest",
    "uuid",
    "chrono",
    "time",
    "mimalloc",
    "tikv_jemallocator",
    "jemallocator",
    "libc",
    "nix",
    "rustix",
    "anyhow",
    "thiserror",
    "tephra_agent",
    "__gnu_cxx",
    "boost",
    "absl",
];

/// Files of the operating system: nobody's service.
const LIBRARY_MODULES: &[&str] = &[
    "libc.",
    "libc-",
    "libm.",
    "libm-",
    "ld-linux",
    "ld-musl",
    "libpthread",
    "libdl",
    "librt",
    "libgcc_s",
    "libstdc++",
    "libc++",
    "libunwind",
    "libjemalloc",
    "libtcmalloc",
    "libmimalloc",
    "libssl",
    "libcrypto",
    "libz.",
    "libzstd",
    "linux-vdso",
    "[vdso]",
    "[kernel",
    "vmlinux",
];

/// C functions that are linked into the binary itself.
const LIBRARY_FUNCTIONS: &[&str] = &[
    "_start",
    "__libc_start_main",
    "__libc_start_call_main",
    "start_thread",
    "clone",
    "clone3",
    "__clone3",
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "bcmp",
    "strlen",
    "malloc",
    "calloc",
    "realloc",
    "free",
];

/// Whose code a frame is: by where its source lies if that is known, else by crate, module and name.
pub fn of(frame: &FrameInfo) -> Origin {
    // An address means nothing in another build: its named caller answers for it.
    if frame.flags & (flag::ROOT | flag::TRUNCATED | flag::SMALL | flag::UNRESOLVED) != 0 {
        return Origin::Library;
    }
    if LIBRARY_MODULES.iter().any(|module| frame.module.starts_with(module)) {
        return Origin::Library;
    }
    let name = &*frame.function;
    let library = LIBRARY_CRATES.contains(&crate_of(name))
        || LIBRARY_FUNCTIONS.contains(&name)
        || name.starts_with("__rust_")
        || name.starts_with("__rdl_")
        || name.starts_with("__rustc")
        || is_dependency(&frame.file);
    if library { Origin::Library } else { Origin::Application }
}

/// The crate (or outermost namespace) a function's code was written in: for `<shop::Cart as core::fmt::Display>::fmt`
/// that is `shop`, for `<T as Trait>::method` on a built-in type the trait's.
fn crate_of(name: &str) -> &str {
    let mut rest = name;
    loop {
        let start = rest;
        rest = rest.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
        for word in ["mut ", "const ", "dyn ", "impl "] {
            rest = rest.strip_prefix(word).unwrap_or(rest);
        }
        if rest.len() == start.len() {
            break;
        }
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$'))).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    if after.starts_with("::") {
        return word;
    }
    // `<u8 as shop::Encode>::encode`, `<[T] as …>`, `<T as …>`: the trait says whose it is.
    match name.split_once(" as ") {
        Some((head, tail)) if name.starts_with('<') && !head.contains("::") => crate_of(tail),
        _ => word,
    }
}

/// Paths are shortened to `name-1.2.3/src/…` for dependencies and to `core/src/…` for the standard library.
fn is_dependency(file: &str) -> bool {
    let Some((package, _)) = file.split_once('/') else { return false };
    let Some((_, version)) = package.rsplit_once('-') else { return false };
    let mut numbers = version.split(['.', '+']);
    let first_two = [numbers.next(), numbers.next()];
    first_two.iter().all(|n| n.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())))
}

/// The function a closure is written in; any other function itself.
pub fn enclosing_function(name: &str) -> &str {
    let mut name = name;
    while let Some(outer) = name.strip_suffix("::{{closure}}") {
        name = outer;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(function: &str, module: &str, file: &str, expected: Origin) {
        let frame =
            FrameInfo { function: function.into(), module: module.into(), file: file.into(), line: 0, flags: 0 };
        assert_eq!(of(&frame), expected, "{function} in {module} at {file}");
    }

    #[test]
    fn code_is_told_by_who_wrote_it() {
        use Origin::{Application, Library};
        check("shop::tax::compute", "shop", "shop/src/tax.rs", Application);
        check("shop::tax::compute", "shop", "", Application);
        check("core::ptr::drop_in_place<shop::Cart>", "shop", "", Library);
        check("<shop::Cart as core::fmt::Display>::fmt", "shop", "", Application);
        check("<alloc::vec::Vec<shop::Cart> as core::clone::Clone>::clone", "shop", "", Library);
        check("<&mut I as core::iter::Iterator>::next", "shop", "", Library);
        check("<u64 as shop::Encode>::encode", "shop", "", Application);
        check("<T as core::convert::Into<U>>::into", "shop", "", Library);
        check("unheard_of::parse", "shop", "unheard_of-1.2.3/src/lib.rs", Library);
        check("shop_v2::parse", "shop", "shop-v2/src/lib.rs", Application);
        check("whatever", "libc.so.6", "", Library);
        check("__memmove_avx_unaligned_erms", "libc.so.6", "", Library);
        check("main", "shop", "", Application);
        check("main.handler", "shop", "", Application);
    }

    #[test]
    fn closures_belong_to_their_function() {
        assert_eq!(enclosing_function("shop::f::{{closure}}::{{closure}}"), "shop::f");
        assert_eq!(enclosing_function("shop::f"), "shop::f");
    }
}
