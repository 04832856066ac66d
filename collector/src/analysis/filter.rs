//! Filters over stacks, as they are typed, clicked and sent: `keep:crate:shop`, `hide:family:runtime`, `focus:/^shop::tax/`.
//!
//! The web view has the same grammar (`web/view/profile/search.ts`, `transform.ts`); `web/view-tests/filters.json` holds cases that
//! both are tested with.

use regex::bytes::{Regex, RegexBuilder};

use super::families::Families;
use crate::profile::names::crate_of;
use crate::profile::tree::{FrameInfo, Tree, flag};

/// Filters of one answer.
const FILTERS_MAX: usize = 16;

/// Of one filter: a long C++ name fits.
const FILTER_BYTES_MAX: usize = 2 << 10;

/// Of one compiled expression.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// What is done with frames that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only stacks that have one.
    Keep,
    /// Only stacks that have none.
    Drop,
    /// They vanish, and their cost goes to their callers.
    Hide,
    /// Stacks start at the first of them.
    Focus,
    /// They come first, and their callers below them.
    Pivot,
}

/// The last two as links of earlier versions have them.
const KINDS: [(&str, Kind); 7] = [
    ("keep", Kind::Keep),
    ("drop", Kind::Drop),
    ("hide", Kind::Hide),
    ("focus", Kind::Focus),
    ("pivot", Kind::Pivot),
    ("with", Kind::Keep),
    ("without", Kind::Drop),
];

/// With `hide`: frames of runtimes and servers that lead to the program's own code.
const FRAMEWORKS: &str = "@frameworks";

/// What no family's rule names.
const OWN: &str = "own";

/// Why a filter was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// More than anybody stacks.
    #[error("{count} filters, limit {FILTERS_MAX}")]
    TooMany {
        /// How many came.
        count: usize,
    },
    /// Longer than a name.
    #[error("a filter of {bytes} bytes, limit {FILTER_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Another word in front.
    #[error("filter {text:?} is not known")]
    Unknown {
        /// Its start.
        text: String,
    },
    /// Nothing to look for.
    #[error("filter {text:?} does not say what to look for")]
    Empty {
        /// Its start.
        text: String,
    },
    /// An expression that does not compile.
    #[error("filter {text:?}: {reason}")]
    BadExpression {
        /// Its start.
        text: String,
        /// What the expression compiler says.
        reason: String,
    },
}

impl FilterError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "join patterns with commas: hide:crate:tokio, crate:hyper",
            Self::TooLong { .. } => "use a part of the name",
            Self::Unknown { .. } => "start it with keep:, drop:, hide:, focus: or pivot:",
            Self::Empty { .. } => "write a part of a name, crate:, family:, file:, fn: or /regex/",
            Self::BadExpression { .. } => "expressions are those of the Rust crate regex, without look-around",
        }
    }
}

/// Filters in the order they are applied.
#[derive(Debug, Clone, Default)]
pub struct Filters(Vec<Filter>);

#[derive(Debug, Clone)]
enum Filter {
    Frameworks,
    Matching(Kind, Vec<Term>),
}

/// One of the alternatives of a pattern. Texts are in small letters, but for whole names.
#[derive(Debug, Clone)]
enum Term {
    Part(String),
    Name(String),
    Crate(String),
    Family(String),
    File(String),
    Expression(Regex),
}

