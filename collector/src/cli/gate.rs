//! `tephra gate` and `tephra diff`: what changed between two selections or two files, for pipelines and for terminals.
//!
//! The gate asks the same endpoint as the view, so its verdict and the page it links to cannot disagree. It fails only on
//! changes that chance does not explain: a gate that cries wolf is switched off.
#![expect(clippy::disallowed_methods, reason = "the file is named on the command line")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::budget::Budget;
use super::comparison::{Comparison, ComparisonArgs};
use super::fail;
use super::reports::{self, Format, Report};
use super::verdict::{Verdict, findings};

/// What `tephra diff` takes.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    comparison: ComparisonArgs,
    /// text, json or markdown
    #[arg(long, default_value = "text", value_parser = ["text", "json", "markdown"])]
    format: String,
}

/// What `tephra gate` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    comparison: ComparisonArgs,
    /// What may rise by how much. In a .toml file: budgets = ["total cpu +3 %", "fn ^checkout::price +5 %", "family allocation +10 %"] and
    /// samples = 1000; else lines such as `total = 5%`, `function = 2%`, `samples = 1000`
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// text, json, junit, github (annotations) or markdown
    #[arg(long, default_value = "text", value_parser = ["text", "json", "junit", "github", "markdown"])]
    format: String,
}

/// Prints the comparison, judges it, and ends with 0 (fine), 1 (regressed) or 2 (cannot tell).
pub(super) fn run(args: &Args) -> ExitCode {
    match report(args) {
        Ok((text, verdict)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::from(verdict.exit_code())
        }
        Err(problem) => fail(2, &problem),
    }
}

fn report(args: &Args) -> Result<(String, Verdict), String> {
    let budget = args.budget.as_deref().map_or_else(|| Ok(Budget::default()), budget_of)?;
    let comparison = Comparison::of(&args.comparison)?;
    let answer = comparison.answer(None, None)?;
    let findings = findings(&comparison, &answer, &budget)?;
    let page = comparison.page(&answer);
    let markdown = || comparison.markdown();
    let report = Report { answer: &answer, page: page.as_deref(), findings: Some(&findings) };
    Ok((reports::write(&report, Format::parse(&args.format), markdown)?, Verdict::of(&findings)))
}

fn budget_of(file: &Path) -> Result<Budget, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let is_toml = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    Budget::parse(&text, is_toml).map_err(|problem| format!("{}, {problem}", file.display()))
}

/// Prints the comparison.
pub(super) fn run_diff(args: &DiffArgs) -> ExitCode {
    match diff(args) {
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problem) => fail(1, &problem),
    }
}

fn diff(args: &DiffArgs) -> Result<String, String> {
    let comparison = Comparison::of(&args.comparison)?;
    let answer = comparison.answer(None, None)?;
    let page = comparison.page(&answer);
    let report = Report { answer: &answer, page: page.as_deref(), findings: None };
    reports::write(&report, Format::parse(&args.format), || comparison.markdown())
}

#[cfg(test)]
mod tests {
    use super::super::comparison::tests::{args, files};
    use super::*;

    const BEFORE: &[u8] = b"main;serve;tax 1000\nmain;serve;render 3000\n";
    const AFTER: &[u8] = b"main;serve;tax 2000\nmain;serve;render 3010\n";

    fn gate(budget: Option<(&str, &str)>, format: &str) -> Result<(String, Verdict), String> {
        let (folder, [a, b]) = files(BEFORE, AFTER);
        let budget = budget.map(|(name, content)| {
            let file = folder.path().join(name);
            std::fs::write(&file, content).unwrap();
            file
        });
        report(&Args { comparison: args(&[&a, &b]).unwrap(), budget, format: format.to_owned() })
    }

    #[test]
    fn two_files_are_judged_without_a_collector() {
        let (text, verdict) = gate(None, "text").unwrap();
        assert_eq!(verdict, Verdict::Regressed);
        assert!(text.contains("regressed: total +5 %: the total rose by +25 %, allowed is 5.0 %"), "{text}");
        let roomy = ("roomy.toml", "budgets = [\"total +30 %\"]");
        let (text, verdict) = gate(Some(roomy), "text").unwrap();
        assert_eq!(verdict, Verdict::Passed);
        assert!(text.ends_with("passed: nothing rose beyond its budget\n"), "{text}");
        let lines = ("budget", "total = 30%\nfunction = 30%\n");
        assert_eq!(gate(Some(lines), "text").unwrap().1, Verdict::Passed);
    }

    #[test]
    fn a_mistake_in_a_budget_is_named_with_its_file_and_place() {
        let error = gate(Some(("b.toml", "budgets = [\n  \"total +30\",\n]")), "text").unwrap_err();
        assert!(error.contains("b.toml, line 2, column 10: \"30\" is not a rise, such as 5 %"), "{error}");
        let missing = gate(Some(("b.toml", "budgets = [\"total wall +3 %\"]")), "text").unwrap_err();
        assert!(missing.contains("no type \"wall\" in common"), "{missing}");
    }

    #[test]
    fn a_difference_is_told_in_every_format() {
        let (_folder, [a, b]) = files(BEFORE, AFTER);
        let told =
            |format: &str| diff(&DiffArgs { comparison: args(&[&a, &b]).unwrap(), format: format.to_owned() }).unwrap();
        assert!(told("text").contains("tax"));
        assert!(told("markdown").contains("| `tax` |"));
        let json: serde_json::Value = serde_json::from_str(&told("json")).unwrap();
        assert_eq!(json["movers"][0]["name"], "tax");
        assert!(json.get("verdict").is_none(), "{json}");
    }
}
