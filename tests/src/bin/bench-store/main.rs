//! Measures the store: through the doors of a real collector, and on stores as large as months of ingest leave behind.
//!
//! Without arguments everything is measured; `ingest`, `large` and `memory` name parts of it.

mod ingest;
mod large;
mod memory;

use tephra_tests::bench::Report;

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
    if wanted("large") {
        large::measure(&mut report);
    }
    if wanted("memory") {
        memory::measure(&mut report);
    }
    report.print();
}
