//! The heap profiler over jemalloc, with the feature `jemalloc`.
#![cfg(feature = "jemalloc")]

#[path = "support/heap.rs"]
mod heap;

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc<tikv_jemallocator::Jemalloc> =
    tephra_agent::ProfAlloc::new(tikv_jemallocator::Jemalloc);

#[test]
fn a_program_on_jemalloc_is_served_and_told_of() {
    heap::a_program_is_served_and_told_of();
}
