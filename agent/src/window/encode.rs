//! A sealed window as the wire's columns, in the order that compresses best: frames by module and address, the tree
//! depth first with siblings by frame, rows by stack.

use std::collections::HashMap;

use rustc_hash::{FxHashMap, FxHashSet};
use tephra_proto::limits::{SAMPLE_LABELS_MAX, STRING_BYTES_MAX, WINDOW_LABEL_SETS_MAX};
use tephra_proto::v1;

use super::stacks::{CUT_ROOT, Frame, StackTable};
use super::{Link, Live, LiveHeap, Measure, Row, RowKey, Window, link};
use crate::labels::Labels;
use crate::requests::{Requests, RouteCounts, Selected, Status};
use crate::sample::WaitState;

/// What the samples mean, which is the same for all windows of an agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoding {
    /// CPU time between two samples of a busy thread.
    pub(crate) cpu_period_ns: u64,
    /// Mean bytes between two sampled allocations; 0: the heap is not sampled.
    pub(crate) heap_mean_bytes: u64,
}

impl Encoding {
    /// The window's payload. `live` is the heap at its end; `None` when this window is not to report it.
    ///
    /// Takes the window's rows and whatever is of no use to the next window, as early as it can: what is built here finds
    /// room where they were.
    pub(crate) fn payload(
        &self,
        window: &mut Window,
        live: Option<&LiveHeap>,
        requests: &Requests,
    ) -> v1::WindowPayload {
        window.stacks.close();
        let mut strings = Strings::default();
        let reports_live = live.is_some() && self.heap_mean_bytes > 0;
        let live = live.map_or_else(Vec::new, |live| live_rows(&window.stacks, live));
        let leaves = window.rows.keys().map(|key| key.stack).chain(live.iter().map(|(stack, _)| *stack));
        let tree = Tree::build(&window.stacks, leaves, &mut strings);
        let (links, places) = sorted_links(std::mem::take(&mut window.links).values(), &requests.spans);
        let mut rows: Vec<(RowKey, Row)> = std::mem::take(&mut window.rows).into_iter().collect();
        for (key, _) in &mut rows {
            let place = key.link.checked_sub(1).and_then(|id| places.get(id as usize));
            (key.stack, key.link) = (tree.renumbered(key.stack), place.map_or(0, |place| place + 1));
        }
        drop(places);
        let label_sets = LabelSets::of(&rows, WINDOW_LABEL_SETS_MAX);
        window.coarsened.without_labels += label_sets.left_out;
        rows.sort_unstable_by_key(|(key, _)| (key.stack, label_sets.place(key), key.link));
        let mut live: Vec<LiveRow> = live.into_iter().map(|(stack, live)| (tree.renumbered(stack), live)).collect();
        live.sort_unstable_by_key(|(stack, _)| *stack);
        let spans = span_table(window, &requests.spans, &links, &mut strings);
        let requests = request_table(&requests.counts, &mut strings);
        v1::WindowPayload {
            modules: tree.modules,
            frames: Some(tree.frames),
            stacks: Some(tree.stacks),
            series: self.series(&rows, &label_sets, reports_live.then_some(&live[..])),
            links: Some(v1::LinkTable {
                trace_ids: links.iter().flat_map(|(trace, _)| *trace).collect(),
                span_ids: links.iter().flat_map(|(_, span)| *span).collect(),
            }),
            label_sets: label_sets.table(&mut strings),
            spans: Some(spans),
            requests: Some(requests),
            strings: strings.list,
        }
    }

