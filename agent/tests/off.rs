//! `TEPHRA=off` is as if the agent were not linked.

use std::process::Command;

use tephra_agent::{Agent, Stats};

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Runs itself again with the variable set, for it is read at start.
#[test]
fn turned_off_there_is_no_thread_no_timer_and_no_file() {
    if std::env::var_os("TEPHRA").is_none() {
        let test = Command::new(std::env::current_exe().unwrap()).env("TEPHRA", "off").status().unwrap();
        assert!(test.success());
        return;
    }
    let resources = || {
        let timers = std::fs::read_to_string("/proc/self/timers").unwrap_or_default();
        (entries("/proc/self/task"), entries("/proc/self/fd"), timers)
    };
    let before = resources();
    // Not even a bad setting is noticed.
    let agent = Agent::builder("").cpu_hz(0).endpoint("nonsense").start().unwrap();
    assert_eq!(resources(), before);
    agent.pause();
    agent.resume();
    assert!(agent.flush());
    assert_eq!(agent.stats(), Stats::default());
    let context = tephra_agent::TraceContext::root();
    let label = tephra_agent::attach(context);
    assert_eq!(tephra_agent::current(), Some(context), "contexts still reach outgoing calls");
    drop(label);
    drop(agent);
    assert_eq!(resources(), before);
}
