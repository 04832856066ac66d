//! pprof files for tests: said in terms of stacks and values, as any profiler writes them.

use prost::Message;

use super::{Function, Line, Location, Profile, Sample, ValueType};

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
