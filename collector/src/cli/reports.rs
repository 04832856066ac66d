//! What a comparison and its verdict look like: for terminals, programs, and what pipelines show of a run.
//!
//! Names come from files and from strangers: in each form they stay text.

use std::fmt::Write as _;

use serde_json::json;
use tephra_proto::label::is_printable;

use super::comparison::Answer;
use super::verdict::{Finding, Outcome, Verdict};
use crate::analysis::quantity;
use crate::profile::markdown::text as escaped_markdown;
use crate::profile::said::plain;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
    Junit,
    Github,
    Markdown,
}

impl Format {
    /// Reads the command line's word, which was checked there.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "json" => Self::Json,
            "junit" => Self::Junit,
            "github" => Self::Github,
            "markdown" => Self::Markdown,
            _ => Self::Text,
        }
    }
}

/// What is told.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) answer: &'a Answer,
    /// Where it can be looked at.
    pub(super) page: Option<&'a str>,
    /// How each budget was kept; `None` where nobody asked for a verdict.
    pub(super) findings: Option<&'a [Finding]>,
}

/// The report in a format. `markdown` asks for the comparison in that form.
pub(super) fn write(
    report: &Report<'_>,
    format: Format,
    markdown: impl FnOnce() -> Result<String, String>,
) -> Result<String, String> {
    Ok(match format {
        Format::Text => text(report),
        Format::Json => report.json(),
        Format::Junit => junit(report),
        Format::Github => github(report),
        Format::Markdown => in_markdown(report, &markdown()?),
    })
}

const PASSED: &str = "nothing rose beyond its budget";

impl Report<'_> {
    fn json(&self) -> String {
        let mut json = json!(self.answer);
        if let Some(page) = self.page {
            json["page"] = page.into();
        }
        if let Some(findings) = self.findings {
            json["verdict"] = json!(Verdict::of(findings));
            json["budgets"] = json!(findings);
        }
        format!("{json:#}\n")
    }

    /// Each finding as (budget, outcome in a word, sentence).
    fn told(&self) -> Vec<(&str, &'static str, &str)> {
        let mut told = Vec::new();
        for Finding { budget, outcome } in self.findings.unwrap_or_default() {
            match outcome {
                Outcome::Passed => {}
                Outcome::Regressed(why) => {
                    told.extend(why.iter().map(|why| (budget.as_str(), "regressed", why.as_str())))
                }
                Outcome::Unknown(why) => told.push((budget.as_str(), "cannot tell", why.as_str())),
            }
        }
        // What holds of all of them is said once.
        told.dedup_by(|a, b| a.1 == b.1 && a.2 == b.2);
        told
    }
}

fn text(report: &Report<'_>) -> String {
    let answer = report.answer;
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
    if let Some(page) = report.page {
        let _ = writeln!(text, "\n{page}");
    }
    text.push('\n');
    let told = report.told();
    for (budget, outcome, why) in &told {
        let _ = writeln!(text, "{outcome}: {budget}: {why}");
    }
    if report.findings.is_some() && told.is_empty() {
        let _ = writeln!(text, "passed: {PASSED}");
    }
    text
}

/// The comparison, and below it what was found of each budget.
fn in_markdown(report: &Report<'_>, comparison: &str) -> String {
    let mut out = comparison.to_owned();
    if let Some(findings) = report.findings {
        out.push_str("\n| budget | outcome |\n|---|---|\n");
        for Finding { budget, outcome } in findings {
            let said = match outcome {
                Outcome::Passed => "passed".to_owned(),
                Outcome::Regressed(why) => format!("**regressed**: {}", escaped_markdown(&why.join("; "))),
                Outcome::Unknown(why) => format!("cannot tell: {}", escaped_markdown(why)),
            };
            let _ = writeln!(out, "| {} | {said} |", escaped_markdown(budget));
        }
    }
    if let Some(page) = report.page {
        let _ = writeln!(out, "\n<{page}>");
    }
    out
}

/// Workflow commands: an annotation for each thing that is to be seen.
fn github(report: &Report<'_>) -> String {
    let page = report.page.map_or(String::new(), |page| format!(" {page}"));
    let mut out = String::new();
    let told = report.told();
    for (budget, outcome, why) in &told {
        let level = if *outcome == "regressed" { "error" } else { "warning" };
        let title = property(&format!("{outcome}: {budget}"));
        let _ = writeln!(out, "::{level} title={title}::{}", data(&format!("{why}.{page}")));
    }
    if told.is_empty() {
        let headline = report.answer.summary.first().map_or("", |sentence| sentence.text.as_str());
        let _ = writeln!(out, "::notice title=passed::{}", data(&format!("{PASSED}. {headline}{page}")));
    }
    out
}

/// Text of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of one of its properties.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A test case for each budget; one that nothing can be said of is an error, not a failure.
fn junit(report: &Report<'_>) -> String {
    let findings = report.findings.unwrap_or_default();
    let count = |kind: fn(&Outcome) -> bool| findings.iter().filter(|finding| kind(&finding.outcome)).count();
    let failures = count(|outcome| matches!(outcome, Outcome::Regressed(_)));
    let errors = count(|outcome| matches!(outcome, Outcome::Unknown(_)));
    let tests = findings.len();
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"");
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite name=\"tephra gate\" {counts}>\n"
    );
    let class = xml(&report.answer.service);
    for Finding { budget, outcome } in findings {
        let case = format!("    <testcase classname=\"{class}\" name=\"{}\"", xml(budget));
        let inner = |tag: &str, why: &str| format!("{case}><{tag} message=\"{}\"/></testcase>\n", xml(why));
        out.push_str(&match outcome {
            Outcome::Passed => format!("{case}/>\n"),
            Outcome::Regressed(why) => inner("failure", &why.join("; ")),
            Outcome::Unknown(why) => inner("error", why),
        });
    }
    let said: Vec<String> = report.answer.summary.iter().map(|sentence| sentence.text.clone()).collect();
    let said = said.join("\n") + report.page.map_or(String::new(), |page| format!("\n{page}")).as_str();
    let _ = write!(out, "    <system-out>{}</system-out>\n  </testsuite>\n</testsuites>\n", xml(&said));
    out
}

