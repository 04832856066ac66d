//! Profiles that are fetched: Go programs, and whatever else serves `/debug/pprof/*`, at addresses that a file names in Prometheus' shape.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`], [`yaml`] | what the file says |
//! | [`relabel`] | rules by which labels are changed, and targets left out |
//! | [`files`] | files that it names |
//! | [`fetch`] | one answer, within its limits |
//! | [`target`] | one target, and what a scrape of it stores |
//!
//! Each target has a task of its own, which is never in two scrapes at once. What counts since a process began is stored as what was added
//! since the last scrape; of the first one nothing of it is.

mod config;
mod fetch;
mod files;
mod relabel;
mod target;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use self::config::{Group, Job};
use self::fetch::{Client, Room};
use self::relabel::Labels;
use self::target::{Memory, Target, scrape};
use crate::base::clock::{now_ms, task_instant};
use crate::conditions::Severity;
use crate::http::AppState;
use crate::work::blocking;

pub use self::config::Config as ScrapeConfig;

/// Targets of one job that are scraped.
const TARGETS_MAX: usize = 2_000;

/// A target does not answer, or not what is understood.
const FAILING: &str = "scrape_failing";

/// Targets are not known.
const UNKNOWN: &str = "scrape_discovery";

/// How targets are. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Scrapes(Arc<Mutex<BTreeMap<(String, Labels), Health>>>);

#[derive(Debug, Clone, Default)]
struct Health {
    base: String,
    service: String,
    instance: String,
    last_ms: Option<u64>,
    took_ms: u64,
    scrapes: u64,
    failed: u64,
    restarts: u64,
    problems: Vec<String>,
}

