//! Stacks as services have them: hundreds of functions that call each other in ever other orders, so that neither the
//! processor's caches nor the unwinder's know what comes next.

use std::hint::black_box;

use super::raise;

/// A function that calls another one, `depth` times over, chosen by `path`.
type Hop = fn(path: u64, depth: usize, address: usize) -> u64;

macro_rules! hops {
    ($($row:literal)*) => { [$(hops!(@ $row 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)),*] };
    (@ $row:literal $($column:literal)*) => { [$(hop::<{ $row * COLUMNS + $column }>),*] };
}

const COLUMNS: usize = 16;

/// Each has an address of its own to return to.
pub(crate) const FUNCTIONS: usize = HOPS.len() * COLUMNS;

static HOPS: [[Hop; COLUMNS]; 40] = hops!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);

/// Raises a signal under `depth` of them. Inlined, so that each has its own place to return to.
#[inline(always)]
pub(crate) fn descend(path: u64, depth: usize, address: usize) -> u64 {
    // A xorshift step: the same path never comes twice in a row.
    let mut next = path | 1;
    next ^= next << 13;
    next ^= next >> 7;
    next ^= next << 17;
    let chosen = (next >> 20) as usize % FUNCTIONS;
    match HOPS.get(chosen / COLUMNS).and_then(|row| row.get(chosen % COLUMNS)) {
        Some(hop) if depth > 0 => hop(next, depth, address),
        _ => raise(address),
    }
}

#[inline(never)]
fn hop<const NUMBER: usize>(path: u64, depth: usize, address: usize) -> u64 {
    // Work that differs keeps the functions apart, and work after the call keeps it from becoming a jump.
    black_box(descend(path.wrapping_add(NUMBER as u64), depth - 1, address))
        .wrapping_add(black_box(NUMBER as u64) >> 32)
}
