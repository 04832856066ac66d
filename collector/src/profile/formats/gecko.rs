//! The Firefox Profiler's JSON, as its page saves it and samply writes it: threads, each with tables by column.
//! <https://github.com/firefox-devtools/profiler/blob/main/docs-developer/processed-profile-format.md>
//!
//! Where samples say for how long a processor was busy since the one before, that is `cpu`; otherwise each stands for the time between two
//! of them, `wall`. Newer versions keep the tables that threads have in common beside them. Frames without names keep their build and
//! address, so that symbols that come later apply.

use std::rc::Rc;

use rustc_hash::FxHashMap;
use tephra_proto::ids::BuildId;

use super::calls::{Calls, ROOT};
use super::draft::{Asked, Draft, Measure, whole};
use super::json::{Json, NONE};
use crate::profile::address::Address;
use crate::profile::import::{ImportError, Imported, Place, within};

const FORMAT: &str = "a profile of Firefox or samply";

/// Threads of one file; mapped files are as many as of a window.
const THREADS_MAX: usize = 16_384;
const LIBRARIES_MAX: usize = 65_536;

/// Whatever the file says of all threads.
struct Whole<'a> {
    file: Json<'a>,
    /// Tables that threads have in common: read once, however many threads there are.
    shared: Tables,
    libraries: Vec<u32>,
    /// Between two looks at a thread, nanoseconds.
    interval: f64,
    /// What a unit of `threadCPUDelta` is worth; `None`: it is no time.
    cpu_unit: Option<f64>,
}

pub(super) fn decode(text: &str, asked: &Asked) -> Result<Imported, ImportError> {
    let file = Json::new(text.trim_start_matches('\u{feff}'), FORMAT);
    let mut top = file;
    let [meta, libraries, threads, shared] = top.fields(["meta", "libs", "threads", "shared"])?;
    let (Some(mut meta), Some(threads)) = (meta, threads) else { return Err(top.broken("it has no threads")) };
    let [interval, start, units, version] =
        meta.fields(["interval", "startTime", "sampleUnits", "preprocessedProfileVersion"])?;
    if version.is_none() {
        return Err(ImportError::Broken {
            format: FORMAT,
            place: Place::Byte(0),
            problem: "it is as the browser writes it, before the profiler's page has processed it".to_owned(),
            advice: "open it in the Firefox Profiler, and save it there",
        });
    }
    let number = |field: Option<Json<'_>>| field.map_or(Ok(None), |mut field| field.number());
    let cpu_unit = match units {
        Some(mut units) => match units.fields(["threadCPUDelta"])? {
            [Some(mut unit)] => match unit.text()?.as_deref() {
                Some("ns") => Some(1.0),
                Some("µs" | "us") => Some(1e3),
                _ => None,
            },
            _ => None,
        },
        None => None,
    };
    let whole_file = Whole {
        file,
        shared: shared.map_or(Ok(Tables::default()), |shared| Tables::read(shared, &Tables::default()))?,
        libraries: libraries.map_or(Ok(Vec::new()), Json::positions)?,
        interval: number(interval)?.unwrap_or(1.0) * 1e6,
        cpu_unit,
    };
    within("mapped files", whole_file.libraries.len().saturating_sub(1), LIBRARIES_MAX)?;
    let threads_at = threads.positions()?;
    within("threads", threads_at.len().saturating_sub(1), THREADS_MAX)?;
    let mut kinds: Vec<Kind> = Vec::new();
    for at in &threads_at {
        let kind = Samples::of(threads.back_to(*at), &whole_file)?.kind;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() {
        kinds.push(Kind::Cpu);
    }
    let measures: Vec<Measure> = kinds.iter().map(|kind| kind.measure()).collect();
    let mut draft = Draft::of_each(&measures, asked)?;
    let mut times = Times { first: f64::INFINITY, last: f64::NEG_INFINITY };
    for at in &threads_at {
        of_thread(threads.back_to(*at), &whole_file, &kinds, &mut draft, &mut times)?;
    }
    let start = number(start)?.unwrap_or(0.0);
    if times.last < times.first {
        return draft.finish(moment(start, 0.0), 0);
    }
    draft.finish(moment(start, times.first), whole((times.last - times.first) * 1e6 + whole_file.interval))
}

/// Nanoseconds of a start and what was after it, both in milliseconds. As one fraction they would lose what lies below 256 ns.
fn moment(start: f64, after: f64) -> u64 {
    whole(start.trunc()).saturating_mul(1_000_000).saturating_add(whole((start.fract() + after) * 1e6))
}

/// When samples were taken, milliseconds from the start.
struct Times {
    first: f64,
    last: f64,
}

/// What the samples of a thread measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cpu,
    Wall,
    Bytes,
}

impl Kind {
    fn measure(self) -> Measure {
        match self {
            Self::Cpu => Measure::new("cpu", "nanoseconds"),
            Self::Wall => Measure::new("wall", "nanoseconds"),
            Self::Bytes => Measure::new("bytes", "bytes"),
        }
    }
}

