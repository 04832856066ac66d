//! What a candidate may cost: a file that can be reviewed like code. In TOML, one line for each thing that has a budget; or, as ever, lines
//! of `name = value`.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::analysis::Filters;
use crate::analysis::families::Families;
use crate::profile::fit::fit;

/// Budgets of one file: more than anybody reads.
const CHECKS_MAX: usize = 64;

/// How much worse a candidate may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Budget {
    /// Samples each side needs before anything can be said.
    pub(super) samples: u64,
    /// What is looked at, in the order of the file.
    pub(super) checks: Vec<Check>,
}

/// One thing, and by how much it may rise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Check {
    /// As the file has it.
    pub(super) text: String,
    /// Of what.
    pub(super) what: What,
    /// 0.05: by a twentieth.
    pub(super) rise: f64,
}

/// What has a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The total, of one type or of the one that is compared. Its rise is a share of itself.
    Total(Option<String>),
    /// Any one function's own work. Its rise is a share of the baseline's total.
    AnyFunction,
    /// Stacks that a filter keeps. Their rise is a share of themselves.
    Stacks {
        /// As the filter has it, such as `keep:/^checkout::price/`.
        filter: String,
    },
}

/// What is wrong with a budget, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub(super) struct BudgetError {
    place: Place,
    problem: String,
}

/// Counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl Place {
    /// Of a byte. Columns are counted in characters.
    fn of(text: &str, at: usize) -> Self {
        let before = text.get(..text.floor_char_boundary(at)).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column }
    }
}

const SAMPLES: u64 = 1_000;
const TOTAL: f64 = 0.05;
const FUNCTION: f64 = 0.02;

impl Default for Budget {
    fn default() -> Self {
        Self::of(TOTAL, FUNCTION, SAMPLES)
    }
}

/// A budget in TOML.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    samples: Option<u64>,
    budgets: Vec<Spanned<String>>,
}

impl Budget {
    fn of(total: f64, function: f64, samples: u64) -> Self {
        let check =
            |text: &str, what: What, rise: f64| Check { text: format!("{text} +{}", percent(rise)), what, rise };
        Self {
            samples,
            checks: vec![check("total", What::Total(None), total), check("any function", What::AnyFunction, function)],
        }
    }

    /// Reads a file; `is_toml` is what its name says.
    pub(super) fn parse(text: &str, is_toml: bool) -> Result<Self, BudgetError> {
        if is_toml { Self::from_toml(text) } else { Self::from_lines(text) }
    }

    fn from_toml(text: &str) -> Result<Self, BudgetError> {
        let at = |span: Option<Range<usize>>| Place::of(text, span.map_or(0, |span| span.start));
        let written: Written = toml::from_str(text)
            .map_err(|error| BudgetError { place: at(error.span()), problem: error.message().to_owned() })?;
        let place = |budget: &Spanned<String>, within: usize| {
            // Behind the quotes, of which a text may have three.
            let start = budget.span().start;
            let written = text.get(budget.span()).unwrap_or_default();
            let quotes = written.len() - written.trim_start_matches(['"', '\'']).len();
            Place::of(text, start + quotes + within)
        };
        if let Some(beyond) = written.budgets.get(CHECKS_MAX) {
            let problem = format!("{} budgets, limit {CHECKS_MAX}", written.budgets.len());
            return Err(BudgetError { place: place(beyond, 0), problem });
        }
        let read = |budget: &Spanned<String>| {
            Check::parse(budget.get_ref())
                .map_err(|(within, problem)| BudgetError { place: place(budget, within), problem })
        };
        let checks: Vec<Check> = written.budgets.iter().map(read).collect::<Result<_, _>>()?;
        if checks.is_empty() {
            let problem = "there is no budget in it: write such as budgets = [\"total cpu +3 %\"]".to_owned();
            return Err(BudgetError { place: Place { line: 1, column: 1 }, problem });
        }
        Ok(Self { samples: written.samples.unwrap_or(SAMPLES), checks })
    }

