//! A disk that forgets: a file system in memory that keeps apart what was synced and what was only written, and fails where it is told.
//!
//! After a power cut, content that was not synced is there sector by sector or not, and each change of a name that was not synced
//! has happened or not.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use crate::store::disk::{Disk, NewFile};

const SECTOR: usize = 64;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// This operation fails, and has no effect.
    Error(ErrorKind),
    /// Half of this operation is done, then it fails.
    Half(ErrorKind),
    /// From this operation on nothing works any more.
    PowerCut,
}

#[derive(Debug, Default)]
struct State {
    /// Operations that change something, so far.
    operations: usize,
    fault: Option<(usize, Fault)>,
    off: bool,
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    /// Changes of names since, in order; `None` removes.
    unsynced: Vec<Vec<(PathBuf, Option<usize>)>>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

/// See above.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelDisk(Arc<Mutex<State>>);

impl ModelDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Fails operation number `at`, counted from the next one.
    pub(super) fn fail(&self, at: usize, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations + at, fault));
    }

    /// Operations so far.
    pub(super) fn operations(&self) -> usize {
        self.state().operations
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
            if random() % 2 == 0 {
                apply(&mut names, change);
            }
        }
        let files = state.files.iter().map(|file| {
            if file.now == file.synced {
                return file.clone();
            }
            let longest = file.now.len().max(file.synced.len());
            let len = if random() % 2 == 0 { file.now.len() } else { random() % (longest + 1) };
            let sector = |start: usize, from_now: bool| {
                let content = if from_now { &file.now } else { &file.synced };
                let byte = |at: usize| content.get(at).copied().unwrap_or(0);
                (start..(start + SECTOR).min(len)).map(byte).collect::<Vec<u8>>()
            };
            let survived: Vec<u8> =
                (0..len).step_by(SECTOR).flat_map(|start| sector(start, random() % 2 == 0)).collect();
            Content { now: survived.clone(), synced: survived }
        });
        let fresh = State { files: files.collect(), synced_names: names.clone(), names, ..State::default() };
        Self(Arc::new(Mutex::new(fresh)))
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
    fn operation(&mut self) -> io::Result<Option<ErrorKind>> {
        let at = self.operations;
        self.operations += 1;
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        match self.fault.take_if(|(number, _)| *number == at) {
            None => Ok(None),
            Some((_, Fault::Half(kind))) => Ok(Some(kind)),
            Some((_, Fault::Error(kind))) => Err(kind.into()),
            Some((_, Fault::PowerCut)) => {
                self.off = true;
                Err(io::Error::other("the power is cut"))
            }
        }
    }

    fn change(&mut self, change: Vec<(PathBuf, Option<usize>)>) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
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
        let mut state = self.state();
        let half = state.operation()?;
        let number = state.files.len();
        state.files.push(Content::default());
        state.change(vec![(file.to_owned(), Some(number))]);
        then_fail(half)?;
        Ok(Box::new(ModelFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let half = state.operation()?;
        let file = state.find(from)?;
        state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        then_fail(half)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        // A sync that fails by half has synced something, and nobody knows what: see `after_power_cut`.
        then_fail(state.operation()?)?;
        state.synced_names = state.names.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let mut state = self.state();
        let half = state.operation()?;
        state.find(file)?;
        state.change(vec![(file.to_owned(), None)]);
        then_fail(half)
    }

    fn read(&self, file: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let state = self.state();
        let content = state.files.get(state.find(file)?).map(|file| file.now.as_slice()).unwrap_or_default();
        let end = content.len().min((offset + bytes) as usize);
        Ok(content.get(offset as usize..end).unwrap_or_default().to_vec())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64, SystemTime)>> {
        let state = self.state();
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let about = |(path, file): (&PathBuf, &usize)| {
            let bytes = state.files.get(*file).map_or(0, |file| file.now.len() as u64);
            Some((path.file_name()?.to_str()?.to_owned(), bytes, SystemTime::now()))
        };
        Ok(inside.filter_map(about).collect())
    }
}

struct ModelFile {
    disk: ModelDisk,
    number: usize,
}

impl NewFile for ModelFile {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let half = state.operation()?;
        let written = if half.is_some() { content.len() / 2 } else { content.len() };
        if let (Some(file), Some(content)) = (state.files.get_mut(self.number), content.get(..written)) {
            file.now.extend_from_slice(content);
        }
        then_fail(half)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        then_fail(state.operation()?)?;
        if let Some(file) = state.files.get_mut(self.number) {
            file.synced = file.now.clone();
        }
        Ok(())
    }
}
