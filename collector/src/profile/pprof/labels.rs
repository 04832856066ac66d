//! Labels of pprof samples, as samples of agents have them: few, of few values, with names that can stand in a query.
//!
//! pprof's are free text or numbers, and some name every single request. Those of more values than can be told apart share one. Ids of a
//! trace and its span are no labels but say for whom a sample worked. What is left out is said.

use std::collections::BTreeMap;
use std::fmt::Arguments;

use rustc_hash::{FxHashMap, FxHashSet};
use tephra_proto::ids::{SpanId, TraceId};
use tephra_proto::label::is_printable;
use tephra_proto::limits::{LABEL_VALUE_BYTES_MAX, SAMPLE_LABELS_MAX, WINDOW_LABEL_SETS_MAX, WINDOW_LINKS_MAX};

use super::read::{Profile, Sample};
use super::{Label, numbers};
use crate::profile::fit::{fit, fit_apart};
use crate::profile::import::{ImportError, Importer, Said};
use crate::profile::remarks::Remarks;

/// Values of one name that are told apart, as by agents.
const VALUES_MAX: usize = 127;

/// Names that are told apart in one profile: no profiler has more than a few.
const NAMES_MAX: usize = 256;

/// What values beyond [`VALUES_MAX`] are called.
const OTHER: &str = "__other__";

/// The trace that a sample worked for.
const TRACES: [&str; 2] = ["trace_id", "traceid"];

/// And its span: OpenTelemetry's wrappers of Pyroscope call it a profile.
const SPANS: [&str; 3] = ["span_id", "spanid", "profile_id"];

/// They belong to one request or moment each.
const IDS: [&str; 4] = ["local_root_span_id", "request_id", "timestamp_ns", "end_timestamp_ns"];

/// What the name of a label makes of it.
#[derive(Debug, Clone)]
enum Use {
    Label(String),
    Trace,
    Span,
    Nothing,
}

/// What the label sets of a profile's samples are called in the window that is being built.
#[derive(Default)]
pub(in crate::profile) struct SampleLabels {
    /// By index of pprof's own name: what is made of it.
    keys: FxHashMap<i64, Use>,
    /// By pprof's own name, which may stand in its table more than once.
    names: FxHashMap<String, String>,
    /// Names of which something was left out already.
    left_out: FxHashSet<String>,
    values: FxHashMap<String, FxHashSet<String>>,
    sets: FxHashMap<Set, u32>,
    /// Sets as they were written: most samples have the labels of another one.
    written: FxHashMap<Vec<Label>, Said>,
}

/// Values by name.
type Set = BTreeMap<String, String>;

/// The ids of one sample, each after the name of its label.
#[derive(Default, Clone, Copy)]
struct Ids<'a> {
    trace: Option<(&'a str, &'a str)>,
    span: Option<(&'a str, &'a str)>,
}

/// Samples of more labels are looked at one by one.
const WRITTEN_LABELS_MAX: usize = 32;

/// More ways to write a set than that are looked at one by one.
const WRITTEN_MAX: usize = 4 * WINDOW_LABEL_SETS_MAX;

impl SampleLabels {
    /// What the labels of a sample say. Beyond the limits it loses labels, never the sample.
    pub(in crate::profile) fn of(
        &mut self,
        profile: &Profile,
        sample: &Sample,
        importer: &mut Importer,
        remarks: &mut Remarks,
    ) -> Result<Said, ImportError> {
        if let Some(known) = self.written.get(sample.label) {
            return Ok(*known);
        }
        let (set, context) = self.read(profile, sample, remarks)?;
        let said = Said {
            label_set: self.number(set, importer, remarks)?,
            link: self.link(context, importer, remarks).unwrap_or(0),
        };
        if sample.label.len() <= WRITTEN_LABELS_MAX && self.written.len() < WRITTEN_MAX {
            self.written.insert(sample.label.to_vec(), said);
        }
        Ok(said)
    }

