//! The verdict on a comparison: what rose beyond its budget, where chance does not explain that.

use serde::Serialize;

use super::budget::{Budget, Check, What};
use super::comparison::{Answer, Comparison, Partial};
use crate::analysis::movers::SIGNIFICANT;
use crate::analysis::quantity;
use crate::profile::said::plain;

/// How one budget was kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Finding {
    /// The budget, as its file has it.
    pub(super) budget: String,
    /// What was found.
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// What was found of a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "why", rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It was kept, or chance explains that it was not.
    Passed,
    /// It was not: a sentence for each thing that rose.
    Regressed(Vec<String>),
    /// Nothing can be said, and why.
    Unknown(String),
}

/// The verdict on a candidate, by how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Passed,
    Unknown,
    Regressed,
}

impl Verdict {
    /// Of all findings together. A rise that was found is one, whatever else cannot be told.
    pub(super) fn of(findings: &[Finding]) -> Self {
        let is_any = |kind: fn(&Outcome) -> bool| findings.iter().any(|finding| kind(&finding.outcome));
        if is_any(|outcome| matches!(outcome, Outcome::Regressed(_))) {
            Self::Regressed
        } else if is_any(|outcome| matches!(outcome, Outcome::Unknown(_))) {
            Self::Unknown
        } else {
            Self::Passed
        }
    }

    /// What a pipeline sees.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Regressed => 1,
            Self::Unknown => 2,
        }
    }
}

/// Judges each budget, asking for what it is about. `whole` is the comparison as it is shown.
pub(super) fn findings(comparison: &Comparison<'_>, whole: &Answer, budget: &Budget) -> Result<Vec<Finding>, String> {
    let judged = budget.checks.iter().map(|check| {
        let outcome = match &check.what {
            What::Total(Some(name)) if !is_of(whole, name) => {
                judge(check, &comparison.answer(Some(name), None)?, whole, budget.samples)
            }
            What::Stacks { filter } => judge(check, &comparison.answer(None, Some(filter))?, whole, budget.samples),
            What::Total(_) | What::AnyFunction => judge(check, whole, whole, budget.samples),
        };
        Ok(Finding { budget: check.text.clone(), outcome })
    });
    judged.collect()
}

fn is_of(answer: &Answer, name: &str) -> bool {
    answer.profile_type.as_ref().is_some_and(|one| one.name == name)
}

/// The verdict on an answer, in words.
#[cfg(test)]
pub(crate) fn verdict_on(answer: serde_json::Value) -> String {
    let (answer, budget): (Answer, _) = (serde_json::from_value(answer).unwrap(), Budget::default());
    let mut reasons = Vec::new();
    for check in &budget.checks {
        match judge(check, &answer, &answer, budget.samples) {
            Outcome::Passed => {}
            Outcome::Regressed(why) => reasons.extend(why),
            Outcome::Unknown(why) => return format!("cannot tell: {why}"),
        }
    }
    if reasons.is_empty() { "passed".to_owned() } else { format!("regressed: {}", reasons.join("; ")) }
}

/// One budget against what it is about. How many samples there are is said by `whole`: of a part there may be few, and rightly so.
fn judge(check: &Check, answer: &Answer, whole: &Answer, samples_min: u64) -> Outcome {
    let counted = if matches!(check.what, What::Stacks { .. }) { whole } else { answer };
    for (name, side, count) in [("baseline", &answer.a, counted.a.samples), ("candidate", &answer.b, counted.b.samples)]
    {
        if side.partial.as_ref().is_some_and(|partial| partial.damaged) {
            return Outcome::Unknown(format!(
                "some of what was stored of the {name} is damaged and left out: take another range, or restore it from a backup"
            ));
        }
        if let Some(Partial { covered_from, .. }) = side.partial {
            return Outcome::Unknown(format!(
                "only the part of the {name} from {covered_from} on fits the limits of one query: take a shorter range"
            ));
        }
        if count < samples_min {
            return Outcome::Unknown(format!(
                "the {name} has {count} samples, {samples_min} are needed: take a longer range"
            ));
        }
    }
    let reasons = match &check.what {
        What::Total(_) => rise_of("the total", check, answer),
        What::Stacks { .. } => rise_of("it", check, answer),
        What::AnyFunction => rises_of_functions(check, answer),
    };
    if reasons.is_empty() { Outcome::Passed } else { Outcome::Regressed(reasons) }
}

fn rise_of(what: &str, check: &Check, answer: &Answer) -> Vec<String> {
    let (a, b) = (answer.a.value, answer.b.value);
    if answer.total_q() > SIGNIFICANT || b <= a * (1.0 + check.rise) {
        return Vec::new();
    }
    let allowed = quantity::percent(check.rise);
    if a > 0.0 {
        vec![format!("{what} rose by {}, allowed is {allowed}", quantity::percent_change(a, b))]
    } else {
        vec![format!("{what} costs {}, and was not in the baseline", quantity::amount(b, &answer.b.unit))]
    }
}

