//! The generated code is checked in, so that nobody needs a protobuf compiler; this test keeps it equal to the contract.

use std::path::Path;

/// Regenerates the code from the `.proto` files. With `TEPHRA_BLESS=1` it is written; otherwise it must be what is there.
#[test]
fn generated_code_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    std::fs::create_dir_all(&out).unwrap();
    let descriptors = protox::compile(["tephra/v1/profile.proto", "tephra/v1/symbols.proto"], [root]).unwrap();
    tonic_prost_build::configure()
        .bytes(".tephra.v1.PushRequest.payload")
        .bytes(".tephra.v1.UploadChunk.data")
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .out_dir(&out)
        .compile_fds(descriptors)
        .unwrap();

    let fresh = std::fs::read_to_string(out.join("tephra.v1.rs")).unwrap();
    let checked_in = root.join("src/generated/tephra.v1.rs");
    if std::env::var_os("TEPHRA_BLESS").is_some() {
        std::fs::write(&checked_in, &fresh).unwrap();
    }
    assert!(
        std::fs::read_to_string(&checked_in).unwrap_or_default() == fresh,
        "{} differs from the .proto files: run TEPHRA_BLESS=1 cargo test -p tephra-proto --test generated",
        checked_in.display()
    );
}
