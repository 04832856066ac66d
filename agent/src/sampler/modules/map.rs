//! Names code addresses by module.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use tephra_proto::ids::BuildId;

use super::loader::Loaded;
use crate::locate::Locate;

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
    pub(super) fn new<'a>(loaded: impl Iterator<Item = &'a Arc<Loaded>>) -> Self {
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
}
