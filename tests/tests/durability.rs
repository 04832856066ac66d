//! An acked window is there for ever, once: through SIGKILL in mid-load, retries and duplicates.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tephra_proto::v1::PushRequest;
use tephra_tests::clock::{eventually, now_ms};
use tephra_tests::collector::Collector;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Window, aligned};

const AGENTS: u8 = 4;
const KILLS: usize = 8;

/// Every window of every agent has a function of its own, hit as often as its number says: what is lost or doubled shows by
/// name.
fn window(agent: u8, number: u64) -> Window {
    Window::new().cpu(&["main", &format!("agent_{agent}_window_{number}")], number)
}

/// What an agent keeps in mind: windows that were not acked, and which were.
#[derive(Default)]
struct Ledger {
    pending: Vec<(u64, PushRequest)>,
    acked: BTreeMap<u64, PushRequest>,
}

#[test]
fn acked_windows_survive_kills_and_are_counted_once() {
    let data = tempfile::tempdir().expect("a folder");
    let from = aligned(now_ms(), 60_000);
    let ledgers: Vec<Arc<Mutex<Ledger>>> = (0..AGENTS).map(|_| Arc::default()).collect();
    for kill in 0..KILLS {
        let collector = Collector::start_on(data.path());
        let endpoint = collector.endpoint();
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..AGENTS)
            .map(|agent| {
                let (ledger, stop, endpoint) =
                    (Arc::clone(&ledgers[agent as usize]), Arc::clone(&stop), endpoint.clone());
                std::thread::spawn(move || send(agent, from, kill, &ledger, &stop, &endpoint))
            })
            .collect();
        // Killed once enough was acked in this round, at a moment that differs from round to round.
        let before = acked(&ledgers);
        eventually("windows are acked", || (acked(&ledgers) > before + 10 + 7 * kill).then_some(()));
        std::thread::sleep(Duration::from_millis(37 * kill as u64 % 250));
        collector.kill();
        stop.store(true, Ordering::SeqCst);
        senders.into_iter().for_each(|sender| sender.join().expect("a sender does not panic"));
    }
    verify(data.path(), &ledgers, from);
}

/// Sends new windows, what was not acked before, and now and then one that was.
fn send(agent: u8, from: u64, round: usize, ledger: &Mutex<Ledger>, stop: &AtomicBool, endpoint: &str) {
    let pusher = Pusher::new(endpoint);
    let mut sealer = Agent::new("checkout", agent + 1);
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        // An agent that seals the same windows again gives them the same numbers.
        let request = sealer.seal(from, &window(agent, number));
        let next = {
            let mut ledger = ledger.lock().expect("not poisoned");
            let known = ledger.acked.contains_key(&number);
            let repeat = number % 5 == round as u64 % 5;
            if known && !repeat {
                continue;
            }
            ledger.pending.push((number, request));
            ledger.pending.pop()
        };
        let Some((number, request)) = next else { continue };
        if pusher.push(request.clone()).is_ok() {
            ledger.lock().expect("not poisoned").acked.insert(number, request);
        }
    }
}

fn acked(ledgers: &[Arc<Mutex<Ledger>>]) -> usize {
    ledgers.iter().map(|ledger| ledger.lock().expect("not poisoned").acked.len()).sum()
}

fn verify(data: &Path, ledgers: &[Arc<Mutex<Ledger>>], from: u64) {
    let collector = Collector::start_on(data);
    let until = from + 60_000;
    let path = format!("/api/v1/flamegraph?service=checkout&from={from}&until={until}&format=folded");
    let answer = collector.api.get(&path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let stored: BTreeMap<String, u64> = answer.text().lines().filter_map(folded_line).collect();
    for (agent, ledger) in ledgers.iter().enumerate() {
        let ledger = ledger.lock().expect("not poisoned");
        assert!(ledger.acked.len() > 10, "too few acks to prove anything: {}", ledger.acked.len());
        for number in ledger.acked.keys() {
            let name = format!("agent_{agent}_window_{number}");
            let nanoseconds = stored.get(&name).copied();
            let expected = number * tephra_tests::synthetic::CPU_PERIOD;
            assert_eq!(nanoseconds, Some(expected), "{name} was acked");
        }
    }
    // Windows that were stored but whose ack got lost may be there as well, but never twice.
    for (name, nanoseconds) in &stored {
        let number: u64 = name.rsplit('_').next().and_then(|n| n.parse().ok()).expect("a window's number");
        assert_eq!(*nanoseconds, number * tephra_tests::synthetic::CPU_PERIOD, "{name}");
    }
}

/// `main;leaf 123` as (leaf, 123).
fn folded_line(line: &str) -> Option<(String, u64)> {
    let (stack, value) = line.rsplit_once(' ')?;
    let leaf = stack.rsplit(';').next()?;
    leaf.starts_with("agent_").then(|| Some((leaf.to_owned(), value.parse().ok()?)))?
}