    fn series(&self, rows: &[(RowKey, Row)], sets: &LabelSets, live: Option<&[LiveRow]>) -> Vec<v1::Series> {
        let of = |measure| rows.iter().filter(move |(key, _)| key.measure == measure);
        let waits = rows.iter().filter(|(key, _)| key.state().is_some());
        let period = self.cpu_period_ns;
        let mut cpu = series("cpu", "nanoseconds", v1::Kind::Counter, period);
        cpu.scale = period;
        push_rows(&mut cpu, sets, of(Measure::Cpu), |row| row.value);
        let mean = self.heap_mean_bytes;
        let mut space = series("alloc_space", "bytes", v1::Kind::Counter, mean);
        push_rows(&mut space, sets, of(Measure::Alloc), |row| row.value);
        let mut objects = series("alloc_objects", "count", v1::Kind::Counter, mean);
        push_rows(&mut objects, sets, of(Measure::Alloc), |row| row.objects);
        // How far apart they are depends on how many there are: it is part of what each stands for.
        let mut wait = series("wait", "nanoseconds", v1::Kind::Counter, 0);
        push_rows(&mut wait, sets, waits, |row| row.value);
        let mut inuse_space = series("inuse_space", "bytes", v1::Kind::Gauge, mean);
        let mut inuse_objects = series("inuse_objects", "count", v1::Kind::Gauge, mean);
        for (stack, live) in live.into_iter().flatten() {
            push_live(&mut inuse_space, *stack, live.bytes, live.samples);
            push_live(&mut inuse_objects, *stack, live.objects, live.samples);
        }
        let taken = [cpu, space, objects, wait].into_iter().filter(|series| !series.stack.is_empty());
        // A gauge without rows says that nothing is live, which is not the same as saying nothing.
        let standing = [inuse_space, inuse_objects].into_iter().filter(|_| live.is_some());
        taken.chain(standing).collect()
    }
}

/// Leaf node, and what is live there.
type LiveRow = (u32, Live);

/// Live heap by leaf node. A stack that found no room when it was sampled has no name, and its blocks are left out.
fn live_rows(stacks: &StackTable, live: &LiveHeap) -> Vec<LiveRow> {
    live.iter().filter_map(|(&hash, &live)| Some((stacks.find(hash)?, live))).collect()
}

fn push_live(series: &mut v1::Series, stack: u32, value: f64, samples: u32) {
    series.stack.push(stack);
    series.value.push(value.round() as u64);
    series.samples.push(samples);
}

fn series(name: &str, unit: &str, kind: v1::Kind, period: u64) -> v1::Series {
    let r#type = Some(v1::ProfileType { name: name.to_owned(), unit: unit.to_owned(), kind: kind.into(), period });
    v1::Series { r#type, ..v1::Series::default() }
}

fn push_rows<'a>(
    series: &mut v1::Series,
    sets: &LabelSets,
    rows: impl Iterator<Item = &'a (RowKey, Row)> + Clone,
    value: impl Fn(&Row) -> f64,
) {
    for (key, row) in rows.clone() {
        series.stack.push(key.stack);
        series.value.push(value(row).round() as u64);
    }
    if rows.clone().any(|(key, _)| sets.place(key) != 0) {
        series.label_set = rows.clone().map(|(key, _)| sets.place(key)).collect();
    }
    if rows.clone().any(|(key, _)| key.link != 0) {
        series.link = rows.clone().map(|(key, _)| key.link).collect();
        // Only a row with a trace is an event; the others are sums over the window.
        let time = |(key, row): &(RowKey, Row)| if key.link == 0 { 0 } else { row.time_ms };
        series.time_ms = rows.clone().map(time).collect();
    }
    if rows.clone().zip(&series.value).any(|((_, row), &value)| u64::from(row.samples) != value) {
        series.samples = rows.map(|(_, row)| row.samples).collect();
    }
}

impl RowKey {
    /// What a wait was for, which is a label of its own.
    fn state(&self) -> Option<WaitState> {
        match self.measure {
            Measure::Wait(state) => Some(state),
            Measure::Cpu | Measure::Alloc => None,
        }
    }
}

/// The label that says what a wait was for.
const STATE: &str = "state";

/// The labels that rows of the window have, by content; none at all come first.
struct LabelSets {
    pairs: Vec<Vec<(&'static str, &'static str)>>,
    places: FxHashMap<(Labels, Option<WaitState>), u32>,
    /// Samples of waits that kept nothing but their state, because there were too many sets.
    left_out: u64,
}

impl LabelSets {
    /// Of these rows, `most` at most. A process has fewer labels than that; what waits are for comes on top, and is what they keep if need be.
    fn of(rows: &[(RowKey, Row)], most: usize) -> Self {
        let used: FxHashSet<(Labels, Option<WaitState>)> =
            rows.iter().map(|(key, _)| (key.labels, key.state())).collect();
        let has_room = used.len() + 3 <= most;
        let named = |(labels, state): (Labels, Option<WaitState>)| {
            let kept = if state.is_none() || has_room { labels } else { Labels::NONE };
            (pairs_of(kept, state), (labels, state))
        };
        let mut sorted: Vec<_> = used.into_iter().map(named).filter(|(pairs, _)| !pairs.is_empty()).collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let (mut pairs, mut places) = (Vec::new(), FxHashMap::default());
        for (set, key) in sorted {
            if pairs.last() != Some(&set) {
                pairs.push(set);
            }
            places.insert(key, pairs.len() as u32);
        }
        let is_less = |key: &RowKey| !has_room && key.state().is_some() && key.labels != Labels::NONE;
        let less = rows.iter().filter(|(key, _)| is_less(key)).map(|(_, row)| u64::from(row.samples));
        Self { left_out: less.sum(), pairs, places }
    }

