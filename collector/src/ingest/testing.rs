//! Windows for tests: said in terms of stacks and values, written as an agent would.

use std::collections::HashMap;

use prost::Message;
use tephra_proto::{codec, v1};

use crate::profile::durations::Durations;

/// One sample row of a test window.
#[derive(Debug, Clone)]
pub(crate) struct TestRow {
    /// Function names, root first. A first entry of `…` marks a truncated stack.
    pub(crate) stack: Vec<String>,
    pub(crate) value: u64,
    /// First byte of a trace id.
    pub(crate) trace: Option<u8>,
    /// Labels of the samples.
    pub(crate) labels: Vec<(&'static str, String)>,
}

impl TestRow {
    pub(crate) fn label(mut self, name: &'static str, value: &str) -> Self {
        self.labels.push((name, value.to_owned()));
        self
    }
}

pub(crate) fn row(stack: &str, value: u64) -> TestRow {
    TestRow { stack: stack.split(';').map(str::to_owned).collect(), value, trace: None, labels: Vec::new() }
}

pub(crate) fn traced(stack: &str, value: u64, trace: u8) -> TestRow {
    TestRow { trace: Some(trace), ..row(stack, value) }
}

/// A window to be pushed.
#[derive(Debug, Clone)]
pub(crate) struct TestWindow {
    pub(crate) header: v1::PushHeader,
    pub(crate) payload: v1::WindowPayload,
    symbols: HashMap<String, u32>,
    nodes: HashMap<(Option<u32>, u32), u32>,
}

impl TestWindow {
    /// Window number `sequence` of an agent that is told apart by one byte; ten seconds long.
    pub(crate) fn new(service: &str, agent: u8, sequence: u64, start_ms: u64) -> Self {
        let header = v1::PushHeader {
            agent_id: vec![agent; 16],
            boot_id: 1,
            sequence,
            service: service.to_owned(),
            instance: format!("host-{agent}"),
            window_start_unix_ms: start_ms,
            window_duration_ms: 10_000,
            agent_version: "0.1.0".to_owned(),
            ..v1::PushHeader::default()
        };
        let payload = v1::WindowPayload {
            strings: vec![String::new()],
            frames: Some(v1::FrameTable::default()),
            stacks: Some(v1::StackTree::default()),
            links: Some(v1::LinkTable::default()),
            spans: Some(v1::SpanTable::default()),
            label_sets: vec![v1::LabelSet::default()],
            ..v1::WindowPayload::default()
        };
        Self { header, payload, symbols: HashMap::new(), nodes: HashMap::new() }
    }

    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        self.header.labels.push(v1::Label { name: name.to_owned(), value: value.to_owned() });
        self
    }

    pub(crate) fn duration(mut self, ms: u32) -> Self {
        self.header.window_duration_ms = ms;
        self
    }

    pub(crate) fn cpu(self, rows: &[TestRow]) -> Self {
        self.series("cpu", "nanoseconds", v1::Kind::Counter, rows)
    }

    pub(crate) fn inuse(self, rows: &[TestRow]) -> Self {
        self.series("inuse_space", "bytes", v1::Kind::Gauge, rows)
    }