    /// What the lines do not name keeps its default.
    fn from_lines(text: &str) -> Result<Self, BudgetError> {
        let (mut total, mut function, mut samples) = (TOTAL, FUNCTION, SAMPLES);
        for (i, whole) in text.lines().enumerate() {
            let line = whole.split('#').next().unwrap_or_default();
            let column = |part: &str| {
                1 + whole.find(part.trim()).map_or(0, |at| whole.get(..at).unwrap_or_default().chars().count())
            };
            let wrong = |part: &str, problem: String| BudgetError {
                place: Place { line: i + 1, column: column(part) },
                problem,
            };
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
                return Err(wrong(line, format!("{line:?} is not name = value, such as total = 5%")));
            };
            let share = || share(value).ok_or_else(|| wrong(value, format!("{value:?} is not a share, such as 5%")));
            match name {
                "total" => total = share()?,
                "function" => function = share()?,
                "samples" => {
                    let number = value.parse();
                    samples = number.map_err(|_| wrong(value, format!("{value:?} is not a number of samples")))?;
                }
                _ => return Err(wrong(name, format!("{name:?} is not known; known: total, function, samples"))),
            }
        }
        Ok(Self::of(total, function, samples))
    }
}

/// What a budget line begins with.
const KINDS: &str = "total, fn, family or any function";

impl Check {
    /// Reads `total cpu +3 %`, `fn ^checkout::price +5 %`, `family allocation +10 %` or `any function +2 %`. The error has the byte at which
    /// something is wrong.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let trimmed = text.trim();
        let start = text.len() - text.trim_start().len();
        let rise_at = trimmed.rfind('+').filter(|at| trimmed.get(..*at).is_some_and(|head| head.ends_with(' ')));
        let Some(rise_at) = rise_at else {
            return Err((start, format!("{trimmed:?} does not say by how much it may rise: end it with such as +5 %")));
        };
        let (head, rise) = trimmed.split_at(rise_at);
        let said = rise.get(1..).unwrap_or_default().trim();
        let rise = said.strip_suffix('%').and_then(|_| share(said));
        let rise = rise.ok_or_else(|| (start + rise_at, format!("{said:?} is not a rise, such as 5 %")))?;
        let head = head.trim_end();
        let (word, rest) = head.split_once(' ').unwrap_or((head, ""));
        let (rest_at, rest) = (start + head.len() - rest.trim_start().len(), rest.trim());
        let what = match (word, rest) {
            ("total", "") => What::Total(None),
            ("total", name) if fit(name) == name => What::Total(Some(name.to_owned())),
            ("total", name) => return Err((rest_at, format!("{name:?} is no type of profile, such as cpu"))),
            ("any", "function") => What::AnyFunction,
            ("fn", "") => return Err((start, "fn which? Write such as fn ^checkout::price +5 %".to_owned())),
            ("fn", expression) => What::Stacks { filter: format!("keep:/{}/", escaped(expression)) },
            ("family", name) => family(name).map_err(|problem| (rest_at, problem))?,
            (other, _) => return Err((start, format!("{other:?} is not known: begin it with {KINDS}"))),
        };
        if let What::Stacks { filter } = &what {
            Filters::parse(&[filter]).map_err(|error| (rest_at, error.to_string()))?;
        }
        Ok(Self { text: trimmed.to_owned(), what, rise })
    }
}

/// The slashes of an expression end the filter that it stands in.
fn escaped(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut is_escaped = false;
    for c in expression.chars() {
        if c == '/' && !is_escaped {
            out.push('\\');
        }
        is_escaped = c == '\\' && !is_escaped;
        out.push(c);
    }
    out
}

fn family(name: &str) -> Result<What, String> {
    let (known, carriers) = (Families::reviewed().names(), Families::carriers());
    let own: Vec<&String> = known.iter().skip(1).filter(|known| !carriers.contains(known)).collect();
    if carriers.iter().any(|carrier| carrier == name) {
        return Err(format!("what {name} calls is not its own, and it calls nearly everything: name its functions"));
    }
    if !own.iter().any(|known| *known == name) {
        let own: Vec<&str> = own.into_iter().map(String::as_str).collect();
        return Err(format!("{name:?} is no family; families are {}", own.join(", ")));
    }
    Ok(What::Stacks { filter: format!("keep:family:{name}") })
}

/// `5%` or `0.05`.
fn share(value: &str) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    match value.strip_suffix('%') {
        Some(percent) => number(percent).map(|percent| percent / 100.0),
        None => number(value),
    }
}