    /// The labels of a sample, and the ids of its trace and span as they are written.
    fn read<'a>(
        &mut self,
        profile: &'a Profile,
        sample: &Sample,
        remarks: &mut Remarks,
    ) -> Result<(Set, Ids<'a>), ImportError> {
        let (mut set, mut ids) = (BTreeMap::new(), Ids::default());
        for label in sample.label {
            let name = match self.name(profile, *label, remarks)? {
                Use::Label(name) => name,
                Use::Trace => {
                    ids.trace = Some((profile.text(label.key)?, profile.text(label.str)?));
                    continue;
                }
                Use::Span => {
                    ids.span = ids.span.or(Some((profile.text(label.key)?, profile.text(label.str)?)));
                    continue;
                }
                Use::Nothing => continue,
            };
            let (value, is_as_given) = value(profile, *label)?;
            if value.is_empty() {
                continue;
            }
            if set.contains_key(&name) {
                self.leave_out(remarks, &name, format_args!("has several values in one sample: the first counts"));
                continue;
            }
            if set.len() == SAMPLE_LABELS_MAX {
                self.leave_out(remarks, &name, format_args!("is beyond the {SAMPLE_LABELS_MAX} labels of one sample"));
                continue;
            }
            let values = self.values.entry(name.clone()).or_default();
            let is_new = !values.contains(&value);
            let is_known = !is_new || (values.len() < VALUES_MAX && values.insert(value.clone()));
            remarks.names_made_fit += u64::from(is_new && is_known && !is_as_given);
            if !is_known {
                let why = format_args!("has more than {VALUES_MAX} values: further ones are {OTHER}");
                self.leave_out(remarks, &name, why);
            }
            set.insert(name, if is_known { value } else { OTHER.to_owned() });
        }
        Ok((set, ids))
    }

    /// The number of a set; 0 is the empty one.
    fn number(&mut self, set: Set, importer: &mut Importer, remarks: &mut Remarks) -> Result<u32, ImportError> {
        if set.is_empty() {
            return Ok(0);
        }
        if let Some(&known) = self.sets.get(&set) {
            return Ok(known);
        }
        if self.sets.len() + 1 == WINDOW_LABEL_SETS_MAX {
            for name in set.keys() {
                let why =
                    format_args!("has more than {WINDOW_LABEL_SETS_MAX} combinations with others: not on all samples");
                self.leave_out(remarks, name, why);
            }
            return Ok(0);
        }
        let number = importer.label_set(&set)?;
        self.sets.insert(set, number);
        Ok(number)
    }

    /// The number of a trace context. A span whose trace nobody names cannot be found again.
    fn link(&mut self, ids: Ids<'_>, importer: &mut Importer, remarks: &mut Remarks) -> Option<u32> {
        let Some((key, trace)) = ids.trace else {
            let (key, _) = ids.span?;
            self.leave_out(remarks, key, format_args!("names a span without its trace"));
            return None;
        };
        let Ok(id) = TraceId::parse(trace) else {
            self.leave_out(remarks, key, format_args!("is no trace id (32 hex digits) in some samples"));
            return None;
        };
        let span = ids.span.and_then(|(_, span)| SpanId::parse(span).ok());
        let link = importer.link(id, span);
        if link.is_none() {
            self.leave_out(remarks, key, format_args!("has more than {WINDOW_LINKS_MAX} values: not on all samples"));
        }
        link
    }

    /// What a label is here.
    fn name(&mut self, profile: &Profile, label: Label, remarks: &mut Remarks) -> Result<Use, ImportError> {
        if let Some(known) = self.keys.get(&label.key) {
            return Ok(known.clone());
        }
        let given = profile.text(label.key)?;
        let fitted = fit(given);
        let name = if TRACES.contains(&&*fitted) {
            Use::Trace
        } else if SPANS.contains(&&*fitted) {
            Use::Span
        } else if IDS.contains(&&*fitted) {
            self.leave_out(remarks, given, format_args!("names single requests or moments"));
            Use::Nothing
        } else if let Some(known) = self.names.get(given) {
            Use::Label(known.clone())
        } else if self.names.len() == NAMES_MAX {
            self.leave_out(remarks, given, format_args!("is beyond the {NAMES_MAX} names of labels of one profile"));
            Use::Nothing
        } else {
            Use::Label(self.new_name(given, remarks))
        };
        self.keys.insert(label.key, name.clone());
        Ok(name)
    }

    fn new_name(&mut self, given: &str, remarks: &mut Remarks) -> String {
        let name = fit_apart(given, |name| self.names.values().any(|known| known == name));
        remarks.fitted(given, &name);
        self.names.insert(given.to_owned(), name.clone());
        name
    }

    fn leave_out(&mut self, remarks: &mut Remarks, name: &str, why: Arguments<'_>) {
        if !self.left_out.contains(name) {
            self.left_out.insert(name.to_owned());
            remarks.leave_out(name, why.to_string());
        }
    }
}

