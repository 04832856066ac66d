//! Measures what the agent costs its host and how exact it is; and beside it, in the same run, what the `pprof` crate costs.

mod accuracy;
mod footprint;
mod handler;
mod labels;
mod shop;
mod sink;
mod work;

use tephra_tests::bench::Report;

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

const PARTS: [&str; 5] = ["handler", "labels", "accuracy", "shop", "footprint"];

/// All parts, or those that are named. `shop=MINUTES` takes more turns than `shop`: its interval narrows with their square root.
fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    if parts.first().is_some_and(|part| part == sink::ARGUMENT) {
        return sink::serve();
    }
    let longer = parts.iter().find_map(|part| part.strip_prefix("shop=")?.parse::<u64>().ok());
    let is_part = |part: &&String| PARTS.contains(&part.as_str()) || (longer.is_some() && part.starts_with("shop="));
    if let Some(unknown) = parts.iter().find(|part| !is_part(part)) {
        eprintln!("no part {unknown}: there are {}", PARTS.join(", "));
        std::process::exit(2);
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let mut report = Report::default();
    if wanted("handler") {
        handler::measure(&mut report);
    }
    if wanted("labels") {
        labels::measure(&mut report);
    }
    if wanted("accuracy") {
        accuracy::measure(&mut report);
    }
    if wanted("shop") {
        shop::measure(&mut report, 1);
    }
    if let Some(minutes) = longer {
        shop::measure(&mut report, minutes);
    }
    if wanted("footprint") {
        let ours = footprint::agent(&mut report);
        // Near the end, because its memory stays.
        footprint::pprof_crate(&mut report, ours);
    }
    if wanted("handler") {
        handler::pprof_crate(&mut report);
    }
    report.print();
}
