//! The tables of a decoded payload: every index checked, every column as long as its siblings, every sum in range.

use std::collections::{BTreeMap, HashSet};

use tephra_proto::durations::DURATION_US_MAX;
use tephra_proto::ids::{BuildId, SpanId, TraceId};
use tephra_proto::label::{check_name, check_value};
use tephra_proto::limits::{SAMPLE_LABELS_MAX, STACK_DEPTH_MAX, WINDOW_LINKS_MAX, WINDOW_MS_MAX, WINDOW_SAMPLES_MAX};
use tephra_proto::trace_share::HALVINGS_MAX;
use tephra_proto::v1;

use super::columns::{Strings, lookup, read_status, same_length};
use super::header::{COUNT_MAX, Header};
use super::rejection::Rejection;
use super::requests;
use super::{Series, SeriesRow, Window};
use crate::base::labels::{INSTANCE, Labels};
use crate::profile::model::{Frame, Kind, Link, Module, Node, ProfileType, SpanSummary};

pub(super) fn read(header: Header, wire: v1::WindowPayload) -> Result<Window, Rejection> {
    let strings = Strings::read(wire.strings)?;
    let modules = read_modules(&wire.modules, &strings)?;
    let mut frames = read_frames(&wire.frames.unwrap_or_default(), &modules, &strings)?;
    let tree = Tree::read(&wire.stacks.unwrap_or_default(), &mut frames)?;
    let links = read_links(&wire.links.unwrap_or_default())?;
    let label_sets = read_label_sets(&wire.label_sets, &strings, &header)?;
    let mut series: Vec<Series> = Vec::with_capacity(wire.series.len());
    let mut names = HashSet::new();
    let mut rows_left = WINDOW_SAMPLES_MAX;
    for wire in wire.series {
        let read = read_series(wire, &tree, &label_sets, links.len(), &header)?;
        let rows = read.iter().map(|series| series.rows.len()).sum();
        rows_left = rows_left.checked_sub(rows).ok_or(Rejection::TooMany {
            what: "samples",
            count: WINDOW_SAMPLES_MAX - rows_left + rows,
            limit: WINDOW_SAMPLES_MAX,
        })?;
        let name = |series: &[Series]| series.first().map(|series| series.profile_type.name.clone());
        if let Some(repeated) = name(&read).filter(|name| !names.insert(name.clone())) {
            return Err(Rejection::RepeatedType { profile_type: repeated });
        }
        series.extend(read);
    }
    let spans = read_spans(&wire.spans.unwrap_or_default(), &links, &strings, &header)?;
    let requests = match wire.requests {
        Some(table) => requests::read(&table, &strings, &header)?,
        None => requests::of_spans(&spans),
    };
    Ok(Window { header, modules, frames, nodes: tree.nodes, series, links, spans, requests })
}

fn read_modules(wire: &[v1::Module], strings: &Strings) -> Result<Vec<Module>, Rejection> {
    let mut modules = Vec::with_capacity(wire.len());
    for (at, module) in wire.iter().enumerate() {
        let build_id = BuildId::from_bytes(&module.build_id)?;
        modules.push(Module { build_id, name: strings.get("name of module", at, module.name)?.clone() });
    }
    Ok(modules)
}

