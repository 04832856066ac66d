//! What is linked into every service: the packages that the agent needs with its default features, against those that were weighed.

use std::collections::BTreeSet;

use super::Breach;
use crate::Result;
use crate::tools::{cargo, run_quietly};

/// Packages that services get with the agent, on Linux. TLS is not among them: it is asked for by a feature.
const WEIGHED: &[&str] = &[
    "anyhow",
    "arrayvec",
    "async-trait",
    "atomic-waker",
    "base64",
    "bytes",
    "cfg-if",
    "either",
    "equivalent",
    "fallible-iterator",
    "fnv",
    "framehop",
    "futures-channel",
    "futures-core",
    "futures-sink",
    "futures-task",
    "futures-util",
    "gimli",
    "h2",
    "hashbrown",
    "http",
    "http-body",
    "http-body-util",
    "httparse",
    "hyper",
    "hyper-timeout",
    "hyper-util",
    "indexmap",
    "itertools",
    "itoa",
    "lazy_static",
    "libc",
    "mio",
    "once_cell",
    "percent-encoding",
    "pin-project",
    "pin-project-internal",
    "pin-project-lite",
    "proc-macro2",
    "prost",
    "prost-derive",
    "quote",
    "rustc-hash",
    "sharded-slab",
    "slab",
    "smallvec",
    "socket2",
    "syn",
    "sync_wrapper",
    "thiserror",
    "thiserror-impl",
    "thread_local",
    "tokio",
    "tokio-stream",
    "tokio-util",
    "tonic",
    "tonic-prost",
    "tower",
    "tower-layer",
    "tower-service",
    "tracing",
    "tracing-attributes",
    "tracing-core",
    "tracing-subscriber",
    "try-lock",
    "unicode-ident",
    "want",
    "zstd",
    "zstd-safe",
    "zstd-sys",
];

/// Names packages that came along unweighed, and those that nobody needs any more.
pub(super) fn check() -> Result<Vec<Breach>> {
    let mut command = cargo();
    command.args(["tree", "--locked", "--package", "tephra-agent", "--edges", "normal", "--prefix", "none"]);
    command.args(["--format", "{p}", "--target", "x86_64-unknown-linux-gnu"]);
    Ok(check_against(&run_quietly(&mut command)?, WEIGHED))
}

/// `tree` has a package in each line, its name first.
fn check_against(tree: &str, weighed: &[&str]) -> Vec<Breach> {
    let linked: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let linked: BTreeSet<&str> = linked.into_iter().filter(|name| !name.starts_with("tephra-")).collect();
    let weighed: BTreeSet<&str> = weighed.iter().copied().collect();
    let tell = |name: &&str, problem: &str| Breach::new("agent/Cargo.toml", 0, format!("{name} {problem}"));
    let new = linked.difference(&weighed).map(|name| {
        tell(name, "would be linked into every service: do without, put it behind a feature, or add it in xtask/src/tidy/guest.rs")
    });
    let gone = weighed.difference(&linked);
    new.chain(gone.map(|name| tell(name, "is not needed any more: take it off the list in xtask/src/tidy/guest.rs")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_along_unweighed_is_named_and_so_is_what_has_gone() {
        let tree = "tephra-agent v0.1.0 (/x/agent)\nlibc v0.2.1\ntephra-proto v0.1.0 (/x/proto)\nlibc v0.2.1 (*)\n";
        assert_eq!(check_against(tree, &["libc"]), []);
        let named = |tree: &str, weighed: &[&str]| {
            check_against(tree, weighed).into_iter().map(|breach| breach.message).collect::<Vec<_>>()
        };
        let new = named(&format!("{tree}rustls v0.23.0\n"), &["libc"]);
        assert!(new.len() == 1 && new[0].starts_with("rustls would be linked"), "{new:?}");
        let gone = named(tree, &["libc", "rustls"]);
        assert!(gone.len() == 1 && gone[0].starts_with("rustls is not needed"), "{gone:?}");
    }
}