    fn place(&self, key: &RowKey) -> u32 {
        self.places.get(&(key.labels, key.state())).copied().unwrap_or_default()
    }

    fn table(&self, strings: &mut Strings) -> Vec<v1::LabelSet> {
        let mut set = |pairs: &Vec<(&'static str, &'static str)>| v1::LabelSet {
            name: pairs.iter().map(|(name, _)| strings.add(name)).collect(),
            value: pairs.iter().map(|(_, value)| strings.add(value)).collect(),
        };
        std::iter::once(v1::LabelSet::default()).chain(self.pairs.iter().map(&mut set)).collect()
    }
}

/// Names and values by name. What a wait was for replaces a label of that name, and the last one where there are too many.
fn pairs_of(labels: Labels, state: Option<WaitState>) -> Vec<(&'static str, &'static str)> {
    let mut pairs = labels.pairs();
    if let Some(state) = state {
        pairs.retain(|(name, _)| *name != STATE);
        pairs.truncate(SAMPLE_LABELS_MAX - 1);
        pairs.push((STATE, state.name()));
        pairs.sort_unstable();
    }
    pairs
}

/// The stack table's part that the window uses, renumbered.
struct Tree {
    modules: Vec<v1::Module>,
    frames: v1::FrameTable,
    stacks: v1::StackTree,
    /// Old node to new node; `u32::MAX`: unused.
    renumbered: Vec<u32>,
}

const UNUSED: u32 = u32::MAX;

impl Tree {
    fn build(table: &StackTable, leaves: impl Iterator<Item = u32>, strings: &mut Strings) -> Self {
        let nodes = table.nodes();
        let mut used = vec![false; nodes.len()];
        for leaf in leaves {
            let mut node = leaf as usize;
            while let Some(seen) = used.get_mut(node)
                && !*seen
            {
                *seen = true;
                node = nodes.get(node).map_or(usize::MAX, |node| node.parent as usize);
            }
        }
        let (modules, frames, frame_ids) = number_frames(table, &used, strings);
        let frame_of = |node: u32| nodes.get(node as usize).and_then(|n| frame_ids.get(n.frame as usize)).copied();
        let parent_of = |node: u32| nodes.get(node as usize).map_or(CUT_ROOT, |n| n.parent);

        // Children of one parent stand together, roots last, and are pushed in reverse so that they come out by frame.
        let count = used.iter().filter(|used| **used).count();
        let mut by_parent = Vec::with_capacity(count);
        by_parent.extend((0..nodes.len() as u32).filter(|&n| used.get(n as usize) == Some(&true)));
        by_parent.sort_unstable_by_key(|&node| (parent_of(node), std::cmp::Reverse(frame_of(node))));
        let children = |parent: u32| {
            let from = by_parent.partition_point(|&node| parent_of(node) < parent);
            let siblings = by_parent.get(from..).unwrap_or_default();
            let count = siblings.partition_point(|&node| parent_of(node) == parent);
            siblings.get(..count).unwrap_or_default()
        };
        let first_root = by_parent.partition_point(|&node| parent_of(node) < CUT_ROOT);
        let mut pending: Vec<u32> = by_parent.get(first_root..).unwrap_or_default().to_vec();

        let mut stacks = v1::StackTree {
            parent: Vec::with_capacity(count),
            frame: Vec::with_capacity(count),
            ..v1::StackTree::default()
        };
        let mut renumbered = vec![UNUSED; nodes.len()];
        while let Some(node) = pending.pop() {
            let id = stacks.frame.len() as u32;
            let parent = parent_of(node);
            let parent_id = renumbered.get(parent as usize).copied().unwrap_or(UNUSED);
            stacks.parent.push(if parent_id == UNUSED { 0 } else { id - parent_id });
            stacks.frame.push(frame_of(node).unwrap_or_default());
            if parent == CUT_ROOT {
                stacks.truncated.push(id);
            }
            if let Some(new) = renumbered.get_mut(node as usize) {
                *new = id;
            }
            pending.extend_from_slice(children(node));
        }
        Self { modules, frames, stacks, renumbered }
    }

