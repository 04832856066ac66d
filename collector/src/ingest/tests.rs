//! Acked means durable, counted once and visible; whatever fails, nothing that was not stored is acked.

use std::path::Path;
use std::sync::atomic::AtomicU8;

use tephra_proto::ids::TraceId;
use tephra_proto::v1::profile_service_client::ProfileServiceClient;
use tokio::net::TcpListener;

use super::relabel::OVERFLOW_VALUE;
use super::testing::{TestWindow, recent_ms, row, traced};
use super::*;
use crate::query::{QueryEngine, QueryLimits, Selection};
use crate::store::Options;
use crate::store::bulk::{Bulk, BulkError, Folder};
use crate::store::spoiled::{Fate, Spoiled};
use crate::store::testing::{TestPlace, options};

async fn open(place: &TestPlace) -> (Arc<Store>, Ingest) {
    let store = place.open().await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    (store, ingest)
}

async fn close(store: Arc<Store>, ingest: Ingest) {
    drop(ingest);
    // The writer lets go of the store once its last sender is gone.
    while Arc::strong_count(&store) > 1 {
        tokio::task::yield_now().await;
    }
    store.catalog().close().await;
}

async fn total(store: &Arc<Store>) -> u64 {
    let selection = Selection::everything("shop", "cpu");
    QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await.unwrap().total()
}

fn window(sequence: u64) -> TestWindow {
    TestWindow::new("shop", 1, sequence, recent_ms() + sequence * 10_000).cpu(&[row("main", 1)])
}

/// Every window 1 … 40 in a scrambled order, with repeats in the same batch, in later batches and after restarts.
#[tokio::test]
async fn reordered_and_repeated_windows_are_counted_once_across_restarts() {
    let place = TestPlace::new().await;
    let mut acked = std::collections::BTreeSet::new();
    for round in 0..3u64 {
        let (store, ingest) = open(&place).await;
        let order: Vec<u64> = (0..60).map(|i| (i * 17 + round * 5) % 40 + 1).collect();
        let pushes: Vec<_> = order
            .iter()
            .map(|sequence| {
                let (ingest, request) = (ingest.clone(), window(*sequence).request());
                tokio::spawn(async move { ingest.push(request).await.unwrap().duplicate })
            })
            .collect();
        let mut fresh = 0;
        for (sequence, push) in order.iter().zip(pushes) {
            let duplicate = push.await.unwrap();
            fresh += u64::from(!duplicate);
            acked.insert(*sequence);
        }
        assert_eq!(fresh, if round == 0 { 40 } else { 0 }, "round {round}");
        assert_eq!(total(&store).await, acked.len() as u64);
        let metrics = ingest.metrics().snapshot();
        assert_eq!((metrics.windows_total, metrics.duplicates_total), (fresh, 60 - fresh));
        close(store, ingest).await;
    }
}

#[tokio::test]
async fn a_boot_counts_anew_and_a_stale_number_is_refused_rather_than_guessed() {
    let place = TestPlace::new().await;
    let (store, ingest) = open(&place).await;
    let mut request = window(5_000).request();
    request.header.as_mut().unwrap().window_start_unix_ms = recent_ms();
    ingest.push(request.clone()).await.unwrap();
    request.header.as_mut().unwrap().boot_id = 2;
    assert!(!ingest.push(request.clone()).await.unwrap().duplicate);
    request.header.as_mut().unwrap().sequence = 3_000;
    let error = ingest.push(request).await.unwrap_err();
    assert!(
        matches!(error, PushError::Refused(Rejection::StaleSequence { sequence: 3_000, newest: 5_000, .. })),
        "{error}"
    );
    assert_eq!(total(&store).await, 2);
}

