//! Symbols: from a build's file to names. Agents offer the files of the builds they run, once per build; a child process
//! turns each into a symbol table; views look addresses up in it.
//!
//! | module | what lives there |
//! |---|---|
//! | [`service`], [`upload`] | gRPC: what is wanted; receiving it, from agents and by hand |
//! | [`elf`], [`segments`] | which build a file is, and where it is loaded |
//! | [`job`], [`worker`] | the child process, from both ends |
//! | [`folder`], [`table`] | what is kept, one file per build |
//! | [`share`] | the same tables for all collectors of a shared store |
//! | [`retain`] | letting go of those that nothing stored needs |
//! | [`resolver`], [`coverage`] | addresses to functions, and what has no name |

pub mod coverage;
pub mod elf;
pub mod folder;
pub mod job;
pub mod resolver;
pub mod retain;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::profile::header::Coverage;
use crate::profile::model::{Frame, Module};
use crate::profile::resolution::Resolution;
use crate::profile::tree::Resolved;
use crate::store::Store;

use folder::Folder;
pub use job::Worker;
use resolver::Resolver;
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
    places: Arc<Semaphore>,
    /// Builds with symbols that windows came from, since retention last took note of them.
    used: Mutex<HashSet<BuildId>>,
}

/// Files received or symbolized at the same time: each may take the disk and memory of a large service.
const AT_ONCE: usize = 2;

/// How many builds have symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolStats {
    /// Builds with a symbol table.
    pub builds: u64,
    /// Size of all tables.
    pub bytes: u64,
}

impl Symbols {
    /// Opens `<data>/symbols`, made if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(data: &Path, worker: Worker) -> std::io::Result<Self> {
        Self::start(data, worker, None)
    }

    /// The same beside a store: where that is shared, symbols are too, and the folder is only a cache.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn beside(store: &Store, worker: Worker) -> std::io::Result<Self> {
        Self::start(store.data_dir(), worker, Shelf::of(store))
    }

    fn start(data: &Path, worker: Worker, shelf: Option<Arc<Shelf>>) -> std::io::Result<Self> {
        let folder = Arc::new(Folder::open(data)?);
        let resolver = Resolver::new(folder.clone(), shelf.clone());
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Self { shared: Arc::new(Shared { folder, resolver, worker, shelf, places, used: Mutex::default() }) })
    }

    /// Room for one more file, given back when dropped; `None` when others have it.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.shared.places.clone().try_acquire_owned().ok()
    }

    /// What each frame stands for, by position. Reads files, so it blocks.
    pub fn resolve(&self, modules: &[Module], frames: &[Frame]) -> Vec<Resolution> {
        self.shared.resolver.resolve(modules, frames)
    }

    /// Those of `modules`, which a window came from, whose files agents should send. The others are in use.
    pub fn wanted(&self, modules: &[Module]) -> Vec<BuildId> {
        let with_file = modules.iter().filter(|module| !has_no_file(&module.name)).map(|module| module.build_id);
        let (known, mut wanted): (Vec<_>, Vec<_>) = with_file.partition(|id| self.shared.folder.state(id).is_some());
        self.used().extend(known);
        wanted.sort_unstable();
        wanted.dedup();
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
        let (builds, bytes) = self.shared.folder.ready();
        SymbolStats { builds, bytes }
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
