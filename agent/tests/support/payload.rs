//! A window as a collector reads it: indices followed, columns put together.

use prost::Message;
use tephra_proto::v1::{PushHeader, PushRequest, SpanStatus, WindowPayload};
use tephra_proto::{codec, limits, packing};

/// One window, decoded.
pub struct Window {
    pub header: PushHeader,
    pub payload: WindowPayload,
}

/// One row of one series.
#[derive(Debug, Clone)]
pub struct Row {
    /// Module name and address, leaf first.
    pub stack: Vec<(String, u64)>,
    pub value: u64,
    pub samples: u64,
    pub trace_id: Option<[u8; 16]>,
    pub span_id: Option<[u8; 8]>,
    /// By name.
    pub labels: Vec<(String, String)>,
    pub truncated: bool,
}

/// One request that was told of by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub route: String,
    /// From the window's start.
    pub start_ms: i64,
    pub duration_us: u64,
    pub status: SpanStatus,
    pub weight: f32,
}

/// The requests of one route that ended alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Requests {
    pub route: String,
    pub status: SpanStatus,
    pub sum_us: u64,
    pub max_us: u64,
    /// Bins and how many are in each.
    pub bins: Vec<(u32, u64)>,
}

impl Requests {
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|(_, count)| count).sum()
    }
}

impl Window {
    /// The requests that it tells of one by one.
    pub fn spans(&self) -> Vec<Span> {
        let (table, links) = (self.payload.spans.as_ref().unwrap(), self.payload.links.as_ref().unwrap());
        (0..table.link.len())
            .map(|at| Span {
                trace_id: links.trace_ids.chunks_exact(16).nth(table.link[at] as usize).unwrap().try_into().unwrap(),
                span_id: links.span_ids.chunks_exact(8).nth(table.link[at] as usize).unwrap().try_into().unwrap(),
                route: self.payload.strings[table.route[at] as usize].clone(),
                start_ms: table.start_ms[at],
                duration_us: table.duration_us[at],
                status: SpanStatus::try_from(table.status[at]).unwrap(),
                weight: table.weight[at],
            })
            .collect()
    }

    /// All requests, by route and status.
    pub fn requests(&self) -> Vec<Requests> {
        let table = self.payload.requests.as_ref().unwrap();
        let mut bins = table.bin_step.iter().zip(&table.count);
        (0..table.route.len())
            .map(|at| Requests {
                route: self.payload.strings[table.route[at] as usize].clone(),
                status: SpanStatus::try_from(table.status[at]).unwrap(),
                sum_us: table.sum_us[at],
                max_us: table.max_us[at],
                bins: bins
                    .by_ref()
                    .take(table.bins[at] as usize)
                    .scan(0, |bin, (step, count)| {
                        *bin += step;
                        Some((*bin, *count))
                    })
                    .collect(),
            })
            .collect()
    }

    pub fn read(request: &PushRequest) -> Self {
        let declared = request.payload_bytes as usize;
        let payload = codec::decompress_exact(&request.payload, declared, limits::PAYLOAD_BYTES_MAX).unwrap();
        let mut payload = WindowPayload::decode(&*payload).unwrap();
        packing::unpack(&mut payload).unwrap();
        Self { header: request.header.clone().unwrap(), payload }
    }

    /// The rows of one profile type.
    pub fn rows(&self, profile_type: &str) -> Vec<Row> {
        let (stacks, links) = (self.payload.stacks.as_ref().unwrap(), self.payload.links.as_ref().unwrap());
        let frames = self.frames();
        let named = |series: &&tephra_proto::v1::Series| series.r#type.as_ref().unwrap().name == profile_type;
        let Some(series) = self.payload.series.iter().find(named) else { return Vec::new() };
        let text = |at: &u32| self.payload.strings[*at as usize].clone();
        let labels = |set: usize| {
            let set = &self.payload.label_sets[set];
            set.name.iter().map(text).zip(set.value.iter().map(text)).collect()
        };
        (0..series.stack.len())
            .map(|i| {
                let (mut stack, mut node) = (Vec::new(), series.stack[i]);
                loop {
                    stack.push(frames[stacks.frame[node as usize] as usize].clone());
                    match stacks.parent[node as usize] {
                        0 => break,
                        back => node -= back,
                    }
                }
                let link = series.link.get(i).copied().unwrap_or_default() as usize;
                let id = |link: usize| links.trace_ids.chunks_exact(16).nth(link).unwrap().try_into().unwrap();
                let span = |link: usize| links.span_ids.chunks_exact(8).nth(link).unwrap().try_into().unwrap();
                Row {
                    stack,
                    value: series.value[i],
                    samples: series.samples.get(i).map_or(series.value[i], |samples| u64::from(*samples)),
                    trace_id: link.checked_sub(1).map(id),
                    span_id: link.checked_sub(1).map(span),
                    labels: labels(series.label_set.get(i).copied().unwrap_or_default() as usize),
                    truncated: stacks.truncated.contains(&node),
                }
            })
            .collect()
    }

    /// Samples in the payload: both allocation series hold the same ones.
    pub fn stored(&self) -> u64 {
        ["cpu", "alloc_space", "wait"].iter().flat_map(|name| self.rows(name)).map(|row| row.samples).sum()
    }

    pub fn dropped(&self) -> u64 {
        self.header.drops.iter().map(|drop| drop.samples).sum()
    }

    fn frames(&self) -> Vec<(String, u64)> {
        let table = self.payload.frames.as_ref().unwrap();
        let mut deltas = table.address_delta.iter();
        let mut address = 0u64;
        let frame = |&module: &u32| match module {
            0 => (String::new(), 0),
            _ => {
                address = address.wrapping_add_signed(*deltas.next().unwrap());
                let name = self.payload.modules[module as usize - 1].name as usize;
                (self.payload.strings[name].clone(), address)
            }
        };
        table.module.iter().map(frame).collect()
    }
}