    pub(crate) fn series(mut self, name: &str, unit: &str, kind: v1::Kind, rows: &[TestRow]) -> Self {
        let mut series = v1::Series {
            r#type: Some(v1::ProfileType {
                name: name.to_owned(),
                unit: unit.to_owned(),
                kind: kind.into(),
                period: 1,
            }),
            ..v1::Series::default()
        };
        for row in rows {
            series.stack.push(self.stack(&row.stack));
            series.value.push(row.value);
            series.samples.push(1);
            series.time_ms.push(5);
            series.link.push(row.trace.map_or(0, |trace| self.link(trace) + 1));
            series.label_set.push(self.label_set(&row.labels));
            self.header.sampled += 1;
        }
        if series.label_set.iter().all(|set| *set == 0) {
            series.label_set.clear();
        }
        self.payload.series.push(series);
        self
    }

    fn label_set(&mut self, labels: &[(&'static str, String)]) -> u32 {
        if labels.is_empty() {
            return 0;
        }
        let mut set = v1::LabelSet::default();
        for (name, value) in labels {
            set.name.push(self.string(name));
            set.value.push(self.string(value));
        }
        self.payload.label_sets.push(set);
        self.payload.label_sets.len() as u32 - 1
    }

    pub(crate) fn span(mut self, trace: u8, route: &str, start_ms: i64, duration_us: u64) -> Self {
        let (link, route) = (self.link(trace), self.string(route));
        let spans = self.payload.spans.as_mut().unwrap();
        spans.link.push(link);
        spans.route.push(route);
        spans.start_ms.push(start_ms);
        spans.duration_us.push(duration_us);
        spans.status.push(v1::SpanStatus::Ok.into());
        spans.weight.push(1.0);
        self
    }

    /// Requests that ended, by how long they took in µs: a histogram as an agent sends it.
    pub(crate) fn requests(mut self, route: &str, status: v1::SpanStatus, durations_us: &[u64]) -> Self {
        let mut durations = Durations::default();
        durations_us.iter().for_each(|us| durations.record(*us, 1));
        let route = self.string(route);
        let table = self.payload.requests.get_or_insert_default();
        table.route.push(route);
        table.status.push(status.into());
        table.sum_us.push(durations.sum_us());
        table.max_us.push(durations.max_us());
        table.bins.push(durations.bins().len() as u32);
        let mut before = 0;
        for (bin, count) in durations.bins() {
            table.bin_step.push(u32::from(bin - before));
            table.count.push(*count);
            before = *bin;
        }
        self
    }

    pub(crate) fn request(&self) -> v1::PushRequest {
        let payload = self.payload.encode_to_vec();
        v1::PushRequest {
            header: Some(self.header.clone()),
            payload: codec::compress(&payload).unwrap().into(),
            payload_bytes: payload.len() as u32,
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        self.payload.strings.push(text.to_owned());
        self.payload.strings.len() as u32 - 1
    }

    fn link(&mut self, trace: u8) -> u32 {
        let links = self.payload.links.as_mut().unwrap();
        links.trace_ids.extend([trace; 16]);
        links.span_ids.extend([trace; 8]);
        (links.trace_ids.len() / 16) as u32 - 1
    }

    fn stack(&mut self, stack: &[String]) -> u32 {
        let cut = stack.first().is_some_and(|first| first == "…");
        let mut parent = None;
        for name in stack.iter().skip(usize::from(cut)) {
            let frame = self.frame(name);
            // A truncated root is a root of its own.
            let key = (parent.or(cut.then_some(u32::MAX)), frame);
            let known = self.nodes.get(&key).copied();
            let tree = self.payload.stacks.as_mut().unwrap();
            let node = known.unwrap_or_else(|| {
                let node = tree.parent.len() as u32;
                tree.parent.push(parent.map_or(0, |parent| node - parent));
                tree.frame.push(frame);
                if cut && parent.is_none() {
                    tree.truncated.push(node);
                }
                node
            });
            self.nodes.insert(key, node);
            parent = Some(node);
        }
        parent.unwrap()
    }

    fn frame(&mut self, name: &str) -> u32 {
        if let Some(known) = self.symbols.get(name) {
            return *known;
        }
        let function = self.string(name);
        let frames = self.payload.frames.as_mut().unwrap();
        frames.module.push(0);
        frames.function.push(function);
        frames.file.push(0);
        frames.line.push(0);
        let frame = frames.module.len() as u32 - 1;
        self.symbols.insert(name.to_owned(), frame);
        frame
    }
}

/// A recent moment that is a multiple of ten seconds.
pub(crate) fn recent_ms() -> u64 {
    let now = crate::base::clock::now_ms();
    now - now % 10_000 - 3_600_000
}
