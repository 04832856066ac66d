//! What V8 writes: `.cpuprofile`, of Chrome's DevTools and `node --cpu-prof`, and `.heapprofile`, of its sampling heap profiler.
//! <https://chromedevtools.github.io/devtools-protocol/tot/Profiler/>
//!
//! A CPU profile looks at one thread at regular times, at work or not: `wall` is all of it, and `cpu` what is not `(idle)`. Each look
//! stands for the time to the next one. Times count from when the machine was started, so they say how long it took and not when.
//! Profiles from before 2017 nest their calls, and so do those of the heap.

use rustc_hash::FxHashMap;

use super::calls::{Calls, ROOT};
use super::draft::{Asked, Draft, Measure, whole};
use super::json::{Json, NONE};
use crate::profile::import::{ImportError, Imported};

/// What V8 calls looks at a thread that waits for work.
const IDLE: &str = "(idle)";

/// What it calls the caller of all.
const TOP: &str = "(root)";

/// A call as it is written.
#[derive(Debug, Clone, Copy)]
struct Node {
    id: u64,
    /// How often it was seen, or how many bytes it holds.
    own: f64,
    /// Where its function's name, file and line are written.
    name: u32,
    url: u32,
    line: u32,
}

const NOTHING: Node = Node { id: 0, own: 0.0, name: NONE, url: NONE, line: NONE };

/// All calls of a profile, in the order of the calls' numbers.
#[derive(Default)]
struct Nodes {
    calls: Calls,
    nodes: Vec<Node>,
}

impl Nodes {
    fn add(&mut self, caller: u32) -> Result<u32, ImportError> {
        self.nodes.push(NOTHING);
        // What a frame is called is known once its node was read: until then it has the call's number.
        self.calls.add(caller, self.nodes.len() as u32 - 1)
    }

    /// Reads one member of a node, or of the `callFrame` in it.
    fn read(&mut self, call: u32, key: &str, json: &mut Json<'_>) -> Result<(), ImportError> {
        let Some(node) = self.nodes.get_mut(call as usize) else { return json.skip() };
        let at = json.at();
        match key {
            "functionName" => node.name = at,
            "url" => node.url = at,
            "lineNumber" => node.line = at,
            "id" => {
                node.id = whole(json.number()?.unwrap_or(0.0));
                return Ok(());
            }
            "hitCount" | "selfSize" => {
                node.own = json.number()?.unwrap_or(0.0);
                return Ok(());
            }
            "callFrame" => {
                let [name, url, line] = json.fields(["functionName", "url", "lineNumber"])?;
                let at = |field: Option<Json<'_>>| field.map_or(NONE, |field| field.at());
                (node.name, node.url, node.line) = (at(name), at(url), at(line));
                return Ok(());
            }
            _ => {}
        }
        json.skip()
    }

    /// Calls that stand in each other: whatever their depth, nothing here calls itself.
    fn nested(mut json: Json<'_>) -> Result<Self, ImportError> {
        let mut this = Self::default();
        if !json.object()? {
            return Err(json.broken("an object is missing"));
        }
        let mut open = vec![this.add(ROOT)?];
        let mut is_in_list = false;
        while let Some(&call) = open.last() {
            if is_in_list {
                is_in_list = json.item()?;
                if is_in_list && json.object()? {
                    open.push(this.add(call)?);
                    is_in_list = false;
                }
                continue;
            }
            match json.key()? {
                None => {
                    open.pop();
                    is_in_list = true;
                }
                Some(key) if key == "children" => is_in_list = json.array()?,
                Some(key) => this.read(call, &key, &mut json)?,
            }
        }
        Ok(this)
    }

