//! A store of its own for each test: a folder, or, where the environment names servers, PostgreSQL and a bucket. The same tests run on
//! either; `cargo xtask test` runs them on both.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::Executor;
use tempfile::TempDir;

use super::bucket::BucketPlace;
use super::place::{Place, Postgres};
use super::{Options, Store};
use crate::base::ids::{hex, unique_bytes};
use crate::needs::need;

/// A place that goes with its test.
#[derive(Debug)]
pub(crate) struct TestPlace {
    _dir: TempDir,
    place: Place,
    /// Where its objects lie as files.
    objects: PathBuf,
}

/// No test needs a disk with room to spare.
pub(crate) fn options() -> Options {
    Options { free_bytes_min: 0, ..Options::default() }
}

/// Names the servers, with what `store-servers` prints besides.
const POSTGRES: &str = "TEPHRA_TEST_POSTGRES";

/// The servers the environment names.
struct Servers {
    postgres: String,
    bucket: String,
    endpoint: String,
    files: PathBuf,
}

impl Servers {
    fn from_environment() -> Option<Self> {
        let postgres = std::env::var(POSTGRES).ok()?;
        let named = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} goes with {POSTGRES}"));
        Some(Self {
            postgres,
            bucket: named("TEPHRA_BUCKET"),
            endpoint: named("TEPHRA_S3_ENDPOINT"),
            files: named("TEPHRA_TEST_S3_FILES").into(),
        })
    }
}

/// Notes, where the environment says in which file, that this test opens a store: those are run again on the servers.
fn note_this_test() {
    let Some(list) = std::env::var_os("TEPHRA_TEST_STORES") else { return };
    let thread = std::thread::current();
    let name = thread.name().filter(|name| name.contains("::"));
    let name = name.expect("a test makes its place itself: its thread has its name");
    let mut list = fs::OpenOptions::new().create(true).append(true).open(list).unwrap();
    list.write_all(format!("{name}\n").as_bytes()).unwrap();
}

impl Servers {
    /// A new database.
    async fn database(&self, name: &str) -> Postgres {
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&self.postgres).await.unwrap();
        pool.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        pool.close().await;
        let (server, _) = self.postgres.rsplit_once('/').unwrap();
        Postgres::parse(&format!("{server}/{name}")).unwrap()
    }
}

impl TestPlace {
    /// A folder, whatever the environment names.
    pub(crate) fn folder() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self { _dir: dir, objects: data.join("segments"), place: Place::Folder(data) }
    }

    pub(crate) async fn new() -> Self {
        note_this_test();
        let Some(servers) = Servers::from_environment() else { return Self::folder() };
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let name = format!("test_{}", hex(&unique_bytes()));
        let catalog = servers.database(&name).await;
        let (bucket, _) = servers.bucket.trim_start_matches("s3://").split_once('/').unwrap();
        let bucket = BucketPlace::parse(&format!("s3://{bucket}/{name}"), Some(&servers.endpoint)).unwrap();
        let objects = servers.files.join(&name).join("segments");
        Self { _dir: dir, objects, place: Place::Shared { data, catalog, bucket } }
    }

    /// One that several collectors share; `None`, said on the test's output, where the environment names no servers.
    pub(crate) async fn shared() -> Option<Self> {
        note_this_test();
        need(POSTGRES, "PostgreSQL: `store-servers` starts one")?;
        Some(Self::new().await)
    }

    /// As another collector sees it; `None` when it is one that no other can share.
    pub(crate) fn beside(&self) -> Option<Self> {
        let Place::Shared { catalog, bucket, .. } = &self.place else { return None };
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Shared { data: dir.path().join("data"), catalog: catalog.clone(), bucket: bucket.clone() };
        Some(Self { _dir: dir, place, objects: self.objects.clone() })
    }

    /// Loses its catalog, which nobody may have open: the file is gone, or the database is another, empty one.
    pub(crate) async fn lose_catalog(&mut self) {
        match &mut self.place {
            Place::Folder(data) => fs::remove_file(data.join("catalog.sqlite")).unwrap(),
            Place::Shared { catalog, .. } => {
                let servers = Servers::from_environment().unwrap();
                *catalog = servers.database(&format!("test_{}", hex(&unique_bytes()))).await;
            }
        }
    }

    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    pub(crate) fn data(&self) -> &Path {
        self.place.data()
    }

    pub(crate) async fn open(&self) -> Arc<Store> {
        self.open_with(options()).await
    }

    pub(crate) async fn open_with(&self, options: Options) -> Arc<Store> {
        Arc::new(Store::open_at(self.place(), options).await.unwrap())
    }

    /// Where its objects lie as files.
    pub(crate) fn objects(&self) -> &Path {
        &self.objects
    }

    /// The objects, sorted; what was set aside is left out.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(&self.objects).into_iter().flatten();
        let mut paths: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_none());
        paths.sort();
        paths
    }
}
