//! A program on an allocator of its own, under the agent: it must not notice, and what is told of it must be true.

use std::hint::black_box;
use std::time::Duration;

use tephra_agent::Agent;
use tephra_proto::codec;
use tephra_proto::limits::PAYLOAD_BYTES_MAX;
use tephra_proto::v1::{PushRequest, WindowPayload};
use tephra_tests::clock::eventually;
use tephra_tests::sink::Sink;

#[repr(align(65536))]
struct Wide([u8; 65_536]);

/// Runs it, and checks both. For a test whose global allocator is the one to be tested.
pub(crate) fn a_program_is_served_and_told_of() {
    let sink = Sink::start();
    let agent = Agent::builder("heap").endpoint(sink.endpoint()).heap_mean_bytes(64 << 10);
    let agent = agent.window(Duration::from_secs(1)).start().expect("the agent starts");
    let threads: Vec<_> = (0..4u8).map(|seed| std::thread::spawn(move || churn(seed))).collect();
    let mut held: Vec<Vec<u8>> =
        threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect();
    let bytes: usize = held.iter().map(Vec::len).sum();
    let told = in_use_of_next_window(&sink);
    // About 500 sampled blocks: five standard deviations are 22 %.
    assert!((told / bytes as f64 - 1.0).abs() < 0.22, "{told} of {bytes} bytes are told to be in use");
    assert!(held.iter().all(|block| block.iter().all(|&byte| byte == block[0])));
    // Freed by another thread than those that allocated.
    held.clear();
    let told = in_use_of_next_window(&sink);
    assert!(told < bytes as f64 / 20.0, "{told} bytes are told to be in use when {bytes} were freed");
    assert_eq!(agent.stats().dropped.heap_table_full, 0);
    drop(agent);
}

/// Blocks of all sizes and alignments that come, grow, shrink and go; returns those that stay.
#[inline(never)]
fn churn(seed: u8) -> Vec<Vec<u8>> {
    let mut kept = Vec::new();
    for i in 0..400usize {
        let size = 1 + (i * 7_919 + usize::from(seed) * 104_729) % 40_000;
        let mut block = vec![seed; size];
        block.resize(size * 2, seed);
        let zeroed = vec![0u8; 100_000 + size];
        assert!(zeroed.iter().all(|&byte| byte == 0), "zeroed memory is zero");
        if i % 16 == 0 {
            let wide = black_box(Box::new(Wide([seed; 65_536])));
            assert!((&raw const *wide as usize).is_multiple_of(65_536) && wide.0.iter().all(|&byte| byte == seed));
        }
        if i % 2 == 0 {
            block.truncate(size);
            block.shrink_to_fit();
            kept.push(block);
        }
    }
    kept
}

/// Bytes told to be in use by a window that began after this call.
fn in_use_of_next_window(sink: &Sink) -> f64 {
    let seen = sink.windows().len();
    let window = eventually("two more windows", || (sink.windows().len() >= seen + 2).then(|| sink.windows().pop()));
    window.map_or(0.0, |window| in_use(&window))
}

fn in_use(window: &PushRequest) -> f64 {
    let payload = codec::decompress(&window.payload, PAYLOAD_BYTES_MAX).expect("our own frame");
    let payload: WindowPayload = prost::Message::decode(&payload[..]).expect("our own payload");
    let is_it = |name: &str| name == "inuse_space";
    let mut series = payload.series.iter().filter(|series| series.r#type.as_ref().is_some_and(|t| is_it(&t.name)));
    series.next().expect("the window tells of memory in use").value.iter().sum::<u64>() as f64
}
