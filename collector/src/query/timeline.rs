//! Values over time, from sums by window: no samples are opened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::cover::Wish;
use super::damage::{Looked, covered};
use super::fit::newest_that_fits;
use super::measure::{Measured, SUM_TABLES};
use super::plan::Plan;
use super::slices::{Span, coverage};
use super::{Prepared, QueryEngine, QueryError, Selection, Timeline, TimelineSeries};
use crate::base::labels::INSTANCE;
use crate::base::range::TimeRange;
use crate::profile::model::Kind;

/// Points of one line. A day in 10 s steps is 8640.
const POINTS_MAX: u64 = 11_000;

/// Points where no step is asked for: about one per two pixels of a wide screen.
pub(super) const POINTS_DEFAULT: u64 = 400;

/// Lines of a timeline that is split by a label.
const SERIES_MAX: usize = 20;

/// The label of everything beyond the largest lines.
pub const REST_LABEL: &str = "…";

impl QueryEngine {
    /// Values over time, in steps of `step_ms` (by default few enough for a picture), split by a label where given. Partial as
    /// [`QueryEngine::merge`] is.
    ///
    /// # Errors
    /// As [`QueryEngine::merge`], and when the step gives too many points.
    pub async fn timeline(
        &self,
        selection: &Selection,
        step_ms: Option<u64>,
        by: Option<&str>,
    ) -> Result<Arc<Timeline>, QueryError> {
        self.timeline_prepared(&self.prepare(selection).await?, step_ms, by).await
    }

    /// The same of what was listed before.
    ///
    /// # Errors
    /// As [`QueryEngine::timeline`].
    pub async fn timeline_prepared(
        &self,
        prepared: &Prepared,
        step_ms: Option<u64>,
        by: Option<&str>,
    ) -> Result<Arc<Timeline>, QueryError> {
        let by = by.map(str::to_owned);
        let key = (prepared.key(), step_ms, by.clone(), self.timeout());
        self.timelines.run(key, || self.clone().timeline_fitting(prepared.clone(), step_ms, by)).await
    }

    async fn timeline_fitting(
        self,
        prepared: Prepared,
        step_ms: Option<u64>,
        by: Option<String>,
    ) -> Result<Timeline, QueryError> {
        let selection = prepared.selection();
        let ask = |range, deadline| self.timeline_all(prepared.within(range), step_ms, by.clone(), deadline);
        let (timeline, partial) =
            newest_that_fits(selection.range(), self.deadline(), Timeline::holds_data, ask).await?;
        let range = covered(selection.range(), partial);
        let wish = Wish::points(range, step_ms, POINTS_DEFAULT, is_by_instance(selection, by.as_deref()));
        let partial = self.with_damage(partial, Looked::by(selection, wish)).await?;
        Ok(Timeline { partial, ..timeline })
    }

    async fn timeline_all(
        &self,
        prepared: Prepared,
        step_ms: Option<u64>,
        by: Option<String>,
        deadline: Instant,
    ) -> Result<Timeline, QueryError> {
        self.run(deadline, move |store, limits, cancel| {
            let selection = prepared.selection();
            let by_instance = is_by_instance(selection, by.as_deref());
            let wish = Wish::points(selection.range(), step_ms, POINTS_DEFAULT, by_instance);
            let mut plan = prepared.plan(store, wish, &SUM_TABLES, limits, cancel)?;
            let grid = Grid::new(selection.range(), step_ms, &plan.spans(), plan.coarsest_ms())?;
            let Some(trace) = selection.trace else {
                let measured = plan.measured(store, &selection.labels, cancel)?;
                return draw(&plan, grid, by.as_deref(), &measured);
            };
            let mut windows = prepared.narrow(store, &mut plan, cancel)?.into_iter().map(Arc::new).collect();
            plan.open_carriers(store, &mut windows, cancel)?;
            let measured: Vec<Measured> =
                windows.iter().flat_map(|window| plan.measure(window, &selection.labels, trace)).collect();
            draw(&plan, grid, by.as_deref(), &measured)
        })
        .await
    }
}

/// True when instances are told apart, by a filter or by the label it is split by.
fn is_by_instance(selection: &Selection, by: Option<&str>) -> bool {
    selection.labels.iter().map(|(name, _)| name.as_str()).chain(by).any(|name| name == INSTANCE)
}

/// The grid that points lie on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) start_ms: u64,
    pub(super) step_ms: u64,
    pub(super) points: usize,
}

impl Grid {
    /// Steps lie on whole multiples of the step. Without one: the smallest whole number of windows that gives few enough points, and
    /// of the longest windows that others were added up to.
    pub(super) fn new(
        range: TimeRange,
        step_ms: Option<u64>,
        spans: &[Span],
        coarsest_ms: u64,
    ) -> Result<Self, QueryError> {
        let window = spans.iter().map(|span| u64::from(span.window_len_ms)).min().unwrap_or(10_000).max(1);
        let window = window.max(coarsest_ms);
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

    pub(super) fn place(self, at_ms: u64) -> usize {
        (at_ms.saturating_sub(self.start_ms) / self.step_ms) as usize
    }
}

/// `measured` is what windows add: their sums of the type, or the part of them that belongs to a trace.
fn draw(plan: &Plan, grid: Grid, by: Option<&str>, measured: &[Measured]) -> Result<Timeline, QueryError> {
    let covered = coverage(grid.start_ms, grid.step_ms, grid.points, &plan.spans());
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    // Where a label is one of single samples, a window that was received is a point of every line.
    let of_samples = by.is_some_and(|by| plan.sample_labels.contains(by));
    let everywhere: BTreeSet<usize> = match of_samples {
        true => plan.covering.iter().map(|received| grid.place(received.window_ms)).collect(),
        false => BTreeSet::new(),
    };
    let by_window = plan.covering.iter().filter(|_| !of_samples);
    let received = by_window.map(|r| (r.window_ms, &r.instance, &r.labels, 0));
    let measured = measured.iter().filter(|m| m.value > 0).map(|m| (m.window_ms, &m.instance, &m.labels, m.value));
    for (window_ms, instance, labels, value) in received.chain(measured) {
        let name = by.and_then(|by| labels.get_of(instance, by)).unwrap_or_default();
        let line = match lines.get_mut(name) {
            Some(line) => line,
            None => lines.entry(name.to_owned()).or_insert_with(|| Line::new(grid.points)),
        };
        line.add(grid.place(window_ms), value);
    }
    if lines.is_empty() && !everywhere.is_empty() {
        lines.insert(String::new(), Line::new(grid.points));
    }
    for line in lines.values_mut() {
        everywhere.iter().for_each(|at| line.add(*at, 0));
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
