//! One target: its address, whose profiles it has, and what a scrape of it stores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::config::{Job, Profile};
use super::fetch::Client;
use super::relabel::{Labels, relabel};
use crate::base::clock::{now_ms, task_instant};
use crate::http::AppState;
use crate::http::doors::pyroscope::types;
use crate::http::doors::received::{Origin, Windows};
use crate::http::error::ApiError;
use crate::profile::pieces::PROFILE_MS_MAX;
use crate::profile::pprof::decode;
use crate::profile::since_start::{Looked, Totals, added_since};
use crate::profile::span::Said;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PREFIX: &str = "__profile_path_prefix__";
const INSTANCE: &str = "instance";

/// Types that count since their process began.
const SINCE_START: [&str; 6] =
    ["alloc_objects", "alloc_space", "mutex_contentions", "mutex_delay", "block_contentions", "block_delay"];

/// Stacks that are remembered of all targets, to compare the next look with: 200 MB.
const REMEMBERED_MAX: usize = 4 << 20;

/// Where profiles are fetched, and whose they are.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Such as `http://shop-1:6060/admin`.
    pub(super) base: String,
    pub(super) origin: Origin,
}

impl Target {
    /// Of an address as it is written, with its group's labels; `None`: a rule leaves it out.
    ///
    /// # Errors
    /// In words, when rules made of it what cannot be scraped.
    pub(super) fn of(job: &Job, address: &str, group: &Labels) -> Result<Option<(Labels, Self)>, String> {
        let mut labels = group.clone();
        for (name, value) in [
            (ADDRESS, address),
            (SCHEME, job.scheme.as_str()),
            (PREFIX, job.prefix.as_str()),
            ("job", job.name.as_str()),
        ] {
            if !value.is_empty() {
                labels.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        let Some(mut labels) = relabel(&job.relabel, labels) else { return Ok(None) };
        let of = |name: &str| labels.get(name).map_or("", String::as_str);
        let base = format!("{}://{}{}", of(SCHEME), of(ADDRESS), of(PREFIX).trim_end_matches('/'));
        let is_address = base.parse::<reqwest::Url>().is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.query().is_none()
        });
        if !is_address || of(ADDRESS).contains(['/', '@', '?', '#']) {
            return Err(format!("rules of job {:?} make {base:?} of {address:?}, which is no address", job.name));
        }
        let address = of(ADDRESS).to_owned();
        labels.entry(INSTANCE.to_owned()).or_insert(address);
        let given = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let origin = Origin::of(given, Some(&job.name), "scrape").map_err(|error| error.to_string())?;
        Ok(Some((labels, Self { base, origin })))
    }

    /// Which part of each interval it is asked in: always the same, and another than others.
    pub(super) fn offset(&self, interval: Duration) -> Duration {
        let [a, b, c, d, ..] = *blake3::hash(self.base.as_bytes()).as_bytes();
        interval.mul_f64(f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX))
    }
}

