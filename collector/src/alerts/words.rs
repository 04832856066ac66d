//! What was found, as an answer in words. Fixed templates over numbers, so that the same facts always read the same.

use super::answer::{Answer, Baseline, Confidence, TraceRef};
use super::baseline::{Candidate, Passed};
use super::evidence::Evidence;
use super::link::{AlertLink, Vs};
use super::onset::{Onset, onset};
use super::slower::Slower;
use crate::analysis::Findings;
use crate::analysis::movers::SIGNIFICANT;
use crate::analysis::quantity;
use crate::analysis::requests::Route;
use crate::base::times::format_utc;
use crate::profile::names::one_line;
use crate::profile::report::Sentence;
use crate::profile::said::plain;
use crate::store::catalog::Event;

/// Requests to look at.
const TRACES_MAX: usize = 5;

/// With fewer samples on a side a change of a tenth is noise.
const SAMPLES_ENOUGH: u64 = 1_000;

/// So many do where chance does not explain the largest change.
const SAMPLES_ENOUGH_FOR_CERTAIN: u64 = 100;

/// False-discovery rate from which down chance does not explain a change: it would be written as 0.00 %.
const CERTAIN: f64 = 0.000_05;

/// A deploy this long before a change explains it.
const DEPLOY_EXPLAINS_MS: u64 = 10 * 60_000;

/// Says what was found.
pub(super) fn answer(link: &AlertLink, evidence: Evidence) -> Answer {
    let Evidence { chosen, tried, found, deploy, alert, slower, routes_now, levels, types } = evidence;
    let headline = headline(link, &found);
    let (confidence, confidence_why) = confidence(&found, chosen.doubt.as_deref());
    let why = why(link.vs, &chosen, &tried);
    let mut sentences = Vec::new();
    if found.is_comparable() {
        sentences.extend(found.summary.into_iter().filter(|sentence| sentence.kind != "headline"));
        let causes = sentences.iter().take_while(|sentence| sentence.kind == "cause").count();
        let since = onset(&levels).map(|onset| since(onset, deploy.as_ref()));
        let details = since.into_iter().chain(slower.iter().flat_map(requests));
        sentences.splice(causes..causes, details);
    }
    Answer {
        link: link.clone(),
        profile_type: found.profile_type,
        unit: found.now.unit,
        window: chosen.current,
        baseline: Baseline { vs: chosen.vs, range: chosen.baseline, why },
        tried,
        deploy,
        alert,
        headline,
        sentences,
        movers: found.movers,
        confidence,
        confidence_why,
        traces: slowest(&routes_now),
        types,
    }
}

/// The cause in one sentence.
fn headline(link: &AlertLink, found: &Findings) -> String {
    let (service, what) = (&link.service, quantity::of_type(&link.profile_type));
    let Findings { before, now, movers, summary, .. } = found;
    if now.total == 0 {
        let (from, until) = (format_utc(now.from), format_utc(now.until));
        return format!("{service} sent no {what} samples between {from} and {until}.");
    }
    if before.total == 0 {
        let amount = quantity::amount(now.value, &now.unit);
        return format!("{service} used {amount} of {what}; there is nothing earlier to compare it with.");
    }
    let said = summary.iter().find(|sentence| sentence.kind == "headline");
    let said = said.map_or(service.as_str(), |sentence| sentence.text.trim_end_matches('.'));
    let Some(top) = movers.first().filter(|mover| mover.q <= SIGNIFICANT) else {
        return format!("{said}.");
    };
    let explains = (top.delta > 0.0) == (now.value > before.value) && !said.contains("noise");
    if explains && top.share_of_change >= 0.5 {
        format!("{said}; {} of it is {}.", quantity::percent(top.share_of_change), plain(&top.name))
    } else {
        let change = quantity::amount(top.delta.abs(), &now.unit);
        let more = if top.delta > 0.0 { "more" } else { "less" };
        format!("{said}; {} takes {change} {more}.", plain(&top.name))
    }
}

