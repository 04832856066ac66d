//! What an alert's window is compared with, and why: picked by fixed rules that the page states in words.
//!
//! Pure: the caller looks up events and data. Candidates come in the order of preference; the first one that has data wins.

use super::link::{AlertLink, Vs};
use crate::base::range::TimeRange;
use crate::base::times::{format_duration, format_utc};

/// How far back `vs=deploy` looks when a link asks for it.
pub const DEPLOY_REACH_MS: u64 = 14 * 86_400_000;

/// Two windows of the agents: less after a deploy says nothing about it.
const AFTER_DEPLOY_MS_MIN: u64 = 20_000;

/// A moment that matters for the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// Its title.
    pub title: String,
}

/// One pair of windows that could be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which rule made it.
    pub vs: Vs,
    /// The baseline.
    pub baseline: TimeRange,
    /// What is compared with it.
    pub current: TimeRange,
    /// What this baseline is, as a clause: `the same time yesterday`.
    pub what: String,
    /// Why it is a poor choice, where it is: taken only if nothing better has data.
    pub doubt: Option<String>,
}

/// A rule that gave no candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which rule.
    pub vs: Vs,
    /// Why not.
    pub why_not: String,
}

/// The candidates in order of preference, and the rules that gave none. `deploys` and `alerts` are the service's, in any
/// order.
pub fn candidates(link: &AlertLink, deploys: &[Moment], alerts: &[Moment]) -> (Vec<Candidate>, Vec<Passed>) {
    let mut order = Vs::ALL.to_vec();
    if let Some(asked) = link.vs {
        order.sort_by_key(|vs| *vs != asked);
    }
    let (mut good, mut doubtful, mut passed) = (Vec::new(), Vec::new(), Vec::new());
    for vs in order {
        let asked = link.vs == Some(vs);
        match candidate(link, vs, asked, deploys) {
            Err(why_not) => passed.push(Passed { vs, why_not }),
            Ok(mut candidate) => {
                let fired = alerts.iter().find(|alert| candidate.baseline.contains(alert.at_ms));
                // Whoever asked for a baseline by name gets it.
                match fired.filter(|_| !asked) {
                    None => good.push(candidate),
                    Some(alert) => {
                        candidate.doubt = Some(format!("an alert fired in it at {}", format_utc(alert.at_ms)));
                        doubtful.push(candidate);
                    }
                }
            }
        }
    }
    good.append(&mut doubtful);
    (good, passed)
}

fn candidate(link: &AlertLink, vs: Vs, asked: bool, deploys: &[Moment]) -> Result<Candidate, String> {
    let current = link.window();
    let earlier = |by: u64| TimeRange {
        from_ms: current.from_ms.saturating_sub(by),
        until_ms: current.until_ms.saturating_sub(by),
    };
    let day = 86_400_000;
    let made = |baseline, what: &str| Candidate { vs, baseline, current, what: what.to_owned(), doubt: None };
    match vs {
        Vs::Day if link.window_ms > day => Err(too_long(link, "a day")),
        Vs::Day => Ok(made(earlier(day), "the same time yesterday")),
        Vs::Week => Ok(made(earlier(7 * day), "the same time a week ago")),
        Vs::Previous => Ok(made(earlier(link.window_ms), "the window just before")),
        Vs::Deploy => {
            let reach = if asked { DEPLOY_REACH_MS } else { link.window_ms };
            let near = TimeRange { from_ms: current.from_ms.saturating_sub(reach), ..current };
            let deploy = deploys.iter().filter(|deploy| near.contains(deploy.at_ms)).max_by_key(|deploy| deploy.at_ms);
            let Some(deploy) = deploy else {
                let (from, until) = (format_utc(near.from_ms), format_utc(near.until_ms));
                return Err(format!("no deploy between {from} and {until}"));
            };
            let after = current.until_ms - deploy.at_ms;
            if after < AFTER_DEPLOY_MS_MIN {
                return Err(format!("the deploy is only {} s old at that time", after / 1_000));
            }
            let baseline = TimeRange { from_ms: deploy.at_ms.saturating_sub(link.window_ms), until_ms: deploy.at_ms };
            let title: String = deploy.title.chars().take(80).collect();
            let what = format!("the {} before the deploy {title:?}", format_duration(link.window_ms));
            // What ran before the deploy is baseline, even where the window reaches over it.
            let current = TimeRange { from_ms: current.from_ms.max(deploy.at_ms), ..current };
            Ok(Candidate { current, ..made(baseline, &what) })
        }
    }
}

fn too_long(link: &AlertLink, than: &str) -> String {
    format!("the window of {} is longer than {than}", format_duration(link.window_ms))
}

