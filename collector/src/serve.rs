//! The wiring of one collector: store, ingest, queries and symbols behind one port that speaks gRPC, the HTTP API and the web view.

mod activity;
mod connections;
mod idle;
mod jobs;
pub mod log;
mod places;
mod process;
mod tenants;
#[cfg(test)]
mod tests;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tracing::info;

use crate::access::{Access, AccessOptions};
use crate::base::clock::now_ms;
use crate::conditions::Severity;
use crate::http::{self, AppState};
use crate::ingest::{Caps, Ingest, IngestLimits, WantedBuilds};
use crate::query::{QueryEngine, QueryLimits};
use crate::store::access::AccessCatalog;
use crate::store::catalog::CatalogError;
use crate::store::place::Place;
use crate::store::{Options, Store, StoreError, compact};
use crate::symbols::{SymbolLimits, Symbols, Worker, share};
pub use connections::Door;
use jobs::Jobs;
pub use places::ConnectionLimits;
use process::Signals;
pub use process::{PRIVATE, mask_permissions};
pub use tenants::Tenants;
#[cfg(test)]
pub(crate) use tenants::Times;
pub use tls::{Tls, TlsError, TlsFiles};

/// What `tephra serve` is told.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where the store is.
    pub place: Place,
    /// Address and port of the one door.
    pub listen: SocketAddr,
    /// What that door is encrypted with, if it is.
    pub tls: Option<TlsFiles>,
    /// How the store is kept.
    pub store: Options,
    /// How much it may use.
    pub limits: Limits,
    /// How long requests are still answered after the signal to stop, while `/readyz` says that it is stopping.
    pub shutdown_delay: Duration,
    /// Permissions that new files and folders lack.
    pub umask: u32,
    /// Who is asked who they are.
    pub access: AccessOptions,
}

/// How much one collector may use.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// What senders may take of it.
    pub ingest: IngestLimits,
    /// What one query may take.
    pub query: QueryLimits,
    /// For files with symbols.
    pub symbols: SymbolLimits,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
}

/// Why the collector cannot run. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The access catalog.
    #[error("the access catalog cannot be used: {0}")]
    Access(CatalogError),
    /// A tenant where there can be none.
    #[error("collectors that share a store have no tenants: run some for each")]
    SharedTenant,
    /// The folder of symbols.
    #[error("symbols in {}: {source}", data.display())]
    Symbols {
        /// Where it was looked for.
        data: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Certificate and key cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The port cannot be listened on.
    #[error("cannot listen on {listen}: {problem}")]
    Listen {
        /// What was asked for.
        listen: SocketAddr,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The operating system.
    #[error("{what}: {source}")]
    System {
        /// What was tried, as a verb: `start the worker`.
        what: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The parts of a running collector, for the HTTP edge. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Segments, catalog and events.
    pub store: Arc<Store>,
    /// The engine that answers from it.
    pub query: QueryEngine,
    /// Where windows arrive.
    pub ingest: Ingest,
    /// Symbol files, and the names they give.
    pub symbols: Symbols,
    /// How many may be connected.
    pub connections: ConnectionLimits,
    /// Whose turn it is to compact.
    pub compacting: compact::Turns,
    /// Who may do what.
    pub access: Access,
    /// When it started, unix milliseconds.
    pub started_ms: u64,
}

impl Collector {
    /// Opens the store and starts the writer. `worker` says how to run the program that reads uploaded files.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn open(place: Place, options: Options, worker: Worker) -> Result<Self, ServeError> {
        Self::open_with(place, options, worker, Limits::default()).await
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn open_with(place: Place, options: Options, worker: Worker, limits: Limits) -> Result<Self, ServeError> {
        let store = Arc::new(Store::open_at(place, options).await?);
        let symbols = Symbols::beside_with(&store, worker, limits.symbols)
            .map_err(|source| ServeError::Symbols { data: store.data_dir().to_owned(), source })?;
        // Before agents are asked for what others have already.
        share::exchange(&symbols).await?;
        let ingest = Ingest::start_with(store.clone(), wanted(&symbols), limits.ingest);
        let query = QueryEngine::new(store.clone(), limits.query);
        let (connections, compacting) = (limits.connections, compact::Turns::default());
        let access = Access::default();
        Ok(Self { store, query, ingest, symbols, connections, compacting, access, started_ms: now_ms() })
    }

    /// One over another store, which shares memory, threads and turns with this one.
    ///
    /// # Errors
    /// When the store cannot be used.
    async fn beside(&self, place: Place, options: Options, caps: Caps) -> Result<Self, ServeError> {
        let store = Arc::new(Store::open_at(place, options).await?);
        let symbols = self.symbols.of_another(&store);
        let symbols = symbols.map_err(|source| ServeError::Symbols { data: store.data_dir().to_owned(), source })?;
        share::exchange(&symbols).await?;
        let ingest = self.ingest.beside(store.clone(), wanted(&symbols), caps);
        let query = self.query.over(store.clone());
        Ok(Self { store, query, ingest, symbols, ..self.clone() })
    }
}

/// What agents are asked for whose windows arrive.
fn wanted(symbols: &Symbols) -> WantedBuilds {
    let symbols = symbols.clone();
    Arc::new(move |modules| symbols.wanted(modules))
}

/// Binds the address.
///
/// # Errors
/// Says what is wrong with it, and what to do.
pub async fn listen(listen: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(listen).await.map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("port {} is in use: stop what uses it, or choose another with --listen", listen.port())
            }
            io::ErrorKind::PermissionDenied => "this user may not: choose a port above 1023 with --listen".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose one with --listen".to_owned(),
            _ => format!("{error}: choose another address with --listen"),
        };
        ServeError::Listen { listen, problem }
    })
}