/// Text for an element or a quoted attribute. XML 1.0 has no way to write most control characters.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            c if is_printable(c) => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::comparison::tests::answer;
    use super::*;

    fn finding(budget: &str, outcome: Outcome) -> Finding {
        Finding { budget: budget.to_owned(), outcome }
    }

    fn findings() -> Vec<Finding> {
        vec![
            finding("total cpu +5 %", Outcome::Passed),
            finding("fn ^a<b>, +5 %", Outcome::Regressed(vec!["it rose by 50 %, allowed is 5 %".to_owned()])),
            finding("family allocation +1 %", Outcome::Unknown("the baseline has \"few\" samples".to_owned())),
        ]
    }

    fn written(format: &str, findings: Option<&[Finding]>) -> String {
        let answer = answer(4.0, 5.0, 3, 1.0, 0.001);
        let report = Report { answer: &answer, page: Some("http://x/diff?a=1&b=2"), findings };
        write(&report, Format::parse(format), || Ok("### checkout\n".to_owned())).unwrap()
    }

    #[test]
    fn the_table_ends_with_a_link_to_the_same_comparison() {
        let text = written("text", None);
        assert!(text.contains("tax::rate_for") && text.contains("+1.00 cores"), "{text}");
        assert!(text.ends_with("http://x/diff?a=1&b=2\n\n"));
        let judged = written("text", Some(&findings()));
        assert!(
            judged.ends_with(
                "\n\nregressed: fn ^a<b>, +5 %: it rose by 50 %, allowed is 5 %\n\
                 cannot tell: family allocation +1 %: the baseline has \"few\" samples\n"
            ),
            "{judged}"
        );
        assert!(written("text", Some(&[])).ends_with("\n\npassed: nothing rose beyond its budget\n"));
    }

    #[test]
    fn json_holds_the_comparison_the_verdict_and_every_budget() {
        let json: serde_json::Value = serde_json::from_str(&written("json", Some(&findings()))).unwrap();
        assert_eq!((&json["verdict"], &json["b"]["value"]), (&json!("regressed"), &json!(5.0)));
        assert_eq!(json["budgets"][0], json!({ "budget": "total cpu +5 %", "outcome": "passed" }));
        assert_eq!(json["budgets"][1]["why"], json!(["it rose by 50 %, allowed is 5 %"]));
        assert_eq!(json["page"], "http://x/diff?a=1&b=2");
    }

    #[test]
    fn annotations_are_one_line_each_and_escaped() {
        let lines = written("github", Some(&findings()));
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(
            lines,
            [
                "::error title=regressed%3A fn ^a<b>%2C +5 %25::it rose by 50 %25, allowed is 5 %25. http://x/diff?a=1&b=2",
                "::warning title=cannot tell%3A family allocation +1 %25::the baseline has \"few\" samples. http://x/diff?a=1&b=2",
            ]
        );
        let hostile = [finding("a", Outcome::Unknown("x\n::error::y".to_owned()))];
        assert_eq!(written("github", Some(&hostile)).lines().count(), 1);
        assert!(
            written("github", Some(&[])).starts_with("::notice title=passed::nothing rose beyond its budget. checkout")
        );
    }

    #[test]
    fn junit_has_a_case_for_each_budget() {
        let xml = written("junit", Some(&findings()));
        assert!(xml.contains("<testsuite name=\"tephra gate\" tests=\"3\" failures=\"1\" errors=\"1\">"), "{xml}");
        assert!(xml.contains("<testcase classname=\"checkout\" name=\"total cpu +5 %\"/>"), "{xml}");
        assert!(
            xml.contains(
                "name=\"fn ^a&lt;b&gt;, +5 %\"><failure message=\"it rose by 50 %, allowed is 5 %\"/></testcase>"
            ),
            "{xml}"
        );
        assert!(xml.contains("<error message=\"the baseline has &quot;few&quot; samples\"/>"), "{xml}");
        assert!(xml.contains("a=1&amp;b=2"), "{xml}");
        let hostile = [finding("\u{1}]]>\"/><x", Outcome::Passed)];
        let xml = written("junit", Some(&hostile));
        assert!(xml.contains("name=\"\u{fffd}]]&gt;&quot;/&gt;&lt;x\"/>"), "{xml}");
    }

    #[test]
    fn markdown_has_a_row_for_each_budget() {
        let text = written("markdown", Some(&findings()));
        assert!(text.starts_with("### checkout\n\n| budget | outcome |"), "{text}");
        assert!(text.contains("| total cpu +5 % | passed |"), "{text}");
        assert!(text.contains("| fn ^a&lt;b&gt;, +5 % | **regressed**: it rose by 50 %, allowed is 5 % |"), "{text}");
        assert!(!written("markdown", None).contains("budget"));
    }
}
