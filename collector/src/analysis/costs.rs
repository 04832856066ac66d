//! What functions cost, as counters: by rules, from each window that is stored. So a rule of an alert can be about a function.
//!
//! A rule names a service, and functions or families of its work. Counters only ever grow, and begin anew with the collector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use regex::{Regex, RegexBuilder};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use tephra_proto::ids::ServiceName;

use super::families::Families;
use super::table::functions;
use crate::profile::decode::Window;
use crate::profile::model::{Cost, Kind, Merged, ProfileType, Row};
use crate::profile::tree::{Tree, flag};
use crate::symbols::Symbols;

/// Rules of one file, and patterns of one rule.
const RULES_MAX: usize = 256;
const PATTERNS_MAX: usize = 64;

/// What one expression may take once it is compiled.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Functions of one rule with counters of their own.
const FUNCTIONS_MAX: usize = 200;

/// What those beyond are counted as.
const OTHERS: &str = "[others]";

/// Code without names, itself: what functions of the rule may have cost besides.
const UNKNOWN: &str = "[unknown]";

/// All of the service and type.
const ALL: &str = "[all]";

/// Why a file of rules is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CostRuleError {
    /// Not `[[rule]]` tables with the fields that there are.
    #[error(transparent)]
    Syntax(#[from] toml::de::Error),
    /// More of something than there may be.
    #[error("{count} {what}, limit {limit}")]
    TooMany {
        /// In the plural.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A rule that cannot be meant.
    #[error("rule {name:?}: {why}")]
    Rule {
        /// Its name.
        name: String,
        /// What is wrong, and what may stand there.
        why: String,
    },
}

/// Rules, and what they have counted.
#[derive(Debug)]
pub struct Costs {
    rules: Vec<Rule>,
    /// By rule, so that it is known at once how many it has.
    counted: Mutex<BTreeMap<String, BTreeMap<Counter, u64>>>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    service: String,
    profile_type: String,
    of: Of,
}

#[derive(Debug)]
enum Of {
    /// With all that they call, or themselves alone.
    Functions {
        patterns: Vec<Pattern>,
        itself: bool,
    },
    Families(Vec<String>),
}

#[derive(Debug)]
enum Pattern {
    Whole(String),
    Part(Regex),
}

/// What is counted by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counter {
    /// Name of the rule.
    pub rule: String,
    /// The service.
    pub service: String,
    /// The profile type.
    pub profile_type: String,
    /// Unit of the type.
    pub unit: String,
    /// A function or a family; or one of the names in brackets.
    pub what: String,
}

/// What a window adds.
pub type Added = Vec<(Counter, u64)>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Draft>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    name: String,
    service: String,
    #[serde(rename = "type", default = "cpu")]
    profile_type: String,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default)]
    families: Vec<String>,
    #[serde(default)]
    itself: bool,
}

fn cpu() -> String {
    "cpu".to_owned()
}

impl Costs {
    /// Reads `[[rule]]` tables: `name`, `service`, `type` (cpu by default), and either `functions` (whole names, or `/expressions/`; with
    /// `itself = true` without what they call) or `families`.
    ///
    /// # Errors
    /// When one of them cannot be meant, or there are too many.
    pub fn parse(text: &str) -> Result<Self, CostRuleError> {
        let drafts = toml::from_str::<File>(text)?.rule;
        if drafts.len() > RULES_MAX {
            return Err(CostRuleError::TooMany { what: "rules", count: drafts.len(), limit: RULES_MAX });
        }
        let mut names = BTreeSet::new();
        let mut rules = Vec::new();
        for draft in drafts {
            let wrong = |why: String| CostRuleError::Rule { name: draft.name.clone(), why };
            if draft.name.is_empty() || draft.name.len() > 64 || !names.insert(draft.name.clone()) {
                return Err(wrong("a name has 1 to 64 bytes, and is given once".to_owned()));
            }
            ServiceName::parse(&draft.service).map_err(|error| wrong(format!("service: {error}")))?;
            let patterns = draft.functions.len() + draft.families.len();
            if patterns > PATTERNS_MAX {
                return Err(CostRuleError::TooMany {
                    what: "patterns of a rule",
                    count: patterns,
                    limit: PATTERNS_MAX,
                });
            }
            let of = match (draft.functions.is_empty(), draft.families.is_empty()) {
                (false, true) => {
                    let patterns = draft.functions.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>();
                    Of::Functions { patterns: patterns.map_err(wrong)?, itself: draft.itself }
                }
                (true, false) if !draft.itself => {
                    let known = Families::reviewed().names();
                    if let Some(strange) = draft.families.iter().find(|family| !known.contains(family)) {
                        return Err(wrong(format!("there is no family {strange:?}: one of {}", known.join(", "))));
                    }
                    Of::Families(draft.families.clone())
                }
                _ => return Err(wrong("it needs either functions, or families without itself".to_owned())),
            };
            rules.push(Rule { name: draft.name, service: draft.service, profile_type: draft.profile_type, of });
        }
        Ok(Self { rules, counted: Mutex::default() })
    }

