//! What a service in Rust looks like from inside: closures, iterators, collections, formatting. What runs between the two
//! hints is recorded, instruction by instruction.

use std::arch::asm;
use std::collections::BTreeMap;
use std::hint::black_box;

#[inline(never)]
fn words() -> Vec<String> {
    (0..6u64).map(|i| format!("{:x}-{i}", i.wrapping_mul(0x9e37_79b9))).collect()
}

#[inline(never)]
fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort_by(|a, b| b.cmp(a));
    words
}

#[inline(never)]
fn counted(words: &[String]) -> usize {
    let map: BTreeMap<&str, usize> = words.iter().map(|word| (word.as_str(), word.len())).collect();
    map.values().sum()
}

#[inline(never)]
fn recursion(depth: u32) -> u32 {
    if depth == 0 { 1 } else { black_box(recursion(black_box(depth - 1))) + depth }
}

#[inline(never)]
fn through_a_pointer(work: &mut dyn FnMut() -> usize) -> usize {
    work() + 1
}

#[inline(never)]
fn all() -> usize {
    let words = sorted(words());
    through_a_pointer(&mut || counted(&words)) + recursion(5) as usize
}

fn main() {
    let mut mask: u64 = !(1 << 55);
    // SAFETY: changes the one register named: what is left of all ones when the processor takes a signature off.
    unsafe { asm!("hint #7", inout("x30") mask) };
    mask &= u64::MAX >> 8;
    // SAFETY: a hint that no processor knows does nothing.
    unsafe { asm!("hint #101", in("x0") mask) };
    let sum = all();
    // SAFETY: as above.
    unsafe { asm!("hint #102") };
    println!("{sum}");
}
