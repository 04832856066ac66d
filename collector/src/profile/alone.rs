//! A profile that nobody stored: a file of another tool as the sum that a query would have made of it alone, one for each of its types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tephra_proto::ids::{BuildId, InstanceName, ServiceName};
use tephra_proto::label::NameError;

use super::address::Address;
use super::decode::{Header, Rejection, Window, WindowId, read_built};
use super::import::Imported;
use super::model::{Cost, Frame, Merged, Node, ProfileType, Row};
use super::names::printable;
use super::report::{Coverage, MissingSymbols};
use super::resolution::{Resolution, Symbol};
use crate::base::labels::Labels;

/// The label that tells two files apart in sentences.
pub const FILE: &str = "file";

/// A window is as long as any may be while it is checked; the real length is the file's.
const CHECKED_MS: u32 = 10_000;

/// What a file holds, and how long it took.
#[derive(Debug, Clone)]
pub struct Alone {
    window: Window,
    name: String,
    from_ms: u64,
    /// Seconds; 0: the file does not say.
    seconds: f64,
}

/// Why a file is no profile that could be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AloneError {
    /// What it holds is beyond what a window may hold.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// A name of ours is none: never.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Alone {
    /// Checks what was read, as the way into a store would. `name` is what people call the file.
    ///
    /// # Errors
    /// When it holds what no window may hold.
    pub fn new(imported: Imported, name: &str) -> Result<Self, AloneError> {
        let header = Header {
            id: WindowId { agent_id: [0; 16], boot_id: 0, sequence: 0 },
            service: ServiceName::parse(FILE)?,
            instance: InstanceName::parse("")?,
            labels: Labels::new(Vec::new()),
            start_ms: 0,
            duration_ms: CHECKED_MS,
            sampled: 0,
            drops: Vec::new(),
            process_cpu_ns: 0,
            agent_version: String::new(),
        };
        Ok(Self {
            window: read_built(header, imported.payload)?,
            name: printable(name),
            from_ms: imported.time_nanos / 1_000_000,
            seconds: imported.duration_nanos as f64 / 1e9,
        })
    }

    /// What it measures, each type once, in the file's order.
    pub fn types(&self) -> Vec<&ProfileType> {
        let mut types: Vec<&ProfileType> = Vec::new();
        for series in &self.window.series {
            if !types.iter().any(|known| known.name == series.profile_type.name) {
                types.push(&series.profile_type);
            }
        }
        types
    }

    /// Seconds that it took; `None`: it does not say.
    pub fn seconds(&self) -> Option<f64> {
        (self.seconds > 0.0).then_some(self.seconds)
    }

    /// The sum of one type, with what its frames are. Nothing, if it has no such type.
    pub fn merged(&self, profile_type: &ProfileType) -> (Merged, Vec<Resolution>) {
        let mut sums: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for series in self.window.series.iter().filter(|series| series.profile_type.measures_as(profile_type)) {
            for row in &series.rows {
                let sum = sums.entry(row.node).or_default();
                *sum = (sum.0.saturating_add(row.value), sum.1.saturating_add(row.samples));
            }
        }
        let rows: Vec<Row> =
            sums.into_iter().map(|(node, (value, samples))| Row { node, replicate: 0, value, samples }).collect();
        let until_ms = self.from_ms + (self.seconds * 1e3) as u64;
        let merged = Merged {
            profile_type: profile_type.clone(),
            from_ms: self.from_ms,
            until_ms,
            received_from_ms: self.from_ms,
            received_until_ms: until_ms,
            modules: self.window.modules.clone(),
            frames: self.window.frames.clone(),
            nodes: self.window.nodes.clone(),
            empty_because: rows.is_empty().then(|| format!("{} holds no samples", self.name)),
            rows,
            replicate_seconds: vec![self.seconds],
            replicate_from_ms: vec![self.from_ms],
            covered_seconds: self.seconds,
            windows: 1,
            instances: BTreeSet::from([self.name.clone()]),
            labels: BTreeSet::from([(FILE.to_owned(), self.name.clone())]),
            partial: None,
            cost: Cost::default(),
        };
        let names = resolutions(&merged);
        (merged, names)
    }
}