    /// Calls one after the other, each with the ids of those that it called, or of its caller.
    fn flat(mut list: Json<'_>) -> Result<Self, ImportError> {
        let mut this = Self::default();
        // Where each one's list of calls is, and the id of its caller.
        let mut ties: Vec<(Option<Json<'_>>, Option<u64>)> = Vec::new();
        let has_nodes = list.array()?;
        while has_nodes && list.item()? {
            let (mut children, mut parent) = (None, None);
            if !list.object()? {
                continue;
            }
            let call = this.add(ROOT)?;
            while let Some(key) = list.key()? {
                match &*key {
                    "children" => {
                        children = Some(list);
                        list.skip()?;
                    }
                    "parent" => parent = list.number()?.map(whole),
                    key => this.read(call, key, &mut list)?,
                }
            }
            ties.push((children, parent));
        }
        let by_id = this.by_id();
        for (call, (children, parent)) in (0..).zip(ties) {
            if let Some(caller) = parent.and_then(|id| by_id.get(&id)) {
                this.calls.set_caller(call, *caller);
            }
            let Some(mut children) = children else { continue };
            let has_children = children.array()?;
            while has_children && children.item()? {
                let id = children.number()?.map_or(0, whole);
                let child = by_id.get(&id).ok_or(ImportError::Dangling { what: "node", id })?;
                this.calls.set_caller(*child, call);
            }
        }
        Ok(this)
    }

    fn by_id(&self) -> FxHashMap<u64, u32> {
        self.nodes.iter().map(|node| node.id).zip(0..).collect()
    }

    /// Adds each call's values, in the order of calls; `json` is the file.
    fn pour(&self, json: Json<'_>, draft: &mut Draft, values: &[Spent]) -> Result<(), ImportError> {
        let mut made = vec![NONE; self.nodes.len()];
        let mut stack = Vec::new();
        for (call, spent) in (0..).zip(values).filter(|(_, spent)| spent.values.iter().any(|value| *value > 0)) {
            self.calls.stack(call, &mut stack);
            for frame in &mut stack {
                let number = *frame as usize;
                if let (Some(node), Some(made)) = (self.nodes.get(number), made.get_mut(number)) {
                    if *made == NONE {
                        *made = frame_of(node, json, draft)?;
                    }
                    *frame = *made;
                }
            }
            // The caller of all is no function; only what happened in it alone stands under its name.
            let is_below = stack.len() > 1 && is_top(self.nodes.first(), json)? && stack.first() == made.first();
            let stack = stack.get(usize::from(is_below)..).unwrap_or_default();
            draft.sample(stack, 0, spent.values(), spent.samples)?;
        }
        Ok(())
    }
}

/// What was spent in a call.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    values: [u64; 2],
    /// How many of them there are.
    columns: usize,
    samples: u64,
}

impl Spent {
    fn values(&self) -> &[u64] {
        self.values.get(..self.columns).unwrap_or_default()
    }
}

fn name_of<'a>(node: &Node, json: Json<'a>) -> Result<std::borrow::Cow<'a, str>, ImportError> {
    let name = if node.name == NONE { None } else { json.back_to(node.name).text()? };
    Ok(name.filter(|name| !name.is_empty()).unwrap_or("(anonymous)".into()))
}

fn is_top(node: Option<&Node>, json: Json<'_>) -> Result<bool, ImportError> {
    node.map_or(Ok(false), |node| name_of(node, json).map(|name| name == TOP))
}

fn frame_of(node: &Node, json: Json<'_>, draft: &mut Draft) -> Result<u32, ImportError> {
    let url = if node.url == NONE { None } else { json.back_to(node.url).text()? };
    let url = url.unwrap_or_default();
    // Counted from 0; -1 where there is none.
    let line = if node.line == NONE { None } else { json.back_to(node.line).number()? };
    let line = line.map_or(0, |line| whole(line + 1.0).try_into().unwrap_or(0));
    let file = url.strip_prefix("file://").unwrap_or(&url);
    draft.importer.symbolic(&name_of(node, json)?, file, if file.is_empty() { 0 } else { line })
}

