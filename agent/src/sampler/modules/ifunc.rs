//! Where the loader found the code of indirect functions (`STT_GNU_IFUNC`): a C library picks its `memcpy` by processor when
//! it is loaded, and the code it picks has no name of its own in a stripped file.

use std::ffi::CString;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;

use super::loader::Loaded;

/// The code behind each of the names, exported by a loaded module, in the addresses of its file; `None` where a name leads
/// elsewhere or nothing tells where its function ends.
///
/// Not for the handler: the loader's lock is taken.
pub(crate) fn resolve(loaded: &Loaded, names: &[CString]) -> Vec<Option<Range<u64>>> {
    let nothing = vec![None; names.len()];
    let Ok(path) = CString::new(loaded.path.as_os_str().as_bytes()) else { return nothing };
    // SAFETY: a C string; NOLOAD only counts one more user of what is mapped already, so no constructor runs.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
    if handle.is_null() {
        return nothing;
    }
    let resolved = names.iter().map(|name| {
        // SAFETY: a live handle and a C string. The loader asks the library once more what it chose, as it does for every
        // module that calls the function.
        let address = unsafe { libc::dlsym(handle, name.as_ptr()) } as u64;
        function_at(loaded, address.checked_sub(loaded.bias)?)
    });
    let resolved = resolved.collect();
    // SAFETY: gives back what was taken above.
    unsafe { libc::dlclose(handle) };
    resolved
}

/// The function that starts at `address`, by the search table of the unwind tables: sorted pairs of 32-bit offsets (start of
/// a function, its entry), counted from the table's own place. It ends before the next one starts.
fn function_at(loaded: &Loaded, address: u64) -> Option<Range<u64>> {
    const HEADER_BYTES: usize = 12;
    let (base, bytes) = loaded.unwind.as_ref()?.header.as_ref()?;
    let (entries, _) = bytes.get(HEADER_BYTES..)?.as_chunks::<8>();
    let start = |[a, b, c, d, ..]: &[u8; 8]| base.wrapping_add_signed(i32::from_ne_bytes([*a, *b, *c, *d]).into());
    let at = entries.binary_search_by_key(&address, start).ok()?;
    Some(address..start(entries.get(at + 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::modules::loader;

    #[test]
    fn the_c_librarys_memcpy_is_found_and_strangers_are_not() {
        let malloc = libc::malloc as *const () as u64;
        let mut modules = loader::read_all(&[]).into_iter();
        let c_library = modules.find(|m| m.code.iter().any(|code| code.contains(&malloc))).unwrap();
        let names = [c"memcpy", c"malloc", c"no_such_function"].map(CString::from);
        let found = resolve(&c_library, &names);
        let starts: Vec<_> = found.iter().map(|code| code.as_ref().map(|code| code.start)).collect();
        // What this very program calls: its linker went through the loader too.
        let called = [libc::memcpy as *const () as u64, malloc].map(|address| Some(address - c_library.bias));
        assert_eq!(starts, [called[0], called[1], None]);
        assert!(
            found.iter().flatten().all(|code| code.end > code.start && code.end - code.start < 1 << 16),
            "{found:x?}"
        );
    }
}