fn rises_of_functions(check: &Check, answer: &Answer) -> Vec<String> {
    let of = answer.a.value;
    let beyond = |mover: &&super::comparison::Mover| mover.q <= SIGNIFICANT && mover.delta > of * check.rise;
    let allowed = quantity::percent(check.rise);
    let reason = |mover: &super::comparison::Mover| {
        let rise = quantity::percent(mover.delta / of);
        format!("{} rose by {rise} of the total, allowed is {allowed}", plain(&mover.name))
    };
    answer.movers.iter().filter(beyond).map(reason).collect()
}

#[cfg(test)]
mod tests {
    use super::super::comparison::tests::{answer, args, files};
    use super::*;

    fn reasons(answer: &Answer, budget: &Budget) -> Vec<String> {
        let outcomes = budget.checks.iter().map(|check| judge(check, answer, answer, budget.samples));
        let reasons = outcomes.flat_map(|outcome| match outcome {
            Outcome::Passed => Vec::new(),
            Outcome::Regressed(why) => why,
            Outcome::Unknown(why) => panic!("{why}"),
        });
        reasons.collect()
    }

    #[test]
    fn only_changes_beyond_budget_and_chance_fail() {
        let budget = Budget::default();
        let none: [String; 0] = [];
        assert_eq!(reasons(&answer(4.0, 4.1, 3, 0.01, 0.001), &budget), none, "within the budget");
        assert_eq!(reasons(&answer(4.0, 5.0, 9_000, 1.0, 0.5), &budget), none, "chance explains it");
        assert_eq!(reasons(&answer(5.0, 4.0, 3, -1.0, 0.001), &budget), none, "less is never worse");
        assert_eq!(
            reasons(&answer(4.0, 5.0, 3, 1.0, 0.001), &budget),
            ["the total rose by +25 %, allowed is 5.0 %", "tax::rate_for rose by 25 % of the total, allowed is 2.0 %"]
        );
    }

    #[test]
    fn a_function_can_regress_while_the_total_does_not() {
        assert_eq!(reasons(&answer(4.0, 4.0, 10_000, 0.2, 0.001), &Budget::default()).len(), 1);
    }

    #[test]
    fn too_few_samples_are_no_verdict() {
        let budget = Budget { samples: 5_001, ..Budget::default() };
        let few = answer(1.0, 1.0, 10_000, 0.0, 1.0);
        let Outcome::Unknown(why) = judge(&budget.checks[0], &few, &few, budget.samples) else { panic!() };
        assert!(why.contains("5000 samples, 5001 are needed"), "{why}");
    }

    /// The verdict on two files of stacks, and what was found of each budget.
    fn on_files(a: &str, b: &str, budgets: &str) -> (Verdict, Vec<Outcome>) {
        let (_folder, [a, b]) = files(a.as_bytes(), b.as_bytes());
        let args = args(&[&a, &b]).unwrap();
        let comparison = Comparison::of(&args).unwrap();
        let whole = comparison.answer(None, None).unwrap();
        let budget = Budget::parse(&format!("budgets = [{budgets}]"), true).unwrap();
        let findings = findings(&comparison, &whole, &budget).unwrap();
        (Verdict::of(&findings), findings.into_iter().map(|finding| finding.outcome).collect())
    }

    #[test]
    fn each_budget_of_two_files_is_judged_by_what_it_is_about() {
        let before =
            "main;serve;checkout::price;malloc 4000\nmain;serve;checkout::price 2000\nmain;serve;render 9000\n";
        let after = "main;serve;checkout::price;malloc 4060\nmain;serve;checkout::price 3000\nmain;serve;render 8900\n";
        let budgets = "\"total +10 %\", \"fn ^checkout::price +5 %\", \"fn ^render +5 %\", \"family allocation +10 %\", \"fn nobody +0 %\"";
        let (verdict, found) = on_files(before, after, budgets);
        assert_eq!(verdict, Verdict::Regressed);
        let price = Outcome::Regressed(vec!["it rose by +18 %, allowed is 5.0 %".to_owned()]);
        assert_eq!(found, [Outcome::Passed, price, Outcome::Passed, Outcome::Passed, Outcome::Passed]);
        let (verdict, found) = on_files(before, &format!("{after}main;serve;slow 3000\n"), "\"fn ^slow$ +5 %\"");
        let new = "it costs 3 000 count, and was not in the baseline";
        assert_eq!((verdict, found), (Verdict::Regressed, vec![Outcome::Regressed(vec![new.to_owned()])]));
        let (verdict, _) = on_files("main;a 10\n", "main;a 90\n", "\"total +5 %\"");
        assert_eq!(verdict, Verdict::Unknown, "few samples");
    }

    #[test]
    fn a_rise_that_was_found_counts_whatever_else_cannot_be_told() {
        let finding = |outcome| Finding { budget: "total +5 %".to_owned(), outcome };
        let (passed, unknown) = (finding(Outcome::Passed), finding(Outcome::Unknown("why".to_owned())));
        let regressed = finding(Outcome::Regressed(vec!["why".to_owned()]));
        for (findings, verdict, code) in [
            (vec![], Verdict::Passed, 0),
            (vec![passed.clone()], Verdict::Passed, 0),
            (vec![passed, unknown.clone()], Verdict::Unknown, 2),
            (vec![unknown, regressed], Verdict::Regressed, 1),
        ] {
            assert_eq!((Verdict::of(&findings), Verdict::of(&findings).exit_code()), (verdict, code));
        }
    }
}
