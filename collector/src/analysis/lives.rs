//! Growth told per process: a range that holds a restart has two slopes, and the line between its ends is neither.
//!
//! A life is a run of one instance's windows without a gap. Its slope is the least-squares line through its points; the interval
//! around it takes neighbouring points for less than independent ones, by the correlation of what the line leaves.

use serde::Serialize;

use super::quantity;
use crate::base::times::format_utc;
use crate::profile::report::Sentence;
use crate::query::Timeline;

/// Points of a life before its slope is told.
const POINTS_MIN: usize = 6;

/// Steps without a value that end a life: one can be a window that came late.
const GAP_STEPS: usize = 3;

/// Lives that began this close to each other began together: a deploy takes its time.
const TOGETHER_MS: u64 = 60_000;

/// Of a normal distribution, on both sides.
const TWO_SIDED_95: f64 = 1.96;

/// One process, as long as windows of it are there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Life {
    /// The instance it was.
    pub instance: String,
    /// Its first window in the range, unix milliseconds.
    pub from: u64,
    /// The end of its last one.
    pub until: u64,
    /// How fast it grew, where that can be told.
    pub slope: Option<Slope>,
}

/// A change per hour, in the type's unit, and where it lies with a probability of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slope {
    /// The line's.
    pub per_hour: f64,
    /// Not less,
    pub low: f64,
    /// and not more.
    pub high: f64,
}

/// Processes of a service in a range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lives {
    /// By their start, at most as many as a timeline has lines.
    pub lives: Vec<Life>,
    /// When processes began within the range: (unix milliseconds, how many).
    pub restarts: Vec<(u64, usize)>,
    /// False where windows no longer say which instance they are of.
    pub can_tell: bool,
    /// What grew since the last restart, all processes together.
    pub since_restart: Option<Slope>,
}

/// Tells lives from a timeline that is split by instance.
pub fn lives(timeline: &Timeline) -> Lives {
    let step = timeline.step_ms;
    let told = || timeline.series.iter().filter(|series| !series.label.is_empty() && !series.rest);
    let can_tell = told().next().is_some();
    let mut all: Vec<(Life, Fit)> = Vec::new();
    for series in told() {
        for run in runs(&series.points) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let fit = Fit::of(&run);
            let life = Life { instance: series.label.clone(), from: first.0, until: last.0 + step, slope: fit.slope() };
            all.push((life, fit));
        }
    }
    all.sort_by(|(x, _), (y, _)| (x.from, &x.instance).cmp(&(y.from, &y.instance)));
    // The first ones began with the range, or with the service.
    let began = all.first().map_or(0, |(life, _)| life.from + TOGETHER_MS);
    let restarts = restarts(all.iter().map(|(life, _)| life.from).filter(|from| *from > began));
    let since = restarts.last().map(|(at, _)| *at);
    let last_until = all.iter().map(|(life, _)| life.until).max().unwrap_or(0);
    let since_restart = since.and_then(|at| {
        // Those that run at the end, each from the restart on.
        let running = all.iter().filter(|(life, _)| life.until + GAP_STEPS as u64 * step > last_until);
        let fits = running.map(|(_, fit)| fit.since(at));
        Slope::of_all(&fits.collect::<Vec<_>>())
    });
    Lives { lives: all.into_iter().map(|(life, _)| life).collect(), restarts, can_tell, since_restart }
}

impl Lives {
    /// What is said of them, if a range holds a restart or cannot tell.
    pub fn sentence(&self, service: &str, unit: &str) -> Option<Sentence> {
        if !self.can_tell {
            let text =
                "Windows of this time no longer say which process they are of: restarts within it cannot be told.";
            return Some(Sentence { text: text.to_owned(), frames: vec![], kind: "quality" });
        }
        let (at, count) = self.restarts.last()?;
        let when = format_utc(*at);
        let began = if *count == 1 { "a process began".to_owned() } else { format!("{count} processes began") };
        let text = match self.since_restart {
            None => format!("{began} at {when}, too short a time ago to say how fast {service} grows since."),
            Some(Slope { per_hour, low, high }) => {
                let signed = |value: f64| {
                    let sign = if value < 0.0 { "−" } else { "+" };
                    format!("{sign}{}", quantity::amount(value.abs(), unit))
                };
                let (middle, low_text, high_text) = (signed(per_hour), signed(low), signed(high));
                let sure = if low <= 0.0 && high >= 0.0 { ", which may be no growth at all" } else { "" };
                format!("{began} at {when}; since then: {middle} an hour (95 %: {low_text} to {high_text}){sure}.")
            }
        };
        let mut letters = text.chars();
        let text = letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect());
        Some(Sentence { text, frames: vec![], kind: "since" })
    }
}

