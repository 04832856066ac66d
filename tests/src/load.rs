//! Agents that keep books: what was acked must be there, once, whatever happens to the collectors meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tephra_proto::v1::PushRequest;

use crate::api::Api;
use crate::clock::{eventually, now_ms};
use crate::push::Pusher;
use crate::synthetic::{Agent, CPU_PERIOD, Window, aligned};

/// Acked windows an agent may send again. Fewer than a collector tells apart.
const REMEMBERED: usize = 500;

/// A number of agents, and their books.
#[derive(Debug)]
pub struct Load {
    service: String,
    start_ms: u64,
    books: Vec<Arc<Mutex<Book>>>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

/// One agent's.
#[derive(Debug)]
struct Book {
    agent: Agent,
    random: u64,
    next: u64,
    /// Sealed and not acked: sent again until they are.
    pending: VecDeque<(u64, PushRequest)>,
    /// The last acked ones, to be sent once too often.
    recent: VecDeque<(u64, PushRequest)>,
    acked: BTreeSet<u64>,
    /// Repeats that were called new, and the like.
    wrong: Vec<String>,
}

impl Load {
    /// Books of `agents` agents of `service`. All their windows cover the same ten seconds, so that one question shows them all.
    pub fn new(service: &str, agents: u8) -> Self {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        let book = |number: u8| {
            let mut agent = Agent::new(service, number);
            // Another agent than any other load's.
            let unique = now_ms() << 16 | DRAWN.fetch_add(1, Ordering::Relaxed);
            agent.id[..8].copy_from_slice(&unique.to_be_bytes());
            Arc::new(Mutex::new(Book {
                agent,
                random: unique | 1,
                next: 1,
                pending: VecDeque::new(),
                recent: VecDeque::new(),
                acked: BTreeSet::new(),
                wrong: Vec::new(),
            }))
        };
        let books = (1..=agents).map(book).collect();
        Self { service: service.to_owned(), start_ms: aligned(now_ms(), 60_000), books, running: None }
    }

    /// Starts sending. Each agent prefers one of the collectors and turns to the next when a push fails, as behind a load balancer.
    pub fn start(&mut self, collectors: &[String]) {
        let stop = Arc::new(AtomicBool::new(false));
        let senders = self.books.iter().enumerate().map(|(i, book)| {
            let (book, stop, start) = (Arc::clone(book), Arc::clone(&stop), self.start_ms);
            let mut collectors = collectors.to_vec();
            let preferred = i % collectors.len().max(1);
            collectors.rotate_left(preferred);
            std::thread::spawn(move || send(&book, &collectors, start, &stop))
        });
        self.running = Some(Running { senders: senders.collect(), stop });
    }

    /// Waits until `more` further windows are acked.
    ///
    /// # Panics
    /// When they never are.
    pub fn wait_for(&self, more: usize) {
        let before = self.acked();
        eventually("windows are acked", || (self.acked() >= before + more).then_some(()));
    }

    /// Stops sending.
    ///
    /// # Panics
    /// When a sender did.
    pub fn stop(&mut self) {
        let Some(Running { stop, senders }) = self.running.take() else { return };
        stop.store(true, Ordering::SeqCst);
        senders.into_iter().for_each(|sender| sender.join().expect("a sender does not panic"));
    }

    /// Windows acked so far.
    pub fn acked(&self) -> usize {
        self.books.iter().map(|book| lock(book).acked.len()).sum()
    }

    /// The numbers of the windows acked so far, for each agent.
    pub fn acked_now(&self) -> Vec<BTreeSet<u64>> {
        self.books.iter().map(|book| lock(book).acked.clone()).collect()
    }

    /// Holds the books against what a collector shows: every acked window is there, and none is there twice. Answers how many.
    ///
    /// # Panics
    /// When one is not.
    pub fn verify(&self, api: &Api) -> usize {
        self.verify_these(&self.acked_now(), api)
    }

