//! Texts of counts and addresses: heaps of gperftools and jemalloc, Go's profiles with `debug=1`, contention. Each record says how much,
//! then `@` and a stack of addresses, leaf first; behind it Go writes what they are called, and behind all others stands what was mapped.
//!
//! Samplers of heaps draw blocks by their size and write what they saw; here it is made what there was, as `go tool pprof` and `jeprof` do.

use super::draft::{Asked, Draft, Measure};
use super::modules::Modules;
use crate::profile::import::{ImportError, Imported, Place};
use crate::profile::meaning::Distance;

const FORMAT: &str = "a profile as text";

/// Lines behind which mappings stand.
const MAPPED: [&str; 2] = ["MAPPED_LIBRARIES:", "--- Memory map: ---"];

/// What the numbers of a record are.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// `objects: bytes [objects: bytes] @`, in use and allocated. A block of `rate` bytes is drawn with the probability 1 − 1/e;
    /// 0: all are.
    Heap { rate: u64, has_allocated: bool },
    /// The same over several lines: a stack, and then numbers by thread.
    Jemalloc { rate: u64, has_allocated: bool },
    /// `cycles count @`.
    Contention,
    /// `count @`.
    Count { name: String },
}

/// What the first line says.
fn kind(first: &str) -> Option<Kind> {
    if let Some(rest) = first.strip_prefix("heap profile:") {
        let (numbers, sampler) = rest.split_once('@')?;
        let [objects, bytes, all_objects, all_bytes] = heap_numbers(numbers)?;
        let has_allocated = (all_objects != objects && all_objects != 0) || (all_bytes != bytes && all_bytes != 0);
        let (sampler, rate) = sampler.trim().split_once('/').unwrap_or((sampler.trim(), "0"));
        let rate: u64 = rate.trim().parse().ok()?;
        let rate = match sampler {
            "heap_v2" | "heapz_v2" => rate,
            "heapprofile" => 0,
            // Go writes twice its rate.
            "heap" => rate / 2,
            _ => return None,
        };
        return Some(Kind::Heap { rate, has_allocated });
    }
    if let Some(rate) = first.strip_prefix("heap_v2/") {
        return Some(Kind::Jemalloc { rate: rate.trim().parse().ok()?, has_allocated: false });
    }
    if first.starts_with("--- contention") || first.starts_with("--- mutex:") {
        return Some(Kind::Contention);
    }
    let (name, total) = first.split_once(" profile: total ")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && total.trim().parse::<u64>().is_ok()).then(|| Kind::Count { name: name.to_owned() })
}

pub(super) fn is_one(first: &str) -> bool {
    kind(first).is_some()
}

/// `13: 1595680 [471: 258]`.
fn heap_numbers(text: &str) -> Option<[u64; 4]> {
    let (in_use, allocated) = text.trim().strip_suffix(']')?.split_once('[')?;
    let ((a, b), (c, d)) = (in_use.split_once(':')?, allocated.split_once(':')?);
    let number = |text: &str| text.trim().parse().ok();
    Some([number(a)?, number(b)?, number(c)?, number(d)?])
}

/// A record that waits for the names behind it.
#[derive(Default)]
struct Record<'a> {
    values: Vec<u64>,
    addresses: Vec<u64>,
    /// Function, file and line, leaf first.
    names: Vec<(&'a str, &'a str, u32)>,
}

fn broken(line: usize, problem: &str) -> ImportError {
    ImportError::Broken {
        format: FORMAT,
        place: Place::Line(line),
        problem: problem.to_owned(),
        advice: "the file is damaged or cut short: take it or copy it again",
    }
}

pub(super) fn decode(text: &str, asked: &Asked) -> Result<Imported, ImportError> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let end = MAPPED.iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    let (records, mapped) = text.split_at(end);
    let mut lines = (1..).zip(records.lines().map(str::trim_end)).filter(|(_, line)| !line.is_empty());
    let first = lines.next().and_then(|(_, line)| kind(line));
    let mut kind = first.ok_or_else(|| broken(1, "it does not say of what it is"))?;
    if let Kind::Jemalloc { has_allocated, .. } = &mut kind {
        // The first numbers are those of all.
        let all = records.lines().nth(1).and_then(|line| line.trim().strip_prefix("t*:")).and_then(heap_numbers);
        *has_allocated = all.is_some_and(|[_, _, objects, _]| objects > 0);
    }
    let (measures, distance) = measures(&kind);
    let mut draft = Draft::of_all(&measures, distance, asked)?;
    let mut modules = Modules::read(mapped);
    let (mut rate, mut clock_hz, mut duration_ns) = (1u64, 0u64, 0u64);
    let mut record: Option<Record<'_>> = None;
    for (at, line) in lines {
        if let Some(comment) = line.strip_prefix('#') {
            if let (Some(record), Some(name)) = (&mut record, name(comment)) {
                record.names.push(name);
            }
            continue;
        }
        let trimmed = line.trim();
        if kind == Kind::Contention && !trimmed.contains('@') {
            let (key, value) = trimmed.split_once('=').ok_or_else(|| broken(at, "neither a stack nor a setting"))?;
            let value: u64 = value.trim().parse().unwrap_or(0);
            match key.trim() {
                "cycles/second" => clock_hz = value,
                "sampling period" => rate = value.max(1),
                "ms since reset" => duration_ns = value.saturating_mul(1_000_000),
                _ => {}
            }
            continue;
        }
        if matches!(kind, Kind::Jemalloc { .. }) {
            if let Some(stack) = trimmed.strip_prefix('@') {
                end_record(record.take(), &mut draft, &mut modules)?;
                let addresses = addresses(stack).ok_or_else(|| broken(at, "an address is no number"))?;
                record = Some(Record { addresses, ..Record::default() });
            } else if let (Some(record), Some(numbers)) = (&mut record, trimmed.strip_prefix("t*:")) {
                record.values =
                    values(&kind, numbers, 1, 0).ok_or_else(|| broken(at, "the numbers are not as they should be"))?;
            }
            continue;
        }
        end_record(record.take(), &mut draft, &mut modules)?;
        let (numbers, stack) = trimmed.split_once('@').ok_or_else(|| broken(at, "no stack stands in it"))?;
        record = Some(Record {
            values: values(&kind, numbers, rate, clock_hz)
                .ok_or_else(|| broken(at, "the numbers are not as they should be"))?,
            addresses: addresses(stack).ok_or_else(|| broken(at, "an address is no number"))?,
            names: Vec::new(),
        });
    }
    end_record(record, &mut draft, &mut modules)?;
    draft.finish(0, duration_ns)
}

