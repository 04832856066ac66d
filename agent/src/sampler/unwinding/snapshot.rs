//! All that the signal handler needs to walk stacks of this process: the unwind tables of what is mapped now. Never changed, only
//! replaced.

use std::ops::Range;
use std::sync::Arc;

use framehop::{ExplicitModuleSectionInfo, Unwinder, UnwinderNative};

use super::allocation_policy::FixedRoom;
use crate::sampler::modules::loader::{Loaded, UnwindBytes};

/// This processor's unwinder.
pub(crate) type Native = UnwinderNative<UnwindBytes, FixedRoom>;

/// What the handler needs to walk stacks.
pub(crate) struct Snapshot<U = Native> {
    pub(crate) unwinder: U,
    /// Executable spans, sorted.
    code: Vec<Range<u64>>,
}

impl<U: Unwinder<Module = framehop::Module<UnwindBytes>> + Default> Snapshot<U> {
    pub(crate) fn new(modules: &[Arc<Loaded>]) -> Self {
        let mut unwinder = U::default();
        for module in modules {
            if let (Some(first), Some(last)) = (module.code.first(), module.code.last()) {
                let sections = sections(module);
                let name = String::new();
                unwinder.add_module(framehop::Module::new(name, first.start..last.end, module.bias, sections));
            }
        }
        let mut code: Vec<_> = modules.iter().flat_map(|module| module.code.clone()).collect();
        code.sort_by_key(|range| range.start);
        Self { unwinder, code }
    }
}

impl<U> Snapshot<U> {
    /// The code of a known module around an address; empty when it lies in none.
    pub(crate) fn code_around(&self, pc: u64) -> Range<u64> {
        let after = self.code.partition_point(|range| range.start <= pc);
        let range = after.checked_sub(1).and_then(|index| self.code.get(index)).filter(|range| range.contains(&pc));
        range.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
impl Snapshot {
    pub(crate) fn of_this_process() -> Self {
        Self::new(&crate::sampler::modules::loader::read_all(&[]))
    }
}

fn sections(module: &Loaded) -> ExplicitModuleSectionInfo<UnwindBytes> {
    let mut sections = ExplicitModuleSectionInfo::default();
    let Some(tables) = &module.unwind else { return sections };
    let (at, frames) = &tables.frames;
    sections.eh_frame_svma = Some(*at..at.saturating_add(frames.len() as u64));
    sections.eh_frame = Some(frames.clone());
    if let Some((at, header)) = &tables.header {
        sections.eh_frame_hdr_svma = Some(*at..at.saturating_add(header.len() as u64));
        sections.eh_frame_hdr = Some(header.clone());
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_knows_this_code_and_not_the_heap() {
        let snapshot = Snapshot::of_this_process();
        let heap = Box::new(0u8);
        let code = the_snapshot_knows_this_code_and_not_the_heap as *const () as u64;
        assert!(snapshot.code_around(code).contains(&code));
        assert!(snapshot.code_around(&raw const *heap as u64).is_empty());
        assert!(snapshot.code_around(0).is_empty());
    }
}
