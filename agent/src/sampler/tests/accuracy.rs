//! Whether samples stand for the CPU time that was used: by many threads, by threads of a few milliseconds, and shared out
//! as the work was.
//!
//! Each test has a process of its own: all CPU time of a process counts here, also that of other tests. `cargo xtask test` runs them
//! one by one with nothing beside them.

use std::panic::AssertUnwindSafe;
use std::process::Command;

use super::*;
use crate::sampler::timers::balance;

/// Set where a test is alone.
const ALONE: &str = "TEPHRA_TEST_ALONE";

/// Runs `test`, which is the body of the test `name`, in a process that does nothing else.
fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let name = format!("sampler::tests::accuracy::{name}");
    let mut again = Command::new(std::env::current_exe().unwrap());
    let done = again.args(["--exact", &name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = [done.stdout, done.stderr].map(|out| String::from_utf8_lossy(&out).into_owned()).concat();
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// CPU time that samples stand for, per thread, and that all of them stand for.
struct Account {
    by_thread: HashMap<u32, Duration>,
    total: Duration,
}

impl Account {
    fn of(samples: &[Owned], hz: u32) -> Self {
        let period = Duration::from_secs(1) / hz;
        let mut by_thread = HashMap::<u32, Duration>::new();
        for sample in samples {
            if let SampleKind::Cpu { periods } = sample.kind {
                *by_thread.entry(sample.tid).or_default() += period * periods;
            }
        }
        let total = by_thread.values().sum();
        Self { by_thread, total }
    }

    fn of_threads<'a>(&self, tids: impl IntoIterator<Item = &'a u32>) -> Duration {
        tids.into_iter().filter_map(|tid| self.by_thread.get(tid)).sum()
    }
}

/// What was sampled of `work`, and what the process used meanwhile, the agent's own thread left out.
fn account(hz: u32, work: impl FnOnce()) -> (Account, Duration) {
    account_of(Sampling::start(hz), hz, work)
}

fn account_of(mut sampling: Sampling, hz: u32, work: impl FnOnce()) -> (Account, Duration) {
    let agent_cpu = |sampling: &Sampling| sampling.session.as_ref().map_or(Duration::ZERO, Session::agent_cpu);
    let used = |sampling: &Sampling| Duration::from_nanos(process_cpu_ns()).saturating_sub(agent_cpu(sampling));
    let before = used(&sampling);
    work();
    let used = used(&sampling) - before;
    (Account::of(&sampling.finish(), hz), used)
}

/// Burns `time` on each of `count` threads at once; returns their ids.
fn burn_side_by_side(count: usize, time: Duration) -> Vec<u32> {
    std::thread::scope(|scope| {
        let work = || {
            burn(time);
            threads::current()
        };
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn churn(cpu_each: Duration, lasts: Duration) {
    let started = Instant::now();
    while started.elapsed() < lasts {
        burn_side_by_side(2, cpu_each);
    }
}

fn ratio(sampled: Duration, used: Duration) -> f64 {
    sampled.as_secs_f64() / used.as_secs_f64()
}

#[track_caller]
fn assert_covered(sampled: Duration, used: Duration, tolerance: f64) {
    let ratio = ratio(sampled, used);
    assert!((ratio - 1.0).abs() < tolerance, "samples stand for {ratio:.4} of {used:?}");
}

/// A thread's own timer misses what it does after the kernel's last tick. The next young threads are sampled for that, so
/// threads come and go three times here, and what stays open is what the last of them did at their ends. The bound holds that
/// and the goal of one part in a hundred.
#[test]
fn samples_stand_for_the_cpu_time_of_the_process_however_many_threads_use_it() {
    alone("samples_stand_for_the_cpu_time_of_the_process_however_many_threads_use_it", || {
        for threads in [1, 8, 64] {
            let (account, used) = account(499, || {
                for _ in 0..3 {
                    burn_side_by_side(threads, Duration::from_millis(1_500) / threads as u32);
                }
            });
            assert_covered(account.total, used, 0.02);
        }
    });
}

#[test]
fn threads_that_live_a_millisecond_are_sampled_like_all_others() {
    alone("threads_that_live_a_millisecond_are_sampled_like_all_others", || {
        for millis in [1, 30] {
            let (account, used) = account(499, || churn(Duration::from_millis(millis), Duration::from_millis(1_500)));
            assert_covered(account.total, used, 0.03);
        }
    });
}

/// Does `work` beside a thread that has a timer of its own and is always busy: samples stand for what that one used, and for the rest.
fn check_beside_a_worker(work: impl FnOnce()) {
    let (mut worker, mut worker_cpu) = (0, Duration::ZERO);
    let (account, used) = account(499, || {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let working = scope.spawn(|| {
                register_thread();
                while !stop.load(Ordering::Relaxed) {
                    burn(Duration::from_millis(1));
                }
                (threads::current(), thread_cpu())
            });
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(work));
            stop.store(true, Ordering::Relaxed);
            (worker, worker_cpu) = working.join().unwrap();
            outcome.unwrap();
        });
    });
    let of_worker = account.of_threads([&worker]);
    assert_covered(of_worker, worker_cpu, 0.02);
    assert_covered(account.total - of_worker, used - worker_cpu, 0.06);
}

/// The process's timer finds the worker far more often than the others; the balance makes up for that.
#[test]
fn short_lived_threads_get_their_share_beside_a_worker() {
    alone("short_lived_threads_get_their_share_beside_a_worker", || {
        check_beside_a_worker(|| churn(Duration::from_millis(2), Duration::from_secs(4)));
    });
}

/// While all that works has timers, the process's timer rests; what is missed until it runs again is made up for.
#[test]
fn short_lived_threads_that_come_after_a_calm_are_sampled_too() {
    alone("short_lived_threads_that_come_after_a_calm_are_sampled_too", || {
        let rests = || supervisor::with(|supervisor| supervisor.threads.process_timer_rests()).unwrap();
        check_beside_a_worker(|| {
            let started = Instant::now();
            while !rests() {
                assert!(started.elapsed() < Duration::from_secs(60), "it never rests");
                std::thread::sleep(Duration::from_millis(250));
            }
            // Of the worker's periods none is counted twice now: each is taken from the balance, and none is added.
            let (owed, used) = (balance::owed(), process_cpu_ns());
            let periods = || (process_cpu_ns() - used) as i64 * 499 / 1_000_000_000;
            while periods() < 100 {
                std::thread::sleep(Duration::from_millis(50));
            }
            assert!(balance::owed() < owed - 50, "{owed}, then {}", balance::owed());
            churn(Duration::from_millis(2), Duration::from_secs(4));
            assert!(!rests());
        });
    });
}

/// The agent thread looks at nothing before the process has worked, and each of these threads begins to when all is at rest.
#[test]
fn threads_that_begin_to_work_after_a_rest_are_sampled_from_their_first_ten_milliseconds() {
    alone("threads_that_begin_to_work_after_a_rest_are_sampled_from_their_first_ten_milliseconds", || {
        let (account, used) = account_of(Sampling::start_resting(499), 499, || {
            for _ in 0..150 {
                burn_side_by_side(1, Duration::from_millis(10));
            }
        });
        assert_covered(account.total, used, 0.03);
    });
}

/// While a worker with a timer of its own is busy, nobody else is sampled by the process's timer. When all go to rest it must run.
#[test]
fn after_work_comes_a_rest_in_which_whoever_begins_is_sampled() {
    alone("after_work_comes_a_rest_in_which_whoever_begins_is_sampled", || {
        let rests = || supervisor::with(|supervisor| supervisor.threads.process_timer_rests()).unwrap();
        let (account, used) = account(499, || {
            on_sampled_thread(|| {
                let started = Instant::now();
                while !rests() {
                    assert!(started.elapsed() < Duration::from_secs(60), "it never rests");
                    burn(Duration::from_millis(50));
                }
            });
            assert!(rest());
            assert!(!rests());
            for _ in 0..300 {
                burn_side_by_side(1, Duration::from_millis(5));
            }
        });
        assert_covered(account.total, used, 0.03);
    });
}

#[inline(never)]
fn burn_most(time: Duration) -> u64 {
    burn(time).wrapping_add(black_box(1))
}

#[inline(never)]
fn burn_some(time: Duration) -> u64 {
    burn(time).wrapping_add(black_box(2))
}

#[inline(never)]
fn burn_little(time: Duration) -> u64 {
    burn(time).wrapping_add(black_box(3))
}

#[test]
fn functions_that_use_60_30_and_10_percent_come_back_so_within_two_points() {
    alone("functions_that_use_60_30_and_10_percent_come_back_so_within_two_points", || {
        let mut sampling = Sampling::start(997);
        let tid = on_sampled_thread(|| {
            // In long turns: where one ends, a look of the kernel counts for both.
            for _ in 0..2 {
                burn_most(Duration::from_millis(720));
                burn_some(Duration::from_millis(360));
                burn_little(Duration::from_millis(120));
            }
        });
        let samples: Vec<_> = sampling.finish().into_iter().filter(|sample| sample.tid == tid).collect();
        let of = |function| {
            samples.iter().filter(|sample| function_of(sample) == Some(function)).map(periods_of).sum::<u32>()
        };
        let all: u32 = samples.iter().map(periods_of).sum();
        for (function, expected) in [(0, 0.6), (1, 0.3), (2, 0.1)] {
            let share = f64::from(of(function)) / f64::from(all);
            assert!((share - expected).abs() < 0.02, "{share:.3} for {expected}");
        }
    });
}

/// Which of the three functions a sample was taken in: the one that starts nearest below one of its addresses.
fn function_of(sample: &Owned) -> Option<usize> {
    let starts = [burn_most, burn_some, burn_little].map(|function| function as *const () as u64);
    let distance = |pc: u64, start: u64| pc.checked_sub(start).filter(|distance| *distance < 128);
    let candidates =
        sample.stack.iter().flat_map(|&pc| (0..3).filter_map(move |i| Some((distance(pc, starts[i])?, i))));
    candidates.min().map(|(_, function)| function)
}

fn periods_of(sample: &Owned) -> u32 {
    match sample.kind {
        SampleKind::Cpu { periods } => periods,
        SampleKind::Alloc { .. } | SampleKind::Place | SampleKind::Wait { .. } => 0,
    }
}

/// Pearson's test over threads that all work the same.
#[test]
fn equal_threads_come_back_equal() {
    alone("equal_threads_come_back_equal", || {
        let hz = 499;
        let mut sampling = Sampling::start(hz);
        let tids = burn_side_by_side(6, Duration::from_millis(1_000));
        let account = Account::of(&sampling.finish(), hz);
        let periods = |tid: &u32| account.of_threads([tid]).as_secs_f64() * f64::from(hz);
        let mean = tids.iter().map(periods).sum::<f64>() / tids.len() as f64;
        let chi_squared: f64 = tids.iter().map(|tid| (periods(tid) - mean).powi(2) / mean).sum();
        // The kernel looks once a tick, so periods come in twos. Five degrees of freedom exceed 21 once in a thousand runs
        // of independent samples.
        let periods_per_look = 2.0;
        assert!(chi_squared / periods_per_look < 21.0, "{:?}", tids.iter().map(periods).collect::<Vec<_>>());
    });
}
