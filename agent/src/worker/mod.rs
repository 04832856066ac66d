//! The agent thread: looks after the samplers, fills the window, seals it when its time is over.

mod account;
mod commands;
mod cost;
mod pace;
mod sealing;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

pub(crate) use self::commands::{Command, Commands};

use self::account::Account;
use self::cost::{Cost, Moment};
use self::pace::{Look, Pace};
use self::sealing::Sealer;
use crate::clock::{self, Slot};
use crate::error::StartError;
use crate::export::{Binaries, Binary, Queue};
use crate::heap::{self, HeapConfig};
use crate::notice::Notice;
use crate::requests::{self, Asked};
use crate::sampler::{self, ModuleMap, SamplerConfig, wakeup};
use crate::settings::Settings;
use crate::stats::{Board, Stats};
use crate::waits;
use crate::window::{LiveHeap, Waiting, Window};

pub(crate) const THREAD_NAME: &str = "tephra-agent";

/// Samples of waits that are kept until their stacks come, in one look at all rings. They are rare: most stacks come first.
const EARLY_MAX: usize = 1024;

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
    window_ms: u32,
    /// 0: allocations are not sampled.
    heap_mean_bytes: u64,
    window: Window,
    modules: Arc<ModuleMap>,
    /// Those that the modules came from, for whoever offers their symbols.
    binaries: Arc<Binaries>,
    /// Since when.
    paused: Option<Moment>,
    account: Account,
    cost: Cost,
    /// How many requests' waits are sampled, and when that was last judged.
    density: waits::Density,
    judged: Instant,
    sealer: Sealer,
    requests: requests::Reader,
    board: Arc<Board>,
    /// Threads without timers were mentioned.
    told_of_timers: bool,
}

impl Worker {
    /// Starts the samplers. Called on the agent thread.
    pub(crate) fn start(
        settings: &Settings,
        queue: &Arc<Queue>,
        binaries: Arc<Binaries>,
        board: Arc<Board>,
        asked: Arc<Asked>,
    ) -> Result<Self, StartError> {
        let account = Account::open();
        sampler::limit_tables(settings.tables_bytes);
        sampler::start(SamplerConfig { hz: settings.cpu_hz, depth: settings.stack_depth })
            .map_err(|why| StartError::Sampler { reason: why.to_string() })?;
        let slot = Slot::at(clock::unix_ms(), settings.window_ms);
        let mut worker = Self {
            window_ms: settings.window_ms,
            heap_mean_bytes: settings.heap_mean_bytes,
            window: Window::new(slot, settings.window_bytes),
            modules: Arc::default(),
            binaries,
            paused: None,
            cost: Cost::new(settings.cpu_hz, settings.heap_mean_bytes, account.opened_cpu_ns()),
            account,
            density: waits::Density::new(if sampler::KNOWS_WAITS { settings.waits_per_second } else { 0 }),
            judged: Instant::now(),
            sealer: Sealer::new(settings, Arc::clone(queue)),
            requests: requests::Reader::new(asked),
            board,
            told_of_timers: false,
        };
        worker.sample_heap();
        worker.density.apply();
        worker.collect();
        Ok(worker)
    }

    fn samples_heap(&self) -> bool {
        self.heap_mean_bytes > 0
    }

    fn sample_heap(&self) {
        if self.samples_heap() {
            heap::start(HeapConfig { mean_bytes: self.heap_mean_bytes });
            self.cost.thin_heap();
        }
    }

    /// Works until the other end of `commands` is gone; then seals the last window.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        let used = || Duration::from_nanos(sampler::others_cpu_ns());
        let mut pace = Pace::new(used());
        let mut woke = Instant::now();
        loop {
            let seen = wakeup::seen();
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
            wakeup::wait(seen, pace.pause().min(self.window.slot().remaining(now)));
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
        if paused {
            // While the samplers still take what others tell meanwhile.
            self.collect();
            self.tell_open_waits();
            waits::stop();
        }
        sampler::pause(paused);
        // Not only unsampled: allocations are as fast as without an agent.
        if paused {
            heap::stop();
            self.paused = self.paused.or_else(|| Some(Moment::now()));
        } else {
            self.sample_heap();
            self.density.apply();
            if let Some(since) = self.paused.take() {
                self.cost.leave_out(since);
            }
        }
        self.collect();
    }