#[tokio::test]
async fn a_refused_window_is_counted_by_reason_and_leaves_nothing() {
    let place = TestPlace::new().await;
    let (store, ingest) = open(&place).await;
    let mut bad = window(1);
    bad.payload.series[0].stack[0] = 99;
    assert!(matches!(ingest.push(bad.request()).await, Err(PushError::Refused(Rejection::Dangling { .. }))));
    let no_header = v1::PushRequest::default();
    assert!(matches!(ingest.push(no_header).await, Err(PushError::Refused(Rejection::NoHeader))));
    let mut huge = window(1).request();
    huge.payload_bytes = u32::MAX;
    assert!(matches!(ingest.push(huge).await, Err(PushError::Refused(Rejection::Codec(_)))));
    let refused = ingest.metrics().snapshot().refused_total;
    let moved: Vec<_> = refused.into_iter().filter(|(_, n)| *n > 0).collect();
    assert_eq!(moved, [("header", 1), ("codec", 1), ("index", 1)]);
    assert_eq!(store.catalog().totals().await.unwrap().segments, 0);
    // The number was not used up: the window can come again, valid.
    assert!(!ingest.push(window(1).request()).await.unwrap().duplicate);
}

#[tokio::test]
async fn accounting_adds_up_over_windows() {
    let place = TestPlace::new().await;
    let (store, ingest) = open(&place).await;
    for sequence in 1..=3 {
        let counter = v1::Kind::Counter;
        let allocated = [row("main;a", 100), row("main;b", 200)];
        let mut window = window(sequence)
            .series("alloc_space", "bytes", counter, &allocated)
            .series("alloc_objects", "count", counter, &allocated)
            .inuse(&allocated);
        window.header.sampled = 3 + 7;
        window.header.process_cpu_ns = 2;
        window.header.drops = vec![v1::DropCount { reason: v1::DropReason::RingFull.into(), samples: 7 }];
        ingest.push(window.request()).await.unwrap();
    }
    let agents = store.catalog().agents(0).await.unwrap();
    assert_eq!(agents.len(), 1);
    let account = &agents[0].accounting;
    assert_eq!((account.sampled, account.stored, account.cpu_ns, account.process_cpu_ns), (30, 9, 3, 6));
    assert_eq!(account.drops, [("ring_full".to_owned(), 21)].into());
    assert_eq!(account.sampled, account.stored + account.drops.values().sum::<u64>());
}

#[tokio::test]
async fn wanted_builds_are_asked_for() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let want_all: WantedBuilds = Arc::new(|modules| modules.iter().map(|module| module.build_id).collect());
    let ingest = Ingest::start(store, want_all);
    let mut window = window(1);
    let modules = [[1; 20], [2; 20]].map(|id| v1::Module { build_id: id.to_vec(), name: 0 });
    window.payload.modules = modules.to_vec();
    let frames = window.payload.frames.as_mut().unwrap();
    frames.module.push(2);
    frames.address_delta.push(0x1000);
    let response = ingest.push(window.request()).await.unwrap();
    assert_eq!(response.wanted_build_ids, [vec![2; 20]], "the other module was mapped, but never seen on a stack");
}

async fn append(ingest: &Ingest, window: TestWindow) -> Result<Ack, PushError> {
    let (ack, ()) = ingest.append_profile(move || Ok::<_, PushError>(([(window.header, window.payload)], ()))).await?;
    Ok(ack)
}

#[tokio::test]
async fn imports_take_the_same_way_and_may_be_older() {
    let place = TestPlace::new().await;
    let (store, ingest) = open(&place).await;
    let week_ago = recent_ms() - 7 * 86_400_000;
    let mut acks = Vec::new();
    for of_a in [6, 6, 7] {
        let window = TestWindow::new("shop", 1, 1, week_ago).cpu(&[row("main", 5), traced("main;a", of_a, 1)]);
        acks.push(append(&ingest, window).await.unwrap().duplicate);
    }
    assert_eq!(acks, [false, true, false], "the same to the byte is a repeat, and nothing else is");
    assert_eq!(total(&store).await, 23);
    let ancient = TestWindow::new("shop", 1, 1, week_ago - 90 * 86_400_000).cpu(&[row("main", 5)]);
    let error = append(&ingest, ancient).await.unwrap_err();
    assert!(matches!(error, PushError::Refused(Rejection::TooLate { .. })), "{error}");
}

