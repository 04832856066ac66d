//! Where requests wait, and for how long: against what the waiting code measured itself. Each interval is told once, at the line that awaits, in its
//! state, and for the request that waited.
#![cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]

mod support;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use support::payload::{Row, Window};
use support::symbols::Functions;
use support::{Collector, alone, wait_at_work, wait_for};
use tephra_agent::{Agent, Labels, TraceContext, in_context, in_labels};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::sleep;

/// What a function knows of its own waits.
#[derive(Debug, Default)]
struct Measured {
    /// Until somebody woke it, and from then on, in nanoseconds.
    awaited: AtomicU64,
    queued: AtomicU64,
    intervals: AtomicU64,
}

impl Measured {
    fn add(&self, began: Instant, woken: Instant, ran: Instant) {
        let ns = |from: Instant, until: Instant| until.saturating_duration_since(from).as_nanos() as u64;
        self.awaited.fetch_add(ns(began, woken), Ordering::Relaxed);
        self.queued.fetch_add(ns(woken.max(began), ran), Ordering::Relaxed);
        self.intervals.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> (f64, f64) {
        (self.awaited.load(Ordering::Relaxed) as f64, self.queued.load(Ordering::Relaxed) as f64)
    }
}

/// When somebody was woken last, as whoever woke it says.
#[derive(Clone, Default)]
struct Woken(Arc<StdMutex<Option<Instant>>>);

impl Woken {
    fn now(&self) {
        *self.0.lock().unwrap() = Some(Instant::now());
    }

