//! Values that are added and never taken away, each with a number from 1 on: an open-addressed hash table without a lock.

use std::hash::{BuildHasher, Hash};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustc_hash::FxBuildHasher;

/// Room for seven eighths of `N` values.
pub(super) struct Table<T, const N: usize> {
    slots: [Slot<T>; N],
    taken: AtomicUsize,
}

struct Slot<T> {
    /// Set by whoever fills it, just before.
    claimed: AtomicBool,
    value: OnceLock<T>,
}

/// How often to look again for a value that another thread is putting in its slot, which takes a few nanoseconds.
const LOOKS_MAX: usize = 200;

impl<T, const N: usize> Table<T, N> {
    /// Seven eighths: probing in a fuller table would take long.
    const TAKEN_MAX: usize = N / 8 * 7;

    pub(super) const fn new() -> Self {
        assert!(N.is_power_of_two() && N < u16::MAX as usize, "slots are found by the bits of a hash and named by 16");
        let slots = [const { Slot { claimed: AtomicBool::new(false), value: OnceLock::new() } }; N];
        Self { slots, taken: AtomicUsize::new(0) }
    }

    /// The value with this number.
    pub(super) fn get(&self, number: u16) -> Option<&T> {
        self.slots.get(usize::from(number).checked_sub(1)?)?.value.get()
    }

    /// All values there are.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.get())
    }

    /// The number of what equals `key`. If there is none, of what `make` makes; `None` when it makes nothing, or there is no room.
    pub(super) fn find_or_add(
        &self,
        key: impl Hash,
        is_it: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Option<T>,
    ) -> Option<u16> {
        // Without a secret: values that a client chose to collide cost no more than a look at all of a small table.
        let start = FxBuildHasher.hash_one(key) as usize;
        let mut make = Some(make);
        let mut made = None;
        let (mut step, mut looks) = (0, 0);
        while step < N && looks < LOOKS_MAX {
            let at = start.wrapping_add(step) & (N - 1);
            let slot = self.slots.get(at)?;
            match slot.value.get() {
                Some(found) if is_it(found) => return Some(at as u16 + 1),
                Some(_) => step += 1,
                None if slot.claimed.load(Ordering::Relaxed) => {
                    looks += 1;
                    std::hint::spin_loop();
                }
                None => {
                    if let Some(make) = make.take() {
                        made = Some(make()?);
                    }
                    if self.taken.load(Ordering::Relaxed) >= Self::TAKEN_MAX {
                        return None;
                    }
                    if !slot.claimed.swap(true, Ordering::Relaxed) {
                        self.taken.fetch_add(1, Ordering::Relaxed);
                        slot.value.set(made?).ok()?;
                        return Some(at as u16 + 1);
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_agree_on_numbers() {
        static TABLE: Table<u64, 256> = Table::new();
        let numbers = || {
            (0..200u64).map(|i| {
                loop {
                    // Another thread may be adding just now.
                    if let Some(number) = TABLE.find_or_add(i, |known| *known == i, || Some(i)) {
                        return (number, i);
                    }
                }
            })
        };
        let all: Vec<Vec<(u16, u64)>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| numbers().collect())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|one| *one == all[0]));
        assert!(all[0].iter().all(|(number, i)| TABLE.get(*number) == Some(i)));
    }

    #[test]
    fn a_full_table_adds_nothing_but_finds_what_it_has() {
        let table: Table<u64, 64> = Table::new();
        let add = |i: u64| table.find_or_add(i, |known| *known == i, || Some(i));
        let added = (0..1_000).filter(|i| add(*i).is_some()).count();
        assert_eq!(added, 56);
        assert!(add(0).is_some());
        assert_eq!(add(1_000), None);
    }
}
