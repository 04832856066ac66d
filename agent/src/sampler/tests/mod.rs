//! The sampler as a whole, on real threads, timers and signals. One process has one sampler, so these take turns.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::*;
use crate::labels::Labels;
use crate::sampler::hooks::{Session, cpu_sample_ns, register_thread, signal_thread};
use crate::trace_context::TraceContext;

mod accuracy;
mod recorded;
#[cfg(target_arch = "x86_64")]
mod steps;

/// A sample that owns its stack.
#[derive(Debug)]
struct Owned {
    kind: SampleKind,
    tid: u32,
    context: Option<TraceContext>,
    labels: Labels,
    stack: Vec<u64>,
    truncated: bool,
}

/// Sampling for one test at a time, and the samples it takes.
struct Sampling {
    session: Option<Session>,
    samples: Receiver<Owned>,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

type Keep = Box<dyn FnMut(&RawSample<'_>) + Send>;

impl Sampling {
    fn start(hz: u32) -> Self {
        Self::start_as(hz, Session::start_with)
    }

    /// By an agent thread that sleeps until the process works.
    fn start_resting(hz: u32) -> Self {
        Self::start_as(hz, Session::resting)
    }

    fn start_as(hz: u32, start: fn(u32, Keep) -> Session) -> Self {
        let turn = take_turn();
        let (send, samples) = channel();
        let keep = move |sample: &RawSample<'_>| {
            let RawSample { kind, tid, context, labels, stack, truncated, .. } = *sample;
            // The test may have seen enough and be gone.
            let _ = send.send(Owned { kind, tid, context, labels, stack: stack.to_vec(), truncated });
        };
        Self { session: Some(start(hz, Box::new(keep))), samples, _turn: turn }
    }

    /// Stops, and returns everything sampled.
    fn finish(&mut self) -> Vec<Owned> {
        self.session = None;
        self.samples.iter().collect()
    }
}

fn thread_cpu() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Burns CPU time, whatever the machine is busy with otherwise.
#[inline(never)]
fn burn(time: Duration) -> u64 {
    let end = thread_cpu() + time;
    let mut sum = 0u64;
    while thread_cpu() < end {
        for i in 0..2_000u64 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(i));
        }
    }
    sum
}

#[inline(never)]
fn burn_deep(depth: u32, time: Duration) -> u64 {
    if depth == 0 {
        return burn(time);
    }
    black_box(burn_deep(black_box(depth - 1), time)).wrapping_add(black_box(1))
}

fn range_of(function: usize) -> Range<u64> {
    // The functions here are far shorter than this, and only ever compared by which one is nearest below.
    function as u64..function as u64 + 512
}

/// Runs `work` on a thread that is registered before it starts; returns its id.
fn on_sampled_thread(work: impl FnOnce() + Send) -> u32 {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            while !register_thread() {
                std::thread::yield_now();
            }
            work();
            threads::current()
        });
        worker.join().unwrap()
    })
}

#[test]
fn stacks_of_a_recursion_are_whole_and_reach_the_threads_root() {
    let mut sampling = Sampling::start(997);
    let tid = on_sampled_thread(|| {
        burn_deep(40, Duration::from_millis(800));
    });
    let samples: Vec<_> = sampling.finish().into_iter().filter(|s| s.tid == tid).collect();
    let deep = range_of(burn_deep as *const () as usize);
    let in_recursion: Vec<_> =
        samples.iter().filter(|s| s.stack.iter().filter(|pc| deep.contains(pc)).count() >= 40).collect();
    assert!(in_recursion.len() > 20, "{} of {} samples", in_recursion.len(), samples.len());
    for sample in &in_recursion {
        assert!(!sample.truncated, "{sample:x?}");
        assert_eq!(sample.stack.iter().filter(|pc| deep.contains(pc)).count(), 41, "{sample:x?}");
    }
    let roots: std::collections::HashSet<_> = in_recursion.iter().map(|s| s.stack.last()).collect();
    assert_eq!(roots.len(), 1, "all end at the same place");
}

#[test]
fn weights_add_up_to_the_cpu_time_burnt() {
    let mut sampling = Sampling::start(100);
    let mut burnt = HashMap::new();
    for millis in [400, 1200] {
        let mut cpu = Duration::ZERO;
        let tid = on_sampled_thread(|| {
            let before = thread_cpu();
            burn(Duration::from_millis(millis));
            cpu = thread_cpu() - before;
        });
        burnt.insert(tid, cpu);
    }
    let samples = sampling.finish();
    for (tid, cpu) in burnt {
        let periods = samples.iter().filter(|s| s.tid == tid).map(|s| match s.kind {
            SampleKind::Cpu { periods } => periods,
            SampleKind::Alloc { .. } | SampleKind::Place | SampleKind::Wait { .. } => 0,
        });
        let sampled = f64::from(periods.sum::<u32>());
        let expected = cpu.as_secs_f64() * 100.0;
        // One period at either end depends on where the first one fell.
        assert!((sampled - expected).abs() <= 3.0, "{sampled} periods, {expected} expected");
    }
}