    /// The same, of what was acked at an earlier moment: what was acked since may be there or not.
    ///
    /// # Panics
    /// When one is not.
    pub fn verify_these(&self, acked: &[BTreeSet<u64>], api: &Api) -> usize {
        let (from, until) = (self.start_ms, self.start_ms + 60_000);
        let service = &self.service;
        let path = format!("/api/v1/flamegraph?service={service}&from={from}&until={until}&format=folded");
        let answer = api.get(&path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let stored: BTreeMap<String, u64> = answer.text().lines().filter_map(folded_line).collect();
        for (i, (book, acked)) in self.books.iter().zip(acked).enumerate() {
            assert_eq!(lock(book).wrong, Vec::<String>::new());
            for number in acked {
                let name = window_name(i, *number);
                assert_eq!(stored.get(&name).copied(), Some(number * CPU_PERIOD), "{name} was acked");
            }
        }
        // Windows that were stored but whose ack got lost may be there as well, but never twice.
        for (name, nanoseconds) in &stored {
            let number: u64 = name.rsplit('_').next().and_then(|n| n.parse().ok()).expect("a window's number");
            assert_eq!(*nanoseconds, number * CPU_PERIOD, "{name}");
        }
        acked.iter().map(BTreeSet::len).sum()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.store(true, Ordering::SeqCst);
        }
    }
}

/// Every window of every agent has a function of its own, hit as often as its number says: what is lost or doubled shows by name.
fn window_name(agent: usize, number: u64) -> String {
    format!("agent_{agent}_window_{number}")
}

fn send(book: &Mutex<Book>, collectors: &[String], start_ms: u64, stop: &AtomicBool) {
    let pushers: Vec<Pusher> = collectors.iter().map(|endpoint| Pusher::new(endpoint)).collect();
    let mut at = 0;
    while !stop.load(Ordering::SeqCst) {
        let (number, request, repeat) = lock(book).choose(start_ms);
        let Some(pusher) = pushers.get(at) else { return };
        match pusher.push(request.clone()) {
            Ok(answer) => {
                let mut book = lock(book);
                if repeat && !answer.duplicate {
                    book.wrong.push(format!("window {number} was acked before, and then called new"));
                }
                book.acked(number, request);
                // A repeat right after the ack, to another collector: it must know.
                at = if number % 7 == 0 { (at + 1) % pushers.len() } else { at };
            }
            Err(_) => {
                if !repeat {
                    lock(book).pending.push_back((number, request));
                }
                at = (at + 1) % pushers.len();
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

impl Book {
    /// A window to send, and whether it was acked before: one whose ack never came, one that was acked, or a new one; now and then the
    /// new one is kept for later, so that numbers arrive out of order.
    fn choose(&mut self, start_ms: u64) -> (u64, PushRequest, bool) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = (self.random >> 33) % 10;
        if dice < 3
            && let Some((number, request)) = self.pending.pop_front()
        {
            return (number, request, false);
        }
        if dice < 5
            && let Some((number, request)) = self.recent.get((self.random >> 40) as usize % self.recent.len().max(1))
        {
            return (*number, request.clone(), true);
        }
        let mut fresh = self.seal(start_ms);
        if dice == 9 {
            self.pending.push_back(fresh);
            fresh = self.seal(start_ms);
        }
        (fresh.0, fresh.1, false)
    }

    fn seal(&mut self, start_ms: u64) -> (u64, PushRequest) {
        let number = self.next;
        self.next += 1;
        let index =
            usize::from(self.agent.instance.rsplit('-').next().and_then(|n| n.parse::<u8>().ok()).unwrap_or(1)) - 1;
        let window = Window::new().cpu(&["main", &window_name(index, number)], number);
        (number, self.agent.seal(start_ms, &window))
    }

    fn acked(&mut self, number: u64, request: PushRequest) {
        if self.acked.insert(number) {
            self.recent.push_back((number, request));
            if self.recent.len() > REMEMBERED {
                self.recent.pop_front();
            }
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().expect("not poisoned")
}

/// `main;leaf 123` as (leaf, 123).
fn folded_line(line: &str) -> Option<(String, u64)> {
    let (stack, value) = line.rsplit_once(' ')?;
    let leaf = stack.rsplit(';').next()?;
    leaf.starts_with("agent_").then(|| Some((leaf.to_owned(), value.parse().ok()?)))?
}
