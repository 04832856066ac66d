//! A disk that forgets: a file system in memory that keeps apart what was synced and what was only written, and fails where it is told.
//!
//! After a power cut, content that was not synced is there sector by sector or not, and each change of a name that was not synced
//! has happened or not. What a sync failed to bring to the platter is never brought there by the next one.

mod content;
mod file;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use content::Content;
pub(super) use file::ModelFile;

use crate::store::disk::{Disk, NewFile};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// This operation fails, and has no effect.
    Error(ErrorKind),
    /// Half of this operation is done, then it fails.
    Half(ErrorKind),
    /// Before this operation the process is killed; what it has written, the kernel still knows.
    Kill,
    /// From this operation on nothing works any more.
    PowerCut,
}

/// What changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Make,
    Write,
    Truncate,
    Sync,
    Rename,
    Remove,
    SyncFolder,
}

#[derive(Debug, Default, Clone)]
struct State {
    /// Those that change something, so far.
    operations: Vec<Operation>,
    fault: Option<(usize, Fault)>,
    off: bool,
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    /// Changes of names since, in order; `None` removes.
    unsynced: Vec<Vec<(PathBuf, Option<usize>)>>,
}

/// The model, shared by all that use it; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelDisk {
    state: Arc<Mutex<State>>,
    mounted: PathBuf,
}

impl ModelDisk {
    fn new(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), mounted: PathBuf::new() }
    }

    /// The same disk under a folder.
    pub(super) fn mounted_on(&self, folder: &Path) -> Self {
        Self { state: self.state.clone(), mounted: folder.to_owned() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A path as the disk itself knows it.
    fn inside<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.mounted).unwrap_or(path)
    }

    /// Fails operation number `at`, counted from the next one.
    pub(super) fn fail(&self, at: usize, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations.len() + at, fault));
    }

    /// True once what was to fail has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.state().fault.is_none()
    }

    /// Operations so far.
    pub(super) fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    /// The same disk, for another process.
    pub(super) fn after_restart(&self) -> Self {
        let before = self.state().clone();
        Self::new(State { operations: Vec::new(), fault: None, off: false, ..before })
    }

    /// What is there when the machine starts again.
    pub(super) fn after_power_cut(&self, mut seed: u64) -> Self {
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        let state = self.state();
        let mut names = state.synced_names.clone();
        for change in &state.unsynced {
            // A rename is one change: both names or neither.
            if random().is_multiple_of(2) {
                apply(&mut names, change);
            }
        }
        let files = state.files.iter().map(|file| file.after_power_cut(&mut random)).collect();
        Self::new(State { files, synced_names: names.clone(), names, ..State::default() })
    }

    /// Opens a file that is there.
    pub(super) fn open(&self, file: &Path) -> io::Result<ModelFile> {
        Ok(ModelFile { disk: self.clone(), number: self.state().find(self.inside(file))? })
    }

    /// Makes an empty file, in place of what had its name.
    pub(super) fn make(&self, file: &Path) -> io::Result<ModelFile> {
        let mut state = self.state();
        let half = state.operation(Operation::Make)?;
        let number = state.files.len();
        state.files.push(Content::default());
        state.change(vec![(self.inside(file).to_owned(), Some(number))]);
        then_fail(half)?;
        Ok(ModelFile { disk: self.clone(), number })
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &[(PathBuf, Option<usize>)]) {
    for (name, file) in change {
        match file {
            Some(file) => drop(names.insert(name.clone(), *file)),
            None => drop(names.remove(name)),
        }
    }
}

impl State {
    /// Counts an operation; says whether it happens, happens by half (`Ok(true)`), or fails.
    fn operation(&mut self, what: Operation) -> io::Result<Option<ErrorKind>> {
        let at = self.operations.len();
        self.operations.push(what);
        if self.off {
            return Err(io::Error::other("this came after the end"));
        }
        match self.fault.take_if(|(number, _)| *number == at) {
            None => Ok(None),
            Some((_, Fault::Half(kind))) => Ok(Some(kind)),
            Some((_, Fault::Error(kind))) => Err(kind.into()),
            Some((_, Fault::Kill | Fault::PowerCut)) => {
                self.off = true;
                Err(io::Error::other("the end"))
            }
        }
    }

    fn change(&mut self, change: Vec<(PathBuf, Option<usize>)>) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }

    fn content(&self, number: usize) -> &[u8] {
        self.files.get(number).map(Content::now).unwrap_or_default()
    }

    fn find(&self, file: &Path) -> io::Result<usize> {
        self.names.get(file).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// Done by half, it still is an error.
fn then_fail(half: Option<ErrorKind>) -> io::Result<()> {
    half.map_or(Ok(()), |kind| Err(kind.into()))
}

impl Disk for ModelDisk {
    fn make_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(self.make(file)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let half = state.operation(Operation::Rename)?;
        let (from, to) = (self.inside(from), self.inside(to));
        let file = state.find(from)?;
        state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        then_fail(half)
    }

    fn renew(&self, file: &Path) -> io::Result<()> {
        let file = self.open(file)?;
        let mut content = vec![0; file.len()];
        file.read_at(0, &mut content);
        file.write_at(0, &content)?;
        file.sync()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        // A sync that fails by half has synced something, and nobody knows what: see `after_power_cut`.
        then_fail(state.operation(Operation::SyncFolder)?)?;
        let folder = self.inside(folder);
        let inside = |change: &mut Vec<(PathBuf, _)>| change.iter().all(|(name, _)| name.parent() == Some(folder));
        let State { unsynced, synced_names, .. } = &mut *state;
        unsynced.extract_if(.., inside).for_each(|change| apply(synced_names, &change));
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let mut state = self.state();
        let half = state.operation(Operation::Remove)?;
        let file = self.inside(file);
        state.find(file)?;
        state.change(vec![(file.to_owned(), None)]);
        then_fail(half)
    }

    fn read(&self, file: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let state = self.state();
        let content = state.content(state.find(self.inside(file))?);
        let end = content.len().min((offset + bytes) as usize);
        Ok(content.get(offset as usize..end).unwrap_or_default().to_vec())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64, SystemTime)>> {
        let state = self.state();
        let folder = self.inside(folder);
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let about = |(path, file): (&PathBuf, &usize)| {
            let bytes = state.content(*file).len() as u64;
            Some((path.file_name()?.to_str()?.to_owned(), bytes, SystemTime::now()))
        };
        Ok(inside.filter_map(about).collect())
    }
}
