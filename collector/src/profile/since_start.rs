//! Types that count since their process began: what was added since the last look at it. Go's allocations, mutexes and blocks are such.
//!
//! Stacks and labels are told apart by their content, so it does not matter in which order a process lists them. A process that began anew
//! has a smaller total, and all that it says was added since then.

use rustc_hash::FxHashMap;
use tephra_proto::v1;

/// What a process had counted at one look.
#[derive(Debug, Clone, Default)]
pub struct Totals(Vec<OfType>);

#[derive(Debug, Clone)]
struct OfType {
    name: String,
    sum: u64,
    rows: FxHashMap<Key, Amount>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    value: u64,
    samples: u64,
}

/// The content of a stack and its labels.
type Key = [u8; 16];

/// What a look at a process showed.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    /// To compare the next look with.
    pub totals: Totals,
    /// Its process began anew since the last look.
    pub is_restarted: bool,
}

impl Totals {
    /// Stacks of all types: what it takes to remember them.
    pub fn rows(&self) -> usize {
        self.0.iter().map(|of| of.rows.len()).sum()
    }

    fn of(&self, name: &str) -> Option<&OfType> {
        self.0.iter().find(|of| of.name == name)
    }
}

/// Leaves in `payload`, which an importer made, what was added since `before`. Types that are seen for the first time are taken out of it:
/// nobody knows when that was added.
pub fn added_since(before: &Totals, payload: &mut v1::WindowPayload, counts: impl Fn(&str) -> bool) -> Looked {
    let keys = Keys::of(payload);
    let mut looked = Looked::default();
    let mut series = std::mem::take(&mut payload.series);
    series.retain_mut(|series| {
        let name = series.r#type.as_ref().map(|of| of.name.clone()).unwrap_or_default();
        if !counts(&name) {
            return true;
        }
        let now = keys.totals(name, series);
        let known = before.of(&now.name);
        if let Some(known) = known {
            if now.sum < known.sum {
                looked.is_restarted = true;
            } else {
                keys.subtract(known, series);
            }
        }
        looked.totals.0.push(now);
        known.is_some()
    });
    payload.series = series;
    looked
}

/// The keys of a payload's stacks and label sets.
struct Keys {
    nodes: Vec<Key>,
    label_sets: Vec<Key>,
}

impl Keys {
    fn of(payload: &v1::WindowPayload) -> Self {
        let text = |at: u32| payload.strings.get(at as usize).map_or("", String::as_str);
        let frames = payload.frames.as_ref().map(|frames| frame_keys(frames, &payload.modules, text));
        let frames = frames.unwrap_or_default();
        let mut nodes: Vec<Key> = Vec::new();
        for (at, (up, frame)) in payload.stacks.iter().flat_map(|of| of.parent.iter().zip(&of.frame)).enumerate() {
            let parent =
                at.checked_sub(*up as usize).filter(|parent| *parent < at).and_then(|parent| nodes.get(parent));
            let parent = parent.copied().unwrap_or_default();
            let frame = frames.get(*frame as usize).copied().unwrap_or_default();
            nodes.push(key([parent.as_slice(), frame.as_slice()]));
        }
        let set = |set: &v1::LabelSet| {
            key(set
                .name
                .iter()
                .zip(&set.value)
                .flat_map(|(name, value)| [text(*name), text(*value)])
                .map(str::as_bytes))
        };
        Self { nodes, label_sets: payload.label_sets.iter().map(set).collect() }
    }

    /// The key of each row.
    fn rows(&self, series: &v1::Series) -> Vec<Key> {
        let none = Key::default();
        let label_set = |row: usize| {
            let set = series.label_set.get(row).copied().unwrap_or(0);
            self.label_sets.get(set as usize).unwrap_or(&none)
        };
        let stacks = series.stack.iter().enumerate();
        stacks
            .map(|(row, stack)| {
                let node = self.nodes.get(*stack as usize).unwrap_or(&none);
                key([node.as_slice(), label_set(row).as_slice()])
            })
            .collect()
    }

    fn totals(&self, name: String, series: &v1::Series) -> OfType {
        let mut of = OfType { name, sum: 0, rows: FxHashMap::default() };
        for (row, key) in self.rows(series).into_iter().enumerate() {
            let amount = amount(series, row);
            let sum = of.rows.entry(key).or_default();
            sum.value = sum.value.saturating_add(amount.value);
            sum.samples = sum.samples.saturating_add(amount.samples);
            of.sum = of.sum.saturating_add(amount.value);
        }
        of
    }

    /// Takes off what was known; what is left of rows with the same content stands in the last of them.
    fn subtract(&self, known: &OfType, series: &mut v1::Series) {
        let mut left: FxHashMap<Key, Amount> = known.rows.clone();
        let has_samples = !series.samples.is_empty();
        let mut kept = Vec::new();
        for (row, key) in self.rows(series).into_iter().enumerate() {
            let mut amount = amount(series, row);
            if let Some(off) = left.get_mut(&key) {
                let (value, samples) = (off.value.min(amount.value), off.samples.min(amount.samples));
                (off.value, off.samples) = (off.value - value, off.samples - samples);
                (amount.value, amount.samples) = (amount.value - value, amount.samples - samples);
            }
            if amount.value > 0 {
                kept.push((row, amount));
            }
        }
        // One that was added has samples behind it, even where scaling made fewer of them than before.
        let samples = |(_, amount): &(usize, Amount)| u32::try_from(amount.samples.max(1)).unwrap_or(u32::MAX);
        series.samples = if has_samples { kept.iter().map(samples).collect() } else { Vec::new() };
        series.value = kept.iter().map(|(_, amount)| amount.value).collect();
        let rows = || kept.iter().map(|(row, _)| *row);
        for column in [&mut series.stack, &mut series.label_set, &mut series.link, &mut series.time_ms] {
            *column = rows().filter_map(|row| column.get(row).copied()).collect();
        }
    }
}

