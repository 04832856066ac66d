//! Made-up windows: whatever a test wants an agent to have seen.

use std::collections::HashMap;

use tephra_proto::codec;
use tephra_proto::limits::WINDOW_MS;
use tephra_proto::v1::{
    FrameTable, Kind, Label, LabelSet, LinkTable, ProfileType, PushHeader, PushRequest, Series, SpanTable, StackTree,
    WindowPayload,
};

/// Nanoseconds of CPU that one sample stands for at 99 Hz.
pub const CPU_PERIOD: u64 = 10_101_010;

/// Mean bytes between two allocation samples.
pub const HEAP_PERIOD: u64 = 512 * 1024;

/// Blocks that a sampled live one stands for.
pub const LIVE_OBJECTS: u64 = 64;

/// Some agent in some process: numbers its windows.
#[derive(Debug, Clone)]
pub struct Agent {
    /// 16 bytes that name it.
    pub id: [u8; 16],
    /// The service it says it is in.
    pub service: String,
    /// The process it says it is.
    pub instance: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    sequence: u64,
}

impl Agent {
    /// An agent in `service`; `number` tells it from others.
    pub fn new(service: &str, number: u8) -> Self {
        let instance = format!("host-{number}");
        Self { id: [number.max(1); 16], service: service.to_owned(), instance, labels: Vec::new(), sequence: 0 }
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Numbers a window as this agent's next and makes it ready to push.
    pub fn seal(&mut self, start_ms: u64, window: &Window) -> PushRequest {
        let header = self.next_header(start_ms, window);
        request(header, &window.payload())
    }

    /// Numbers a window as this agent's next, for callers that pack payloads themselves.
    pub fn next_header(&mut self, start_ms: u64, window: &Window) -> PushHeader {
        self.sequence += 1;
        self.header(start_ms, window)
    }

    /// The header of a window that was numbered for another agent, as this one's next.
    pub fn renumbered(&mut self, start_ms: u64, header: PushHeader) -> PushHeader {
        self.sequence += 1;
        let empty = self.header(start_ms, &Window::default());
        PushHeader { sampled: header.sampled, process_cpu_ns: header.process_cpu_ns, ..empty }
    }

    fn header(&self, start_ms: u64, window: &Window) -> PushHeader {
        PushHeader {
            agent_id: self.id.to_vec(),
            boot_id: 1,
            sequence: self.sequence,
            service: self.service.clone(),
            instance: self.instance.clone(),
            labels: self
                .labels
                .iter()
                .map(|(name, value)| Label { name: name.clone(), value: value.clone() })
                .collect(),
            window_start_unix_ms: start_ms,
            window_duration_ms: WINDOW_MS,
            sampled: window.samples(),
            drops: Vec::new(),
            process_cpu_ns: window.cpu_ns(),
            agent_version: "0.0.0-test".to_owned(),
            coarsened: None,
        }
    }
}

/// The start of the last window that was over `ago_ms` ago, as an agent's clock aligns it.
pub fn aligned(now_ms: u64, ago_ms: u64) -> u64 {
    let window = u64::from(WINDOW_MS);
    (now_ms.saturating_sub(ago_ms) / window).saturating_sub(1) * window
}

/// What one window holds, built row by row. Frames are functions with names, as an import has them.
#[derive(Debug, Clone, Default)]
pub struct Window {
    payload: WindowPayload,
    cpu: Series,
    alloc: Series,
    live_space: Series,
    live_objects: Series,
    strings: HashMap<String, u32>,
    frames: HashMap<u32, u32>,
    nodes: HashMap<(Option<u32>, u32), u32>,
    links: HashMap<Link, u32>,
}

/// The trace a row or span belongs to.
pub type Link = ([u8; 16], [u8; 8]);

impl Window {
    /// An empty one.
    pub fn new() -> Self {
        let strings = vec![String::new()];
        let payload = WindowPayload {
            strings,
            frames: Some(FrameTable::default()),
            stacks: Some(StackTree::default()),
            label_sets: vec![LabelSet::default()],
            ..WindowPayload::default()
        };
        let series = |name: &str, unit: &str, kind: Kind, period, scale| Series {
            r#type: Some(ProfileType { name: name.into(), unit: unit.into(), kind: kind.into(), period }),
            scale,
            ..Series::default()
        };
        Self {
            payload,
            cpu: series("cpu", "nanoseconds", Kind::Counter, CPU_PERIOD, CPU_PERIOD),
            alloc: series("alloc_space", "bytes", Kind::Counter, HEAP_PERIOD, 1),
            live_space: series("inuse_space", "bytes", Kind::Gauge, HEAP_PERIOD, 1),
            live_objects: series("inuse_objects", "count", Kind::Gauge, HEAP_PERIOD, 1),
            ..Self::default()
        }
    }

    /// Adds CPU samples of one stack, given root first.
    #[must_use]
    pub fn cpu(self, stack: &[&str], samples: u64) -> Self {
        self.cpu_in(stack, samples, None)
    }