pub(super) fn decode_cpu(text: &str, asked: &Asked) -> Result<Imported, ImportError> {
    let file = Json::new(text.trim_start_matches('\u{feff}'), "a CPU profile of V8");
    let mut top = file;
    let [nodes, head, start, end, samples, deltas, times] =
        top.fields(["nodes", "head", "startTime", "endTime", "samples", "timeDeltas", "timestamps"])?;
    let calls = match (nodes, head) {
        (Some(nodes), _) => Nodes::flat(nodes)?,
        (None, Some(head)) => Nodes::nested(head)?,
        (None, None) => return Err(top.broken("it has no nodes")),
    };
    let number = |field: Option<Json<'_>>| field.map_or(Ok(None), |mut field| field.number());
    let (start, end) = (number(start)?.unwrap_or(0.0), number(end)?.unwrap_or(0.0));
    let looks = match (samples, deltas, times) {
        (Some(samples), Some(deltas), _) => Some((samples, deltas, true)),
        (Some(samples), None, Some(times)) => Some((samples, times, false)),
        _ => None,
    };
    let mut spent = vec![Spent::default(); calls.nodes.len()];
    let Some((samples, times, are_deltas)) = looks else {
        let mut draft = Draft::of_each(&[Measure::new("samples", "count")], asked)?;
        for (spent, node) in spent.iter_mut().zip(&calls.nodes) {
            *spent = Spent { values: [whole(node.own), 0], columns: 1, samples: 1 };
        }
        calls.pour(file, &mut draft, &spent)?;
        return draft.finish(0, 0);
    };
    let mut draft =
        Draft::of_all(&[Measure::new("cpu", "microseconds"), Measure::new("wall", "microseconds")], None, asked)?;
    let mut looks = Looks { samples, times, are_deltas, now: start, has_begun: false };
    let by_id = calls.by_id();
    let (mut first, mut last): (Option<f64>, Option<(u32, f64)>) = (None, None);
    let mut idle: FxHashMap<u32, bool> = FxHashMap::default();
    let mut longest = 0.0f64;
    loop {
        let next = looks.next(&by_id)?;
        if let Some((call, since)) = last {
            let until = match next {
                Some((_, time)) => time,
                // The last look stands for the time to the end; where nobody says when that was, for as long as the one before.
                None if end >= since && are_deltas => end,
                None => since + longest,
            };
            let time = (until - since).max(0.0);
            if next.is_some() {
                longest = time;
            }
            let is_idle = match idle.get(&call) {
                Some(known) => *known,
                None => {
                    let is_idle = calls
                        .nodes
                        .get(call as usize)
                        .map_or(Ok(false), |node| name_of(node, file).map(|name| name == IDLE))?;
                    idle.insert(call, is_idle);
                    is_idle
                }
            };
            if let Some(spent) = spent.get_mut(call as usize) {
                spent.columns = 2;
                spent.samples += 1;
                let [cpu, wall] = &mut spent.values;
                *wall = wall.saturating_add(whole(time));
                *cpu = cpu.saturating_add(if is_idle { 0 } else { whole(time) });
            }
        }
        let Some((_, time)) = next else { break };
        first = first.or(Some(time));
        last = next;
    }
    calls.pour(file, &mut draft, &spent)?;
    let began = if are_deltas { Some(start) } else { first };
    let ended = if are_deltas && end > start { Some(end) } else { last.map(|(_, time)| time) };
    let took = began.zip(ended).map_or(0.0, |(began, ended)| ended - began);
    draft.finish(0, whole(took * 1e3))
}

/// What was seen when.
struct Looks<'a> {
    samples: Json<'a>,
    times: Json<'a>,
    /// Whether times count from the look before.
    are_deltas: bool,
    /// Microseconds.
    now: f64,
    has_begun: bool,
}

impl Looks<'_> {
    /// The call that was seen, and when; times never go back, as V8's sometimes do.
    fn next(&mut self, by_id: &FxHashMap<u64, u32>) -> Result<Option<(u32, f64)>, ImportError> {
        if !self.has_begun {
            self.has_begun = true;
            if !self.samples.array()? || !self.times.array()? {
                return Err(self.samples.broken("samples and times are no lists"));
            }
        }
        if !self.samples.item()? {
            return Ok(None);
        }
        if !self.times.item()? {
            return Err(self.times.broken("there are fewer times than samples"));
        }
        let id = self.samples.number()?.map_or(0, whole);
        let time = self.times.number()?.unwrap_or(0.0);
        self.now = self.now.max(if self.are_deltas { self.now + time } else { time });
        let call = by_id.get(&id).ok_or(ImportError::Dangling { what: "node", id })?;
        Ok(Some((*call, self.now)))
    }
}

pub(super) fn decode_heap(text: &str, asked: &Asked) -> Result<Imported, ImportError> {
    let file = Json::new(text.trim_start_matches('\u{feff}'), "a heap profile of V8");
    let mut top = file;
    let [head] = top.fields(["head"])?;
    let Some(head) = head else { return Err(top.broken("it has no head")) };
    let calls = Nodes::nested(head)?;
    let mut draft = Draft::of_each(&[Measure::new("inuse_space", "bytes")], asked)?;
    let own = |node: &Node| Spent { values: [whole(node.own), 0], columns: 1, samples: 1 };
    let spent: Vec<Spent> = calls.nodes.iter().map(own).collect();
    calls.pour(file, &mut draft, &spent)?;
    draft.finish(0, 0)
}
