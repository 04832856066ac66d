//! What the numbers of a profile mean. Every door asks here, so that the same events mean the same however they came in: whether
//! they add up over time or stand for a state, in which unit they are kept and shown, and how many samples stand behind each.
//!
//! Formats say little of this: a name, a unit, at best the distance between samples. The rest is how the profilers that write them
//! are built. Names are those that Go, gperftools, pprof-nodejs, Pyroscope's JFR converter, jemalloc, Parca and Datadog's
//! profilers use, made fit as all names are (`heap-live-size` is `heap_live_size`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::decode::COUNT_MAX;
use super::model::{Kind, ProfileType};

/// Types that measure the time for which a processor was busy: their rate is in cores. All other times are spent waiting, or nobody
/// knows how.
const CPU: [&str; 5] = ["cpu", "cpu_time", "process_cpu", "on_cpu", "itimer"];

/// Types that measure the time that passed.
const WALL: [&str; 3] = ["wall", "wall_time", "wallclock"];

/// Types that say what there is at a moment: asked twice they are no more than asked once. Live heap is `objects` and `space` in
/// Node and gperftools, `live` in Java, `heap_space` in Python, `heap_live_…` in Ruby, `inuse_…` everywhere else.
const GAUGES: [&str; 8] =
    ["objects", "space", "live", "heap_space", "goroutine", "goroutines", "goroutineleak", "threadcreate"];

/// What the names of further such types begin with.
const GAUGES_BEGIN: [&str; 3] = ["inuse_", "live_", "heap_live_"];

/// Counts and sizes of heap samplers that write an estimate of all blocks, and not those they saw.
const ESTIMATED: [[&str; 2]; 3] =
    [["alloc_objects", "alloc_space"], ["inuse_objects", "inuse_space"], ["objects", "space"]];

/// Columns that count what another one measures, where their names do not say so.
const COUNTED_BY: [(&str, &str); 4] = [
    ("delay", "contentions"),
    ("space", "objects"),
    ("heap_space", "heap_live_samples"),
    ("gpu_space", "gpu_alloc_samples"),
];

/// What the name of a measure ends in, …
const MEASURES: [&str; 9] =
    ["_space", "_size", "_bytes", "_time", "_duration", "_wait", "_hold", "_delay", "_nanoseconds"];

/// … and what that of its count ends in: `lock_time` and `lock_count`, `lock_acquire_wait` and `lock_acquire`.
const COUNTS: [&str; 7] = ["_samples_unscaled", "_objects", "_samples", "_sample", "_count", "_contentions", ""];

/// Columns that count the samples of all others.
const COUNT_OF_ALL: [&str; 3] = ["samples", "sample", "count"];

/// Nanoseconds of each unit of time.
const TIMES: [(&str, u64); 24] = [
    ("nanoseconds", 1),
    ("nanosecond", 1),
    ("nanos", 1),
    ("ns", 1),
    ("microseconds", 1_000),
    ("microsecond", 1_000),
    ("micros", 1_000),
    ("usec", 1_000),
    ("us", 1_000),
    ("milliseconds", 1_000_000),
    ("millisecond", 1_000_000),
    ("millis", 1_000_000),
    ("msec", 1_000_000),
    ("ms", 1_000_000),
    ("seconds", 1_000_000_000),
    ("second", 1_000_000_000),
    ("secs", 1_000_000_000),
    ("sec", 1_000_000_000),
    ("s", 1_000_000_000),
    ("minutes", 60_000_000_000),
    ("minute", 60_000_000_000),
    ("hours", 3_600_000_000_000),
    ("hour", 3_600_000_000_000),
    ("hrs", 3_600_000_000_000),
];

/// Bytes of each unit of size. `kb` is 1024 to all tools that write pprof.
const SIZES: [(&str, u64); 16] = [
    ("bytes", 1),
    ("byte", 1),
    ("b", 1),
    ("kilobytes", 1 << 10),
    ("kilobyte", 1 << 10),
    ("kbyte", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1 << 10),
    ("megabytes", 1 << 20),
    ("megabyte", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1 << 20),
    ("gigabytes", 1 << 30),
    ("gigabyte", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1 << 30),
];

/// One of the values that every sample of a profile has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// As it is stored.
    pub name: &'a str,
    /// As the profile has it, made fit.
    pub unit: &'a str,
}

/// How far samples lie apart, as a profile says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distance {
    /// In what: the name of a column, or of something else.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// How many of it; 0: it does not say.
    pub value: u64,
}

/// How types add up, where somebody says so: by name.
pub type Kinds = BTreeMap<String, Kind>;