    fn renumbered(&self, node: u32) -> u32 {
        self.renumbered.get(node as usize).copied().unwrap_or_default()
    }
}

/// The used frames by module and address, the modules they lie in, and the new number of each old frame.
fn number_frames(
    table: &StackTable,
    used_nodes: &[bool],
    strings: &mut Strings,
) -> (Vec<v1::Module>, v1::FrameTable, Vec<u32>) {
    let mut used: Vec<u32> =
        table.nodes().iter().zip(used_nodes).filter(|(_, used)| **used).map(|(node, _)| node.frame).collect();
    used.sort_unstable_by_key(|&frame| table.frames().get(frame as usize));
    used.dedup();
    let mut modules = Vec::new();
    let mut frames = v1::FrameTable::default();
    let mut new_ids = vec![0; table.frames().len()];
    let (mut current, mut previous) = (None, 0u64);
    for (new, old) in used.into_iter().enumerate() {
        if let Some(id) = new_ids.get_mut(old as usize) {
            *id = new as u32;
        }
        match table.frames().get(old as usize) {
            Some(&Frame::Native { module, address }) => {
                if current != Some(module) {
                    current = Some(module);
                    let known = table.modules().get(module as usize);
                    modules.push(v1::Module {
                        build_id: known.map(|known| known.build_id.clone()).unwrap_or_default(),
                        name: strings.add(known.map_or("", |known| &known.name)),
                    });
                }
                frames.module.push(modules.len() as u32);
                frames.address_delta.push(address.wrapping_sub(previous) as i64);
                previous = address;
            }
            foreign => {
                let symbol = match foreign {
                    Some(&Frame::Foreign { symbol: Some(symbol) }) => table.symbols().get(symbol as usize),
                    _ => None,
                };
                frames.module.push(0);
                frames.function.push(strings.add(symbol.map_or("[unknown]", |symbol| cut(&symbol.function))));
                frames.file.push(strings.add(symbol.map_or("", |symbol| cut(&symbol.file))));
                frames.line.push(symbol.map_or(0, |symbol| symbol.line));
            }
        }
    }
    (modules, frames, new_ids)
}

/// The beginning of `text` that a collector takes.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(STRING_BYTES_MAX)).unwrap_or_default()
}

/// All contexts of the window, sorted, so that the spans of one trace stand together; and the place of each that had a number.
fn sorted_links(numbered: &[Link], spans: &[Selected]) -> (Vec<Link>, Vec<u32>) {
    let mut links = Vec::with_capacity(numbered.len() + spans.len());
    links.extend(numbered.iter().copied().chain(spans.iter().map(|selected| link(&selected.span.context))));
    links.sort_unstable();
    links.dedup();
    let places = numbered.iter().map(|link| index_of(&links, link)).collect();
    (links, places)
}

fn index_of(links: &[Link], link: &Link) -> u32 {
    links.binary_search(link).unwrap_or_default() as u32
}

fn span_table(window: &Window, spans: &[Selected], links: &[Link], strings: &mut Strings) -> v1::SpanTable {
    let mut sorted: Vec<&Selected> = spans.iter().collect();
    sorted.sort_by(|a, b| (&a.route, a.span.start_ms).cmp(&(&b.route, b.span.start_ms)));
    let mut table = v1::SpanTable::default();
    for Selected { route, span, weight } in sorted {
        table.link.push(index_of(links, &link(&span.context)));
        table.route.push(strings.add(route));
        // It began before the window ended, unless the clock was set back meanwhile.
        let start_ms = span.start_ms.min(window.slot.start_ms + u64::from(window.slot.length_ms));
        table.start_ms.push(start_ms.wrapping_sub(window.slot.start_ms) as i64);
        table.duration_us.push(span.duration_us());
        table.status.push(status(span.status).into());
        table.weight.push(*weight);
    }
    table
}

fn request_table(counts: &[RouteCounts], strings: &mut Strings) -> v1::RequestTable {
    let mut sorted: Vec<&RouteCounts> = counts.iter().collect();
    sorted.sort_unstable_by_key(|of| (&of.route, of.status));
    let mut table = v1::RequestTable::default();
    for RouteCounts { route, status: ended, counts } in sorted {
        table.route.push(strings.add(route));
        table.status.push(status(*ended).into());
        table.sum_us.push(counts.sum_us);
        table.max_us.push(counts.max_us);
        table.bins.push(counts.bins.len() as u32);
        let mut before = 0;
        for (bin, count) in &counts.bins {
            table.bin_step.push(u32::from(bin - before));
            table.count.push(*count);
            before = *bin;
        }
    }
    table
}

