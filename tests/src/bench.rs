//! How a benchmark reports: each number with its unit, its goal, and whether it is met.

use std::time::Duration;

use serde_json::{Value, json};

/// All numbers of one benchmark.
#[derive(Debug, Default)]
pub struct Report {
    numbers: Vec<Value>,
}

impl Report {
    /// A number that must not be above its goal.
    pub fn at_most(&mut self, name: &str, value: f64, unit: &str, goal: f64) {
        self.push(name, value, unit, &format!("≤ {goal}"), value <= goal);
    }

    /// A number that must not be below its goal.
    pub fn at_least(&mut self, name: &str, value: f64, unit: &str, goal: f64) {
        self.push(name, value, unit, &format!("≥ {goal}"), value >= goal);
    }

    /// A number to compare others with.
    pub fn note(&mut self, name: &str, value: f64, unit: &str) {
        self.numbers.push(json!({"name": name, "value": value, "unit": unit, "goal": null, "met": null}));
    }

    /// Prints all of them as one JSON array, the last thing a benchmark prints.
    pub fn print(self) {
        println!("{:#}", Value::Array(self.numbers));
    }

    fn push(&mut self, name: &str, value: f64, unit: &str, goal: &str, met: bool) {
        self.numbers.push(json!({"name": name, "value": value, "unit": unit, "goal": goal, "met": met}));
    }
}

/// The value below which `share` of all values lie, in milliseconds. Sorts them.
pub fn percentile_ms(values: &mut [Duration], share: f64) -> f64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1) as f64;
    values.get((last * share).round() as usize).map_or(f64::NAN, |value| value.as_secs_f64() * 1e3)
}

/// SplitMix64: equal seeds make equal benchmarks.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts a sequence.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, uniform over all of them.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`, mostly small ones, as calls are distributed over a service's stacks.
    pub fn skewed(&mut self, limit: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((limit as f64).powf(unit) - 1.0) as u64
    }
}
