//! What compacted segments keep of single traces, given as the windows it came from: so that traces are answered by the same
//! code before and after compaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tephra_proto::ids::{InstanceName, ServiceName, TraceId};

use super::QueryError;
use super::cancel::Cancel;
use crate::base::labels::Labels;
use crate::base::range::TimeRange;
use crate::profile::decode::{Header, Series, SeriesRow, Window, WindowId};
use crate::profile::model::{Link, Node};
use crate::store::Store;
use crate::store::catalog::LevelSegment;
use crate::store::columnar::{Dictionary, PartSpan, PartTrace, Segment, Table};
use crate::store::compact::levels::TRACES;

/// Windows that hold samples or spans of a trace, with nothing but these; of one service, or of all.
pub(super) fn windows(
    store: &Store,
    segments: &[LevelSegment],
    trace_id: TraceId,
    service: Option<&str>,
    cancel: &Cancel,
) -> Result<Vec<Window>, QueryError> {
    let mut windows = Vec::new();
    for row in segments.iter().filter(|row| row.segment.level == TRACES) {
        cancel.check()?;
        let tables = [Table::Traces, Table::Spans, Table::Series, Table::Stacks, Table::Frames];
        let Some(segment) = store.columnar(row, &tables)? else { continue };
        let bulk = store.bulk().as_ref();
        for (part, of) in segment.services().iter().enumerate() {
            let counts = row.services.iter().any(|name| name == of) && service.is_none_or(|only| only == of);
            if !counts {
                continue;
            }
            let id = &row.segment.id;
            let Some(found) = store.checked(id, segment.find_trace(bulk, part, trace_id))? else { break };
            if found.is_empty() {
                continue;
            }
            let Some(dictionary) = store.dictionary(id, &segment, part, true)? else { break };
            let Some((rows, spans)) = store.checked(id, segment.trace(bulk, &found, &dictionary))? else { break };
            windows.extend(rebuild(of, &dictionary, rows, spans));
        }
    }
    Ok(windows)
}

/// Samples of some traces of a service, by row group. Of traces, when each ran: row groups
/// of other times are not looked into.
pub(super) struct Samples<'a> {
    pub(super) store: &'a Store,
    pub(super) service: &'a str,
    pub(super) traces: &'a BTreeMap<TraceId, TimeRange>,
    pub(super) cancel: &'a Cancel,
}

/// A row group of samples, and the traces that it may hold, whose ids ascend.
pub(super) struct SampleGroup<'a> {
    row: &'a LevelSegment,
    segment: Arc<Segment>,
    part: usize,
    group: usize,
    traces: Vec<[u8; 16]>,
}

impl Samples<'_> {
    /// Row groups of a segment that may hold some.
    pub(super) fn groups<'b>(&self, row: &'b LevelSegment) -> Result<Vec<SampleGroup<'b>>, QueryError> {
        self.cancel.check()?;
        let mut groups = Vec::new();
        let tables = [Table::Traces, Table::Series, Table::Stacks, Table::Frames];
        let Some(segment) = self.store.columnar(row, &tables)? else { return Ok(groups) };
        let segment = Arc::new(segment);
        for part in segment.parts_of(self.service) {
            let found = segment.trace_groups(self.store.bulk().as_ref(), part);
            let Some(found) = self.store.checked(&row.segment.id, found)? else { break };
            for (group, (first_ms, last_ms)) in found {
                let within = |ran: &TimeRange| ran.from_ms <= last_ms && ran.until_ms >= first_ms;
                let traces: Vec<[u8; 16]> =
                    self.traces.iter().filter(|(_, ran)| within(ran)).map(|(trace, _)| trace.to_bytes()).collect();
                if !traces.is_empty() {
                    groups.push(SampleGroup { row, segment: segment.clone(), part, group, traces });
                }
            }
        }
        Ok(groups)
    }

    /// Windows with the samples of a row group, and nothing but these.
    pub(super) fn read(&self, of: &SampleGroup<'_>) -> Result<Vec<Window>, QueryError> {
        self.cancel.check()?;
        let SampleGroup { row, segment, part, group, traces } = of;
        let (id, bulk) = (&row.segment.id, self.store.bulk().as_ref());
        let found = self.store.checked(id, segment.find_samples(bulk, *group, traces))?.unwrap_or_default();
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let Some(dictionary) = self.store.dictionary(id, segment, *part, true)? else { return Ok(Vec::new()) };
        let read = segment.samples_at(bulk, *group, traces, &found, &dictionary);
        let rows = self.store.checked(id, read)?.unwrap_or_default();
        Ok(rebuild(self.service, &dictionary, rows, Vec::new()))
    }
}