fn read_frames(wire: &v1::FrameTable, modules: &[Module], strings: &Strings) -> Result<Vec<Frame>, Rejection> {
    let native = wire.module.iter().filter(|module| **module != 0).count();
    same_length("frame addresses", wire.address_delta.len(), native)?;
    for (what, column) in
        [("frame functions", &wire.function), ("frame files", &wire.file), ("frame lines", &wire.line)]
    {
        same_length(what, column.len(), wire.module.len() - native)?;
    }
    let mut addresses = wire.address_delta.iter();
    let mut symbols = wire.function.iter().zip(&wire.file).zip(&wire.line).zip(0u32..);
    let mut inlined = wire.inlined.iter().copied().peekable();
    let mut address = 0u64;
    // One more than arrived: the tree may add the truncated frame.
    let mut frames = Vec::with_capacity(wire.module.len() + 1);
    for (at, module) in wire.module.iter().enumerate() {
        frames.push(match module.checked_sub(1) {
            Some(index) => {
                let delta = addresses.next().copied().unwrap_or_default();
                address = address.checked_add_signed(delta).ok_or(Rejection::BadAddress { at })?;
                Frame::Native { build_id: lookup(modules, "module of frame", at, index)?.build_id, address }
            }
            None => {
                let (((function, file), line), position) = symbols.next().unwrap_or((((&0, &0), &0), 0));
                Frame::Symbolic {
                    function: strings.get("function of frame", at, *function)?.clone(),
                    file: strings.get("file of frame", at, *file)?.clone(),
                    line: *line,
                    inlined: inlined.next_if_eq(&position).is_some(),
                }
            }
        });
    }
    // Not ascending, or past the end.
    if let Some(index) = inlined.next() {
        let len = wire.function.len();
        return Err(Rejection::Dangling { what: "inlined frame", at: 0, index: index.into(), len });
    }
    Ok(frames)
}

struct Tree {
    nodes: Vec<Node>,
    /// Where each node of the wire went: a truncated root moves others by one.
    moved: Vec<u32>,
}

impl Tree {
    fn read(wire: &v1::StackTree, frames: &mut Vec<Frame>) -> Result<Self, Rejection> {
        same_length("frames of nodes", wire.frame.len(), wire.parent.len())?;
        let frame_count = frames.len();
        let mut nodes = Vec::with_capacity(wire.parent.len() + 1);
        let mut moved = Vec::with_capacity(wire.parent.len());
        let mut depths: Vec<u16> = Vec::with_capacity(wire.parent.len());
        let mut truncated = wire.truncated.iter().copied().peekable();
        let mut cut_root = None;
        for (at, (distance, frame)) in wire.parent.iter().zip(&wire.frame).enumerate() {
            if *frame as usize >= frame_count {
                return Err(Rejection::Dangling {
                    what: "frame of node",
                    at,
                    index: (*frame).into(),
                    len: frame_count,
                });
            }
            let cut = truncated.next_if_eq(&(at as u32)).is_some();
            let (parent, depth) = if *distance == 0 {
                let parent =
                    if cut { *cut_root.get_or_insert_with(|| add_cut_root(frames, &mut nodes)) } else { Node::ROOT };
                (parent, 1)
            } else {
                let parent = at.checked_sub(*distance as usize);
                let dangling =
                    || Rejection::Dangling { what: "parent of node", at, index: (*distance).into(), len: at };
                let parent = parent.ok_or_else(dangling)?;
                if cut {
                    return Err(Rejection::malformed(format!("truncated node {at} is not a root")));
                }
                (*moved.get(parent).ok_or_else(dangling)?, depths.get(parent).copied().unwrap_or(0) + 1)
            };
            if usize::from(depth) > STACK_DEPTH_MAX {
                return Err(Rejection::TooDeep { at, depth: depth.into(), limit: STACK_DEPTH_MAX });
            }
            depths.push(depth);
            moved.push(nodes.len() as u32);
            nodes.push(Node { parent, frame: *frame });
        }
        // Not ascending, or past the end.
        if let Some(index) = truncated.next() {
            return Err(Rejection::Dangling {
                what: "truncated root",
                at: 0,
                index: index.into(),
                len: wire.parent.len(),
            });
        }
        Ok(Self { nodes, moved })
    }
}

fn add_cut_root(frames: &mut Vec<Frame>, nodes: &mut Vec<Node>) -> u32 {
    let frame = frames.len() as u32;
    frames.push(Frame::Truncated);
    nodes.push(Node { parent: Node::ROOT, frame });
    nodes.len() as u32 - 1
}

