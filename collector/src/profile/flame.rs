//! `flame/1`: the answer the web view draws from, as columns or as JSON. `API.md` describes both.

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::diff::{Basis, Scale};
use super::report::{Coverage, FrameRow, Header, Mover, Pruned, Sentence, SideInfo, TypeInfo};
use super::tree::Tree;

/// Media type of the binary form.
pub const MEDIA_TYPE: &str = "application/vnd.tephra.flame";

const MAGIC: &[u8; 4] = b"TFLM";
const VERSION: u8 = 1;

/// A tree ready to be sent. Frames are renumbered to those the nodes, movers and sentences speak of.
#[derive(Debug, Clone, PartialEq)]
pub struct Flame {
    /// Everything but the nodes.
    pub header: Header,
    /// The nodes.
    pub nodes: Columns,
}

/// Nodes in preorder, one entry each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Columns {
    /// `depth(previous) + 1 − depth(this)`.
    pub up: Vec<u32>,
    /// Index into the header's frames.
    pub frame: Vec<u32>,
    /// Own value on side A.
    pub a: Vec<u64>,
    /// Own value on side B.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Vec<u64>>,
    /// False-discovery rate of "this node's total differs", in 1/10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<Vec<u16>>,
}

/// What a tree does not know about itself.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    /// Names of the bottleneck families; position 0 is "unknown".
    pub families: Vec<String>,
    /// Those of them that own only their own functions, not what these call.
    pub carriers: Vec<String>,
    /// Family of each of the tree's frames; a frame beyond the end is unknown.
    pub family_of_frame: Vec<u16>,
    /// What pruning folded away.
    pub pruned: Pruned,
    /// How much of it has names.
    pub symbols: Coverage,
    /// For a diff: what moved, what is said about it, and each node's significance.
    pub diff: Option<DiffAnnotations>,
}

/// The same for what only a diff has. Frame indexes are the tree's.
#[derive(Debug, Clone)]
pub struct DiffAnnotations {
    /// How sides are made comparable.
    pub basis: Basis,
    /// Functions that changed.
    pub movers: Vec<Mover>,
    /// The same in words.
    pub summary: Vec<Sentence>,
    /// By node.
    pub q: Vec<u16>,
}

#[derive(Serialize)]
struct AsJson<'a> {
    #[serde(flatten)]
    header: &'a Header,
    nodes: &'a Columns,
}

impl Flame {
    /// Of a tree, which may be pruned.
    pub fn new(service: &str, tree: &Tree, annotations: &Annotations) -> Self {
        let mut nodes = Columns { up: Vec::with_capacity(tree.nodes.len()), ..Columns::default() };
        let mut depth = 0;
        for (i, node) in tree.nodes.iter().enumerate() {
            nodes.up.push(if i == 0 { 0 } else { depth + 1 - node.depth });
            depth = node.depth;
        }
        let mut numbers = Numbers::new(tree);
        nodes.frame = tree.nodes.iter().map(|node| numbers.number(node.frame)).collect();
        nodes.a.clone_from(&tree.sides[0].own);
        nodes.b = tree.sides.get(1).map(|side| side.own.clone());
        let basis = annotations.diff.as_ref().map_or(Basis::Cores, |diff| diff.basis);
        let (mut movers, mut summary) = (None, None);
        if let Some(diff) = &annotations.diff {
            nodes.q = Some(diff.q.clone());
            movers = Some(numbers.movers(&diff.movers));
            summary = Some(numbers.sentences(&diff.summary));
        }
        let frames = FrameTable::new(&numbers, tree, &annotations.family_of_frame);
        let side = |i: usize| side_info(tree, i, basis);
        let empty = tree.sides.iter().all(|s| s.facts.total == 0);
        let because = tree.sides.iter().find_map(|s| s.facts.empty_because.clone());
        let families =
            if annotations.families.is_empty() { vec!["unknown".to_owned()] } else { annotations.families.clone() };
        let header = Header {
            v: VERSION,
            diff: tree.is_diff(),
            node_count: tree.nodes.len() as u64,
            profile_type: TypeInfo::from(&tree.profile_type),
            service: service.to_owned(),
            a: side(0),
            b: tree.is_diff().then(|| side(1)),
            basis: tree.is_diff().then(|| basis.as_str()),
            names: frames.names.texts,
            modules: frames.modules.texts,
            files: frames.files.texts,
            frames: frames.rows,
            families,
            carriers: annotations.carriers.clone(),
            pruned: annotations.pruned,
            symbols: annotations.symbols.clone(),
            movers,
            summary,
            empty: empty.then(|| because.unwrap_or_else(|| "no samples in this range".to_owned())),
        };
        Self { header, nodes }
    }

