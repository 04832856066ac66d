//! Builds a catalog from the segments alone, by what they say of themselves. Nothing is deleted: what is not listed afterwards is set
//! aside, and the catalog that was there stays beside the new one.
#![expect(clippy::disallowed_methods, reason = "catalogs are files, and change places by their names")]

mod choose;
mod names;
mod survey;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tephra_proto::ids::TraceId;

use super::adopt::read_windows;
use super::arrived::{self, AgentKey};
use super::bulk::{Bulk, ObjectInfo};
use super::catalog::{
    Accounting, AgentUpdate, Catalog, Contents, Counters, NewSegment, SegmentRow, SequenceState, ServicePart,
    TableObject,
};
use super::compact::levels::{LEVELS, TRACES};
use super::disk::RealDisk;
use super::identity::{Agents, Content, FOOTER, SegmentFooter, key_block};
use super::place::{self, CATALOG, Place};
use super::ranges::Ranges;
use super::segment::{self, Footer, Origin, PackedWindow, SegmentError, WindowInfo};
use super::tombstones::{Tombstone, What};
use super::{StoreError, folder, progress};
use crate::base::clock::{now_ms, now_s};
use crate::base::ids::{hex, unique_bytes};
use crate::profile::decode::WindowId;
use choose::Chosen;
use survey::{Finished, Survey};

/// What was found, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The id of the store.
    pub store: String,
    /// Segments listed that hold windows as they arrived.
    pub arrived: u64,
    /// Compacted segments listed.
    pub compacted: u64,
    /// Windows that count.
    pub windows: u64,
    /// Services.
    pub services: u64,
    /// Agents whose windows are recognised when they are sent again.
    pub agents: u64,
    /// Deletions that were heeded.
    pub deletions: u64,
    /// Segments that were not listed because others hold the same.
    pub replaced: u64,
    /// Objects set aside.
    pub aside: u64,
    /// The catalog that was there, under its name now.
    pub kept: Option<PathBuf>,
    /// What could not be known, a sentence each.
    pub unknown: Vec<String>,
}

/// Builds the catalog of a place that no collector is using.
///
/// # Errors
/// When the place cannot be used, holds no segment that says whose it is, or has a database that is in use. Then nothing was changed.
pub async fn repair(place: &Place) -> Result<Report, StoreError> {
    let _lock = place::take_folder(place.data())?;
    match place {
        Place::Folder(data) => repair_folder(data).await,
        Place::Shared { .. } => repair_shared(place).await,
    }
}

async fn repair_folder(data: &Path) -> Result<Report, StoreError> {
    let bulk: Arc<dyn Bulk> = Arc::new(super::bulk::Folder::open(&data.join("segments"))?);
    let refused = |problem: String| StoreError::Folder { path: data.to_owned(), problem };
    let found = Found::gather(bulk.clone(), None).await?.map_err(refused)?;
    // Built under another name: until it is complete, what was there stays in its place.
    let fresh = data.join("catalog.repair.sqlite");
    for suffix in SUFFIXES {
        let _ = fs::remove_file(beside(&fresh, suffix));
    }
    let catalog = Catalog::connect_file(&fresh, None).await?;
    let mut report = found.fill(&catalog).await?;
    catalog.close().await;
    report.kept = put_in_place(data, &fresh).map_err(|e| {
        refused(format!("the new catalog could not be put in its place ({e}): run `tephra repair` again"))
    })?;
    folder::sync(&RealDisk, data)?;
    report.aside = found.set_aside(&bulk).await?;
    Ok(report)
}

/// The files of a SQLite database.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Gives the new catalog its name, and what had it another one. Answers which.
fn put_in_place(data: &Path, fresh: &Path) -> std::io::Result<Option<PathBuf>> {
    let catalog = data.join(CATALOG);
    let kept = data.join(format!("{CATALOG}.before-repair-{}", now_s()));
    let had = catalog.exists();
    // The log first: beside another database it would be taken for its log.
    for suffix in SUFFIXES.iter().rev() {
        let from = beside(&catalog, suffix);
        if from.exists() {
            fs::rename(from, beside(&kept, suffix))?;
        }
    }
    fs::rename(fresh, &catalog)?;
    Ok(had.then_some(kept))
}

