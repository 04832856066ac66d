//! Bottleneck families: which kind of work a frame is, by the reviewed rules in `families.toml`.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};
use serde::Deserialize;

use crate::profile::tree::{FrameInfo, Tree, flag};

const REVIEWED: &str = include_str!("families.toml");

/// What no rule names.
const UNKNOWN: &str = "unknown";

/// Families whose purpose is to call other code: what no rule names below them is that other code, usually the program's own, and
/// none of their cost. All other families own what they call: a helper of the serializer is serialization.
const CARRIERS: [&str; 4] = ["profiler", "logging", "network", "runtime"];

/// Compiled rules.
#[derive(Debug)]
pub struct Families {
    /// Position 0 is "unknown".
    names: Vec<String>,
    rules: Vec<Rule>,
    functions: RegexSet,
    modules: RegexSet,
}

#[derive(Debug)]
struct Rule {
    family: u16,
    /// Position in the set of function or module expressions.
    function: Option<usize>,
    module: Option<usize>,
}

/// Why a rule file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Not a list of `[[rule]]` tables with `family`, `function` and `module`.
    #[error(transparent)]
    Syntax(#[from] toml::de::Error),
    /// A rule without family, or without anything to match.
    #[error("rule {rule}: needs a family, and a function or module to match")]
    Incomplete {
        /// 1-based.
        rule: usize,
    },
    /// An expression that does not compile.
    #[error("rule {rule}: {reason}")]
    BadExpression {
        /// 1-based.
        rule: usize,
        /// What the expression compiler says.
        reason: String,
    },
}

impl Families {
    /// The rules that are built in.
    pub fn reviewed() -> &'static Self {
        static RULES: LazyLock<Families> =
            LazyLock::new(|| Families::parse(REVIEWED).expect("a test checks the built-in rules"));
        &RULES
    }

    /// Reads `[[rule]]` tables.
    ///
    /// # Errors
    /// When they say something else than rules do, or an expression does not compile.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let RuleFile { rule: drafts } = toml::from_str(text)?;
        let mut names = vec![UNKNOWN.to_owned()];
        let (mut rules, mut functions, mut modules) = (Vec::new(), Vec::new(), Vec::new());
        for (i, draft) in drafts.into_iter().enumerate() {
            let family = draft.family.filter(|f| !f.is_empty()).ok_or(RuleError::Incomplete { rule: i + 1 })?;
            if draft.function.is_none() && draft.module.is_none() {
                return Err(RuleError::Incomplete { rule: i + 1 });
            }
            for expression in [&draft.function, &draft.module].into_iter().flatten() {
                Regex::new(expression).map_err(|e| RuleError::BadExpression { rule: i + 1, reason: e.to_string() })?;
            }
            let family = names.iter().position(|name| *name == family).unwrap_or_else(|| {
                names.push(family);
                names.len() - 1
            }) as u16;
            let place = |expression: Option<String>, set: &mut Vec<String>| {
                expression.map(|e| {
                    set.push(e);
                    set.len() - 1
                })
            };
            let function = place(draft.function, &mut functions);
            let module = place(draft.module, &mut modules);
            rules.push(Rule { family, function, module });
        }
        let compile = |set: &[String]| {
            RegexSet::new(set).map_err(|e| RuleError::BadExpression { rule: 0, reason: e.to_string() })
        };
        Ok(Self { names, rules, functions: compile(&functions)?, modules: compile(&modules)? })
    }

    /// Names of the families; position 0 is "unknown".
    pub fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Names of the families that own only their own functions, not what these call.
    pub fn carriers() -> Vec<String> {
        CARRIERS.map(str::to_owned).into()
    }

    /// One family's name.
    pub fn name(&self, family: u16) -> &str {
        self.names.get(usize::from(family)).map_or(UNKNOWN, String::as_str)
    }

    /// Which kind of work a function is: the first rule that matches, or 0.
    pub fn family(&self, function: &str, module: &str) -> u16 {
        match self.family_as_written(function, module) {
            0 if function.starts_with("__") => self.family_as_written(c_name(function), module),
            family => family,
        }
    }

    fn family_as_written(&self, function: &str, module: &str) -> u16 {
        let (functions, modules) = (self.functions.matches(function), self.modules.matches(module));
        let holds = |expression: Option<usize>, set: &regex::SetMatches| expression.is_none_or(|e| set.matched(e));
        let rule = self.rules.iter().find(|r| holds(r.function, &functions) && holds(r.module, &modules));
        rule.map_or(0, |rule| rule.family)
    }

    /// Each frame's family, by position.
    pub fn classify(&self, frames: &[FrameInfo]) -> Vec<u16> {
        let no_function = flag::ROOT | flag::TRUNCATED | flag::SMALL | flag::UNRESOLVED;
        let classify = |frame: &FrameInfo| {
            let function = if frame.flags & no_function == 0 { &*frame.function } else { "" };
            self.family(function, &frame.module)
        };
        frames.iter().map(classify).collect()
    }

    /// The family that each node's own value belongs to: that of the classified frame nearest to it, unless that is a carrier.
    pub fn of_nodes(&self, tree: &Tree, family_of_frame: &[u16]) -> Vec<u16> {
        let mut owner = vec![0u16; tree.nodes.len()];
        let inherited = |family: u16| if CARRIERS.contains(&self.name(family)) { 0 } else { family };
        for (i, node) in tree.nodes.iter().enumerate() {
            let own = family_of_frame.get(node.frame as usize).copied().unwrap_or(0);
            owner[i] = if own > 0 || i == 0 { own } else { inherited(owner[node.parent as usize]) };
        }
        owner
    }

    /// The value of each family on one side.
    pub fn shares(&self, tree: &Tree, family_of_frame: &[u16], side: usize) -> Vec<u64> {
        let mut values = vec![0u64; self.names.len()];
        for (owner, own) in self.of_nodes(tree, family_of_frame).into_iter().zip(&tree.sides[side].own) {
            if let Some(value) = values.get_mut(usize::from(owner)) {
                *value = value.saturating_add(*own);
            }
        }
        values
    }
}

