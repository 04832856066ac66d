//! speedscope's JSON: profiles of one list of frames, each as samples with weights or as frames that open and close.
//! <https://github.com/jlfwong/speedscope/wiki/Importing-from-custom-sources>
//!
//! It says the unit of its numbers and not what they are: times are `wall`, bytes are `bytes`, what has no unit are `samples`, unless
//! whoever sends it says otherwise. Several profiles of one unit are those of threads, and are told apart by their names.

use rustc_hash::FxHashMap;

use super::calls::{Calls, ROOT};
use super::draft::{Asked, Draft, Measure, whole};
use super::json::{Json, NONE};
use crate::profile::import::{ImportError, Imported, within};

const FORMAT: &str = "a speedscope file";

/// Profiles of one file.
const PROFILES_MAX: usize = 4_096;

/// What the numbers of one profile are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unit {
    name: &'static str,
    unit: &'static str,
    /// What one is worth in it.
    factor: u64,
}

impl Unit {
    fn of(unit: &str) -> Self {
        let time = |factor| Self { name: "wall", unit: "nanoseconds", factor };
        match unit {
            "nanoseconds" => time(1),
            "microseconds" => time(1_000),
            "milliseconds" => time(1_000_000),
            "seconds" => time(1_000_000_000),
            "bytes" => Self { name: "bytes", unit: "bytes", factor: 1 },
            _ => Self { name: "samples", unit: "count", factor: 1 },
        }
    }

    fn is_time(self) -> bool {
        self.unit == "nanoseconds"
    }
}

pub(super) fn decode(text: &str, asked: &Asked) -> Result<Imported, ImportError> {
    let mut top = Json::new(text.trim_start_matches('\u{feff}'), FORMAT);
    let [shared, profiles] = top.fields(["shared", "profiles"])?;
    let Some(profiles) = profiles else { return Err(top.broken("it has no profiles")) };
    let frames = match shared {
        Some(mut shared) => shared.fields(["frames"])?[0],
        None => None,
    };
    let frames = frames.map_or(Ok(Vec::new()), Json::positions)?;
    let profiles_at = profiles.positions()?;
    within("profiles in one file", profiles_at.len().saturating_sub(1), PROFILES_MAX)?;
    let mut units: Vec<Unit> = Vec::new();
    for at in &profiles_at {
        let unit = unit(profiles.back_to(*at))?;
        if !units.iter().any(|known| known.unit == unit.unit) {
            units.push(unit);
        }
    }
    let mut draft = Draft::of_each(&measures(&units, asked)?, asked)?;
    let mut names = Names { frames: &frames, made: vec![NONE; frames.len()] };
    let mut longest = 0;
    for at in &profiles_at {
        let mut tree = Tree::new(frames.len());
        let profile = Profile::read(profiles.back_to(*at))?;
        match (profile.events, profile.samples) {
            (Some(events), _) => tree.open_and_close(events, profile.end)?,
            (None, Some(samples)) => tree.weigh(samples, profile.weights)?,
            (None, None) => return Err(profiles.back_to(*at).broken("a profile has neither samples nor events")),
        }
        if profile.unit.is_time() {
            longest = longest.max(whole((profile.end - profile.start) * profile.unit.factor as f64));
        }
        let column = units.iter().position(|unit| unit.unit == profile.unit.unit).unwrap_or(0);
        let name = if profiles_at.len() > 1 { profile.name } else { None };
        let of_thread = match name {
            Some(mut name) => draft.of_thread(&name.text()?.unwrap_or_default())?,
            None => 0,
        };
        tree.pour(&mut draft, &mut names, profiles, (column, units.len(), profile.unit.factor), of_thread)?;
    }
    draft.finish(0, longest)
}

fn unit(mut profile: Json<'_>) -> Result<Unit, ImportError> {
    let [unit] = profile.fields(["unit"])?;
    let unit = unit.map_or(Ok(None), |mut unit| unit.text())?;
    Ok(Unit::of(&unit.unwrap_or_default()))
}

/// What is sent for a file of one unit may be called by its sender; nobody can say it of several.
fn measures(units: &[Unit], asked: &Asked) -> Result<Vec<Measure>, ImportError> {
    match (units, &asked.unit) {
        ([Unit { unit: "count", .. }], unit) => {
            let name = asked.name.as_deref().unwrap_or("samples");
            Ok(vec![Measure::new(name, unit.as_deref().unwrap_or("count"))])
        }
        (_, Some(unit)) => Err(ImportError::UnitKnown { format: "speedscope files", unit: unit.clone() }),
        ([one], None) => Ok(vec![Measure::new(asked.name.as_deref().unwrap_or(one.name), one.unit)]),
        _ => Ok(units.iter().map(|unit| Measure::new(unit.name, unit.unit)).collect()),
    }
}

/// The parts of a profile.
struct Profile<'a> {
    unit: Unit,
    name: Option<Json<'a>>,
    start: f64,
    end: f64,
    events: Option<Json<'a>>,
    samples: Option<Json<'a>>,
    weights: Option<Json<'a>>,
}

impl<'a> Profile<'a> {
    fn read(mut at: Json<'a>) -> Result<Self, ImportError> {
        let unit = unit(at)?;
        let [name, start, end, events, samples, weights] =
            at.fields(["name", "startValue", "endValue", "events", "samples", "weights"])?;
        let number = |field: Option<Json<'_>>| field.map_or(Ok(None), |mut field| field.number());
        let start = number(start)?.unwrap_or(0.0);
        Ok(Self { unit, name, start, end: number(end)?.unwrap_or(start), events, samples, weights })
    }
}