async fn repair_shared(place: &Place) -> Result<Report, StoreError> {
    let Place::Shared { catalog: postgres, bucket, .. } = place else { return Ok(Report::default()) };
    let refused = |problem: String| StoreError::Place { place: bucket.to_string(), problem };
    let catalog = Catalog::connect(&postgres.location()).await?;
    if !catalog.is_empty().await? {
        let problem =
            "it lists segments already: give `tephra repair` an empty database with --catalog, and keep this one"
                .to_owned();
        return Err(StoreError::Place { place: postgres.to_string(), problem });
    }
    let bucket = super::bucket::Bucket::open(bucket, "segments", 64 << 20)?;
    let bulk: Arc<dyn Bulk> = Arc::new(bucket.clone());
    let marker = bucket.beside("");
    let marked = tokio::task::spawn_blocking(move || marker.get(place::MARKER)).await?.ok();
    let marked = marked.and_then(|id| String::from_utf8(id).ok());
    let mut found = Found::gather(bulk.clone(), marked).await?.map_err(refused)?;
    let noted = tokio::task::spawn_blocking(move || progress::noted(&bucket)).await??.unwrap_or_default();
    let counters = &mut found.contents.counters;
    counters.commits = counters.commits.max(noted.commits);
    counters.deletions = counters.deletions.max(noted.deletions);
    let mut report = found.fill(&catalog).await?;
    catalog.close().await;
    report.aside = found.set_aside(&bulk).await?;
    report.unknown.push("symbols that collectors shared: builds are asked for again".to_owned());
    Ok(report)
}

/// Everything that a new catalog is made of.
struct Found {
    contents: Contents,
    /// Objects that it lists.
    listed: HashSet<String>,
    objects: Vec<ObjectInfo>,
    report: Report,
}

impl Found {
    /// Reads all there is. The inner error is a sentence for people.
    async fn gather(bulk: Arc<dyn Bulk>, store: Option<String>) -> Result<Result<Self, String>, StoreError> {
        let gather = move || {
            let survey = Survey::of(bulk.as_ref(), store)?;
            if survey.arrived.is_empty() && survey.finished.is_empty() {
                return Ok(Err("there is no segment here that says what it is: nothing was changed".to_owned()));
            }
            Gathering::new(survey).all(bulk.as_ref()).map(Ok)
        };
        tokio::task::spawn_blocking(gather).await?
    }

    async fn fill(&self, catalog: &Catalog) -> Result<Report, StoreError> {
        catalog.fill(&self.contents, now_ms()).await?;
        let services = catalog.services().await?.len() as u64;
        Ok(Report { services, ..self.report.clone() })
    }

    /// Sets aside what is not listed. Answers how much it was.
    async fn set_aside(&self, bulk: &Arc<dyn Bulk>) -> Result<u64, StoreError> {
        let names = self.objects.iter().map(|object| object.name.clone());
        let names: Vec<String> = names.filter(|name| !self.listed.contains(name)).collect();
        let (bulk, count, now) = (bulk.clone(), names.len() as u64, now_s());
        tokio::task::spawn_blocking(move || names.iter().try_for_each(|name| bulk.set_aside(name, now))).await??;
        Ok(count)
    }
}

/// On the way to [`Found`].
struct Gathering {
    survey: Survey,
    contents: Contents,
    listed: HashSet<String>,
    agents: Agents,
    /// Those whose windows arrived lately: service and instance.
    known_agents: HashMap<AgentKey, (String, String)>,
    report: Report,
}

impl Gathering {
    fn new(survey: Survey) -> Self {
        let last = |deletion: &Tombstone| deletion.number;
        let arrived = survey.arrived.iter().map(|(_, footer, _)| footer.commit);
        let finished = survey.finished.iter().map(|finished| finished.footer.holds().last_commit());
        let begun = survey.finished.iter().map(|finished| finished.footer.deletions);
        let counters = Counters {
            commits: arrived.chain(finished).max().unwrap_or(0),
            deletions: survey.tombstones.iter().map(last).chain(begun).max().unwrap_or(0),
        };
        let contents = Contents { store: survey.store.clone(), counters, ..Contents::default() };
        let report =
            Report { store: survey.store.clone(), deletions: survey.tombstones.len() as u64, ..Report::default() };
        Self {
            survey,
            contents,
            listed: HashSet::new(),
            agents: Agents::default(),
            known_agents: HashMap::new(),
            report,
        }
    }

    fn all(mut self, bulk: &dyn Bulk) -> Result<Found, StoreError> {
        let chosen = self.choose();
        self.compacted(bulk, &chosen)?;
        self.arrived(bulk, &chosen.profiles)?;
        self.contents.agents = self.agents();
        self.contents.horizons = chosen.horizons.into_iter().collect();
        self.contents.deleted_traces = self.deleted_traces();
        self.report.agents = self.contents.agents.len() as u64;
        self.tell(chosen.in_doubt.len());
        let Self { survey, contents, listed, report, .. } = self;
        Ok(Found { contents, listed, objects: survey.objects, report })
    }

