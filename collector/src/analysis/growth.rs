//! What grew: a gauge at the end of a range against its start, and how each function that holds more of it came to do so.

use serde::Serialize;

use crate::base::range::TimeRange;
use crate::profile::model::Merged;
use crate::profile::report::{Mover, Sentence};
use crate::profile::said::plain;
use crate::profile::tree::{FrameInfo, Tree};
use crate::symbols::Symbols;

use super::view::{View, ViewOptions, compare};
use super::{movers::SIGNIFICANT, quantity};

/// Each end of the range is this part of it, within the two limits below: long enough to be a mean, short enough to be an end.
const END_PARTS: u64 = 8;
const END_MS_MIN: u64 = 20_000;
const END_MS_MAX: u64 = 600_000;

/// A smaller part of the range with windows in it is worth a word.
const RECEIVED_MIN: f64 = 0.9;

/// Points from which a trend can be told.
const TREND_POINTS_MIN: usize = 5;

/// A straight line that explains this much of how a function's value moved is a steady trend.
const STEADY_MIN: f64 = 0.8;

/// The first and the last part of a range: what growth is measured between.
pub fn ends(range: TimeRange) -> [TimeRange; 2] {
    let length = range.millis();
    // At least one window each, and never more than all of it.
    let end = (length / END_PARTS).clamp(END_MS_MIN, END_MS_MAX).min(length.div_ceil(2));
    [
        TimeRange { from_ms: range.from_ms, until_ms: range.from_ms + end },
        TimeRange { from_ms: range.until_ms - end, until_ms: range.until_ms },
    ]
}

/// The part of a profile's range in which windows arrived: a service that began or ended in it neither grew from nothing nor gave
/// everything back.
pub fn received(whole: &Merged) -> TimeRange {
    TimeRange { from_ms: whole.received_from_ms, until_ms: whole.received_until_ms }
}

/// How a value came to be what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// Along a straight line, as a leak does.
    Steady,
    /// In steps, or up and down.
    Uneven,
    /// Too few points to tell.
    Unclear,
}

/// A function that holds more or less at the end than at the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grower {
    /// Which function, and what it holds at both ends.
    #[serde(flatten)]
    pub mover: Mover,
    /// Change per hour, in the type's unit.
    pub per_hour: f64,
    /// How it came about.
    pub trend: Trend,
    /// (start of the slice in unix ms, what this function and whatever it called hold), in the type's unit.
    pub points: Vec<(u64, f64)>,
}

/// The answer to "what grew?".
#[derive(Debug, Clone)]
pub struct Growth {
    /// The comparison of the two ends.
    pub view: View,
    /// Values at the ends, in the type's unit.
    pub values: [f64; 2],
    /// Change per hour.
    pub per_hour: f64,
    /// Whether the total moved beyond noise.
    pub significant: bool,
    /// What is said about it: the headline first.
    pub sentences: Vec<Sentence>,
    /// Functions that changed, largest change first.
    pub growers: Vec<Grower>,
}

/// Compares the ends of `whole`, which is `asked` or the part of it in which windows arrived. Looks up symbols, so it blocks: call
/// it from a blocking task.
pub fn growth(
    service: &str,
    asked: TimeRange,
    whole: &Merged,
    first: &Merged,
    last: &Merged,
    symbols: &Symbols,
    options: ViewOptions,
) -> Growth {
    let view = compare(service, first, last, symbols, options);
    let resolutions = symbols.resolve(&whole.modules, &whole.frames);
    let lines = Lines::of((whole, &resolutions));
    let middle = |part: &Merged| (part.from_ms + part.until_ms) as f64 / 2.0;
    let hours = ((middle(last) - middle(first)) / 3_600_000.0).max(f64::MIN_POSITIVE);
    let growers: Vec<Grower> = view
        .movers()
        .iter()
        .map(|mover| {
            let points = lines.of_function(&mover.name, &mover.module);
            Grower { per_hour: mover.delta / hours, trend: trend(&points), points, mover: mover.clone() }
        })
        .collect();
    let values = [0, 1].map(|side| view.side(side).value);
    let per_hour = (values[1] - values[0]) / hours;
    let significant = view.total_q() <= SIGNIFICANT;
    let mut sentences = sentences(service, &view, values, per_hour, significant, &growers);
    sentences.extend(cut_short(asked, first, last));
    Growth { view, values, per_hour, significant, sentences, growers }
}