    /// What a window adds to the counters, once it is stored; none where no rule is about it. Looks up symbols, so it blocks.
    pub fn of_window(&self, window: &Window, symbols: &Symbols) -> Added {
        let service = window.header.service.as_str();
        let mut added = Added::new();
        let mine: Vec<&Rule> = self.rules.iter().filter(|rule| rule.service == service).collect();
        let types: BTreeSet<&str> = mine.iter().map(|rule| rule.profile_type.as_str()).collect();
        let mut resolutions = None;
        for wanted in types {
            let Some(merged) = merged(window, wanted) else { continue };
            let resolutions = resolutions.get_or_insert_with(|| symbols.resolve(&window.modules, &window.frames));
            let tree = Tree::of((&merged, resolutions));
            for rule in mine.iter().filter(|rule| rule.profile_type == wanted) {
                let counter = |what: &str| Counter {
                    rule: rule.name.clone(),
                    service: service.to_owned(),
                    profile_type: wanted.to_owned(),
                    unit: merged.profile_type.unit.clone(),
                    what: what.to_owned(),
                };
                let costs = rule.of.costs(&tree);
                added.extend(costs.into_iter().map(|(what, value)| (counter(&what), value)));
                added.push((counter(ALL), merged.total()));
            }
        }
        added
    }

    /// Counts what a window adds.
    pub fn add(&self, added: &Added) {
        let mut counted = self.lock();
        for (counter, value) in added {
            let of_rule = counted.entry(counter.rule.clone()).or_default();
            // Names that begin alike are anybody's to choose.
            let is_ours = [ALL, UNKNOWN].contains(&counter.what.as_str());
            let counter = match is_ours || of_rule.contains_key(counter) || of_rule.len() < FUNCTIONS_MAX {
                true => counter.clone(),
                false => Counter { what: OTHERS.to_owned(), ..counter.clone() },
            };
            let sum = of_rule.entry(counter).or_default();
            *sum = sum.saturating_add(*value);
        }
    }