    fn choose(&mut self) -> Chosen {
        let (mut profiles, mut traces) = (Content::default(), Content::default());
        for (object, footer, _) in &self.survey.arrived {
            profiles.add(&Content::of_arrived(&object.name, footer, LEVELS[0].number));
            traces.add(&Content::of_arrived(&object.name, footer, TRACES));
        }
        let footers: Vec<&SegmentFooter> = self.survey.finished.iter().map(|finished| &finished.footer).collect();
        let chosen = choose::choose(&footers, (&profiles, &traces));
        self.report.replaced += chosen.replaced.len() as u64;
        chosen
    }

    /// Lists compacted segments.
    fn compacted(&mut self, bulk: &dyn Bulk, chosen: &Chosen) -> Result<(), StoreError> {
        for (at, rolled) in &chosen.listed {
            let Some(Finished { footer, bytes, crc }) = self.survey.finished.get(*at) else { continue };
            self.agents.add(&footer.agents);
            let later = |deletion: &&Tombstone| deletion.number > footer.deletions;
            let deletions: Vec<&What> = self.survey.tombstones.iter().filter(later).map(|later| &later.what).collect();
            let gone = |service: &str| {
                deletions.iter().any(|what| matches!(what, What::Service { name, .. } if name == service))
            };
            let services: Vec<ServicePart> =
                footer.services.iter().filter(|part| !gone(&part.service)).map(|part| part.clone().into()).collect();
            if services.is_empty() {
                continue;
            }
            let of_traces = footer.level == TRACES && deletions.iter().any(|what| matches!(what, What::Trace { .. }));
            let dirty = of_traces || services.len() < footer.services.len();
            let mut tables: Vec<TableObject> = footer.tables.iter().cloned().map(TableObject::from).collect();
            let object = footer.segment.clone();
            tables.push(TableObject { name: FOOTER.to_owned(), object, bytes: *bytes, data_bytes: 0, crc: *crc });
            let segment = SegmentRow {
                id: footer.segment.clone(),
                level: footer.level,
                min_ms: footer.min_ms,
                max_ms: footer.max_ms,
                bytes: tables.iter().map(|table| table.bytes).sum(),
                crc: 0,
                windows: services.iter().map(|part| part.windows).sum(),
                samples: footer.samples,
                traces: footer.traces,
            };
            if let Some(named) = names::of(bulk, footer)? {
                self.contents.names.extend(named.into_iter().filter(|span| !gone(&span.service)));
            }
            self.listed.extend(tables.iter().map(|table| table.object.clone()));
            self.report.compacted += 1;
            self.report.windows += if *rolled { 0 } else { segment.windows };
            self.contents.compacted.push((NewSegment { segment, rolled: *rolled, tables, services }, dirty));
        }
        Ok(())
    }

    /// Lists arrived segments, as far as no compacted one holds their windows, and no earlier one either: a window that was sent again
    /// after a kill may be in two.
    fn arrived(&mut self, bulk: &dyn Bulk, compacted: &Content) -> Result<(), StoreError> {
        for (object, footer, crc) in std::mem::take(&mut self.survey.arrived) {
            let holds = Content::of_arrived(&object.name, &footer, LEVELS[0].number);
            let lacking: HashSet<u64> = compacted.lacking(&holds).into_iter().collect();
            let is_wanted = |info: &WindowInfo| {
                lacking.contains(&key_block(LEVELS[0].number, info.start_ms)) && !self.is_deleted(&footer, info)
            };
            let mut wanted: Vec<WindowInfo> = footer.windows.iter().filter(|info| is_wanted(info)).cloned().collect();
            wanted.retain(|info| {
                info.id().is_none_or(|id| !self.agents.contains((id.agent_id, id.boot_id), id.sequence))
            });
            let says_which = wanted.iter().all(|info| info.id().is_some());
            if wanted.is_empty() {
                self.report.replaced += 1;
            } else if wanted.len() == footer.windows.len() && says_which {
                self.list(&object.name, &footer, object.bytes, crc);
            } else {
                self.pick(bulk, &object, &footer, crc, &wanted)?;
            }
            // Also what was deleted, and comes again.
            for id in footer.windows.iter().filter_map(WindowInfo::id) {
                self.agents.insert((id.agent_id, id.boot_id), id.sequence, footer.written_ms);
            }
        }
        Ok(())
    }

