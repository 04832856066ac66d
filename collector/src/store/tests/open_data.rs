//! An independent reader of Parquet sums a data folder up, and says what the queries say.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tephra_proto::ids::ServiceName;

use crate::base::clock::now_ms;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestWindow, row, traced};
use crate::needs::need;
use crate::query::{QueryEngine, QueryLimits, Selection};
use crate::store::testing::options;
use crate::store::*;

const HOUR: u64 = 3_600_000;

/// `TEPHRA_TEST_PYARROW` names a Python that has pyarrow; `cargo xtask test` sets one up, or says in its summary that it could not.
#[tokio::test]
async fn pyarrow_reads_the_same_sums_at_every_level() {
    let Some(python) = need("TEPHRA_TEST_PYARROW", "Python with pyarrow") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), options()).await.unwrap());
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let base_ms = now_ms() / HOUR * HOUR - 5 * HOUR;
    for slot in 0..40u64 {
        let window = TestWindow::new("shop", (slot % 3) as u8 + 1, slot + 1, base_ms + slot * 170_000)
            .cpu(&[row("main;work", 100 + slot), traced("main;tax", 3, (slot % 7) as u8 + 1)])
            .inuse(&[row("main;keep", 1_000)]);
        ingest.push(window.request()).await.unwrap();
    }
    while compact::step(&store, now_ms() + 40 * HOUR, 0, None).await.unwrap() {}
    let selection = Selection {
        service: ServiceName::parse("shop").unwrap(),
        profile_type: "cpu".to_owned(),
        from_ms: base_ms,
        until_ms: base_ms + 3 * HOUR,
        labels: Vec::new(),
        trace: None,
    };
    let total = QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await.unwrap().total();
    store.catalog().close().await;

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/read_with_pyarrow.py");
    let output = Command::new(python).arg(script).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for level in 1..=5 {
        assert_eq!(read[format!("level {level}")], total, "{read}");
    }
    assert_eq!(read["traced"], 40, "{read}");
}