/// How far to trust it, and why: high with enough samples on the smaller side for what is claimed, and a baseline without doubts.
fn confidence(found: &Findings, doubt: Option<&str>) -> (Confidence, String) {
    let (before, now) = (found.before.samples, found.now.samples);
    if before == 0 || now == 0 {
        return (Confidence::None, format!("{now} samples now and {before} before: there is nothing to compare"));
    }
    let evidence = match found.movers.first().filter(|mover| mover.q <= SIGNIFICANT) {
        Some(top) if top.q < CERTAIN => "chance does not explain the largest change".to_owned(),
        Some(top) => {
            format!("chance explains the largest change with a probability of {}", quantity::percent(top.q))
        }
        None => "no function changed beyond noise".to_owned(),
    };
    let why = format!("{now} samples now and {before} before; {evidence}");
    if let Some(doubt) = doubt {
        return (Confidence::Low, format!("{why}; the baseline is doubtful, because {doubt}"));
    }
    let certain = found.movers.first().is_some_and(|top| top.q < CERTAIN);
    let enough = if certain { SAMPLES_ENOUGH_FOR_CERTAIN } else { SAMPLES_ENOUGH };
    if now.min(before) < enough {
        return (Confidence::Low, format!("only {why}"));
    }
    (Confidence::High, why)
}

/// Why this baseline. `asked` is what the link asks for.
fn why(asked: Option<Vs>, chosen: &Candidate, tried: &[Passed]) -> String {
    let what = &chosen.what;
    let reason = match asked {
        Some(asked) if asked == chosen.vs => "as the link asks".to_owned(),
        Some(asked) => {
            let why_not =
                tried.iter().find(|passed| passed.vs == asked).map_or("it has no data", |passed| &passed.why_not);
            format!("because the link asks for {}, but {why_not}", asked.as_str())
        }
        None if tried.is_empty() => "the first choice, and it has data".to_owned(),
        None => "the first in the order deploy, 1d, 1w, prev that has data".to_owned(),
    };
    match &chosen.doubt {
        Some(doubt) => format!("Compared with {what}: {reason}; with doubts, because {doubt}."),
        None => format!("Compared with {what}: {reason}."),
    }
}

/// Since when, and what happened then.
fn since(onset: Onset, deploy: Option<&Event>) -> Sentence {
    let at = format_utc(onset.at_ms);
    let rose = if onset.after > onset.before { "rose" } else { "fell" };
    let near = deploy.filter(|deploy| {
        // A point of the timeline starts up to one step before the change.
        onset.at_ms.saturating_sub(deploy.event.at_ms) <= DEPLOY_EXPLAINS_MS
            && deploy.event.at_ms < onset.at_ms + 60_000
    });
    let text = match near {
        Some(deploy) => {
            let title = one_line(&deploy.event.title);
            match onset.at_ms.saturating_sub(deploy.event.at_ms) / 1_000 {
                0..=20 => format!("It {rose} at {at}, with the deploy {title:?}."),
                seconds @ 21..=119 => format!("It {rose} at {at}, {seconds} s after the deploy {title:?}."),
                seconds => format!("It {rose} at {at}, {} min after the deploy {title:?}.", seconds / 60),
            }
        }
        None => format!("It {rose} at {at}."),
    };
    Sentence { text, frames: vec![], kind: "since" }
}

/// Which requests got slower, and why the slowest of them are slow.
fn requests(slower: &Slower) -> Vec<Sentence> {
    let text = format!(
        "1 in 100 requests to {} took {} or longer, {} before.",
        one_line(&slower.route),
        quantity::duration(slower.now_us),
        quantity::duration(slower.before_us)
    );
    let why = slower.why.iter().map(|why| Sentence { text: why.clone(), frames: vec![], kind: "slow" });
    std::iter::once(Sentence { text, frames: vec![], kind: "requests" }).chain(why).collect()
}

/// The slowest requests of the window, at most two of a route.
fn slowest(routes: &[Route]) -> Vec<TraceRef> {
    let mut traces: Vec<TraceRef> = routes
        .iter()
        .flat_map(|route| {
            route.slowest.iter().take(2).map(|request| TraceRef {
                trace_id: request.trace_id.clone(),
                route: route.route.clone(),
                duration_us: request.duration_us,
                start_ms: request.start_ms,
            })
        })
        .collect();
    traces.sort_by_key(|trace| std::cmp::Reverse(trace.duration_us));
    traces.truncate(TRACES_MAX);
    traces
}