fn read_links(wire: &v1::LinkTable) -> Result<Vec<Link>, Rejection> {
    let (traces, rest) = wire.trace_ids.as_chunks::<16>();
    let (spans, rest_of_spans) = wire.span_ids.as_chunks::<8>();
    if !rest.is_empty() || !rest_of_spans.is_empty() {
        return Err(Rejection::malformed("trace ids have 16 bytes each, span ids 8"));
    }
    if traces.len() > WINDOW_LINKS_MAX {
        return Err(Rejection::TooMany { what: "links", count: traces.len(), limit: WINDOW_LINKS_MAX });
    }
    same_length("span ids", spans.len(), traces.len())?;
    let pairs = traces.iter().zip(spans).enumerate();
    pairs
        .map(|(at, (trace, span))| {
            let trace_id = TraceId::from_bytes(*trace).ok_or(Rejection::ZeroTrace { at })?;
            Ok(Link { trace_id, span_id: SpanId::from_bytes(*span) })
        })
        .collect()
}

/// A label of the window says more than a sample's of the same name: the sample's is left out.
fn read_label_sets(wire: &[v1::LabelSet], strings: &Strings, header: &Header) -> Result<Vec<Labels>, Rejection> {
    let mut sets = Vec::with_capacity(wire.len().max(1));
    for (at, set) in wire.iter().enumerate() {
        same_length("values of label set", set.value.len(), set.name.len())?;
        let limit = if at == 0 { 0 } else { SAMPLE_LABELS_MAX };
        if set.name.len() > limit {
            return Err(Rejection::TooMany { what: "labels in one set", count: set.name.len(), limit });
        }
        let mut labels = Vec::with_capacity(set.name.len());
        for (name, value) in set.name.iter().zip(&set.value) {
            let (name, value) =
                (strings.get("name in label set", at, *name)?, strings.get("value in label set", at, *value)?);
            check_name(name)?;
            check_value(value)?;
            let of_window = |name: &str| matches!(name, INSTANCE | "service") || header.labels.get(name).is_some();
            if !value.is_empty() && !of_window(name) {
                labels.push((name.clone(), value.clone()));
            }
        }
        let labels = Labels::new(labels);
        if let Some(name) = labels.repeated() {
            return Err(Rejection::BadLabel { name: name.to_owned(), problem: "is written twice" });
        }
        sets.push(labels);
    }
    if sets.is_empty() {
        sets.push(Labels::default());
    }
    Ok(sets)
}

fn read_type(wire: Option<v1::ProfileType>) -> Result<ProfileType, Rejection> {
    let Some(wire) = wire else {
        return Err(Rejection::malformed("a series has no type"));
    };
    check_name(&wire.name)?;
    if !wire.unit.is_empty() {
        check_name(&wire.unit)?;
    }
    let kind = match v1::Kind::try_from(wire.kind) {
        Ok(v1::Kind::Counter) => Kind::Counter,
        Ok(v1::Kind::Gauge) => Kind::Gauge,
        _ => return Err(Rejection::UnknownEnum { what: "kind of type", at: 0, value: wire.kind }),
    };
    if wire.period > COUNT_MAX {
        return Err(Rejection::OutOfRange { what: "period", value: wire.period, allowed: "at most 2^53" });
    }
    Ok(ProfileType { name: wire.name, unit: wire.unit, kind, period: wire.period })
}

