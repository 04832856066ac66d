//! Folded stacks: `outer;inner 12`, as `stackcollapse-*` scripts, `perf`'s wrappers and most profilers can write them; and stacks without a
//! count, each a sample. Counts are samples unless whoever sends them says otherwise.
//!
//! Frames may hold anything but `;`. `_[i]` at a frame's end is how `stackcollapse-perf.pl` marks a function that was copied into the one
//! before it. Lines that begin with `#` or `//` are comments.

use super::Format;
use super::draft::{Asked, Draft, Measure};
use crate::profile::import::{ImportError, Imported, Place};

const FORMAT: &str = "folded stacks";

/// How frames are marked that are inlined.
const INLINED: &str = "_[i]";

/// What the first lines of a text are.
pub(super) fn recognise(lines: &[&str]) -> Option<Format> {
    let mut lines = lines.iter().copied().filter(|line| !is_comment(line)).peekable();
    lines.peek()?;
    let lines: Vec<&str> = lines.collect();
    if lines.iter().any(|line| split(line).is_some_and(|(stack, _)| stack.contains(';'))) {
        return Some(Format::Folded);
    }
    // Tables with `;` between numbers are no stacks, and neither is a text in which a sentence has one.
    let is_stack = |line: &str| {
        line.contains(';')
            && !line.contains("; ")
            && line.split(';').all(|frame| !frame.trim().is_empty() && frame.trim().parse::<f64>().is_err())
    };
    let is_frame = |line: &str| !line.contains(char::is_whitespace) && !line.contains([',', '=', '"']);
    let stacks = lines.iter().filter(|line| is_stack(line)).count();
    (2 * stacks > lines.len() && lines.iter().all(|line| is_stack(line) || is_frame(line))).then_some(Format::Lines)
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#') || line.starts_with("//")
}

/// A stack and what stands behind it, where that is a number.
fn split(line: &str) -> Option<(&str, &str)> {
    let (stack, number) = line.rsplit_once(|c: char| c.is_ascii_whitespace())?;
    let stack = stack.trim_end();
    (!stack.is_empty() && number.parse::<f64>().is_ok_and(f64::is_finite)).then_some((stack, number))
}

/// Lines that are no comments, with their numbers.
fn stacks(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !is_comment(line))
}

fn broken(line: usize, problem: impl Into<String>, advice: &'static str) -> ImportError {
    ImportError::Broken { format: FORMAT, place: Place::Line(line), problem: problem.into(), advice }
}

pub(super) fn decode(text: &str, asked: &Asked) -> Result<Imported, ImportError> {
    let has_two = |(_, line): (usize, &str)| split(line).and_then(|(stack, _)| split(stack)).is_some();
    // A number may end a name; before every single count it is a count as well.
    if let Some((line, _)) = stacks(text).next().filter(|_| stacks(text).all(has_two)) {
        let advice = "it is the difference of two profiles: send each of them by itself";
        return Err(broken(line, "two counts stand behind the stack", advice));
    }
    let mut draft = draft(asked)?;
    let mut frames = Vec::new();
    for (at, line) in stacks(text) {
        let (stack, count) = split(line).ok_or_else(|| {
            let shown: String = line.chars().take(60).collect();
            broken(
                at,
                format!("no count stands behind {shown:?}"),
                "write a line for each stack, such as: main;parse 12",
            )
        })?;
        let count: u64 = count.parse().map_err(|_| {
            let advice =
                "write counts as whole numbers, in a smaller unit where they have fractions, such as unit=microseconds";
            broken(at, format!("the count {count} is no whole number from 0 on"), advice)
        })?;
        read(stack, &mut draft, &mut frames)?;
        draft.sample(&frames, 0, &[count], 1)?;
    }
    draft.finish(0, 0)
}

pub(super) fn decode_lines(text: &str, asked: &Asked) -> Result<Imported, ImportError> {
    let mut draft = draft(asked)?;
    let mut frames = Vec::new();
    for (_, stack) in stacks(text) {
        read(stack, &mut draft, &mut frames)?;
        draft.sample(&frames, 0, &[1], 1)?;
    }
    draft.finish(0, 0)
}

fn draft(asked: &Asked) -> Result<Draft, ImportError> {
    let (name, unit) = (asked.name.as_deref().unwrap_or("samples"), asked.unit.as_deref().unwrap_or("count"));
    Draft::of_each(&[Measure::new(name, unit)], asked)
}

fn read(stack: &str, draft: &mut Draft, frames: &mut Vec<u32>) -> Result<(), ImportError> {
    frames.clear();
    for name in stack.split(';').map(str::trim).filter(|name| !name.is_empty()) {
        let importer = &mut draft.importer;
        let frame = match name.strip_suffix(INLINED).filter(|name| !name.is_empty()) {
            Some(name) if !frames.is_empty() => importer.inlined(name, "", 0)?,
            _ => importer.symbolic(name, "", 0)?,
        };
        frames.push(frame);
    }
    Ok(())
}
