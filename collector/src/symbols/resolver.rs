//! Addresses to functions, through a bounded cache of symbol tables.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tephra_proto::ids::BuildId;

use crate::profile::address::Address;
use crate::profile::model::{Frame, Module};
use crate::profile::resolution::{Resolution, Symbol};
use crate::store::bulk::BulkError;

use super::folder::{Folder, State};
use super::room::Room;
use super::share::Shelf;
use super::table::Table;

/// Memory for tables: a large service's is some 50 MiB, libc's 1 MiB.
const CACHE_BYTES_MAX: usize = 256 << 20;

/// Looks frames up. Blocks on file reads.
#[derive(Debug)]
pub(super) struct Resolver {
    folder: Arc<Folder>,
    shelf: Option<Arc<Shelf>>,
    room: Arc<Room>,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    tables: FxHashMap<BuildId, Cached>,
    bytes: usize,
    /// Counts uses: the table with the smallest count was used least recently.
    clock: u64,
}

#[derive(Debug)]
struct Cached {
    table: Arc<Table>,
    /// What the folder said when it was read: another state means another table.
    state: State,
    used: u64,
}

impl Resolver {
    pub(super) fn new(folder: Arc<Folder>, shelf: Option<Arc<Shelf>>, room: Arc<Room>) -> Self {
        Self { folder, shelf, room, cache: Mutex::default() }
    }

    /// What each frame stands for, by position.
    pub(super) fn resolve(&self, modules: &[Module], frames: &[Frame]) -> Vec<Resolution> {
        let names: FxHashMap<&BuildId, &Arc<str>> = modules.iter().map(|m| (&m.build_id, &m.name)).collect();
        let mut tables: FxHashMap<BuildId, Option<Arc<Table>>> = FxHashMap::default();
        let nameless: Arc<str> = "".into();
        let resolve = |frame: &Frame| match frame {
            Frame::Native { build_id, address } => {
                let module = names.get(build_id).copied().unwrap_or(&nameless);
                let table = tables.entry(*build_id).or_insert_with(|| self.table(build_id));
                let address = Address::of(*address);
                let known = table.as_ref().and_then(|table| Some((table, table.elf_address(address)?)));
                let symbols = known.map(|(table, at)| table.lookup(at, module)).unwrap_or_default();
                if symbols.is_empty() {
                    return Resolution::Unresolved { module: module.clone(), address: address.shown() };
                }
                Resolution::Symbols(symbols)
            }
            Frame::Symbolic { function, file, line, inlined } => Resolution::Symbols(vec![Symbol {
                function: function.clone(),
                module: nameless.clone(),
                file: file.clone(),
                line: *line,
                inlined: *inlined,
            }]),
            Frame::Truncated => Resolution::Truncated,
        };
        frames.iter().map(resolve).collect()
    }

    fn table(&self, id: &BuildId) -> Option<Arc<Table>> {
        let state = self.folder.state(id).filter(|state| matches!(state, State::Ready { .. }))?;
        if let Some(table) = self.cached(id, &state) {
            return Some(table);
        }
        // Read without the lock: views of other builds go on.
        let parsed = self.read(id, &state);
        let parsed = parsed.and_then(|content| Table::parse(&content).map_err(|e| e.to_string()));
        match parsed {
            Ok(table) => {
                let table = Arc::new(table);
                self.keep(*id, state, table.clone());
                Some(table)
            }
            Err(error) => {
                tracing::warn!(build_id = %id, error, "symbol table cannot be read");
                None
            }
        }
    }

    /// The table's bytes, from here or from where it is shared.
    pub(super) fn read(&self, id: &BuildId, state: &State) -> Result<Vec<u8>, String> {
        let (Some(shelf), State::Ready { richness, .. }) = (&self.shelf, state) else {
            return self.folder.read(id).map_err(|e| e.to_string());
        };
        match self.folder.read(id) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => return read.map_err(|e| e.to_string()),
        }
        match shelf.fetch(id, richness.detail) {
            Ok(table) => {
                // Without room here it is fetched again next time.
                if self.room.check(table.len() as u64).is_ok() {
                    self.folder.keep(id, &table).ok();
                }
                Ok(table)
            }
            Err(error) => {
                if matches!(error, BulkError::Missing { .. }) {
                    self.folder.forget(id);
                    shelf.unsay(id);
                }
                Err(error.to_string())
            }
        }
    }

    fn cached(&self, id: &BuildId, state: &State) -> Option<Arc<Table>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clock += 1;
        let clock = cache.clock;
        let cached = cache.tables.get_mut(id).filter(|cached| cached.state == *state)?;
        cached.used = clock;
        Some(cached.table.clone())
    }

    fn keep(&self, id: BuildId, state: State, table: Arc<Table>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clock += 1;
        let used = cache.clock;
        cache.bytes += table.size();
        if let Some(replaced) = cache.tables.insert(id, Cached { table, state, used }) {
            cache.bytes -= replaced.table.size();
        }
        while cache.bytes > CACHE_BYTES_MAX {
            let oldest = cache.tables.iter().min_by_key(|(_, cached)| cached.used).map(|(id, _)| *id);
            let Some(evicted) = oldest.and_then(|id| cache.tables.remove(&id)) else { break };
            cache.bytes -= evicted.table.size();
        }
    }
}
