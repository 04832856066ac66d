//! What is kept: immutable segments, and the SQL catalog that says which of them count.
//!
//! | module | what it does |
//! |---|---|
//! | [`place`] | where a store is: one folder, or PostgreSQL and a bucket for several collectors |
//! | [`bulk`], [`bucket`] | objects that are written whole and made durable, in a folder or in a bucket |
//! | [`segment`] | the bytes of a segment |
//! | [`catalog`] | segments, sequence numbers, names, events, pins: one transaction makes a segment visible |
//! | [`access`] | the access catalog: tenants, tokens, and who did what |
//! | [`tenants`] | where the stores of tenants are; their end |
//! | `kept` | how many events and pins there may be |
//! | [`columnar`] | compacted segments: Parquet tables that any reader can open |
//! | [`compact`] | from arrived windows to Parquet, from fine windows to coarse ones |
//! | [`retain`], [`expiry`] | lets go of what is old, and how far it may go |
//! | [`identity`], [`ranges`] | what segments say of themselves, so that a catalog can be built from them alone |
//! | `start`, `adopt` | does the catalog fit its segments? what a killed process left is committed, or set aside |
//! | `progress` | tells a database that is older than its bucket |
//! | [`repair`] | builds a catalog from segments |
//! | [`tombstones`] | deletions that outlive a catalog |
//! | `orphans` | sets aside what the catalog does not know |
//! | [`writes`] | whether writes work, and when they work again |
//! | `open`, `options`, `ready` | opens a store; how it is kept; whether it answers and has room |
//! | `read`, `compacted`, [`cache`] | reads what arrived and what was compacted, through what was read lately |
//! | `damage`, `given_up` | what readers find damaged, and what was written for nothing |
//! | `bench_data` | made-up stores: only benchmarks and tests call it |

pub mod access;
mod adopt;
pub(crate) mod arrived;
#[doc(hidden)]
pub mod bench_data;
pub mod bucket;
pub mod bulk;
pub mod cache;
pub mod catalog;
pub(crate) mod columnar;
pub mod compact;
mod compacted;
mod damage;
pub mod disk;
mod error;
pub mod expiry;
mod folder;
mod given_up;
pub mod identity;
mod kept;
mod migrations;
mod open;
mod options;
mod orphans;
pub mod place;
mod progress;
pub mod ranges;
mod read;
mod ready;
pub mod repair;
pub mod retain;
pub mod segment;
#[cfg(test)]
pub(crate) mod spoiled;
mod start;
pub mod tenants;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod tombstones;
pub mod writes;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::conditions::Conditions;
use crate::profile::decode::Window;
use bucket::Bucket;
use bulk::Bulk;
use cache::Cache;
use catalog::{Catalog, DamagedWindow};
pub use error::StoreError;
pub use kept::{KeepError, Quota, Quotas};
pub use options::{Keep, Options};
use place::Place;
use segment::{Footer, TraceIndex};
pub use start::Unknown;

/// An open store.
#[derive(Debug)]
pub struct Store {
    place: Place,
    /// Drawn when the store was made; all that belongs to it carries it.
    id: String,
    options: Options,
    catalog: Catalog,
    bulk: Arc<dyn Bulk>,
    bucket: Option<Bucket>,
    footers: Cache<String, Arc<Footer>>,
    traces: Cache<String, Arc<TraceIndex>>,
    windows: Cache<(String, u64), Arc<Window>>,
    tables: Cache<String, Arc<columnar::TableFile>>,
    dictionaries: Cache<(String, usize, bool), Arc<columnar::Dictionary>>,
    /// Segments found damaged by readers, to be marked in the catalog.
    damaged: Mutex<BTreeSet<String>>,
    /// Single windows found damaged, as (segment, offset).
    damaged_windows: Mutex<BTreeSet<(String, u64)>>,
    /// Those of them that are not on record yet.
    damage_to_note: Mutex<Vec<DamagedWindow>>,
    /// Objects that this process has written for nothing, and not removed yet.
    given_up: Mutex<Vec<String>>,
    conditions: Conditions,
    /// Writes of windows that failed since the start.
    failed_writes: AtomicU64,
    /// How much people keep.
    counted: kept::Counted,
    /// When this process opened it.
    opened: Instant,
    /// Held as long as the store is open.
    _lock: File,
}

impl Store {
    /// Its id, which all that belongs to it carries.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What made-up segments say of themselves.
    fn provenance(&self) -> compact::Provenance {
        compact::Provenance { store: self.id.clone(), ..compact::Provenance::default() }
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What an operator must know of this collector now.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// This process's own folder.
    pub fn data_dir(&self) -> &Path {
        self.place.data()
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Why it is not opened.
    fn refused(&self, problem: String) -> StoreError {
        match &self.place {
            Place::Folder(path) => StoreError::Folder { path: path.clone(), problem },
            Place::Shared { bucket, .. } => StoreError::Place { place: bucket.to_string(), problem },
        }
    }

    /// Where its objects are, for people.
    fn objects_place(&self) -> String {
        match &self.place {
            Place::Folder(data) => data.join("segments").display().to_string(),
            Place::Shared { bucket, .. } => format!("{bucket}, under segments/"),
        }
    }

    /// True when other collectors may be using it too.
    pub fn is_shared(&self) -> bool {
        self.bucket.is_some()
    }

    /// The bucket of a shared store.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// How it is kept.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The objects. Calls block.
    pub fn bulk(&self) -> &Arc<dyn Bulk> {
        &self.bulk
    }
}