#[tokio::test]
async fn windows_of_one_import_are_stored_together_or_not_at_all() {
    let place = TestPlace::new().await;
    let (store, ingest) = open(&place).await;
    let piece = |at: u64, duration_ms: u32| {
        let window = TestWindow::new("shop", 1, 1, recent_ms() + at * 10_000).cpu(&[row("main", 5)]);
        (v1::PushHeader { window_duration_ms: duration_ms, ..window.header }, window.payload)
    };
    let error = ingest.append_profile(move || Ok(([piece(0, 10_000), piece(1, 0)], ()))).await;
    assert!(matches!(error, Err(PushError::Refused(Rejection::OutOfRange { .. }))), "{error:?}");
    ingest.append_profile::<_, _, PushError>(move || Ok(([piece(0, 10_000), piece(1, 500)], ()))).await.unwrap();
    assert_eq!(total(&store).await, 10);
}

/// One that takes long to read is overtaken by more than are told apart, and is stored all the same.
#[tokio::test]
async fn an_import_may_be_overtaken_by_any_number_of_others() {
    let place = TestPlace::new().await;
    let (store, ingest) = open(&place).await;
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (began, begun) = oneshot::channel();
    let slow = tokio::spawn({
        let ingest = ingest.clone();
        async move {
            let read = move || {
                began.send(()).unwrap();
                wait.recv().unwrap();
                Ok::<_, PushError>(([(window(1).header, window(1).payload)], ()))
            };
            ingest.append_profile(read).await
        }
    });
    begun.await.unwrap();
    let n = crate::store::catalog::SEQUENCES_REMEMBERED + 10;
    // No two of them are the same.
    let others: Vec<_> = (1..=n)
        .map(|i| {
            let ingest = ingest.clone();
            tokio::spawn(async move {
                append(&ingest, TestWindow::new("shop", 1, 2, recent_ms()).cpu(&[row("main", i)])).await
            })
        })
        .collect();
    for other in others {
        other.await.unwrap().unwrap();
    }
    go_on.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(total(&store).await, n * (n + 1) / 2 + 1);
}

/// A service that sent something before a restart, with two agents, two instances and a type of its own. Then others invent names.
#[tokio::test]
async fn who_was_there_before_a_flood_keeps_its_place_across_a_restart() {
    let caps = Caps { services_max: 2, agents_max: 4, types_max: 2, series_max: 3, sample_labels_max: 2 };
    let limits = IngestLimits { caps, ..IngestLimits::default() };
    let place = TestPlace::new().await;
    let start_ms = now_ms() - 60_000;
    let sent = |agent: u8, sequence: u64| {
        let rows = [row("main", 1).label("tenant", &format!("known-{agent}"))];
        TestWindow::new("shop", agent, sequence, start_ms).series("own", "count", v1::Kind::Counter, &rows).request()
    };
    let flood = |service: &str, agent: u8| TestWindow::new(service, agent, 1, start_ms);
    {
        let store = place.open().await;
        let ingest = Ingest::start_with(store.clone(), Arc::new(|_| Vec::new()), limits.clone());
        for agent in [1, 2] {
            ingest.push(sent(agent, 1)).await.unwrap();
        }
        close(store, ingest).await;
    }
    let store = place.open().await;
    let ingest = Ingest::start_with(store.clone(), Arc::new(|_| Vec::new()), limits);
    let push = async |window: TestWindow| ingest.push(window.request()).await.map(|_| ());
    let is_full = |result: Result<(), PushError>| matches!(result, Err(PushError::Full { .. }));
    let rows = [row("main", 1)];
    push(flood("a", 1).cpu(&rows)).await.unwrap();
    for service in ["b", "c"] {
        assert!(is_full(push(flood(service, 1).cpu(&rows)).await), "two services are there");
    }
    let typed = |name: &str| flood("shop", 3).series(name, "count", v1::Kind::Counter, &rows);
    push(typed("invented")).await.unwrap();
    assert!(is_full(push(typed("another")).await), "its own type and an invented one are there");
    let tenant = |name: &str| flood("shop", 4).cpu(&[row("main", 1).label("tenant", name)]);
    push(tenant("invented")).await.unwrap();
    assert!(is_full(push(flood("shop", 5).cpu(&rows)).await), "four agents are there");
    // Whoever was there before is stored as ever: its type, its label, its instance.
    for agent in [1, 2] {
        assert!(!ingest.push(sent(agent, 2)).await.unwrap().duplicate);
    }
    let values = async |name| store.catalog().label_values("shop", name, 0, u64::MAX >> 2).await.unwrap();
    assert_eq!(values("instance").await, [OVERFLOW_INSTANCE, "host-1", "host-2", "host-3"]);
    assert_eq!(values("tenant").await, [OVERFLOW_VALUE, "known-1", "known-2"]);
    assert_eq!(ingest.metrics().snapshot().full_total, 4);
    let told: Vec<_> = store.conditions().all().into_iter().map(|told| told.kind).collect();
    assert_eq!(told.iter().filter(|kind| **kind == "names_full").count(), 3, "services, types, agents: {told:?}");
}

