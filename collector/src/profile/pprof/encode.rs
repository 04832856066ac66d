//! Writes a merged profile as gzipped pprof, addresses, build ids and inlined frames included.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use rustc_hash::FxHashMap;

use super::locations::Locations;
use super::mappings::Layout;
use super::numbers;
use super::{Function, Label, Line, Location, Profile, Sample, ValueType};
use crate::profile::names;
use crate::profile::resolution::{Resolution, Symbol};
use crate::profile::tree::Resolved;

/// The column that says how many samples are behind a value.
const COUNTS: &str = "samples";

/// A gzipped pprof profile.
pub fn encode(resolved: Resolved<'_>) -> Vec<u8> {
    encode_labelled(resolved, &[])
}

/// The same with labels, as (name, value): the replicate of a row says which; none, where there are none.
pub fn encode_labelled(resolved: Resolved<'_>, label_sets: &[Vec<(String, String)>]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&profile(resolved, label_sets, true).encode_to_vec()).expect("memory takes what it is given");
    gzip.finish().expect("memory takes what it is given")
}

/// The same with values alone, and not compressed: for who takes the message itself.
pub fn encode_values(resolved: Resolved<'_>) -> Vec<u8> {
    profile(resolved, &[], false).encode_to_vec()
}

fn profile((merged, resolutions): Resolved<'_>, label_sets: &[Vec<(String, String)>], counts: bool) -> Profile {
    let mut texts = Texts::default();
    texts.add("");
    let layout = Layout::of(merged, resolutions, |text| texts.add(text));
    let mut functions = Functions::default();
    // Counts as the first column, as profilers of CPU time do; values as the last one, which readers show by default. A type that
    // is called as the counts are has no counts beside it: readers know columns by their names.
    let t = &merged.profile_type;
    let count = ValueType { r#type: texts.add(COUNTS), unit: texts.add("count") };
    let values = ValueType { r#type: texts.add(&t.name), unit: texts.add(&t.unit) };
    let sample_type = if !counts || t.name == COUNTS { vec![values] } else { vec![count, values] };
    let columns = sample_type.len();
    let labels: Vec<Vec<Label>> = label_sets.iter().map(|set| labels(set, &mut texts)).collect();
    let mut locations = Locations::new(&merged.frames, |frame| Location {
        line: lines(&resolutions[frame], &mut functions, &mut texts),
        ..layout.locate(&merged.frames[frame])
    });
    let mut sample: Vec<Sample> = Vec::new();
    let mut last = None;
    for row in &merged.rows {
        let both = [clamp(row.samples), clamp(row.value)];
        let row_values = &both[both.len() - columns..];
        let labels = labels.get(usize::from(row.replicate)).map(Vec::as_slice).unwrap_or_default();
        match sample.last_mut().filter(|sample| last == Some(row.node) && sample.label == labels) {
            // Rows are sorted: replicates of one stack follow each other.
            Some(sample) => {
                for (sum, add) in sample.value.iter_mut().zip(row_values) {
                    *sum = sum.saturating_add(*add);
                }
            }
            None => sample.push(Sample {
                location_id: locations.stack(&merged.nodes, row.node),
                value: row_values.to_vec(),
                label: labels.to_vec(),
            }),
        }
        last = Some(row.node);
    }
    let location = locations.locations;
    Profile {
        sample_type,
        sample,
        mapping: layout.mappings,
        location,
        function: functions.functions,
        time_nanos: clamp(merged.received_from_ms.saturating_mul(1_000_000)),
        duration_nanos: (merged.covered_seconds * 1e9) as i64,
        period_type: Some(values),
        period: clamp(t.period),
        comment: vec![texts.add("exported by tephra")],
        string_table: texts.texts,
    }
}

fn labels(set: &[(String, String)], texts: &mut Texts) -> Vec<Label> {
    let label = |(name, value): &(String, String)| {
        let key = texts.add(name);
        match numbers::read(value) {
            Some((num, unit)) => {
                Label { key, num, num_unit: texts.add(numbers::named_unit(name, num, unit)), ..Label::default() }
            }
            None => Label { key, str: texts.add(value), ..Label::default() },
        }
    };
    set.iter().map(label).collect()
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn lines(resolution: &Resolution, functions: &mut Functions, texts: &mut Texts) -> Vec<Line> {
    let line = |(id, line): (u64, u32)| Line { function_id: id, line: line.into() };
    match resolution {
        Resolution::Symbols(symbols) => symbols.iter().rev().map(|s| line((functions.add(s, texts), s.line))).collect(),
        Resolution::Unresolved { .. } => Vec::new(),
        Resolution::Truncated => {
            let empty = || "".into();
            let symbol =
                Symbol { function: "(truncated)".into(), module: empty(), file: empty(), line: 0, inlined: false };
            vec![line((functions.add(&symbol, texts), 0))]
        }
    }
}

#[derive(Default)]
struct Functions {
    functions: Vec<Function>,
    index: FxHashMap<(i64, i64), u64>,
}

impl Functions {
    fn add(&mut self, symbol: &Symbol, texts: &mut Texts) -> u64 {
        let name = texts.add(&names::function_in(&symbol.function, &symbol.file));
        let filename = texts.add(&names::printable(&symbol.file));
        let next = self.functions.len() as u64 + 1;
        let id = *self.index.entry((name, filename)).or_insert(next);
        if id == next {
            self.functions.push(Function { id, name, system_name: name, filename });
        }
        id
    }
}

#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    index: FxHashMap<String, i64>,
}

impl Texts {
    fn add(&mut self, text: &str) -> i64 {
        if let Some(&known) = self.index.get(text) {
            return known;
        }
        let number = self.texts.len() as i64;
        self.texts.push(text.to_owned());
        self.index.insert(text.to_owned(), number);
        number
    }
}
