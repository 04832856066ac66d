//! Symbols: from a build's file to names. Agents offer the files of the builds they run, once per build; a child process
//! turns each into a symbol table; views look addresses up in it.
//!
//! | module | what lives there |
//! |---|---|
//! | [`service`], [`upload`] | gRPC: what is wanted; receiving it, from agents and by hand |
//! | [`elf`], [`segments`] | which build a file is, and where it is loaded |
//! | `places`, [`room`] | who may send a file, and what of the disk files may take |
//! | [`job`], [`worker`], [`memory`] | the child process, from both ends, and the memory of all of them |
//! | [`folder`], [`table`], [`failure`] | what is kept, one file per build: its table, or why there is none yet |
//! | [`share`] | the same tables for all collectors of a shared store |
//! | [`retain`] | letting go of those that nothing stored needs |
//! | [`resolver`], [`coverage`] | addresses to functions, and what has no name |

pub mod coverage;
pub mod elf;
pub mod failure;
pub mod folder;
pub mod job;
pub mod memory;
mod places;
pub mod resolver;
pub mod retain;
pub mod room;
pub mod segments;
pub mod service;
pub mod share;
pub mod table;
pub mod upload;
pub mod worker;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tephra_proto::ids::BuildId;
use tephra_proto::v1::symbol_service_server::SymbolServiceServer;

use crate::base::clock::now_ms;
use crate::conditions::Conditions;
use crate::profile::model::{Frame, Module};
use crate::profile::report::Coverage;
use crate::profile::resolution::Resolution;
use crate::profile::tree::Resolved;
use crate::store::Store;

pub use folder::SymbolStats;
use folder::{Folder, State};
pub use job::Worker;
use memory::Memory;
use places::Places;
use resolver::Resolver;
use room::Room;
use service::SymbolUploads;
use share::Shelf;

/// A gRPC message: one chunk compressed, and its envelope.
pub const MESSAGE_BYTES_MAX: usize = 2 * tephra_proto::limits::SYMBOL_CHUNK_BYTES_MAX;

/// Everything about symbols of one collector. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Symbols {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: Arc<Folder>,
    resolver: Resolver,
    worker: Worker,
    shelf: Option<Arc<Shelf>>,
    places: Places,
    memory: Arc<Memory>,
    room: Arc<Room>,
    /// Builds with symbols that windows came from, since retention last took note of them.
    used: Mutex<HashSet<BuildId>>,
}

/// How much symbols may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolLimits {
    /// Memory of the child processes that read uploaded files, together, bytes. Where the machine has little, it is less.
    pub memory: u64,
}

impl Default for SymbolLimits {
    fn default() -> Self {
        Self { memory: memory::MEMORY_BYTES }
    }
}

impl Symbols {
    /// Opens `<data>/symbols`, made if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(data: &Path, worker: Worker) -> std::io::Result<Self> {
        Self::start(data, worker, None, SymbolLimits::default(), 0, Conditions::default())
    }

    /// The same beside a store: where that is shared, symbols are too, and the folder is only a cache.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn beside(store: &Store, worker: Worker) -> std::io::Result<Self> {
        Self::beside_with(store, worker, SymbolLimits::default())
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn beside_with(store: &Store, worker: Worker, limits: SymbolLimits) -> std::io::Result<Self> {
        let (windows, conditions) = (store.options().free_bytes_min, store.conditions().clone());
        Self::start(store.data_dir(), worker, Shelf::of(store), limits, windows, conditions)
    }

    /// Those of another store, whose files are received and read in the same places and with the same memory as these.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn of_another(&self, store: &Store) -> std::io::Result<Self> {
        let (windows, conditions) = (store.options().free_bytes_min, store.conditions().clone());
        let Shared { worker, memory, places, .. } = &*self.shared;
        let shared = (memory.clone(), places.clone());
        Self::start_in(store.data_dir(), worker.clone(), Shelf::of(store), shared, windows, conditions)
    }

    /// `windows`: bytes of the disk that windows need.
    fn start(
        data: &Path,
        worker: Worker,
        shelf: Option<Arc<Shelf>>,
        limits: SymbolLimits,
        windows: u64,
        conditions: Conditions,
    ) -> std::io::Result<Self> {
        let memory = Arc::new(Memory::new(limits.memory, memory::of_machine()));
        Self::start_in(data, worker, shelf, (memory, Places::default()), windows, conditions)
    }

    fn start_in(
        data: &Path,
        worker: Worker,
        shelf: Option<Arc<Shelf>>,
        (memory, places): (Arc<Memory>, Places),
        windows: u64,
        conditions: Conditions,
    ) -> std::io::Result<Self> {
        let room = Arc::new(Room::new(data, windows, conditions.clone()));
        let folder = Arc::new(Folder::open(data, conditions)?);
        let resolver = Resolver::new(folder.clone(), shelf.clone(), room.clone());
        let used = Mutex::default();
        Ok(Self { shared: Arc::new(Shared { folder, resolver, worker, shelf, places, memory, room, used }) })
    }

    /// What each frame stands for, by position. Reads files, so it blocks.
    pub fn resolve(&self, modules: &[Module], frames: &[Frame]) -> Vec<Resolution> {
        self.shared.resolver.resolve(modules, frames)
    }

    /// Those of `modules`, which a window came from, whose files agents should send. The others are in use.
    pub fn wanted(&self, modules: &[Module]) -> Vec<BuildId> {
        self.wanted_at(modules, now_ms())
    }

    fn wanted_at(&self, modules: &[Module], now_ms: u64) -> Vec<BuildId> {
        let mut wanted = Vec::new();
        let mut used = self.used();
        for module in modules.iter().filter(|module| !has_no_file(&module.name)) {
            let state = self.shared.folder.state(&module.build_id);
            let again = matches!(&state, Some(State::Failed(failure)) if failure.is_over(now_ms));
            if state.is_some() {
                used.insert(module.build_id);
            }
            if state.is_none() || again {
                wanted.push(module.build_id);
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        // Without room for it a file would travel in vain.
        if !wanted.is_empty() && self.shared.room.free().is_err() {
            wanted.clear();
        }
        wanted
    }

    fn used(&self) -> MutexGuard<'_, HashSet<BuildId>> {
        self.shared.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of these profiles has names, and what to do about the rest.
    pub fn coverage(&self, profiles: &[Resolved<'_>]) -> Coverage {
        coverage::coverage(&self.shared.folder, profiles)
    }

    /// For the status page.
    pub fn stats(&self) -> SymbolStats {
        self.shared.folder.stats()
    }

    /// True when other collectors use the same symbols.
    pub fn is_shared(&self) -> bool {
        self.shared.shelf.is_some()
    }

    /// Another number whenever a name may have become another.
    pub fn revision(&self) -> u64 {
        self.shared.folder.revision()
    }

    /// The gRPC service.
    pub fn service(&self) -> SymbolServiceServer<SymbolUploads> {
        SymbolServiceServer::new(SymbolUploads::new(self.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// True for modules that the kernel maps: no agent has a file of them.
fn has_no_file(module: &str) -> bool {
    module.starts_with('[') || module.starts_with("linux-vdso") || module.starts_with("linux-gate")
}

#[cfg(test)]
mod tests;
