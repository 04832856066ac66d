//! Which code is mapped where: one immutable snapshot for the signal handler, one map for naming addresses.
//!
//! The handler reads the snapshot only while it holds a slot, so once every slot has been taken and given back after a new
//! snapshot was published, nobody can still read the old one.

mod build_id;
pub(crate) mod ifunc;
pub(crate) mod loader;
pub(crate) mod pointer_auth;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use framehop::{ExplicitModuleSectionInfo, Unwinder, UnwinderNative};
use tephra_proto::ids::BuildId;

use crate::locate::Locate;

use self::loader::{Loaded, LoaderGeneration, UnwindBytes};
use crate::sampler::buffers::slots;
use crate::sampler::counters::COUNTERS;
use crate::sampler::unwinding::allocation_policy::Frugal;
use crate::sampler::unwinding::rule_caches::Rules;

/// Longer than a window with its jitter, so that samples of a module that was unloaded can still be named.
const KEEP_UNLOADED: Duration = Duration::from_secs(30);
/// More unloaded modules than this are forgotten early: a plugin host must not make the agent grow.
const UNLOADED_MAX: usize = 256;

/// This processor's unwinder.
pub(crate) type Native = UnwinderNative<UnwindBytes, Frugal>;

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
        Self::new(&loader::read_all(&[]))
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

static SNAPSHOT: AtomicPtr<Snapshot> = AtomicPtr::new(std::ptr::null_mut());

/// The current snapshot.
///
/// # Safety
/// The caller holds a slot, from before this call until after its last use of the result.
pub(crate) unsafe fn snapshot<'a>() -> Option<&'a Snapshot> {
    // SAFETY: `publish` frees a snapshot only after it took every slot once, so never while the caller holds one.
    unsafe { SNAPSHOT.load(Ordering::Acquire).as_ref() }
}

/// Replaces the snapshot and frees the old one once nobody can be reading it.
fn publish(snapshot: Snapshot) {
    let old = SNAPSHOT.swap(Box::into_raw(Box::new(snapshot)), Ordering::AcqRel);
    for slot in slots::all() {
        let mut slot = slot.wait_and_claim();
        let workspace = slot.parts().0;
        // The rules in an old cache are told apart by a 16-bit generation only; a fresh cache cannot be mistaken.
        workspace.rules = Rules::default();
        workspace.trails.forget();
    }
    if !old.is_null() {
        // SAFETY: it came from `Box::into_raw` above, is no longer published, and every reader has finished.
        drop(unsafe { Box::from_raw(old) });
    }
}

/// A module as the rest of the agent knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// Names the build, on every host.
    pub(crate) build_id: BuildId,
    /// File name without its folder.
    pub(crate) name: String,
    /// Where the file was when it was mapped; `[vdso]` for the kernel's own.
    pub(crate) path: PathBuf,
}

/// Names code addresses by module. Also knows modules that were unloaded a short while ago.
#[derive(Debug, Default)]
pub(crate) struct ModuleMap {
    modules: Vec<Module>,
    /// Sorted, without overlaps.
    spans: Vec<Span>,
}

#[derive(Debug, Clone)]
struct Span {
    code: Range<u64>,
    module: usize,
    bias: u64,
}

impl ModuleMap {
    /// All modules. Positions hold for this map only.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Earlier modules win where code overlaps.
    fn new<'a>(loaded: impl Iterator<Item = &'a Arc<Loaded>>) -> Self {
        let mut map = Self::default();
        for module in loaded {
            let index = map.modules.len();
            let name = module.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            map.modules.push(Module { build_id: module.build_id, name, path: module.path.clone() });
            for code in &module.code {
                let taken = map.spans.iter().any(|span| span.code.start < code.end && code.start < span.code.end);
                if !taken {
                    map.spans.push(Span { code: code.clone(), module: index, bias: module.bias });
                }
            }
        }
        map.spans.sort_by_key(|span| span.code.start);
        map
    }
}

impl Locate for ModuleMap {
    /// The address is in the module's own terms: what its ELF file calls virtual address.
    fn locate(&self, pc: u64) -> Option<(usize, u64)> {
        let after = self.spans.partition_point(|span| span.code.start <= pc);
        let span = self.spans.get(after.checked_sub(1)?)?;
        span.code.contains(&pc).then(|| (span.module, pc.wrapping_sub(span.bias)))
    }

    fn module(&self, index: usize) -> Option<(&[u8], &str)> {
        self.modules.get(index).map(|module| (module.build_id.as_bytes(), &*module.name))
    }
}

/// Follows the loader; used by the agent thread only.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    generation: Option<LoaderGeneration>,
    loaded: Vec<Arc<Loaded>>,
    unloaded: Vec<(Instant, Arc<Loaded>)>,
    map: Arc<ModuleMap>,
}

impl Tracker {
    /// The module mapped from `path` now.
    pub(crate) fn find(&self, path: &Path) -> Option<Arc<Loaded>> {
        self.loaded.iter().find(|loaded| loaded.path == path).cloned()
    }

    /// Reads the modules again if the loader changed anything; `true` if it did.
    pub(crate) fn refresh(&mut self) -> bool {
        let generation = loader::generation();
        if self.generation == Some(generation) {
            return false;
        }
        let now = Instant::now();
        let loaded = loader::read_all(&self.loaded);
        let gone = self.loaded.iter().filter(|old| !loaded.iter().any(|new| Arc::ptr_eq(new, old)));
        let gone: Vec<_> = gone.map(|old| (now, Arc::new(old.without_tables()))).collect();
        self.unloaded.retain(|(since, _)| now.duration_since(*since) < KEEP_UNLOADED);
        self.unloaded.splice(0..0, gone);
        self.unloaded.truncate(UNLOADED_MAX);
        publish(Snapshot::new(&loaded));
        self.map = Arc::new(ModuleMap::new(loaded.iter().chain(self.unloaded.iter().map(|(_, old)| old))));
        let left_out = loaded.iter().filter(|module| module.left_out).count();
        COUNTERS.modules_without_tables.store(left_out as u64, Ordering::Relaxed);
        self.loaded = loaded;
        self.generation = Some(generation);
        true
    }

    /// The current map.
    pub(crate) fn map(&self) -> Arc<ModuleMap> {
        Arc::clone(&self.map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, bias: u64, code: Range<u64>) -> Arc<Loaded> {
        let build_id = BuildId::hash(path.as_bytes());
        Arc::new(Loaded {
            bias,
            code: vec![code],
            path: path.into(),
            build_id,
            noted: true,
            unwind: None,
            left_out: false,
        })
    }

    #[test]
    fn addresses_are_named_in_the_modules_own_terms() {
        let map = ModuleMap::new(
            [module("/a/app", 0x1000, 0x2000..0x3000), module("libx.so", 0x9000, 0x9500..0x9600)].iter(),
        );
        assert_eq!(map.locate(0x1fff), None);
        assert_eq!(map.locate(0x2000), Some((0, 0x1000)));
        assert_eq!(map.locate(0x3000), None);
        assert_eq!(map.locate(0x95ff), Some((1, 0x5ff)));
        assert_eq!(map.modules()[0].name, "app");
    }

    #[test]
    fn a_loaded_module_wins_over_an_unloaded_one_at_the_same_place() {
        let new = module("new.so", 0, 0x1000..0x2000);
        let old = module("old.so", 0, 0x1800..0x2800);
        let map = ModuleMap::new([new, old].iter());
        assert_eq!(map.locate(0x1900), Some((0, 0x1900)));
        assert_eq!(map.locate(0x2100), None);
    }

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
