//! Files as strangers write them: nothing in them vanishes without a word.

use super::decode::decode;
use super::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};
use crate::profile::import::ImportError;
use prost::Message;
use tephra_proto::v1;

/// A profile under construction: functions by name, one location each.
#[derive(Default)]
struct Draft {
    profile: Profile,
}

impl Draft {
    fn new(types: &[(&str, &str)]) -> Self {
        let mut draft = Self::default();
        draft.text("");
        for (name, unit) in types {
            let value_type = ValueType { r#type: draft.text(name), unit: draft.text(unit) };
            draft.profile.sample_type.push(value_type);
        }
        draft
    }

    fn text(&mut self, text: &str) -> i64 {
        let known = self.profile.string_table.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            self.profile.string_table.push(text.to_owned());
            self.profile.string_table.len() - 1
        }) as i64
    }

    /// Leaf first, as pprof has it.
    fn sample(mut self, stack: &[&str], values: &[i64]) -> Self {
        let mut location_id = Vec::new();
        for name in stack {
            let name = self.text(name);
            let known = self.profile.function.iter().find(|function| function.name == name);
            let id = known.map_or(self.profile.function.len() as u64 + 1, |function| function.id);
            if known.is_none() {
                self.profile.function.push(Function { id, name, system_name: name, filename: 0 });
                let line = vec![Line { function_id: id, line: 1 }];
                self.profile.location.push(Location { id, line, ..Location::default() });
            }
            location_id.push(id);
        }
        self.profile.sample.push(Sample { location_id, value: values.to_vec(), label: Vec::new() });
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.profile.encode_to_vec()
    }
}

/// Name, unit, and values by stack, root first.
type OfType = (String, String, Vec<(String, u64)>);

fn values(payload: &v1::WindowPayload) -> Vec<OfType> {
    let (frames, stacks) = (payload.frames.as_ref().unwrap(), payload.stacks.as_ref().unwrap());
    let name = |node: u32| {
        let (mut at, mut names) = (node, Vec::new());
        loop {
            let function = frames.function[stacks.frame[at as usize] as usize];
            names.push(payload.strings[function as usize].clone());
            match stacks.parent[at as usize] {
                0 => break,
                back => at -= back,
            }
        }
        names.reverse();
        names.join(";")
    };
    let of = |series: &v1::Series| {
        let profile_type = series.r#type.clone().unwrap();
        let rows = series.stack.iter().zip(&series.value).map(|(stack, value)| (name(*stack), *value));
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        (profile_type.name, profile_type.unit, rows)
    };
    payload.series.iter().map(of).collect()
}

fn row(stack: &str, value: u64) -> (String, u64) {
    (stack.to_owned(), value)
}

#[test]
fn samples_without_a_stack_stand_under_unknown_and_are_counted() {
    let draft = Draft::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    let imported = decode(&draft.sample(&["main"], &[3, 30]).sample(&[], &[7, 70]).bytes()).unwrap();
    let [(_, _, rows)] = &values(&imported.payload)[..] else { panic!("{:?}", imported.payload.series) };
    assert_eq!(rows, &[row("[unknown]", 70), row("main", 30)]);
    assert_eq!(imported.remarks.samples_without_stack, 1);
    assert_eq!(imported.payload.series[0].samples.iter().sum::<u32>(), 10);
}

#[test]
fn names_of_types_and_units_are_made_fit_and_told() {
    let draft = Draft::new(&[("sample", "count"), ("wall-time", "nanoseconds"), ("Größe", "KiB/s"), ("", "µs")]);
    let imported = decode(&draft.sample(&["main"], &[3, 30, 4, 5]).bytes()).unwrap();
    let types: Vec<_> =
        values(&imported.payload).into_iter().map(|(name, unit, rows)| (name, unit, rows[0].1)).collect();
    let of = |name: &str, unit: &str, value| (name.to_owned(), unit.to_owned(), value);
    assert_eq!(
        types,
        [
            of("sample", "count", 3),
            of("wall_time", "nanoseconds", 30),
            of("gr__e", "kib_s", 4),
            of("unnamed", "nanoseconds", 5_000)
        ]
    );
    assert_eq!(imported.remarks.names_made_fit, 5);
    assert_eq!(imported.remarks.renamed[0], ("wall-time".to_owned(), "wall_time".to_owned()));
}

#[test]
fn types_of_one_name_are_told_apart() {
    let draft = Draft::new(&[("heap", "count"), ("heap", "bytes"), ("heap", "bytes")]);
    let imported = decode(&draft.sample(&["main"], &[1, 2, 3]).bytes()).unwrap();
    let types: Vec<_> =
        values(&imported.payload).into_iter().map(|(name, unit, rows)| (name, unit, rows[0].1)).collect();
    let of = |name: &str, unit: &str, value| (name.to_owned(), unit.to_owned(), value);
    assert_eq!(types, [of("heap", "count", 1), of("heap_2", "bytes", 2), of("heap_3", "bytes", 3)]);
}

#[test]
fn bytes_that_are_no_text_become_replacement_characters() {
    let draft = Draft::new(&[("cpu", "nanoseconds")]).sample(&["bad?name", "main"], &[10]);
    let mut bytes = draft.bytes();
    let at = bytes.windows(8).position(|window| window == b"bad?name").unwrap();
    bytes[at + 3] = 0xff;
    let imported = decode(&bytes).unwrap();
    assert_eq!(values(&imported.payload)[0].2, [row("main;bad\u{fffd}name", 10)]);
    assert_eq!(imported.remarks.names_made_fit, 1);
}