#[test]
fn samples_carry_the_context_their_thread_had() {
    let mut sampling = Sampling::start(997);
    let ids = |byte| TraceContext { trace_id: [byte; 16], span_id: [byte; 8], flags: 1 };
    let mut tids = HashMap::new();
    for byte in [1, 2] {
        let tid = on_sampled_thread(|| {
            context::replace(Some(ids(byte)), Labels::numbered(byte.into()));
            burn(Duration::from_millis(400));
        });
        tids.insert(tid, ids(byte));
    }
    let samples = sampling.finish();
    let labelled: Vec<_> = samples.iter().filter(|s| tids.contains_key(&s.tid) && s.context.is_some()).collect();
    assert!(labelled.len() > 20, "{} samples", labelled.len());
    for sample in labelled {
        let context = tids[&sample.tid];
        assert_eq!((sample.context, sample.labels.number()), (Some(context), context.trace_id[0].into()));
    }
}

#[test]
fn a_context_that_changes_all_the_time_is_never_mixed() {
    let mut sampling = Sampling::start(0);
    let tid = on_sampled_thread(|| {
        let stop = AtomicBool::new(false);
        let me = threads::current();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Signals that meet one still waiting are merged with it, so the samples are counted, not the signals.
                let enough = counters().cpu_taken + 5_000;
                while counters().cpu_taken < enough {
                    signal_thread(me);
                }
                stop.store(true, Ordering::Relaxed);
            });
            let mut byte = 0u8;
            while !stop.load(Ordering::Relaxed) {
                byte = byte.wrapping_add(1);
                let context = TraceContext { trace_id: [byte; 16], span_id: [byte; 8], flags: byte };
                context::replace((byte != 0).then_some(context), Labels::numbered(byte.into()));
            }
        });
    });
    let samples: Vec<_> = sampling.finish().into_iter().filter(|s| s.tid == tid).collect();
    assert!(samples.len() >= 5_000, "{} samples", samples.len());
    for (context, labels) in samples.iter().filter_map(|s| Some((s.context?, s.labels))) {
        let byte = context.flags;
        assert_eq!((context.trace_id, context.span_id, labels.number()), ([byte; 16], [byte; 8], byte.into()));
    }
}

#[test]
fn the_time_of_samples_without_room_is_in_the_next_one() {
    let mut sampling = Sampling::start(0);
    let tid = on_sampled_thread(|| {
        let me = threads::current();
        let before = counters().dropped_busy;
        let held: Vec<_> = slots::all().iter().filter_map(slots::Slot::try_claim).collect();
        (0..3).for_each(|_| assert!(signal_thread(me)));
        assert_eq!(counters().dropped_busy - before, 3);
        drop(held);
        (0..2).for_each(|_| assert!(signal_thread(me)));
    });
    let samples = sampling.finish();
    let kinds: Vec<_> = samples.iter().filter(|sample| sample.tid == tid).map(|sample| sample.kind).collect();
    assert_eq!(kinds, [SampleKind::Cpu { periods: 4 }, SampleKind::Cpu { periods: 1 }]);
}

