//! Labels of pprof samples, as samples of agents have them: few, of few values, with names that can stand in a query.
//!
//! pprof's are free text, and some name every single request. Those of more values than can be told apart share one, and ids of
//! traces and numbers, such as the size of an allocation, are no labels at all.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use tephra_proto::label::is_printable;
use tephra_proto::limits::{LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, SAMPLE_LABELS_MAX, WINDOW_LABEL_SETS_MAX};

use super::decode::text;
use super::{Profile, Sample};
use crate::profile::import::{ImportError, Importer};

/// Values of one name that are told apart, as by agents.
const VALUES_MAX: usize = 127;

/// What values beyond that are called.
const OTHER: &str = "__other__";

/// They belong to one request each.
const IDS: [&str; 6] = ["trace_id", "traceid", "span_id", "spanid", "profile_id", "request_id"];

/// What the label sets of a profile's samples are called in the window that is being built.
#[derive(Default)]
pub(super) struct SampleLabels {
    /// By pprof's own name; `None`: it makes no label.
    names: FxHashMap<i64, Option<String>>,
    values: FxHashMap<String, FxHashSet<String>>,
    sets: FxHashMap<BTreeMap<String, String>, u32>,
}

impl SampleLabels {
    /// The number of a sample's set; 0 is the empty one. Beyond the limits it loses labels, never the sample.
    pub(super) fn of(
        &mut self,
        profile: &Profile,
        sample: &Sample,
        importer: &mut Importer,
    ) -> Result<u32, ImportError> {
        let mut set = BTreeMap::new();
        for label in sample.label.iter().filter(|label| label.str != 0) {
            let name = match self.names.get(&label.key) {
                Some(name) => name,
                None => self.names.entry(label.key).or_insert(label_name(text(profile, label.key)?)),
            };
            let (Some(name), value) = (name.clone(), label_value(text(profile, label.str)?)) else { continue };
            if value.is_empty() || (set.len() == SAMPLE_LABELS_MAX && !set.contains_key(&name)) {
                continue;
            }
            let values = self.values.entry(name.clone()).or_default();
            let is_known = values.contains(&value) || (values.len() < VALUES_MAX && values.insert(value.clone()));
            set.insert(name, if is_known { value } else { OTHER.to_owned() });
        }
        if set.is_empty() {
            return Ok(0);
        }
        if let Some(&known) = self.sets.get(&set) {
            return Ok(known);
        }
        if self.sets.len() + 1 == WINDOW_LABEL_SETS_MAX {
            return Ok(0);
        }
        let number = importer.label_set(&set)?;
        self.sets.insert(set, number);
        Ok(number)
    }
}

/// `Thread Name` is `thread_name`; `None` where nothing can be made of it.
fn label_name(name: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '_' };
    let name: String = name.chars().map(plain).take(LABEL_NAME_BYTES_MAX).collect();
    let usable = name.starts_with(|c: char| c.is_ascii_lowercase()) && !IDS.contains(&name.as_str());
    usable.then_some(name)
}