/// What a label has for a value, empty where it has none; and whether it is what the profile says.
fn value(profile: &Profile, label: Label) -> Result<(String, bool), ImportError> {
    let given = profile.text(label.str)?;
    if given.is_empty() && (label.num != 0 || label.num_unit != 0) {
        let (name, unit) = (profile.text(label.key)?, profile.text(label.num_unit)?);
        let value = numbers::write(name, label.num, unit);
        let is_as_given = value.ends_with(unit);
        return Ok((value, is_as_given));
    }
    let value = label_value(given);
    let is_as_given = value == given;
    Ok((value, is_as_given))
}

fn label_value(value: &str) -> String {
    let cut = value.get(..value.floor_char_boundary(LABEL_VALUE_BYTES_MAX)).unwrap_or_default();
    numbers::as_text(cut.chars().filter(|c| is_printable(*c)).collect())
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tephra_proto::v1;

    use super::*;
    use crate::profile::pprof::{Function, Label, Line, Location, Profile, Sample, ValueType, decode};

    fn labelled(samples: &[&[(&str, &str)]]) -> v1::WindowPayload {
        decode(&labelled_profile(samples).encode_to_vec()).unwrap().payload
    }

    /// A profile of one stack, with a sample of one nanosecond for each list of labels.
    fn labelled_profile(samples: &[&[(&str, &str)]]) -> Profile {
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
                sample.label.push(Label { key: next, str: next + 1, ..Label::default() });
            }
            profile.sample.push(sample);
        }
        profile
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
        let mut sums = BTreeMap::new();
        for (set, value) in rows {
            *sums.entry(name(&payload.label_sets[*set as usize])).or_default() += value;
        }
        sums
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
    fn samples_know_the_trace_and_span_that_they_worked_for() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let payload = labelled(&[
            &[("trace_id", trace), ("span_id", span), ("tenant", "acme")],
            &[("profile_id", span), ("TraceID", &trace.to_ascii_uppercase())],
            &[("trace_id", trace)],
            &[("span_id", span)],
            &[("trace_id", "17")],
            &[],
        ]);
        let links = payload.links.as_ref().unwrap();
        assert_eq!((links.trace_ids.len(), links.span_ids.len()), (32, 16), "one with its span, and one without");
        let mut rows: Vec<(u32, u64)> =
            payload.series[0].link.iter().copied().zip(payload.series[0].value.clone()).collect();
        rows.sort_unstable();
        assert_eq!(rows, [(0, 3), (1, 1), (1, 1), (2, 1)]);
        let profile = labelled_profile(&[&[("span_id", span)], &[("trace_id", "17")]]);
        let remarks = decode(&profile.encode_to_vec()).unwrap().remarks;
        let why: Vec<&str> = remarks.left_out.iter().map(|left| left.why.as_str()).collect();
        assert_eq!(why, ["names a span without its trace", "is no trace id (32 hex digits) in some samples"]);
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
    fn a_flood_of_numbers_shares_one_value_and_is_told() {
        let mut profile = labelled_profile(&[]);
        profile.string_table.push("size".to_owned());
        for num in 0..5_000 {
            let label = Label { key: 4, num, num_unit: 0, str: 0 };
            profile.sample.push(Sample { location_id: vec![1], value: vec![1], label: vec![label] });
        }
        let imported = decode(&profile.encode_to_vec()).unwrap();
        let sums = sums(&imported.payload);
        // A zero without a unit is no label.
        assert_eq!((sums.len(), sums[""], sums["size=127\u{a0}size"]), (VALUES_MAX + 2, 1, 1));
        assert_eq!(sums["size=__other__"], 4_999 - 127);
        assert!(imported.remarks.left_out[0].why.contains("more than 127 values"), "{:?}", imported.remarks);
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
    fn names_are_made_fit_and_told_apart() {
        let payload = labelled(&[
            &[("Thread Name", "a")],
            &[("thread_name", "b")],
            &[("9lives", "c"), ("_private", "d")],
            &[("Thread Name", "e")],
            &[("span-id", "f")],
        ]);
        let names: Vec<String> = sums(&payload).into_keys().collect();
        assert_eq!(names, ["", "n9lives=c,private=d", "thread_name=a", "thread_name=e", "thread_name_2=b"]);
    }

    #[test]
    fn values_are_made_printable() {
        for value in ["a\u{202e}b\n", &"é".repeat(300)] {
            assert!(tephra_proto::label::check_value(&label_value(value)).is_ok(), "{value:?}");
        }
    }
}
