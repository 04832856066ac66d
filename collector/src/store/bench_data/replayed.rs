//! Recorded windows, as if many instances had sent such windows for hours: for benchmarks of what real profiles weigh.
//!
//! Each instance sends, window by window, one of those that were recorded. How often a stack was seen is drawn anew around what was
//! recorded (Poisson), and traces get ids of their own. What is written is what a flush of arrived windows and the first merge write, by the
//! same code.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tephra_proto::ids::{InstanceName, SpanId, TraceId};
use tephra_proto::v1;

use super::made_up::Random;
use crate::base::clock::now_ms;
use crate::profile::decode::{self, Lateness, Rejection, Window};
use crate::profile::model::{Kind, Link};
use crate::store::catalog::{Inputs, NewSegment, Swap};
use crate::store::columnar::Part;
use crate::store::compact::levels::LEVELS;
use crate::store::compact::{Output, OutputError, PartBuilder, Rollup};
use crate::store::{Store, StoreError};

/// The windows of one service.
#[derive(Debug, Clone)]
pub struct Recorded {
    windows: Arc<Vec<Window>>,
    /// What becomes of them at the levels of profiles, where that is less: one for one.
    counts: Option<Arc<Vec<Window>>>,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Windows.
    pub windows: u64,
    /// Samples of CPU and of allocation.
    pub samples: u64,
    /// Rows of samples with a trace.
    pub traced: u64,
    /// Entry spans that were kept.
    pub spans: u64,
}

/// Memory of a part, as compaction has it by default.
const PART_BYTES: usize = (512 << 20) / 6;
/// Size of a segment, about.
const SEGMENT_BYTES: usize = 64 << 20;
const WINDOW_MS: u64 = 10_000;
const HOUR_MS: u64 = 3_600_000;

impl Recorded {
    /// Reads what agents sent, by service.
    ///
    /// # Errors
    /// When a window is not valid.
    pub fn read(requests: &[v1::PushRequest]) -> Result<Vec<Self>, Rejection> {
        let mut services: BTreeMap<String, Vec<Window>> = BTreeMap::new();
        for request in requests {
            let header = request.header.as_ref().ok_or(Rejection::NoHeader)?;
            let window = decode::decode(header, &request.payload, request.payload_bytes, Lateness::Stored)?;
            services.entry(header.service.clone()).or_default().push(window);
        }
        Ok(services.into_values().map(|windows| Self { windows: windows.into(), counts: None }).collect())
    }

    /// With what is asked of requests alone: counts, examples, and samples with a trace. Profiles take as long to write, and answer none of it.
    #[must_use]
    pub fn without_profiles(self) -> Self {
        let mut windows = self.windows.to_vec();
        windows
            .iter_mut()
            .flat_map(|window| &mut window.series)
            .for_each(|of| of.rows.retain(|row| row.link.is_some()));
        let counts = self.windows.iter().map(|window| Window { series: Vec::new(), ..window.clone() });
        Self { counts: Some(Arc::new(counts.collect())), windows: windows.into() }
    }

    /// Writes an hour, from `from_ms` on, of so many instances: values, and where asked traces and spans, which are many times as large.
    ///
    /// # Errors
    /// When the disk or the catalog fail.
    pub async fn write_hour(
        &self,
        store: &Arc<Store>,
        from_ms: u64,
        instances: u32,
        traces: bool,
    ) -> Result<Written, StoreError> {
        let (recorded, keeper) = (self.clone(), store.clone());
        let work = move || recorded.hour(&keeper, from_ms, instances, traces);
        let (outputs, written) =
            tokio::task::spawn_blocking(work).await?.map_err(|error| StoreError::Task(error.to_string()))?;
        let then = Inputs::Replace;
        store.catalog().count_requests_since(from_ms).await.map_err(StoreError::from)?;
        store.catalog().swap(&Swap { inputs: Vec::new(), then, outputs, now_ms: now_ms(), lease: None }).await?;
        Ok(written)
    }

