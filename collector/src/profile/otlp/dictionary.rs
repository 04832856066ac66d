//! The tables that all profiles of a message share.

use std::borrow::Cow;
use std::ops::Range;

use tephra_proto::ids::{SpanId, TraceId};
use tephra_proto::limits::{
    PAYLOAD_BYTES_MAX, WINDOW_FRAMES_MAX, WINDOW_LINKS_MAX, WINDOW_MODULES_MAX, WINDOW_STACK_NODES_MAX,
    WINDOW_STRINGS_MAX,
};

use crate::profile::import::{ImportError, Importer, within};
use crate::profile::pprof::{Label, Mapping, Tables, frame_in};
use crate::profile::wire::{Misread, Value, Wire};

const STRINGS_MAX: usize = 2 * WINDOW_STRINGS_MAX;
const LINES_MAX: usize = 4 * WINDOW_FRAMES_MAX;
const REFERENCES_MAX: usize = 8 << 20;
const ATTRIBUTES_MAX: usize = WINDOW_LINKS_MAX;

/// What a mapping's build id is called, likeliest first.
const BUILD_IDS: [&str; 3] =
    ["process.executable.build_id.gnu", "process.executable.build_id.htlhash", "process.executable.build_id.profiling"];

/// All tables of a message. Position 0 of each is nothing.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// Texts and mappings, as pprof has them.
    pub(super) tables: Tables<'static>,
    /// Attributes as pprof's labels.
    pub(super) attributes: Vec<Label>,
    pub(super) links: Vec<Option<(TraceId, Option<SpanId>)>>,
    locations: Vec<Location>,
    lines: Vec<(u64, i64)>,
    functions: Vec<Function>,
    stacks: Vec<Range<u32>>,
    references: Vec<u32>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Location {
    mapping: u64,
    address: u64,
    lines: Range<usize>,
}

#[derive(Debug, Default)]
struct Function {
    name: i64,
    system_name: i64,
    file: i64,
}

impl Dictionary {
    /// Reads `ProfilesDictionary`.
    ///
    /// # Errors
    /// When it is damaged, or holds too much of something.
    pub(super) fn read(message: &[u8]) -> Result<Self, ImportError> {
        let mut this = Self::default();
        let (mut mappings, mut attributes) = (Vec::new(), Vec::new());
        for field in Wire(message) {
            match field? {
                (1, value) => {
                    within("mapped files", mappings.len(), WINDOW_MODULES_MAX)?;
                    mappings.push(value.bytes()?);
                }
                (2, value) => {
                    within("locations", this.locations.len(), WINDOW_FRAMES_MAX)?;
                    this.location(value)?;
                }
                (3, value) => {
                    within("functions", this.functions.len(), WINDOW_FRAMES_MAX)?;
                    this.functions.push(function(value)?);
                }
                (4, value) => {
                    within("links", this.links.len(), WINDOW_LINKS_MAX)?;
                    this.links.push(link(value)?);
                }
                (5, value) => {
                    this.text(String::from_utf8_lossy(value.bytes()?).into_owned())?;
                }
                (6, value) => {
                    within("attributes", attributes.len(), ATTRIBUTES_MAX)?;
                    attributes.push(value.bytes()?);
                }
                (7, value) => {
                    within("stacks", this.stacks.len(), WINDOW_STACK_NODES_MAX)?;
                    this.stack(value)?;
                }
                _ => {}
            }
        }
        // These add texts of their own, which have their places behind all others.
        for attribute in attributes {
            let label = this.attribute(attribute)?;
            this.attributes.push(label);
        }
        for mapping in mappings {
            let mapping = this.mapping(mapping)?;
            this.tables.mapping.push(mapping);
        }
        Ok(this)
    }

    /// An entry of the table of texts.
    pub(super) fn get(&self, index: i64) -> Result<&str, ImportError> {
        self.tables.text(index)
    }

