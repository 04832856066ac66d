//! Profile types as Pyroscope names them, `name:sample_type:sample_unit:period_type:period_unit`, and as they are called here: one table,
//! read both ways.

use tephra_proto::v1;

use crate::profile::fit::fit;

/// A type as Pyroscope has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Identity {
    /// What kind of profile it is in: `process_cpu`, `memory`, …
    pub(in crate::http) name: String,
    /// Which of that profile's values.
    pub(in crate::http) sample_type: String,
    /// The unit of these.
    pub(in crate::http) sample_unit: String,
    /// What lies between two samples.
    pub(in crate::http) period_type: String,
    /// The unit of that.
    pub(in crate::http) period_unit: String,
}

/// Ours, then the five parts of theirs.
#[rustfmt::skip]
const TABLE: [[&str; 6]; 16] = [
    ["cpu", "process_cpu", "cpu", "nanoseconds", "cpu", "nanoseconds"],
    ["wall", "wall", "wall", "nanoseconds", "wall", "nanoseconds"],
    ["alloc_objects", "memory", "alloc_objects", "count", "space", "bytes"],
    ["alloc_space", "memory", "alloc_space", "bytes", "space", "bytes"],
    ["inuse_objects", "memory", "inuse_objects", "count", "space", "bytes"],
    ["inuse_space", "memory", "inuse_space", "bytes", "space", "bytes"],
    ["alloc_in_new_tlab_objects", "memory", "alloc_in_new_tlab_objects", "count", "space", "bytes"],
    ["alloc_in_new_tlab_bytes", "memory", "alloc_in_new_tlab_bytes", "bytes", "space", "bytes"],
    ["alloc_outside_tlab_objects", "memory", "alloc_outside_tlab_objects", "count", "space", "bytes"],
    ["alloc_outside_tlab_bytes", "memory", "alloc_outside_tlab_bytes", "bytes", "space", "bytes"],
    ["live", "memory", "live", "count", "objects", "count"],
    ["mutex_contentions", "mutex", "contentions", "count", "contentions", "count"],
    ["mutex_delay", "mutex", "delay", "nanoseconds", "contentions", "count"],
    ["block_contentions", "block", "contentions", "count", "contentions", "count"],
    ["block_delay", "block", "delay", "nanoseconds", "contentions", "count"],
    ["goroutine", "goroutine", "goroutine", "count", "goroutine", "count"],
];

/// Profiles whose values have names of their own.
const PLAIN: [&str; 3] = ["process_cpu", "memory", "wall"];

/// What is called `sample_type` in a profile called `name` is called here.
pub(in crate::http) fn ours(name: &str, sample_type: &str) -> String {
    // SDKs write either.
    let name = if name == "goroutines" { "goroutine" } else { name };
    let known = TABLE.iter().find(|[_, theirs, kind, ..]| *theirs == name && *kind == sample_type);
    if let Some([ours, ..]) = known {
        return (*ours).to_owned();
    }
    let is_told_apart = name.is_empty() || PLAIN.contains(&name) || sample_type.starts_with(name);
    let joined = if is_told_apart { sample_type.to_owned() } else { format!("{name}_{sample_type}") };
    fit(&joined).into_owned()
}

/// Calls the types of a profile of that name as they are called here. No two of a profile get one name.
pub(in crate::http) fn name_types(payload: &mut v1::WindowPayload, name: &str) {
    let mut taken: Vec<String> = Vec::new();
    for series in &mut payload.series {
        let Some(profile_type) = &mut series.r#type else { continue };
        let ours = ours(name, &profile_type.name);
        if !taken.contains(&ours) {
            profile_type.name.clone_from(&ours);
        }
        taken.push(profile_type.name.clone());
    }
}

impl Identity {
    /// What a type of ours, in its unit, is called there.
    pub(in crate::http) fn of(ours: &str, unit: &str) -> Self {
        let known = TABLE.iter().find(|[name, ..]| *name == ours);
        let [_, name, sample_type, sample_unit, period_type, period_unit] =
            known.copied().unwrap_or([ours, ours, ours, unit, ours, unit]);
        let [name, sample_type, sample_unit, period_type, period_unit] =
            [name, sample_type, sample_unit, period_type, period_unit].map(str::to_owned);
        Self { name, sample_type, sample_unit, period_type, period_unit }
    }

    /// The five parts of `id`, if it has them.
    pub(in crate::http) fn parse(id: &str) -> Option<Self> {
        let parts: Vec<String> = id.split(':').map(str::to_owned).collect();
        let [name, sample_type, sample_unit, period_type, period_unit] = <[String; 5]>::try_from(parts).ok()?;
        Some(Self { name, sample_type, sample_unit, period_type, period_unit })
    }

    /// What it is called here.
    pub(in crate::http) fn ours(&self) -> String {
        ours(&self.name, &self.sample_type)
    }

    /// All five, joined.
    pub(in crate::http) fn id(&self) -> String {
        let Self { name, sample_type, sample_unit, period_type, period_unit } = self;
        format!("{name}:{sample_type}:{sample_unit}:{period_type}:{period_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_the_same_there_and_back() {
        for [name, .., unit] in TABLE {
            let identity = Identity::of(name, unit);
            assert_eq!(identity.ours(), name);
            assert_eq!(Identity::parse(&identity.id()), Some(identity));
        }
        for name in ["threads_waiting", "heap_live_size", "x"] {
            assert_eq!(Identity::of(name, "count").ours(), name);
        }
    }

    #[test]
    fn types_are_called_as_people_know_them() {
        for (name, sample_type, expected) in [
            ("process_cpu", "cpu", "cpu"),
            ("process_cpu", "samples", "samples"),
            ("memory", "inuse_space", "inuse_space"),
            ("mutex", "delay", "mutex_delay"),
            ("block", "contentions", "block_contentions"),
            ("goroutines", "goroutine", "goroutine"),
            ("exceptions", "samples", "exceptions_samples"),
            ("", "Off-CPU", "off_cpu"),
        ] {
            assert_eq!(ours(name, sample_type), expected, "{name}:{sample_type}");
        }
        assert_eq!(Identity::of("cpu", "nanoseconds").id(), "process_cpu:cpu:nanoseconds:cpu:nanoseconds");
        assert_eq!(Identity::of("fds", "count").id(), "fds:fds:count:fds:count");
        assert_eq!(Identity::parse("process_cpu:cpu"), None);
    }
}
