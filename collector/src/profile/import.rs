//! Builds a window from stacks of other formats, within the limits that a window from an agent has.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::{FxBuildHasher, FxHashMap};
use tephra_proto::ids::{BuildId, SpanId, TraceId};
use tephra_proto::limits::{
    STACK_DEPTH_MAX, STRING_BYTES_MAX, WINDOW_FRAMES_MAX, WINDOW_LABEL_SETS_MAX, WINDOW_LINKS_MAX, WINDOW_MODULES_MAX,
    WINDOW_SAMPLES_MAX, WINDOW_SERIES_MAX, WINDOW_STACK_NODES_MAX, WINDOW_STRINGS_MAX,
};
use tephra_proto::v1;

use super::demangle::demangle;
use super::pprof::LooksLike;
use super::remarks::Remarks;

/// A profile of another tool as one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Ready to be stored like an agent's.
    pub payload: v1::WindowPayload,
    /// When the profile started, unix nanoseconds; 0: it does not say.
    pub time_nanos: u64,
    /// How long it ran, nanoseconds; 0: it does not say.
    pub duration_nanos: u64,
    /// What was done to it on the way.
    pub remarks: Remarks,
}

/// Where in a file something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Of a text, counted from 1.
    Line(usize),
    /// Bytes from its start, once it is unpacked.
    Byte(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}

/// Why a profile was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A table outgrew what one window may hold.
    #[error("the profile has more than {limit} {what}: split it by time")]
    TooMany {
        /// The table, in the plural.
        what: &'static str,
        /// The most entries it may have.
        limit: usize,
    },
    /// The body inflates to more than a window may.
    #[error("the profile inflates to more than {limit} bytes")]
    TooLarge {
        /// The most bytes it may have.
        limit: usize,
    },
    /// Not what it is said to be.
    #[error("not a pprof profile: {0}")]
    Malformed(String),
    /// Another format that is known by name.
    #[error("not a profile that can be read here: it looks like {}", .0.what)]
    OtherFormat(LooksLike),
    /// Its compression ends too early, or does not check out.
    #[error("the gzip compression of the profile is damaged: {0}")]
    DamagedGzip(String),
    /// A file of another format than pprof, which is not as that format has it.
    #[error("{format}, {place}: {problem}")]
    Broken {
        /// What the file is taken for.
        format: &'static str,
        /// Where in it.
        place: Place,
        /// What is wrong there.
        problem: String,
        /// What its sender can do.
        advice: &'static str,
    },
    /// Somebody says in what its numbers are, and the profile does so itself.
    #[error("{format} say what their numbers are: unit {unit:?} has no place")]
    UnitKnown {
        /// What the file is, in the plural.
        format: &'static str,
        /// The unit that was said.
        unit: String,
    },
    /// OpenTelemetry profiles by field numbers of before.
    #[error("the samples are written as OpenTelemetry's protocol numbered their fields before version 1.10")]
    OlderOtlp,
    /// A reference to something that is not there.
    #[error("{what} {id} is referred to but not there")]
    Dangling {
        /// The table that is pointed into.
        what: &'static str,
        /// The id or index that was sent.
        id: u64,
    },
    /// It does not say what its samples measure.
    #[error("the profile names no types of samples: nobody can tell what it measures")]
    NoTypes,
    /// None of its types can be stored.
    #[error("the type {name:?} {why}")]
    NotStorable {
        /// The first of them.
        name: String,
        /// The rest of the sentence.
        why: String,
    },
    /// Two profiles, one after the other.
    #[error("the file holds more than one profile ({what} is given twice)")]
    Several {
        /// The field that is there twice.
        what: String,
    },
    /// A sample with another number of values than there are types.
    #[error("sample {sample} has {values} values, the profile has {types} types")]
    Values {
        /// 0-based position of the sample.
        sample: usize,
        /// How many values the sample has.
        values: usize,
        /// How many types the profile has.
        types: usize,
    },
    /// Something was said about a type that is not there.
    #[error("the profile has no type {name:?}: it has {known}")]
    UnknownType {
        /// The type that was spoken of.
        name: String,
        /// The types of the profile, in words.
        known: String,
    },
}