fn percent(share: f64) -> String {
    format!("{} %", (share * 1e6).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_read_line_by_line() {
        let text = "# checkout may grow a little\ntotal = 10%\n\nfunction = 0.5 % # each\nsamples=200\n";
        assert_eq!(Budget::parse(text, false), Ok(Budget::of(0.1, 0.005, 200)));
        assert_eq!(Budget::parse("", false), Ok(Budget::default()));
        let names: Vec<String> = Budget::default().checks.into_iter().map(|check| check.text).collect();
        assert_eq!(names, ["total +5 %", "any function +2 %"]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, message) in [
            ("total = 5%\n totl = 5%", "line 2, column 2: \"totl\" is not known"),
            ("total", "line 1, column 1: \"total\" is not name = value"),
            ("total = many", "line 1, column 9: \"many\" is not a share"),
            ("total = -5%", "is not a share"),
            ("total = NaN", "is not a share"),
            ("samples = 1e3", "is not a number of samples"),
        ] {
            let problem = Budget::parse(text, false).unwrap_err().to_string();
            assert!(problem.contains(message), "{problem}");
        }
    }

    #[test]
    fn toml_has_a_line_for_each_thing_that_has_a_budget() {
        let text = "samples = 200\nbudgets = [\n  \"total cpu +3 %\",\n  \"fn ^shop::(a|b)/c +5%\",\n  \"family allocation +10 %\",\n  \"any function +2 %\",\n  \"total +0.5 %\",\n]\n";
        let budget = Budget::parse(text, true).unwrap();
        assert_eq!(budget.samples, 200);
        let read: Vec<(What, f64)> = budget.checks.iter().map(|check| (check.what.clone(), check.rise)).collect();
        let stacks = |filter: &str| What::Stacks { filter: filter.to_owned() };
        assert_eq!(
            read,
            [
                (What::Total(Some("cpu".to_owned())), 0.03),
                (stacks(r"keep:/^shop::(a|b)\/c/"), 0.05),
                (stacks("keep:family:allocation"), 0.1),
                (What::AnyFunction, 0.02),
                (What::Total(None), 0.005),
            ]
        );
    }

    #[test]
    fn mistakes_in_toml_are_named_with_line_and_column() {
        for (text, message) in [
            ("", "line 1, column 1: missing field `budgets`"),
            ("budgets = []", "line 1, column 1: there is no budget in it"),
            ("budgets = [\"total +3 %\"]\nsample = 3", "line 2, column 1: unknown field `sample`"),
            ("budgets = [\n  \"total +3 %\",\n  3,\n]", "line 3, column 3: invalid type"),
            ("budgets = [\n  \"total +3 %\n", "line 2, column"),
            ("budgets = [\"total cpu\"]", "line 1, column 13: \"total cpu\" does not say by how much it may rise"),
            ("budgets = [\"total cpu +3\"]", "line 1, column 23: \"3\" is not a rise"),
            ("budgets = [\"total cpu +-3 %\"]", "\"-3 %\" is not a rise"),
            ("budgets = [\"total CPU +3 %\"]", "line 1, column 19: \"CPU\" is no type of profile"),
            ("budgets = [\n  'totl +3 %'\n]", "line 2, column 4: \"totl\" is not known: begin it with total, fn"),
            ("budgets = [\"fn +3 %\"]", "line 1, column 13: fn which?"),
            ("budgets = [\"fn (unclosed +3 %\"]", "line 1, column 16: filter"),
            ("budgets = [\"family speed +3 %\"]", "line 1, column 20: \"speed\" is no family; families are"),
            ("budgets = [\"family runtime +3 %\"]", "calls nearly everything"),
            ("budgets = [\"é\", \"x\"]", "line 1, column 13: \"é\" does not say"),
        ] {
            let problem = Budget::parse(text, true).unwrap_err().to_string();
            assert!(problem.contains(message), "{text}: {problem}");
        }
        let many = format!("budgets = [{}]", "\"total +1 %\",".repeat(65));
        assert!(Budget::parse(&many, true).unwrap_err().to_string().contains("65 budgets, limit 64"));
    }
}
