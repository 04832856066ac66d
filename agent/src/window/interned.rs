//! Distinct values, numbered in the order in which they came.

use std::fmt;
use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxBuildHasher;

use super::entry_bytes::{in_list, in_map};

/// Each value is held once: what finds it is a table of numbers alone. A map from value to number would hold all of them twice,
/// and miss the processor's caches more often.
pub(crate) struct Interned<T, S = FxBuildHasher> {
    values: Vec<T>,
    numbers: HashTable<u32>,
    hasher: S,
}

impl<T: fmt::Debug, S> fmt::Debug for Interned<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

impl<T, S: Default> Default for Interned<T, S> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashTable::new(), hasher: S::default() }
    }
}

impl<T, S> Interned<T, S> {
    /// All values; each stands at its number.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }

    /// The value with this number.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Gives back what finds values. It takes no more from now on.
    pub(crate) fn close(&mut self) {
        self.numbers = HashTable::new();
    }

    /// An upper bound of what it holds, in bytes, but for what values hold themselves.
    pub(crate) fn bytes(&self) -> usize {
        self.len() * (in_list::<T>() + in_map::<u32>())
    }
}

impl<T: Eq + Hash, S: BuildHasher> Interned<T, S> {
    /// The number of a value that is there.
    pub(crate) fn find(&self, value: &T) -> Option<u32> {
        self.numbers.find(self.hasher.hash_one(value), |&number| self.get(number) == Some(value)).copied()
    }

    /// The number of a value, which is added if it is new.
    pub(crate) fn intern(&mut self, value: T) -> u32 {
        let Self { values, numbers, hasher } = self;
        let at = |number: u32| values.get(number as usize);
        let is_same = |&number: &u32| at(number) == Some(&value);
        let hash = |&number: &u32| at(number).map_or(0, |known| hasher.hash_one(known));
        match numbers.entry(hasher.hash_one(&value), is_same, hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let number = values.len() as u32;
                free.insert(number);
                values.push(value);
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_number_and_others_the_next() {
        let mut words = Interned::<String>::default();
        let numbers = ["a", "b", "a", "c", "b"].map(|word| words.intern(word.to_owned()));
        assert_eq!(numbers, [0, 1, 0, 2, 1]);
        assert_eq!((words.find(&"c".to_owned()), words.find(&"d".to_owned())), (Some(2), None));
        assert_eq!(words.values(), ["a", "b", "c"]);
        assert_eq!((words.get(1).map(String::as_str), words.get(3)), (Some("b"), None));
    }

    #[test]
    fn values_are_found_again_however_many_there_are() {
        let mut numbers = Interned::<u64>::default();
        for _ in 0..2 {
            assert!((0..50_000).all(|n| numbers.intern(n << 20) == n as u32));
        }
        assert_eq!(numbers.len(), 50_000);
        numbers.close();
        assert_eq!((numbers.find(&0), numbers.get(49_999)), (None, Some(&(49_999 << 20))));
    }
}
