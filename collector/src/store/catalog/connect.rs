//! Connecting: SQLite in a file, or PostgreSQL for several collectors, behind one kind of pool.
//!
//! Both take the same statements; what differs between them is here.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{AnyConnection, Connection, Executor};

use super::written::Written;
use super::{Catalog, CatalogError, migrate};
use crate::store::migrations::MIGRATIONS;

/// Where a catalog is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file, used by this process alone.
    File(PathBuf),
    /// A PostgreSQL database, as a `postgres://` URL; shared by any number of collectors.
    Postgres(String),
}

/// Never the password.
impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Postgres(_) => write!(f, "PostgreSQL"),
        }
    }
}

/// The table that says which steps its schema has.
const VERSIONS: &str = "schema_version";

/// Reads of one collector at the same time.
const READERS: u32 = 4;

/// With PostgreSQL, connections of one collector in all: reads, the writer, and background jobs.
const CONNECTIONS: u32 = 8;

/// How long a statement waits for a connection: longer, and agents have given up.
const ACQUIRE: Duration = Duration::from_secs(10);

/// What a path may hold unescaped in a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

impl Catalog {
    /// Connects, creates the tables where there are none, and brings the schema up to date.
    ///
    /// # Errors
    /// When the database cannot be reached, is no catalog, or was written by a later release.
    pub async fn connect(location: &Location) -> Result<Self, CatalogError> {
        match location {
            Location::File(file) => Self::connect_file(file, None).await,
            Location::Postgres(url) => Self::connect_postgres(url).await,
        }
    }

    /// The same in a file, on the file system that SQLite knows as `vfs`: the operating system's where it is `None`.
    pub(in crate::store) async fn connect_file(file: &Path, vfs: Option<&str>) -> Result<Self, CatalogError> {
        install_default_drivers();
        let catalog = Self::open_file(&sqlite_url(file, vfs, "rwc")?).await?;
        migrate(&catalog, VERSIONS, MIGRATIONS).await?;
        Ok(catalog)
    }

    /// A file that may not be there yet, without a schema of ours.
    pub(in crate::store) async fn open_or_make(file: &Path) -> Result<Self, CatalogError> {
        install_default_drivers();
        Self::open_file(&sqlite_url(file, None, "rwc")?).await
    }

    async fn open_file(url: &str) -> Result<Self, CatalogError> {
        let options = options(url)?;
        // A pool tries again until it says only that it has waited; one connection by itself says at once what is wrong.
        let mut first = AnyConnection::connect_with(&options).await?;
        sqlite_session(&mut first).await?;
        // One connection writes, so that writers queue instead of failing as busy; readers never wait for it.
        let write = pool(1, sqlite_session).connect_with(options.clone()).await?;
        first.close().await?;
        Ok(Self {
            read: pool(READERS, sqlite_session).connect_lazy_with(options),
            write,
            shared: false,
            written: Written::default(),
        })
    }

    async fn connect_postgres(url: &str) -> Result<Self, CatalogError> {
        let catalog = Self::open_postgres(url).await?;
        migrate(&catalog, VERSIONS, MIGRATIONS).await?;
        Ok(catalog)
    }

    /// Connects to a database whose schema stays as it is.
    pub(in crate::store) async fn attach_unchecked(location: &Location) -> Result<Self, CatalogError> {
        install_default_drivers();
        match location {
            Location::File(file) => Self::open_file(&sqlite_url(file, None, "rw")?).await,
            Location::Postgres(url) => Self::open_postgres(url).await,
        }
    }

    async fn open_postgres(url: &str) -> Result<Self, CatalogError> {
        install_default_drivers();
        let options = options(url)?;
        // A pool says only that it has waited; one connection by itself says why.
        let first = tokio::time::timeout(ACQUIRE, AnyConnection::connect_with(&options)).await;
        let silent = |_| CatalogError::Location(format!("no answer within {} s", ACQUIRE.as_secs()));
        first.map_err(silent)??.close().await?;
        let pool = pool(CONNECTIONS, postgres_session).connect_with(options).await?;
        Ok(Self { read: pool.clone(), write: pool, shared: true, written: Written::default() })
    }
}

/// What is set for every new connection.
type Session = for<'c> fn(&'c mut AnyConnection) -> Done<'c>;

type Done<'c> = Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send + 'c>>;

fn pool(connections: u32, session: Session) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| session(connection))
}

/// A commit of SQLite is durable only like this.
fn sqlite_session(connection: &mut AnyConnection) -> Done<'_> {
    Box::pin(async move {
        connection.execute("PRAGMA busy_timeout = 10000").await?;
        connection.execute("PRAGMA journal_mode = WAL").await?;
        connection.execute("PRAGMA synchronous = FULL").await?;
        Ok(())
    })
}

/// A commit must be durable whatever the server's default, and a collector that hangs must not hold others up.
fn postgres_session(connection: &mut AnyConnection) -> Done<'_> {
    Box::pin(async move {
        connection
            .execute(
                "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
            )
            .await?;
        connection.execute("SET statement_timeout = '60s'").await?;
        connection.execute("SET idle_in_transaction_session_timeout = '30s'").await?;
        Ok(())
    })
}

fn options(url: &str) -> Result<AnyConnectOptions, CatalogError> {
    AnyConnectOptions::from_str(url).map_err(|e| CatalogError::Location(e.to_string()))
}

fn sqlite_url(file: &Path, vfs: Option<&str>, mode: &str) -> Result<String, CatalogError> {
    let path = std::path::absolute(file).map_err(|e| CatalogError::Location(e.to_string()))?;
    let path = path.to_str().ok_or_else(|| CatalogError::Location(format!("{} is not UTF-8", path.display())))?;
    let vfs = vfs.map(|name| format!("&vfs={name}")).unwrap_or_default();
    Ok(format!("sqlite://{}?mode={mode}{vfs}", percent_encode(path.as_bytes(), PATH)))
}