fn read_series(
    wire: v1::Series,
    tree: &Tree,
    label_sets: &[Labels],
    links: usize,
    header: &Header,
) -> Result<Vec<Series>, Rejection> {
    let profile_type = read_type(wire.r#type)?;
    let rows = wire.stack.len();
    same_length("values of series", wire.value.len(), rows)?;
    for (what, column) in [
        ("label sets of series", &wire.label_set),
        ("links of series", &wire.link),
        ("sample counts of series", &wire.samples),
        ("times of series", &wire.time_ms),
    ] {
        if !column.is_empty() {
            same_length(what, column.len(), rows)?;
        }
    }
    let too_much = || Rejection::TooMuch { profile_type: profile_type.name.clone(), limit: COUNT_MAX };
    let scale = wire.scale.max(1);
    let (mut total, mut samples_total) = (0u64, 0u64);
    // Sets that say the same are one.
    let mut read: BTreeMap<&Labels, Vec<SeriesRow>> = BTreeMap::new();
    for (at, (stack, steps)) in wire.stack.iter().zip(&wire.value).enumerate() {
        let value = steps.checked_mul(scale).ok_or_else(too_much)?;
        let samples = wire.samples.get(at).map_or(*steps, |samples| u64::from(*samples));
        total = total.checked_add(value).filter(|total| *total <= COUNT_MAX).ok_or_else(too_much)?;
        samples_total = samples_total.checked_add(samples).filter(|sum| *sum <= COUNT_MAX).ok_or_else(too_much)?;
        let label_set = wire.label_set.get(at).copied().unwrap_or(0);
        let label_set = lookup(label_sets, "label set of row", at, label_set)?;
        let link = wire.link.get(at).and_then(|link| link.checked_sub(1));
        if let Some(index) = link.filter(|index| *index as usize >= links) {
            return Err(Rejection::Dangling { what: "link of row", at, index: index.into(), len: links });
        }
        let time_ms = match wire.time_ms.get(at) {
            None => None,
            Some(late) if *late > WINDOW_MS_MAX => {
                let what = "time of a row in ms";
                return Err(Rejection::OutOfRange { what, value: (*late).into(), allowed: "at most one hour" });
            }
            // The agent's drain may run a moment after the window's end; the sample is still this window's.
            Some(time) => Some((*time).min(header.duration_ms)),
        };
        let node = *lookup(&tree.moved, "stack of row", at, *stack)?;
        read.entry(label_set).or_default().push(SeriesRow { node, value, samples, link, time_ms });
    }
    if read.is_empty() {
        // Nothing was sampled, which is not the same as nothing being said.
        return Ok(vec![Series { profile_type, labels: Labels::default(), rows: Vec::new() }]);
    }
    let series = |(labels, rows): (&Labels, Vec<SeriesRow>)| Series {
        profile_type: profile_type.clone(),
        labels: labels.clone(),
        rows,
    };
    Ok(read.into_iter().map(series).collect())
}

fn read_spans(
    wire: &v1::SpanTable,
    links: &[Link],
    strings: &Strings,
    header: &Header,
) -> Result<Vec<SpanSummary>, Rejection> {
    let rows = wire.link.len();
    for (what, found) in [
        ("routes of spans", wire.route.len()),
        ("starts of spans", wire.start_ms.len()),
        ("durations of spans", wire.duration_us.len()),
        ("statuses of spans", wire.status.len()),
        ("weights of spans", wire.weight.len()),
    ] {
        same_length(what, found, rows)?;
    }
    let mut spans = Vec::with_capacity(rows);
    let columns = wire.link.iter().zip(&wire.route).zip(&wire.start_ms).zip(&wire.duration_us);
    for (at, ((((link, route), start), duration), (status, weight))) in
        columns.zip(wire.status.iter().zip(&wire.weight)).enumerate()
    {
        let bad = |what, value: String| Rejection::BadSpan { at, what, value };
        // None is too early: it may have taken a week, or have ended 40 s before the window that tells of it because it was asked for,
        // and clocks are set while requests last.
        let start_ms = header.start_ms.checked_add_signed(*start).filter(|_| *start <= i64::from(WINDOW_MS_MAX));
        let start_ms = start_ms.ok_or_else(|| bad("start in ms", start.to_string()))?;
        if *duration > DURATION_US_MAX {
            return Err(bad("duration in µs", duration.to_string()));
        }
        // 0: it stands for no request, and is there because its trace was asked for.
        if !(*weight == 0.0 || (1.0..=WEIGHT_MAX).contains(weight)) {
            return Err(bad("weight", weight.to_string()));
        }
        let status = read_status("status of span", at, *status)?;
        spans.push(SpanSummary {
            link: *lookup(links, "link of span", at, *link)?,
            route: strings.get("route of span", at, *route)?.clone(),
            start_ms,
            duration_us: *duration,
            status,
            weight: *weight,
        });
    }
    Ok(spans)
}

/// A share that was halved as often as can be.
const WEIGHT_MAX: f32 = (1u64 << HALVINGS_MAX) as f32;
