//! A collector that is dead, deaf or mad costs windows and nothing else.
#![cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use support::{Collector, alone, burn, wait_at_work, wait_for};
use tephra_agent::Agent;
use tephra_proto::v1::{DropReason, PushResponse};
use tonic::Status;

fn start(endpoint: String) -> Agent {
    Agent::builder("unlucky").endpoint(endpoint).window(Duration::from_secs(1)).start().unwrap()
}

/// Names of this process's threads.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok()).collect()
}

/// Listens, and treats each connection as the test says.
fn server(treat: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(treat));
    endpoint
}

#[test]
fn windows_wait_for_a_dead_collector_and_the_service_goes_on() {
    let _alone = alone();
    let agent = start("http://127.0.0.1:9".to_owned());
    burn(Duration::from_millis(2_500));
    wait_at_work("a failed attempt", || agent.stats().failed_attempts > 0);
    let stats = agent.stats();
    assert!(stats.windows_waiting > 0 && stats.windows_delivered == 0, "{stats:?}");
    assert!(stats.queue_bytes < 4 << 20, "{stats:?}");
    assert!(stats.cpu_samples > 0, "sampling does not depend on shipping: {stats:?}");
    assert!(!agent.flush(), "nobody took them");
    drop(agent);
    wait_for("the agent's threads to end", || !threads().iter().any(|name| name.starts_with("tephra")));
}

#[test]
fn a_collector_that_never_answers_does_not_hold_up_the_end() {
    let _alone = alone();
    let (keep, kept) = std::sync::mpsc::channel();
    let agent = start(server(move |connection| keep.send(connection).unwrap()));
    burn(Duration::from_millis(1_500));
    let _connection = kept.recv_timeout(Duration::from_secs(60)).unwrap();
    drop(agent);
    wait_for("the agent's threads to end", || !threads().iter().any(|name| name.starts_with("tephra")));
}

#[test]
fn garbage_instead_of_a_reply_is_survived() {
    let _alone = alone();
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        // A settings frame, then headers of a stream that nobody opened.
        &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 4, 0, 0, 0, 99, 0x88, 0x88, 0x88, 0x88],
        // A frame that claims 16 MiB.
        &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1],
        &[],
    ];
    for answer in answers {
        let agent = start(server(move |mut connection| {
            let _ = connection.read(&mut [0; 1024]);
            let _ = connection.write_all(answer);
        }));
        burn(Duration::from_millis(300));
        wait_at_work("a failed attempt", || agent.stats().failed_attempts > 0);
        assert_eq!(agent.stats().windows_delivered, 0);
    }
}

#[test]
fn a_window_that_is_tried_again_keeps_its_sequence_number() {
    let _alone = alone();
    let collector = Collector::answering(|n, _| match n {
        0 => Err(Status::unavailable("starting")),
        1 => Err(Status::resource_exhausted("busy")),
        _ => Ok(PushResponse { duplicate: n == 2, ..PushResponse::default() }),
    });
    let agent = start(collector.endpoint());
    burn(Duration::from_millis(1_500));
    wait_at_work("delivery", || agent.stats().windows_delivered >= 2);
    let stats = agent.stats();
    assert_eq!((stats.failed_attempts, stats.windows_duplicate), (2, 1));
    drop(agent);
    let pushes = collector.pushes();
    let sequences: Vec<u64> = pushes.iter().map(|push| push.header.as_ref().unwrap().sequence).collect();
    assert_eq!(sequences[..4], [1, 1, 1, 2]);
    assert!(pushes[0] == pushes[1] && pushes[1] == pushes[2], "a repeat is the same to the byte");
}

#[test]
fn a_refused_window_is_not_repeated_and_its_samples_are_accounted_for() {
    let _alone = alone();
    let collector = Collector::answering(|n, _| match n {
        0 => Err(Status::invalid_argument("a label is odd\n\u{1b}[31m")),
        _ => Ok(PushResponse::default()),
    });
    let agent = start(collector.endpoint());
    burn(Duration::from_millis(1_200));
    wait_at_work("a refusal", || agent.stats().windows_refused == 1);
    let refused = agent.stats().dropped.refused;
    assert!(refused > 0);
    wait_at_work("two more windows", || agent.stats().windows_delivered >= 2);
    drop(agent);
    let windows = collector.windows();
    assert_eq!((windows[0].header.sequence, windows[1].header.sequence), (1, 2));
    assert_eq!(windows[0].stored(), refused);
    let reported = windows.iter().skip(1).flat_map(|window| &window.header.drops);
    let reported: u64 = reported.filter(|drop| drop.reason() == DropReason::Refused).map(|drop| drop.samples).sum();
    assert_eq!(reported, refused, "reported once, by a later window");
    for window in &windows {
        assert_eq!(window.header.sampled, window.stored() + window.dropped());
    }
}

#[test]
fn a_process_at_rest_sends_nothing() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = start(collector.endpoint());
    // A loaded machine may keep the agent busy for a while before all is at rest; then there is nothing to tell for many windows.
    wait_for("a rest of five windows", || {
        let sent = collector.pushes().len();
        std::thread::sleep(Duration::from_secs(5));
        collector.pushes().len() == sent
    });
    let (before, sent) = (agent.stats(), collector.pushes().len());
    wait_at_work("a window with something in it", || collector.pushes().len() > sent);
    assert_eq!(before.windows_waiting, 0, "{before:?}");
    drop(agent);
    let pushes = collector.pushes();
    let told: Vec<_> =
        pushes.iter().flat_map(|push| &push.header).map(|header| (header.sequence, header.sampled)).collect();
    assert!(told.iter().zip(1..).all(|((sequence, sampled), place)| *sequence == place && *sampled > 0), "{told:?}");
}

#[test]
fn a_pause_that_the_collector_asks_for_is_kept() {
    let _alone = alone();
    let collector = Collector::answering(|_, _| Ok(PushResponse { retry_after_ms: u32::MAX, ..Default::default() }));
    let agent = start(collector.endpoint());
    wait_at_work("delivery", || agent.stats().windows_delivered == 1);
    wait_at_work("two windows that wait", || agent.stats().windows_waiting >= 2);
    assert_eq!(collector.pushes().len(), 1);
    drop(agent);
    assert!(collector.pushes().len() >= 3, "stopping ships what is left");
}
