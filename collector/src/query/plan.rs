//! What a query needs: from the catalog, the footers of arrived segments and the small tables of compacted ones, before any
//! samples are opened.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use tephra_proto::ids::TraceId;
use tephra_proto::v1;

use super::cancel::Cancel;
use super::cover::Piece;
use super::merge::{Sources, same_measure};
use super::slices::Span;
use super::{QueryError, QueryLimits, Selection};
use crate::profile::decode::{Header, Series, Window};
use crate::profile::model::{Kind, ProfileType};
use crate::store::Store;
use crate::store::catalog::{LevelSegment, SegmentRow};
use crate::store::columnar::schema::Table;
use crate::store::columnar::{Dictionary, Segment};
use crate::store::compact::levels::Level;
use crate::store::segment::{BatchInfo, Footer, TypeSum, trace_key};

/// Resource labels as (name, value).
pub(super) type Labels = Arc<[(String, String)]>;

/// One window that arrived and was not compacted yet.
#[derive(Debug, Clone)]
pub(super) struct Pick {
    pub(super) segment: Arc<SegmentRow>,
    footer: Arc<Footer>,
    pub(super) number: usize,
}

impl Pick {
    pub(super) fn info(&self) -> &BatchInfo {
        static NOTHING: std::sync::LazyLock<BatchInfo> = std::sync::LazyLock::new(BatchInfo::default);
        self.footer.batches.get(self.number).unwrap_or(&NOTHING)
    }

    /// Whether it has samples of the type.
    fn carries(&self, profile_type: &ProfileType) -> bool {
        self.info().types.iter().any(|sum| sum.read_type().is_some_and(|found| same_measure(&found, profile_type)))
    }
}

/// One part of a compacted segment, and the pieces of the range it is read for.
#[derive(Debug, Clone)]
pub(super) struct PartPick {
    pub(super) row: Arc<LevelSegment>,
    pub(super) segment: Segment,
    pub(super) part: usize,
    pub(super) pieces: Arc<[Piece]>,
}

impl PartPick {
    /// True when windows that start at `start_ms` are read from here.
    pub(super) fn wants(&self, start_ms: u64) -> bool {
        let at = self.pieces.partition_point(|piece| piece.range.until_ms <= start_ms);
        self.pieces.get(at).is_some_and(|piece| piece.range.contains(start_ms))
    }

    /// First and last moment of what is read from here.
    pub(super) fn bounds(&self) -> (u64, u64) {
        let first = self.pieces.first().map_or(0, |piece| piece.range.from_ms);
        (first, self.pieces.last().map_or(0, |piece| piece.range.until_ms))
    }

    /// Its dictionaries; `stacks` false: only its series.
    pub(super) fn dictionary(&self, store: &Store, stacks: bool) -> Result<Option<Arc<Dictionary>>, QueryError> {
        Ok(store.dictionary(&self.row.segment.id, &self.segment, self.part, stacks)?)
    }
}

/// A stretch of time in which one instance sent windows.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) service: Arc<str>,
    /// Start of the window it was added up to, and its length.
    pub(super) window_ms: u64,
    pub(super) window_len_ms: u32,
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
    pub(super) windows: u64,
    pub(super) instance: Arc<str>,
    pub(super) labels: Labels,
    pub(super) types: Arc<[ProfileType]>,
}

impl Received {
    pub(super) fn span(&self) -> Span {
        Span {
            window_ms: self.window_ms,
            window_len_ms: self.window_len_ms,
            start_ms: self.from_ms,
            end_ms: self.until_ms,
        }
    }
}

/// A sum of one type, of one window and one combination of labels.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) service: Arc<str>,
    pub(super) window_ms: u64,
    /// Empty once instances are folded.
    pub(super) instance: Arc<str>,
    pub(super) labels: Labels,
    /// Counters: the sum. Gauges: times the milliseconds of the window.
    pub(super) value: u128,
}

/// Everything that may hold what is asked for.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) picks: Vec<Pick>,
    pub(super) parts: Vec<PartPick>,
    pub(super) received: Vec<Received>,
}

