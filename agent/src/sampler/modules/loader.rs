//! Asks the dynamic loader what is mapped: where code is, how it is named, and how to unwind it.
//!
//! Runs in the agent thread only, because the loader holds a lock meanwhile. Unwind tables of the main program and the vDSO
//! are borrowed, since they stay until the process ends; all others are copied while the loader's lock keeps them mapped.

use std::ffi::{CStr, OsStr, c_int, c_void};
use std::ops::{Deref, Range};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tephra_proto::ids::BuildId;

use super::{build_id, pointer_auth};

/// The most that copies of unwind tables may take, in bytes.
static TABLES_BYTES_MAX: AtomicUsize = AtomicUsize::new(2 << 20);

/// Sets how much copies of unwind tables may take. What does not fit is not copied: its code is walked by frame pointers.
pub(crate) fn limit_tables(bytes: usize) {
    TABLES_BYTES_MAX.store(bytes, Ordering::Relaxed);
}

/// How often the loader has added and removed modules: unchanged means that nothing has to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LoaderGeneration {
    adds: u64,
    subs: u64,
}

/// One mapped module.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What to add to an address in the file's terms to get one in this process.
    pub(crate) bias: u64,
    /// Executable spans, in this process's addresses.
    pub(crate) code: Vec<Range<u64>>,
    pub(crate) path: PathBuf,
    pub(crate) build_id: BuildId,
    /// The build id came from a note, not from hashing the file.
    pub(crate) noted: bool,
    pub(crate) unwind: Option<UnwindTables>,
    /// It has tables, but there was no room to copy them.
    pub(crate) left_out: bool,
}

impl Loaded {
    /// What is left to know of a module that was unloaded.
    pub(crate) fn without_tables(&self) -> Self {
        let Self { bias, ref code, ref path, build_id, noted, .. } = *self;
        Self { bias, code: code.clone(), path: path.clone(), build_id, noted, unwind: None, left_out: false }
    }

    /// Bytes that copies of its tables take.
    fn copied(&self) -> usize {
        self.unwind.as_ref().map_or(0, UnwindTables::copied)
    }
}

/// `.eh_frame_hdr` and `.eh_frame` with their addresses in the file's terms.
#[derive(Debug, Clone)]
pub(crate) struct UnwindTables {
    /// `None` when its search table cannot be used; the unwinder then builds one.
    pub(crate) header: Option<(u64, UnwindBytes)>,
    pub(crate) frames: (u64, UnwindBytes),
}

impl UnwindTables {
    fn copied(&self) -> usize {
        let header = self.header.as_ref().map(|(_, bytes)| bytes);
        header.into_iter().chain([&self.frames.1]).map(UnwindBytes::copied).sum()
    }
}

/// Bytes of an unwind table.
#[derive(Debug, Clone)]
pub(crate) enum UnwindBytes {
    Borrowed(&'static [u8]),
    Copied(Arc<[u8]>),
}

impl Default for UnwindBytes {
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}

impl UnwindBytes {
    fn copied(&self) -> usize {
        match self {
            Self::Borrowed(_) => 0,
            Self::Copied(bytes) => bytes.len(),
        }
    }
}

impl Deref for UnwindBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// Reads the loader's counters, which is quick.
pub(crate) fn generation() -> LoaderGeneration {
    unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, _size: usize, out: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid record, and `out` is the local below, which outlives the call.
        unsafe { *out.cast() = LoaderGeneration { adds: (*info).dlpi_adds, subs: (*info).dlpi_subs } };
        1
    }
    let mut generation = LoaderGeneration::default();
    // SAFETY: the callback matches the declared type and `generation` lives until the call returns.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut generation).cast()) };
    generation
}