    /// Lists those of the wanted windows that were not seen before: by the segment itself where that is all it has, else by a new one.
    fn pick(
        &mut self,
        bulk: &dyn Bulk,
        object: &ObjectInfo,
        footer: &Footer,
        crc: u32,
        wanted: &[WindowInfo],
    ) -> Result<(), StoreError> {
        let mut fresh = match read_windows(bulk, &object.name, wanted) {
            Ok(windows) => windows,
            Err(SegmentError::Bulk(error)) => return Err(error.into()),
            Err(SegmentError::Damaged { .. }) => Vec::new(),
        };
        fresh.retain(|window| {
            let key = (window.id.agent_id, window.id.boot_id);
            let is_new = !self.agents.contains(key, window.id.sequence);
            let end_ms = window.packed.info.start_ms + u64::from(window.packed.info.duration_ms);
            self.agents.insert(key, window.id.sequence, footer.written_ms.max(end_ms));
            is_new
        });
        if fresh.len() == footer.windows.len() {
            self.list(&object.name, footer, object.bytes, crc);
        } else if fresh.is_empty() {
            self.report.replaced += 1;
        } else {
            self.contents.counters.commits += 1;
            let packed: Vec<PackedWindow> = fresh.iter().map(|window| window.packed.clone()).collect();
            let (store, commit) = (self.contents.store.clone(), self.contents.counters.commits);
            let origin = Origin { store, commit, written_ms: now_ms() };
            let (name, encoded) = (hex(&unique_bytes()), segment::encode(&packed, origin));
            bulk.put(&name, &encoded.bytes)?;
            self.list(&name, &encoded.footer, encoded.bytes.len() as u64, encoded.crc);
        }
        Ok(())
    }

    fn list(&mut self, name: &str, footer: &Footer, bytes: u64, crc: u32) {
        let row = arrived::segment_row(name, footer, bytes, crc);
        self.report.arrived += 1;
        self.report.windows += row.windows;
        self.listed.insert(name.to_owned());
        for info in &footer.windows {
            if let Some(id) = info.id() {
                let names = (info.service.clone(), info.instance.clone());
                self.known_agents.insert((id.agent_id, id.boot_id), names);
            }
        }
        self.contents.arrived.push((row, arrived::service_spans(footer.windows.iter())));
    }

    /// True when somebody had it deleted after it was stored.
    fn is_deleted(&self, footer: &Footer, info: &WindowInfo) -> bool {
        self.survey.tombstones.iter().any(|tombstone| tombstone.took(&info.service, footer.commit))
    }

    /// Rows for the agents: sequence numbers as they are known; samples are counted anew.
    fn agents(&self) -> Vec<(AgentUpdate, u64)> {
        let update = |(key, seen_ms, sequences): (AgentKey, u64, &Ranges)| {
            let (service, instance) = self.known_agents.get(&key).cloned().unwrap_or_default();
            let id = WindowId { agent_id: key.0, boot_id: key.1, sequence: 0 };
            let sequences = SequenceState::of(sequences);
            let added = Accounting::default();
            let version = String::new();
            (AgentUpdate { id, before: None, sequences, service, instance, version, added }, seen_ms)
        };
        self.agents.iter().map(update).collect()
    }

    fn deleted_traces(&self) -> Vec<(TraceId, u64)> {
        let trace = |tombstone: &Tombstone| match &tombstone.what {
            What::Trace { id } => TraceId::parse(id).ok().map(|id| (id, tombstone.at_ms)),
            What::Service { .. } => None,
        };
        self.survey.tombstones.iter().filter_map(trace).collect()
    }

    /// Says what could not be known.
    fn tell(&mut self, in_doubt: usize) {
        let unknown = &mut self.report.unknown;
        unknown.push("events, pins, and how many samples agents had dropped: only the catalog held them".to_owned());
        let mut count = |n: usize, what: &str| {
            if n > 0 {
                unknown.push(format!("{n} {what}"));
            }
        };
        count(
            self.survey.strange,
            "objects belong to no segment that says what it is: damaged, unfinished, or compacted by a release before segments did",
        );
        count(self.survey.torn, "compacted segments miss some of their tables");
        count(in_doubt, "compacted segments hold in part what others hold: listing them would count it twice");
        count(self.survey.foreign, "segments belong to another store");
        count(self.survey.unreadable_tombstones, "notes of deletions cannot be read: what they are about may be back");
    }
}

#[cfg(test)]
mod tests;
