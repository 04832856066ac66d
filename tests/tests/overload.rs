//! A collector that gets more than it can take says so, keeps its memory, and goes on serving everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tephra_proto::v1::PushRequest;
use tephra_tests::clock::{eventually, now_ms};
use tephra_tests::collector::Collector;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Window, aligned};
use tonic::Code;

/// Far below what the noisy service asks for at once.
const INGEST_MEMORY: &str = "32MiB";

/// The stated cap of the whole process: the ingest budget above, 64 MiB of bodies on their way in, 128 MiB of caches for reads, and what the
/// program, its threads' arenas and the queries take.
const MEMORY_MAX: u64 = 400 << 20;

const NOISY_CONNECTIONS: u8 = 48;
const QUIET_WINDOWS: u64 = 20;

#[test]
fn a_noisy_service_is_held_back_while_a_quiet_one_and_queries_are_served() {
    let collector = Collector::start_with(&["--ingest-memory", INGEST_MEMORY]);
    let stop = Arc::new(AtomicBool::new(false));
    let (accepted, held_back) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let large = Arc::new(large_window());
    let start = aligned(now_ms(), 7_200_000);
    let noise: Vec<_> = (1..=NOISY_CONNECTIONS)
        .map(|number| {
            let (endpoint, large) = (collector.endpoint(), Arc::clone(&large));
            let (stop, accepted, held_back) = (Arc::clone(&stop), Arc::clone(&accepted), Arc::clone(&held_back));
            thread::spawn(move || {
                let pusher = Pusher::new(&endpoint);
                let mut agent = Agent::new("noisy", number);
                let mut request = agent.seal(start, &large);
                while !stop.load(Ordering::Relaxed) {
                    // Comes again at once, as no agent of ours would.
                    match pusher.push(request.clone()) {
                        Ok(_) => {
                            accepted.fetch_add(1, Ordering::Relaxed);
                            request = renumber(&request);
                        }
                        Err(refused) => {
                            assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
                            let pushback = refused.metadata().get("grpc-retry-pushback-ms").expect("a retry hint");
                            let pause: u64 = pushback.to_str().expect("text").parse().expect("milliseconds");
                            assert!((1_000..=300_000).contains(&pause), "{pause} ms");
                            held_back.fetch_add(1, Ordering::Relaxed);
                            thread::sleep(Duration::from_millis(5));
                        }
                    }
                }
            })
        })
        .collect();

    let pusher = Pusher::new(&collector.endpoint());
    let mut agent = Agent::new("quiet", 200);
    let window = Window::new().cpu(&["main", "work"], 10);
    eventually("the noise is too much", || (held_back.load(Ordering::Relaxed) > 50).then_some(()));
    let mut slowest_query = Duration::ZERO;
    for i in 0..QUIET_WINDOWS {
        // Not one may be sent back: no retries here.
        pusher.accept(agent.seal(start + i * 10_000, &window));
        let asked = Instant::now();
        let until = start + (i + 1) * 10_000;
        let flame = collector.api.json(&format!("/api/v1/flamegraph?service=quiet&from={start}&until={until}"));
        slowest_query = slowest_query.max(asked.elapsed());
        assert_eq!(flame.pointer("/a/samples").and_then(serde_json::Value::as_u64), Some((i + 1) * 10), "{flame}");
    }
    assert!(held_back.load(Ordering::Relaxed) > 50, "there was no overload to speak of");
    stop.store(true, Ordering::Relaxed);
    for thread in noise {
        thread.join().expect("the noisy service only sees what overload says");
    }

    let status = collector.api.json("/api/v1/status");
    let count = |pointer: &str| status.pointer(pointer).and_then(serde_json::Value::as_u64).expect(pointer);
    assert_eq!(
        count("/store/windows"),
        accepted.load(Ordering::Relaxed) + QUIET_WINDOWS,
        "acked is stored, and nothing else"
    );
    assert_eq!(count("/ingest/overloaded_total"), held_back.load(Ordering::Relaxed));
    assert!(accepted.load(Ordering::Relaxed) > 0, "held back is not shut out");
    let peak = collector.peak_memory();
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
    println!(
        "noisy: {} acked, {} sent back; slowest query {slowest_query:?}; peak memory {} MiB",
        accepted.load(Ordering::Relaxed),
        held_back.load(Ordering::Relaxed),
        peak >> 20
    );
}

/// The same window as the next one of its agent.
fn renumber(request: &PushRequest) -> PushRequest {
    let mut request = request.clone();
    let header = request.header.as_mut().expect("a header");
    header.sequence += 1;
    header.window_start_unix_ms += 10_000;
    request
}

/// About 2 MiB once inflated, and several times that in tables.
fn large_window() -> Window {
    let names: Vec<String> = (0..20_000).map(|i| format!("service::module_{}::function_{i}", i % 97)).collect();
    names.chunks(4).fold(Window::new(), |window, stack| {
        let stack: Vec<&str> = stack.iter().map(String::as_str).collect();
        window.cpu(&stack, 3)
    })
}

/// Bodies that are announced as large as can be and then never come, more of them than there is room for; from 127.0.0.2, because a neighbour's
/// address is what tells them apart.
#[test]
fn slow_bodies_of_a_neighbour_and_half_sent_headers_hold_nobody_up() {
    const SLOW: usize = 40;
    let collector = Collector::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let port = collector.port();
    let slow: Vec<_> = (0..SLOW)
        .map(|i| {
            let stream = runtime.block_on(async {
                let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
                socket.bind("127.0.0.2:0".parse().expect("an address")).expect("a local address");
                socket.connect(([127, 0, 0, 1], port).into()).await.expect("connects")
            });
            let mut stream = stream.into_std().expect("a plain socket");
            stream.set_nonblocking(false).expect("a blocking socket");
            let head = b"POST /tephra.v1.ProfileService/Push HTTP/1.1\r\nHost: x\r\nContent-Type: application/grpc\r\n\
                         TE: trailers\r\nContent-Length: 4194304\r\n\r\n\x00\x00\x3f\xff\xfb";
            // Every other one does not even end its header.
            let sent = if i % 2 == 0 { &head[..] } else { &head[..60] };
            std::io::Write::write_all(&mut stream, sent).expect("takes a few bytes");
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let pusher = Pusher::new(&collector.endpoint());
    let mut agent = Agent::new("quiet", 1);
    let start = aligned(now_ms(), 600_000);
    for i in 0..10 {
        pusher.accept(agent.seal(start + i * 10_000, &Window::new().cpu(&["main"], 1)));
    }
    assert_eq!(collector.windows(), 10);
    assert_eq!(collector.api.get("/api/v1/services").status, 200);
    drop(slow);
}