/// The columns of a thread's samples.
struct Samples<'a> {
    kind: Kind,
    stacks: Option<Json<'a>>,
    cpu: Option<Json<'a>>,
    weights: Option<Json<'a>>,
    /// What a weight is worth.
    weight: f64,
    times: Option<Json<'a>>,
    /// Whether these count from the one before.
    are_deltas: bool,
}

impl<'a> Samples<'a> {
    fn of(mut of_thread: Json<'a>, whole_file: &Whole<'_>) -> Result<Self, ImportError> {
        let [samples] = of_thread.fields(["samples"])?;
        let names = ["stack", "threadCPUDelta", "weight", "weightType", "time", "timeDeltas"];
        let [stacks, cpu, weights, weight_type, time, deltas] =
            samples.map_or(Ok([None; 6]), |mut samples| samples.fields(names))?;
        let weight_type = weight_type.map_or(Ok(None), |mut of| of.text())?;
        let cpu = cpu.filter(|_| whole_file.cpu_unit.is_some());
        let (kind, weight) = match weight_type.as_deref() {
            Some("bytes") => (Kind::Bytes, 1.0),
            Some("tracing-ms") => (Kind::Wall, 1e6),
            _ if cpu.is_some() => (Kind::Cpu, 1.0),
            _ => (Kind::Wall, whole_file.interval),
        };
        Ok(Self { kind, stacks, cpu, weights, weight, times: time.or(deltas), are_deltas: time.is_none() })
    }
}

fn of_thread(
    mut at: Json<'_>,
    whole_file: &Whole<'_>,
    kinds: &[Kind],
    draft: &mut Draft,
    times: &mut Times,
) -> Result<(), ImportError> {
    let samples = Samples::of(at, whole_file)?;
    let Some(mut stacks) = samples.stacks else { return Ok(()) };
    let here = at;
    let [name] = at.fields(["name"])?;
    let tables = Tables::read(here, &whole_file.shared)?;
    // By call: value and samples. A map, for a thread may know few of the calls that all threads have.
    let mut spent: FxHashMap<u32, (u64, u64)> = FxHashMap::default();
    let (mut cpu, mut weights, mut moments) = (samples.cpu, samples.weights, samples.times);
    for list in [&mut cpu, &mut weights, &mut moments] {
        let is_list = list.as_mut().map_or(Ok(false), Json::array)?;
        if !is_list {
            *list = None;
        }
    }
    // What is not there for every sample is of no use.
    let next = |list: &mut Option<Json<'_>>| {
        let Some(list) = list else { return Ok(None) };
        if list.item()? {
            list.number()
        } else {
            Err(list.broken("a column of the samples is shorter than the others"))
        }
    };
    let mut now = 0.0;
    let has_stacks = stacks.array()?;
    while has_stacks && stacks.item()? {
        let call = stacks.index()?;
        let (busy, weight, moment) = (next(&mut cpu)?, next(&mut weights)?, next(&mut moments)?);
        if let Some(moment) = moment {
            now = if samples.are_deltas { now + moment } else { moment };
            (times.first, times.last) = (times.first.min(now), times.last.max(now));
        }
        if call == NONE {
            continue;
        }
        if call as usize >= tables.calls.len() {
            return Err(ImportError::Dangling { what: "stack", id: call.into() });
        }
        let value = match samples.kind {
            Kind::Cpu => busy.unwrap_or(0.0) * whole_file.cpu_unit.unwrap_or(1.0),
            Kind::Wall | Kind::Bytes => weight.unwrap_or(1.0) * samples.weight,
        };
        if value < 0.0 {
            return Err(ImportError::NotStorable {
                name: "weight".to_owned(),
                why: format!("has the value {value}: what lies below zero, as in differences, has no place in a sum"),
            });
        }
        let (sum, seen) = spent.entry(call).or_default();
        *sum = sum.saturating_add(whole(value));
        *seen += 1;
    }
    let of_thread = match name {
        Some(mut name) => draft.of_thread(&name.text()?.unwrap_or_default())?,
        None => 0,
    };
    let mut values = vec![0; kinds.len()];
    let column = kinds.iter().position(|kind| *kind == samples.kind).unwrap_or(0);
    let mut spent: Vec<_> = spent.into_iter().filter(|(_, (sum, _))| *sum > 0).collect();
    spent.sort_unstable();
    let mut made: FxHashMap<u32, u32> = FxHashMap::default();
    let mut stack = Vec::new();
    for (call, (sum, seen)) in spent {
        tables.calls.stack(call, &mut stack);
        for frame in &mut stack {
            let known = made.get(frame).copied();
            let number = known.map_or_else(|| tables.frame(*frame, whole_file, draft), Ok)?;
            made.insert(*frame, number);
            *frame = number;
        }
        if let Some(value) = values.get_mut(column) {
            *value = sum;
        }
        draft.sample(&stack, of_thread, &values, seen)?;
    }
    Ok(())
}

/// Columns of a table, by position in its list.
type Columns = Rc<[Vec<u32>; 4]>;