/// What frames are where there are no symbols but those in the file.
fn resolutions(merged: &Merged) -> Vec<Resolution> {
    let names: FxHashMap<BuildId, &Arc<str>> =
        merged.modules.iter().map(|module| (module.build_id, &module.name)).collect();
    let nameless: Arc<str> = "".into();
    let resolve = |frame: &Frame| match frame {
        Frame::Native { build_id, address } => {
            let module = names.get(build_id).copied().unwrap_or(&nameless).clone();
            Resolution::Unresolved { module, address: Address::of(*address).shown() }
        }
        Frame::Symbolic { function, file, line, inlined } => Resolution::Symbols(vec![Symbol {
            function: function.clone(),
            module: nameless.clone(),
            file: file.clone(),
            line: *line,
            inlined: *inlined,
        }]),
        Frame::Truncated => Resolution::Truncated,
    };
    merged.frames.iter().map(resolve).collect()
}

/// How much of files has names: of what has none they hold addresses alone.
pub fn coverage<'a>(profiles: impl IntoIterator<Item = &'a Merged>) -> Coverage {
    let (mut all, mut lacking) = (0.0, 0.0);
    let mut unnamed: BTreeMap<BuildId, f64> = BTreeMap::new();
    let mut modules: FxHashMap<BuildId, &str> = FxHashMap::default();
    for merged in profiles {
        modules.extend(merged.modules.iter().map(|module| (module.build_id, &*module.name)));
        let mut values = vec![0.0; merged.nodes.len()];
        for row in &merged.rows {
            values[row.node as usize] += row.value as f64;
        }
        for i in (0..values.len()).rev() {
            let node = merged.nodes[i];
            let value: f64 = values[i];
            if node.parent != Node::ROOT {
                values[node.parent as usize] += value;
            }
            all += value;
            if let Some(Frame::Native { build_id, .. }) = merged.frames.get(node.frame as usize) {
                lacking += value;
                *unnamed.entry(*build_id).or_default() += value;
            }
        }
    }
    let share = |value: f64| if all > 0.0 { value / all } else { 0.0 };
    let mut missing: Vec<MissingSymbols> = unnamed
        .into_iter()
        .map(|(build_id, value)| {
            let module = modules.get(&build_id).copied().unwrap_or_default().to_owned();
            let of = if module.is_empty() { "a module" } else { module.as_str() };
            let hint =
                format!("of {of} the file holds addresses alone: write it with symbols, or import it where they are.");
            MissingSymbols { build_id: build_id.to_string(), share: share(value), hint, module }
        })
        .collect();
    missing.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.build_id.cmp(&b.build_id)));
    Coverage { share: 1.0 - share(lacking), missing, no_lines: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::formats::decode;
    use crate::profile::pprof::encode;
    use crate::profile::testing::simulated;
    use crate::profile::tree::Tree;

    fn alone(body: &[u8]) -> Alone {
        Alone::new(decode(body).unwrap(), "before.pb.gz").unwrap()
    }

    #[test]
    fn a_file_is_the_sum_that_was_written_into_it() {
        let (merged, names) = simulated(1, 1, |_| 1.0);
        let file = alone(&encode((&merged, &names)));
        let cpu = file.types().into_iter().find(|t| t.name == "cpu").unwrap().clone();
        let (read, read_names) = file.merged(&cpu);
        assert_eq!((read.total(), read.samples()), (merged.total(), merged.samples()));
        assert_eq!(file.seconds(), Some(10.0));
        let (was, is) = (Tree::of((&merged, &names)), Tree::of((&read, &read_names)));
        assert_eq!(was.nodes.len(), is.nodes.len());
        assert_eq!(was.totals(0), is.totals(0));
        assert!((coverage([&read]).share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn folded_stacks_do_not_say_how_long_they_took() {
        let file = alone(b"main;serve;tax 30\nmain;serve;tax 12\nmain;idle 5\n");
        let (merged, _) = file.merged(file.types()[0]);
        assert_eq!((merged.total(), file.seconds()), (47, None));
        assert!(merged.labels.contains(&(FILE.to_owned(), "before.pb.gz".to_owned())));
    }

    #[test]
    fn addresses_without_names_are_told() {
        let file = alone(b"main;serve 5\n");
        let (mut merged, _) = file.merged(file.types()[0]);
        let build_id = BuildId::hash(b"a library");
        merged.frames[1] = Frame::Native { build_id, address: 0x1000 };
        let told = coverage([&merged]);
        assert!((told.share - 0.5).abs() < 1e-9, "{told:?}");
        assert_eq!(told.missing.len(), 1);
        assert!(matches!(resolutions(&merged)[1], Resolution::Unresolved { .. }));
    }
}