/// Values without a gap between them.
fn runs(points: &[(u64, Option<f64>)]) -> Vec<Vec<(u64, f64)>> {
    let mut runs: Vec<Vec<(u64, f64)>> = Vec::new();
    let mut missing = GAP_STEPS;
    for (at, value) in points {
        let Some(value) = value else {
            missing += 1;
            continue;
        };
        match runs.last_mut().filter(|_| missing < GAP_STEPS) {
            Some(run) => run.push((*at, *value)),
            None => runs.push(vec![(*at, *value)]),
        }
        missing = 0;
    }
    runs
}

/// Moments at which processes began, those of one deploy together.
fn restarts(starts: impl Iterator<Item = u64>) -> Vec<(u64, usize)> {
    let mut out: Vec<(u64, usize)> = Vec::new();
    let mut last = 0;
    for at in starts {
        match out.last_mut().filter(|_| at - last <= TOGETHER_MS) {
            Some((_, count)) => *count += 1,
            None => out.push((at, 1)),
        }
        last = at;
    }
    out
}

/// A line through points.
#[derive(Debug, Clone)]
struct Fit {
    points: Vec<(u64, f64)>,
}

impl Fit {
    fn of(points: &[(u64, f64)]) -> Self {
        Self { points: points.to_vec() }
    }

    fn since(&self, at: u64) -> Self {
        Self { points: self.points.iter().filter(|point| point.0 >= at).copied().collect() }
    }

    /// Slope and its variance, per hour; `None` from too few points.
    fn line(&self) -> Option<(f64, f64)> {
        let n = self.points.len();
        if n < POINTS_MIN {
            return None;
        }
        let start = self.points.first()?.0;
        let hours = |at: u64| (at - start) as f64 / 3_600_000.0;
        let count = n as f64;
        let mean_x = self.points.iter().map(|p| hours(p.0)).sum::<f64>() / count;
        let mean_y = self.points.iter().map(|p| p.1).sum::<f64>() / count;
        let xx = self.points.iter().map(|p| (hours(p.0) - mean_x).powi(2)).sum::<f64>();
        let xy = self.points.iter().map(|p| (hours(p.0) - mean_x) * (p.1 - mean_y)).sum::<f64>();
        let slope = xy / xx;
        let left: Vec<f64> = self.points.iter().map(|p| p.1 - mean_y - slope * (hours(p.0) - mean_x)).collect();
        let squares = left.iter().map(|r| r * r).sum::<f64>();
        let lagged = left.windows(2).map(|pair| pair.iter().product::<f64>()).sum::<f64>();
        let correlation = if squares > 0.0 { (lagged / squares).clamp(0.0, 0.95) } else { 0.0 };
        let independent = (count * (1.0 - correlation) / (1.0 + correlation)).max(3.0);
        let variance = squares / (independent - 2.0) / xx;
        (slope.is_finite() && variance.is_finite()).then_some((slope, variance))
    }

    fn slope(&self) -> Option<Slope> {
        Slope::of_all(std::slice::from_ref(self))
    }
}

