//! Measures the store: through the doors of a real collector, and on stores as large as months of ingest leave behind.
//!
//! Without arguments everything is measured; `ingest`, `acks`, `cards`, `http`, `large`, `locks`, `memory`, `shop`, `rest` and `why` name parts. `large=FOLDER`
//! leaves the large store in a folder, and asks the one that is there already; `shop=HOURS` replays less than a day,
//! `why=INSTANCES[,HOURS[,FOLDER]]` a day of more than 25 instances or of fewer, or fewer hours, and may leave that in a folder, too;
//! `acks=MINUTES` sends for longer than three, and `http=MINUTES` for longer than one.

mod acks;
mod ask;
mod cards;
mod http;
mod ingest;
mod large;
mod locks;
mod memory;
mod pprof;
mod rest;
mod shop;
mod why;

use tephra_tests::bench::Report;

/// That of `tephra`: the memory of compaction is measured in this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    if memory::is_child(&named) {
        return;
    }
    let wanted = |name: &str| named.is_empty() || named.iter().any(|other| other == name);
    let mut report = Report::default();
    if wanted("ingest") {
        ingest::measure(&mut report);
    }
    if wanted("acks") {
        acks::measure(&mut report, 3);
    }
    if let Some(minutes) = named.iter().find_map(|name| name.strip_prefix("acks=")) {
        acks::measure(&mut report, minutes.parse().expect("a number of minutes"));
    }
    if wanted("cards") {
        cards::measure(&mut report);
    }
    if wanted("http") {
        http::measure(&mut report, 60);
    }
    if let Some(minutes) = named.iter().find_map(|name| name.strip_prefix("http=")) {
        http::measure(&mut report, 60 * minutes.parse::<u64>().expect("a number of minutes"));
    }
    if wanted("large") {
        large::measure(&mut report, None);
    }
    if let Some(folder) = named.iter().find_map(|name| name.strip_prefix("large=")) {
        large::measure(&mut report, Some(folder));
    }
    if wanted("locks") {
        locks::measure(&mut report);
    }
    if wanted("memory") {
        memory::measure(&mut report);
    }
    if wanted("shop") {
        shop::measure(&mut report, 24);
    }
    if let Some(hours) = named.iter().find_map(|name| name.strip_prefix("shop=")) {
        shop::measure(&mut report, hours.parse().expect("a number of hours"));
    }
    if wanted("rest") {
        rest::measure(&mut report);
    }
    if wanted("why") {
        why::measure(&mut report, &why::Asked::parse("25"));
    }
    if let Some(instances) = named.iter().find_map(|name| name.strip_prefix("why=")) {
        why::measure(&mut report, &why::Asked::parse(instances));
    }
    report.print();
}
