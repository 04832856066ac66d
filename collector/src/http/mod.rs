//! The edge: the JSON API, the web view's pages, what Prometheus reads, and gRPC behind the same guard.
//!
//! | module | what it does |
//! |---|---|
//! | [`guard`] | what every answer carries, and which requests never reach a route |
//! | `forwarded` | requests that a proxy sends for somebody |
//! | `observed`, `request_id`, `measured` | what is told of each request: a line in the log, and durations by route |
//! | `door`, `permissions` | who may ask: the role that each path needs, and what cannot be undone written down |
//! | `application`, `rate` | all that is answered from one store, for each tenant; how much each may send |
//! | `refused`, `refused_hosts` | requests without credentials, counted; names that it does not answer to, told to the operator |
//! | [`params`], [`body`] | what a request says, read strictly |
//! | `route` | one path: what it answers to, and what a request to it may cost |
//! | [`asker`] | who asked for what cannot be undone, for the log |
//! | `routes` | one file per thing that can be asked |
//! | `doors` | other people's protocols |
//! | [`pages`], [`previews`], `card_link` | the web view, and what is said and shown of its pages to those who only see their address |
//! | [`error`], [`respond`] | what is sent back |
//! | `computed`, `pprof_file` | answers that take a turn, one of them a file for everybody's viewer |
//! | `no_span` | why a profile has no place in time, and what to type |
//! | `negotiate` | what a client has already, and what it takes |
//! | `revision` | answers that need not be computed again |
//! | `timing` | where the time of an answer went |

mod application;
pub mod asker;
pub mod body;
mod card_link;
mod computed;
mod door;
mod doors;
pub mod error;
mod forwarded;
pub mod guard;
mod measured;
mod negotiate;
mod no_span;
mod observed;
pub mod pages;
pub mod params;
mod permissions;
mod pprof_file;
pub mod previews;
mod rate;
mod refused;
mod refused_hosts;
mod request_id;
pub mod respond;
mod revision;
mod route;
mod routes;
#[cfg(test)]
mod tests;
mod timing;

use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::middleware::from_fn_with_state;

use crate::access::Access;
use crate::alerts::answering::Answers;
use crate::analysis::costs::Costs;
use crate::base::clock;
use crate::ingest::{Gate, Ingest, WhenStored};
use crate::query::QueryEngine;
use crate::store::Store;
use crate::symbols::Symbols;
use crate::webhooks::Webhooks;
use crate::work::Workbench;
pub use application::{Application, Applications, Opened};
use door::Front;
use doors::datadog::Dropped;
pub use doors::scrape::ScrapeConfig;
use doors::scrape::Scrapes;
use error::ApiError;
use guard::AllowedHosts;
use measured::Measured;
pub use observed::REQUESTS;
pub use rate::Rate;
use refused::Refused;
use route::Route;

/// What the routes work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Shared>);

/// What [`AppState`] hands to every route.
#[derive(Debug)]
pub struct Shared {
    /// Segments, catalog and events.
    pub store: Arc<Store>,
    /// The one engine that answers.
    pub engine: QueryEngine,
    /// Symbol files, and the names they give.
    pub symbols: Symbols,
    /// The way in, for uploaded profiles and the status page.
    pub ingest: Ingest,
    /// Answers to alert links, some of them computed before the click.
    pub answers: Arc<Answers>,
    /// What alerting systems post.
    pub webhooks: Webhooks,
    /// Turns for heavy answers.
    pub bench: Workbench,
    /// Who may do what.
    pub access: Access,
    refused: Refused,
    measured: Measured,
    scrapes: Scrapes,
    dropped: Dropped,
    costs: OnceLock<Arc<Costs>>,
    bodies: Gate,
    cards: routes::cards::Shelf,
    started: Instant,
    hosts: AllowedHosts,
}

impl AppState {
    /// `hosts` are the names under which people reach this collector, beside its addresses and, where nobody is asked who they are, private
    /// names.
    pub fn new(
        store: Arc<Store>,
        engine: QueryEngine,
        symbols: Symbols,
        ingest: Ingest,
        hosts: impl IntoIterator<Item = String>,
        access: Access,
    ) -> Self {
        let bench = Workbench::new(engine.timeout());
        let bodies = ingest.gate_for(body::BODIES_BYTES_MAX);
        let hosts = AllowedHosts::new(hosts, store.conditions().clone());
        let hosts = if access.is_on() { hosts.only_those() } else { hosts };
        let started = clock::instant();
        Self::with(store, engine, symbols, ingest, access, Commons { bench, bodies, started, hosts })
    }
}