/// Reads all mapped modules, reusing what `known` already holds.
pub(crate) fn read_all(known: &[Arc<Loaded>]) -> Vec<Arc<Loaded>> {
    struct Collect<'a> {
        known: &'a [Arc<Loaded>],
        found: Vec<Found>,
        vdso: u64,
        room: usize,
    }
    unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, _size: usize, collect: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid record; `collect` is the local below, borrowed by nothing else meanwhile.
        let (info, collect) = unsafe { (&*info, &mut *collect.cast::<Collect<'_>>()) };
        let is_main = collect.found.is_empty();
        // SAFETY: the record is the loader's, and its lock is held until this callback returns.
        let mapped = unsafe { Mapped::new(info, is_main, collect.vdso) };
        if let Some(found) = mapped.and_then(|mapped| mapped.read(collect.known, &mut collect.room)) {
            collect.found.push(found);
        }
        0
    }
    // SAFETY: reads a word the kernel gave the process; 0 when there is no vDSO.
    let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    let taken = known.iter().map(|loaded| loaded.copied()).sum();
    let room = TABLES_BYTES_MAX.load(Ordering::Relaxed).saturating_sub(taken);
    let mut collect = Collect { known, found: Vec::new(), vdso, room };
    // SAFETY: the callback matches the declared type and `collect` lives until the call returns.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut collect).cast()) };
    collect.found.into_iter().map(Found::finish).collect()
}

/// What one call of the loader's callback yields; files are read only after the loader's lock is free again.
enum Found {
    Known(Arc<Loaded>),
    New {
        bias: u64,
        code: Vec<Range<u64>>,
        path: PathBuf,
        build_id: Option<BuildId>,
        unwind: Option<UnwindTables>,
        left_out: bool,
    },
}

impl Found {
    fn finish(self) -> Arc<Loaded> {
        match self {
            Self::Known(loaded) => loaded,
            Self::New { bias, code, path, build_id, unwind, left_out } => {
                let noted = build_id.is_some();
                // A file that is gone cannot be named by content. Its path at least keeps it apart from other modules.
                let build_id = build_id
                    .or_else(|| build_id::of_file(&path).ok())
                    .unwrap_or_else(|| BuildId::hash(path.as_os_str().as_bytes()));
                Arc::new(Loaded { bias, code, path, build_id, noted, unwind, left_out })
            }
        }
    }
}

/// Tables where the loader mapped them.
struct MappedTables<'a> {
    header: Option<(u64, &'a [u8])>,
    frames: (u64, &'a [u8]),
}

/// One loader record while the loader's lock is held.
struct Mapped<'a> {
    bias: u64,
    headers: &'a [libc::Elf64_Phdr],
    path: PathBuf,
    /// Never unmapped, so its bytes can be borrowed for ever.
    permanent: bool,
}

impl<'a> Mapped<'a> {
    /// # Safety
    /// `info` came from `dl_iterate_phdr`, whose callback is still running.
    unsafe fn new(info: &'a libc::dl_phdr_info, is_main: bool, vdso: u64) -> Option<Self> {
        if info.dlpi_phdr.is_null() {
            return None;
        }
        // SAFETY: the loader's record describes this many program headers, mapped while its lock is held.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        // SAFETY: a non-null name is a C string of the loader.
        let name = (!info.dlpi_name.is_null()).then(|| unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes());
        let name = name.unwrap_or_default();
        let start = headers.iter().find(|h| h.p_type == libc::PT_LOAD).map_or(0, |h| h.p_vaddr);
        let is_vdso = vdso != 0 && info.dlpi_addr.wrapping_add(start) == vdso;
        let path = match (is_vdso, is_main && name.is_empty()) {
            (true, _) => PathBuf::from("[vdso]"),
            (_, true) => std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
            _ => PathBuf::from(OsStr::from_bytes(name)),
        };
        Some(Self { bias: info.dlpi_addr, headers, path, permanent: is_main || is_vdso })
    }