/// What the frames of the file's list are called here, as far as they were asked for.
struct Names<'a> {
    frames: &'a [u32],
    made: Vec<u32>,
}

impl Names<'_> {
    fn frame(&mut self, number: u32, json: Json<'_>, draft: &mut Draft) -> Result<u32, ImportError> {
        let number = number as usize;
        let (Some(at), Some(made)) = (self.frames.get(number), self.made.get_mut(number)) else {
            return Err(ImportError::Dangling { what: "frame", id: number as u64 });
        };
        if *made == NONE {
            let [name, file, line] = json.back_to(*at).fields(["name", "file", "line"])?;
            let text = |field: Option<Json<'_>>| {
                field.map_or(Ok(String::new()), |mut field| {
                    field.text().map(|text| text.unwrap_or_default().into_owned())
                })
            };
            let line = line.map_or(Ok(None), |mut line| line.number())?.unwrap_or(0.0);
            *made = draft.importer.symbolic(&text(name)?, &text(file)?, whole(line).try_into().unwrap_or(0))?;
        }
        Ok(*made)
    }
}

/// What was spent in each call of one profile.
struct Tree {
    calls: Calls,
    known: FxHashMap<(u32, u32), u32>,
    /// Value and samples by call.
    spent: Vec<(f64, u64)>,
    frames: usize,
}

impl Tree {
    fn new(frames: usize) -> Self {
        Self { calls: Calls::default(), known: FxHashMap::default(), spent: Vec::new(), frames }
    }

    fn call(&mut self, caller: u32, frame: u32) -> Result<u32, ImportError> {
        if frame as usize >= self.frames {
            return Err(ImportError::Dangling { what: "frame", id: frame.into() });
        }
        if let Some(known) = self.known.get(&(caller, frame)) {
            return Ok(*known);
        }
        let call = self.calls.add(caller, frame)?;
        self.known.insert((caller, frame), call);
        self.spent.push((0.0, 0));
        Ok(call)
    }

    fn spend(&mut self, call: u32, value: f64) {
        if let Some((sum, samples)) = self.spent.get_mut(call as usize)
            && value > 0.0
        {
            *sum += value;
            *samples += 1;
        }
    }

    fn weigh(&mut self, mut samples: Json<'_>, mut weights: Option<Json<'_>>) -> Result<(), ImportError> {
        if let Some(weights) = &mut weights {
            weights.array()?;
        }
        let has_samples = samples.array()?;
        while has_samples && samples.item()? {
            let mut call = ROOT;
            let has_frames = samples.array()?;
            while has_frames && samples.item()? {
                call = self.call(call, samples.index()?)?;
            }
            let weight = match &mut weights {
                None => 1.0,
                Some(weights) => {
                    if !weights.item()? {
                        return Err(weights.broken("there are fewer weights than samples"));
                    }
                    weights.number()?.unwrap_or(0.0)
                }
            };
            if weight < 0.0 {
                return Err(negative(weight));
            }
            self.spend(call, weight);
        }
        Ok(())
    }

    fn open_and_close(&mut self, mut events: Json<'_>, end: f64) -> Result<(), ImportError> {
        let mut open: Vec<(u32, u32)> = Vec::new();
        let mut last = f64::NEG_INFINITY;
        let has_events = events.array()?;
        while has_events && events.item()? {
            let before = events;
            let [kind, frame, at] = events.fields(["type", "frame", "at"])?;
            let (Some(mut kind), Some(mut frame), Some(mut at)) = (kind, frame, at) else {
                return Err(before.broken("an event lacks its type, its frame or its time"));
            };
            let (kind, frame, at) = (kind.text()?.unwrap_or_default(), frame.index()?, at.number()?.unwrap_or(0.0));
            if at < last {
                return Err(before.broken(format!("an event at {at} follows one at {last}")));
            }
            let inner = open.last().copied();
            if let Some((call, _)) = inner {
                self.spend(call, at - last);
            }
            last = at;
            match (&*kind, inner) {
                ("O", _) => {
                    let call = self.call(inner.map_or(ROOT, |(call, _)| call), frame)?;
                    open.push((call, frame));
                }
                ("C", Some((_, innermost))) if innermost == frame => drop(open.pop()),
                ("C", _) => {
                    return Err(
                        before.broken(format!("frame {frame} is closed, and is not the innermost that is open"))
                    );
                }
                (other, _) => return Err(before.broken(format!("an event is of the type {other:?}: O or C"))),
            }
        }
        if let Some((call, _)) = open.last() {
            self.spend(*call, end - last);
        }
        Ok(())
    }

    /// `column` is which of how many, and what a unit of it is worth.
    fn pour(
        self,
        draft: &mut Draft,
        names: &mut Names<'_>,
        json: Json<'_>,
        (column, columns, factor): (usize, usize, u64),
        of_thread: u32,
    ) -> Result<(), ImportError> {
        let mut stack = Vec::new();
        let mut values = vec![0; columns];
        for (call, (value, samples)) in (0..).zip(&self.spent).filter(|(_, (value, _))| *value > 0.0) {
            self.calls.stack(call, &mut stack);
            for frame in &mut stack {
                *frame = names.frame(*frame, json, draft)?;
            }
            if let Some(of_column) = values.get_mut(column) {
                *of_column = whole(value * factor as f64);
            }
            draft.sample(&stack, of_thread, &values, *samples)?;
        }
        Ok(())
    }
}

fn negative(value: f64) -> ImportError {
    ImportError::NotStorable {
        name: "weights".to_owned(),
        why: format!("has the value {value}: what lies below zero, as in differences, has no place in a sum"),
    }
}