/// What samples add to one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// In the unit it is kept in.
    pub(super) value: u64,
    /// How many samples stand behind it.
    pub(super) samples: u64,
}

impl ImportError {
    /// What its sender can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooMany { .. } | Self::TooLarge { .. } => "take it over a shorter time",
            Self::OtherFormat(format) => format.advice,
            Self::Broken { advice, .. } => advice,
            Self::UnitKnown { .. } => "leave unit out: it is for stacks and counts alone",
            Self::DamagedGzip(_) | Self::Dangling { .. } | Self::Values { .. } => {
                "the file is damaged or cut short: take it or copy it again"
            }
            Self::OlderOtlp => "update the sender: values are field 4 of a sample since 1.10 of opentelemetry-proto",
            Self::Several { .. } => "send each of them by itself",
            Self::UnknownType { .. } => "name one of the types it has",
            Self::NotStorable { .. } => "send the profile itself, not its difference to another",
            Self::NoTypes | Self::Malformed(_) => "send a pprof profile, gzipped or not",
        }
    }
}

/// Distinct entries in the order they came.
type Table<T> = IndexSet<T, FxBuildHasher>;

/// A window that is being built. Frames are root first.
pub(super) struct Importer {
    types: Vec<v1::ProfileType>,
    strings: Table<String>,
    /// How many of them were longer.
    strings_cut: u64,
    /// Names by build.
    modules: IndexMap<BuildId, u32, FxBuildHasher>,
    frames: Table<FrameKey>,
    /// Parent and frame.
    nodes: Table<(u32, u32)>,
    /// Position 0 is the empty set.
    label_sets: Vec<v1::LabelSet>,
    links: Table<Context>,
    /// By type.
    rows: Vec<FxHashMap<Of, Amount>>,
    /// Samples whose stack lost frames at its root.
    samples_cut: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum FrameKey {
    Native { module: u32, address: u64 },
    Symbolic { function: u32, file: u32, line: u32, inlined: bool },
}

/// A trace, and the span of it where one is known: for whom a sample worked.
type Context = (TraceId, Option<SpanId>);

/// What the samples of a row have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Of {
    stack: u32,
    label_set: u32,
    /// 0: no trace.
    link: u32,
}

/// What is said of a sample beside its stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The number of its label set.
    pub(super) label_set: u32,
    /// The number of its trace context; 0: none.
    pub(super) link: u32,
}

/// And what they add up to.
type Row = (Of, Amount);

const NO_NODE: u32 = u32::MAX;

/// The parent of a cut stack's root, which is not a thread's root: they are different nodes.
const CUT: u32 = NO_NODE - 1;

/// Frames of a typical profile: tables that begin at its size need not grow again and again.
const TYPICAL: usize = 400;

/// What is shown where there is no name.
pub(super) const UNKNOWN: &str = "[unknown]";

impl Importer {
    pub(super) fn new(types: Vec<v1::ProfileType>) -> Self {
        let rows = vec![FxHashMap::default(); types.len()];
        let mut strings = Table::with_capacity_and_hasher(TYPICAL, FxBuildHasher);
        strings.insert(String::new());
        Self {
            types,
            strings,
            strings_cut: 0,
            modules: IndexMap::default(),
            frames: Table::with_capacity_and_hasher(TYPICAL, FxBuildHasher),
            nodes: Table::with_capacity_and_hasher(2 * TYPICAL, FxBuildHasher),
            label_sets: vec![v1::LabelSet::default()],
            links: Table::default(),
            rows,
            samples_cut: 0,
        }
    }

    /// A function by its name, mangled or not.
    pub(super) fn symbolic(&mut self, function: &str, file: &str, line: u32) -> Result<u32, ImportError> {
        self.named(function, file, line, false)
    }

    /// A function that the compiler copied into the one above it in the stack.
    pub(super) fn inlined(&mut self, function: &str, file: &str, line: u32) -> Result<u32, ImportError> {
        self.named(function, file, line, true)
    }