    fn hour(
        &self,
        store: &Store,
        from_ms: u64,
        instances: u32,
        traces: bool,
    ) -> Result<(Vec<NewSegment>, Written), OutputError> {
        let service = self.windows.first().map_or("", |window| window.header.service.as_str());
        let mut written = Written::default();
        let mut outputs = Vec::new();
        let rollups = [Some(Rollup::Level(LEVELS[0])), traces.then_some(Rollup::Traces)];
        for rollup in rollups.into_iter().flatten() {
            // The same windows for both.
            let mut random = Random(from_ms ^ 0x5eed);
            let mut output = Output::new(store.bulk().as_ref(), rollup, SEGMENT_BYTES, store.provenance());
            let mut builder = PartBuilder::new(service, rollup);
            for start_ms in (from_ms..from_ms + HOUR_MS).step_by(WINDOW_MS as usize) {
                for instance in 0..instances {
                    let Some(window) = self.vary(start_ms, instance, rollup == Rollup::Traces, &mut random) else {
                        continue;
                    };
                    builder.add_window(&window);
                    written.count(&window, rollup);
                    if builder.bytes() >= PART_BYTES {
                        let next = builder.successor();
                        let part = thinned(std::mem::replace(&mut builder, next));
                        written.spans += part.spans.len() as u64;
                        output.add(&part)?;
                    }
                }
            }
            if !builder.is_empty() {
                let part = thinned(builder);
                written.spans += part.spans.len() as u64;
                output.add(&part)?;
            }
            outputs.extend(output.finish()?);
        }
        Ok((outputs, written))
    }

    /// One of the windows, as that instance might have sent it.
    fn vary(&self, start_ms: u64, instance: u32, traces: bool, random: &mut Random) -> Option<Window> {
        // What each window draws does not change what the next one does.
        let mut random = Random(random.next());
        let random = &mut random;
        let windows = self.counts.as_ref().filter(|_| !traces).unwrap_or(&self.windows);
        let recorded = windows.get((random.next() % windows.len().max(1) as u64) as usize)?;
        let mut window = recorded.clone();
        window.header.start_ms = start_ms;
        window.header.instance = InstanceName::parse(&format!("shop-{instance:03}")).ok()?;
        for series in &mut window.series {
            // What is in use changes little between windows; what is counted is counted anew.
            if series.profile_type.kind == Kind::Gauge {
                continue;
            }
            for row in &mut series.rows {
                let samples = random.poisson(row.samples as f64);
                row.value = (u128::from(row.value) * u128::from(samples) / u128::from(row.samples.max(1))) as u64;
                row.samples = samples;
            }
            series.rows.retain(|row| row.samples > 0);
        }
        if !traces {
            return Some(window);
        }
        let mut ids: HashMap<TraceId, TraceId> = HashMap::new();
        let mut fresh = |link: &mut Link| {
            let known = *ids.entry(link.trace_id).or_insert_with(|| {
                let half = |n: u64| (n | 1).to_be_bytes();
                let mut id = [0; 16];
                id[..8].copy_from_slice(&half(random.next()));
                id[8..].copy_from_slice(&half(random.next()));
                TraceId::from_bytes(id).unwrap_or(link.trace_id)
            });
            link.trace_id = known;
            link.span_id = SpanId::from_bytes((random.next() | 1).to_be_bytes());
        };
        window.links.iter_mut().for_each(&mut fresh);
        for span in &mut window.spans {
            fresh(&mut span.link);
            span.start_ms = (span.start_ms + start_ms).saturating_sub(recorded.header.start_ms);
        }
        Some(window)
    }
}

/// A part as merges leave it.
fn thinned(mut builder: PartBuilder) -> Part {
    builder.thin_examples(0, &HashSet::new());
    builder.finish()
}

impl Written {
    fn count(&mut self, window: &Window, rollup: Rollup) {
        if rollup == Rollup::Traces {
            let rows = window.series.iter().flat_map(|series| &series.rows);
            self.traced += rows.filter(|row| row.link.is_some()).count() as u64;
            return;
        }
        self.windows += 1;
        let sampled = |name: &str| ["cpu", "alloc_space"].contains(&name);
        let series = window.series.iter().filter(|series| sampled(&series.profile_type.name));
        self.samples += series.map(decode::Series::samples).sum::<u64>();
    }

    /// With more.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            windows: self.windows + other.windows,
            samples: self.samples + other.samples,
            traced: self.traced + other.traced,
            spans: self.spans + other.spans,
        }
    }
}
