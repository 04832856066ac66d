//! Names as people and other builds know them: what compilers number afresh for every build is taken out.

use std::borrow::Cow;
use std::sync::Arc;

use tephra_proto::label::is_printable;

use super::source_path;

/// Longest name shown, in bytes: a name is for reading.
const NAME_BYTES_MAX: usize = tephra_proto::limits::STRING_BYTES_MAX;

/// A function's name without hash suffix, closure numbers and compiler clones' numbers.
pub fn function(name: &str) -> Arc<str> {
    let name = strip_suffixes(name);
    if !name.contains(['{', '$']) {
        return printable(name).into();
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let Some(len) = from.find('}') else {
            rest = from;
            break;
        };
        let (braced, after) = from.split_at(len + 1);
        rest = after;
        match braced {
            // Symbol names of both manglings and debug info: `{{closure}}`, `{closure#3}`, `{closure_env#0}`.
            "{{closure}" => {
                out.push_str("{{closure}}");
                rest = rest.strip_prefix('}').unwrap_or(rest);
            }
            _ if braced.starts_with("{closure#") => out.push_str("{{closure}}"),
            _ => match braced.split_once('#') {
                Some((what, number)) if number.trim_end_matches('}').bytes().all(|b| b.is_ascii_digit()) => {
                    out.push_str(what);
                    out.push('}');
                }
                _ => out.push_str(braced),
            },
        }
    }
    out.push_str(rest);
    printable(&strip_lambda_numbers(&out)).into()
}

/// The same of a function that is in this source file: where the name has no path, and the file is the standard library's or a dependency's,
/// the path is that of the file.
pub fn function_in(name: &str, file: &str) -> Arc<str> {
    let own = function(name);
    if has_path(&own) {
        return own;
    }
    match source_path::of_file(&file.replace('\\', "/")) {
        Some(path) => printable(&format!("{path}::{own}")).into(),
        None => own,
    }
}

/// Whether a name says more than what a function is called in its module. Paths of types that it is generic over do not count.
fn has_path(name: &str) -> bool {
    let own = name.split_once('<').map_or(name, |(own, _)| own);
    own.is_empty() || own.contains("::")
}

/// The crate a function is of, by the first part of its path; else its module.
pub fn crate_of<'a>(function: &'a str, module: &'a str) -> &'a str {
    let mut path = function.trim_start_matches('<');
    while let Some(rest) = ["&", "mut ", "dyn "].iter().find_map(|prefix| path.strip_prefix(prefix)) {
        path = rest;
    }
    let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(path.len());
    let (first, rest) = path.split_at(end);
    let is_crate = rest.starts_with("::") && !first.starts_with(|c: char| c.is_ascii_digit()) && !first.is_empty();
    if is_crate { first } else { module }
}

/// Takes off `::h0123456789abcdef`, `.llvm.123`, `.isra.0`, `.part.1`, `.constprop.2` and `.cold`.
fn strip_suffixes(mut name: &str) -> &str {
    loop {
        let before = name;
        if let Some((head, hash)) = name.rsplit_once("::h")
            && hash.len() == 16
            && hash.bytes().all(|b| b.is_ascii_hexdigit())
        {
            name = head;
        }
        name = name.strip_suffix(".cold").unwrap_or(name);
        for clone in [".llvm.", ".isra.", ".part.", ".constprop."] {
            if let Some((head, number)) = name.rsplit_once(clone)
                && !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_hexdigit())
            {
                name = head;
            }
        }
        if name.len() == before.len() {
            return name;
        }
    }
}

/// Java's `$$Lambda$733/0x0000…` numbers its lambdas per run.
fn strip_lambda_numbers(name: &str) -> Cow<'_, str> {
    const MARK: &str = "$$Lambda$";
    let Some(at) = name.find(MARK) else { return Cow::Borrowed(name) };
    let (head, tail) = name.split_at(at + MARK.len());
    let tail = tail.trim_start_matches(|c: char| c.is_ascii_hexdigit() || matches!(c, '/' | 'x'));
    Cow::Owned(format!("{head}{tail}"))
}