    fn named(&mut self, function: &str, file: &str, line: u32, inlined: bool) -> Result<u32, ImportError> {
        let demangled = demangle(function);
        let function = self.string(demangled.as_deref().unwrap_or(function))?;
        let file = self.string(file)?;
        self.frame(FrameKey::Symbolic { function, file, line, inlined })
    }

    pub(super) fn native(&mut self, build_id: BuildId, module: &str, address: u64) -> Result<u32, ImportError> {
        let name = self.string(module)?;
        let entry = self.modules.entry(build_id);
        let module = entry.index();
        within("mapped files", module, WINDOW_MODULES_MAX)?;
        entry.or_insert(name);
        self.frame(FrameKey::Native { module: module as u32, address })
    }

    fn frame(&mut self, key: FrameKey) -> Result<u32, ImportError> {
        add("frames", &mut self.frames, key, WINDOW_FRAMES_MAX)
    }

    fn string(&mut self, whole: &str) -> Result<u32, ImportError> {
        let text = &whole[..whole.floor_char_boundary(STRING_BYTES_MAX)];
        if let Some(known) = self.strings.get_index_of(text) {
            return Ok(known as u32);
        }
        self.strings_cut += u64::from(text.len() < whole.len());
        add("strings", &mut self.strings, text.to_owned(), WINDOW_STRINGS_MAX)
    }

    /// Adds a set of labels, and answers its number.
    pub(super) fn label_set(&mut self, labels: &BTreeMap<String, String>) -> Result<u32, ImportError> {
        within("label sets", self.label_sets.len(), WINDOW_LABEL_SETS_MAX)?;
        let mut set = v1::LabelSet::default();
        for (name, value) in labels {
            set.name.push(self.string(name)?);
            set.value.push(self.string(value)?);
        }
        self.label_sets.push(set);
        Ok(self.label_sets.len() as u32 - 1)
    }

    /// The number of a trace context; `None` where there are as many as there may be.
    pub(super) fn link(&mut self, trace: TraceId, span: Option<SpanId>) -> Option<u32> {
        let context = (trace, span);
        let known = self.links.get_index_of(&context);
        let is_room = self.links.len() < WINDOW_LINKS_MAX;
        known.or_else(|| is_room.then(|| self.links.insert_full(context).0)).map(|number| number as u32 + 1)
    }

    /// Says what had to be cut so far.
    pub(super) fn tell_cuts(&self, remarks: &mut Remarks) {
        remarks.samples_cut += self.samples_cut;
        remarks.names_made_fit += self.strings_cut;
    }

    /// The frame of samples whose stack nobody knows.
    pub(super) fn unknown(&mut self) -> Result<u32, ImportError> {
        self.symbolic(UNKNOWN, "", 0)
    }

    /// Adds a sample: one amount for each type. Deep stacks lose frames at the root; one without frames adds nothing.
    pub(super) fn sample(&mut self, stack: &[u32], said: Said, amounts: &[Amount]) -> Result<(), ImportError> {
        if stack.is_empty() || amounts.iter().all(|amount| amount.value == 0) {
            return Ok(());
        }
        let cut = stack.len().saturating_sub(STACK_DEPTH_MAX);
        self.samples_cut += u64::from(cut > 0);
        let mut parent = if cut > 0 { CUT } else { NO_NODE };
        for &frame in &stack[cut..] {
            parent = add("stack nodes", &mut self.nodes, (parent, frame), WINDOW_STACK_NODES_MAX)?;
        }
        for (rows, Amount { value, samples }) in self.rows.iter_mut().zip(amounts) {
            if *value == 0 {
                continue;
            }
            within("samples", rows.len(), WINDOW_SAMPLES_MAX)?;
            let of = Of { stack: parent, label_set: said.label_set, link: said.link };
            let row = rows.entry(of).or_default();
            row.value = row.value.saturating_add(*value);
            row.samples = row.samples.saturating_add(*samples);
        }
        Ok(())
    }

