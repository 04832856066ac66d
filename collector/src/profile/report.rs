//! What an answer says of profiles, as `API.md` writes it: types, sides, movers, sentences; and the header of a flame graph, which is all of it but the nodes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};

use super::model::{Kind, Partial, ProfileType};

/// A profile type as the API writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeInfo {
    /// `cpu`, `alloc_space`, …
    pub name: String,
    /// `nanoseconds`, `bytes`, `count`.
    pub unit: String,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// Mean distance between samples in units of the type, 0: unknown.
    pub period: u64,
}

impl From<&ProfileType> for TypeInfo {
    fn from(t: &ProfileType) -> Self {
        let kind = match t.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        Self { name: t.name.clone(), unit: t.unit.clone(), kind, period: t.period }
    }
}

/// One side of a comparison, or the only one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SideInfo {
    /// Unix milliseconds.
    pub from: u64,
    /// Unix milliseconds, exclusive.
    pub until: u64,
    /// Sum of all values, in units of the type.
    pub total: u64,
    /// How many samples are behind it.
    pub samples: u64,
    /// Time covered by received windows.
    pub seconds: f64,
    /// How many windows were merged.
    pub windows: u64,
    /// How many instances sent them.
    pub instances: u64,
    /// Resource labels seen, each with its values.
    pub labels: BTreeMap<String, Vec<String>>,
    /// The total in the basis.
    pub value: f64,
    /// Unit of `value`.
    pub unit: String,
    /// Which part of the range all of this is about, where the limits of the query did not allow all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<PartialInfo>,
}

/// The part of a range that an answer is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartialInfo {
    /// `time`, `windows` or `size`: the limit that was hit. `damaged`: none was.
    pub reason: &'static str,
    /// Start of the part, unix milliseconds.
    pub covered_from: u64,
    /// Its end, exclusive.
    pub covered_until: u64,
    /// Some of what was stored in it is damaged and left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
}

impl From<Partial> for PartialInfo {
    fn from(partial: Partial) -> Self {
        let Partial { reason, from_ms, until_ms, is_damaged } = partial;
        Self { reason: reason.as_str(), covered_from: from_ms, covered_until: until_ms, damaged: is_damaged }
    }
}

/// A function whose own work changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mover {
    /// Function.
    pub name: String,
    /// Binary or library.
    pub module: String,
    /// Source file, shortened.
    pub file: String,
    /// Line, or 0.
    pub line: u32,
    /// Index into the answer's frames.
    pub frame: u32,
    /// Bottleneck family.
    pub family: String,
    /// Value on side A that belongs to this function, in the basis' unit.
    pub a: f64,
    /// The same on side B.
    pub b: f64,
    /// `b - a`.
    pub delta: f64,
    /// Self value on side A, in the basis' unit.
    pub self_a: f64,
    /// Self value on side B.
    pub self_b: f64,
    /// False-discovery rate of "it differs", 0…1.
    pub q: f64,
    /// `grew`, `shrank`, `new`, `gone` or `unchanged`.
    pub state: &'static str,
    /// Which share of everything that moved in the same direction this is, 0…1.
    pub share_of_change: f64,
}

/// A sentence about the answer, in plain words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sentence {
    /// The words.
    pub text: String,
    /// Indexes into the answer's frames that the words speak of.
    pub frames: Vec<u32>,
    /// `headline`, `cause`, `gone`, `new`, `noise`, `basis` or `quality`.
    pub kind: &'static str,
}

/// How much of what is shown has names.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Coverage {
    /// Share of the value, over all frames it passes through, whose frame has a name: 0…1.
    pub share: f64,
    /// Builds without symbols, largest share first.
    pub missing: Vec<MissingSymbols>,
    /// Builds that have function names but no lines.
    pub no_lines: Vec<NoLines>,
}

/// A build whose frames show as addresses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MissingSymbols {
    /// Hexadecimal.
    pub build_id: String,
    /// File name of the binary or library.
    pub module: String,
    /// Its part of what `Coverage::share` lacks.
    pub share: f64,
    /// What to do about it.
    pub hint: String,
}

/// A build that was stripped of its line tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoLines {
    /// Hexadecimal.
    pub build_id: String,
    /// File name of the binary or library.
    pub module: String,
}

/// What pruning folded away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pruned {
    /// How many nodes were merged into "small frames".
    pub nodes: u64,
    /// Their share of the total, 0…1.
    pub share: f64,
}

/// One row of the frame table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRow {
    /// Index into `names`.
    pub name: u32,
    /// Index into `modules`.
    pub module: u32,
    /// Index into `files`.
    pub file: u32,
    /// Line, or 0.
    pub line: u32,
    /// See [`super::tree::flag`].
    pub flags: u8,
    /// Index into `families`.
    pub family: u16,
}

impl Serialize for FrameRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_tuple(6)?;
        for value in [self.name, self.module, self.file, self.line, u32::from(self.flags), u32::from(self.family)] {
            row.serialize_element(&value)?;
        }
        row.end()
    }
}

/// Everything but the nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Header {
    /// 1.
    pub v: u8,
    /// Whether side B and `q` are there.
    pub diff: bool,
    /// How many nodes follow.
    pub node_count: u64,
    /// What the values measure.
    #[serde(rename = "type")]
    pub profile_type: TypeInfo,
    /// Which service.
    pub service: String,
    /// The baseline of a diff, or the only side.
    pub a: SideInfo,
    /// What is compared with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<SideInfo>,
    /// How sides of different length and size are made comparable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<&'static str>,
    /// Function names.
    pub names: Vec<String>,
    /// Binaries and libraries; position 0 is empty.
    pub modules: Vec<String>,
    /// Source files; position 0 is empty.
    pub files: Vec<String>,
    /// Distinct frames.
    pub frames: Vec<FrameRow>,
    /// Bottleneck families.
    pub families: Vec<String>,
    /// Those of them that own only their own functions, not what these call.
    pub carriers: Vec<String>,
    /// What was folded away.
    pub pruned: Pruned,
    /// How much of it has names.
    pub symbols: Coverage,
    /// Functions that changed, largest change first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movers: Option<Vec<Mover>>,
    /// What the difference says, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Vec<Sentence>>,
    /// Why there is nothing, where the total is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty: Option<String>,
}
