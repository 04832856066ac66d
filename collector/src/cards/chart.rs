//! A value over time, with what is compared: the baseline blue, the window orange.

use super::ink::{Colour, Ink};
use super::{Area, BLACK, GREY, LINE};
use crate::base::times::format_utc;

const BASELINE: Colour = Colour(0x2b, 0x7b, 0xba);
const WINDOW: Colour = Colour(0xd1, 0x65, 0x0f);

/// Room for the axis, in pixels.
const AXIS: f32 = 36.0;
/// Height of the letters on it.
const LETTERS: f32 = 20.0;
/// Width of what may be written at either end.
const END: f32 = 400.0;

/// Points in time, and the two ranges in it.
#[derive(Debug)]
pub struct Chart<'a> {
    /// (unix milliseconds, value), in order; none where nothing was received.
    pub points: &'a [(u64, Option<f64>)],
    /// The largest value, as it is said.
    pub most: String,
    /// From when to when, unix milliseconds.
    pub baseline: (u64, u64),
    /// See above.
    pub window: (u64, u64),
}

impl Chart<'_> {
    pub(super) fn draw(&self, ink: &mut Ink, area: Area) {
        let (Some((from, _)), Some((until, _))) = (self.points.first(), self.points.last()) else { return };
        let span = until.saturating_sub(*from).max(1) as f32;
        let (top, floor) = (area.top + LETTERS + 8.0, area.bottom - AXIS);
        let most = self.points.iter().filter_map(|(_, value)| finite(*value)).fold(f64::MIN_POSITIVE, f64::max);
        let x = |at: u64| {
            let part = at.clamp(*from, (*until).max(*from)).saturating_sub(*from) as f32 / span;
            area.left + part * (area.right - area.left)
        };
        let y = |value: f64| floor - (value.max(0.0) / most) as f32 * (floor - top);
        for ((start, end), colour) in [(self.baseline, BASELINE), (self.window, WINDOW)] {
            ink.wash(x(start), top, x(end) - x(start), floor - top, colour, 40);
            ink.fill(x(start), floor, x(end) - x(start), 6.0, colour);
        }
        ink.fill(area.left, floor, area.right - area.left, 1.0, LINE);
        let mut runs: Vec<Vec<(f32, f32)>> = vec![Vec::new()];
        for (at, value) in self.points {
            match (finite(*value), runs.last_mut()) {
                (Some(value), Some(run)) => run.push((x(*at), y(value))),
                _ => runs.push(Vec::new()),
            }
        }
        ink.lines(&runs, 3.5, BLACK);
        let ends = [format_utc(*from), format_utc(*until)];
        ink.text(area.left, area.bottom, LETTERS, GREY, &ends[0], END);
        ink.text(area.right - ink.width(&ends[1], LETTERS), area.bottom, LETTERS, GREY, &ends[1], END);
        ink.text(area.left, area.top + LETTERS - 4.0, LETTERS, GREY, &self.most, END);
    }
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}
