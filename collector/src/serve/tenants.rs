//! Tenants: each a whole collector over a store of its own, opened when it is asked for and closed when nobody has asked for long. They share
//! the port, the turns, the memory and the threads of the default one, and nothing else.
//!
//! A store has one folder and one lock, so it is open once or not at all. Whatever opens or closes one has its slot, and requests wait for that;
//! whatever is answered from one keeps it open until the last byte is handed on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, warn};

use super::jobs::Jobs;
use super::{Collector, ServeError};
use crate::access::READ_AGAIN;
use crate::base::clock;
use crate::base::tenant::TenantName;
use crate::conditions::Severity;
use crate::http::error::{ApiError, ErrorKind};
use crate::http::{AppState, Application, Applications, Opened, Rate};
use crate::ingest::Caps;
use crate::store::access::TenantLimits;
use crate::store::{self, Options};

/// Open this long after the last request, so that what arrived is compacted before it is closed.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// One that was opened though nobody asked is closed after this time: what there was to compact, and what was old, is done.
const LOOKED_AFTER: Duration = Duration::from_secs(3 * 60);

/// Each is opened so often, asked for or not: what is old must go.
const EVERY: Duration = Duration::from_secs(3600);

/// A request waits no longer for a store to be opened, or closed and opened.
const OPEN_TIME_MAX: Duration = Duration::from_secs(15);

/// One that could not be opened is left alone for a moment.
const FAILED_FOR: Duration = Duration::from_secs(5);

/// What still uses a store that is being closed is waited for so long, and looked for so often.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(60);
const CLOSE_LOOK: Duration = Duration::from_millis(10);

/// A tenant's share of the memory for what was read lately: there may be hundreds of them.
const CACHE_SHARE: usize = 32;

/// The condition while the store of a tenant cannot be opened.
const NOT_OPENED: &str = "tenant_not_opened";

/// The condition while what a deleted tenant has left cannot be removed.
const NOT_REMOVED: &str = "tenant_not_removed";

/// The tenants of a collector. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenants(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The default tenant's, which lends what is shared.
    house: Collector,
    state: AppState,
    slots: Mutex<HashMap<TenantName, Slot>>,
    times: Times,
}

/// See [`IDLE`] and [`EVERY`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) idle: Duration,
    pub(crate) every: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { idle: IDLE, every: EVERY }
    }
}

/// The place of a tenant, open or not.
#[derive(Debug, Clone, Default)]
struct Slot {
    place: Arc<tokio::sync::Mutex<Occupied>>,
    rate: Rate,
}

#[derive(Debug, Default)]
struct Occupied {
    open: Option<Open>,
    /// When it was open last.
    seen: Option<Instant>,
    /// When it could not be opened, and why.
    failed: Option<(Instant, String)>,
}

/// An open one.
#[derive(Debug)]
struct Open {
    collector: Collector,
    application: Application,
    jobs: Jobs,
    /// Read by whatever is answered from it.
    in_use: Arc<RwLock<()>>,
    /// How much it may use, as it was opened.
    limits: TenantLimits,
    /// Whether anybody has asked for it.
    was_asked: bool,
}

impl Tenants {
    /// Beside a collector, whose routes work with `state`.
    pub fn new(house: Collector, state: AppState) -> Self {
        Self::with_times(house, state, Times::default())
    }

    pub(crate) fn with_times(house: Collector, state: AppState, times: Times) -> Self {
        Self(Arc::new(Inner { house, state, slots: Mutex::default(), times }))
    }

    fn slot(&self, tenant: &TenantName) -> Slot {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(tenant.clone()).or_default().clone()
    }

    fn slots(&self) -> Vec<(TenantName, Slot)> {
        let slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().map(|(name, slot)| (name.clone(), slot.clone())).collect()
    }

