//! Stands in for the sampler where threads have no CPU timers of their own: the `pprof` crate's process-wide timer.
//!
//! It gives CPU profiles with names and nothing else: no trace labels, no heap, and less exact under many threads. Same
//! functions as the sampler it replaces, chosen when the agent is compiled.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pprof::{Frames, ProfilerGuard};

use crate::clock;
use crate::labels::Labels;
use crate::locate::{Locate, Symbol};
use crate::sample::{RawSample, SampleKind};

pub(crate) mod context;
pub(crate) mod wakeup;

/// Reading a profile stops and restarts the timer, so it is not done more often than this.
const HARVEST_EVERY: Duration = Duration::from_secs(1);

/// Distinct positions in code: beyond these, stacks go without names.
const SYMBOLS_MAX: usize = 1 << 16;

/// How to sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SamplerConfig {
    pub(crate) hz: u32,
    pub(crate) depth: usize,
}

/// Why sampling could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SamplerError {
    #[error("the fallback sampler did not start: {0}")]
    Pprof(#[from] pprof::Error),
}

/// What was sampled; most of it only the real sampler can tell.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) cpu_taken: u64,
    pub(crate) alloc_taken: u64,
    pub(crate) wait_taken: u64,
    pub(crate) dropped_busy: u64,
    pub(crate) dropped_ring_full: u64,
    pub(crate) truncated: u64,
    pub(crate) timer_failures: u64,
    pub(crate) sampled_cpu_ns: u64,
    pub(crate) handler_ns: u64,
    pub(crate) alloc_ns: u64,
    pub(crate) wait_ns: u64,
    pub(crate) threads: u64,
    pub(crate) modules_without_tables: u64,
}

/// How long samples kept their threads: not known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Durations;

impl Durations {
    pub(crate) fn read() -> Self {
        Self
    }

    pub(crate) fn since(&self, _: &Self) -> Self {
        Self
    }

    pub(crate) fn quantile(&self, _: f64) -> Duration {
        Duration::ZERO
    }
}

pub(crate) use crate::process::cpu_ns as process_cpu_ns;

/// The clock is too coarse to tell the agent thread's part.
pub(crate) use crate::process::cpu_ns as others_cpu_ns;

/// Names by number: the "addresses" of this sampler's stacks.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModuleMap {
    symbols: Vec<Symbol>,
}

/// A file that is mapped; the fallback knows none.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) build_id: tephra_proto::ids::BuildId,
    pub(crate) name: String,
    pub(crate) path: std::path::PathBuf,
}

impl ModuleMap {
    pub(crate) fn modules(&self) -> &[Module] {
        &[]
    }
}

impl Locate for ModuleMap {
    fn locate(&self, _: u64) -> Option<(usize, u64)> {
        None
    }

    fn module(&self, _: usize) -> Option<(&[u8], &str)> {
        None
    }

    fn symbol(&self, pc: u64) -> Option<&Symbol> {
        self.symbols.get(usize::try_from(pc).ok()?)
    }
}

/// Benchmarks and tests of the sampler have nothing to do here.
#[cfg(feature = "test-hooks")]
pub mod hooks {}

/// Registers of the running code, which this sampler does not need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registers;

impl Registers {
    pub(crate) fn here() -> Self {
        Self
    }

    pub(crate) fn sp(&self) -> u64 {
        0
    }
}

/// This sampler has no tables of its own.
pub(crate) fn limit_tables(_: usize) {}

pub(crate) fn wait_for_turn() {}

/// There is nothing but a process's timer.
pub(crate) fn has_process_timer() -> bool {
    true
}

/// Allocations are not sampled.
pub(crate) fn record_alloc(_: Registers, _: u64, _: f64, _: Range<u64>) -> Option<u64> {
    None
}

/// Tasks that wait are not sampled.
pub(crate) const KNOWS_WAITS: bool = false;

pub(crate) fn copy_stack(_: &Registers, _: u64, _: &mut [u64]) -> usize {
    0
}

pub(crate) fn record_place(_: &Registers, _: &[u64], _: u64) -> Option<u64> {
    None
}