impl Filters {
    /// Reads filters, such as `keep:crate:shop`.
    ///
    /// # Errors
    /// When there are too many, or one of them is too long, of no known kind, empty, or holds an expression that does not compile.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, FilterError> {
        if texts.len() > FILTERS_MAX {
            return Err(FilterError::TooMany { count: texts.len() });
        }
        texts.iter().map(|text| Filter::parse(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they leave of a tree.
    pub fn apply(&self, tree: Tree) -> Tree {
        self.0.iter().fold(tree, |tree, filter| filter.apply(&tree))
    }
}

impl Filter {
    fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong { bytes: text.len() });
        }
        let shown = || text.chars().take(64).collect::<String>();
        let (word, pattern) = text.split_once(':').unwrap_or((text, ""));
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == word) else {
            return Err(FilterError::Unknown { text: shown() });
        };
        if *kind == Kind::Hide && pattern == FRAMEWORKS {
            return Ok(Self::Frameworks);
        }
        let term = |term: &str| {
            Term::parse(term).map_err(|error| FilterError::BadExpression { text: shown(), reason: reason(&error) })
        };
        let terms: Vec<Term> = terms(pattern).into_iter().filter(|t| *t != "/").map(term).collect::<Result<_, _>>()?;
        if terms.is_empty() { Err(FilterError::Empty { text: shown() }) } else { Ok(Self::Matching(*kind, terms)) }
    }

    fn apply(&self, tree: &Tree) -> Tree {
        let families = Families::reviewed();
        let family_of = families.classify(&tree.frames);
        let family = |frame: usize| families.name(family_of.get(frame).copied().unwrap_or(0));
        match self {
            Self::Frameworks => {
                let is_hidden = towers(tree, &family);
                tree.hide(|node| is_hidden[node])
            }
            Self::Matching(kind, terms) => {
                let is_match = |(i, frame): (usize, &FrameInfo)| {
                    frame.flags & flag::ROOT == 0 && terms.iter().any(|term| term.finds(frame, family(i)))
                };
                let matches: Vec<bool> = tree.frames.iter().enumerate().map(is_match).collect();
                match kind {
                    Kind::Keep => tree.keep(&matches, true),
                    Kind::Drop => tree.keep(&matches, false),
                    Kind::Hide => tree.hide(|node| matches[tree.nodes[node].frame as usize]),
                    Kind::Focus => tree.start_at(&matches),
                    Kind::Pivot => tree.callers_of(&matches),
                }
            }
        }
    }
}

/// The last line of what the compiler of expressions says: the ones before it draw a picture.
fn reason(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Nodes of carrying families that lead to code which no family names, as the program's own: what only they call is theirs.
fn towers<'a>(tree: &Tree, family: &impl Fn(usize) -> &'a str) -> Vec<bool> {
    let carriers = Families::carriers();
    let own = Families::reviewed().name(0);
    let mut leads = vec![false; tree.nodes.len()];
    let mut hidden = vec![false; tree.nodes.len()];
    for i in (1..tree.nodes.len()).rev() {
        let node = tree.nodes[i];
        let family = family(node.frame as usize);
        hidden[i] = leads[i] && carriers.iter().any(|carrier| carrier == family);
        if leads[i] || family == own {
            leads[node.parent as usize] = true;
        }
    }
    hidden
}

impl Term {
    fn parse(term: &str) -> Result<Self, regex::Error> {
        if let Some(expression) = term.strip_prefix('/') {
            let expression = expression.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(expression);
            // Bytes, and letters of ASCII alone: the same names match whatever tables the library was built with.
            let compiled = RegexBuilder::new(expression)
                .case_insensitive(true)
                .unicode(false)
                .size_limit(EXPRESSION_BYTES_MAX)
                .dfa_size_limit(EXPRESSION_BYTES_MAX)
                .build()?;
            return Ok(Self::Expression(compiled));
        }
        let (by, word) = term.split_once(':').filter(|(_, word)| !word.is_empty()).unwrap_or(("", term));
        let wanted = word.trim().to_lowercase();
        Ok(match by {
            "fn" => Self::Name(word.to_owned()),
            "crate" => Self::Crate(wanted),
            "family" => Self::Family(wanted),
            "file" => Self::File(wanted),
            _ => Self::Part(term.to_lowercase()),
        })
    }

    fn finds(&self, frame: &FrameInfo, family: &str) -> bool {
        match self {
            Self::Part(part) => frame.function.to_lowercase().contains(part.as_str()),
            Self::Name(name) => *name == *frame.function,
            Self::Crate(name) => crate_of(&frame.function, &frame.module).to_lowercase() == *name,
            Self::Family(name) if name == OWN => family == Families::reviewed().name(0),
            Self::Family(name) => family.to_lowercase() == *name,
            Self::File(part) => frame.file.to_lowercase().contains(part.as_str()),
            Self::Expression(expression) => expression.is_match(frame.function.as_bytes()),
        }
    }
}

