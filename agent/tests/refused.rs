//! A kernel or sandbox that refuses timers: the service starts all the same, one line says what is missing, and the
//! numbers say how much.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "pprof-fallback")))]

mod support;

use std::hint::black_box;
use std::process::{Command, Output};
use std::time::Duration;

use support::thread_cpu;
use tephra_agent::{Agent, Stats};

/// What a child process is to do.
const ROLE: &str = "TEPHRA_TEST_ROLE";

/// Runs one test of this file again in a process of its own, for what it does to itself cannot be undone.
fn in_child(test: &str) -> Option<Output> {
    if std::env::var(ROLE).is_ok_and(|role| role == test) {
        return None;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", test, "--nocapture"]).env(ROLE, test).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stdout));
    Some(output)
}

fn lines_about_timers(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().filter(|line| line.contains("refuses threads their CPU timers")).map(str::to_owned).collect()
}

fn burn_on_threads(count: usize, each: Duration) {
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                while thread_cpu() < each {
                    black_box((0..10_000u64).sum::<u64>());
                }
            });
        }
    });
}

fn start() -> Agent {
    Agent::builder("refused").endpoint("http://127.0.0.1:9").cpu_hz(499).start().unwrap()
}

/// The agent's account of a while of work, once it has noticed all of it.
fn account_of(agent: &Agent, work: impl FnOnce()) -> Stats {
    work();
    std::thread::sleep(Duration::from_millis(500));
    agent.stats()
}

/// After the process's own timer was armed, the limit leaves none for threads.
#[test]
fn under_a_low_limit_the_processs_timer_samples_everyone() {
    if let Some(output) = in_child("under_a_low_limit_the_processs_timer_samples_everyone") {
        let [line] = &lines_about_timers(&output)[..] else { panic!("{:?}", lines_about_timers(&output)) };
        assert!(line.contains("one timer of the whole process samples them instead"), "{line}");
        return;
    }
    let agent = start();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a local of the kernel's type.
    let set = unsafe {
        libc::getrlimit(libc::RLIMIT_SIGPENDING, &raw mut limit);
        limit.rlim_cur = 0;
        libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const limit)
    };
    assert_eq!(set, 0);
    let stats = account_of(&agent, || burn_on_threads(3, Duration::from_millis(1_200)));
    assert!(stats.timer_failures >= 2, "{stats:?}");
    assert!(stats.cpu_samples > 100, "{stats:?}");
    let unsampled = stats.unsampled_cpu.as_secs_f64() / stats.process_cpu.as_secs_f64();
    assert!(unsampled < 0.1, "{unsampled:.3} unsampled: {stats:?}");
}

/// As under a sandbox that knows nothing of timers.
#[test]
fn without_any_timer_the_service_runs_and_the_account_says_what_is_missing() {
    if let Some(output) = in_child("without_any_timer_the_service_runs_and_the_account_says_what_is_missing") {
        let [line] = &lines_about_timers(&output)[..] else { panic!("{:?}", lines_about_timers(&output)) };
        assert!(line.contains("they are not sampled"), "{line}");
        return;
    }
    deny(libc::SYS_timer_create);
    let agent = start();
    let stats = account_of(&agent, || burn_on_threads(2, Duration::from_millis(500)));
    assert!(stats.timer_failures >= 1 && stats.cpu_samples == 0, "{stats:?}");
    assert!(stats.process_cpu > Duration::from_millis(100));
    assert_eq!(stats.unsampled_cpu, stats.process_cpu);
    drop(agent);
}

/// Makes the kernel answer one system call with EPERM in this process and all its threads to come.
fn deny(call: libc::c_long) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load_number = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    let is_it = libc::sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32) };
    let refuse = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    let allow = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    let mut filter = [load_number, is_it, refuse, allow];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program lives until both calls have returned; the kernel copies it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}
