//! The heap profiler over the system's allocator.

#[path = "support/heap.rs"]
mod heap;

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

#[test]
fn a_program_on_the_systems_allocator_is_served_and_told_of() {
    heap::a_program_is_served_and_told_of();
}