    /// Moves what the samplers left in their rings into the window.
    fn collect(&mut self) {
        self.refresh_modules();
        let before = self.window.table_full();
        let Self { window, modules, .. } = self;
        let mut early = Vec::new();
        sampler::drain(&mut |sample| {
            if early.len() < EARLY_MAX && window.is_early(sample) {
                early.push(sample.without_stack());
            } else {
                window.add(sample, &**modules);
            }
        });
        early.iter().for_each(|sample| window.add(sample, &**modules));
        self.account.lose(self.window.table_full() - before);
        self.judge_density();
        let stats = self.show_stats();
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

    fn judge_density(&mut self) {
        if self.paused.is_none() {
            let now = Instant::now();
            let elapsed = now.saturating_duration_since(std::mem::replace(&mut self.judged, now));
            self.density.judge(elapsed, waits::counters().waits);
        }
    }

    /// Adds what tasks that wait now have waited since they were last asked.
    fn tell_open_waits(&mut self) {
        let before = self.window.table_full();
        let Self { window, modules, .. } = self;
        waits::open_waits(&mut |sample| window.add(sample, &**modules));
        self.account.lose(self.window.table_full() - before);
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
        let reports_heap = self.samples_heap() && heap::is_in_use();
        let (live_ms, live) = (clock::unix_ms(), if reports_heap { live_heap() } else { LiveHeap::new() });
        let waiting = stacks_of_waits();
        self.collect();
        self.tell_open_waits();
        let (slot, now_ms) = (self.window.slot(), clock::unix_ms());
        let requests = self.requests.take(slot, now_ms);
        let cpu_ns = sampler::process_cpu_ns();
        // A window in which nothing happened is not sent; that nothing is live on a heap that is known is something.
        let tells_of_rest = why == Seal::Whole && (reports_heap || self.has_untold_losses());
        if self.window.stored() > 0 || !requests.is_empty() || tells_of_rest {
            let live = (why != Seal::Part && reports_heap).then_some(&live);
            let Self { window, sealer, account, .. } = self;
            sealer.seal(window, self.cost.hz(), live, requests, cpu_ns, account);
        }
        let slot = Slot::at(clock::unix_ms(), self.window_ms);
        self.account.coarsened(self.window.coarsened());
        let sealed = std::mem::replace(&mut self.window, Window::new(slot, 0));
        self.window = sealed.next(slot, &live, &waiting, live_ms);
        self.show_stats();
        if why == Seal::Whole {
            self.cost.judge(self.account.handler_time() + self.board.agent_cpu());
        }
    }

    fn has_untold_losses(&self) -> bool {
        self.account.has_untold_losses() || self.sealer.has_untold_losses()
    }

    /// Writes on the board what can be told now.
    fn show_stats(&self) -> Stats {
        let cut = self.requests.cut();
        let stats = Stats {
            sampling: self.paused.is_none(),
            cpu_hz: self.cost.hz(),
            windows_sealed: self.sealer.sealed(),
            shares_halved: cut.shares_halved,
            spans_left_out: cut.left_out,
            odd_answers: self.requests.odd_answers(),
            ..self.account.stats(&self.window)
        };
        self.board.write(stats, self.account.lost());
        stats
    }
}

/// Stops whatever still runs, when the agent thread ends for whatever reason.
pub(crate) fn stop() {
    requests::record(false);
    waits::stop();
    sampler::stop();
    heap::stop();
}

/// What tasks wait at now.
fn stacks_of_waits() -> Waiting {
    let mut waiting = Waiting::default();
    waits::open_stacks(&mut |stack_hash| {
        waiting.insert(stack_hash);
    });
    waiting
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