    /// Adds CPU samples that worked for a trace.
    #[must_use]
    pub fn cpu_in(mut self, stack: &[&str], samples: u64, link: Option<Link>) -> Self {
        let leaf = self.stack(stack);
        let link = self.link(link);
        self.cpu.stack.push(leaf);
        self.cpu.value.push(samples);
        self.cpu.link.push(link);
        self
    }

    /// Adds one allocation sample of so many bytes.
    #[must_use]
    pub fn alloc(self, stack: &[&str], bytes: u64) -> Self {
        self.alloc_in(stack, bytes, None)
    }

    /// Adds one allocation sample that was made for a trace.
    #[must_use]
    pub fn alloc_in(mut self, stack: &[&str], bytes: u64, link: Option<Link>) -> Self {
        let leaf = self.stack(stack);
        let link = self.link(link);
        self.alloc.stack.push(leaf);
        self.alloc.value.push(bytes);
        self.alloc.samples.push(1);
        self.alloc.link.push(link);
        self
    }

    /// Adds sampled blocks that one stack allocated and that live at the window's end. Each stands for [`HEAP_PERIOD`] bytes
    /// in [`LIVE_OBJECTS`] blocks.
    #[must_use]
    pub fn live(mut self, stack: &[&str], sampled: u32) -> Self {
        let leaf = self.stack(stack);
        for (series, each) in [(&mut self.live_space, HEAP_PERIOD), (&mut self.live_objects, LIVE_OBJECTS)] {
            series.stack.push(leaf);
            series.value.push(u64::from(sampled) * each);
            series.samples.push(sampled);
        }
        self
    }

    /// Adds an entry span that began with the window.
    #[must_use]
    pub fn span(mut self, route: &str, duration_us: u64, link: Link) -> Self {
        let route = self.string(route);
        let link = self.link(Some(link)) - 1;
        let spans = self.payload.spans.get_or_insert_with(SpanTable::default);
        spans.link.push(link);
        spans.route.push(route);
        spans.start_ms.push(0);
        spans.duration_us.push(duration_us);
        spans.status.push(1);
        spans.weight.push(1.0);
        self
    }

    /// CPU and allocation samples in it. Blocks that live were counted when they were allocated.
    pub fn samples(&self) -> u64 {
        self.cpu.value.iter().sum::<u64>() + self.alloc.samples.iter().map(|n| u64::from(*n)).sum::<u64>()
    }

    /// The payload, for tests that want to damage it.
    pub fn payload(&self) -> WindowPayload {
        let mut payload = self.payload.clone();
        let series = [&self.cpu, &self.alloc, &self.live_space, &self.live_objects];
        payload.series = series.into_iter().filter(|series| !series.stack.is_empty()).cloned().collect();
        payload
    }

    fn cpu_ns(&self) -> u64 {
        self.cpu.value.iter().sum::<u64>() * CPU_PERIOD
    }

    fn stack(&mut self, names: &[&str]) -> u32 {
        let mut parent = None;
        for name in names {
            let frame = self.frame(name);
            parent = Some(self.node(parent, frame));
        }
        parent.expect("a stack has frames")
    }

    fn node(&mut self, parent: Option<u32>, frame: u32) -> u32 {
        let stacks = self.payload.stacks.get_or_insert_with(StackTree::default);
        *self.nodes.entry((parent, frame)).or_insert_with(|| {
            let node = stacks.parent.len() as u32;
            stacks.parent.push(parent.map_or(0, |parent| node - parent));
            stacks.frame.push(frame);
            node
        })
    }

    fn frame(&mut self, name: &str) -> u32 {
        let function = self.string(name);
        let file = self.string("src/lib.rs");
        let frames = self.payload.frames.get_or_insert_with(FrameTable::default);
        *self.frames.entry(function).or_insert_with(|| {
            frames.module.push(0);
            frames.function.push(function);
            frames.file.push(file);
            frames.line.push(1);
            frames.module.len() as u32 - 1
        })
    }

    fn string(&mut self, text: &str) -> u32 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let index = self.payload.strings.len() as u32;
        self.payload.strings.push(text.to_owned());
        self.strings.insert(text.to_owned(), index);
        index
    }

    /// Position plus one; 0 for none.
    fn link(&mut self, link: Option<Link>) -> u32 {
        let Some(link) = link else { return 0 };
        let links = self.payload.links.get_or_insert_with(LinkTable::default);
        *self.links.entry(link).or_insert_with(|| {
            links.trace_ids.extend(link.0);
            links.span_ids.extend(link.1);
            links.span_ids.len() as u32 / 8
        })
    }
}

/// Packs any payload behind any header.
///
/// # Panics
/// When it cannot be compressed.
pub fn request(header: PushHeader, payload: &WindowPayload) -> PushRequest {
    let bytes = prost::Message::encode_to_vec(payload);
    let payload = codec::compress(&bytes).expect("memory to compress in").into();
    PushRequest { header: Some(header), payload, payload_bytes: bytes.len() as u32 }
}