fn status(status: Status) -> v1::SpanStatus {
    match status {
        Status::Unset => v1::SpanStatus::Unset,
        Status::Ok => v1::SpanStatus::Ok,
        Status::Error => v1::SpanStatus::Error,
    }
}

/// The string table; position 0 is the empty string.
struct Strings {
    list: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Default for Strings {
    fn default() -> Self {
        Self { list: vec![String::new()], ids: HashMap::from([(String::new(), 0)]) }
    }
}

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        if let Some(&known) = self.ids.get(text) {
            return known;
        }
        let id = self.list.len() as u32;
        self.list.push(text.to_owned());
        self.ids.insert(text.to_owned(), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::TwoModules;
    use super::*;
    use crate::clock::Slot;
    use crate::context::{attach_labels, current_labels};
    use crate::requests::{Counts, Span};
    use crate::sample::{RawSample, SampleKind};
    use crate::trace_context::TraceContext;
    use crate::window::{Live, Waiting};

    const ENCODING: Encoding = Encoding { cpu_period_ns: 10_101_010, heap_mean_bytes: 524_288 };
    const CPU: SampleKind = SampleKind::Cpu { periods: 1 };

    fn window() -> Window {
        Window::new(Slot::at(10_000, 10_000), 1 << 20)
    }

    fn add(window: &mut Window, kind: SampleKind, stack: &[u64], context: Option<TraceContext>) {
        let (stack_hash, truncated) = (hash(stack), stack.len() == 1);
        let labels = current_labels();
        let sample = RawSample { kind, time_ms: 12_345, tid: 1, context, labels, stack, stack_hash, truncated };
        window.add(&sample, &TwoModules);
    }

    fn hash(stack: &[u64]) -> u64 {
        stack.iter().fold(1, |hash, pc| hash.wrapping_mul(31).wrapping_add(*pc))
    }

    /// The addresses of a stack, leaf first, as a collector would read them.
    fn read_stack(payload: &v1::WindowPayload, leaf: u32) -> Vec<u64> {
        let (stacks, frames) = (payload.stacks.as_ref().unwrap(), payload.frames.as_ref().unwrap());
        let mut address = 0u64;
        let mut deltas = frames.address_delta.iter();
        let addresses: Vec<u64> = frames
            .module
            .iter()
            .map(|&module| {
                if module == 0 {
                    return 0;
                }
                address = address.wrapping_add_signed(*deltas.next().unwrap());
                address
            })
            .collect();
        let mut out = Vec::new();
        let mut node = leaf;
        loop {
            out.push(addresses[stacks.frame[node as usize] as usize]);
            match stacks.parent[node as usize] {
                0 => return out,
                back => node -= back,
            }
        }
    }

    #[test]
    fn equal_stacks_add_up_and_read_back() {
        let mut window = window();
        for _ in 0..3 {
            add(&mut window, CPU, &[0x20010, 0x10020, 0x10030], None);
        }
        add(&mut window, SampleKind::Cpu { periods: 2 }, &[0x10040, 0x10030], None);
        add(&mut window, CPU, &[0x5, 0x10030], None);
        let payload = ENCODING.payload(&mut window, None, &Requests::default());
        let [cpu] = &payload.series[..] else { panic!("{:?}", payload.series) };
        let mut read: Vec<_> = cpu.stack.iter().map(|&s| read_stack(&payload, s)).zip(cpu.value.clone()).collect();
        read.sort();
        assert_eq!(
            read,
            [(vec![0, 0x30], 1), (vec![0x40, 0x30], 2), (vec![0x40_0010, 0x20, 0x30], 3)],
            "unknown code has no address"
        );
        assert_eq!(cpu.scale, 10_101_010);
        assert!(cpu.link.is_empty() && cpu.time_ms.is_empty());
        assert_eq!(cpu.samples.iter().sum::<u32>(), 5, "the sample that stands for two periods is one sample");
        assert_eq!(payload.stacks.as_ref().unwrap().frame.len(), 5, "the caller is shared");
    }

    #[test]
    fn parents_precede_their_children_and_frames_rise() {
        let mut window = window();
        for i in 0..500u64 {
            add(&mut window, CPU, &[0x10000 + i * 7 % 400, 0x20000 + i % 13, 0x10000 + i % 3, 0x10fff], None);
        }
        let payload = ENCODING.payload(&mut window, None, &Requests::default());
        let (stacks, frames) = (payload.stacks.unwrap(), payload.frames.unwrap());
        assert!(stacks.parent.iter().enumerate().all(|(id, &back)| back as usize <= id));
        assert_eq!(stacks.parent.iter().filter(|&&back| back == 0).count(), 1, "all stacks have one root");
        assert!(frames.module.is_sorted());
        assert!(payload.series[0].stack.is_sorted());
    }

    #[test]
    fn samples_of_one_stack_are_kept_apart_by_trace() {
        let mut window = window();
        let (a, b) = (TraceContext::root(), TraceContext::root());
        for context in [Some(a), Some(b), Some(a), None] {
            add(&mut window, CPU, &[0x10020, 0x10030], context);
        }
        let payload = ENCODING.payload(&mut window, None, &Requests::default());
        let cpu = &payload.series[0];
        let links = payload.links.unwrap();
        let of = |context: TraceContext| {
            let at = links.trace_ids.chunks(16).position(|id| id == context.trace_id).unwrap();
            assert_eq!(links.span_ids.chunks(8).nth(at).unwrap(), context.span_id);
            cpu.link.iter().position(|&link| link as usize == at + 1).unwrap()
        };
        assert_eq!((cpu.value[of(a)], cpu.value[of(b)]), (2, 1));
        assert_eq!((cpu.time_ms[of(a)], cpu.link[0], cpu.time_ms[0]), (2_345, 0, 0));
    }

    #[test]
    fn a_cut_stack_is_marked() {
        let mut window = window();
        add(&mut window, CPU, &[0x10020], None);
        add(&mut window, CPU, &[0x10020, 0x10030], None);
        let stacks = ENCODING.payload(&mut window, None, &Requests::default()).stacks.unwrap();
        assert_eq!(stacks.truncated.len(), 1);
        assert_eq!(stacks.parent[stacks.truncated[0] as usize], 0);
    }

    #[test]
    fn allocations_are_unbiased_and_live_heap_outlives_its_window() {
        let mut first = window();
        add(&mut first, SampleKind::Alloc { bytes: 1_000, weight: 524.8 }, &[0x10020, 0x10030], None);
        let live = LiveHeap::from([(hash(&[0x10020, 0x10030]), Live { bytes: 524_800.0, objects: 524.8, samples: 1 })]);
        let payload = ENCODING.payload(&mut first, Some(&live), &Requests::default());
        let names: Vec<_> = payload.series.iter().map(|s| s.r#type.as_ref().unwrap().name.as_str()).collect();
        assert_eq!(names, ["alloc_space", "alloc_objects", "inuse_space", "inuse_objects"]);
        let values: Vec<_> = payload.series.iter().map(|s| s.value[0]).collect();
        assert_eq!(values, [524_800, 525, 524_800, 525]);
        let mut second = first.next(Slot::at(20_000, 10_000), &live, &Waiting::default(), 20_000);
        let payload = ENCODING.payload(&mut second, Some(&live), &Requests::default());
        assert_eq!(payload.series.len(), 2, "only what lives is left");
        assert_eq!(read_stack(&payload, payload.series[0].stack[0]), [0x20, 0x30]);
    }

    #[test]
    fn live_heap_counts_its_blocks_and_says_so_when_there_are_none() {
        let mut first = window();
        add(&mut first, SampleKind::Alloc { bytes: 1_000, weight: 524.8 }, &[0x10020, 0x10030], None);
        let live =
            LiveHeap::from([(hash(&[0x10020, 0x10030]), Live { bytes: 1_574_400.0, objects: 1_574.4, samples: 3 })]);
        let payload = ENCODING.payload(&mut first, Some(&live), &Requests::default());
        let of = |payload: &v1::WindowPayload, name: &str| {
            payload.series.iter().find(|series| series.r#type.as_ref().is_some_and(|t| t.name == name)).cloned()
        };
        for name in ["inuse_space", "inuse_objects"] {
            assert_eq!(of(&payload, name).unwrap().samples, [3], "blocks, not {name}");
            let freed = ENCODING.payload(&mut first, Some(&LiveHeap::new()), &Requests::default());
            assert!(of(&freed, name).unwrap().stack.is_empty(), "nothing is live, and that is told");
            assert_eq!(of(&ENCODING.payload(&mut first, None, &Requests::default()), name), None, "nobody looked");
            let off = Encoding { heap_mean_bytes: 0, ..ENCODING };
            assert_eq!(
                of(&off.payload(&mut first, Some(&LiveHeap::new()), &Requests::default()), name),
                None,
                "the heap is not sampled"
            );
        }
    }

    #[test]
    fn spans_refer_to_the_links_of_samples() {
        let mut window = window();
        let context = TraceContext::root();
        add(&mut window, CPU, &[0x10020, 0x10030], Some(context));
        let span = Span { context, start_ms: 9_000, duration_ns: 1_500_000_000, status: Status::Error };
        let spans = vec![Selected { route: "GET /slow".into(), span, weight: 1.0 }];
        let payload = ENCODING.payload(&mut window, None, &Requests { spans, ..Requests::default() });
        let table = payload.spans.unwrap();
        assert_eq!(payload.links.unwrap().trace_ids, context.trace_id);
        assert_eq!((table.link[0], table.start_ms[0], table.duration_us[0]), (0, -1_000, 1_500_000));
        assert_eq!(payload.strings[table.route[0] as usize], "GET /slow");
        assert_eq!(table.status[0], v1::SpanStatus::Error as i32);
    }

    #[test]
    fn a_span_begins_before_its_window_ends_even_if_the_clock_was_set_back() {
        let span = |start_ms| {
            let span = Span { context: TraceContext::root(), start_ms, duration_ns: 1_000, status: Status::Ok };
            Selected { route: "r".into(), span, weight: 1.0 }
        };
        let spans = vec![span(19_999), span(20_001), span(u64::MAX)];
        let payload = ENCODING.payload(&mut window(), None, &Requests { spans, ..Requests::default() });
        assert_eq!(payload.spans.unwrap().start_ms, [9_999, 10_000, 10_000]);
    }

    #[test]
    fn requests_are_counted_by_route_and_status_in_this_order() {
        let of = |route: &str, status, sum_us, bins: &[(u16, u64)]| RouteCounts {
            route: route.into(),
            status,
            counts: Counts { sum_us, max_us: sum_us / 2, bins: bins.to_vec() },
        };
        let mut counts = vec![
            of("/b", Status::Unset, 40, &[(0, 3)]),
            of("/a", Status::Error, 50, &[(5, 1), (6, 2), (478, 9)]),
            of("/a", Status::Ok, 60, &[(7, 4)]),
        ];
        let table_of = |counts: &[RouteCounts]| {
            let requests = Requests { counts: counts.to_vec(), ..Requests::default() };
            let payload = ENCODING.payload(&mut window(), None, &requests);
            (payload.requests.unwrap(), payload.strings)
        };
        let (table, strings) = table_of(&counts);
        let routes: Vec<&str> = table.route.iter().map(|at| strings[*at as usize].as_str()).collect();
        assert_eq!((routes, &table.status[..]), (vec!["/a", "/a", "/b"], &[1, 2, 0][..]));
        assert_eq!((&table.sum_us[..], &table.max_us[..]), (&[60, 50, 40][..], &[30, 25, 20][..]));
        assert_eq!((&table.bins[..], &table.bin_step[..]), (&[1, 3, 1][..], &[7, 5, 1, 472, 0][..]));
        assert_eq!(table.count, [4, 1, 2, 9, 3]);
        counts.reverse();
        assert_eq!(table_of(&counts), (table, strings), "whatever order they were found in");
    }

    #[test]
    fn that_there_were_no_requests_is_told_too() {
        let payload = ENCODING.payload(&mut window(), None, &Requests::default());
        assert_eq!(payload.requests, Some(v1::RequestTable::default()));
    }

    #[test]
    fn waits_are_a_type_with_a_label_that_says_for_what() {
        let mut window = window();
        let stack = [0x10020, 0x10030];
        add(&mut window, CPU, &stack, None);
        add(&mut window, SampleKind::Place, &stack, None);
        let context = TraceContext::root();
        let mut told = |labels: Labels, state, ns| {
            let kind = SampleKind::Wait { state, ns };
            let context = Some(context);
            let (stack, stack_hash) = (&[][..], hash(&stack));
            let sample =
                RawSample { kind, time_ms: 12_345, tid: 1, context, labels, stack, stack_hash, truncated: false };
            window.add(&sample, &TwoModules);
        };
        let acme = Labels::of("tenant", "acme").with("state", "of the union");
        told(acme, WaitState::Await, 3_000);
        told(acme, WaitState::Await, 4_000);
        told(acme, WaitState::Queue, 500);
        told(Labels::NONE, WaitState::Queue, 20);
        let payload = ENCODING.payload(&mut window, None, &Requests::default());
        let [cpu, waits] = &payload.series[..] else { panic!("{:?}", payload.series) };
        let kind = waits.r#type.as_ref().unwrap();
        assert_eq!((&*kind.name, &*kind.unit, kind.kind()), ("wait", "nanoseconds", v1::Kind::Counter));
        assert_eq!((&cpu.value[..], cpu.label_set.len(), waits.scale), (&[1][..], 0, 0));
        let text = |at: u32| payload.strings[at as usize].as_str();
        let labels = |set: u32| {
            let set = &payload.label_sets[set as usize];
            set.name.iter().zip(&set.value).map(|(name, value)| (text(*name), text(*value))).collect::<Vec<_>>()
        };
        let rows: Vec<_> = (0..waits.stack.len())
            .map(|at| (labels(waits.label_set[at]), waits.value[at], waits.samples[at], waits.link[at]))
            .collect();
        let of = |state| vec![("state", state), ("tenant", "acme")];
        let mut expected =
            vec![(of("await"), 7_000, 2, 1), (of("queue"), 500, 1, 1), (vec![("state", "queue")], 20, 1, 1)];
        expected.sort();
        let mut found = rows;
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(read_stack(&payload, waits.stack[0]), [0x20, 0x30]);
    }

    #[test]
    fn waits_keep_their_state_alone_where_there_are_too_many_labels() {
        let row =
            |measure, labels| (RowKey { measure, stack: 0, labels, link: 0 }, Row { samples: 2, ..Row::default() });
        let tenants = [1, 2, 3].map(|n| Labels::of("tenant", &format!("few {n}")));
        let rows: Vec<_> = tenants
            .iter()
            .flat_map(|&labels| {
                [Measure::Cpu, Measure::Wait(WaitState::Await), Measure::Wait(WaitState::Queue)]
                    .map(|measure| row(measure, labels))
            })
            .collect();
        let enough = LabelSets::of(&rows, 12);
        assert_eq!((enough.pairs.len(), enough.left_out), (9, 0));
        let few = LabelSets::of(&rows, 8);
        assert_eq!((few.pairs.len(), few.left_out), (5, 12), "one for each tenant, and one for each state");
        let sets: Vec<_> = rows.iter().map(|(key, _)| few.pairs[few.place(key) as usize - 1].clone()).collect();
        assert_eq!(sets[1..3], [vec![("state", "await")], vec![("state", "queue")]]);
        assert_eq!(sets[3], [("tenant", "few 2")]);
    }

    #[test]
    fn a_sample_has_no_more_labels_than_a_collector_takes() {
        let names = ["m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"];
        let all = names.iter().fold(Labels::NONE, |labels, name| labels.with(name, "x"));
        let pairs = pairs_of(all, Some(WaitState::Await));
        assert_eq!((pairs.len(), pairs.contains(&("state", "await"))), (SAMPLE_LABELS_MAX, true));
    }

    #[test]
    fn rows_refer_to_the_labels_they_were_taken_under() {
        let mut window = window();
        let stack = &[0x10020, 0x10030];
        for tenant in ["b", "a", "b"] {
            let _tenant = attach_labels(Labels::of("tenant", tenant).with("plan", "free"));
            add(&mut window, CPU, stack, None);
        }
        add(&mut window, CPU, stack, None);
        let payload = ENCODING.payload(&mut window, None, &Requests::default());
        let text = |at: &u32| payload.strings[*at as usize].as_str();
        let sets: Vec<Vec<_>> = payload
            .label_sets
            .iter()
            .map(|set| set.name.iter().map(text).zip(set.value.iter().map(text)).collect())
            .collect();
        assert_eq!(sets, [vec![], vec![("plan", "free"), ("tenant", "a")], vec![("plan", "free"), ("tenant", "b")]]);
        assert_eq!(payload.series[0].label_set, [0, 1, 2]);
        assert_eq!(payload.series[0].value, [1, 1, 2]);
    }
}