/// What is wanted of the segments.
pub(super) struct Wanted<'a> {
    /// One service, or all.
    pub(super) service: Option<&'a str>,
    pub(super) labels: &'a [(String, String)],
    /// Names of labels that single samples have: whole windows are not chosen by them.
    pub(super) sample_labels: &'a BTreeSet<String>,
    pub(super) pieces: &'a [Piece],
}

/// Windows and parts of the segments that start in the pieces and that are wanted.
pub(super) fn gather(
    store: &Store,
    segments: &[LevelSegment],
    wanted: &Wanted<'_>,
    tables: &[Table],
    limits: &QueryLimits,
    cancel: &Cancel,
) -> Result<Gathered, QueryError> {
    let mut gathered = Gathered::default();
    let labels = Matcher::new(wanted.labels).without(wanted.sample_labels);
    let mut found = 0;
    let mut names = Names::default();
    for row in segments {
        cancel.check()?;
        let pieces: Arc<[Piece]> =
            wanted.pieces.iter().filter(|piece| piece.reads(row.segment.level, row.rolled)).copied().collect();
        if pieces.is_empty() {
            continue;
        }
        let counts = |service: &str| {
            wanted.service.is_none_or(|only| only == service) && row.services.iter().any(|name| name == service)
        };
        if row.segment.level == 0 {
            let Some(footer) = store.footer(&row.segment)? else { continue };
            let segment = Arc::new(row.segment.clone());
            for (number, info) in footer.batches.iter().enumerate() {
                let inside = pieces.iter().any(|piece| piece.range.contains(info.start_ms));
                if inside && counts(&info.service) && labels.info(info) {
                    found += 1;
                    if found <= limits.windows_max {
                        gathered.picks.push(Pick { segment: segment.clone(), footer: footer.clone(), number });
                        gathered.received.push(names.received(info));
                    }
                }
            }
            continue;
        }
        let Some(segment) = store.columnar(row, tables)? else { continue };
        let row = Arc::new(row.clone());
        for (part, service) in segment.services().iter().enumerate().filter(|(_, service)| counts(service)) {
            cancel.check()?;
            let pick = PartPick { row: row.clone(), segment: segment.clone(), part, pieces: pieces.clone() };
            let (from_ms, until_ms) = pick.bounds();
            let read = segment.windows(store.bulk().as_ref(), part, &(from_ms..until_ms));
            let Some(windows) = store.checked(&row.segment.id, read)? else { break };
            let service = names.text(service);
            let before = gathered.received.len();
            for window in windows {
                if pick.wants(window.window_ms) && labels.matches(&window.instance, &window.labels) {
                    gathered.received.push(Received {
                        service: service.clone(),
                        window_ms: window.window_ms,
                        window_len_ms: window.window_len_ms,
                        from_ms: window.from_ms,
                        until_ms: window.until_ms,
                        windows: u64::from(window.windows),
                        instance: window.instance,
                        labels: window.labels,
                        types: window.types,
                    });
                }
            }
            if gathered.received.len() > before {
                gathered.parts.push(pick);
            }
        }
    }
    if found > limits.windows_max {
        return Err(QueryError::TooManyWindows { found, limit: limits.windows_max });
    }
    Ok(gathered)
}

/// Shares equal names of arrived windows.
#[derive(Default)]
struct Names {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Labels>,
    types: std::collections::HashMap<Vec<ProfileType>, Arc<[ProfileType]>>,
}

impl Names {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(shared.clone());
        shared
    }

    /// By name.
    fn labels<'a>(&mut self, labels: impl Iterator<Item = &'a v1::Label>) -> Labels {
        let mut labels: Vec<_> = labels.map(|label| (label.name.clone(), label.value.clone())).collect();
        labels.sort_unstable();
        if let Some(known) = self.labels.get(labels.as_slice()) {
            return known.clone();
        }
        let labels = Labels::from(labels);
        self.labels.insert(labels.clone());
        labels
    }

    fn received(&mut self, info: &BatchInfo) -> Received {
        let labels = self.labels(info.labels.iter());
        let mut types: Vec<ProfileType> = info.types.iter().filter_map(TypeSum::read_type).collect();
        types.dedup();
        let types = self.types.entry(types).or_insert_with_key(|types| types.as_slice().into()).clone();
        Received {
            service: self.text(&info.service),
            window_ms: info.start_ms,
            window_len_ms: info.duration_ms,
            from_ms: info.start_ms,
            until_ms: info.start_ms + u64::from(info.duration_ms),
            windows: 1,
            instance: self.text(&info.instance),
            labels,
            types,
        }
    }
}

