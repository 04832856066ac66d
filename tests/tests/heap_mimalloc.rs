//! The heap profiler over mimalloc.

#[path = "support/heap.rs"]
mod heap;

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc<mimalloc::MiMalloc> = tephra_agent::ProfAlloc::new(mimalloc::MiMalloc);

#[test]
fn a_program_on_mimalloc_is_served_and_told_of() {
    heap::a_program_is_served_and_told_of();
}