/// Serves until SIGINT or SIGTERM. From then on `/readyz` says that the collector is stopping; after the delay it takes no more connections and
/// lets what is in flight finish. A second signal ends the delay. `state` makes what the routes work with; `ready` is told the address once
/// requests are answered.
///
/// # Errors
/// When the store or the address cannot be used.
pub async fn serve(
    options: ServeOptions,
    state: impl FnOnce(&Collector) -> AppState,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let system = |what| move |source| ServeError::System { what, source };
    let tls = options.tls.map(Tls::read).transpose()?;
    let read_again = tls.clone();
    let hangup_came = move || match &read_again {
        Some(tls) => tls.read_again(),
        None => info!("SIGHUP is ignored: options are read at the start, so restart the collector to change them"),
    };
    let mut signals = Signals::new(hangup_came).map_err(system("cannot wait for signals"))?;
    process::mask_permissions(options.umask);
    let wanted = options.limits.connections;
    let descriptors = process::raise_descriptors();
    let limits = Limits { connections: wanted.within(descriptors), ..options.limits };
    let listener = listen(options.listen).await?;
    let worker = Worker::this_program().map_err(system("cannot find this program's own file"))?;
    let mut collector = Collector::open_with(options.place.clone(), options.store, worker, limits).await?;
    let conditions = collector.store.conditions().clone();
    let catalog = AccessCatalog::beside(&options.place, collector.store.catalog()).await.map_err(ServeError::Access)?;
    let proxies = options.access.proxies.clone();
    collector.access = Access::open(options.access, catalog, &conditions).await.map_err(ServeError::Access)?;
    let connections = collector.connections.all;
    let few = (connections < wanted.all).then(|| {
        format!(
            "this process may open {descriptors} files, so {connections} may be connected instead of {}: raise the limit \
             (`ulimit -n`, LimitNOFILE=), or say --connections {connections}",
            wanted.all
        )
    });
    conditions.set("few_descriptors", Severity::Notice, few);
    let open = process::open_to_others(collector.store.data_dir(), options.umask);
    conditions.set("data_folder_open", Severity::Notice, open);
    let state = state(&collector);
    let tenants = Tenants::new(collector.clone(), state.clone());
    let router = http::router_beside(state, Arc::new(tenants.clone()));
    ready(listener.local_addr().map_err(system("cannot tell the address"))?);
    let stop = async {
        signals.stop().await;
        conditions.begin(
            "stopping",
            "",
            Severity::Unready,
            "the collector is stopping: send to another, or come again",
        );
        tokio::select! {
            () = tokio::time::sleep(options.shutdown_delay) => {}
            () = signals.stop() => {}
        }
    };
    let keeping = tokio::spawn(tenants.clone().keep());
    serve_on(&collector, Door { listener, tls, proxies }, router, stop).await;
    keeping.abort();
    tenants.close().await;
    collector.store.catalog().close().await;
    Ok(())
}

/// Answers requests that come through `door`, such as a listener, until `stop` is done, then drains.
pub async fn run(collector: &Collector, door: impl Into<Door>, router: Router, stop: impl Future<Output = ()>) {
    serve_on(collector, door.into(), router, stop).await;
    collector.store.catalog().close().await;
}

async fn serve_on(collector: &Collector, door: Door, router: Router, stop: impl Future<Output = ()>) {
    let jobs = Jobs::start(collector);
    let access = tokio::spawn(collector.access.clone().keep_current(collector.store.conditions().clone()));
    let following = door.tls.clone().map(|tls| tokio::spawn(tls.follow(collector.store.conditions().clone())));
    let edge = (collector.connections, collector.store.conditions().clone());
    connections::serve(door, router, edge, stop, DRAIN).await;
    if let Some(following) = following {
        following.abort();
    }
    access.abort();
    jobs.stop().await;
}

/// How long requests in flight may take to finish after a signal. Acks take a fraction of a second, queries at most 30 s.
const DRAIN: Duration = Duration::from_secs(10);