#[cfg(test)]
mod tests {
    use tephra_proto::ids::ServiceName;

    use super::*;

    const AT: u64 = 1_772_373_600_000; // 2026-03-01T14:00:00Z
    const MIN: u64 = 60_000;
    const DAY: u64 = 86_400_000;

    fn link(vs: Option<Vs>) -> AlertLink {
        AlertLink {
            service: ServiceName::parse("checkout").unwrap(),
            at_ms: AT,
            window_ms: 10 * MIN,
            vs,
            profile_type: "cpu".into(),
            labels: vec![],
        }
    }

    fn range(from_ms: u64, until_ms: u64) -> TimeRange {
        TimeRange { from_ms, until_ms }
    }

    fn at(at_ms: u64) -> Moment {
        Moment { at_ms, title: "4f2c1".into() }
    }

    fn order(link: &AlertLink, deploys: &[Moment], alerts: &[Moment]) -> Vec<&'static str> {
        candidates(link, deploys, alerts).0.iter().map(|c| c.vs.as_str()).collect()
    }

    #[test]
    fn a_deploy_within_reach_comes_first() {
        for (deploy, expected) in [
            (AT - 5 * MIN, vec!["deploy", "1d", "1w", "prev"]),
            (AT - 19 * MIN, vec!["deploy", "1d", "1w", "prev"]),
            (AT - 21 * MIN, vec!["1d", "1w", "prev"]),
            (AT - 10_000, vec!["1d", "1w", "prev"]),
            (AT + MIN, vec!["1d", "1w", "prev"]),
        ] {
            assert_eq!(
                order(&link(None), &[at(deploy)], &[]),
                expected,
                "{} s before",
                (AT as i64 - deploy as i64) / 1000
            );
        }
    }

    #[test]
    fn the_window_starts_at_the_deploy_it_reaches_over() {
        let (candidates, _) = candidates(&link(None), &[at(AT - 30 * MIN), at(AT - 4 * MIN)], &[]);
        assert_eq!(candidates[0].current, range(AT - 4 * MIN, AT));
        assert_eq!(candidates[0].baseline, range(AT - 14 * MIN, AT - 4 * MIN));
        assert!(candidates[0].what.contains("4f2c1"));
    }

    #[test]
    fn an_old_deploy_is_used_when_asked_for() {
        let (candidates, passed) = candidates(&link(Some(Vs::Deploy)), &[at(AT - 3 * DAY)], &[]);
        assert_eq!(candidates[0].vs, Vs::Deploy);
        assert_eq!(candidates[0].current, range(AT - 10 * MIN, AT));
        assert_eq!(candidates[0].baseline, range(AT - 3 * DAY - 10 * MIN, AT - 3 * DAY));
        assert!(passed.is_empty());
    }

    #[test]
    fn what_was_asked_for_comes_first_and_the_rest_stays_as_a_fallback() {
        assert_eq!(order(&link(Some(Vs::Previous)), &[], &[]), ["prev", "1d", "1w"]);
        assert_eq!(order(&link(Some(Vs::Week)), &[at(AT - MIN)], &[]), ["1w", "deploy", "1d", "prev"]);
        let (_, passed) = candidates(&link(Some(Vs::Deploy)), &[], &[]);
        assert_eq!(passed[0].vs, Vs::Deploy);
        assert!(passed[0].why_not.starts_with("no deploy between 2026-02-15 13:50 UTC"), "{}", passed[0].why_not);
    }

    #[test]
    fn a_baseline_in_which_an_alert_fired_is_a_last_resort() {
        let yesterday = at(AT - DAY - MIN);
        assert_eq!(order(&link(None), &[], std::slice::from_ref(&yesterday)), ["1w", "prev", "1d"]);
        assert_eq!(order(&link(Some(Vs::Day)), &[], &[yesterday]), ["1d", "1w", "prev"]);
    }

    #[test]
    fn windows_never_overlap_their_baseline() {
        for vs in [None, Some(Vs::Deploy), Some(Vs::Day), Some(Vs::Week), Some(Vs::Previous)] {
            for window_ms in [10_000, 10 * MIN, DAY, 7 * DAY] {
                let link = AlertLink { window_ms, ..link(vs) };
                for candidate in candidates(&link, &[at(AT - 5 * MIN), at(AT - DAY)], &[]).0 {
                    assert!(candidate.baseline.until_ms <= candidate.current.from_ms, "{candidate:?}");
                    assert!(candidate.baseline.from_ms < candidate.baseline.until_ms, "{candidate:?}");
                }
            }
        }
    }
}