impl AppState {
    /// What the routes work with where another store answers: turns for heavy answers, room for bodies and hosts are the same.
    #[must_use]
    pub fn beside(
        &self,
        store: Arc<Store>,
        engine: QueryEngine,
        symbols: Symbols,
        ingest: Ingest,
        access: Access,
    ) -> Self {
        let bench = self.bench.clone();
        let bodies = ingest.share_gate(&self.bodies);
        let started = self.started;
        Self::with(
            store,
            engine,
            symbols,
            ingest,
            access,
            Commons { bench, bodies, started, hosts: self.hosts.clone() },
        )
    }

    fn with(
        store: Arc<Store>,
        engine: QueryEngine,
        symbols: Symbols,
        ingest: Ingest,
        access: Access,
        Commons { bench, bodies, started, hosts }: Commons,
    ) -> Self {
        let answers = Arc::new(Answers::new(engine.clone(), store.clone(), symbols.clone(), bench.clone()));
        let webhooks = Webhooks::new(store.clone(), answers.clone());
        Self(Arc::new(Shared {
            store,
            engine,
            symbols,
            ingest,
            answers,
            webhooks,
            bench,
            access,
            refused: Refused::default(),
            measured: Measured::default(),
            scrapes: Scrapes::default(),
            dropped: Dropped::default(),
            costs: OnceLock::new(),
            bodies,
            cards: routes::cards::Shelf::default(),
            started,
            hosts,
        }))
    }
}

/// What the stores of one process share.
struct Commons {
    bench: Workbench,
    bodies: Gate,
    started: Instant,
    hosts: AllowedHosts,
}

impl Shared {
    /// Counts what functions cost, by rules, in every window that is stored from now on. There are rules once: later ones are not heard.
    pub fn count_costs(&self, rules: Costs) {
        let rules = Arc::new(rules);
        if self.costs.set(rules.clone()).is_err() {
            return;
        }
        let symbols = self.symbols.clone();
        self.ingest.watch(Arc::new(move |window| {
            let added = rules.of_window(window, &symbols);
            let rules = rules.clone();
            (!added.is_empty()).then(|| WhenStored(Arc::new(move || rules.add(&added))))
        }));
    }

    /// Computes a heavy answer when its turn comes.
    async fn in_turn<T>(&self, answer: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        self.bench.run(answer).await?
    }

    /// Bytes of request bodies in memory, by HTTP and by gRPC, and how many there may be.
    fn bodies_in_use_and_limit(&self) -> (usize, usize) {
        let (http, windows) = (self.bodies.in_use_and_limit(), self.ingest.gate().in_use_and_limit());
        (http.0 + windows.0, http.1 + windows.1)
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Everything that is served on the port: gRPC, the API, the web view.
pub fn router(state: AppState) -> Router {
    router_of(routes::all(&state), Front { state, others: None })
}

/// The same where others than the default tenant have stores of their own.
pub fn router_beside(state: AppState, others: Arc<dyn Applications>) -> Router {
    router_of(routes::all(&state), Front { state, others: Some(others) })
}

fn router_of(routes: Vec<Route>, front: Front) -> Router {
    let state = front.state.clone();
    let (hosts, access, measured) = (state.hosts.clone(), state.access.clone(), state.measured.clone());
    let mut router = Router::new();
    for route in routes {
        // Of somebody who may not, nothing is read.
        let door = from_fn_with_state(front.clone(), door::door);
        router = router.route(route.path, route.bounded(&state).layer(door));
    }
    let router = router.fallback(routes::nothing_here).method_not_allowed_fallback(routes::wrong_method);
    let router = router.with_state(state).layer(from_fn_with_state(hosts, guard::guard));
    let router = router.layer(from_fn_with_state(measured, observed::observed));
    router.layer(from_fn_with_state(access, forwarded::forwarded))
}
