//! Stack that can be read without a fault, whatever address is asked for.

use std::marker::PhantomData;

/// A span of stack that can be read: the thread's own, in place, or a copy of it.
#[derive(Clone, Copy)]
pub(crate) struct StackMemory<'a> {
    /// Address of the first byte, in the walked thread's terms.
    start: u64,
    /// One past the last byte.
    end: u64,
    /// Where those bytes really are.
    data: *const u8,
    lives_for: PhantomData<&'a [u64]>,
}

impl<'a> StackMemory<'a> {
    /// The running thread's own stack from `start` to `end`.
    ///
    /// # Safety
    /// The whole span stays mapped and readable for `'a`.
    pub(crate) unsafe fn in_place(start: u64, end: u64) -> Self {
        Self { start, end, data: start as *const u8, lives_for: PhantomData }
    }

    /// A copy of the words that begin at `start`. Empty means that nothing can be read.
    pub(crate) fn copied(start: u64, words: &'a [u64]) -> Self {
        let end = start.saturating_add(words.len() as u64 * 8);
        Self { start, end, data: words.as_ptr().cast(), lives_for: PhantomData }
    }

    pub(crate) fn read(&self, address: u64) -> Result<u64, ()> {
        let offset = address.wrapping_sub(self.start);
        let length = self.end.saturating_sub(self.start);
        if !address.is_multiple_of(8) || address < self.start || length < 8 || offset > length - 8 {
            return Err(());
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
}