#[tokio::test]
async fn series_beyond_the_cap_are_kept_as_one_and_counted() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let caps = Caps { series_max: 2, ..Caps::default() };
    let ingest =
        Ingest::start_with(store.clone(), Arc::new(|_| Vec::new()), IngestLimits { caps, ..IngestLimits::default() });
    for agent in 1..=5u8 {
        let window = TestWindow::new("shop", agent, 1, recent_ms()).label("zone", &agent.to_string());
        ingest.push(window.cpu(&[row("main", 1)]).request()).await.unwrap();
    }
    assert_eq!(total(&store).await, 5, "no value is lost");
    let values = store.catalog().label_values("shop", "instance", 0, u64::MAX >> 2).await.unwrap();
    assert_eq!(values, [OVERFLOW_INSTANCE, "host-1", "host-2"]);
    let zones = store.catalog().label_values("shop", "zone", 0, u64::MAX >> 2).await.unwrap();
    assert_eq!(zones, ["1", "2"]);
    assert_eq!(ingest.metrics().snapshot().overflowed_total, 3);
    assert_eq!(ingest.overflows(), [Overflow { service: "shop".to_owned(), windows: 3 }]);
    // A repeat is recognized in the overflow series too.
    let window = TestWindow::new("shop", 5, 1, recent_ms()).label("zone", "5").cpu(&[row("main", 1)]);
    assert!(ingest.push(window.request()).await.unwrap().duplicate);
}

#[tokio::test]
async fn labels_of_samples_beyond_the_cap_are_kept_as_one_and_counted() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let caps = Caps { sample_labels_max: 2, ..Caps::default() };
    let ingest =
        Ingest::start_with(store.clone(), Arc::new(|_| Vec::new()), IngestLimits { caps, ..IngestLimits::default() });
    for (sequence, user) in (1..).zip(["a", "b", "c", "d", "a"]) {
        let rows = [row("main", 1).label("user", user), traced("main;a", 2, 7).label("user", user), row("main", 4)];
        let window = TestWindow::new("shop", 1, sequence, recent_ms()).cpu(&rows);
        ingest.push(window.request()).await.unwrap();
    }
    assert_eq!(total(&store).await, 35, "no value is lost");
    let users = store.catalog().label_values("shop", "user", 0, u64::MAX >> 2).await.unwrap();
    assert_eq!(users, [OVERFLOW_VALUE, "a", "b"]);
    let engine = QueryEngine::new(store, QueryLimits::default());
    let labels = vec![("user".to_owned(), OVERFLOW_VALUE.to_owned())];
    let mut selection = Selection { labels, ..Selection::everything("shop", "cpu") };
    assert_eq!(engine.merge(&selection).await.unwrap().total(), 6);
    selection.trace = TraceId::from_bytes([7; 16]);
    assert_eq!(engine.merge(&selection).await.unwrap().total(), 4, "traces are not touched");
    assert_eq!(ingest.metrics().snapshot().relabelled_total, 2);
}