impl Slope {
    /// Of processes together; `None` if one of them cannot be told.
    fn of_all(fits: &[Fit]) -> Option<Self> {
        let lines: Vec<(f64, f64)> = fits.iter().map(Fit::line).collect::<Option<_>>()?;
        if lines.is_empty() {
            return None;
        }
        let per_hour: f64 = lines.iter().map(|line| line.0).sum();
        let reach = TWO_SIDED_95 * lines.iter().map(|line| line.1).sum::<f64>().sqrt();
        Some(Self { per_hour, low: per_hour - reach, high: per_hour + reach })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::model::{Kind, ProfileType};
    use crate::query::TimelineSeries;

    const STEP: u64 = 10_000;

    fn timeline(series: Vec<(&str, Vec<Option<f64>>)>) -> Timeline {
        let profile_type =
            ProfileType { name: "inuse_space".into(), unit: "bytes".into(), kind: Kind::Gauge, period: 1 };
        let series = series
            .into_iter()
            .map(|(label, values)| TimelineSeries {
                label: label.into(),
                rest: false,
                points: values.into_iter().enumerate().map(|(i, value)| (1_000_000 + i as u64 * STEP, value)).collect(),
            })
            .collect();
        Timeline { profile_type, step_ms: STEP, series, partial: None }
    }

    fn grown(from: usize, until: usize, start: f64, per_step: f64) -> Vec<Option<f64>> {
        let value = |i: usize| start + (i - from) as f64 * per_step + (i * 7 % 3) as f64;
        (0..60).map(|i| (from..until).contains(&i).then(|| value(i))).collect()
    }

    #[test]
    fn a_restart_has_two_slopes_and_the_one_since_is_told() {
        let line = timeline(vec![("host-1", grown(0, 30, 5_000.0, 10.0)), ("host-2", grown(30, 60, 100.0, 40.0))]);
        let found = lives(&line);
        assert!(found.can_tell);
        assert_eq!(found.restarts, [(1_000_000 + 30 * STEP, 1)]);
        let slopes: Vec<f64> = found.lives.iter().map(|life| life.slope.unwrap().per_hour).collect();
        // 360 steps an hour.
        assert!((slopes[0] - 3_600.0).abs() < 50.0 && (slopes[1] - 14_400.0).abs() < 50.0, "{slopes:?}");
        let since = found.since_restart.unwrap();
        assert!(since.low < 14_400.0 && since.high > 14_400.0 && since.high - since.low < 500.0, "{since:?}");
        let said = found.sentence("shop", "bytes").unwrap().text;
        assert!(said.starts_with("A process began at 1970-01-01 ") && said.contains("+14.1 KiB an hour"), "{said}");
    }

    #[test]
    fn processes_of_one_deploy_begin_together_and_their_slopes_add_up() {
        let line = timeline(vec![
            ("a", grown(0, 20, 0.0, 1.0)),
            ("b", grown(20, 60, 0.0, 5.0)),
            ("c", grown(23, 60, 0.0, 7.0)),
        ]);
        let found = lives(&line);
        assert_eq!(found.restarts, [(1_000_000 + 20 * STEP, 2)]);
        assert!((found.since_restart.unwrap().per_hour - 12.0 * 360.0).abs() < 60.0, "{found:?}");
        assert!(found.sentence("shop", "bytes").unwrap().text.starts_with("2 processes began"), "{found:?}");
    }

    #[test]
    fn one_instance_that_stays_has_one_life_and_a_gap_makes_two() {
        let mut values = grown(0, 60, 0.0, 3.0);
        values[10] = None;
        let found = lives(&timeline(vec![("a", values.clone())]));
        assert_eq!((found.lives.len(), found.restarts.len(), found.sentence("shop", "bytes")), (1, 0, None));
        (30..36).for_each(|i| values[i] = None);
        let found = lives(&timeline(vec![("a", values)]));
        assert_eq!((found.lives.len(), found.restarts.len()), (2, 1));
    }

    #[test]
    fn without_instances_it_says_that_lives_cannot_be_told() {
        let found = lives(&timeline(vec![("", grown(0, 60, 0.0, 3.0))]));
        assert!(!found.can_tell && found.lives.is_empty());
        assert!(found.sentence("shop", "bytes").unwrap().text.contains("cannot be told"));
        assert!(!lives(&timeline(vec![])).can_tell);
    }

    #[test]
    fn what_only_wavers_may_be_no_growth() {
        let values = (0..60).map(|i| Some(f64::from(i * 37 % 11))).collect();
        let mut all = vec![("a", grown(0, 10, 0.0, 0.0))];
        all.push(("b", (0..60).zip::<Vec<Option<f64>>>(values).map(|(i, v)| v.filter(|_| i >= 12)).collect()));
        let said = lives(&timeline(all)).sentence("shop", "bytes").unwrap().text;
        assert!(said.contains("may be no growth at all"), "{said}");
    }
}