fn label_value(value: &str) -> String {
    let cut = value.get(..value.floor_char_boundary(LABEL_VALUE_BYTES_MAX)).unwrap_or_default();
    cut.chars().filter(|c| is_printable(*c)).collect()
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tephra_proto::v1;

    use super::*;
    use crate::profile::pprof::{Function, Label, Line, Location, ValueType, decode};

    /// A profile of one stack, with a sample of one nanosecond for each list of labels.
    fn labelled(samples: &[&[(&str, &str)]]) -> v1::WindowPayload {
        let mut profile = Profile {
            string_table: ["", "cpu", "nanoseconds", "main"].map(str::to_owned).to_vec(),
            sample_type: vec![ValueType { r#type: 1, unit: 2 }],
            function: vec![Function { id: 1, name: 3, ..Function::default() }],
            location: vec![Location { id: 1, line: vec![Line { function_id: 1, line: 0 }], ..Location::default() }],
            ..Profile::default()
        };
        for labels in samples {
            let mut sample = Sample { location_id: vec![1], value: vec![1], label: Vec::new() };
            for (key, value) in *labels {
                let next = profile.string_table.len() as i64;
                profile.string_table.extend([(*key).to_owned(), (*value).to_owned()]);
                sample.label.push(Label { key: next, str: next + 1 });
            }
            profile.sample.push(sample);
        }
        decode(&profile.encode_to_vec()).unwrap().payload
    }

    /// Values by labels.
    fn sums(payload: &v1::WindowPayload) -> BTreeMap<String, u64> {
        let text = |index: &u32| payload.strings[*index as usize].as_str();
        let name = |set: &v1::LabelSet| {
            let pairs = set.name.iter().zip(&set.value).map(|(name, value)| format!("{}={}", text(name), text(value)));
            pairs.collect::<Vec<_>>().join(",")
        };
        let series = &payload.series[0];
        let rows = series.label_set.iter().zip(&series.value);
        rows.map(|(set, value)| (name(&payload.label_sets[*set as usize]), *value)).collect()
    }

    #[test]
    fn samples_keep_their_labels_and_equal_ones_are_one_row() {
        let payload = labelled(&[
            &[("thread", "worker"), ("Tenant", "acme")],
            &[("Tenant", "acme"), ("thread", "worker")],
            &[("thread", "main"), ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")],
            &[("trace_id", "00000000000000000000000000000001")],
            &[],
        ]);
        let expected = [("", 2), ("tenant=acme,thread=worker", 2), ("thread=main", 1)];
        assert_eq!(sums(&payload), expected.map(|(labels, value)| (labels.to_owned(), value)).into());
    }

    #[test]
    fn a_flood_of_values_shares_one_and_no_sample_is_lost() {
        let values: Vec<String> = (0..5_000).map(|i| format!("user-{i}")).collect();
        let labels: Vec<[(&str, &str); 1]> = values.iter().map(|value| [("user", value.as_str())]).collect();
        let samples: Vec<&[(&str, &str)]> = labels.iter().map(<[_; 1]>::as_slice).collect();
        let sums = sums(&labelled(&samples));
        assert_eq!((sums.len(), sums["user=user-126"], sums["user=__other__"]), (VALUES_MAX + 1, 1, 5_000 - 127));
        let names: Vec<String> = ('a'..'p').map(String::from).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let payload = labelled(&[&many]);
        assert_eq!(payload.label_sets[1].name.len(), SAMPLE_LABELS_MAX);
    }

    #[test]
    fn more_combinations_than_fit_lose_their_labels_and_nothing_else() {
        let values: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let pairs = values.iter().flat_map(|a| values.iter().map(move |b| [("a", a.as_str()), ("b", b.as_str())]));
        let pairs: Vec<_> = pairs.collect();
        let samples: Vec<&[(&str, &str)]> = pairs.iter().map(<[_; 2]>::as_slice).collect();
        let payload = labelled(&samples);
        let sums = sums(&payload);
        assert_eq!((payload.label_sets.len(), sums.values().sum::<u64>()), (WINDOW_LABEL_SETS_MAX, 10_000));
        assert_eq!(sums[""], 10_000 - (WINDOW_LABEL_SETS_MAX as u64 - 1));
    }

    #[test]
    fn names_are_made_fit_for_queries_or_left_out() {
        for (name, expected) in [
            ("thread", Some("thread")),
            ("Thread Name", Some("thread_name")),
            ("http.route", Some("http.route")),
            ("endpoint/path", Some("endpoint_path")),
            ("trace_id", None),
            ("span-id", None),
            ("_private", None),
            ("9lives", None),
            ("", None),
        ] {
            assert_eq!(label_name(name).as_deref(), expected, "{name:?}");
            assert!(label_name(name).is_none_or(|name| tephra_proto::label::check_name(&name).is_ok()));
        }
        assert_eq!(label_name(&"a".repeat(500)).map(|name| name.len()), Some(LABEL_NAME_BYTES_MAX));
        for value in ["a\u{202e}b\n", &"é".repeat(300)] {
            assert!(tephra_proto::label::check_value(&label_value(value)).is_ok(), "{value:?}");
        }
    }
}