    /// The window. A type without samples is in it too: that nothing was sampled is not the same as nothing being said.
    pub(super) fn finish(self) -> Result<v1::WindowPayload, ImportError> {
        if self.types.len() > WINDOW_SERIES_MAX {
            return Err(ImportError::TooMany { what: "types", limit: WINDOW_SERIES_MAX });
        }
        let mut frames = v1::FrameTable::default();
        let mut last_address = 0u64;
        for frame in &self.frames {
            match *frame {
                FrameKey::Native { module, address } => {
                    frames.module.push(module + 1);
                    frames.address_delta.push(address.wrapping_sub(last_address) as i64);
                    last_address = address;
                }
                FrameKey::Symbolic { function, file, line, inlined } => {
                    if inlined {
                        frames.inlined.push(frames.function.len() as u32);
                    }
                    frames.module.push(0);
                    frames.function.push(function);
                    frames.file.push(file);
                    frames.line.push(line);
                }
            }
        }
        let nodes = || self.nodes.iter().zip(0u32..);
        let stacks = v1::StackTree {
            parent: nodes().map(|((parent, _), i)| if *parent < CUT { i - parent } else { 0 }).collect(),
            frame: nodes().map(|((_, frame), _)| *frame).collect(),
            truncated: nodes().filter(|((parent, _), _)| *parent == CUT).map(|(_, i)| i).collect(),
            ..v1::StackTree::default()
        };
        let mut series = Vec::new();
        for (profile_type, rows) in self.types.into_iter().zip(self.rows) {
            let mut rows: Vec<Row> = rows.into_iter().collect();
            rows.sort_unstable_by_key(|(of, _)| *of);
            series.push(v1::Series {
                r#type: Some(profile_type),
                stack: rows.iter().map(|(of, _)| of.stack).collect(),
                label_set: rows.iter().map(|(of, _)| of.label_set).collect(),
                link: links(&rows),
                value: rows.iter().map(|row| row.1.value).collect(),
                scale: 1,
                samples: counts(&rows),
                ..v1::Series::default()
            });
        }
        let span = |(_, span): &Context| span.map_or([0; 8], SpanId::to_bytes);
        let link_table = v1::LinkTable {
            trace_ids: self.links.iter().flat_map(|(trace, _)| trace.to_bytes()).collect(),
            span_ids: self.links.iter().flat_map(span).collect(),
        };
        let module = |(build_id, name): (BuildId, u32)| v1::Module { build_id: build_id.as_bytes().to_vec(), name };
        Ok(v1::WindowPayload {
            strings: self.strings.into_iter().collect(),
            modules: self.modules.into_iter().map(module).collect(),
            frames: Some(frames),
            stacks: Some(stacks),
            series,
            links: (!self.links.is_empty()).then_some(link_table),
            label_sets: self.label_sets,
            ..v1::WindowPayload::default()
        })
    }
}

/// The trace context of each row; nothing where none has one.
fn links(rows: &[Row]) -> Vec<u32> {
    if rows.iter().all(|(of, _)| of.link == 0) {
        return Vec::new();
    }
    rows.iter().map(|(of, _)| of.link).collect()
}

/// How many samples each row stands for; nothing where values are counts of samples: they may be more than fits here.
fn counts(rows: &[Row]) -> Vec<u32> {
    if rows.iter().all(|(_, amount)| amount.value == amount.samples) {
        return Vec::new();
    }
    rows.iter().map(|(_, amount)| u32::try_from(amount.samples).unwrap_or(u32::MAX)).collect()
}

/// Says whether there is room for another of `what`, of which there are `len`.
pub(super) fn within(what: &'static str, len: usize, limit: usize) -> Result<(), ImportError> {
    if len < limit { Ok(()) } else { Err(ImportError::TooMany { what, limit }) }
}

/// The number of an entry, which is added where it is new.
fn add<T: Hash + Eq>(what: &'static str, table: &mut Table<T>, entry: T, limit: usize) -> Result<u32, ImportError> {
    let (number, is_new) = table.insert_full(entry);
    if is_new {
        within(what, number, limit)?;
    }
    Ok(number as u32)
}