fn sentences(
    service: &str,
    view: &View,
    values: [f64; 2],
    per_hour: f64,
    significant: bool,
    growers: &[Grower],
) -> Vec<Sentence> {
    let both = view.tree.sides.iter().all(|side| side.facts.total > 0);
    let unit = view.side(1).unit;
    let amount = |value: f64| quantity::amount(value.abs(), &unit);
    let mut said = Vec::new();
    for sentence in view.summary() {
        match sentence.kind {
            "headline" if both => {
                let what = quantity::of_type(&view.tree.profile_type.name);
                let [a, b] = values;
                let text = if significant {
                    let grew = if b >= a { "grew" } else { "shrank" };
                    format!(
                        "{service}'s {what} {grew} by {} ({}), from {} to {}: {} an hour.",
                        amount(b - a),
                        quantity::percent_change(a, b),
                        amount(a),
                        amount(b),
                        amount(per_hour)
                    )
                } else {
                    format!("{service}'s {what} did not grow beyond noise: {} to {}.", amount(a), amount(b))
                };
                said.push(Sentence { text, ..sentence.clone() });
                said.extend(growers.iter().find_map(|grower| steady(grower, &unit)));
            }
            _ => said.push(sentence.clone()),
        }
    }
    said
}

/// Says so where windows arrived only in a part of the range.
fn cut_short(asked: TimeRange, first: &Merged, last: &Merged) -> Option<Sentence> {
    let share = (last.until_ms - first.from_ms) as f64 / asked.millis().max(1) as f64;
    (share < RECEIVED_MIN).then(|| {
        let share = quantity::percent(share);
        let text = format!("There is data for {share} of this time only: what grew is told from its start to its end.");
        Sentence { text, frames: vec![], kind: "quality" }
    })
}

/// Names the largest function that grows like a leak.
fn steady(grower: &Grower, unit: &str) -> Option<Sentence> {
    if grower.trend != Trend::Steady || grower.mover.delta <= 0.0 {
        return None;
    }
    let name = plain(&grower.mover.name);
    let text = format!(
        "What {name} allocated grew steadily, by {} an hour, and was not given back: it may be a leak.",
        quantity::amount(grower.per_hour, unit)
    );
    Some(Sentence { text, frames: vec![grower.mover.frame], kind: "cause" })
}

/// Values of functions over the slices of a range.
struct Lines {
    tree: Tree,
    starts: Vec<u64>,
}

impl Lines {
    fn of(profile: crate::profile::tree::Resolved<'_>) -> Self {
        Self { starts: profile.0.replicate_from_ms.clone(), tree: Tree::of(profile) }
    }

    /// What is held by a function and whatever it called, by slice.
    fn of_function(&self, name: &str, module: &str) -> Vec<(u64, f64)> {
        let is_it = |frame: &FrameInfo| &*frame.function == name && &*frame.module == module;
        let side = &self.tree.sides[0];
        let mut sums = vec![0.0; self.starts.len()];
        let mut node = 0;
        while let Some(at) = self.tree.nodes.get(node) {
            if !is_it(&self.tree.frames[at.frame as usize]) {
                node += 1;
                continue;
            }
            let from = side.cells.partition_point(|cell| (cell.node as usize) < node);
            for cell in side.cells[from..].iter().take_while(|cell| cell.node < at.end) {
                sums[usize::from(cell.replicate)] += cell.value as f64;
            }
            // Recursion below is part of it.
            node = at.end as usize;
        }
        let facts = &side.facts;
        // A gauge's slices hold their share of the mean over the range.
        let weigh = |(slice, sum): (usize, f64)| {
            let seconds = facts.replicate_seconds[slice];
            (self.starts[slice], if seconds > 0.0 { sum * facts.seconds / seconds } else { 0.0 })
        };
        sums.into_iter().enumerate().map(weigh).collect()
    }
}