    /// The header with `nodes` beside it.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&AsJson { header: &self.header, nodes: &self.nodes }).expect("plain data serializes")
    }

    /// The same as a JSON value, for answers that hold it.
    pub fn to_json_value(&self) -> serde_json::Value {
        serde_json::to_value(AsJson { header: &self.header, nodes: &self.nodes }).expect("plain data serializes")
    }

    /// The binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = serde_json::to_vec(&self.header).expect("plain data serializes");
        let mut out = Vec::with_capacity(header.len() + self.nodes.up.len() * 8 + 16);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[VERSION, 0, 0, 0]);
        out.extend_from_slice(&(header.len() as u32).to_le_bytes());
        out.extend_from_slice(&header);
        self.nodes.up.iter().for_each(|&v| varint(&mut out, v.into()));
        self.nodes.frame.iter().for_each(|&v| varint(&mut out, v.into()));
        self.nodes.a.iter().for_each(|&v| varint(&mut out, v));
        self.nodes.b.iter().flatten().for_each(|&v| varint(&mut out, v));
        self.nodes.q.iter().flatten().for_each(|&v| varint(&mut out, v.into()));
        out
    }
}

/// A side as the API writes it.
pub fn side_info(tree: &Tree, side: usize, basis: Basis) -> SideInfo {
    let facts = &tree.sides[side].facts;
    let scale = Scale::of(tree, side, basis);
    SideInfo {
        from: facts.from_ms,
        until: facts.until_ms,
        total: facts.total,
        samples: facts.samples,
        seconds: facts.seconds,
        windows: facts.windows,
        instances: facts.instances,
        labels: facts.labels.clone(),
        value: facts.total as f64 * scale.factor,
        unit: scale.unit,
        partial: facts.partial.map(Into::into),
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What moved between the sides of a tree and what is said about it, with the frame numbers that a [`Flame`] of it would give them.
pub fn said_of(tree: &Tree, diff: &DiffAnnotations) -> (Vec<Mover>, Vec<Sentence>) {
    let mut numbers = Numbers::new(tree);
    for node in &tree.nodes {
        numbers.number(node.frame);
    }
    (numbers.movers(&diff.movers), numbers.sentences(&diff.summary))
}

/// Numbers of the frames that an answer speaks of, in the order in which it first does.
struct Numbers {
    /// By the tree's index.
    of: Vec<u32>,
    /// The tree's indexes, by number.
    frames: Vec<u32>,
}

const UNNUMBERED: u32 = u32::MAX;

impl Numbers {
    fn new(tree: &Tree) -> Self {
        Self { of: vec![UNNUMBERED; tree.frames.len()], frames: Vec::new() }
    }

    fn number(&mut self, frame: u32) -> u32 {
        let number = &mut self.of[frame as usize];
        if *number == UNNUMBERED {
            *number = self.frames.len() as u32;
            self.frames.push(frame);
        }
        *number
    }

    fn movers(&mut self, movers: &[Mover]) -> Vec<Mover> {
        movers.iter().map(|mover| Mover { frame: self.number(mover.frame), ..mover.clone() }).collect()
    }

    fn sentences(&mut self, sentences: &[Sentence]) -> Vec<Sentence> {
        let mut frames = |of: &Sentence| of.frames.iter().map(|&frame| self.number(frame)).collect();
        sentences.iter().map(|said| Sentence { frames: frames(said), ..said.clone() }).collect()
    }
}

/// The header's table of frames, with the texts that its rows point to.
struct FrameTable {
    rows: Vec<FrameRow>,
    names: Texts,
    modules: Texts,
    files: Texts,
}

impl FrameTable {
    fn new(numbers: &Numbers, tree: &Tree, family_of_frame: &[u16]) -> Self {
        let (mut names, mut modules, mut files) = (Texts::default(), Texts::starting_empty(), Texts::starting_empty());
        let row = |&frame: &u32| {
            let info = &tree.frames[frame as usize];
            FrameRow {
                name: names.number(&info.function),
                module: modules.number(&info.module),
                file: files.number(&info.file),
                line: info.line,
                flags: info.flags,
                family: family_of_frame.get(frame as usize).copied().unwrap_or(0),
            }
        };
        Self { rows: numbers.frames.iter().map(row).collect(), names, modules, files }
    }
}

#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    index: FxHashMap<String, u32>,
}

impl Texts {
    fn starting_empty() -> Self {
        let mut texts = Self::default();
        texts.number("");
        texts
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(&known) = self.index.get(text) {
            return known;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.to_owned());
        self.index.insert(text.to_owned(), number);
        number
    }
}
