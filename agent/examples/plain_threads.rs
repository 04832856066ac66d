//! A program with two busy threads and no runtime. Start a collector, run this, open <http://127.0.0.1:4040>.
//!
//! `cargo run -p tephra-agent --example plain_threads [seconds] [endpoint]`

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use tephra_agent::{Agent, TraceContext, attach};

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

fn sum_of_squares(upto: u64) -> u64 {
    (0..upto).fold(0, |sum, i| sum.wrapping_add(i * i))
}

fn build_words(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("word {i}")).collect()
}

fn main() -> Result<(), tephra_agent::StartError> {
    let seconds = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(10);
    let endpoint = std::env::args().nth(2).unwrap_or_else(|| "http://127.0.0.1:4040".to_owned());
    let agent = Agent::builder("plain-threads")
        .endpoint(endpoint)
        .label("version", "v1")
        .window(Duration::from_secs(1))
        .start()?;
    let numbers = thread::spawn(move || {
        for _ in 0..seconds * 20 {
            let _label = attach(TraceContext::root());
            black_box(sum_of_squares(black_box(1_000_000)));
            thread::sleep(Duration::from_millis(40));
        }
    });
    let words = thread::spawn(move || {
        for _ in 0..seconds * 20 {
            black_box(build_words(20_000));
            thread::sleep(Duration::from_millis(40));
        }
    });
    numbers.join().and_then(|()| words.join()).expect("neither thread panics");
    println!("{:#?}", agent.stats());
    Ok(())
}