    /// Reads the module, or recognizes it. `None` when it has no code. `room`: how much may be copied.
    fn read(&self, known: &[Arc<Loaded>], room: &mut usize) -> Option<Found> {
        let executable = self.loads().filter(|h| h.p_flags & libc::PF_X != 0);
        let code: Vec<_> = executable.map(|h| self.at(h.p_vaddr)..self.at(h.p_vaddr.wrapping_add(h.p_memsz))).collect();
        if code.is_empty() {
            return None;
        }
        let build_id = self.build_id();
        let same = |loaded: &&Arc<Loaded>| {
            loaded.bias == self.bias
                && loaded.code == code
                && loaded.path == self.path
                && build_id.map_or(!loaded.noted, |id| id == loaded.build_id)
        };
        if let Some(loaded) = known.iter().find(same) {
            return Some(Found::Known(Arc::clone(loaded)));
        }
        let found = self.find_tables();
        let unwind = found.as_ref().and_then(|tables| self.keep_tables(tables, room));
        let left_out = found.is_some() && unwind.is_none();
        Some(Found::New { bias: self.bias, code, path: self.path.clone(), build_id, unwind, left_out })
    }

    fn build_id(&self) -> Option<BuildId> {
        let notes = self.headers.iter().filter(|h| h.p_type == libc::PT_NOTE);
        notes.filter_map(|h| self.bytes(h.p_vaddr, h.p_memsz)).find_map(build_id::in_notes)
    }

    fn find_tables(&self) -> Option<MappedTables<'a>> {
        let header = self.headers.iter().find(|h| h.p_type == libc::PT_GNU_EH_FRAME)?;
        let header_bytes = self.bytes(header.p_vaddr, header.p_memsz)?;
        let &[version, pointer_encoding, count_encoding, table_encoding, ref rest @ ..] = header_bytes else {
            return None;
        };
        let pointer = rest.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes))?;
        let frames_at = match (version, pointer_encoding) {
            (1, PCREL_SDATA4) => header.p_vaddr.wrapping_add(4).wrapping_add_signed(i64::from(pointer)),
            (1, DATAREL_SDATA4) => header.p_vaddr.wrapping_add_signed(i64::from(pointer)),
            (1, UDATA4) => u64::from(pointer as u32),
            _ => return None,
        };
        let frames = frames_length(self.bytes_from(frames_at)?);
        let searchable = count_encoding == UDATA4 && table_encoding == DATAREL_SDATA4;
        Some(MappedTables { header: searchable.then_some((header.p_vaddr, header_bytes)), frames: (frames_at, frames) })
    }

    /// Makes tables outlive the loader's lock; `None` when that takes more than there is room for.
    fn keep_tables(&self, tables: &MappedTables<'a>, room: &mut usize) -> Option<UnwindTables> {
        let MappedTables { header, frames: (frames_at, frames) } = *tables;
        let bytes = frames.len() + header.map_or(0, |(_, header)| header.len());
        if !self.permanent && bytes > *room {
            return None;
        }
        let fits = frames.len() <= *room;
        let changed = if cfg!(target_arch = "aarch64") && fits { pointer_auth::left_out(frames) } else { None };
        let kept = UnwindTables {
            header: header.map(|(at, header)| (at, self.keep(header))),
            frames: (frames_at, changed.map_or_else(|| self.keep(frames), |frames| UnwindBytes::Copied(frames.into()))),
        };
        *room -= kept.copied();
        Some(kept)
    }

    fn loads(&self) -> impl Iterator<Item = &'a libc::Elf64_Phdr> {
        self.headers.iter().filter(|h| h.p_type == libc::PT_LOAD)
    }

    fn at(&self, address: u64) -> u64 {
        self.bias.wrapping_add(address)
    }

    /// Everything from `address` (in the file's terms) to the end of the readable segment it lies in.
    fn bytes_from(&self, address: u64) -> Option<&'a [u8]> {
        let inside = |h: &&libc::Elf64_Phdr| {
            h.p_flags & libc::PF_R != 0 && address.checked_sub(h.p_vaddr).is_some_and(|offset| offset < h.p_filesz)
        };
        let segment = self.loads().find(inside)?;
        let length = segment.p_filesz - (address - segment.p_vaddr);
        // SAFETY: the loader mapped this segment readable and keeps it so while its lock is held, for `'a` at least.
        Some(unsafe { std::slice::from_raw_parts(self.at(address) as *const u8, length as usize) })
    }

    fn bytes(&self, address: u64, length: u64) -> Option<&'a [u8]> {
        self.bytes_from(address)?.get(..usize::try_from(length).ok()?)
    }

    /// Makes bytes outlive the loader's lock.
    fn keep(&self, bytes: &'a [u8]) -> UnwindBytes {
        if !self.permanent {
            return UnwindBytes::Copied(bytes.into());
        }
        // SAFETY: the main program and the vDSO are never unmapped, and their read-only segments never change.
        UnwindBytes::Borrowed(unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) })
    }
}

