//! `tephra gate` and `tephra diff`: what changed between two selections, for pipelines and for terminals.
//!
//! The gate asks the same endpoint as the view, so its verdict and the page it links to cannot disagree. It fails only on
//! changes that chance does not explain: a gate that cries wolf is switched off.
#![expect(clippy::disallowed_methods, reason = "the file is named on the command line")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;

use super::budget::Budget;
use super::client::{Server, query, selection};
use super::fail;
use crate::analysis::movers::SIGNIFICANT;
use crate::analysis::quantity;
use crate::profile::said::plain;

/// What `tephra diff` and `tephra gate` both take.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    server: Server,
    /// What to compare with, such as service=checkout,version=v1,from=now-1h
    #[arg(long, value_name = "SELECTION")]
    baseline: String,
    /// What to judge, such as service=checkout,version=v2,from=now-1h
    #[arg(long, value_name = "SELECTION")]
    candidate: String,
    /// cores, share, instance or total
    #[arg(long, default_value = "cores", value_parser = ["cores", "share", "instance", "total"])]
    basis: String,
}

/// What `tephra gate` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    diff: DiffArgs,
    /// Lines such as `total = 5%`, `function = 2%`, `samples = 1000`
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
}

/// The part of a diff's answer that is judged.
#[derive(Debug, Deserialize)]
struct Answer {
    a: Side,
    b: Side,
    #[serde(default)]
    movers: Vec<Mover>,
    #[serde(default)]
    summary: Vec<Sentence>,
    nodes: Nodes,
}

#[derive(Debug, Deserialize)]
struct Side {
    from: u64,
    until: u64,
    samples: u64,
    value: f64,
    unit: String,
    partial: Option<Partial>,
}

#[derive(Debug, Deserialize)]
struct Partial {
    covered_from: u64,
    #[serde(default)]
    damaged: bool,
}

#[derive(Debug, Deserialize)]
struct Mover {
    name: String,
    a: f64,
    b: f64,
    delta: f64,
    q: f64,
}

#[derive(Debug, Deserialize)]
struct Sentence {
    text: String,
}

#[derive(Debug, Deserialize)]
struct Nodes {
    q: Vec<u32>,
}

/// The verdict on a candidate.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    /// Why, one line each.
    Regressed(Vec<String>),
    /// Nothing can be said.
    Unknown(String),
}

