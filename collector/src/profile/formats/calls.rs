//! Stacks as trees: formats that write each call once, with a pointer to its caller.

use tephra_proto::limits::{STACK_DEPTH_MAX, WINDOW_STACK_NODES_MAX};

use crate::profile::import::{ImportError, within};

/// The caller of what nobody called.
pub(super) const ROOT: u32 = u32::MAX;

/// Calls by number: who called, and what was called.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<(u32, u32)>,
}

impl Calls {
    pub(super) fn add(&mut self, caller: u32, frame: u32) -> Result<u32, ImportError> {
        within("calls", self.calls.len(), WINDOW_STACK_NODES_MAX)?;
        self.calls.push((caller, frame));
        Ok(self.calls.len() as u32 - 1)
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn set_caller(&mut self, call: u32, caller: u32) {
        if let Some(entry) = self.calls.get_mut(call as usize) {
            entry.0 = caller;
        }
    }

    /// Writes what is on the stack within a call, root first, but of a deep one no more than shows that it is too deep: a file may say
    /// that calls went round in a circle.
    pub(super) fn stack(&self, call: u32, frames: &mut Vec<u32>) {
        frames.clear();
        let mut at = call;
        while let Some((caller, frame)) = self.calls.get(at as usize)
            && frames.len() <= STACK_DEPTH_MAX
        {
            frames.push(*frame);
            at = *caller;
        }
        frames.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_and_depths_end() {
        let mut calls = Calls::default();
        let mut frames = Vec::new();
        let main = calls.add(ROOT, 7).unwrap();
        let work = calls.add(main, 8).unwrap();
        calls.stack(work, &mut frames);
        assert_eq!(frames, [7, 8]);
        calls.set_caller(main, work);
        calls.stack(work, &mut frames);
        assert_eq!(frames.len(), STACK_DEPTH_MAX + 1);
        calls.stack(99, &mut frames);
        assert!(frames.is_empty());
    }
}
