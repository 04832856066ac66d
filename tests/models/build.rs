//! Compiles the agent's files with loom's atomics, here and nowhere else.

fn main() {
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rerun-if-changed=build.rs");
}