    /// Lets a request in, or says why not. What opens a store goes on when the request is given up.
    async fn enter(&self, tenant: &TenantName) -> Result<Opened, ApiError> {
        let Some(limits) = self.0.house.access.limits_of(tenant) else {
            return Err(ApiError::new(
                ErrorKind::Forbidden,
                "there is no such tenant here",
                "`tephra tenant list` shows those there are",
            ));
        };
        let slot = self.slot(tenant);
        slot.rate.set(limits.bytes_per_s);
        if let Ok(mut occupied) = slot.place.try_lock()
            && let Some(opened) = occupied.enter(&slot.rate)
        {
            return Ok(opened);
        }
        let (tenants, name) = (self.clone(), tenant.clone());
        let opening = tokio::spawn(async move {
            let mut occupied = slot.place.lock().await;
            tenants.open_in(&mut occupied, &name).await?;
            occupied.enter(&slot.rate).ok_or_else(|| "it was closed again".to_owned())
        });
        let failed = |hint: &str| ApiError::new(ErrorKind::Unavailable, "the store of this tenant is not open", hint);
        match timeout(OPEN_TIME_MAX, opening).await {
            Ok(Ok(Ok(opened))) => Ok(opened),
            Ok(_) => Err(failed("the collector's log and its status page say why; it is tried again")),
            Err(_) => Err(failed("it is being opened or closed: come again")),
        }
    }

    /// Opens a store where it is not open. The error is for the log.
    async fn open_in(&self, occupied: &mut Occupied, tenant: &TenantName) -> Result<(), String> {
        if occupied.open.is_some() {
            return Ok(());
        }
        // Only now: one that was deleted meanwhile must stay closed.
        let limits = self.0.house.access.limits_of(tenant).ok_or_else(|| format!("the tenant {tenant} is gone"))?;
        let now = clock::task_instant();
        if let Some((_, problem)) =
            occupied.failed.as_ref().filter(|(at, _)| now.saturating_duration_since(*at) < FAILED_FOR)
        {
            return Err(problem.clone());
        }
        occupied.seen = Some(now);
        let conditions = self.0.house.store.conditions();
        match self.open(tenant, limits).await {
            Ok(open) => {
                conditions.end(NOT_OPENED, tenant.as_str());
                (occupied.open, occupied.failed) = (Some(open), None);
                Ok(())
            }
            Err(error) => {
                let problem = format!("the store of the tenant {tenant} cannot be opened: {error}");
                conditions.begin(NOT_OPENED, tenant.as_str(), Severity::Degraded, problem.clone());
                occupied.failed = Some((now, problem.clone()));
                Err(problem)
            }
        }
    }

    async fn open(&self, tenant: &TenantName, limits: TenantLimits) -> Result<Open, ServeError> {
        let house = &self.0.house;
        let place = house.store.place().of_tenant(tenant).ok_or(ServeError::SharedTenant)?;
        let collector =
            house.beside(place, options(house.store.options(), limits), caps(house.ingest.caps(), limits)).await?;
        let Collector { store, query, ingest, symbols, .. } = collector.clone();
        let state = self.0.state.beside(store, query, symbols, ingest, house.access.within(tenant));
        let (application, jobs) = (Application::of(&state), Jobs::start(&collector));
        debug!(%tenant, "the store of a tenant is open");
        Ok(Open { collector, application, jobs, in_use: Arc::default(), limits, was_asked: false })
    }

    /// Looks after them until it is dropped.
    pub(super) async fn keep(self) {
        loop {
            sleep(READ_AGAIN).await;
            self.round().await;
        }
    }

    /// Closes those that nobody asks for, opens one that was closed for long, and removes what deleted ones have left.
    pub(crate) async fn round(&self) {
        let tenants = self.0.house.access.tenants();
        for (name, slot) in self.slots() {
            let limits = tenants.living.get(&name);
            if let Ok(mut occupied) = slot.place.try_lock() {
                self.close_if_over(&name, &mut occupied, limits).await;
                if limits.is_none() && occupied.open.is_none() {
                    self.0.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                }
            }
        }
        let has_stores = !self.0.house.store.is_shared();
        if let Some(name) = tenants.living.keys().find(|name| has_stores && self.is_due(name)) {
            let slot = self.slot(name);
            let mut occupied = slot.place.lock().await;
            if let Err(problem) = self.open_in(&mut occupied, name).await {
                debug!("{problem}");
            }
        }
        for name in &tenants.deleted {
            if !self.slots().iter().any(|(open, _)| open == name) {
                self.remove(name).await;
            }
        }
    }