/// Terms between commas. Those inside `/…/`, and after `fn:`, belong to what they stand in.
fn terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let end = match rest {
            "" => return terms,
            _ if rest.starts_with("fn:") => rest.len(),
            _ if rest.starts_with('/') => expression_end(rest),
            _ => rest.find(',').unwrap_or(rest.len()),
        };
        let (term, after) = rest.split_at(end);
        terms.push(term.trim());
        rest = after;
    }
}

/// Where an expression ends: behind a slash that a comma or nothing follows; an open one takes all.
fn expression_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '/' if at > 1 => {
                let after = text.get(at + 1..).unwrap_or_default().trim_start();
                if after.is_empty() || after.starts_with(',') {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::profile::testing::Sketch;

    /// What the web view's tests read too.
    const CASES: &str = include_str!("../../../web/view-tests/filters.json");

    #[derive(Deserialize)]
    struct Cases {
        stacks: BTreeMap<String, u64>,
        cases: Vec<Case>,
        refused: Vec<String>,
    }

    #[derive(Deserialize)]
    struct Case {
        filters: Vec<String>,
        left: BTreeMap<String, u64>,
    }

    fn cases() -> Cases {
        serde_json::from_str(CASES).unwrap()
    }

    fn tree(stacks: &BTreeMap<String, u64>) -> Tree {
        let mut sketch = Sketch::cpu(1);
        for (stack, value) in stacks {
            let place = |name: &str| if name.contains("::") { name.to_owned() } else { format!("libc.so.6!{name}") };
            sketch.add_frames(stack.split(';').map(place).collect(), 0, *value, 1);
        }
        let (merged, resolutions) = sketch.finish();
        Tree::of((&merged, &resolutions))
    }

    fn costs(tree: &Tree) -> BTreeMap<String, u64> {
        let named = |node: usize| {
            let path: Vec<&str> =
                tree.path(node).into_iter().map(|frame| &*tree.frames[frame as usize].function).collect();
            path.join(";")
        };
        let own = &tree.sides[0].own;
        (0..own.len()).filter(|node| own[*node] > 0).map(|node| (named(node), own[node])).collect()
    }

    #[test]
    fn filters_leave_what_they_leave_in_the_view() {
        let Cases { stacks, cases, .. } = cases();
        for Case { filters, left } in cases {
            let shown = Filters::parse(&filters).unwrap().apply(tree(&stacks));
            assert_eq!(costs(&shown), left, "{filters:?}");
            assert_eq!(shown.sides[0].facts.total, left.values().sum::<u64>(), "{filters:?}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_what_to_do() {
        for text in cases().refused {
            let error = Filters::parse(&[&text]).expect_err(&text);
            assert!(!error.to_string().is_empty() && !error.hint().is_empty(), "{text}");
        }
        let error = Filters::parse(&["keep:x"; 17]).unwrap_err();
        assert_eq!(error.to_string(), "17 filters, limit 16");
        let error = Filters::parse(&[format!("keep:{}", "x".repeat(2044))]).unwrap_err();
        assert_eq!(error.to_string(), "a filter of 2049 bytes, limit 2048");
        for expression in ["(?=a)", "a{1000}{1000}", "\\p{Greek}"] {
            let error = Filters::parse(&[format!("keep:/{expression}/")]).unwrap_err();
            assert!(matches!(error, FilterError::BadExpression { .. }), "{error}");
        }
    }

    #[test]
    fn files_are_found_by_a_part_of_their_path() {
        let stacks = BTreeMap::from([("shop::a;shop::b".to_owned(), 3)]);
        let mut tree = tree(&stacks);
        let a = tree.frames.iter().position(|frame| &*frame.function == "shop::a").unwrap();
        tree.frames[a].file = "shop/src/Tax.rs".into();
        let shown = Filters::parse(&["hide:file:SRC/tax"]).unwrap().apply(tree);
        assert_eq!(costs(&shown), BTreeMap::from([("shop::b".to_owned(), 3)]));
    }
}