    /// The locations of a stack, leaf first.
    pub(super) fn stack_of(&self, index: u64) -> Result<&[u32], ImportError> {
        let found = usize::try_from(index).ok().and_then(|index| self.stacks.get(index));
        // That it is nothing needs no table.
        if index == 0 && found.is_none() {
            return Ok(&[]);
        }
        let range = found.ok_or(ImportError::Dangling { what: "stack", id: index })?;
        Ok(self.references.get(range.start as usize..range.end as usize).unwrap_or_default())
    }

    /// Appends the frames of a location, root first.
    pub(super) fn frames(&self, location: u32, importer: &mut Importer, out: &mut Vec<u32>) -> Result<(), ImportError> {
        let dangling = ImportError::Dangling { what: "location", id: location.into() };
        let location = self.locations.get(location as usize).ok_or(dangling)?;
        let mut is_outermost = true;
        for (function, line) in self.lines.get(location.lines.clone()).unwrap_or_default().iter().rev() {
            let found = usize::try_from(*function).ok().and_then(|index| self.functions.get(index));
            let of = found.ok_or(ImportError::Dangling { what: "function", id: *function })?;
            let (name, system_name) = (self.get(of.name)?, self.get(of.system_name)?);
            let name = if name.is_empty() { system_name } else { name };
            let (file, line) = (self.get(of.file)?, u32::try_from(*line).unwrap_or(0));
            if name.is_empty() && file.is_empty() {
                continue;
            }
            out.push(if is_outermost {
                importer.symbolic(name, file, line)?
            } else {
                importer.inlined(name, file, line)?
            });
            is_outermost = false;
        }
        if !is_outermost {
            return Ok(());
        }
        let mapping = usize::try_from(location.mapping).ok().filter(|index| *index > 0);
        let mapping = mapping.and_then(|index| self.tables.mapping.get(index));
        out.push(match mapping {
            Some(mapping) => frame_in(&self.tables, mapping, location.address, importer)?,
            None if location.address == 0 => importer.unknown()?,
            None => importer.symbolic(&format!("{:#x}", location.address), "", 0)?,
        });
        Ok(())
    }

    fn text(&mut self, text: String) -> Result<i64, ImportError> {
        within("strings", self.tables.string_table.len(), STRINGS_MAX)?;
        self.bytes += text.len();
        if self.bytes > PAYLOAD_BYTES_MAX {
            return Err(ImportError::TooLarge { limit: PAYLOAD_BYTES_MAX });
        }
        self.tables.string_table.push(Cow::Owned(text));
        Ok(self.tables.string_table.len() as i64 - 1)
    }

    fn location(&mut self, message: Value<'_>) -> Result<(), ImportError> {
        let mut location = Location::default();
        let first = self.lines.len();
        for field in Wire(message.bytes()?) {
            match field? {
                (1, value) => location.mapping = value.number()?,
                (2, value) => location.address = value.number()?,
                (3, value) => {
                    let (mut function, mut line) = (0, 0);
                    for field in Wire(value.bytes()?) {
                        match field? {
                            (1, value) => function = value.number()?,
                            (2, value) => line = value.signed()?,
                            _ => {}
                        }
                    }
                    within("lines", self.lines.len(), LINES_MAX)?;
                    self.lines.push((function, line));
                }
                _ => {}
            }
        }
        location.lines = first..self.lines.len();
        self.locations.push(location);
        Ok(())
    }

    fn stack(&mut self, message: Value<'_>) -> Result<(), ImportError> {
        let first = self.references.len();
        for field in Wire(message.bytes()?) {
            if let (1, value) = field? {
                value.numbers(|index| self.references.push(u32::try_from(index).unwrap_or(u32::MAX)))?;
                within("references to locations", self.references.len(), REFERENCES_MAX)?;
            }
        }
        self.stacks.push(first as u32..self.references.len() as u32);
        Ok(())
    }