    async fn close_if_over(&self, name: &TenantName, occupied: &mut Occupied, limits: Option<&TenantLimits>) {
        let Some(open) = &occupied.open else { return };
        let idle = if open.was_asked { self.0.times.idle } else { self.0.times.idle.min(LOOKED_AFTER) };
        let is_idle = occupied.seen.is_none_or(|seen| seen.elapsed() >= idle);
        let is_same = limits
            .is_some_and(|limits| TenantLimits { bytes_per_s: open.limits.bytes_per_s, ..*limits } == open.limits);
        if is_same && !is_idle {
            return;
        }
        // Somebody is being answered: the next time, then.
        let Ok(_nobody) = open.in_use.clone().try_write_owned() else { return };
        if let Some(open) = occupied.open.take() {
            occupied.seen = Some(clock::task_instant());
            open.close(name).await;
        }
    }

    /// Whether it is time to look after what is old in it.
    fn is_due(&self, name: &TenantName) -> bool {
        let slot = self.slot(name);
        // Whoever has it looks after it.
        let Ok(occupied) = slot.place.try_lock() else { return false };
        occupied.open.is_none() && occupied.seen.is_none_or(|seen| seen.elapsed() >= self.0.times.every)
    }

    async fn remove(&self, name: &TenantName) {
        let house = &self.0.house;
        let (data, tenant) = (house.store.data_dir().to_owned(), name.clone());
        let removed = match tokio::task::spawn_blocking(move || store::tenants::remove(&data, &tenant)).await {
            Ok(Ok(())) => house.access.forget(name).await.map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let problem =
            removed.err().map(|error| format!("what the deleted tenant {name} has left is not removed: {error}"));
        if problem.is_none() {
            warn!(tenant = %name, "the store of a deleted tenant was removed");
        }
        match problem {
            Some(problem) => house.store.conditions().begin(NOT_REMOVED, name.as_str(), Severity::Degraded, problem),
            None => house.store.conditions().end(NOT_REMOVED, name.as_str()),
        }
    }

    #[cfg(test)]
    pub(crate) async fn is_open(&self, tenant: &TenantName) -> bool {
        self.slot(tenant).place.lock().await.open.is_some()
    }

    /// Closes all of them, when nothing is answered any more.
    pub(super) async fn close(&self) {
        for (name, slot) in self.slots() {
            if let Some(open) = slot.place.lock().await.open.take() {
                open.close(&name).await;
            }
        }
    }
}

impl Applications for Tenants {
    fn open<'a>(&'a self, tenant: &'a TenantName) -> BoxFuture<'a, Result<Opened, ApiError>> {
        self.enter(tenant).boxed()
    }
}

impl Occupied {
    /// The application, which stays open as long as what it is given out with.
    fn enter(&mut self, rate: &Rate) -> Option<Opened> {
        let open = self.open.as_mut()?;
        open.was_asked = true;
        // Who closes it has the slot.
        let stay = open.in_use.clone().try_read_owned().ok()?;
        self.seen = Some(clock::task_instant());
        Some(Opened { application: open.application.clone(), rate: rate.clone(), stay: Box::new(stay) })
    }
}

impl Open {
    /// Waits for whatever is still under way, such as windows whose sender has gone, and lets go of the folder.
    async fn close(self, tenant: &TenantName) {
        let Self { collector, application, jobs, .. } = self;
        jobs.stop().await;
        let store = collector.store.clone();
        drop((application, collector));
        let asked = clock::task_instant();
        while Arc::strong_count(&store) > 1 && asked.elapsed() < CLOSE_TIME_MAX {
            sleep(CLOSE_LOOK).await;
        }
        if Arc::strong_count(&store) > 1 {
            error!(%tenant, "the store of a tenant is still used a minute after the last request: it is closed all the same");
        }
        store.catalog().close().await;
        debug!(%tenant, "the store of a tenant is closed");
    }
}

/// How a tenant's store is kept.
fn options(house: &Options, limits: TenantLimits) -> Options {
    let own = limits.retention_ms.map_or(Duration::MAX, Duration::from_millis);
    Options { retention: house.retention.min(own), cache_bytes: house.cache_bytes / CACHE_SHARE, ..house.clone() }
}

fn caps(house: &Caps, limits: TenantLimits) -> Caps {
    let own = limits.series.map_or(usize::MAX, |series| usize::try_from(series).unwrap_or(usize::MAX));
    Caps { series_max: house.series_max.min(own), ..house.clone() }
}