/// Label filters: all names must match; several values of one name mean any of them.
pub(super) struct Matcher<'a> {
    wanted: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(labels: &'a [(String, String)]) -> Self {
        let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in labels {
            wanted.entry(name).or_default().push(value);
        }
        Self { wanted }
    }

    pub(super) fn matches(&self, instance: &str, labels: &[(String, String)]) -> bool {
        self.wanted.iter().all(|(name, values)| values.contains(&label(instance, labels, name)))
    }

    /// The same without these names.
    fn without(mut self, names: &BTreeSet<String>) -> Self {
        self.wanted.retain(|name, _| !names.contains(*name));
        self
    }

    fn info(&self, info: &BatchInfo) -> bool {
        self.every(|name| match name {
            "instance" => Some(&info.instance),
            _ => value_of(&info.labels, name),
        })
    }

    /// A sum of an arrived window.
    fn sum(&self, info: &BatchInfo, sum: &TypeSum) -> bool {
        self.every(|name| match name {
            "instance" => Some(&info.instance),
            _ => value_of(&info.labels, name).or_else(|| value_of(&sum.labels, name)),
        })
    }

    /// A series of a window.
    pub(super) fn series(&self, header: &Header, series: &Series) -> bool {
        self.every(|name| match name {
            "instance" => Some(header.instance.as_str()),
            _ => {
                let of_window = header.labels.iter().map(|(name, value)| (&**name, &**value));
                let own = series.labels.iter().map(|(name, value)| (&**name, &**value));
                of_window.chain(own).find(|(known, _)| *known == name).map(|(_, value)| value)
            }
        })
    }

    fn every<'b>(&self, value: impl Fn(&str) -> Option<&'b str>) -> bool {
        self.wanted.iter().all(|(name, values)| values.contains(&value(name).unwrap_or_default()))
    }
}

fn value_of<'a>(labels: &'a [v1::Label], name: &str) -> Option<&'a str> {
    labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
}

/// A window's value of a label; empty where it has none.
pub(super) fn label<'a>(instance: &'a str, labels: &'a [(String, String)], name: &str) -> &'a str {
    if name == "instance" {
        return instance;
    }
    labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
}

/// What a selection is about.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the type is, by the newest window that carries it.
    pub(super) profile_type: ProfileType,
    /// What was received of all instances that sent the type in this range: it counts as covered time. A window without a series
    /// of the type then means that nothing was sampled, not that nobody looked.
    pub(super) covering: Vec<Received>,
    /// Arrived windows that carry the type: the ones to open.
    pub(super) carriers: Vec<Pick>,
    /// Parts of compacted segments to read.
    pub(super) parts: Vec<PartPick>,
    /// Windows that match everything but the type.
    pub(super) windows_in_range: u64,
    /// Instances were asked for where they are no longer kept.
    pub(super) misses_instances: bool,
    /// Names of labels that single samples have.
    pub(super) sample_labels: BTreeSet<String>,
}

impl Plan {
    /// `fallback` is the type as the catalog knows it, for ranges without it.
    pub(super) fn new(gathered: Gathered, selection: &Selection, fallback: ProfileType) -> Self {
        let Gathered { picks, parts, received } = gathered;
        let windows_in_range = received.iter().map(|received| received.windows).sum();
        let profile_type = newest_type(&received, &selection.profile_type).unwrap_or(fallback);
        let carries = |received: &Received| received.types.iter().any(|found| same_measure(found, &profile_type));
        let senders: HashSet<Arc<str>> =
            received.iter().filter(|received| carries(received)).map(|received| received.instance.clone()).collect();
        let carriers = picks.into_iter().filter(|pick| pick.carries(&profile_type)).collect();
        // A window that has the type in another measure says nothing of this one.
        let is_silent = |received: &Received| {
            !carries(received) && received.types.iter().any(|found| found.name == profile_type.name)
        };
        let covers = |received: &Received| senders.contains(&received.instance) && !is_silent(received);
        let covering = received.into_iter().filter(covers).collect();
        Self {
            profile_type,
            covering,
            carriers,
            parts,
            windows_in_range,
            misses_instances: false,
            sample_labels: BTreeSet::new(),
        }
    }