impl Scrapes {
    /// As the status has it.
    pub(in crate::http) fn to_json(&self) -> Value {
        let targets = self.lock();
        let one = |((job, _), of): (&(String, Labels), &Health)| {
            let health = match of.last_ms {
                None => "unknown",
                Some(_) if of.problems.is_empty() => "up",
                Some(_) => "down",
            };
            json!({
                "job": job,
                "target": of.base,
                "service": of.service,
                "instance": of.instance,
                "health": health,
                "last_ms": of.last_ms,
                "took_ms": of.took_ms,
                "scrapes": of.scrapes,
                "failed": of.failed,
                "restarts": of.restarts,
                "problems": of.problems,
            })
        };
        json!({ "targets": targets.iter().map(one).collect::<Vec<_>>() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, Labels), Health>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScrapeConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// In words, with the file's name and the line.
    pub fn read(file: &Path) -> Result<Self, String> {
        let folder = file.parent().unwrap_or(Path::new(""));
        Self::parse(&files::text(file)?, folder).map_err(|problem| format!("{}: {problem}", file.display()))
    }

    /// Begins to scrape. Must be called inside a Tokio runtime, whose end is the end of it.
    ///
    /// # Errors
    /// In words, when certificates cannot be used.
    pub fn start(self, state: &AppState) -> Result<(), String> {
        let room = Room::default();
        let with_client = |job: Job| {
            let client = Client::new(&job, room.clone()).map_err(|why| format!("job {:?}: {why}", job.name))?;
            Ok((Arc::new(job), Arc::new(client)))
        };
        let jobs = self.jobs.into_iter().map(with_client).collect::<Result<Vec<_>, String>>()?;
        for (job, client) in jobs {
            tokio::spawn(follow(state.clone(), job, client));
        }
        Ok(())
    }
}

/// Looks for the targets of a job, and keeps a task for each.
async fn follow(state: AppState, job: Arc<Job>, client: Arc<Client>) {
    let mut running: BTreeMap<Labels, JoinHandle<()>> = BTreeMap::new();
    let conditions = state.store.conditions().clone();
    loop {
        let of = job.clone();
        let found = blocking(move || discover(&of)).await.map_err(|error| error.to_string()).flatten();
        let problem = match found {
            Ok((targets, problem)) => {
                running.retain(|labels, task| {
                    let stays = targets.contains_key(labels);
                    if !stays {
                        task.abort();
                        forget(&state, &job, labels);
                    }
                    stays
                });
                for (labels, target) in targets {
                    running.entry(labels.clone()).or_insert_with(|| {
                        tokio::spawn(keep_scraping(state.clone(), job.clone(), client.clone(), labels, target))
                    });
                }
                problem
            }
            Err(why) => Some(format!("{why}; those that were known are still scraped")),
        };
        match problem {
            Some(why) => conditions.begin(UNKNOWN, &job.name, Severity::Notice, why),
            None => conditions.end(UNKNOWN, &job.name),
        }
        match job.files.iter().map(|files| files.refresh).min() {
            Some(refresh) => tokio::time::sleep(refresh).await,
            None => std::future::pending().await,
        }
    }
}

type Targets = BTreeMap<Labels, Target>;

/// The targets of a job by their labels, and what is wrong with some of them. Blocks.
fn discover(job: &Job) -> Result<(Targets, Option<String>), String> {
    let mut groups = job.groups.clone();
    for files in &job.files {
        for pattern in &files.patterns {
            for file in files::matching(pattern)? {
                let read = Group::read_all(&files::text(&file)?);
                groups.extend(read.map_err(|problem| format!("{}: {problem}", file.display()))?);
            }
        }
    }
    let (mut targets, mut problem) = (Targets::new(), None);
    for group in groups {
        for address in &group.targets {
            match Target::of(job, address, &group.labels) {
                Ok(Some(_)) if targets.len() >= TARGETS_MAX => {
                    problem = Some(format!(
                        "job {:?} has more than {TARGETS_MAX} targets: the others are left out",
                        job.name
                    ));
                }
                Ok(Some((labels, target))) => drop(targets.insert(labels, target)),
                Ok(None) => {}
                Err(why) => problem = Some(why),
            }
        }
    }
    Ok((targets, problem))
}

fn forget(state: &AppState, job: &Job, labels: &Labels) {
    if let Some(health) = state.scrapes.lock().remove(&(job.name.clone(), labels.clone())) {
        state.store.conditions().end(FAILING, &health.base);
    }
}

/// Scrapes a target in each interval; one that takes longer than its interval leaves the next one out.
async fn keep_scraping(state: AppState, job: Arc<Job>, client: Arc<Client>, labels: Labels, target: Target) {
    let id = (job.name.clone(), labels);
    let begin = Health {
        base: target.base.clone(),
        service: target.origin.service.to_string(),
        instance: target.origin.instance.clone(),
        ..Health::default()
    };
    state.scrapes.lock().insert(id.clone(), begin);
    let mut memory = Memory::default();
    let mut next = task_instant() + target.offset(job.interval);
    loop {
        tokio::time::sleep_until(next).await;
        // Nothing is stored while that is the case: what was added meanwhile is counted afterwards.
        if state.store.conditions().unready().is_none() {
            scrape_and_tell(&state, &client, &job, &target, &mut memory, &id).await;
        }
        while next <= task_instant() {
            next += job.interval;
        }
    }
}

async fn scrape_and_tell(
    state: &AppState,
    client: &Client,
    job: &Job,
    target: &Target,
    memory: &mut Memory,
    id: &(String, Labels),
) {
    let began = task_instant();
    let scraped = scrape(state, client, job, target, memory, job.interval).await;
    let conditions = state.store.conditions();
    match scraped.problems.first() {
        Some(why) => conditions.begin(
            FAILING,
            &target.base,
            Severity::Notice,
            format!("the target {} of job {:?} cannot be scraped: {why}", target.base, job.name),
        ),
        None => conditions.end(FAILING, &target.base),
    }
    if let Some(health) = state.scrapes.lock().get_mut(id) {
        health.last_ms = Some(now_ms());
        health.took_ms = began.elapsed().as_millis() as u64;
        health.scrapes += 1;
        health.failed += u64::from(!scraped.problems.is_empty());
        health.restarts += u64::from(scraped.is_restarted);
        health.problems = scraped.problems;
    }
}