fn end_record(record: Option<Record<'_>>, draft: &mut Draft, modules: &mut Modules<'_>) -> Result<(), ImportError> {
    let Some(Record { values, addresses, names }) = record else { return Ok(()) };
    let mut stack = Vec::new();
    for (function, file, line) in names.iter().rev() {
        stack.push(draft.importer.symbolic(function, file, *line)?);
    }
    if names.is_empty() {
        for (at, address) in addresses.iter().enumerate().rev() {
            // Callers are where they go on; the call is before that.
            let address = if at == 0 { *address } else { address.wrapping_sub(1) };
            stack.push(modules.frame(address, draft)?);
        }
    }
    draft.sample(&stack, 0, &values, 1)
}

fn measures(kind: &Kind) -> (Vec<Measure>, Option<Distance>) {
    let of = |types: &[(&str, &str)]| types.iter().map(|(name, unit)| Measure::new(name, unit)).collect();
    let drawn = |rate: u64| Distance { name: "space".to_owned(), unit: "bytes".to_owned(), value: rate };
    let allocated =
        [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")];
    match kind {
        Kind::Heap { rate, has_allocated: true } | Kind::Jemalloc { rate, has_allocated: true } => {
            (of(&allocated), Some(drawn(*rate)))
        }
        Kind::Heap { rate, .. } => (of(&[("objects", "count"), ("space", "bytes")]), Some(drawn(*rate))),
        Kind::Jemalloc { rate, .. } => (of(&allocated[2..]), Some(drawn(*rate))),
        Kind::Contention => (of(&[("contentions", "count"), ("delay", "nanoseconds")]), None),
        Kind::Count { name } => {
            let distance = Distance { name: name.clone(), unit: "count".to_owned(), value: 1 };
            (of(&[(name, "count")]), Some(distance))
        }
    }
}

/// What a record adds to each measure.
fn values(kind: &Kind, numbers: &str, rate_of_contention: u64, clock_hz: u64) -> Option<Vec<u64>> {
    match kind {
        Kind::Heap { rate, has_allocated } | Kind::Jemalloc { rate, has_allocated } => {
            let [objects, bytes, all_objects, all_bytes] = heap_numbers(numbers)?;
            let in_use = scaled(objects, bytes, *rate)?;
            let allocated = if *has_allocated { scaled(all_objects, all_bytes, *rate)?.to_vec() } else { Vec::new() };
            Some([allocated, in_use.to_vec()].concat())
        }
        Kind::Contention => {
            let (cycles, count) = numbers.trim().split_once(char::is_whitespace)?;
            let (cycles, count): (u64, u64) = (cycles.parse().ok()?, count.trim().parse().ok()?);
            let sampled = cycles as f64 * rate_of_contention as f64;
            let delay = if clock_hz > 0 { sampled / (clock_hz as f64 / 1e9) } else { sampled };
            Some(vec![count.saturating_mul(rate_of_contention), delay as u64])
        }
        Kind::Count { .. } => Some(vec![numbers.trim().parse().ok()?]),
    }
}

/// What there was, of what a sampler saw; `None` where there are bytes of nothing.
fn scaled(objects: u64, bytes: u64, rate: u64) -> Option<[u64; 2]> {
    if objects == 0 {
        return (bytes == 0).then_some([0, 0]);
    }
    if rate <= 1 || bytes == 0 {
        return Some([objects, bytes]);
    }
    let mean = bytes as f64 / objects as f64;
    let scale = 1.0 / -(-mean / rate as f64).exp_m1();
    Some([(objects as f64 * scale) as u64, (bytes as f64 * scale) as u64])
}

fn addresses(text: &str) -> Option<Vec<u64>> {
    let one = |word: &str| u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok();
    text.split_whitespace().map(one).collect()
}

/// An address, a function and a place, with tabs between them: `0x4a5a1f`, `main.main+0x1f`, `/src/main.go:12`.
fn name(comment: &str) -> Option<(&str, &str, u32)> {
    let mut words = comment.split('\t').map(str::trim).filter(|word| !word.is_empty());
    let (address, name, place) = (words.next()?, words.next()?, words.next()?);
    address.strip_prefix("0x")?;
    let (file, line) = place.rsplit_once(':')?;
    let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
    Some((name, file, line.parse().ok()?))
}