#[tokio::test]
async fn what_agents_had_no_memory_for_is_counted_once_per_window() {
    let place = TestPlace::new().await;
    let ingest = Ingest::start(place.open().await, Arc::new(|_| Vec::new()));
    let mut request = window(1).request();
    let coarsened = v1::Coarsened { without_span: 5, without_trace: u64::MAX, without_labels: 0 };
    request.header.as_mut().unwrap().coarsened = Some(coarsened);
    for _ in 0..2 {
        ingest.push(request.clone()).await.unwrap();
    }
    let counted = ingest.metrics().snapshot().coarsened_total;
    assert_eq!(counted, [("span", 5), ("trace", 1 << 32), ("labels", 0)], "what cannot be is not believed");
}

#[tokio::test]
async fn a_window_that_could_never_fit_is_refused_and_not_told_to_come_again() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let limits = IngestLimits { memory: 64 << 10, ..IngestLimits::default() };
    let ingest = Ingest::start_with(store.clone(), Arc::new(|_| Vec::new()), limits);
    ingest.push(window(1).request()).await.unwrap();
    let rows: Vec<_> = (0..2_000).map(|i| row(&format!("main;f{i}"), 1)).collect();
    let large = TestWindow::new("shop", 1, 2, recent_ms()).cpu(&rows);
    let error = ingest.push(large.request()).await.unwrap_err();
    assert!(matches!(error, PushError::Refused(Rejection::TooMuchMemory { limit: 65_536, .. })), "{error}");
    assert_eq!(ingest.memory(), (0, 64 << 10), "everything was given back");
}

/// Fails in a chosen way. 0: works, 1: full, 2: fsync fails.
#[derive(Debug, Default)]
struct Failing {
    mode: AtomicU8,
}

impl Fate for Failing {
    fn put(&self, folder: &Folder, name: &str, content: &[u8]) -> Result<(), BulkError> {
        match self.mode.load(Ordering::Relaxed) {
            0 => folder.put(name, content),
            1 => Err(BulkError::Full { folder: "/data".into() }),
            _ => {
                // The bytes are there, and nobody knows whether they will stay.
                folder.put(name, content)?;
                Err(BulkError::Sync { path: "/data/x".into(), source: std::io::Error::other("EIO") })
            }
        }
    }
}

async fn open_failing(data: &Path) -> (Arc<Spoiled<Failing>>, Arc<Store>, Ingest) {
    let folder = Folder::open(&data.join("segments")).unwrap();
    let failing = Arc::new(Spoiled { folder, fate: Failing::default() });
    let store = Arc::new(Store::open_with(data, options(), failing.clone()).await.unwrap());
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    (failing, store, ingest)
}

#[tokio::test]
async fn a_full_disk_acks_nothing_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, store, ingest) = open_failing(dir.path()).await;
    disk.fate.mode.store(1, Ordering::Relaxed);
    let error = ingest.push(window(1).request()).await.unwrap_err();
    assert!(matches!(&error, PushError::Unavailable(why) if why.contains("full")), "{error}");
    let told = store.conditions().unready().expect("readiness follows the last write");
    assert!(told.contains("free some space"), "{told}");
    disk.fate.mode.store(0, Ordering::Relaxed);
    assert!(!ingest.push(window(1).request()).await.unwrap().duplicate);
    assert_eq!((total(&store).await, store.conditions().unready()), (1, None));
}

#[tokio::test]
async fn a_failed_fsync_stops_acks_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, store, ingest) = open_failing(dir.path()).await;
    assert_eq!(ingest.ready(), Ok(()));
    disk.fate.mode.store(2, Ordering::Relaxed);
    assert!(matches!(ingest.push(window(1).request()).await, Err(PushError::Unavailable(_))));
    disk.fate.mode.store(0, Ordering::Relaxed);
    let error = ingest.push(window(2).request()).await.unwrap_err().to_string();
    assert!(error.contains("restart the collector"), "{error}");
    assert!(ingest.ready().unwrap_err().contains("restart"));
    assert_eq!(store.catalog().totals().await.unwrap().segments, 0);
}