/// How much of the movement a straight line explains decides.
fn trend(points: &[(u64, f64)]) -> Trend {
    if points.len() < TREND_POINTS_MIN {
        return Trend::Unclear;
    }
    let n = points.len() as f64;
    let mean = |of: &dyn Fn(&(u64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (at, value) = (mean(&|p| p.0 as f64), mean(&|p| p.1));
    let product = |x: &dyn Fn(&(u64, f64)) -> f64, y: &dyn Fn(&(u64, f64)) -> f64| mean(&|p| x(p) * y(p));
    let (x, y) = (|p: &(u64, f64)| p.0 as f64 - at, |p: &(u64, f64)| p.1 - value);
    let (xx, yy, xy) = (product(&x, &x), product(&y, &y), product(&x, &y));
    if xx > 0.0 && yy > 0.0 && xy * xy / (xx * yy) >= STEADY_MIN { Trend::Steady } else { Trend::Uneven }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::testing::Sketch;

    fn range(seconds: u64) -> TimeRange {
        TimeRange { from_ms: 1_000_000, until_ms: 1_000_000 + seconds * 1_000 }
    }

    #[test]
    fn the_ends_are_an_eighth_each_within_limits_and_never_overlap() {
        for (seconds, end) in [(3_600, 450), (86_400, 600), (60, 20), (30, 15), (1, 1)] {
            let [first, last] = ends(range(seconds));
            assert_eq!((first.from_ms, last.until_ms), (1_000_000, 1_000_000 + seconds * 1_000));
            assert_eq!(first.millis(), last.millis());
            assert!(first.millis() <= end * 1_000 && (seconds < 2 || first.until_ms <= last.from_ms), "{seconds} s");
            assert!(seconds < 2 || first.millis() == end * 1_000, "{seconds} s: {} ms", first.millis());
        }
    }

    fn points(values: &[f64]) -> Vec<(u64, f64)> {
        values.iter().enumerate().map(|(i, value)| (i as u64 * 10_000, *value)).collect()
    }

    #[test]
    fn a_leak_is_steady_and_a_cache_that_fills_or_a_burst_is_not() {
        let line: Vec<f64> = (0..20).map(|i| 100.0 + f64::from(i) * 5.0 + f64::from(i * 7 % 5)).collect();
        assert_eq!(trend(&points(&line)), Trend::Steady);
        let step: Vec<f64> = (0..20).map(|i| if i < 15 { 100.0 } else { 300.0 }).collect();
        assert_eq!(trend(&points(&step)), Trend::Uneven);
        let saw: Vec<f64> = (0..20).map(|i| f64::from(i % 4) * 50.0).collect();
        assert_eq!(trend(&points(&saw)), Trend::Uneven);
        assert_eq!(trend(&points(&[1.0; 20])), Trend::Uneven);
        assert_eq!(trend(&points(&[1.0, 2.0])), Trend::Unclear);
    }

    #[test]
    fn a_functions_line_is_what_it_and_its_callees_hold_at_each_time() {
        let mut sketch = Sketch::gauge(4);
        for slice in 0..4u16 {
            let share = |held: u64| held / 4;
            sketch.add("shop::main;shop::remember", slice, share(400), 1);
            sketch.add("shop::main;shop::remember;shop::new;shop::remember", slice, share(1_000 * u64::from(slice)), 1);
            sketch.add("shop::main;shop::other", slice, share(8_000), 1);
        }
        let (merged, of) = sketch.finish();
        let lines = Lines::of((&merged, &of));
        let module =
            lines.tree.frames.iter().find(|frame| &*frame.function == "shop::remember").unwrap().module.clone();
        let values: Vec<f64> = lines.of_function("shop::remember", &module).iter().map(|point| point.1).collect();
        assert_eq!(values, [400.0, 1_400.0, 2_400.0, 3_400.0]);
    }
}
