//! Where a store is: all in one folder, or shared by several collectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bucket::{Bucket, BucketPlace};
use super::bulk::{Bulk, Folder};
use super::catalog::{Catalog, CatalogError, Location};
use super::disk::{Disk, RealDisk};
use super::start::{Unknown, WAYS};
use super::{StoreError, folder, progress};

/// Where a store is. In either case the folder belongs to one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Everything is in this folder.
    Folder(PathBuf),
    /// Everything is in PostgreSQL and a bucket, and any number of collectors share it.
    Shared {
        /// A cache of this collector; what is in it may be lost.
        data: PathBuf,
        /// The catalog.
        catalog: Postgres,
        /// The objects.
        bucket: BucketPlace,
    },
}

/// A PostgreSQL database, as a URL. Never shows its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Postgres(String);

impl Postgres {
    /// Reads `postgres://user@host:port/database`.
    ///
    /// # Errors
    /// Says what is expected, without repeating what may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let known = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        if !known {
            return Err("write postgres://user@host:5432/database; a password may be in PGPASSWORD".to_owned());
        }
        Ok(Self(url.to_owned()))
    }

    pub(crate) fn location(&self) -> Location {
        Location::Postgres(self.0.clone())
    }
}

impl std::fmt::Display for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("postgres", ""));
        // Parameters may hold a password too.
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        write!(f, "{scheme}://{rest}")
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// An object beside the segments that says whose they are.
pub(crate) const MARKER: &str = "tephra-store";

/// The catalog's file in a data folder.
pub(super) const CATALOG: &str = "catalog.sqlite";

/// What a place consists of, once it is open.
pub(super) struct Opened {
    pub(super) catalog: Catalog,
    pub(super) bulk: Arc<dyn Bulk>,
    /// Of a shared place.
    pub(super) bucket: Option<Bucket>,
}

impl Place {
    /// This process's own folder.
    pub fn data(&self) -> &Path {
        match self {
            Self::Folder(data) | Self::Shared { data, .. } => data,
        }
    }

    /// True when any number of collectors may share it.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Shared { .. })
    }

    /// Opens it. The folder is prepared and locked already. `cache_bytes`: memory for what was read from a bucket lately.
    pub(super) async fn open(&self, cache_bytes: usize, unknown: Unknown) -> Result<Opened, StoreError> {
        match self {
            Self::Folder(data) => open_folder(data, Arc::new(RealDisk), None, unknown).await,
            Self::Shared { catalog, bucket, .. } => open_shared(catalog, bucket, cache_bytes).await,
        }
    }
}

/// A folder on a disk; `vfs` is what SQLite calls that disk, `None` the operating system's.
pub(super) async fn open_folder(
    data: &Path,
    disk: Arc<dyn Disk>,
    vfs: Option<&str>,
    unknown: Unknown,
) -> Result<Opened, StoreError> {
    let bulk = Arc::new(Folder::open_on(disk.clone(), &data.join("segments"))?);
    if unknown == Unknown::Refuse && !has_catalog(disk.as_ref(), data) {
        // Before one is made: a new catalog would look like an old one from then on.
        let objects = bulk.list()?.len();
        if objects > 0 {
            let problem = format!("{CATALOG} is missing, and {objects} objects of segments are here; {WAYS}");
            return Err(StoreError::Folder { path: data.to_owned(), problem });
        }
    }
    // SQLite takes for committed all it finds in its log, also what a predecessor could not sync, or was killed before it did.
    folder::renew(disk.as_ref(), data, "catalog.sqlite-wal")?;
    let catalog = Catalog::connect_file(&data.join(CATALOG), vfs).await?;
    // What was made just now must still have its name after a power cut.
    folder::sync(disk.as_ref(), data)?;
    Ok(Opened { catalog, bulk, bucket: None })
}

/// True when there is a catalog that ever held something.
fn has_catalog(disk: &dyn Disk, data: &Path) -> bool {
    // What cannot be read is for SQLite to complain about.
    let Ok(files) = disk.list(data) else { return true };
    files.iter().any(|(name, bytes, _)| name == CATALOG && *bytes > 0)
}

async fn open_shared(postgres: &Postgres, place: &BucketPlace, cache_bytes: usize) -> Result<Opened, StoreError> {
    let catalog = Catalog::connect(&postgres.location()).await.map_err(|error| match error {
        CatalogError::TooNew { .. } => StoreError::Catalog(error),
        error => {
            let problem = format!("{error}: is it running, and is this its address? correct --catalog");
            StoreError::Place { place: postgres.to_string(), problem }
        }
    })?;
    let problem = |problem: String| StoreError::Place { place: place.to_string(), problem };
    let bucket =
        Bucket::open(place, "segments", cache_bytes).map_err(|error| problem(format!("{error}: correct --bucket")))?;
    let id = catalog.store_id().await?;
    let (marker, ours) = (bucket.beside(""), id.clone());
    let found = tokio::task::spawn_blocking(move || marker.claim(MARKER, ours.as_bytes())).await?;
    let found = found.map_err(|error| {
        problem(format!(
            "{error}: does it exist, and may these credentials write to it? see --bucket and AWS_ACCESS_KEY_ID"
        ))
    })?;
    // Two catalogs over one bucket would take each other's objects for rubbish.
    if found != id.as_bytes() {
        return Err(problem(format!("it belongs to another catalog than {postgres}; {}", progress::WAYS)));
    }
    let (beside, counters) = (bucket.clone(), catalog.counters().await?);
    let older = tokio::task::spawn_blocking(move || progress::problem(&beside, counters)).await??;
    if let Some(older) = older {
        return Err(problem(format!("{older}; {}", progress::WAYS)));
    }
    Ok(Opened { catalog, bulk: Arc::new(bucket.clone()), bucket: Some(bucket) })
}

/// Makes the folder, takes it for this process.
pub(crate) fn take_folder(data: &Path) -> Result<std::fs::File, StoreError> {
    folder::prepare(data)?;
    folder::lock(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://u:secret@db:5432/tephra", "postgres://db:5432/tephra"),
            ("postgresql://u:se@cret@db/tephra?password=secret", "postgresql://db/tephra"),
            ("postgres://db/tephra", "postgres://db/tephra"),
        ] {
            let postgres = Postgres::parse(url).unwrap();
            assert_eq!((postgres.to_string().as_str(), format!("{postgres:?}").as_str()), (shown, shown));
        }
        assert!(!Postgres::parse("mysql://u:secret@db").unwrap_err().contains("secret"));
    }
}