#[tokio::test]
async fn ingest_stops_before_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { free_bytes_min: u64::MAX, ..Options::default() };
    let store = Arc::new(Store::open(dir.path(), options).await.unwrap());
    let ingest = Ingest::start(store, Arc::new(|_| Vec::new()));
    let error = ingest.push(window(1).request()).await.unwrap_err().to_string();
    assert!(error.contains("bytes left") && error.contains("free some space"), "{error}");
    assert!(ingest.ready().is_err());
}

/// The whole way: a real client on a real port, through the router of a running collector.
#[tokio::test]
async fn a_window_pushed_over_grpc_is_acked_and_then_visible() {
    let place = TestPlace::new().await;
    let worker = crate::symbols::Worker::this_program().unwrap();
    let collector = crate::serve::Collector::open(place.place(), options(), worker).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let crate::serve::Collector { store, query, symbols, ingest, .. } = collector.clone();
    let router = crate::http::router(crate::http::AppState::new(store, query, symbols, ingest, [], Default::default()));
    let server = tokio::spawn({
        let collector = collector.clone();
        async move {
            crate::serve::run(&collector, listener, router, async { stopped.await.unwrap_or(()) }).await;
        }
    });
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut client = ProfileServiceClient::new(channel);
    let answer = client.push(window(1).request()).await.unwrap().into_inner();
    assert!(!answer.duplicate && answer.server_unix_ms > 0);
    assert_eq!(total(&collector.store).await, 1);
    assert!(client.push(window(1).request()).await.unwrap().into_inner().duplicate);

    let mut bad = window(2).request();
    bad.header.as_mut().unwrap().service = "no good".to_owned();
    let status = client.push(bad).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("service name \"no good\""), "{status}");

    let mut oversized = window(3).request();
    oversized.payload = vec![0; PAYLOAD_COMPRESSED_BYTES_MAX + (128 << 10)].into();
    assert_eq!(client.push(oversized).await.unwrap_err().code(), tonic::Code::OutOfRange);
    assert_eq!(total(&collector.store).await, 1);
    drop(client);
    stop.send(()).unwrap();
    server.await.unwrap();
}

/// Two collectors that share a store receive the same windows at the same moment, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_collectors_count_a_window_once_whoever_of_them_receives_it() {
    let place = TestPlace::new().await;
    let (store, first) = open(&place).await;
    let Some(beside) = place.beside() else {
        // A folder has one collector; two writers in it are as near as one gets.
        let second = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        return race(&store, [first, second]).await;
    };
    let (other, second) = open(&beside).await;
    race(&store, [first, second]).await;
    assert_eq!(total(&other).await, 60, "what one acked the other shows");
}

async fn race(store: &Arc<Store>, collectors: [Ingest; 2]) {
    let mut pushes = Vec::new();
    for agent in [1, 2, 3] {
        for sequence in 1..=20 {
            let start = recent_ms() + sequence * 10_000;
            let window = TestWindow::new("shop", agent, sequence, start).cpu(&[row("main", 1)]);
            for ingest in &collectors {
                let (ingest, request) = (ingest.clone(), window.request());
                pushes.push(tokio::spawn(async move { ingest.push(request).await }));
            }
            if sequence % 5 == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            }
        }
    }
    let mut fresh = 0;
    for push in pushes {
        fresh += u64::from(!push.await.unwrap().unwrap().duplicate);
    }
    assert_eq!((fresh, total(store).await), (60, 60), "each window is new to exactly one of them");
    let agents = store.catalog().agents(0).await.unwrap();
    assert_eq!(agents.iter().map(|agent| agent.accounting.sampled).sum::<u64>(), 60, "and its account too");
    let totals = store.catalog().totals().await.unwrap();
    assert_eq!((totals.windows, totals.samples), (60, 60));
    let known = store.catalog().objects().await.unwrap().len();
    assert_eq!(store.bulk().list().unwrap().len(), known, "what was given up left no object behind");
}
