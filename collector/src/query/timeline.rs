//! Values over time, from footers alone: no window is opened.

use std::collections::BTreeMap;

use super::plan::{Pick, Plan, label};
use super::slices::{Span, coverage};
use super::{QueryError, TimeRange, Timeline, TimelineSeries};
use crate::profile::model::Kind;

/// Points of one line. A day in 10 s steps is 8640.
const POINTS_MAX: u64 = 11_000;

/// Points where no step is asked for: about one per two pixels of a wide screen.
const POINTS_DEFAULT: u64 = 400;

/// Lines of a timeline that is split by a label.
const SERIES_MAX: usize = 20;

/// The label of everything beyond the largest lines.
pub const REST_LABEL: &str = "…";

/// The grid that points lie on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    start_ms: u64,
    step_ms: u64,
    points: usize,
}

impl Grid {
    /// Steps lie on whole multiples of the step. Without one: the smallest whole number of windows that gives few enough points.
    pub(super) fn new(range: TimeRange, step_ms: Option<u64>, spans: &[Span]) -> Result<Self, QueryError> {
        let window = spans.iter().map(|span| u64::from(span.duration_ms)).min().unwrap_or(10_000).max(1);
        let step_ms = step_ms.unwrap_or_else(|| window * range.millis().div_ceil(window * POINTS_DEFAULT).max(1));
        if step_ms == 0 {
            return Err(QueryError::BadStep { step_ms, points: u64::MAX, limit: POINTS_MAX });
        }
        let start_ms = range.from_ms - range.from_ms % step_ms;
        let points = (range.until_ms - start_ms).div_ceil(step_ms);
        if points > POINTS_MAX {
            return Err(QueryError::BadStep { step_ms, points, limit: POINTS_MAX });
        }
        Ok(Self { start_ms, step_ms, points: points as usize })
    }

    fn place(self, at_ms: u64) -> usize {
        (at_ms.saturating_sub(self.start_ms) / self.step_ms) as usize
    }
}

/// `weigh` says what a window adds: its sum of the type, or the part of it that belongs to a trace.
pub(super) fn draw(
    plan: &Plan,
    grid: Grid,
    by: Option<&str>,
    weigh: impl Fn(&Pick) -> Result<u64, QueryError>,
) -> Result<Timeline, QueryError> {
    let covered = coverage(grid.start_ms, grid.step_ms, grid.points, &plan.spans());
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for pick in &plan.covering {
        let name = by.map_or("", |by| label(pick.info(), by));
        let line = match lines.get_mut(name) {
            Some(line) => line,
            None => lines.entry(name.to_owned()).or_insert_with(|| Line::new(grid.points)),
        };
        let value = u128::from(weigh(pick)?);
        let weighted = match plan.profile_type.kind {
            Kind::Counter => value,
            Kind::Gauge => value * u128::from(pick.info().duration_ms),
        };
        line.add(grid.place(pick.info().start_ms), weighted);
    }
    let mut lines: Vec<(String, Line)> = lines.into_iter().collect();
    // Stable, so that equal ones stay in the order of their names.
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.total));
    let rest = if lines.len() > SERIES_MAX { lines.split_off(SERIES_MAX - 1) } else { Vec::new() };
    let per = match plan.profile_type.kind {
        Kind::Counter => 1e3,
        Kind::Gauge => 1.0,
    };
    let points = |line: &Line| -> Vec<(u64, Option<f64>)> {
        let sums = line.sums.iter().zip(&covered).enumerate();
        sums.map(|(i, (sum, covered_ms))| {
            let value = sum.map(|sum| sum as f64 * per / (*covered_ms).max(1) as f64);
            (grid.start_ms + i as u64 * grid.step_ms, value)
        })
        .collect()
    };
    let mut series: Vec<TimelineSeries> = lines
        .iter()
        .map(|(label, line)| TimelineSeries { label: label.clone(), rest: false, points: points(line) })
        .collect();
    if !rest.is_empty() {
        let mut sum = Line::new(grid.points);
        for (_, line) in &rest {
            sum.absorb(line);
        }
        series.push(TimelineSeries { label: REST_LABEL.to_owned(), rest: true, points: points(&sum) });
    }
    if series.is_empty() {
        let empty = points(&Line::new(grid.points));
        series.push(TimelineSeries { label: String::new(), rest: false, points: empty });
    }
    Ok(Timeline { profile_type: plan.profile_type.clone(), step_ms: grid.step_ms, series, partial: None })
}

struct Line {
    total: u128,
    /// `None`: nothing received.
    sums: Vec<Option<u128>>,
}

impl Line {
    fn new(points: usize) -> Self {
        Self { total: 0, sums: vec![None; points] }
    }

    fn add(&mut self, at: usize, value: u128) {
        self.total += value;
        if let Some(sum) = self.sums.get_mut(at) {
            *sum = Some(sum.unwrap_or(0) + value);
        }
    }

    fn absorb(&mut self, other: &Self) {
        for (at, sum) in other.sums.iter().enumerate() {
            if let Some(sum) = sum {
                self.add(at, *sum);
            }
        }
    }
}