#[test]
fn a_column_that_cannot_be_stored_costs_the_others_nothing() {
    let types = [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("large", "bytes")];
    let draft = Draft::new(&types).sample(&["a"], &[10, 100, -2, i64::MAX]).sample(&["b"], &[5, 50, 1, i64::MAX]);
    let imported = decode(&draft.bytes()).unwrap();
    let stored: Vec<_> = values(&imported.payload)
        .into_iter()
        .map(|(name, _, rows)| (name, rows.iter().map(|row| row.1).sum::<u64>()))
        .collect();
    assert_eq!(stored, [("alloc_objects".to_owned(), 15), ("alloc_space".to_owned(), 150)]);
    let left: Vec<_> = imported.remarks.left_out.iter().map(|left| (left.name.as_str(), left.why.as_str())).collect();
    assert!(
        matches!(left[..], [("inuse_objects", negative), ("large", large)]
        if negative.contains("-2") && large.contains("9007199254740992")),
        "{left:?}"
    );
    let none = decode(&Draft::new(&[("cpu", "nanoseconds")]).sample(&["a"], &[-1]).bytes()).unwrap_err();
    assert!(matches!(&none, ImportError::NotStorable { name, why } if name == "cpu" && why.contains("-1")), "{none}");
}

#[test]
fn a_profile_of_an_idle_time_is_one_of_no_samples() {
    let draft = Draft::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    let imported = decode(&draft.bytes()).unwrap();
    assert_eq!((imported.payload.series[0].value.len(), imported.payload.series.len()), (0, 1));
    assert_eq!(imported.payload.series[0].r#type.as_ref().unwrap().name, "cpu");
}

#[test]
fn what_cannot_be_understood_is_refused_by_name() {
    let good = || Draft::new(&[("cpu", "nanoseconds")]).sample(&["main"], &[10]);
    let mut no_types = good();
    no_types.profile.sample_type.clear();
    no_types.profile.sample[0].value.clear();
    let mut few_values = good();
    few_values.profile.sample[0].value.clear();
    let mut no_text = good();
    no_text.profile.function[0].name = 99;
    let mut no_location = good();
    no_location.profile.location.clear();
    let mut no_function = good();
    no_function.profile.function.clear();
    let mut same_function = good();
    same_function.profile.function.push(same_function.profile.function[0]);
    let mut same_id = good();
    same_id.profile.location.push(same_id.profile.location[0].clone());
    let mut timed = good();
    timed.profile.time_nanos = 1;
    let two = [timed.bytes(), timed.bytes()].concat();
    for (bytes, expected) in [
        (no_types.bytes(), "names no types"),
        (few_values.bytes(), "sample 0 has 0 values, the profile has 1 types"),
        (no_text.bytes(), "string 99"),
        (no_location.bytes(), "location 1"),
        (no_function.bytes(), "function 1"),
        (same_id.bytes(), "more than one profile"),
        (same_function.bytes(), "more than one profile"),
        (two, "more than one profile"),
    ] {
        let error = decode(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}

#[test]
fn what_is_too_long_is_cut_and_counted() {
    let names: Vec<String> = (0..600).map(|i| format!("f{i}")).collect();
    let deep: Vec<&str> = names.iter().map(String::as_str).collect();
    let long = "x".repeat(5_000);
    let draft = Draft::new(&[("cpu", "nanoseconds")]).sample(&deep, &[10]).sample(&["main"], &[1]);
    let mut draft = draft.sample(&[&long, "main"], &[2]).sample(&["main", &long], &[4]);
    let (key, value) = (draft.text("user"), draft.text("a\nb"));
    for sample in &mut draft.profile.sample {
        sample.label.push(Label { key, str: value, ..Label::default() });
    }
    let imported = decode(&draft.bytes()).unwrap();
    let remarks = imported.remarks;
    assert_eq!((remarks.samples_cut, remarks.names_made_fit), (1, 2), "a stack; a name and a label's value");
    assert_eq!(imported.payload.series[0].value.iter().sum::<u64>(), 17);
}

#[test]
fn tables_without_ids_are_referred_to_by_position() {
    let mut draft = Draft::new(&[("cpu", "nanoseconds")]).sample(&["leaf", "main"], &[10]);
    for function in &mut draft.profile.function {
        function.id = 0;
    }
    let imported = decode(&draft.bytes()).unwrap();
    assert_eq!(values(&imported.payload)[0].2, [row("main;leaf", 10)]);
}

#[test]
fn what_is_not_known_or_not_used_is_passed_over() {
    let mut draft = Draft::new(&[("cpu", "nanoseconds")]).sample(&["main"], &[10]);
    draft.profile.period_type = Some(ValueType { r#type: 1, unit: 2 });
    draft.profile.period = -5;
    draft.profile.time_nanos = -1;
    draft.profile.duration_nanos = i64::MIN;
    draft.profile.location[0].mapping_id = 77;
    draft.profile.mapping.push(Mapping { id: 1, ..Mapping::default() });
    draft.profile.sample[0].label.push(Label { key: 1, ..Label::default() });
    let mut bytes = draft.bytes();
    // A field of a later version: number 100, four bytes.
    bytes.extend([0xa2, 0x06, 4, 1, 2, 3, 4]);
    let imported = decode(&bytes).unwrap();
    assert_eq!(values(&imported.payload)[0].2, [row("main", 10)]);
    assert_eq!((imported.time_nanos, imported.duration_nanos), (0, 0));
    assert_eq!(imported.remarks.left_out, []);
}