/// What is remembered of a target between scrapes.
#[derive(Debug, Default)]
pub(super) struct Memory {
    of: Vec<(&'static str, Look)>,
}

#[derive(Debug, Default)]
struct Look {
    at_ms: u64,
    totals: Totals,
    /// Given back with it.
    _room: Remembered,
}

/// Stacks that are counted as remembered, until they are dropped.
#[derive(Debug, Default)]
struct Remembered(usize);

static REMEMBERED: AtomicUsize = AtomicUsize::new(0);

impl Remembered {
    fn hold(rows: usize) -> Option<Self> {
        let all = REMEMBERED.fetch_add(rows, Ordering::Relaxed) + rows;
        let held = Self(rows);
        (all <= REMEMBERED_MAX).then_some(held)
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        REMEMBERED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// What came of one scrape.
#[derive(Debug, Default)]
pub(super) struct Scraped {
    /// Which profiles are not stored, and why.
    pub(super) problems: Vec<String>,
    /// Its process began anew since the last scrape.
    pub(super) is_restarted: bool,
}

/// Fetches and stores all profiles of a target, one after the other. What measures does so until shortly before `time` is over.
pub(super) async fn scrape(
    state: &AppState,
    client: &Client,
    job: &Job,
    target: &Target,
    memory: &mut Memory,
    time: Duration,
) -> Scraped {
    let end = task_instant() + time;
    let mut scraped = Scraped::default();
    for profile in &job.profiles {
        let left = end.saturating_duration_since(task_instant());
        let seconds = profile.measures.then(|| left.as_secs().saturating_sub(1).max(1));
        match one(state, client, (job, target), profile, seconds, memory).await {
            Ok(is_restarted) => scraped.is_restarted |= is_restarted,
            Err(why) => scraped.problems.push(format!("{}: {why}", profile.path)),
        }
    }
    scraped
}

async fn one(
    state: &AppState,
    client: &Client,
    (job, target): (&Job, &Target),
    profile: &Profile,
    seconds: Option<u64>,
    memory: &mut Memory,
) -> Result<bool, String> {
    let (query, time) = match seconds {
        Some(seconds) => (format!("?seconds={seconds}"), job.timeout + Duration::from_secs(seconds)),
        None => (String::new(), job.timeout),
    };
    let began_ms = now_ms();
    let (body, _held) = client.get(&format!("{}{}{query}", target.base, profile.path), time).await?;
    let ended_ms = now_ms().max(began_ms + 1);
    let before = memory.take(profile.name, ended_ms);
    // What is read is compared with what was known, and known only once it is stored: until then more is added.
    let totals = before.totals.clone();
    let times = match seconds {
        Some(seconds) => Times::Measured { began_ms, seconds },
        None if before.at_ms > 0 => Times::Between { from_ms: before.at_ms, until_ms: ended_ms },
        None => Times::Between { from_ms: ended_ms - job.interval.as_millis() as u64, until_ms: ended_ms },
    };
    let retention_ms = state.store.options().retention.as_millis() as u64;
    let (origin, name) = (target.origin.clone(), profile.name);
    let read = move || read(&body, name, &origin, &totals, times, retention_ms);
    match state.ingest.append_profile(read).await {
        Ok((_, looked)) => {
            let is_restarted = looked.is_restarted;
            drop(before);
            let rows = looked.totals.rows();
            let Some(room) = Remembered::hold(rows) else {
                return Err(format!(
                    "its {rows} stacks are not remembered, so that what is added next is not known: {REMEMBERED_MAX} are, of all targets"
                ));
            };
            memory.keep(profile.name, Look { at_ms: ended_ms, totals: looked.totals, _room: room });
            Ok(is_restarted)
        }
        Err(error) => {
            memory.keep(profile.name, before);
            Err(error.to_string())
        }
    }
}

/// For which time a profile counts.
#[derive(Debug, Clone, Copy)]
enum Times {
    Measured { began_ms: u64, seconds: u64 },
    Between { from_ms: u64, until_ms: u64 },
}

/// What is to be stored of a body. Blocks.
fn read(
    body: &[u8],
    name: &str,
    origin: &Origin,
    before: &Totals,
    times: Times,
    retention_ms: u64,
) -> Result<(Windows, Looked), ApiError> {
    let mut imported = decode(body)?;
    types::name_types(&mut imported.payload, name);
    let looked = added_since(before, &mut imported.payload, |name| SINCE_START.contains(&name));
    if imported.payload.series.is_empty() {
        return Ok((Windows::new(), looked));
    }
    // Its clock may be another than ours.
    let said = match times {
        Times::Measured { began_ms, seconds } => Said {
            at_ms: Some(began_ms),
            duration_ms: (imported.duration_nanos == 0).then_some(seconds * 1_000),
            own_duration_ns: imported.duration_nanos,
            ..Said::default()
        },
        Times::Between { from_ms, until_ms } => {
            Said { at_ms: Some(from_ms), duration_ms: Some(until_ms - from_ms), ..Said::default() }
        }
    };
    let windows = origin.windows(imported.payload, said, now_ms(), retention_ms)?.0.collect();
    Ok((windows, looked))
}

impl Memory {
    /// What was known of a profile, if that is not too long ago.
    fn take(&mut self, profile: &str, now_ms: u64) -> Look {
        let at = self.of.iter().position(|(name, _)| *name == profile);
        let look = at.map(|at| self.of.swap_remove(at).1).unwrap_or_default();
        if look.at_ms < now_ms && now_ms - look.at_ms < PROFILE_MS_MAX { look } else { Look::default() }
    }

    fn keep(&mut self, profile: &'static str, look: Look) {
        self.of.push((profile, look));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::config::Config;
    use super::*;

    fn job(more: &str) -> Job {
        let text = format!("scrape_configs:\n  - job_name: shop\n    static_configs: [{{targets: [a:1]}}]\n{more}");
        Config::parse(&text, Path::new("")).unwrap().jobs.remove(0)
    }

    #[test]
    fn rules_say_where_a_target_is_and_whose_it_is() {
        let more = "    profiling_config: {path_prefix: /admin/}\n    relabel_configs:\n      \
            - {source_labels: [__meta_port], target_label: __address__, regex: (.+), replacement: 'b:$1'}\n      \
            - {source_labels: [pod], target_label: service_name, regex: '(.+)-\\d'}\n";
        let labels = Labels::from([("pod".into(), "cart-1".into()), ("__meta_port".into(), "7".into())]);
        let (labels, target) = Target::of(&job(more), "a:1", &labels).unwrap().unwrap();
        assert_eq!((target.base.as_str(), target.origin.service.as_str()), ("http://b:7/admin", "cart"));
        assert_eq!((target.origin.instance.as_str(), labels["instance"].as_str()), ("b:7", "b:7"));
        assert!(
            target.origin.labels.iter().any(|label| (label.name.as_str(), label.value.as_str()) == ("job", "shop"))
        );
        let (_, plain) = Target::of(&job(""), "a:1", &Labels::new()).unwrap().unwrap();
        assert_eq!((plain.base.as_str(), plain.origin.service.as_str()), ("http://a:1", "shop"));
        for (rule, is_left_out) in [
            ("{action: drop, source_labels: [job], regex: shop}", true),
            ("{target_label: __address__, replacement: 'a/b'}", false),
            ("{target_label: __scheme__, replacement: 'file'}", false),
            ("{target_label: __address__, replacement: ''}", false),
        ] {
            let job = job(&format!("    relabel_configs: [{rule}]\n"));
            assert_eq!(Target::of(&job, "a:1", &Labels::new()).is_ok(), is_left_out, "{rule}");
        }
    }

    #[test]
    fn each_target_has_its_part_of_the_interval() {
        let interval = Duration::from_secs(15);
        let of = |address: &str| {
            Target::of(&job(""), address, &Labels::new()).unwrap().unwrap().1.offset(interval).as_secs_f64()
        };
        let offsets: Vec<f64> = (0..100).map(|i| of(&format!("a:{}", i + 1))).collect();
        assert!(offsets.iter().all(|offset| (0.0..=15.0).contains(offset)));
        assert!(offsets.iter().filter(|offset| **offset < 7.5).count() > 25 && of("a:1") == of("a:1"));
    }
}