    /// All counters with what they have counted, in units of their types.
    pub fn counted(&self) -> Vec<(Counter, u64)> {
        self.lock().values().flatten().map(|(counter, value)| (counter.clone(), *value)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Counter, u64>>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Of {
    /// What each function or family of it costs.
    fn costs(&self, tree: &Tree) -> Vec<(String, u64)> {
        match self {
            Self::Functions { patterns, itself } => {
                let (mut costs, mut unknown) = (Vec::new(), 0u64);
                for row in functions(tree, 0) {
                    let Some(frame) = tree.frames.get(row.frame as usize) else { continue };
                    let cost = if *itself { row.own } else { row.total };
                    if frame.flags & flag::UNRESOLVED != 0 {
                        unknown = unknown.saturating_add(row.own);
                    } else if cost > 0 && patterns.iter().any(|pattern| pattern.is_match(&frame.function)) {
                        costs.push((frame.function.to_string(), cost));
                    }
                }
                costs.push((UNKNOWN.to_owned(), unknown));
                costs
            }
            Self::Families(wanted) => {
                let families = Families::reviewed();
                let shares = families.shares(tree, &families.classify(&tree.frames), 0);
                let named = families.names().into_iter().zip(shares);
                named.filter(|(name, _)| wanted.contains(name)).collect()
            }
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        match inner {
            Some(inner) => {
                let regex = RegexBuilder::new(inner).size_limit(REGEX_BYTES_MAX).build();
                regex
                    .map(Self::Part)
                    .map_err(|error| format!("{text}: {}", error.to_string().lines().last().unwrap_or_default()))
            }
            None if text.is_empty() => Err("a function has a name".to_owned()),
            None => Ok(Self::Whole(text.to_owned())),
        }
    }

    fn is_match(&self, function: &str) -> bool {
        match self {
            Self::Whole(name) => name == function,
            Self::Part(regex) => regex.is_match(function),
        }
    }
}

/// All that a window says of a type that adds up over time; `None` where it says nothing.
fn merged(window: &Window, wanted: &str) -> Option<Merged> {
    let series = || window.series.iter().filter(|series| series.profile_type.name == wanted);
    let profile_type: ProfileType = series().next()?.profile_type.clone();
    if profile_type.kind != Kind::Counter {
        return None;
    }
    let mut sums: FxHashMap<u32, (u64, u64)> = FxHashMap::default();
    for row in series().filter(|series| series.profile_type.measures_as(&profile_type)).flat_map(|series| &series.rows)
    {
        let (value, samples) = sums.entry(row.node).or_default();
        (*value, *samples) = (value.saturating_add(row.value), samples.saturating_add(row.samples));
    }
    let mut rows: Vec<Row> =
        sums.into_iter().map(|(node, (value, samples))| Row { node, replicate: 0, value, samples }).collect();
    rows.sort_unstable_by_key(|row| row.node);
    let (from_ms, until_ms) = (window.header.start_ms, window.header.end_ms());
    let seconds = (until_ms - from_ms) as f64 / 1e3;
    Some(Merged {
        profile_type,
        from_ms,
        until_ms,
        received_from_ms: from_ms,
        received_until_ms: until_ms,
        modules: window.modules.clone(),
        frames: window.frames.clone(),
        nodes: window.nodes.clone(),
        rows,
        replicate_seconds: vec![seconds],
        replicate_from_ms: vec![from_ms],
        covered_seconds: seconds,
        windows: 1,
        instances: BTreeSet::new(),
        labels: BTreeSet::new(),
        empty_because: None,
        partial: None,
        cost: Cost::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_cannot_be_meant_are_refused_by_name() {
        let rule = |more: &str| format!("[[rule]]\nname = \"a\"\nservice = \"shop\"\n{more}");
        assert_eq!(Costs::parse("").unwrap().rules.len(), 0);
        assert_eq!(Costs::parse(&rule("functions = [\"f\", \"/^g/\"]")).unwrap().rules[0].profile_type, "cpu");
        for (text, says) in [
            ("[[rule]]\nname = \"a\"".to_owned(), "service"),
            (rule(""), "either functions, or families"),
            (rule("functions = [\"f\"]\nfamilies = [\"allocation\"]"), "either functions, or families"),
            (rule("families = [\"allocation\"]\nitself = true"), "either functions, or families"),
            (rule("families = [\"nonsense\"]"), "no family \"nonsense\": one of unknown"),
            (rule("functions = [\"/(/\"]"), "/(/"),
            (rule("functions = [\"\"]"), "has a name"),
            (rule("functons = [\"f\"]"), "functons"),
            (rule(&format!("functions = {:?}", vec!["f"; 65])), "65 patterns of a rule, limit 64"),
            (rule("functions = [\"f\"]\n").repeat(2), "given once"),
            (rule("functions = [\"f\"]").replace("shop", "a b"), "service: "),
        ] {
            let error = Costs::parse(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}\n{error}");
        }
    }

    #[test]
    fn functions_beyond_the_limit_are_counted_together() {
        let costs = Costs::parse("").unwrap();
        let counter = |what: String| Counter {
            rule: "r".to_owned(),
            service: "s".to_owned(),
            profile_type: "cpu".to_owned(),
            unit: "nanoseconds".to_owned(),
            what,
        };
        let added: Added = (0..FUNCTIONS_MAX as u64 + 50).map(|i| (counter(format!("f{i}")), 2)).collect();
        costs.add(&added);
        costs.add(&added);
        let counted = costs.counted();
        assert_eq!(counted.len(), FUNCTIONS_MAX + 1);
        assert!(counted.contains(&(counter(OTHERS.to_owned()), 200)), "{counted:?}");
        assert!(counted.contains(&(counter("f7".to_owned()), 4)));
        // Whoever names functions may begin them as our own names begin.
        costs.add(&(0..1_000).map(|i| (counter(format!("[f{i}]")), 1)).collect());
        assert_eq!(costs.counted().len(), FUNCTIONS_MAX + 1);
        costs.add(&vec![(counter(ALL.to_owned()), 7), (counter(UNKNOWN.to_owned()), 1)]);
        assert!(costs.counted().contains(&(counter(ALL.to_owned()), 7)), "ours have room whatever there is");
        costs.add(&vec![(Counter { rule: "another".to_owned(), ..counter("f".to_owned()) }, 3)]);
        assert_eq!(costs.counted().len(), FUNCTIONS_MAX + 4, "each rule has room of its own");
    }
}
