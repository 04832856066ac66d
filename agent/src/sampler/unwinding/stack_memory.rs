//! Stack that can be read without a fault, whatever address is asked for.

use std::marker::PhantomData;

/// A span of stack that can be read: the thread's own, in place, or a copy of it; or a copy, and in place what follows.
#[derive(Clone, Copy)]
pub(crate) struct StackMemory<'a> {
    /// Address of the first byte, in the walked thread's terms.
    start: u64,
    /// One past the last byte.
    end: u64,
    /// Where those bytes really are.
    data: *const u8,
    lives_for: PhantomData<&'a [u64]>,
    /// A second span, for what the first does not hold.
    outer: Option<&'a StackMemory<'a>>,
}

impl<'a> StackMemory<'a> {
    /// The running thread's own stack from `start` to `end`.
    ///
    /// # Safety
    /// The whole span stays mapped and readable for `'a`.
    pub(crate) unsafe fn in_place(start: u64, end: u64) -> Self {
        Self { start, end, data: start as *const u8, lives_for: PhantomData, outer: None }
    }

    /// A copy of the words that begin at `start`. Empty means that nothing can be read.
    pub(crate) fn copied(start: u64, words: &'a [u64]) -> Self {
        let end = start.saturating_add(words.len() as u64 * 8);
        Self { start, end, data: words.as_ptr().cast(), lives_for: PhantomData, outer: None }
    }

    /// A copy of the words that begin at `start`, and `outer` for all that is not in it.
    pub(crate) fn copied_below(start: u64, words: &'a [u64], outer: &'a Self) -> Self {
        Self { outer: Some(outer), ..Self::copied(start, words) }
    }

    /// Copies as many words as there are and `into` has room for, from the first on. Returns how many.
    pub(crate) fn copy(&self, into: &mut [u64]) -> usize {
        let words = (self.end.saturating_sub(self.start) / 8) as usize;
        let words = words.min(into.len());
        // SAFETY: they lie inside the span that the constructor vouched for, and nobody else writes to either.
        unsafe { std::ptr::copy_nonoverlapping(self.data, into.as_mut_ptr().cast(), words * 8) };
        words
    }

    pub(crate) fn read(&self, address: u64) -> Result<u64, ()> {
        let offset = address.wrapping_sub(self.start);
        let length = self.end.saturating_sub(self.start);
        if !address.is_multiple_of(8) || address < self.start || length < 8 || offset > length - 8 {
            return self.outer.ok_or(())?.read(address);
        }
        // SAFETY: the eight bytes lie inside the span that the constructor vouched for, and this very thread, which alone
        // writes them, stands still below us.
        Ok(unsafe { self.data.add(offset as usize).cast::<u64>().read_unaligned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stay_inside_the_bounds() {
        let words = [10, 20, 30];
        let memory = StackMemory::copied(0x1000, &words);
        let reads: Vec<_> = [0xff8, 0x1000, 0x1004, 0x1010, 0x1018, !7, 0].map(|a| memory.read(a)).into();
        assert_eq!(reads, [Err(()), Ok(10), Err(()), Ok(30), Err(()), Err(()), Err(())]);
        assert_eq!(StackMemory::copied(0x1000, &[]).read(0x1000), Err(()));
    }

    #[test]
    fn what_a_copy_does_not_hold_is_read_behind_it() {
        let (outer, copied) = ([30, 40, 50], [10, 20, 31]);
        let outer = StackMemory::copied(0x1010, &outer);
        let memory = StackMemory::copied_below(0x1000, &copied, &outer);
        let reads: Vec<_> = [0xff8, 0x1000, 0x1008, 0x1010, 0x1018, 0x1020, 0x1028].map(|a| memory.read(a)).into();
        assert_eq!(reads, [Err(()), Ok(10), Ok(20), Ok(31), Ok(40), Ok(50), Err(())], "as it was when it was copied");
    }

    #[test]
    fn no_more_is_copied_than_there_is_and_there_is_room_for() {
        let words = [10, 20, 30];
        let memory = StackMemory::copied(0x1000, &words);
        let (mut small, mut large) = ([0; 2], [7; 4]);
        assert_eq!((memory.copy(&mut small), small), (2, [10, 20]));
        assert_eq!((memory.copy(&mut large), large), (3, [10, 20, 30, 7]));
    }
}
