//! The agent thread: looks after the samplers, fills the window, seals it when its time is over.

mod pace;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use tephra_proto::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_COMPRESSED_BYTES_MAX};
use tephra_proto::v1::{DropCount, DropReason, Label, PushHeader, PushRequest};
use tephra_proto::{codec, packing};

use self::pace::{Look, Pace};
use crate::clock::{self, Slot};
use crate::error::StartError;
use crate::export::{Binaries, Binary, Lost, Queue, Sealed};
use crate::governor::{Allocations, Governor, HeapGovernor, Usage};
use crate::heap::{self, HeapConfig, PerClass};
use crate::labels;
use crate::notice::Notice;
use crate::sampler::{self, ModuleMap, SamplerConfig, wakeup};
use crate::settings::Settings;
use crate::stats::{Board, Drops, Stats};
use crate::window::{Coarsened, Encoding, LiveHeap, Window};
use crate::{random, spans};

pub(crate) const THREAD_NAME: &str = "tephra-agent";

/// What the handle asks of the agent thread.
#[derive(Debug)]
pub(crate) enum Command {
    Pause(bool),
    /// Seal what there is, and say so.
    Flush(Sender<()>),
}

/// The handle's end of the commands, which wakes the agent thread for each. Dropped, it tells the agent thread to stop.
#[derive(Debug)]
pub(crate) struct Commands(Option<Sender<Command>>);

impl Commands {
    /// Both ends.
    pub(crate) fn channel() -> (Self, Receiver<Command>) {
        let (sender, receiver) = mpsc::channel();
        (Self(Some(sender)), receiver)
    }

    /// Never waits. An agent that failed has nobody to listen, and is off already.
    pub(crate) fn send(&self, command: Command) {
        if let Some(commands) = &self.0 {
            let _ = commands.send(command);
        }
        wakeup::ring();
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        // First: whoever wakes finds it gone.
        self.0 = None;
        wakeup::ring();
    }
}

/// Why a window is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seal {
    /// Its time is over.
    Whole,
    /// The agent stops.
    Last,
    /// More of the same window will follow.
    Part,
}

/// The agent thread's state.
pub(crate) struct Worker {
    settings: Settings,
    encoding: Encoding,
    queue: Arc<Queue>,
    binaries: Arc<Binaries>,
    board: Arc<Board>,
    agent_id: [u8; 16],
    boot_id: u64,
    sequence: u64,
    window: Window,
    modules: Arc<ModuleMap>,
    /// Since when, and how much CPU time the process had used until then.
    paused: Option<(Instant, u64)>,
    governor: Governor,
    heap_governor: HeapGovernor,
    /// What had been used when the governors were last asked.
    judged: Judged,
    /// Labels that windows sealed so far left out.
    coarsened: Coarsened,
    /// Threads without timers were mentioned.
    told_of_timers: bool,
    /// Lost on this side of the queue, in total.
    lost: Lost,
    /// As they stood when the last window was sealed.
    reported: Lost,
    reported_cpu_ns: u64,
    /// As they stood when the agent started: they count for the process.
    initial: sampler::Counters,
    initial_durations: sampler::Durations,
    initial_cpu_ns: u64,
    initial_heap_full: u64,
    initial_left_out: u64,
    initial_labels_refused: u64,
}

impl Worker {
    /// Starts the samplers. Called on the agent thread.
    pub(crate) fn start(
        settings: Settings,
        queue: &Arc<Queue>,
        binaries: Arc<Binaries>,
        board: Arc<Board>,
    ) -> Result<Self, StartError> {
        let initial = sampler::counters();
        let initial_durations = sampler::Durations::read();
        let initial_cpu_ns = sampler::process_cpu_ns();
        let initial_heap_full = heap::counters().table_full;
        sampler::limit_tables(settings.tables_bytes);
        sampler::start(SamplerConfig { hz: settings.cpu_hz, depth: settings.stack_depth })
            .map_err(|why| StartError::Sampler { reason: why.to_string() })?;
        let mut agent_id = [0; 16];
        random::fill(&mut agent_id);
        let encoding = Encoding {
            cpu_period_ns: 1_000_000_000 / u64::from(settings.cpu_hz),
            heap_mean_bytes: settings.heap_mean_bytes,
        };
        let slot = Slot::at(clock::unix_ms(), settings.window_ms);
        let mut worker = Self {
            window: Window::new(slot, settings.window_bytes),
            governor: Governor::new(settings.cpu_hz),
            heap_governor: HeapGovernor::new(settings.heap_mean_bytes),
            judged: Judged {
                at: Instant::now(),
                process_ns: initial_cpu_ns,
                agent: Duration::ZERO,
                alloc_due: heap::due(),
            },
            coarsened: Coarsened::default(),
            settings,
            encoding,
            queue: Arc::clone(queue),
            binaries,
            board,
            agent_id,
            boot_id: clock::unix_ns(),
            sequence: 0,
            modules: Arc::default(),
            paused: None,
            told_of_timers: false,
            lost: Lost::default(),
            reported: Lost::default(),
            reported_cpu_ns: initial_cpu_ns,
            initial,
            initial_durations,
            initial_cpu_ns,
            initial_heap_full,
            initial_left_out: heap::left_out(),
            initial_labels_refused: labels::refused(),
        };
        worker.sample_heap();
        worker.collect();
        Ok(worker)
    }

