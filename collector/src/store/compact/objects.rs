//! The objects that a job reads windows from.

use bytes::Bytes;

use crate::profile::decode::Window;
use crate::store::catalog::LevelSegment;
use crate::store::segment::WindowInfo;
use crate::store::{Store, StoreError};

/// The objects of arrived segments. Their windows are read by service, so each object would be read in as many pieces as it has windows;
/// where all of them fit into memory they are read whole, once.
pub(super) struct Objects<'a> {
    inputs: &'a [LevelSegment],
    whole: Option<Vec<Option<Bytes>>>,
}

impl<'a> Objects<'a> {
    /// Read whole when they have at most `memory` bytes together.
    pub(super) fn of(inputs: &'a [LevelSegment], memory: usize) -> Self {
        let bytes: u64 = inputs.iter().map(|input| input.segment.bytes).sum();
        Self { inputs, whole: (bytes <= memory as u64).then(|| vec![None; inputs.len()]) }
    }

    /// A window of the input with this number; `None` when it is damaged.
    pub(super) fn window(
        &mut self,
        store: &Store,
        input: usize,
        info: &WindowInfo,
    ) -> Result<Option<Window>, StoreError> {
        let row = &self.inputs[input].segment;
        let Some(whole) = &mut self.whole else { return store.window_once(row, info) };
        if let Some(object) = &whole[input] {
            return store.window_in(object, row, info);
        }
        match store.bulk().get_range(&row.id, 0, row.bytes as usize) {
            Ok(object) => store.window_in(whole[input].insert(object.into()), row, info),
            // Whoever reads it in pieces says what is wrong.
            Err(_) => store.window_once(row, info),
        }
    }
}