    fn attribute(&mut self, message: &[u8]) -> Result<Label, ImportError> {
        let (mut key, mut unit, mut any) = (0, 0, None);
        for field in Wire(message) {
            match field? {
                (1, value) => key = value.signed()?,
                (2, value) => any = scalar(value.bytes()?)?,
                (3, value) => unit = value.signed()?,
                _ => {}
            }
        }
        Ok(match any {
            Some(Scalar::At(str)) => Label { key, str, num: 0, num_unit: 0 },
            Some(Scalar::Number(num)) if unit != 0 => Label { key, num, num_unit: unit, str: 0 },
            Some(scalar) => {
                let text = scalar.text(self)?;
                Label { key, str: self.text(text)?, num: 0, num_unit: 0 }
            }
            None => Label { key, ..Label::default() },
        })
    }

    fn mapping(&mut self, message: &[u8]) -> Result<Mapping, ImportError> {
        let (mut mapping, mut attributes) = (Mapping::default(), Vec::new());
        for field in Wire(message) {
            match field? {
                (1, value) => mapping.memory_start = value.number()?,
                (2, value) => mapping.memory_limit = value.number()?,
                (3, value) => mapping.file_offset = value.number()?,
                (4, value) => mapping.filename = value.signed()?,
                (5, value) => value.numbers(|index| attributes.push(index))?,
                _ => {}
            }
        }
        let named = |name: &str| {
            attributes.iter().find_map(|index| {
                let label = self.attributes.get(usize::try_from(*index).ok()?)?;
                (self.get(label.key).is_ok_and(|key| key == name)).then_some(label.str)
            })
        };
        mapping.build_id = BUILD_IDS.iter().find_map(|name| named(name)).unwrap_or(0);
        Ok(mapping)
    }
}

fn function(message: Value<'_>) -> Result<Function, ImportError> {
    let mut function = Function::default();
    for field in Wire(message.bytes()?) {
        match field? {
            (1, value) => function.name = value.signed()?,
            (2, value) => function.system_name = value.signed()?,
            (3, value) => function.file = value.signed()?,
            _ => {}
        }
    }
    Ok(function)
}

fn link(message: Value<'_>) -> Result<Option<(TraceId, Option<SpanId>)>, ImportError> {
    let (mut trace, mut span) = (None, None);
    for field in Wire(message.bytes()?) {
        match field? {
            (1, value) => trace = value.bytes()?.try_into().ok().and_then(TraceId::from_bytes),
            (2, value) => span = value.bytes()?.try_into().ok().and_then(SpanId::from_bytes),
            _ => {}
        }
    }
    Ok(trace.map(|trace| (trace, span)))
}

/// The value of an attribute that has a single one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text(String),
    Number(i64),
    /// A text in the dictionary.
    At(i64),
}

impl Scalar {
    pub(super) fn text(self, dictionary: &Dictionary) -> Result<String, ImportError> {
        Ok(match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::At(index) => dictionary.get(index)?.to_owned(),
        })
    }
}

/// `AnyValue`; `None` for lists, maps and bytes.
pub(super) fn scalar(any: &[u8]) -> Result<Option<Scalar>, Misread> {
    let mut scalar = None;
    for field in Wire(any) {
        scalar = match field? {
            (1, value) => Some(Scalar::Text(String::from_utf8_lossy(value.bytes()?).into_owned())),
            (2, value) => Some(Scalar::Text(if value.number()? == 0 { "false" } else { "true" }.to_owned())),
            (3, value) => Some(Scalar::Number(value.signed()?)),
            (4, Value::Fixed(bytes)) => {
                let eight = <[u8; 8]>::try_from(bytes).map_err(|_| Misread)?;
                Some(Scalar::Text(f64::from_le_bytes(eight).to_string()))
            }
            (8, value) => Some(Scalar::At(value.signed()?)),
            _ => None,
        };
    }
    Ok(scalar)
}