fn amount(series: &v1::Series, row: usize) -> Amount {
    let value = series.value.get(row).copied().unwrap_or(0);
    Amount { value, samples: series.samples.get(row).map_or(value, |samples| u64::from(*samples)) }
}

fn frame_keys<'a>(frames: &v1::FrameTable, modules: &[v1::Module], text: impl Fn(u32) -> &'a str) -> Vec<Key> {
    let (mut named, mut native, mut address) = (0usize, 0usize, 0u64);
    let mut inlined = frames.inlined.iter().peekable();
    let mut keys = Vec::with_capacity(frames.module.len());
    for module in &frames.module {
        let key = match module.checked_sub(1) {
            Some(module) => {
                address = address.wrapping_add(frames.address_delta.get(native).copied().unwrap_or(0) as u64);
                native += 1;
                let build = modules.get(module as usize).map_or(&[][..], |module| &module.build_id);
                key([build, &address.to_le_bytes()])
            }
            None => {
                let at = |column: &[u32]| column.get(named).copied().unwrap_or(0);
                let is_inlined = inlined.next_if(|next| **next as usize == named).is_some();
                let (function, file, line) = (text(at(&frames.function)), text(at(&frames.file)), at(&frames.line));
                named += 1;
                key([function.as_bytes(), file.as_bytes(), &line.to_le_bytes(), &[u8::from(is_inlined)]])
            }
        };
        keys.push(key);
    }
    keys
}

fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut hash = blake3::Hasher::new();
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut key = Key::default();
    hash.finalize_xof().fill(&mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::pprof::decode;
    use crate::profile::pprof::testing::TestProfile;

    fn heap(stacks: &[(&str, i64)]) -> v1::WindowPayload {
        let mut profile = TestProfile::of(&[
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        ])
        .period("space", "bytes", 524_288);
        for (stack, n) in stacks {
            profile = profile.sample(stack, &[*n, *n * 1_000_000, 1, 64]);
        }
        decode(&profile.body()).unwrap().payload
    }

    fn look(before: &Totals, stacks: &[(&str, i64)]) -> (Looked, Vec<String>) {
        let mut payload = heap(stacks);
        let looked = added_since(before, &mut payload, |name| name.starts_with("alloc_"));
        let sum = |series: &v1::Series| {
            let rows = series.stack.len();
            assert!(series.value.len() == rows && [0, rows].contains(&series.samples.len()));
            assert!([0, rows].contains(&series.label_set.len()));
            let name = &series.r#type.as_ref().unwrap().name;
            format!("{name} {}/{rows}", series.value.iter().sum::<u64>() * series.scale)
        };
        (looked, payload.series.iter().map(sum).collect())
    }

    #[test]
    fn what_was_added_is_what_is_more_than_before() {
        let (first, left) = look(&Totals::default(), &[("main;a", 5), ("main;b", 2)]);
        assert_eq!(left, ["inuse_objects 2/2", "inuse_space 128/2"], "nobody knows when the rest was added");
        assert_eq!((first.totals.rows(), first.is_restarted), (4, false));
        let (second, left) = look(&first.totals, &[("main;c", 1), ("main;b", 2), ("main;a", 7)]);
        let expected = ["alloc_objects 3/2", "alloc_space 3000000/2", "inuse_objects 3/3", "inuse_space 192/3"];
        assert_eq!((left, second.is_restarted), (expected.map(str::to_owned).to_vec(), false));
        let (third, left) = look(&second.totals, &[("main;c", 1), ("main;b", 2), ("main;a", 7)]);
        assert_eq!(left[..2], ["alloc_objects 0/0", "alloc_space 0/0"], "nothing was added, and that is known");
        assert_eq!(third.totals.rows(), 6);
    }

    #[test]
    fn a_total_that_falls_is_a_new_process() {
        let (first, _) = look(&Totals::default(), &[("main;a", 50), ("main;b", 2)]);
        let (second, left) = look(&first.totals, &[("main;a", 1), ("main;b", 3)]);
        assert_eq!((left[0].as_str(), second.is_restarted), ("alloc_objects 4/2", true));
        let (third, left) = look(&second.totals, &[("main;a", 1), ("main;b", 4)]);
        assert_eq!((left[0].as_str(), third.is_restarted), ("alloc_objects 1/1", false));
    }

    #[test]
    fn one_stack_that_falls_takes_nothing_from_others() {
        let (first, _) = look(&Totals::default(), &[("main;a", 5), ("main;b", 2)]);
        let (second, left) = look(&first.totals, &[("main;a", 4), ("main;b", 9)]);
        assert_eq!(
            (left[0].as_str(), second.is_restarted),
            ("alloc_objects 7/1", false),
            "scaling moves values a little"
        );
    }

    #[test]
    fn a_hostile_payload_is_no_reason_to_fail() {
        let series =
            v1::Series { stack: vec![0, 7, u32::MAX], value: vec![1], label_set: vec![9], ..Default::default() };
        let mut payload = v1::WindowPayload {
            stacks: Some(v1::StackTree { parent: vec![9, 1], frame: vec![3, u32::MAX], ..Default::default() }),
            frames: Some(v1::FrameTable { module: vec![0, 5], ..Default::default() }),
            label_sets: vec![v1::LabelSet { name: vec![8], value: vec![9] }],
            series: vec![series.clone(), series],
            ..Default::default()
        };
        let looked = added_since(&Totals::default(), &mut payload.clone(), |_| true);
        added_since(&looked.totals, &mut payload, |_| true);
        assert!(payload.series.iter().all(|series| series.stack.len() == series.value.len()));
    }
}