/// Prints the comparison, judges it, and ends with 0 (fine), 1 (regressed) or 2 (cannot tell).
pub(super) fn run(args: &Args) -> ExitCode {
    let budget = match &args.budget {
        None => Ok(Budget::default()),
        Some(file) => match std::fs::read_to_string(file) {
            Ok(text) => Budget::parse(&text).map_err(|problem| format!("{}: {problem}", file.display())),
            Err(error) => Err(format!("cannot read {}: {error}", file.display())),
        },
    };
    let budget = match budget {
        Ok(budget) => budget,
        Err(problem) => return fail(2, &problem),
    };
    let (answer, page) = match ask(&args.diff) {
        Ok(answer) => answer,
        Err(problem) => return fail(2, &problem),
    };
    let verdict = judge(&answer, budget);
    let mut text = table(&answer, &page);
    let code = match &verdict {
        Verdict::Passed => {
            let _ = writeln!(text, "passed: nothing rose beyond its budget");
            0
        }
        Verdict::Regressed(reasons) => {
            for reason in reasons {
                let _ = writeln!(text, "regressed: {reason}");
            }
            1
        }
        Verdict::Unknown(why) => {
            let _ = writeln!(text, "cannot tell: {why}");
            2
        }
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// The verdict on an answer, in words.
#[cfg(test)]
pub(crate) fn verdict_on(answer: serde_json::Value) -> String {
    match judge(&serde_json::from_value(answer).unwrap(), Budget::default()) {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Regressed(reasons) => format!("regressed: {}", reasons.join("; ")),
        Verdict::Unknown(why) => format!("cannot tell: {why}"),
    }
}

/// Prints the comparison.
pub(super) fn run_diff(args: &DiffArgs) -> ExitCode {
    match ask(args) {
        Ok((answer, page)) => {
            let _ = std::io::stdout().write_all(table(&answer, &page).as_bytes());
            ExitCode::SUCCESS
        }
        Err(problem) => fail(1, &problem),
    }
}

fn ask(args: &DiffArgs) -> Result<(Answer, String), String> {
    let (a, b) = (selection(&args.baseline)?, selection(&args.candidate)?);
    let path = format!("/api/v1/diff?{}&{}&basis={}", query(&a, "a."), query(&b, "b."), args.basis);
    let answer = args.server.json(&path).map_err(|error| error.to_string())?;
    let answer: Answer = serde_json::from_value(answer).map_err(|_| args.server.not_understood().to_string())?;
    let page = format!("{}{}", args.server.address(), page(a, b, &answer, &args.basis));
    Ok((answer, page))
}

/// The page that shows the same comparison for as long as its data is kept: its times are fixed.
fn page(mut a: Pairs, mut b: Pairs, answer: &Answer, basis: &str) -> String {
    let common: Pairs =
        a.iter().filter(|pair| pair.0 != "from" && pair.0 != "until" && b.contains(pair)).cloned().collect();
    for (side, times) in [(&mut a, &answer.a), (&mut b, &answer.b)] {
        side.retain(|pair| pair.0 != "from" && pair.0 != "until" && !common.contains(pair));
        side.extend([("from".to_owned(), times.from.to_string()), ("until".to_owned(), times.until.to_string())]);
    }
    let parts = [query(&common, ""), query(&a, "a."), query(&b, "b."), format!("basis={basis}")];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("/diff?{}", parts.join("&"))
}

type Pairs = Vec<(String, String)>;

fn judge(answer: &Answer, budget: Budget) -> Verdict {
    let (a, b) = (&answer.a, &answer.b);
    for (name, side) in [("baseline", a), ("candidate", b)] {
        if side.partial.as_ref().is_some_and(|partial| partial.damaged) {
            return Verdict::Unknown(format!(
                "some of what was stored of the {name} is damaged and left out: take another range, or restore it from a backup"
            ));
        }
        if let Some(Partial { covered_from, .. }) = side.partial {
            return Verdict::Unknown(format!(
                "only the part of the {name} from {covered_from} on fits the limits of one query: take a shorter range"
            ));
        }
        if side.samples < budget.samples {
            let (have, need) = (side.samples, budget.samples);
            return Verdict::Unknown(format!("the {name} has {have} samples, {need} are needed: take a longer range"));
        }
    }
    let mut reasons = Vec::new();
    let total_q = f64::from(answer.nodes.q.first().copied().unwrap_or(10_000)) / 10_000.0;
    let limit = |share: f64| quantity::percent(share);
    if total_q <= SIGNIFICANT && b.value > a.value * (1.0 + budget.total) {
        let change = quantity::percent_change(a.value, b.value);
        reasons.push(format!("the total rose by {change}, allowed is {}", limit(budget.total)));
    }
    for mover in answer.movers.iter().filter(|mover| mover.q <= SIGNIFICANT) {
        if mover.delta > a.value * budget.function {
            let rise = quantity::percent(mover.delta / a.value);
            reasons.push(format!(
                "{} rose by {rise} of the total, allowed is {}",
                plain(&mover.name),
                limit(budget.function)
            ));
        }
    }
    if reasons.is_empty() { Verdict::Passed } else { Verdict::Regressed(reasons) }
}

fn table(answer: &Answer, page: &str) -> String {
    let mut text = String::new();
    for sentence in &answer.summary {
        let _ = writeln!(text, "{}", sentence.text);
    }
    let unit = &answer.b.unit;
    if !answer.movers.is_empty() {
        let _ = writeln!(text, "\n{:>16} {:>16} {:>16}  function", "baseline", "candidate", "change");
    }
    for mover in &answer.movers {
        let sign = if mover.delta < 0.0 { "−" } else { "+" };
        let change = format!("{sign}{}", quantity::amount(mover.delta.abs(), unit));
        let (a, b) = (quantity::amount(mover.a, unit), quantity::amount(mover.b, unit));
        let _ = writeln!(text, "{a:>16} {b:>16} {change:>16}  {}", plain(&mover.name));
    }
    let _ = writeln!(text, "\n{page}\n");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(a: f64, b: f64, total_q: u32, delta: f64, q: f64) -> Answer {
        let side =
            |value: f64| json!({ "from": 1_000, "until": 2_000, "samples": 5_000, "value": value, "unit": "cores" });
        serde_json::from_value(json!({
            "a": side(a), "b": side(b), "nodes": { "q": [total_q] },
            "movers": [{ "name": "tax::rate_for", "a": 1.0, "b": 1.0 + delta, "delta": delta, "q": q }],
            "summary": [{ "text": "checkout used more." }],
        }))
        .unwrap()
    }

    #[test]
    fn only_changes_beyond_budget_and_chance_fail() {
        let budget = Budget::default();
        assert_eq!(judge(&answer(4.0, 4.1, 3, 0.01, 0.001), budget), Verdict::Passed, "within the budget");
        assert_eq!(judge(&answer(4.0, 5.0, 9_000, 1.0, 0.5), budget), Verdict::Passed, "chance explains it");
        assert_eq!(judge(&answer(5.0, 4.0, 3, -1.0, 0.001), budget), Verdict::Passed, "less is never worse");
        let Verdict::Regressed(reasons) = judge(&answer(4.0, 5.0, 3, 1.0, 0.001), budget) else { panic!() };
        assert_eq!(reasons[0], "the total rose by +25 %, allowed is 5.0 %");
        assert_eq!(reasons[1], "tax::rate_for rose by 25 % of the total, allowed is 2.0 %");
    }

    #[test]
    fn a_function_can_regress_while_the_total_does_not() {
        let verdict = judge(&answer(4.0, 4.0, 10_000, 0.2, 0.001), Budget::default());
        assert!(matches!(verdict, Verdict::Regressed(reasons) if reasons.len() == 1));
    }

    #[test]
    fn too_few_samples_are_no_verdict() {
        let budget = Budget { samples: 5_001, ..Budget::default() };
        let Verdict::Unknown(why) = judge(&answer(1.0, 1.0, 10_000, 0.0, 1.0), budget) else { panic!() };
        assert!(why.contains("5000 samples, 5001 are needed"), "{why}");
    }

    #[test]
    fn the_link_has_fixed_times_and_says_once_what_both_sides_share() {
        let (a, b) =
            (selection("service=c,version=v1,from=now-2h").unwrap(), selection("service=c,version=v2").unwrap());
        assert_eq!(
            page(a, b, &answer(1.0, 1.0, 10_000, 0.0, 1.0), "cores"),
            "/diff?service=c&a.label.version=v1&a.from=1000&a.until=2000&b.label.version=v2&b.from=1000&b.until=2000&basis=cores"
        );
    }

    #[test]
    fn the_table_ends_with_a_link_to_the_same_comparison() {
        let text = table(&answer(4.0, 5.0, 3, 1.0, 0.001), "http://x/diff?a.service=c");
        assert!(text.contains("tax::rate_for") && text.contains("+1 cores") || text.contains("+1.00 cores"), "{text}");
        assert!(text.ends_with("http://x/diff?a.service=c\n\n"));
    }
}