/// What the numbers of a thread's stacks mean.
#[derive(Debug, Default, Clone)]
struct Tables {
    calls: Rc<Calls>,
    /// Function, line, address, depth of inlining.
    frames: Columns,
    /// Name, file, resource, source.
    functions: Columns,
    /// Library.
    resources: Columns,
    /// File.
    sources: Columns,
    /// Where each is written.
    strings: Rc<Vec<u32>>,
}

impl Tables {
    /// Those of `at`, and where it lacks one that which all have.
    fn read(mut at: Json<'_>, shared: &Self) -> Result<Self, ImportError> {
        let here = at;
        let [stacks, frames, functions, resources, sources, strings] =
            at.fields(["stackTable", "frameTable", "funcTable", "resourceTable", "sources", "stringArray"])?;
        let calls = match stacks {
            Some(stacks) => {
                let [prefixes, frames, ..] = columns(stacks, ["prefix", "frame", "", ""])?;
                if prefixes.len() != frames.len() {
                    return Err(here.broken("its table of stacks is of a version that is not known"));
                }
                let mut calls = Calls::default();
                for (prefix, frame) in prefixes.into_iter().zip(frames) {
                    calls.add(if prefix == NONE { ROOT } else { prefix }, frame)?;
                }
                Rc::new(calls)
            }
            None => Rc::clone(&shared.calls),
        };
        let table = |own: Option<Json<'_>>, shared: &Columns, names| match own {
            Some(own) => columns(own, names).map(Rc::new),
            None => Ok(Rc::clone(shared)),
        };
        Ok(Self {
            calls,
            frames: table(frames, &shared.frames, ["func", "line", "address", "inlineDepth"])?,
            functions: table(functions, &shared.functions, ["name", "fileName", "resource", "source"])?,
            resources: table(resources, &shared.resources, ["lib", "", "", ""])?,
            sources: table(sources, &shared.sources, ["filename", "", "", ""])?,
            strings: match strings {
                Some(strings) => Rc::new(strings.positions()?),
                None => Rc::clone(&shared.strings),
            },
        })
    }

    fn frame(&self, number: u32, whole_file: &Whole<'_>, draft: &mut Draft) -> Result<u32, ImportError> {
        let of = |list: &[u32], number: u32| list.get(number as usize).copied().filter(|found| *found != NONE);
        let text = |string: u32| match of(&self.strings, string) {
            Some(at) => whole_file.file.back_to(at).text().map(|text| text.unwrap_or_default().into_owned()),
            None => Err(ImportError::Dangling { what: "string", id: string.into() }),
        };
        let [functions, lines, addresses, inlined] = &*self.frames;
        let [names, files, resources, sources] = &*self.functions;
        let function = of(functions, number).ok_or(ImportError::Dangling { what: "frame", id: number.into() })?;
        let name = of(names, function).ok_or(ImportError::Dangling { what: "function", id: function.into() })?;
        let name = text(name)?;
        let library = of(resources, function).and_then(|resource| of(&self.resources[0], resource));
        let library = library.and_then(|library| of(&whole_file.libraries, library));
        let bare = name.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        if let (Some(bare), Some(library)) = (bare, library) {
            let address = of(addresses, number).map_or(bare, u64::from);
            return native(whole_file.file.back_to(library), address, draft);
        }
        // Later versions say from which source a function is, and of that from which file.
        let file = match (of(files, function), of(sources, function)) {
            (Some(file), _) => text(file)?,
            (None, Some(source)) => of(&self.sources[0], source).map_or(Ok(String::new()), text)?,
            (None, None) => String::new(),
        };
        let line = of(lines, number).unwrap_or(0);
        if of(inlined, number).unwrap_or(0) > 0 {
            draft.importer.inlined(&name, &file, line)
        } else {
            draft.importer.symbolic(&name, &file, line)
        }
    }
}

fn columns(mut table: Json<'_>, names: [&str; 4]) -> Result<[Vec<u32>; 4], ImportError> {
    let mut lists: [Vec<u32>; 4] = Default::default();
    for (list, field) in lists.iter_mut().zip(table.fields(names)?) {
        *list = field.map_or(Ok(Vec::new()), Json::indexes)?;
    }
    Ok(lists)
}

/// An address that nobody has named: by build, where the file says which.
fn native(mut library: Json<'_>, address: u64, draft: &mut Draft) -> Result<u32, ImportError> {
    let [name, code_id] = library.fields(["name", "codeId"])?;
    let text = |field: Option<Json<'_>>| {
        field.map_or(Ok(String::new()), |mut field| field.text().map(|text| text.unwrap_or_default().into_owned()))
    };
    let (name, code_id) = (text(name)?, text(code_id)?);
    match (BuildId::parse(&code_id), Address::Elf(address).stored()) {
        (Ok(build_id), Some(stored)) => draft.importer.native(build_id, &name, stored),
        _ => draft.importer.symbolic(&format!("{name}+{address:#x}"), "", 0),
    }
}
