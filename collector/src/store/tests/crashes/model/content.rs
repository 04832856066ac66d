//! The bytes of one file: as programs see them, and as the platter holds them.

/// So small that a header of SQLite's log and the page behind it are torn apart.
const SECTOR: usize = 64;

/// The bytes of a file: written, and durable.
#[derive(Debug, Default, Clone)]
pub(super) struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// By sector: written since the last sync, successful or not.
    dirty: Vec<bool>,
}

impl Content {
    pub(super) fn now(&self) -> &[u8] {
        &self.now
    }

    /// Writes at an offset; what lies between the end and there is zeros.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let (start, end) = (offset.min(self.now.len()), offset + bytes.len());
        lengthen(&mut self.now, end);
        if let Some(there) = self.now.get_mut(offset..end) {
            there.copy_from_slice(bytes);
        }
        self.dirty.resize(self.now.len().div_ceil(SECTOR), true);
        if let Some(written) = self.dirty.get_mut(start / SECTOR..end.div_ceil(SECTOR)) {
            written.fill(true);
        }
    }

    /// Cuts the end off.
    pub(super) fn truncate(&mut self, len: usize) {
        self.now.truncate(len);
        self.dirty.truncate(len.div_ceil(SECTOR));
    }

    /// Brings what was written since the last sync to the platter.
    pub(super) fn sync(&mut self) {
        self.synced.truncate(self.now.len());
        lengthen(&mut self.synced, self.now.len());
        for (i, written) in self.dirty.iter_mut().enumerate() {
            if std::mem::take(written) {
                copy_sector(&mut self.synced, &self.now, i);
            }
        }
    }

    /// Like Linux: it tells of the failure once, still shows what was written, and never tries again to write it.
    pub(super) fn fail_to_sync(&mut self) {
        self.dirty.fill(false);
    }

    /// What is there after a power cut: of all that was not synced, any sector or not.
    pub(super) fn after_power_cut(&self, random: &mut impl FnMut() -> usize) -> Self {
        if self.now == self.synced {
            return self.clone();
        }
        let (shortest, longest) = (self.now.len().min(self.synced.len()), self.now.len().max(self.synced.len()));
        let any = shortest + random() % (longest - shortest + 1);
        let len = if random().is_multiple_of(2) { self.now.len() } else { any };
        let mut survived = self.synced.clone();
        survived.truncate(len);
        lengthen(&mut survived, len);
        for i in 0..len.div_ceil(SECTOR) {
            if random().is_multiple_of(2) {
                copy_sector(&mut survived, &self.now, i);
            }
        }
        let dirty = vec![false; len.div_ceil(SECTOR)];
        Self { now: survived.clone(), synced: survived, dirty }
    }
}

/// Adds zeros at the end; many times faster than `resize` in a build that is not optimized.
fn lengthen(bytes: &mut Vec<u8>, len: usize) {
    let missing = len.saturating_sub(bytes.len());
    bytes.extend_from_slice(&vec![0; missing]);
}

/// As far as both reach.
fn copy_sector(to: &mut [u8], from: &[u8], sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(to.len()).min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(start..end), from.get(start..end)) {
        to.copy_from_slice(from);
    }
}
