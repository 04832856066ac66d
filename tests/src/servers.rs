//! The servers that several collectors share: a real PostgreSQL and an S3 server, on loopback, gone when dropped.

pub mod postgres;
pub mod s3;

use std::io::Write;

use postgres::{Missing, Postgres};
use s3::S3;

/// Both.
#[derive(Debug)]
pub struct Servers {
    /// The catalog's.
    pub postgres: Postgres,
    /// The objects'.
    pub s3: S3,
}

impl Servers {
    /// Starts them, each on an empty folder.
    ///
    /// # Errors
    /// When there is no PostgreSQL on this machine.
    ///
    /// # Panics
    /// When there is one and it does not start.
    pub fn start() -> Result<Self, Missing> {
        Ok(Self { postgres: Postgres::start()?, s3: S3::start() })
    }

    /// The same for tests, which go without where there is none; `None`, said on the test's output. Where `TEPHRA_TEST_REQUIRED` names
    /// `postgres`, as `cargo xtask test` does once it has found one, that is a failure.
    ///
    /// # Panics
    /// When there is none and must be one, or when there is one and it does not start.
    pub fn start_or_skip() -> Option<Self> {
        let required = std::env::var("TEPHRA_TEST_REQUIRED").unwrap_or_default();
        let missing = match Self::start() {
            Ok(servers) => return Some(servers),
            Err(missing) => missing,
        };
        assert!(!required.split(',').any(|name| name == "postgres"), "it must not be skipped: {missing}");
        // Not `eprintln!`: what a test prints that way is shown only where it fails.
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {missing}");
        None
    }

    /// Arguments and environment of `tephra serve` for a store of its own on these servers.
    pub fn store(&self, name: &str) -> Shared {
        Shared {
            catalog: self.postgres.database(name),
            bucket: format!("s3://{}/{name}", s3::BUCKET),
            endpoint: self.s3.endpoint(),
        }
    }
}

/// A store that collectors share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// For `--catalog`.
    pub catalog: String,
    /// For `--bucket`.
    pub bucket: String,
    /// For `--s3-endpoint`.
    pub endpoint: String,
}

impl Shared {
    /// What a collector is told by its environment.
    pub fn environment(&self) -> [(&'static str, &str); 5] {
        [
            ("TEPHRA_CATALOG", &self.catalog),
            ("TEPHRA_BUCKET", &self.bucket),
            ("TEPHRA_S3_ENDPOINT", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", s3::KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", s3::SECRET),
        ]
    }
}
