//! Exact sums over time, by any labels: what a step holds, where a timeline says what was going on per second.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::cover::Wish;
use super::damage::{Looked, covered};
use super::fit::newest_that_fits;
use super::measure::SUM_TABLES;
use super::slices::coverage;
use super::timeline::{Grid, POINTS_DEFAULT};
use super::{Prepared, QueryEngine, QueryError};
use crate::base::labels::{INSTANCE, Labels};
use crate::base::range::TimeRange;
use crate::profile::model::{Kind, Partial};

/// Steps of all lines of one answer.
const STEPS_MAX: usize = 1 << 20;

/// Sums of a type, by step of time and labels.
#[derive(Debug, Clone, PartialEq)]
pub struct SumsOverTime {
    /// Start of the first step, unix milliseconds; steps lie on whole multiples of their length.
    pub start_ms: u64,
    /// Length of a step, milliseconds.
    pub step_ms: u64,
    /// How values add up.
    pub kind: Kind,
    /// By the values of the labels that it is split by, in their order; empty where one is not set.
    pub lines: BTreeMap<Vec<String>, Line>,
    /// Which part of the range is in it, where the limits did not allow all of it.
    pub partial: Option<Partial>,
}

/// What is summed for one combination of labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What each step holds, in units of the type: of counters the sum, of gauges the mean. `None`: nothing was received. Where windows
    /// are longer than a step, the part of their sum that falls to one.
    pub values: Vec<Option<f64>>,
    /// How many windows of this combination each step holds.
    pub windows: Vec<u64>,
}

impl QueryEngine {
    /// What is selected, by step of time and by the values of `by`. Partial as [`QueryEngine::merge`] is.
    ///
    /// # Errors
    /// As [`QueryEngine::timeline`], and when there are too many steps of too many lines.
    pub async fn sums_over_time(
        &self,
        prepared: &Prepared,
        step_ms: u64,
        by: &[String],
    ) -> Result<SumsOverTime, QueryError> {
        let selection = prepared.selection();
        let holds = |sums: &SumsOverTime| !sums.lines.is_empty();
        let ask = |range, deadline| self.sums_over_time_all(prepared.within(range), step_ms, by.to_vec(), deadline);
        let (sums, partial) = newest_that_fits(selection.range(), self.deadline(), holds, ask).await?;
        let wish = wish(prepared, covered(selection.range(), partial), step_ms, by);
        let partial = self.with_damage(partial, Looked::by(selection, wish)).await?;
        Ok(SumsOverTime { partial, ..sums })
    }

    async fn sums_over_time_all(
        &self,
        prepared: Prepared,
        step_ms: u64,
        by: Vec<String>,
        deadline: Instant,
    ) -> Result<SumsOverTime, QueryError> {
        self.run(deadline, move |store, limits, cancel| {
            let selection = prepared.selection();
            let wish = wish(&prepared, selection.range(), step_ms, &by);
            let plan = prepared.plan(store, wish, &SUM_TABLES, limits, cancel)?;
            let grid = Grid::new(selection.range(), Some(step_ms), &plan.spans(), plan.coarsest_ms())?;
            let covered_ms = coverage(grid.start_ms, grid.step_ms, grid.points, &plan.spans());
            let key = |instance: &str, labels: &Labels| -> Vec<String> {
                by.iter().map(|name| labels.get_of(instance, name).unwrap_or_default().to_owned()).collect()
            };
            let mut lines: BTreeMap<Vec<String>, Raw> = BTreeMap::new();
            let mut steps = 0;
            let mut add = |key: Vec<String>, window_ms: u64, value: u128, windows: u64| {
                if !lines.contains_key(&key) {
                    steps += grid.points;
                    if steps > STEPS_MAX {
                        return Err(QueryError::TooLarge { what: "steps of lines", limit: STEPS_MAX as u64 });
                    }
                }
                let line = lines.entry(key).or_insert_with(|| vec![None; grid.points]);
                if let Some(step) = line.get_mut(grid.place(window_ms)) {
                    let (sum, seen) = step.unwrap_or_default();
                    *step = Some((sum + value, seen + windows));
                }
                Ok(())
            };
            // Where a label is one of single samples, windows are told apart by what was sampled.
            let of_samples = by.iter().any(|name| plan.sample_labels.contains(name));
            for received in plan.covering.iter().filter(|_| !of_samples) {
                add(key(&received.instance, &received.labels), received.window_ms, 0, received.windows)?;
            }
            for measured in plan.measured(store, &selection.labels, cancel)? {
                let windows = u64::from(of_samples);
                add(key(&measured.instance, &measured.labels), measured.window_ms, measured.value, windows)?;
            }
            let is_coarse = plan.coarsest_ms() > grid.step_ms;
            let shown = |(at, step): (usize, Option<(u128, u64)>)| {
                let covered_ms = covered_ms.get(at).copied().unwrap_or(0).max(1);
                step.map(|(sum, _)| match plan.profile_type.kind {
                    Kind::Gauge => sum as f64 / covered_ms as f64,
                    Kind::Counter if is_coarse && covered_ms > grid.step_ms => {
                        sum as f64 * grid.step_ms as f64 / covered_ms as f64
                    }
                    Kind::Counter => sum as f64,
                })
            };
            let line = |raw: Raw| Line {
                windows: raw.iter().map(|step| step.map_or(0, |(_, windows)| windows)).collect(),
                values: raw.into_iter().enumerate().map(shown).collect(),
            };
            let lines = lines.into_iter().map(|(key, raw)| (key, line(raw))).collect();
            let kind = plan.profile_type.kind;
            Ok(SumsOverTime { start_ms: grid.start_ms, step_ms: grid.step_ms, kind, lines, partial: None })
        })
        .await
    }
}

/// By step: the sum, and how many windows are in it.
type Raw = Vec<Option<(u128, u64)>>;

fn wish(prepared: &Prepared, range: TimeRange, step_ms: u64, by: &[String]) -> Wish {
    let labels = prepared.selection().labels.iter().map(|(name, _)| name);
    let by_instance = labels.chain(by).any(|name| name == INSTANCE);
    Wish::points(range, Some(step_ms), POINTS_DEFAULT, by_instance)
}