    fn take(&self) -> Instant {
        self.0.lock().unwrap().take().unwrap_or_else(Instant::now)
    }
}

fn context_of(number: u8) -> TraceContext {
    TraceContext { trace_id: [number; 16], ..TraceContext::root() }
}

/// As a request of that number and tenant.
fn request<F: Future>(number: u8, tenant: &str, work: F) -> impl Future<Output = F::Output> {
    in_context(context_of(number), in_labels(Labels::of("tenant", tenant), work))
}

fn agent(collector: &Collector) -> Agent {
    let agent = Agent::builder("waits").endpoint(collector.endpoint()).window(Duration::from_secs(1));
    agent.heap_mean_bytes(0).waits_per_second(100_000).start().unwrap()
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// All samples of waits.
fn waits(windows: &[Window]) -> Vec<Row> {
    windows.iter().flat_map(|window| window.rows("wait")).collect()
}

fn label<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Nanoseconds in a state under a function.
fn told(rows: &[Row], functions: &Functions, function: &str, state: &str) -> f64 {
    let here = rows.iter().filter(|row| label(row, "state") == Some(state) && functions.on_stack(&row.stack, function));
    here.map(|row| row.value as f64).sum()
}

/// Both states were told of a function, each as it measured them itself.
fn check(rows: &[Row], functions: &Functions, function: &str, measured: &Measured) {
    let (awaited, queued) = measured.read();
    let (told_awaited, told_queued) =
        (told(rows, functions, function, "await"), told(rows, functions, function, "queue"));
    let all = awaited + queued;
    println!(
        "{function}: {} intervals, await {told_awaited:.3e} of {awaited:.3e}, queue {told_queued:.3e} of {queued:.3e}",
        measured.intervals.load(Ordering::Relaxed)
    );
    let off = |told: f64, measured: f64| (told - measured) / all;
    assert!(off(told_awaited, awaited).abs() < 0.05, "{function}: await {told_awaited:e} of {awaited:e}");
    assert!(off(told_queued, queued).abs() < 0.05, "{function}: queue {told_queued:e} of {queued:e}");
}

#[inline(never)]
async fn napping(measured: &Measured, nap: Duration) {
    let began = Instant::now();
    let timer = sleep(nap);
    let due = timer.deadline().into_std();
    timer.await;
    measured.add(began, due, Instant::now());
}

#[inline(never)]
async fn wanting_a_lock(measured: &Measured, lock: &Mutex<()>, woken: &Woken) {
    let began = Instant::now();
    let held = lock.lock().await;
    measured.add(began, woken.take(), Instant::now());
    drop(held);
}

#[inline(never)]
async fn filling_a_channel(measured: &Measured, sender: &mpsc::Sender<u64>, woken: &Woken) {
    let began = Instant::now();
    sender.send(1).await.unwrap();
    measured.add(began, woken.take(), Instant::now());
}

#[inline(never)]
async fn reading_from_a_peer(measured: &Measured, stream: &TcpStream, woken: &Woken) {
    let began = Instant::now();
    stream.readable().await.unwrap();
    measured.add(began, woken.take(), Instant::now());
    let mut byte = [0; 1];
    // A readiness may be of before.
    let _ = stream.try_read(&mut byte);
}

#[test]
fn await_and_queue_are_told_as_each_function_measured_them() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = agent(&collector);
    const NAPS: usize = 120;
    const PAUSE: Duration = Duration::from_millis(12);
    let measured: Arc<[Measured; 4]> = Arc::default();
    let runtime = two_threads();
    runtime.block_on(async {
        let sleepers = (0..4).map(|_| {
            let measured = Arc::clone(&measured);
            tokio::spawn(request(1, "sleeper", async move {
                for i in 0..NAPS {
                    napping(&measured[0], Duration::from_millis(5 + i as u64 % 20)).await;
                }
            }))
        });
        let sleepers: Vec<_> = sleepers.collect();
        // A lock that somebody holds while the other wants it.
        let (lock, woken) = (Arc::new(Mutex::new(())), Woken::default());
        let (asks, asked) = mpsc::channel::<oneshot::Sender<()>>(1);
        let holder = tokio::spawn(hold_when_asked(Arc::clone(&lock), woken.clone(), asked, PAUSE));
        let wanting = tokio::spawn(request(2, "locker", {
            let measured = Arc::clone(&measured);
            async move {
                for _ in 0..NAPS {
                    let (held, is_held) = oneshot::channel();
                    asks.send(held).await.unwrap();
                    is_held.await.unwrap();
                    wanting_a_lock(&measured[1], &lock, &woken).await;
                }
            }
        }));
        // A channel with room for one, whose reader is slow.
        let (sender, mut receiver) = mpsc::channel(1);
        let woken = Woken::default();
        let filling = tokio::spawn(request(3, "sender", {
            let (measured, woken) = (Arc::clone(&measured), woken.clone());
            async move {
                sender.send(0).await.unwrap();
                for _ in 0..NAPS {
                    filling_a_channel(&measured[2], &sender, &woken).await;
                }
            }
        }));
        let reader = tokio::spawn(async move {
            loop {
                sleep(PAUSE).await;
                woken.now();
                if receiver.recv().await.is_none() {
                    break;
                }
            }
        });
        // A peer that takes its time.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        let (woken, ready) = (Woken::default(), Arc::new(Notify::new()));
        let peer = tokio::spawn({
            let (woken, ready) = (woken.clone(), Arc::clone(&ready));
            async move {
                for _ in 0..NAPS {
                    ready.notified().await;
                    sleep(PAUSE).await;
                    peer.writable().await.unwrap();
                    woken.now();
                    peer.try_write(&[7]).unwrap();
                }
            }
        });
        let reading = tokio::spawn(request(4, "reader", {
            let measured = Arc::clone(&measured);
            async move {
                let mut byte = [0; 1];
                for _ in 0..NAPS {
                    // The readiness of before is taken back by a read that finds nothing.
                    while stream.try_read(&mut byte).is_ok() {}
                    ready.notify_one();
                    reading_from_a_peer(&measured[3], &stream, &woken).await;
                }
            }
        }));
        for sleeper in sleepers {
            sleeper.await.unwrap();
        }
        for task in [holder, wanting, filling, reader, peer, reading] {
            task.await.unwrap();
        }
    });
    let stats = agent.stats();
    drop(agent);
    println!("{:?}", stats.waits);

    let (functions, rows) = (Functions::of_this_binary(), waits(&collector.windows()));
    let names = ["napping", "wanting_a_lock", "filling_a_channel", "reading_from_a_peer"];
    for (name, measured) in names.iter().zip(&*measured).skip(1) {
        check(&rows, &functions, name, measured);
    }
    // When a timer fires only the runtime knows: some time after it was due.
    let ((due, late), both) =
        (measured[0].read(), ["await", "queue"].map(|state| told(&rows, &functions, names[0], state)));
    let sum = both[0] + both[1];
    assert!(both[0] >= due * 0.95 && both[1] <= late, "{both:?} of {due:e} and {late:e}");
    assert!((sum - (due + late)).abs() < 0.05 * sum, "{both:?} of {due:e} and {late:e}");
    // Whose waits they are.
    for (number, (name, tenant)) in (1..).zip(names.iter().zip(["sleeper", "locker", "sender", "reader"])) {
        let here: Vec<_> = rows.iter().filter(|row| functions.on_stack(&row.stack, name)).collect();
        assert!(!here.is_empty());
        for row in here {
            assert_eq!((row.trace_id, label(row, "tenant")), (Some([number; 16]), Some(tenant)), "{name}");
            assert!(!row.truncated, "{name}: a stack is whole, from the leaf to the thread's root");
        }
    }
}

/// Holds a lock each time that somebody asks, for as long as `pause`, and says when it is about to let go.
async fn hold_when_asked(
    lock: Arc<Mutex<()>>,
    woken: Woken,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
    pause: Duration,
) {
    while let Some(is_held) = asked.recv().await {
        let held = lock.lock().await;
        let _ = is_held.send(());
        sleep(pause).await;
        woken.now();
        drop(held);
    }
}

#[inline(never)]
async fn starved(measured: &Measured, notify: &Notify, woken: &Woken) {
    let began = Instant::now();
    notify.notified().await;
    measured.add(began, woken.take(), Instant::now());
}

/// A worker that is kept busy after it woke a task lets that wait in the queue, and not in the await.
#[test]
fn a_starved_task_is_in_the_queue() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = agent(&collector);
    let measured = Arc::new(Measured::default());
    one_thread().block_on(async {
        let (notify, woken) = (Arc::new(Notify::new()), Woken::default());
        let task = tokio::spawn(request(5, "starved", {
            let (measured, notify, woken) = (Arc::clone(&measured), Arc::clone(&notify), woken.clone());
            async move {
                for _ in 0..60 {
                    starved(&measured, &notify, &woken).await;
                }
            }
        }));
        while !task.is_finished() {
            sleep(Duration::from_millis(5)).await;
            woken.now();
            notify.notify_one();
            // Without an await: the only worker does nothing else.
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    drop(agent);
    let rows = waits(&collector.windows());
    check(&rows, &Functions::of_this_binary(), "starved", &measured);
    let (awaited, queued) = measured.read();
    assert!(queued > 2.0 * awaited, "the test did what it says: {measured:?}");
}

#[inline(never)]
async fn hanging() {
    std::future::poll_fn(|cx| {
        let waker = cx.waker().clone();
        // Somebody has it and never uses it.
        HELD.lock().unwrap().push(waker);
        std::task::Poll::<()>::Pending
    })
    .await;
}

static HELD: StdMutex<Vec<std::task::Waker>> = StdMutex::new(Vec::new());

/// What hangs shows in each window while it hangs, and only until it is given up.
#[test]
fn a_wait_that_does_not_end_is_told_window_by_window() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = agent(&collector);
    let functions = Functions::of_this_binary();
    let runtime = two_threads();
    let began = Instant::now();
    let task = runtime.spawn(request(6, "hangs", hanging()));
    let told_in = || {
        let told = |window: &Window| told(&window.rows("wait"), &functions, "hanging", "await");
        collector.windows().iter().map(told).filter(|ns| *ns > 0.0).collect::<Vec<f64>>()
    };
    wait_at_work("three windows", || told_in().len() >= 3);
    assert_eq!(agent.stats().waits.open, 1);
    task.abort();
    wait_for("the end of the wait", || agent.stats().waits.open == 0);
    let lasted = began.elapsed().as_nanos() as f64;
    let dropped = agent.stats().waits.dropped;
    drop(agent);
    let sum: f64 = told_in().iter().sum();
    assert!(sum <= lasted, "{sum:e} of {lasted:e}");
    assert!(sum >= 1.5e9, "{sum:e}: whole windows were told");
    assert_eq!(dropped, 1);
    HELD.lock().unwrap().drain(..).for_each(std::task::Waker::wake);
}

/// Places and times of one future, each of its own name.
struct Seen {
    rows: Vec<Row>,
    functions: Functions,
    /// How long all of it took, in milliseconds.
    lasted: f64,
}

impl Seen {
    /// Runs a request on a runtime of two workers, in one window: at the end of each, nobody knows yet which branch is going to wake.
    fn of<F: Future<Output = ()> + Send + 'static>(work: F) -> Self {
        let collector = Collector::start();
        let agent = Agent::builder("waits").endpoint(collector.endpoint()).window(Duration::from_secs(3_600));
        let agent = agent.heap_mean_bytes(0).waits_per_second(100_000).start().unwrap();
        let (runtime, began) = (two_threads(), Instant::now());
        runtime.block_on(async { tokio::spawn(request(7, "seen", work)).await.unwrap() });
        let lasted = began.elapsed().as_secs_f64() * 1e3;
        drop(runtime);
        drop(agent);
        Self { rows: waits(&collector.windows()), functions: Functions::of_this_binary(), lasted }
    }

    /// Milliseconds under a function, in either state.
    fn ms(&self, function: &str) -> f64 {
        let both = ["await", "queue"].map(|state| told(&self.rows, &self.functions, function, state));
        both.iter().sum::<f64>() / 1e6
    }
}

macro_rules! sleepers {
    ($($name:ident),*) => {
        $(
            #[inline(never)]
            async fn $name(ms: u64) {
                sleep(Duration::from_millis(ms)).await;
            }
        )*
    };
}

sleepers!(selected, loser, joined_short, joined_long, one_of_all, in_a_set, in_time, in_a_task, first_step);

#[test]
fn select_is_seen_at_the_branch_that_wakes() {
    let _alone = alone();
    let seen = Seen::of(async {
        tokio::select! {
            () = loser(600_000) => unreachable!(),
            () = selected(60) => {}
        }
    });
    let (selected, loser) = (seen.ms("selected"), seen.ms("loser"));
    assert!(selected >= 55.0 && loser < selected / 10.0, "{selected} ms and {loser} ms");
}

#[test]
fn join_is_told_once_at_whichever_branch_wakes() {
    let _alone = alone();
    let seen = Seen::of(async {
        tokio::join!(joined_short(60), joined_long(180));
    });
    let (short, long) = (seen.ms("joined_short"), seen.ms("joined_long"));
    assert!(short >= 55.0 && long >= 110.0, "{short} ms and {long} ms");
    assert!(short + long <= seen.lasted, "not added up: {short} ms and {long} ms of {} ms", seen.lasted);
}

#[test]
fn join_all_is_seen_at_its_leaves() {
    let _alone = alone();
    let seen = Seen::of(async {
        join_all((1..=5).map(|n| one_of_all(n * 30))).await;
    });
    let all = seen.ms("one_of_all");
    assert!(all >= 140.0 && all <= seen.lasted, "{all} ms of {} ms", seen.lasted);
}

#[test]
fn a_set_of_futures_is_seen_where_it_is_polled() {
    let _alone = alone();
    let seen = Seen::of(async {
        let mut set: FuturesUnordered<_> = [40, 80, 120].map(in_a_set).into_iter().collect();
        while set.next().await.is_some() {}
    });
    let set = seen.ms("FuturesUnordered");
    assert!(set >= 110.0 && set <= seen.lasted, "once, however many there are: {set} ms of {} ms", seen.lasted);
    let at_a_leaf = seen.rows.iter().any(|row| seen.functions.on_stack(&row.stack, "Sleep"));
    assert!(!at_a_leaf, "it has a waker of its own, and what it wakes is not seen");
}

#[test]
fn a_timeout_is_seen_at_what_it_bounds_or_at_itself() {
    let _alone = alone();
    let seen = Seen::of(async {
        let _ = tokio::time::timeout(Duration::from_secs(600), in_time(60)).await;
        let _ = tokio::time::timeout(Duration::from_millis(90), std::future::pending::<()>()).await;
    });
    let (bounded, itself) = (seen.ms("in_time"), seen.ms("Timeout"));
    assert!(bounded >= 55.0, "{bounded} ms");
    assert!(itself - bounded >= 80.0, "{itself} ms, of which {bounded} ms in what it bounds");
}

#[test]
fn a_spawned_task_is_seen_by_itself_and_whoever_joins_it_too() {
    let _alone = alone();
    let seen = Seen::of(async {
        let task = tephra_agent::spawn(in_a_task(80));
        joining(task).await;
        first_step(30).await;
    });
    let (task, joining, next) = (seen.ms("in_a_task"), seen.ms("joining"), seen.ms("first_step"));
    assert!(task >= 75.0 && joining >= 60.0 && next >= 25.0, "{task} ms, {joining} ms, {next} ms");
    let here = seen.rows.iter().filter(|row| seen.functions.on_stack(&row.stack, "in_a_task"));
    for row in here {
        assert_eq!((row.trace_id, label(row, "tenant")), (Some([7; 16]), Some("seen")), "it works for its spawner");
    }
}

#[inline(never)]
async fn joining(task: tokio::task::JoinHandle<()>) {
    task.await.unwrap();
}

/// Nothing is sampled of whoever asks for nothing.
#[test]
fn without_a_rate_there_are_no_waits() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = Agent::builder("waits").endpoint(collector.endpoint()).window(Duration::from_secs(1));
    let agent = agent.waits_per_second(0).start().unwrap();
    two_threads().block_on(request(8, "none", first_step(20)));
    support::burn(Duration::from_millis(100));
    let stats = agent.stats();
    drop(agent);
    assert_eq!((stats.wait_samples, stats.waits.polls), (0, 0));
    assert!(waits(&collector.windows()).is_empty());
}