pub(crate) fn record_wait(_: &RawSample<'_>) {}

/// Nanoseconds of a clock that only moves forward.
pub(crate) fn monotonic_ns() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

pub(crate) use crate::clock::unix_ms as unix_time_ms;

/// What all threads may read.
#[derive(Default)]
struct Shared {
    counters: Counters,
    map: Arc<ModuleMap>,
    numbers: HashMap<Symbol, u64>,
    /// Stacks that were harvested and not yet drained, with their counts.
    pending: Vec<(Vec<u64>, u32)>,
}

static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

thread_local! {
    /// The running profiler, on the agent thread.
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

struct Running {
    config: SamplerConfig,
    /// `None` while paused.
    guard: Option<ProfilerGuard<'static>>,
    harvested: Instant,
}

fn with_shared<T>(work: impl FnOnce(&mut Shared) -> T) -> T {
    work(SHARED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// The process that sampling was started in; 0: none.
static STARTED_IN: AtomicU32 = AtomicU32::new(0);

/// Whether this process was forked off one in which sampling had been started.
pub(crate) fn in_child() -> bool {
    let started_in = STARTED_IN.load(Ordering::Relaxed);
    started_in != 0 && started_in != std::process::id()
}

pub(crate) fn start(config: SamplerConfig) -> Result<(), SamplerError> {
    STARTED_IN.store(std::process::id(), Ordering::Relaxed);
    let guard = Some(ProfilerGuard::new(config.hz as i32)?);
    RUNNING.set(Some(Running { config, guard, harvested: Instant::now() }));
    Ok(())
}

pub(crate) fn stop() {
    RUNNING.take();
}

pub(crate) fn pause(paused: bool) {
    RUNNING.with_borrow_mut(|running| {
        let Some(running) = running else { return };
        match (paused, &running.guard) {
            (true, Some(_)) => running.harvest(),
            (false, None) => running.guard = ProfilerGuard::new(running.config.hz as i32).ok(),
            _ => {}
        }
        if paused {
            running.guard = None;
        }
    });
}

/// Nothing tells when the process begins to work.
pub(crate) fn rest() -> bool {
    false
}

pub(crate) fn set_hz(hz: u32) {
    RUNNING.with_borrow_mut(|running| {
        if let Some(running) = running {
            running.config.hz = hz;
        }
    });
}

pub(crate) fn tick() -> bool {
    RUNNING.with_borrow_mut(|running| {
        if let Some(running) = running
            && running.guard.is_some()
            && running.harvested.elapsed() >= HARVEST_EVERY
        {
            running.harvest();
            // Dropped first: there is one profiler per process, and a new one starts empty.
            running.guard = None;
            running.guard = ProfilerGuard::new(running.config.hz as i32).ok();
        }
    });
    false
}

pub(crate) fn drain(each: &mut dyn FnMut(&RawSample<'_>)) {
    let pending = with_shared(|shared| std::mem::take(&mut shared.pending));
    let time_ms = clock::unix_ms();
    for (stack, periods) in &pending {
        let stack_hash = std::hash::BuildHasher::hash_one(&Fixed::default(), stack);
        let kind = SampleKind::Cpu { periods: *periods };
        each(&RawSample {
            kind,
            time_ms,
            tid: 0,
            context: None,
            labels: Labels::NONE,
            stack,
            stack_hash,
            truncated: false,
        });
    }
}

/// The same stack has the same hash for as long as the process lives.
type Fixed = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

pub(crate) fn modules() -> Arc<ModuleMap> {
    with_shared(|shared| Arc::clone(&shared.map))
}

/// The `pprof` crate names functions by itself, so no file is asked for its exports.
pub(crate) fn resolve(_: &std::path::Path, exported: &[std::ffi::CString]) -> Vec<Option<Range<u64>>> {
    vec![None; exported.len()]
}

pub(crate) fn counters() -> Counters {
    with_shared(|shared| shared.counters)
}

impl Running {
    /// Moves what the profiler counted to where `drain` finds it.
    fn harvest(&mut self) {
        self.harvested = Instant::now();
        let Some(report) = self.guard.as_ref().and_then(|guard| guard.report().build().ok()) else { return };
        with_shared(|shared| {
            let mut map = ModuleMap::clone(&shared.map);
            let period_ns = 1_000_000_000 / u64::from(self.config.hz.max(1));
            for (frames, count) in report.data {
                let stack = shared.number(frames, self.config.depth, &mut map);
                let periods = u32::try_from(count).unwrap_or_default();
                if periods > 0 && !stack.is_empty() {
                    shared.counters.cpu_taken += 1;
                    shared.counters.sampled_cpu_ns += u64::from(periods) * period_ns;
                    shared.pending.push((stack, periods));
                }
            }
            shared.map = Arc::new(map);
        });
    }
}

impl Shared {
    /// A stack as numbers of names, leaf first, without the signal handler's own frames.
    fn number(&mut self, frames: Frames, depth: usize, map: &mut ModuleMap) -> Vec<u64> {
        let is_handler =
            |inlined: &Vec<pprof::Symbol>| inlined.iter().any(|symbol| symbol.name().contains("perf_signal_handler"));
        // The handler's caller is the kernel's trampoline.
        let own = frames.frames.iter().position(is_handler).map_or(0, |handler| handler + 2);
        let symbols = frames.frames.into_iter().skip(own).flatten().take(depth);
        symbols
            .map(|symbol| {
                let (function, file, line) = (symbol.name(), symbol.filename().into_owned(), symbol.lineno());
                let symbol = Symbol { function, file, line };
                if let Some(&known) = self.numbers.get(&symbol) {
                    return known;
                }
                let number = map.symbols.len() as u64;
                if map.symbols.len() < SYMBOLS_MAX {
                    map.symbols.push(symbol.clone());
                    self.numbers.insert(symbol, number);
                }
                number
            })
            .collect()
    }
}
