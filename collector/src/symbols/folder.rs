//! `<data>/symbols/`: one file per build, named by its build id, which is hexadecimal and so safe in a path.
//!
//! | file | what it is |
//! |---|---|
//! | `<build id>.symcache` | its symbol table, see [`super::table`] |
//! | `<build id>.failed` | why there is none yet, see [`super::failure`]; of releases before it, in words alone |
//! | `incoming/…` | uploads and tables being written; emptied at start |
#![expect(clippy::disallowed_methods, reason = "this is where the folder of symbol tables is read and written")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tephra_proto::ids::BuildId;

use super::failure::Failure;
use super::table::{self, HEADER_BYTES, Head, Richness};
use crate::conditions::{Conditions, Severity};

/// How many builds have symbols.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SymbolStats {
    /// Builds with a symbol table.
    pub builds: u64,
    /// Size of all tables, bytes.
    pub bytes: u64,
}

/// What is known about one build.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// Being uploaded or symbolized.
    Busy,
    /// Its table is there.
    Ready {
        /// How much it tells.
        richness: Richness,
        /// Size of the table.
        bytes: u64,
    },
    /// Its file could not be used, or not yet.
    Failed(Failure),
}

/// The folder and what is in it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    states: Mutex<HashMap<BuildId, State>>,
    unique: AtomicU64,
    conditions: Conditions,
}

/// What an operator is told of builds whose files could not be read.
const FAILED: &str = "symbols_failed";

const REASON_BYTES_MAX: u64 = 16_384;

impl Folder {
    /// Opens `<data>/symbols`, made if it is not there.
    pub(super) fn open(data: &Path, conditions: Conditions) -> io::Result<Self> {
        let path = data.join("symbols");
        let incoming = path.join("incoming");
        fs::create_dir_all(&path)?;
        match fs::remove_dir_all(&incoming) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => fs::create_dir_all(&incoming)?,
        }
        let mut states = HashMap::new();
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((id, extension)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
            let Ok(id) = BuildId::parse(id) else { continue };
            match extension {
                "symcache" => match read_state(&entry.path()) {
                    Ok((state, _)) => drop(states.insert(id, state)),
                    // Of an older version, or torn by a failing disk: it will be wanted again.
                    Err(error) => tracing::warn!(build_id = %id, %error, "symbol table cannot be used"),
                },
                "failed" => {
                    let failure = read_failure(&entry.path()).unwrap_or_else(|_| Failure::of_before(String::new()));
                    states.entry(id).or_insert(State::Failed(failure));
                }
                _ => {}
            }
        }
        let folder = Self { path, states: Mutex::new(states), unique: AtomicU64::new(0), conditions };
        folder.known().iter().for_each(|(id, state)| folder.tell(id, Some(state)));
        Ok(folder)
    }

    /// Tells the operator of a failure that is not the file's own, or that there is none any more.
    fn tell(&self, id: &BuildId, state: Option<&State>) {
        let id = id.to_string();
        match state {
            Some(State::Failed(failure)) => match failure.told(&id) {
                Some(message) => self.conditions.begin(FAILED, &id, Severity::Notice, message),
                None => self.conditions.end(FAILED, &id),
            },
            _ => self.conditions.end(FAILED, &id),
        }
    }

    fn states(&self) -> MutexGuard<'_, HashMap<BuildId, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self, id: &BuildId) -> Option<State> {
        self.states().get(id).cloned()
    }

    /// How many builds have a table, and how much of the disk the tables take.
    pub(super) fn stats(&self) -> SymbolStats {
        let states = self.states();
        let sizes = states.values().filter_map(|state| match state {
            State::Ready { bytes, .. } => Some(*bytes),
            _ => None,
        });
        sizes.fold(SymbolStats::default(), |SymbolStats { builds, bytes }, more| SymbolStats {
            builds: builds + 1,
            bytes: bytes + more,
        })
    }

    /// A number that depends on the state of every build, and on nothing else.
    pub(super) fn revision(&self) -> u64 {
        let one = |(id, state): (&BuildId, &State)| {
            let mut hasher = DefaultHasher::new();
            (id, state).hash(&mut hasher);
            hasher.finish()
        };
        // Builds come in no order, and each only once.
        self.states().iter().map(one).fold(0, u64::wrapping_add)
    }

    /// Takes the build for one upload; `None` while another has it. Put back by [`Claim`]'s drop, whatever happens.
    pub(super) fn claim(self: &std::sync::Arc<Self>, id: BuildId, file_bytes: u64) -> Option<Claim> {
        let mut states = self.states();
        let before = states.get(&id).cloned();
        if before == Some(State::Busy) {
            return None;
        }
        states.insert(id, State::Busy);
        Some(Claim { folder: self.clone(), id, before: before.clone(), file_bytes, after: before })
    }

    /// What is known of every build.
    pub(super) fn known(&self) -> Vec<(BuildId, State)> {
        self.states().iter().map(|(id, state)| (*id, state.clone())).collect()
    }

    /// Takes over what another collector knows of a build, unless this one knows better.
    pub(super) fn hear(&self, id: BuildId, heard: &State) {
        let mut states = self.states();
        let news = match (states.get(&id), heard) {
            (None, _) | (Some(State::Failed(_)), State::Ready { .. }) => true,
            (Some(State::Failed(known)), State::Failed(heard)) => heard.again_ms > known.again_ms,
            (Some(State::Ready { richness, .. }), State::Ready { richness: heard, .. }) => heard > richness,
            _ => false,
        };
        if news {
            // What lies here is another table, or the reason why there was none. If it cannot be removed, it stays in use.
            for old in [self.table(&id), self.table(&id).with_extension("failed")] {
                fs::remove_file(old).ok();
            }
            states.insert(id, heard.clone());
            self.tell(&id, Some(heard));
        }
    }

    /// Removes what there is of a build; one that is being worked on stays. Answers how many bytes that frees.
    pub(super) fn discard(&self, id: &BuildId) -> io::Result<u64> {
        // Nobody claims it in between.
        let mut states = self.states();
        let bytes = match states.get(id) {
            Some(State::Busy) => return Ok(0),
            Some(State::Ready { bytes, .. }) => *bytes,
            Some(State::Failed(_)) | None => 0,
        };
        for file in [self.table(id), self.table(id).with_extension("failed")] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        states.remove(id);
        self.tell(id, None);
        Ok(bytes)
    }

    /// Forgets a build whose table is lost: it will be wanted again.
    pub(super) fn forget(&self, id: &BuildId) {
        self.states().remove(id);
    }

    /// Keeps a table that was fetched.
    pub(super) fn keep(&self, id: &BuildId, table: &[u8]) -> io::Result<()> {
        let incoming = self.incoming(id);
        fs::write(&incoming, table)?;
        fs::rename(&incoming, self.table(id))
    }

    /// A table's bytes.
    pub(super) fn read(&self, id: &BuildId) -> io::Result<Vec<u8>> {
        fs::read(self.table(id))
    }

    pub(super) fn table(&self, id: &BuildId) -> PathBuf {
        self.path.join(format!("{id}.symcache"))
    }

    /// A path in `incoming` that nothing else uses.
    pub(super) fn incoming(&self, id: &BuildId) -> PathBuf {
        let n = self.unique.fetch_add(1, Ordering::Relaxed);
        self.path.join("incoming").join(format!("{id}.{n}"))
    }
}