    fn sample_heap(&self) {
        if self.settings.heap_mean_bytes > 0 {
            heap::start(HeapConfig { mean_bytes: self.settings.heap_mean_bytes });
            heap::thin(self.heap_governor.halvings());
        }
    }

    /// Works until the other end of `commands` is gone; then seals the last window.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        let used = || Duration::from_nanos(sampler::others_cpu_ns());
        let mut pace = Pace::new(used());
        let mut woke = Instant::now();
        loop {
            let heard = wakeup::heard();
            match commands.try_recv() {
                Ok(Command::Pause(paused)) => {
                    self.pause(paused);
                    pace = Pace::new(used());
                    continue;
                }
                Ok(Command::Flush(done)) => {
                    self.seal(Seal::Part);
                    let _ = done.send(());
                    continue;
                }
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {}
            }
            let now = clock::unix_ms();
            if !self.window.slot().holds(now) {
                self.seal(Seal::Whole);
                continue;
            }
            wakeup::wait(heard, pace.pause().min(self.window.slot().remaining(now)));
            let now = Instant::now();
            let look = pace.woke(now.saturating_duration_since(woke), used());
            woke = now;
            self.look(look, &mut pace);
        }
        // Paused before it is stopped: what it took can still be named.
        self.pause(true);
        self.seal(Seal::Last);
        stop();
    }

    fn look(&mut self, look: Look, pace: &mut Pace) {
        if look == Look::Nothing {
            return;
        }
        if sampler::tick() {
            pace.found_news();
        }
        if look == Look::All {
            self.collect();
        }
        if pace.rests() {
            pace.will_be_called(sampler::rest());
        }
    }

    fn pause(&mut self, paused: bool) {
        sampler::pause(paused);
        // Not only unsampled: allocations are as fast as without an agent.
        if paused {
            heap::stop();
        } else {
            self.sample_heap();
        }
        let now = (Instant::now(), sampler::process_cpu_ns());
        self.paused = if paused {
            self.paused.or(Some(now))
        } else {
            if let Some(since) = self.paused {
                // What was used in the meantime is no measure for what samples may cost.
                self.judged.at += now.0.saturating_duration_since(since.0.max(self.judged.at));
                self.judged.process_ns += now.1.saturating_sub(since.1.max(self.judged.process_ns));
            }
            None
        };
        self.collect();
    }

    /// Moves what the samplers left in their rings into the window.
    fn collect(&mut self) {
        self.refresh_modules();
        let before = self.window.table_full();
        let Self { window, modules, .. } = self;
        sampler::drain(&mut |sample| window.add(sample, &**modules));
        self.lost.add(DropReason::TableFull, self.window.table_full() - before);
        let stats = self.stats();
        self.board.write(stats, self.lost_so_far());
        if stats.timer_failures > 0 && !std::mem::replace(&mut self.told_of_timers, true) {
            static REFUSED: Notice = Notice::new();
            let instead = if sampler::has_process_timer() {
                "one timer of the whole process samples them instead"
            } else {
                "they are not sampled, and their CPU time is reported as unsampled"
            };
            REFUSED.say(&format!("the kernel refuses threads their CPU timers (see `ulimit -i`): {instead}"));
        }
    }

    fn refresh_modules(&mut self) {
        let modules = sampler::modules();
        if Arc::ptr_eq(&modules, &self.modules) {
            return;
        }
        self.binaries.set(modules.modules().iter().map(|module| Binary {
            build_id: module.build_id.as_bytes().to_vec(),
            name: module.name.clone(),
            path: module.path.clone(),
        }));
        self.modules = modules;
        self.window.code_changed();
    }

    /// Ends the window, queues it, and opens the next.
    fn seal(&mut self, why: Seal) {
        // In this order: the stack of whatever block is live now was left in a ring before, and is collected now.
        let reports_heap = self.settings.heap_mean_bytes > 0 && heap::is_in_use();
        let (live_ms, live) = (clock::unix_ms(), if reports_heap { live_heap() } else { LiveHeap::new() });
        self.collect();
        let spans = spans::take();
        let cpu_ns = sampler::process_cpu_ns();
        let stored = self.window.stored();
        // A window in which nothing happened is not sent; that nothing is live on a heap that is known is something.
        let tells_of_rest = why == Seal::Whole && (reports_heap || self.owes());
        if stored > 0 || !spans.is_empty() || tells_of_rest {
            let live = (why != Seal::Part && reports_heap).then_some(&live);
            let mut columns = self.encoding.payload(&mut self.window, live, &spans);
            drop(spans);
            packing::pack(&mut columns);
            let payload = prost::Message::encode_to_vec(&columns);
            // Gone before the bytes are compressed.
            drop(columns);
            match codec::compress(&payload) {
                Ok(mut frame) if payload.len() <= PAYLOAD_BYTES_MAX && frame.len() <= PAYLOAD_COMPRESSED_BYTES_MAX => {
                    let header = self.header(stored, cpu_ns);
                    // It was made with room for content that does not compress.
                    frame.shrink_to_fit();
                    let request = PushRequest {
                        header: Some(header),
                        payload: frame.into(),
                        payload_bytes: payload.len() as u32,
                    };
                    self.queue.push(Sealed { request, stored });
                }
                _ => {
                    self.lost.add(DropReason::TableFull, stored);
                    static TOO_LARGE: Notice = Notice::new();
                    TOO_LARGE
                        .say("a window was too large to send and is dropped; a lower memory_limit keeps them small");
                }
            }
        }
        let slot = Slot::at(clock::unix_ms(), self.settings.window_ms);
        self.coarsened.add(self.window.coarsened());
        let sealed = std::mem::replace(&mut self.window, Window::new(slot, 0));
        self.window = sealed.next(slot, &live, live_ms);
        self.board.write(self.stats(), self.lost_so_far());
        if why == Seal::Whole {
            self.govern();
        }
    }

    /// Whether something was lost that no window has reported yet.
    fn owes(&self) -> bool {
        self.lost_so_far() != self.reported || self.queue.owes()
    }

    /// Changes how densely is sampled between two windows, if the governors say so: a window has one period.
    fn govern(&mut self) {
        let counters = sampler::counters();
        let handler = Duration::from_nanos(counters.handler_ns - self.initial.handler_ns);
        let now = Judged {
            at: Instant::now(),
            process_ns: sampler::process_cpu_ns(),
            agent: handler + self.board.agent_cpu(),
            alloc_due: heap::due(),
        };
        let before = std::mem::replace(&mut self.judged, now);
        let usage = Usage {
            wall: now.at.saturating_duration_since(before.at),
            process: Duration::from_nanos(now.process_ns.saturating_sub(before.process_ns)),
            agent: now.agent.saturating_sub(before.agent),
        };
        if self.governor.judge(usage) {
            let hz = self.governor.hz();
            sampler::set_hz(hz);
            self.encoding.cpu_period_ns = 1_000_000_000 / u64::from(hz);
            static CHANGED: Notice = Notice::new();
            CHANGED.say(&format!("sampling at {hz} Hz now, to use less than 1 % of the process's CPU time"));
        }
        let mut due = now.alloc_due;
        due.iter_mut().zip(before.alloc_due).for_each(|(now, before)| *now = now.saturating_sub(before));
        if self.heap_governor.judge(&Allocations { wall: usage.wall, process: usage.process, due }) {
            heap::thin(self.heap_governor.halvings());
        }
    }

    fn header(&mut self, stored: u64, cpu_ns: u64) -> PushHeader {
        let lost = self.lost_so_far();
        let mut drops = lost.since(&self.reported);
        self.reported = lost;
        drops.merge(self.queue.take_lost());
        let process_cpu_ns = cpu_ns.saturating_sub(self.reported_cpu_ns);
        self.reported_cpu_ns = cpu_ns;
        self.sequence += 1;
        let slot = self.window.slot();
        let labels = self.settings.labels.iter();
        PushHeader {
            agent_id: self.agent_id.to_vec(),
            boot_id: self.boot_id,
            sequence: self.sequence,
            service: self.settings.service.to_string(),
            instance: self.settings.instance.as_str().to_owned(),
            labels: labels.map(|(name, value)| Label { name: name.clone(), value: value.clone() }).collect(),
            window_start_unix_ms: slot.start_ms,
            window_duration_ms: slot.length_ms,
            sampled: stored + drops.iter().map(|(_, samples)| samples).sum::<u64>(),
            drops: drops.iter().map(|(reason, samples)| DropCount { reason: reason.into(), samples }).collect(),
            process_cpu_ns,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            coarsened: self.window.coarsened().to_wire(),
        }
    }

    /// Everything that was lost on this side of the queue since the agent started.
    fn lost_so_far(&self) -> Lost {
        let now = sampler::counters();
        let mut lost = self.lost;
        lost.add(DropReason::Busy, now.dropped_busy - self.initial.dropped_busy);
        lost.add(DropReason::RingFull, now.dropped_ring_full - self.initial.dropped_ring_full);
        lost.add(DropReason::HeapTableFull, heap::counters().table_full - self.initial_heap_full);
        lost
    }

    fn stats(&self) -> Stats {
        let (now, initial) = (sampler::counters(), &self.initial);
        let durations = sampler::Durations::read().since(&self.initial_durations);
        let process_cpu_ns = sampler::process_cpu_ns().saturating_sub(self.initial_cpu_ns);
        Stats {
            sampling: self.paused.is_none(),
            cpu_hz: self.governor.hz(),
            cpu_samples: now.cpu_taken - initial.cpu_taken,
            alloc_samples: now.alloc_taken - initial.alloc_taken,
            alloc_left_out: heap::left_out().saturating_sub(self.initial_left_out),
            truncated: now.truncated - initial.truncated,
            dropped: Drops::default(),
            without_span: self.coarsened.without_span + self.window.coarsened().without_span,
            without_trace: self.coarsened.without_trace + self.window.coarsened().without_trace,
            without_labels: self.coarsened.without_labels + self.window.coarsened().without_labels,
            labels_refused: labels::refused() - self.initial_labels_refused,
            threads: now.threads,
            modules_without_tables: now.modules_without_tables,
            timer_failures: now.timer_failures - initial.timer_failures,
            windows_sealed: self.sequence,
            table_bytes: self.window.bytes() as u64,
            process_cpu: Duration::from_nanos(process_cpu_ns),
            unsampled_cpu: Duration::from_nanos(
                process_cpu_ns.saturating_sub(now.sampled_cpu_ns - initial.sampled_cpu_ns),
            ),
            handler_time: Duration::from_nanos(now.handler_ns - initial.handler_ns),
            handler_p50: durations.quantile(0.5),
            handler_p99: durations.quantile(0.99),
            alloc_time: Duration::from_nanos(now.alloc_ns - initial.alloc_ns),
            ..Stats::default()
        }
    }
}

/// What had been used at some time.
#[derive(Debug, Clone, Copy)]
struct Judged {
    at: Instant,
    process_ns: u64,
    agent: Duration,
    alloc_due: PerClass<u64>,
}

/// Stops whatever still runs, when the agent thread ends for whatever reason.
pub(crate) fn stop() {
    spans::record(false);
    sampler::stop();
    heap::stop();
}

fn live_heap() -> LiveHeap {
    let mut live = LiveHeap::new();
    heap::for_each_live(&mut |block| {
        let sum = live.entry(block.stack_hash).or_default();
        sum.bytes += block.bytes;
        sum.objects += block.objects;
        sum.samples = sum.samples.saturating_add(1);
    });
    live
}

#[cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]
impl crate::window::stacks::Locate for ModuleMap {
    fn locate(&self, pc: u64) -> Option<(usize, u64)> {
        ModuleMap::locate(self, pc)
    }

    fn module(&self, index: usize) -> Option<(&[u8], &str)> {
        self.modules().get(index).map(|module| (module.build_id.as_bytes(), &*module.name))
    }
}
