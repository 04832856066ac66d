//! The path of a Rust function, told by its source file: debug info that has lines only, as `debug = "line-tables-only"` gives, knows of
//! what was inlined neither crate nor module.

/// Crates of the compiler's own source tree that are parts of `core`.
const PARTS_OF_CORE: [&str; 2] = ["core_arch", "core_simd"];

/// The crate and module of a source file of the standard library or of a dependency, such as `alloc::raw_vec`. `None` for all other
/// files: the folder of a service's own crate need not be called like the crate.
pub(super) fn of_file(file: &str) -> Option<String> {
    let inner = file.strip_suffix(".rs")?;
    let (name, inner) = of_standard_library(inner).or_else(|| of_dependency(inner))?;
    let mut path = name.replace('-', "_");
    if PARTS_OF_CORE.contains(&path.as_str()) {
        path.insert_str(0, "core::");
    }
    let modules: Vec<&str> = inner.split('/').collect();
    let is_root = |i: usize, module: &str| i + 1 == modules.len() && matches!(module, "mod" | "lib");
    for (i, module) in modules.iter().enumerate() {
        if is_identifier(module) && !is_root(i, module) {
            path.push_str("::");
            path.push_str(module);
        }
    }
    is_identifier(&name.replace('-', "_")).then_some(path)
}

/// As the compiler's own builds record it, `/rustc/HASH/library/CRATE/src/…`; as a toolchain with sources does,
/// `…/lib/rustlib/src/rust/library/CRATE/src/…`; as distributions do, `…/rustc-1.63.0/library/CRATE/src/…`.
fn of_standard_library(file: &str) -> Option<(&str, &str)> {
    let (head, tail) = file.split_once("/library/")?;
    let (above, folder) = head.rsplit_once('/').unwrap_or(("", head));
    let is_toolchain = folder == "rust" && above.ends_with("/src");
    (is_toolchain || folder.starts_with("rustc") || above.ends_with("/rustc")).then(|| crate_and_rest(tail))?
}

/// As cargo unpacks it, `…/registry/src/INDEX/NAME-VERSION/…`; as it checks it out, `…/git/checkouts/NAME-HASH/REVISION/…`; as people and
/// the compiler's own builds keep it, `…/vendor/NAME/…` and `…/NAME-VERSION/…`.
fn of_dependency(file: &str) -> Option<(&str, &str)> {
    if let Some((_, tail)) = file.rsplit_once("/registry/src/") {
        let (package, inner) = tail.split_once('/')?.1.split_once('/')?;
        return Some((without_version(package).unwrap_or(package), inner.strip_prefix("src/").unwrap_or(inner)));
    }
    if let Some((_, tail)) = file.rsplit_once("/git/checkouts/") {
        let (repository, tail) = tail.split_once('/')?;
        let (_, inner) = tail.split_once('/')?;
        // A repository of several crates has a folder for each.
        return match inner.strip_prefix("src/") {
            Some(inner) => Some((repository.rsplit_once('-')?.0, inner)),
            None => crate_and_rest(inner),
        };
    }
    let (head, inner) = file.rsplit_once("/src/")?;
    let (above, package) = head.rsplit_once('/').unwrap_or(("", head));
    let is_vendored = above == "vendor" || above.ends_with("/vendor");
    without_version(package).or(is_vendored.then_some(package)).map(|name| (name, inner))
}

/// The folder that holds `src`, and what is in that.
fn crate_and_rest(path: &str) -> Option<(&str, &str)> {
    // Such as `core/src/../../stdarch/crates/core_arch/src/…`.
    let path = path.rsplit_once("../").map_or(path, |(_, path)| path);
    let (head, inner) = path.split_once("/src/")?;
    Some((head.rsplit('/').next()?, inner))
}

/// `tokio` for `tokio-1.47.1`.
fn without_version(package: &str) -> Option<&str> {
    let at = package.match_indices('-').map(|(at, _)| at).find(|at| {
        let mut numbers = package[at + 1..].split(['.', '+']);
        let is_number =
            |part: Option<&str>| part.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        is_number(numbers.next()) && is_number(numbers.next())
    })?;
    Some(&package[..at])
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_say_crate_and_module() {
        let rustc = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library";
        let registry = "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
        for (file, path) in [
            (&format!("{rustc}/alloc/src/raw_vec.rs")[..], "alloc::raw_vec"),
            (&format!("{rustc}/alloc/src/raw_vec/mod.rs"), "alloc::raw_vec"),
            (&format!("{rustc}/core/src/slice/sort/unstable/quicksort.rs"), "core::slice::sort::unstable::quicksort"),
            (&format!("{rustc}/std/src/lib.rs"), "std"),
            (&format!("{rustc}/core/src/../../stdarch/crates/core_arch/src/x86/sse2.rs"), "core::core_arch::x86::sse2"),
            (&format!("{rustc}/stdarch/crates/core_arch/src/x86/sse2.rs"), "core::core_arch::x86::sse2"),
            ("/root/.rustup/toolchains/stable/lib/rustlib/src/rust/library/std/src/rt.rs", "std::rt"),
            ("/usr/src/rustc-1.63.0/library/core/src/fmt/num.rs", "core::fmt::num"),
            ("/rust/deps/hashbrown-0.15.5/src/raw/mod.rs", "hashbrown::raw"),
            (&format!("{registry}/serde_json-1.0.1/src/de.rs"), "serde_json::de"),
            (&format!("{registry}/tracing-core-0.1.34/src/lib.rs"), "tracing_core"),
            (&format!("{registry}/md-5-0.10.6/src/compress.rs"), "md_5::compress"),
            (&format!("{registry}/zstd-sys-2.0.16+zstd.1.5.7/src/lib.rs"), "zstd_sys"),
            (&format!("{registry}/memchr-2.7.5/src/arch/x86_64/avx2/memchr.rs"), "memchr::arch::x86_64::avx2::memchr"),
            ("/root/.cargo/git/checkouts/tokio-0123456789abcdef/abc1234/tokio/src/time/sleep.rs", "tokio::time::sleep"),
            ("/root/.cargo/git/checkouts/shop-kit-0123456789abcdef/abc1234/src/tax.rs", "shop_kit::tax"),
            ("/build/vendor/tokio-1.47.1/src/runtime/park.rs", "tokio::runtime::park"),
            ("vendor/tokio/src/runtime/park.rs", "tokio::runtime::park"),
        ] {
            assert_eq!(of_file(file).as_deref(), Some(path), "{file}");
        }
    }

    #[test]
    fn a_services_own_files_say_nothing() {
        for file in [
            "",
            "src/tax.rs",
            "/home/me/work/shop/src/tax.rs",
            "/home/me/work/core/src/tax.rs",
            "/home/me/library/core/src/tax.rs",
            "/home/rusty/work/library/core/src/tax.rs",
            "/home/me/shop-v2/src/tax.rs",
            "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/x.c",
            "/usr/local/go/src/runtime/malloc.go",
            "/root/.cargo/registry/src/",
            "/root/.cargo/registry/src/index/.rs",
            ".rs",
        ] {
            assert_eq!(of_file(file), None, "{file}");
        }
    }
}
