//! An open file of a model disk.

use std::io;

use super::content::Content;
use super::{ModelDisk, Operation, then_fail};
use crate::store::disk::NewFile;

/// A file that is being written.
#[derive(Debug)]
pub(in crate::store::tests::crashes) struct ModelFile {
    pub(super) disk: ModelDisk,
    pub(super) number: usize,
}

impl ModelFile {
    pub(in crate::store::tests::crashes) fn len(&self) -> usize {
        self.disk.state().content(self.number).len()
    }

    /// As many bytes as there are from an offset, up to the buffer's length; answers how many.
    pub(in crate::store::tests::crashes) fn read_at(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let state = self.disk.state();
        let found = state.content(self.number).get(offset..).unwrap_or_default();
        let bytes = found.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..bytes), found.get(..bytes)) {
            to.copy_from_slice(from);
        }
        bytes
    }

    pub(in crate::store::tests::crashes) fn write_at(&self, offset: usize, content: &[u8]) -> io::Result<()> {
        self.change(Operation::Write, |file, half| {
            let written = if half { content.len() / 2 } else { content.len() };
            file.write(offset, content.get(..written).unwrap_or_default());
        })
    }

    pub(in crate::store::tests::crashes) fn truncate(&self, len: usize) -> io::Result<()> {
        self.change(Operation::Truncate, |file, _| file.truncate(len))
    }

    pub(in crate::store::tests::crashes) fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let done = state.operation(Operation::Sync).and_then(then_fail);
        let off = state.off;
        if let Some(file) = state.files.get_mut(self.number) {
            match &done {
                Ok(()) => file.sync(),
                // Nobody was there to ask for it.
                Err(_) if off => {}
                Err(_) => file.fail_to_sync(),
            }
        }
        done
    }

    /// `change` is told whether to do only half.
    fn change(&self, what: Operation, change: impl FnOnce(&mut Content, bool)) -> io::Result<()> {
        let mut state = self.disk.state();
        let half = state.operation(what)?;
        if let Some(file) = state.files.get_mut(self.number) {
            change(file, half.is_some());
        }
        then_fail(half)
    }
}

impl NewFile for ModelFile {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.write_at(self.len(), content)
    }

    fn sync(&mut self) -> io::Result<()> {
        ModelFile::sync(self)
    }
}
