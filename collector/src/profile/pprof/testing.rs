//! pprof files for tests: said in terms of stacks and values, as any profiler writes them.

use prost::Message;

use super::{Function, Line, Location, Mapping, Profile, Sample, ValueType};

/// A file to be imported.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestProfile(Profile);

impl TestProfile {
    /// Of these types and units.
    pub(crate) fn of(types: &[(&str, &str)]) -> Self {
        let mut this = Self::default();
        this.0.string_table.push(String::new());
        for (name, unit) in types {
            let value = this.value_type(name, unit);
            this.0.sample_type.push(value);
        }
        this
    }

    pub(crate) fn period(mut self, name: &str, unit: &str, period: i64) -> Self {
        self.0.period_type = Some(self.value_type(name, unit));
        self.0.period = period;
        self
    }

    /// When it started, unix milliseconds.
    pub(crate) fn at(mut self, at_ms: u64) -> Self {
        self.0.time_nanos = at_ms as i64 * 1_000_000;
        self
    }

    pub(crate) fn lasting(mut self, ms: u64) -> Self {
        self.0.duration_nanos = ms as i64 * 1_000_000;
        self
    }

    /// `stack` is root first.
    pub(crate) fn sample(mut self, stack: &str, values: &[i64]) -> Self {
        let location_id = stack.split(';').rev().map(|name| self.location(name)).collect();
        self.0.sample.push(Sample { location_id, value: values.to_vec(), label: Vec::new() });
        self
    }

    /// Says which source file a function is in, once it is in a stack.
    pub(crate) fn in_file(mut self, function: &str, file: &str) -> Self {
        let (name, filename) = (self.text(function), self.text(file));
        self.0.function.iter_mut().filter(|of| of.name == name).for_each(|of| of.filename = filename);
        self
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    fn location(&mut self, name: &str) -> u64 {
        let name = self.text(name);
        if let Some(known) = self.0.function.iter().find(|function| function.name == name) {
            return known.id;
        }
        let id = self.0.function.len() as u64 + 1;
        self.0.function.push(Function { id, name, ..Function::default() });
        self.0.location.push(Location { id, line: vec![Line { function_id: id, line: 1 }], ..Location::default() });
        id
    }

    fn value_type(&mut self, name: &str, unit: &str) -> ValueType {
        ValueType { r#type: self.text(name), unit: self.text(unit) }
    }

    fn text(&mut self, text: &str) -> i64 {
        let known = self.0.string_table.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            self.0.string_table.push(text.to_owned());
            self.0.string_table.len() - 1
        }) as i64
    }
}

/// A body in which samples of CPU time lie at bare addresses of one mapped file: the first is worth one, the next two, and so on.
pub(crate) fn unsymbolized(path: &str, build_id: &str, mapped: (u64, u64, u64), addresses: &[u64]) -> Vec<u8> {
    let ids = 1..=addresses.len() as u64;
    Profile {
        string_table: ["", "cpu", "nanoseconds", path, build_id].map(str::to_owned).to_vec(),
        sample_type: vec![ValueType { r#type: 1, unit: 2 }],
        sample: ids.clone().map(|id| Sample { location_id: vec![id], value: vec![id as i64], label: vec![] }).collect(),
        mapping: vec![Mapping {
            id: 1,
            memory_start: mapped.0,
            memory_limit: mapped.1,
            file_offset: mapped.2,
            filename: 3,
            build_id: 4,
            ..Mapping::default()
        }],
        location: ids
            .zip(addresses)
            .map(|(id, &address)| Location { id, mapping_id: 1, address, line: vec![] })
            .collect(),
        ..Profile::default()
    }
    .encode_to_vec()
}

/// A body whose functions have only their linker's names.
pub(crate) fn system_names(names: &[&str]) -> Vec<u8> {
    let ids = 1..=names.len() as u64;
    let fixed = ["", "cpu", "nanoseconds"].into_iter();
    Profile {
        string_table: fixed.chain(names.iter().copied()).map(str::to_owned).collect(),
        sample_type: vec![ValueType { r#type: 1, unit: 2 }],
        sample: ids.clone().map(|id| Sample { location_id: vec![id], value: vec![id as i64], label: vec![] }).collect(),
        location: ids
            .clone()
            .map(|id| Location { id, line: vec![Line { function_id: id, line: 1 }], ..Location::default() })
            .collect(),
        function: ids.map(|id| Function { id, system_name: id as i64 + 2, ..Function::default() }).collect(),
        ..Profile::default()
    }
    .encode_to_vec()
}