#[test]
fn bounds_are_found_and_copying_stops() {
    let mut sampling = Sampling::start(0);
    on_sampled_thread(|| {
        let state = threads::of(threads::current()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while state.stack_end(Registers::here().sp).is_none() {
            assert!(Instant::now() < deadline, "the supervisor never found the bounds");
            assert!(cpu_sample_ns(1).is_some());
            std::thread::sleep(Duration::from_millis(5));
        }
        let copied = counters().stack_copied;
        for _ in 0..100 {
            assert!(cpu_sample_ns(30).is_some());
        }
        assert_eq!(counters().stack_copied, copied);
    });
    let samples = sampling.finish();
    let last = samples.last().unwrap();
    assert!(!last.truncated && last.stack.len() > 30, "{last:x?}");
}

#[test]
fn deeper_stacks_than_asked_for_keep_their_leaf_and_say_so() {
    let mut sampling = Sampling::start(0);
    let tid = on_sampled_thread(|| {
        assert!(cpu_sample_ns(1_000).is_some());
    });
    let sample = sampling.finish().into_iter().find(|s| s.tid == tid).unwrap();
    assert_eq!(sample.stack.len(), 128);
    assert!(sample.truncated);
}

fn timers_of_this_process() -> usize {
    std::fs::read_to_string("/proc/self/timers").unwrap().lines().filter(|line| line.starts_with("ID:")).count()
}

#[test]
fn threads_that_come_and_go_leave_no_timer_behind() {
    let mut sampling = Sampling::start(997);
    for _ in 0..40 {
        std::thread::scope(|scope| {
            for _ in 0..25 {
                scope.spawn(|| {
                    register_thread();
                    burn(Duration::from_micros(300));
                });
            }
        });
    }
    assert!(timers_of_this_process() > 0);
    sampling.finish();
    assert_eq!(timers_of_this_process(), 0);
}

#[test]
fn a_paused_sampler_has_no_timers_and_resumes() {
    let mut sampling = Sampling::start(997);
    pause(true);
    assert_eq!(timers_of_this_process(), 0);
    pause(false);
    assert!(timers_of_this_process() > 0);
    sampling.finish();
}

#[test]
fn a_process_that_works_ends_the_rest_and_one_that_is_paused_has_no_alarm() {
    let mut sampling = Sampling::start_resting(0);
    let tid = on_sampled_thread(|| {
        let me = threads::current();
        let state = threads::of(me).unwrap();
        let sp = Registers::here().sp;
        let deadline = Instant::now() + Duration::from_secs(20);
        assert!(signal_thread(me), "a sample asks for the stack's bounds");
        while state.stack_end(sp).is_none() {
            assert!(Instant::now() < deadline, "nobody looked");
            burn(Duration::from_millis(1));
        }
    });
    pause(true);
    assert_eq!(timers_of_this_process(), 0);
    assert!(rest(), "there is nothing to miss");
    assert_eq!(timers_of_this_process(), 0);
    pause(false);
    assert!(sampling.finish().iter().any(|sample| sample.tid == tid));
    assert_eq!(timers_of_this_process(), 0);
}

#[test]
fn what_is_known_of_a_stack_outlives_a_pause() {
    let mut sampling = Sampling::start(997);
    on_sampled_thread(|| {
        let state = threads::of(threads::current()).unwrap();
        let sp = Registers::here().sp;
        while state.stack_end(sp).is_none() {
            burn(Duration::from_millis(1));
        }
        pause(true);
        pause(false);
        assert!(state.stack_end(sp).is_some());
    });
    sampling.finish();
}

#[test]
fn late_and_foreign_signals_do_no_harm_over_many_starts_and_stops() {
    let turn = take_turn();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                burn(Duration::from_micros(100));
            }
        });
        drop(Session::start(5_000));
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: raises a signal that is handled from the first start on.
                unsafe { libc::raise(libc::SIGPROF) };
                std::thread::yield_now();
            }
        });
        let agent = scope.spawn(|| {
            for _ in 0..1_000 {
                start(SamplerConfig { hz: 5_000, depth: 64 }).unwrap();
                tick();
                stop_sampling();
                drain(&mut |_| ());
            }
        });
        agent.join().unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    drop(turn);
}

use crate::sampler::stop as stop_sampling;

#[test]
fn a_second_start_is_refused() {
    let mut sampling = Sampling::start(0);
    let second = start(SamplerConfig { hz: 99, depth: 64 });
    assert!(matches!(second, Err(SamplerError::AlreadyRunning)));
    sampling.finish();
}

#[test]
fn silly_configurations_are_refused_by_name() {
    let check = |hz, depth, message: &str| {
        assert_eq!(start(SamplerConfig { hz, depth }).unwrap_err().to_string(), message);
    };
    check(10_001, 64, "sampling rate is 10001 Hz, limit 10000");
    check(99, 0, "stack depth is 0, must be 1 to 512");
    check(99, 513, "stack depth is 513, must be 1 to 512");
}

#[test]
fn a_forked_child_is_inert_and_exits_cleanly() {
    let mut sampling = Sampling::start(997);
    on_sampled_thread(|| {
        for _ in 0..20 {
            // SAFETY: the child only burns CPU, calls functions that return at once in a child, and leaves by `_exit`.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: raises a handled signal.
                unsafe { libc::raise(libc::SIGPROF) };
                burn(Duration::from_millis(5));
                tick();
                pause(false);
                let refused = matches!(start(SamplerConfig { hz: 99, depth: 64 }), Err(SamplerError::Forked));
                // SAFETY: ends the child.
                unsafe { libc::_exit(if refused && !active::is_active() { 7 } else { 1 }) };
            }
            let mut status = 0;
            // SAFETY: waits for the child just made; writes to a local.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "status {status:#x}");
        }
        assert!(!handler::set_blocked(false), "the parent goes on being sampled");
    });
    sampling.finish();
}