/// `text` as one printable line of bounded length: breaks and tabs become spaces, and what other control characters and marks that
/// reorder text would do to a terminal or a page is not part of a name.
pub fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        // perf writes the module of a kernel function behind a tab.
        '\t' | '\n' | '\r' => ' ',
        _ if is_printable(c) => c,
        _ => '\u{fffd}',
    };
    let mut out: String = text.chars().map(shown).collect();
    if out.len() > NAME_BYTES_MAX {
        let cut = out.floor_char_boundary(NAME_BYTES_MAX - '…'.len_utf8());
        out.truncate(cut);
        out.push('…');
    }
    out
}

/// The beginning of what somebody called something, for a sentence: a hundred printable characters.
pub fn one_line(text: &str) -> String {
    text.chars().filter(|c| is_printable(*c)).take(100).collect()
}

/// A source path as people know it: the standard library from its crate on, dependencies from `name-version` on, the
/// service's own files from `src/` (and the folder above it) on.
pub fn file(path: &str) -> String {
    let path = path.replace('\\', "/");
    printable(short(&path))
}

fn short(path: &str) -> &str {
    if let Some((_, tail)) = path.split_once("/library/").filter(|(head, _)| head.contains("rust")) {
        return tail;
    }
    for dependency in ["/registry/src/", "/git/checkouts/"] {
        if let Some((_, tail)) = path.rsplit_once(dependency) {
            return tail.split_once('/').map_or(tail, |(_, tail)| tail);
        }
    }
    if !path.starts_with('/') {
        return path.trim_start_matches("./");
    }
    // Without knowing the workspace: a package's folder and what is in it.
    for folder in ["/src/", "/tests/", "/benches/", "/examples/"] {
        if let Some((head, _)) = path.rsplit_once(folder) {
            let from = head.rfind('/').map_or(0, |slash| slash + 1);
            return &path[from..];
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_compilers_number_is_taken_out() {
        for (name, expected) in [
            ("shop::tax::compute::h0123456789abcdef", "shop::tax::compute"),
            ("shop::f::{{closure}}::h0123456789abcdef", "shop::f::{{closure}}"),
            ("shop::f::{closure#3}", "shop::f::{{closure}}"),
            ("shop::f::{closure#0}::{closure#1}", "shop::f::{{closure}}::{{closure}}"),
            (
                "<shop::f::{closure_env#0} as core::ops::FnOnce>::call_once",
                "<shop::f::{closure_env} as core::ops::FnOnce>::call_once",
            ),
            ("core::ops::FnOnce::call_once{{vtable.shim}}", "core::ops::FnOnce::call_once{{vtable.shim}}"),
            ("<dyn shop::Price as shop::Price>::{shim:vtable#0}", "<dyn shop::Price as shop::Price>::{shim:vtable}"),
            ("compress_block.constprop.0.isra.1", "compress_block"),
            ("hash_bytes.cold", "hash_bytes"),
            ("shop::f.llvm.1234567890", "shop::f"),
            ("com.shop.Tax$$Lambda$733/0x00007f1c.apply", "com.shop.Tax$$Lambda$.apply"),
            ("main.(*Server).handle", "main.(*Server).handle"),
            ("shop::h0123456789abcde", "shop::h0123456789abcde"),
            ("unbalanced {", "unbalanced {"),
            ("é{closure#1", "é{closure#1"),
            ("[u8; 32]::f", "[u8; 32]::f"),
        ] {
            assert_eq!(&*function(name), expected, "{name}");
        }
    }

    #[test]
    fn names_without_a_path_get_that_of_their_file() {
        let std = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/alloc/src/raw_vec/mod.rs";
        let tokio = "C:\\cargo\\registry\\src\\index.crates.io-1949cf8c6b5b557f\\tokio-1.47.1\\src\\task\\spawn.rs";
        for (name, file, expected) in [
            ("with_capacity_in", std, "alloc::raw_vec::with_capacity_in"),
            ("with_capacity_in<alloc::alloc::Global>", std, "alloc::raw_vec::with_capacity_in<alloc::alloc::Global>"),
            ("{closure#0}<shop::Cart>", tokio, "tokio::task::spawn::{{closure}}<shop::Cart>"),
            ("alloc::raw_vec::RawVecInner<A>::grow", std, "alloc::raw_vec::RawVecInner<A>::grow"),
            ("<shop::Cart as core::clone::Clone>::clone", std, "<shop::Cart as core::clone::Clone>::clone"),
            ("compute", "/home/me/work/shop/src/tax.rs", "compute"),
            ("memcpy", "/build/glibc/string/memcpy.c", "memcpy"),
            ("main.(*Server).handle", "/usr/local/go/src/main.go", "main.(*Server).handle"),
            ("compute", "", "compute"),
        ] {
            assert_eq!(&*function_in(name, file), expected, "{name} in {file}");
        }
    }

    #[test]
    fn crates_are_told_by_the_start_of_a_path() {
        for (function, expected) in [
            ("serde_json::to_vec", "serde_json"),
            ("<&mut dyn shop::Tax as core::fmt::Debug>::fmt", "shop"),
            ("<<shop::Tax as shop::Office>::Rate as core::ops::Mul>::mul", "shop"),
            ("malloc", "app"),
            ("main.handler", "app"),
            ("9::x", "app"),
            ("<(A,B) as shop::X>::y", "app"),
            ("", "app"),
        ] {
            assert_eq!(crate_of(function, "app"), expected, "{function}");
        }
    }

    #[test]
    fn files_are_told_by_what_people_know() {
        for (path, expected) in [
            (
                "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/iter/range.rs",
                "core/src/iter/range.rs",
            ),
            ("/root/.rustup/toolchains/stable/lib/rustlib/src/rust/library/std/src/rt.rs", "std/src/rt.rs"),
            (
                "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/serde_json-1.0.1/src/de.rs",
                "serde_json-1.0.1/src/de.rs",
            ),
            ("/root/.cargo/git/checkouts/shop-0123456789abcdef/abc1234/src/lib.rs", "abc1234/src/lib.rs"),
            ("/home/me/work/shop/src/tax.rs", "shop/src/tax.rs"),
            ("/build/glibc/malloc/malloc.c", "/build/glibc/malloc/malloc.c"),
            ("src/tax.rs", "src/tax.rs"),
            ("./tax.go", "tax.go"),
            ("C:\\work\\shop\\src\\tax.rs", "C:/work/shop/src/tax.rs"),
            ("", ""),
        ] {
            assert_eq!(file(path), expected, "{path}");
        }
    }

    #[test]
    fn tabs_and_breaks_are_spaces_and_other_controls_are_marked() {
        assert_eq!(printable("ovl_read_iter\t[overlay]"), "ovl_read_iter [overlay]");
        assert_eq!(printable("a\r\nb\0\u{202e}c"), "a  b\u{fffd}\u{fffd}c");
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_bounded_printable_name_that_stays(text in "(\\PC|[{}#$:.h0-9a-f\u{0}\u{202e}\n]){0,200}", n in 1..60usize) {
            let once = function(&text.repeat(n));
            prop_assert!(once.len() <= NAME_BYTES_MAX && once.chars().all(is_printable));
            let inside = function_in(&text, &format!("/rustc/1/library/{text}/src/{text}.rs"));
            prop_assert!(inside.len() <= NAME_BYTES_MAX && inside.chars().all(is_printable));
            let path = file(&text);
            prop_assert!(path.len() <= NAME_BYTES_MAX && path.chars().all(is_printable));
        }
    }
}
