//! Measures what the agent costs its host and how exact it is; and beside it, in the same run, what the `pprof` crate costs.

mod accuracy;
mod footprint;
mod handler;
mod labels;
mod rest;
mod shop;
mod sink;
mod waits;
mod work;

use tephra_tests::bench::Report;

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

const PARTS: [&str; 8] = ["rest", "handler", "labels", "waits", "accuracy", "shop", "dense", "footprint"];
/// Those that take turns, for a minute or as long as they are told: their intervals narrow with the square root of the time.
const TAKE_TURNS: [(&str, shop::Density); 2] = [("shop", shop::Density::Usual), ("dense", shop::Density::Dense)];

/// All parts, or those that are named, `shop` and `dense` also as `shop=MINUTES`.
fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    if parts.first().is_some_and(|part| part == sink::ARGUMENT) {
        return sink::serve();
    }
    let minutes =
        |name: &str| parts.iter().find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok());
    let is_part = |part: &&String| {
        let name = part.split('=').next().unwrap_or_default();
        PARTS.contains(&part.as_str()) || (TAKE_TURNS.iter().any(|turns| turns.0 == name) && minutes(name).is_some())
    };
    if let Some(unknown) = parts.iter().find(|part| !is_part(part)) {
        eprintln!("no part {unknown}: there are {}", PARTS.join(", "));
        std::process::exit(2);
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let mut report = Report::default();
    // First, while there is nothing else in the process.
    if wanted("rest") {
        rest::measure(&mut report);
    }
    if wanted("handler") {
        handler::measure(&mut report);
    }
    if wanted("labels") {
        labels::measure(&mut report);
    }
    if wanted("waits") {
        waits::measure(&mut report);
    }
    if wanted("accuracy") {
        accuracy::measure(&mut report);
    }
    for (name, density) in TAKE_TURNS {
        if let Some(minutes) = minutes(name).or(wanted(name).then_some(1)) {
            shop::measure(&mut report, density, minutes);
        }
    }
    if wanted("footprint") {
        footprint::agent(&mut report);
        // Near the end, because its memory stays.
        footprint::pprof_crate(&mut report);
    }
    if wanted("handler") {
        handler::pprof_crate(&mut report);
    }
    report.print();
}