/// What became of a table that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filed {
    /// It is the build's table now.
    Taken,
    /// The build's table stays the one it was.
    Poorer {
        /// How much that one tells.
        known: Richness,
        /// How much this one would.
        new: Richness,
    },
}

/// The right to change one build. Without [`Claim::finish`] the build is as it was before.
#[derive(Debug)]
pub(super) struct Claim {
    folder: std::sync::Arc<Folder>,
    pub(super) id: BuildId,
    /// What was known when it was taken.
    pub(super) before: Option<State>,
    /// Size of the file that is sent.
    pub(super) file_bytes: u64,
    after: Option<State>,
}

impl Claim {
    /// Puts a finished table in place, durably, unless the one that is there tells more.
    pub(super) fn succeed(mut self, table: &Path) -> io::Result<Filed> {
        let (state, has_segments) = read_state(table)?;
        let path = self.folder.table(&self.id);
        let known = match &self.after {
            Some(State::Ready { richness, .. }) => Some(*richness),
            _ => None,
        };
        let filed = match (known, &state) {
            (Some(known), State::Ready { richness: new, .. }) if *new < known => Filed::Poorer { known, new: *new },
            _ => Filed::Taken,
        };
        // Where code is loaded only the file that is run says, names often only its debug file: what both know is kept.
        if known.is_some() && matches!(read_state(&path), Ok((_, there)) if there != has_segments) {
            let (richer, other) = if filed == Filed::Taken { (table, &*path) } else { (&*path, table) };
            let both = table::with_segments_of(&fs::read(richer)?, &fs::read(other)?);
            if let Some(both) = both.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
                let mut file = File::create(table)?;
                file.write_all(&both)?;
                file.sync_all()?;
                return self.put(table, filed);
            }
        }
        if filed == Filed::Taken { self.put(table, filed) } else { Ok(filed) }
    }

    fn put(&mut self, table: &Path, filed: Filed) -> io::Result<Filed> {
        let (state, _) = read_state(table)?;
        let path = self.folder.table(&self.id);
        fs::rename(table, &path)?;
        File::open(&self.folder.path)?.sync_all()?;
        match fs::remove_file(path.with_extension("failed")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => self.after = Some(state),
        }
        Ok(filed)
    }

    /// Remembers that the file, or this machine, did not do, unless an earlier file did.
    pub(super) fn fail(mut self, of_file: bool, reason: &str, now_ms: u64) -> io::Result<()> {
        let before = match &self.after {
            Some(State::Ready { .. }) => return Ok(()),
            Some(State::Failed(before)) => Some(before),
            _ => None,
        };
        let failure = Failure::after(before, of_file, reason.to_owned(), self.file_bytes, now_ms);
        let content = serde_json::to_vec(&failure)?;
        // From here on it holds, also where it cannot be written down.
        self.after = Some(State::Failed(failure));
        let incoming = self.folder.incoming(&self.id);
        fs::write(&incoming, content)?;
        fs::rename(&incoming, self.folder.table(&self.id).with_extension("failed"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut states = self.folder.states();
        self.folder.tell(&self.id, self.after.as_ref());
        match self.after.take() {
            Some(state) => drop(states.insert(self.id, state)),
            None => drop(states.remove(&self.id)),
        }
    }
}

/// What a table's header says; and whether it has segments.
fn read_state(table: &Path) -> io::Result<(State, bool)> {
    let mut file = File::open(table)?;
    let mut head = [0; HEADER_BYTES];
    file.read_exact(&mut head)?;
    let head = Head::read(&head).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok((State::Ready { richness: head.richness, bytes: file.metadata()?.len() }, head.segments > 0))
}

fn read_failure(path: &Path) -> io::Result<Failure> {
    let mut text = String::new();
    File::open(path)?.take(REASON_BYTES_MAX).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| Failure::of_before(text)))
}