    /// Leaves only the arrived windows that may hold the trace to be opened.
    pub(super) fn narrow_to_trace(&mut self, store: &Store, trace: TraceId, cancel: &Cancel) -> Result<(), QueryError> {
        let mut holders = HashSet::new();
        let mut asked = HashSet::new();
        for pick in &self.carriers {
            if asked.insert(pick.segment.id.clone()) {
                cancel.check()?;
                if let Some(index) = store.trace_index(&pick.segment)? {
                    holders.extend(index.find(trace_key(&trace)).map(|number| (pick.segment.id.clone(), number)));
                }
            }
        }
        self.carriers.retain(|pick| holders.contains(&(pick.segment.id.clone(), pick.number)));
        self.parts.clear();
        Ok(())
    }

    /// Opens the arrived windows.
    pub(super) fn open_carriers(
        &self,
        store: &Store,
        windows: &mut Vec<Arc<Window>>,
        cancel: &Cancel,
    ) -> Result<(), QueryError> {
        for pick in &self.carriers {
            cancel.check()?;
            windows.extend(store.window(&pick.segment, pick.info())?);
        }
        Ok(())
    }

    /// Length of the longest windows that others were added up to; 0 where all are as they arrived.
    pub(super) fn coarsest_ms(&self) -> u64 {
        let levels = self.parts.iter().filter_map(|part| Level::of(part.row.segment.level));
        levels.filter(|level| level.number > 1).map(|level| u64::from(level.window_ms)).max().unwrap_or(0)
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        self.covering.iter().map(Received::span).collect()
    }

    pub(super) fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        let mut labels: HashSet<&Labels> = HashSet::new();
        for received in &self.covering {
            sources.windows += received.windows;
            if !sources.instances.contains(&*received.instance) {
                sources.instances.insert(received.instance.to_string());
            }
            labels.insert(&received.labels);
        }
        sources.labels = labels.into_iter().flat_map(|labels| labels.iter().cloned()).collect::<BTreeSet<_>>();
        sources
    }

    /// Why there is nothing, as a sentence.
    pub(super) fn why_empty(&self, selection: &Selection) -> String {
        let (service, name) = (&selection.service, &selection.profile_type);
        if self.windows_in_range == 0 {
            return if selection.labels.is_empty() {
                format!("{service} sent nothing in this range")
            } else {
                format!("{service} sent nothing with these labels in this range")
            };
        }
        if self.covering.is_empty() {
            return format!("{service} sent {} windows in this range, none of them with {name}", self.windows_in_range);
        }
        if selection.labels.iter().any(|(name, _)| self.sample_labels.contains(name)) {
            return format!("no {name} sample of {service} in this range has these labels");
        }
        match selection.trace {
            Some(trace) => format!("no {name} sample of {service} in this range carries trace {trace}"),
            None if self.misses_instances => {
                format!("samples of {service} this old are kept without their instance: leave it out of the selection")
            }
            None => format!("{service} was up, but nothing was sampled for {name} in this range"),
        }
    }

    /// Sums of the type, by window and labels; nothing is read but small tables.
    pub(super) fn measured(
        &self,
        store: &Store,
        labels: &[(String, String)],
        cancel: &Cancel,
    ) -> Result<Vec<Measured>, QueryError> {
        let is_wanted = |found: &ProfileType| same_measure(found, &self.profile_type);
        sums(store, &self.carriers, &self.parts, labels, is_wanted, cancel)
    }

    /// What one trace contributed to a window, by labels.
    pub(super) fn measure<'a>(
        &'a self,
        window: &'a Window,
        labels: &'a [(String, String)],
        trace: TraceId,
    ) -> impl Iterator<Item = Measured> + 'a {
        let header = &window.header;
        let matcher = Matcher::new(labels);
        let wanted = move |series: &&Series| {
            same_measure(&series.profile_type, &self.profile_type) && matcher.series(header, series)
        };
        let of_trace = move |link: Option<u32>| {
            link.and_then(|link| window.links.get(link as usize)).is_some_and(|link| link.trace_id == trace)
        };
        window.series.iter().filter(wanted).filter_map(move |series| {
            let value = series.rows.iter().filter(|row| of_trace(row.link)).map(|row| row.value).sum();
            (value > 0).then(|| Measured {
                service: header.service.as_str().into(),
                window_ms: header.start_ms,
                instance: header.instance.as_str().into(),
                labels: series.all_labels(header).into(),
                value: weighted(&self.profile_type, value, header.duration_ms),
            })
        })
    }
}