/// What the numbers of one column mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// The unit they are kept in: times are nanoseconds, sizes are bytes, whatever the profile has them in.
    pub unit: String,
    /// What one of the profile's units is worth in it.
    pub factor: u64,
    /// How they add up.
    pub kind: Kind,
    /// Mean distance between samples in the unit they are kept in. 0: unknown.
    pub period: u64,
    behind: Behind,
}

/// Where the number of samples behind a value is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// It is that number: each event that it counts was seen.
    Value,
    /// In another column.
    Column(usize),
    /// The value and this distance say it.
    Distance(u64),
    /// Blocks were drawn by their size and scaled up: how many were seen follows from how many there are, and how large.
    Estimate { count: usize, size: usize, size_factor: u64, distance: u64 },
    /// Nobody says: a sample of the profile is one.
    Sample,
}

/// What each of a profile's columns means.
pub fn read(columns: &[Column<'_>], distance: Option<Distance>, said: &Kinds) -> Vec<Meaning> {
    columns.iter().enumerate().map(|(at, column)| one(columns, at, *column, distance.as_ref(), said)).collect()
}

fn one(columns: &[Column<'_>], at: usize, column: Column<'_>, distance: Option<&Distance>, said: &Kinds) -> Meaning {
    let (unit, factor) = kept(column.unit);
    // What is counted one by one lies no distance apart.
    let period = distance.filter(|_| unit != COUNT).and_then(|distance| apart(columns, column, distance));
    Meaning {
        kind: said.get(column.name).copied().unwrap_or_else(|| kind(columns, column, distance)),
        period: period.unwrap_or(0),
        behind: behind(columns, at, column, distance),
        unit: unit.into_owned(),
        factor,
    }
}

impl Meaning {
    /// How many samples stand behind `value`, which is in the unit it is kept in; `column` says what the same sample has in the
    /// profile's other columns. At least 1 where there is a value.
    pub fn samples(&self, value: u64, column: impl Fn(usize) -> u64) -> u64 {
        if value == 0 {
            return 0;
        }
        let samples = match self.behind {
            Behind::Value => value,
            Behind::Column(count) => column(count),
            Behind::Distance(distance) => value.saturating_add(distance / 2) / distance.max(1),
            Behind::Estimate { count, size, size_factor, distance } => {
                seen(column(count), column(size).saturating_mul(size_factor), distance)
            }
            Behind::Sample => 1,
        };
        samples.max(1)
    }

    /// True where neither the values nor another column say how many samples stand behind one: whoever reads the profile counts them.
    pub fn is_uncounted(&self) -> bool {
        self.behind == Behind::Sample
    }

    /// The column that counts the samples of this one, where there is one.
    pub fn counted_by(&self) -> Option<usize> {
        match self.behind {
            Behind::Column(count) => Some(count),
            _ => None,
        }
    }
}

const COUNT: &str = "count";

/// The unit that values are kept in, and what one of theirs is worth in it.
fn kept(unit: &str) -> (Cow<'_, str>, u64) {
    let known = |units: &[(&str, u64)]| units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    if let Some(factor) = known(&TIMES) {
        return (NANOSECONDS.into(), factor);
    }
    if let Some(factor) = known(&SIZES) {
        return (BYTES.into(), factor);
    }
    (unit.into(), 1)
}

const NANOSECONDS: &str = "nanoseconds";
const BYTES: &str = "bytes";

/// True for units of time.
pub(super) fn is_time(unit: &str) -> bool {
    kept(unit).0 == NANOSECONDS
}

/// How far the samples of a column lie apart, in the unit it is kept in, if that is what the profile says. Heap samplers call what
/// they count by `space`, whatever their columns are called.
fn apart(columns: &[Column<'_>], column: Column<'_>, distance: &Distance) -> Option<u64> {
    let ((unit, _), (of, factor)) = (kept(column.unit), kept(&distance.unit));
    let alike = |other: &&Column<'_>| kept(other.unit).0 == unit;
    let is_meant = distance.name == column.name
        || (unit == BYTES && distance.name == "space")
        || (!columns.iter().any(|other| other.name == distance.name) && columns.iter().filter(alike).count() == 1);
    let apart = distance.value.saturating_mul(factor);
    (unit == of && is_meant && (1..=COUNT_MAX).contains(&apart)).then_some(apart)
}

/// Go writes what there is at the moment, of whatever a program counts, as one column that is its own distance of 1.
fn kind(columns: &[Column<'_>], column: Column<'_>, distance: Option<&Distance>) -> Kind {
    let its_own = |distance: &Distance| distance.name == column.name && distance.unit == COUNT && distance.value == 1;
    let counts_what_is = columns.len() == 1 && column.unit == COUNT && distance.is_some_and(its_own);
    let is_gauge = GAUGES.contains(&column.name)
        || GAUGES_BEGIN.iter().any(|begin| column.name.starts_with(begin))
        || (counts_what_is && !COUNT_OF_ALL.contains(&column.name));
    if is_gauge { Kind::Gauge } else { Kind::Counter }
}

fn behind(columns: &[Column<'_>], at: usize, column: Column<'_>, distance: Option<&Distance>) -> Behind {
    if let Some(estimate) = estimate(columns, column, distance) {
        return estimate;
    }
    let counting = |name: &str| columns.iter().position(|other| other.name == name && other.unit == COUNT);
    let count = counts_of(column).iter().find_map(|name| counting(name)).filter(|count| *count != at);
    match (count, distance.and_then(|distance| apart(columns, column, distance))) {
        (Some(count), _) => Behind::Column(count),
        (None, _) if column.unit == COUNT => Behind::Value,
        // A distance of one unit is how formats say that there is none.
        (None, Some(distance)) if distance > 1 => Behind::Distance(distance),
        _ => Behind::Sample,
    }
}

fn estimate(columns: &[Column<'_>], column: Column<'_>, distance: Option<&Distance>) -> Option<Behind> {
    let [count, size] = *ESTIMATED.iter().find(|names| names.contains(&column.name))?;
    let at = |name: &str| columns.iter().position(|other| other.name == name);
    let (count, size) = (at(count)?, at(size)?);
    let of_size = columns.get(size)?;
    let distance = apart(columns, *of_size, distance?)?;
    Some(Behind::Estimate { count, size, size_factor: kept(of_size.unit).1, distance })
}

/// What the column that counts the samples of this one may be called, likeliest first.
fn counts_of(column: Column<'_>) -> Vec<Cow<'static, str>> {
    let name = column.name;
    let special = COUNTED_BY.iter().filter(|(of, _)| *of == name).map(|(_, count)| Cow::from(*count));
    let own = ["_unscaled", "_samples"].map(|end| format!("{name}{end}").into());
    let mut names: Vec<Cow<'static, str>> = special.chain(own).collect();
    if column.unit == COUNT {
        return names;
    }
    if let Some(stem) = MEASURES.iter().find_map(|measure| name.strip_suffix(measure)) {
        names.extend(COUNTS.iter().map(|count| format!("{stem}{count}").into()));
    }
    names.extend(COUNT_OF_ALL.map(Cow::from));
    names
}

/// A sampler that draws a block of `size / count` bytes with the probability 1 − e^(−bytes ÷ distance), and divides by it what it
/// writes down, saw this many of `count`.
fn seen(count: u64, size: u64, distance: u64) -> u64 {
    if count == 0 {
        return size / distance.max(1);
    }
    let mean = size as f64 / count as f64;
    let drawn = -(-mean / distance.max(1) as f64).exp_m1();
    (count as f64 * drawn).round() as u64
}

/// A unit that people read, and what a profile's unit is worth in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// `cores`, `s/s`, `bytes/s`, `count`, …
    pub unit: String,
    /// One unit of the type, or one of it per second, is this many of them.
    pub factor: f64,
}

/// How a type is shown over time: counters by the second, gauges as they are.
pub fn over_time(profile_type: &ProfileType) -> Shown {
    match (profile_type.kind, profile_type.unit.as_str()) {
        (Kind::Counter, NANOSECONDS) if is_cpu(&profile_type.name) => Shown { unit: "cores".to_owned(), factor: 1e-9 },
        (Kind::Counter, NANOSECONDS) => Shown { unit: "s/s".to_owned(), factor: 1e-9 },
        (Kind::Counter, unit) => Shown { unit: format!("{unit}/s"), factor: 1.0 },
        (Kind::Gauge, _) => in_all(profile_type),
    }
}

/// How its sums are shown.
pub fn in_all(profile_type: &ProfileType) -> Shown {
    match profile_type.unit.as_str() {
        NANOSECONDS => Shown { unit: "seconds".to_owned(), factor: 1e-9 },
        unit => Shown { unit: unit.to_owned(), factor: 1.0 },
    }
}

/// True for what a timer looked at: each of its samples is worth the time between two looks.
pub fn is_by_timer(name: &str) -> bool {
    is_cpu(name) || WALL.contains(&name)
}

/// True for what measures how long processors were busy.
pub fn is_cpu(name: &str) -> bool {
    CPU.contains(&name)
}

#[cfg(test)]
mod tests;