/// Ids of compacted segments that hold something of a trace.
pub(super) fn holders(
    store: &Store,
    segments: &[LevelSegment],
    trace_id: TraceId,
    cancel: &Cancel,
) -> Result<Vec<String>, QueryError> {
    let mut holders = Vec::new();
    for row in segments.iter().filter(|row| row.segment.level == TRACES) {
        cancel.check()?;
        let Some(segment) = store.columnar(row, &[Table::Traces, Table::Spans])? else { continue };
        let id = &row.segment.id;
        for part in 0..segment.services().len() {
            let found = segment.find_trace(store.bulk().as_ref(), part, trace_id);
            let Some(found) = store.checked(id, found)? else { break };
            if !found.is_empty() {
                holders.push(id.clone());
                break;
            }
        }
    }
    Ok(holders)
}

/// What one window holds of the trace.
#[derive(Default)]
struct Share {
    rows: Vec<PartTrace>,
    spans: Vec<PartSpan>,
}

fn rebuild(service: &str, dictionary: &Dictionary, rows: Vec<PartTrace>, spans: Vec<PartSpan>) -> Vec<Window> {
    let mut shares: BTreeMap<(u64, u32, Arc<str>, Labels), Share> = BTreeMap::new();
    for row in rows {
        let Some(series) = dictionary.series.get(row.series as usize) else { continue };
        let key = (row.window_ms, row.window_len_ms, series.instance.clone(), series.labels.clone());
        shares.entry(key).or_default().rows.push(row);
    }
    for span in spans {
        let key = (span.window_ms, span.window_len_ms, span.instance.clone(), span.labels.clone());
        shares.entry(key).or_default().spans.push(span);
    }
    let window = |((start_ms, duration_ms, instance, labels), share): ((u64, u32, Arc<str>, Labels), Share)| {
        let header = Header {
            id: WindowId { agent_id: [0; 16], boot_id: 0, sequence: 0 },
            service: ServiceName::parse(service).ok()?,
            instance: InstanceName::parse(&instance).ok()?,
            labels,
            start_ms,
            duration_ms,
            sampled: 0,
            drops: Vec::new(),
            process_cpu_ns: 0,
            agent_version: String::new(),
        };
        Some(share.into_window(header, dictionary))
    };
    shares.into_iter().filter_map(window).collect()
}

impl Share {
    fn into_window(self, header: Header, dictionary: &Dictionary) -> Window {
        let mut tree = Subtree::default();
        let mut links: Vec<Link> = Vec::new();
        let mut link_index: HashMap<Link, u32> = HashMap::new();
        let mut link = |link: Link| {
            *link_index.entry(link).or_insert_with(|| {
                links.push(link);
                links.len() as u32 - 1
            })
        };
        let mut series: BTreeMap<u32, Vec<SeriesRow>> = BTreeMap::new();
        for row in &self.rows {
            series.entry(row.series).or_default().push(SeriesRow {
                node: tree.add(dictionary, row.node),
                value: row.value,
                samples: row.samples,
                link: Some(link(row.link)),
                time_ms: u32::try_from(row.time_ms.saturating_sub(header.start_ms)).ok(),
            });
        }
        let spans: Vec<_> = self.spans.into_iter().map(|span| span.span).collect();
        for span in &spans {
            link(span.link);
        }
        let series = series.into_iter().filter_map(|(index, rows)| {
            let profile_type = dictionary.series.get(index as usize)?.profile_type.clone();
            // The window has them all.
            Some(Series { profile_type, labels: Labels::default(), rows })
        });
        Window {
            header,
            modules: dictionary.modules.clone(),
            frames: tree.frames.iter().filter_map(|frame| dictionary.frames.get(*frame as usize)).cloned().collect(),
            nodes: tree.nodes,
            series: series.collect(),
            links,
            spans,
            // They are no trace's.
            requests: Vec::new(),
        }
    }
}

/// The part of a dictionary that some stacks need.
#[derive(Default)]
struct Subtree {
    frames: Vec<u32>,
    frame_index: HashMap<u32, u32>,
    nodes: Vec<Node>,
    node_index: HashMap<u32, u32>,
}

impl Subtree {
    fn add(&mut self, dictionary: &Dictionary, node: u32) -> u32 {
        let mut path = Vec::new();
        let mut at = node;
        while let Some(node) = dictionary.nodes.get(at as usize).filter(|_| !self.node_index.contains_key(&at)) {
            path.push((at, *node));
            at = node.parent;
        }
        let mut parent = self.node_index.get(&at).copied().unwrap_or(Node::ROOT);
        for (at, node) in path.into_iter().rev() {
            let next = self.frames.len() as u32;
            let frame = *self.frame_index.entry(node.frame).or_insert(next);
            if frame == next {
                self.frames.push(node.frame);
            }
            self.nodes.push(Node { parent, frame });
            parent = self.nodes.len() as u32 - 1;
            self.node_index.insert(at, parent);
        }
        parent
    }
}
