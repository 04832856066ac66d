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

fn main() {
    if std::env::args().nth(1).as_deref() == Some(sink::ARGUMENT) {
        return sink::serve();
    }
    let mut report = Report::default();
    handler::measure(&mut report);
    labels::measure(&mut report);
    accuracy::measure(&mut report);
    shop::measure(&mut report);
    let ours = footprint::agent(&mut report);
    // Last, because its memory stays.
    footprint::pprof_crate(&mut report, ours);
    handler::pprof_crate(&mut report);
    report.print();
}