impl Gathered {
    /// Sums of a type, by service, window and labels.
    pub(super) fn sums(
        &self,
        store: &Store,
        is_wanted: impl Fn(&ProfileType) -> bool,
        cancel: &Cancel,
    ) -> Result<Vec<Measured>, QueryError> {
        sums(store, &self.picks, &self.parts, &[], is_wanted, cancel)
    }
}

/// Counters as they are, gauges times milliseconds.
fn weighted(profile_type: &ProfileType, value: u64, duration_ms: u32) -> u128 {
    match profile_type.kind {
        Kind::Counter => u128::from(value),
        Kind::Gauge => u128::from(value) * u128::from(duration_ms),
    }
}

/// Sums of types that are wanted; nothing is read but footers and small tables.
fn sums(
    store: &Store,
    picks: &[Pick],
    parts: &[PartPick],
    labels: &[(String, String)],
    is_wanted: impl Fn(&ProfileType) -> bool,
    cancel: &Cancel,
) -> Result<Vec<Measured>, QueryError> {
    let mut names = Names::default();
    let mut all = Vec::new();
    let matcher = Matcher::new(labels);
    for pick in picks {
        let info = pick.info();
        for sum in info.types.iter().filter(|sum| matcher.sum(info, sum)) {
            let Some(found) = sum.read_type().filter(&is_wanted) else { continue };
            all.push(Measured {
                service: names.text(&info.service),
                window_ms: info.start_ms,
                instance: names.text(&info.instance),
                labels: names.labels(info.labels.iter().chain(&sum.labels)),
                value: weighted(&found, sum.total, info.duration_ms),
            });
        }
    }
    for part in parts {
        cancel.check()?;
        measure_part(store, part, labels, &is_wanted, &mut all)?;
    }
    Ok(all)
}

/// Sums of a compacted part.
fn measure_part(
    store: &Store,
    part: &PartPick,
    labels: &[(String, String)],
    is_wanted: impl Fn(&ProfileType) -> bool,
    into: &mut Vec<Measured>,
) -> Result<(), QueryError> {
    let matcher = Matcher::new(labels);
    let Some(dictionary) = part.dictionary(store, false)? else { return Ok(()) };
    let (from_ms, until_ms) = part.bounds();
    let read = part.segment.totals(store.bulk().as_ref(), part.part, &dictionary, &(from_ms..until_ms));
    let Some(totals) = store.checked(&part.row.segment.id, read)? else { return Ok(()) };
    let service: Arc<str> = part.segment.services().get(part.part).map_or("", String::as_str).into();
    let wanted: Vec<bool> = dictionary
        .series
        .iter()
        .map(|series| is_wanted(&series.profile_type) && matcher.matches(&series.instance, &series.labels))
        .collect();
    for total in totals {
        let Some(series) = dictionary.series.get(total.series as usize) else { continue };
        if wanted.get(total.series as usize) == Some(&true) && part.wants(total.window_ms) {
            into.push(Measured {
                service: service.clone(),
                window_ms: total.window_ms,
                instance: series.instance.clone(),
                labels: series.labels.clone(),
                value: u128::from(total.value),
            });
        }
    }
    Ok(())
}

/// A type may change its unit or kind when a service changes its agent: the newest says what is asked for. Ties go to the larger
/// unit name, so that the answer never depends on order.
fn newest_type(received: &[Received], name: &str) -> Option<ProfileType> {
    let candidates = received.iter().flat_map(|received| {
        received.types.iter().filter(|found| found.name == name).map(|found| (received.window_ms, found))
    });
    let newest = candidates.max_by(|(a_ms, a), (b_ms, b)| {
        (a_ms, &a.unit, a.kind == Kind::Gauge, a.period).cmp(&(b_ms, &b.unit, b.kind == Kind::Gauge, b.period))
    });
    newest.map(|(_, found)| found.clone())
}