// Encodings of the LSB's `.eh_frame_hdr`; linkers use no others on the platforms this runs on.
const UDATA4: u8 = 0x03;
const PCREL_SDATA4: u8 = 0x1b;
const DATAREL_SDATA4: u8 = 0x3b;

/// Cuts `.eh_frame` off after its terminator: its size is written nowhere, and what follows need not be copied.
fn frames_length(bytes: &[u8]) -> &[u8] {
    let mut at = 0usize;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let length = u32::from_ne_bytes(*length);
        if length == 0 {
            return bytes.get(..at + 4).unwrap_or(bytes);
        }
        // 0xffffffff announces a 64-bit length, which no linker writes here.
        match at.checked_add(4 + length as usize) {
            Some(next) if length != u32::MAX && next <= bytes.len() => at = next,
            _ => break,
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_and_its_c_library_have_unwind_tables_and_names() {
        let modules = read_all(&[]);
        let here = this_program_and_its_c_library_have_unwind_tables_and_names as *const () as u64;
        let program = &modules[0];
        assert!(program.code.iter().any(|code| code.contains(&here)));
        assert_eq!(program.path, std::env::current_exe().unwrap());
        assert!(matches!(program.unwind.as_ref().unwrap().frames.1, UnwindBytes::Borrowed(_)));
        let malloc = libc::malloc as *const () as u64;
        let c_library = modules.iter().find(|m| m.code.iter().any(|code| code.contains(&malloc))).unwrap();
        assert!(c_library.unwind.is_some(), "{}", c_library.path.display());
    }

    #[test]
    fn known_modules_are_not_read_twice() {
        let first = read_all(&[]);
        let second = read_all(&first);
        assert_eq!(first.len(), second.len());
        assert!(first.iter().zip(&second).all(|(a, b)| Arc::ptr_eq(a, b)));
    }

    #[test]
    fn tables_without_room_are_left_out_and_that_is_known() {
        let all = read_all(&[]);
        let copied: usize = all.iter().map(|module| module.copied()).sum();
        assert!(copied > 0 && all.iter().all(|module| !module.left_out), "{copied} bytes");
        let mut room = copied - 1;
        let again: Vec<_> = all.iter().map(|module| keep_again(module, &mut room)).collect();
        assert_eq!(again.iter().filter(|kept| !**kept).count(), 1, "one of them did not fit");
    }

    /// Whether a module's copied tables find room.
    fn keep_again(module: &Loaded, room: &mut usize) -> bool {
        let Some(UnwindTables { header, frames }) = &module.unwind else { return true };
        let permanent = module.copied() == 0;
        let mapped = Mapped { bias: 0, headers: &[], path: PathBuf::new(), permanent };
        let header = header.as_ref().map(|(at, bytes)| (*at, &**bytes));
        mapped.keep_tables(&MappedTables { header, frames: (frames.0, &frames.1) }, room).is_some()
    }

    #[test]
    fn frames_end_at_the_terminator_and_never_past_the_bytes() {
        let record = |length: u32| [&length.to_ne_bytes()[..], &vec![1; length as usize]].concat();
        let whole = [record(8), record(12), record(0), vec![9; 40]].concat();
        assert_eq!(frames_length(&whole).len(), 12 + 16 + 4);
        assert_eq!(frames_length(&whole[..20]).len(), 20);
        assert_eq!(frames_length(&u32::MAX.to_ne_bytes()).len(), 4);
    }
}