/// The name a function of the C library is called by: inside, it goes by others, such as `__GI___libc_malloc` or
/// `__clock_gettime_2`.
fn c_name(function: &str) -> &str {
    let mut name = function.trim_start_matches('_');
    for prefix in ["GI_", "libc_"] {
        name = name.strip_prefix(prefix).unwrap_or(name).trim_start_matches('_');
    }
    let unnumbered = name.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix('_').unwrap_or(name);
    unnumbered.strip_suffix("_alias").unwrap_or(unnumbered)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    rule: Vec<Draft>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    family: Option<String>,
    function: Option<String>,
    module: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_functions_land_in_their_families() {
        let families = Families::reviewed();
        for (function, module, family) in [
            ("malloc", "libc.so.6", "allocation"),
            ("_int_malloc", "libc.so.6", "allocation"),
            ("__rust_alloc", "shop", "allocation"),
            ("alloc::raw_vec::RawVecInner<A>::finish_grow", "shop", "allocation"),
            ("__memmove_avx_unaligned_erms", "libc.so.6", "copy"),
            ("pthread_mutex_lock", "libc.so.6", "lock"),
            ("___pthread_mutex_lock", "libc.so.6", "lock"),
            ("std::sys::sync::mutex::futex::Mutex::lock_contended", "shop", "lock"),
            ("parking_lot::raw_mutex::RawMutex::lock_slow", "shop", "lock"),
            ("sha2::sha256::compress256", "shop", "crypto"),
            ("zstd_safe::CCtx::compress2", "shop", "compression"),
            ("ZSTD_compressBlock_doubleFast", "shop", "compression"),
            ("<core::hash::sip::Hasher<S> as core::hash::Hasher>::write", "shop", "hashing"),
            ("hashbrown::raw::RawTable<T,A>::reserve_rehash", "shop", "hashing"),
            ("regex_automata::meta::strategy::Core::search", "shop", "regex/parse"),
            ("serde_json::de::from_str", "shop", "serialization"),
            (
                "<&mut serde_json::de::Deserializer<R> as serde::de::Deserializer>::deserialize_str",
                "shop",
                "serialization",
            ),
            ("tracing_subscriber::fmt::format", "shop", "logging"),
            ("core::fmt::write", "shop", "formatting"),
            ("epoll_wait", "libc.so.6", "syscall/io"),
            ("__GI___libc_write", "libc.so.6", "syscall/io"),
            ("__GI___libc_malloc", "libc.so.6", "allocation"),
            ("__free", "libc.so.6", "allocation"),
            ("__clock_gettime_2", "libc.so.6", "syscall/io"),
            ("__libc_recv_alias_1", "libc.so.6", "network"),
            ("__libc_start_main_alias_2", "libc.so.6", "runtime"),
            ("__rustc::__rust_alloc", "shop", "allocation"),
            ("<F as axum::handler::Handler<(M,T1),S>>::call::{{closure}}", "shop", "network"),
            ("<[(K,V); N] as axum_core::response::IntoResponseParts>::into_response_parts", "shop", "network"),
            ("<&mio::net::tcp::stream::TcpStream as std::io::Write>::write_vectored", "shop", "network"),
            ("<core::future::poll_fn::PollFn<F> as core::future::future::Future>::poll", "shop", "runtime"),
            ("__shop_own", "shop", "unknown"),
            ("write", "libc.so.6", "syscall/io"),
            ("anything", "[vdso]", "syscall/io"),
            ("hyper::proto::h1::dispatch::Dispatcher::poll", "shop", "network"),
            ("tokio::runtime::task::raw::poll", "shop", "runtime"),
            ("tephra_agent::sampler::drain", "shop", "profiler"),
            ("core::slice::sort::unstable::quicksort", "shop", "cpu"),
            ("shop::tax::compute", "shop", "unknown"),
            // As names are completed by their files.
            ("alloc::raw_vec::with_capacity_in<alloc::alloc::Global>", "shop", "allocation"),
            ("core::ops::function::call_once<shop::main::{closure_env}, ()>", "shop", "runtime"),
            ("core::slice::sort::unstable::quicksort::partition<u64>", "shop", "cpu"),
            ("tokio::runtime::task::core::{{closure}}<shop::Cart>", "shop", "runtime"),
        ] {
            assert_eq!(families.name(families.family(function, module)), family, "{function}");
        }
    }

    #[test]
    fn mistakes_in_rules_are_named() {
        let error = |text: &str| Families::parse(text).unwrap_err();
        assert!(error("family = \"x\"").to_string().contains("line 1"));
        assert!(error("[[rule]]\nfamily").to_string().contains("line 2"));
        assert_eq!(error("[[rule]]\nfamily = \"x\"\n"), RuleError::Incomplete { rule: 1 });
        assert!(error("[[rule]]\ncolour = \"x\"").to_string().contains("line 2"));
        assert!(matches!(
            error("[[rule]]\nfamily = \"x\"\nfunction = \"(\""),
            RuleError::BadExpression { rule: 1, .. }
        ));
    }
}
