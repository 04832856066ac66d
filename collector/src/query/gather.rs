//! Which windows and parts of which segments may hold what is asked for: from the footers of arrived segments and the small tables of
//! compacted ones, before any samples are opened.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use tephra_proto::v1;

use super::cancel::Cancel;
use super::cover::Piece;
use super::slices::Span;
use super::{QueryError, QueryLimits};
use crate::base::labels::{Labels, Matcher};
use crate::base::range::TimeRange;
use crate::profile::model::ProfileType;
use crate::store::Store;
use crate::store::catalog::{LevelSegment, SegmentRow};
use crate::store::columnar::{Dictionary, Segment, Table};
use crate::store::segment::{Footer, TypeSum, WindowInfo};

/// One window that arrived and was not compacted yet.
#[derive(Debug, Clone)]
pub(super) struct Pick {
    pub(super) segment: Arc<SegmentRow>,
    footer: Arc<Footer>,
    pub(super) number: usize,
}

impl Pick {
    pub(super) fn info(&self) -> &WindowInfo {
        static NOTHING: LazyLock<WindowInfo> = LazyLock::new(WindowInfo::default);
        self.footer.windows.get(self.number).unwrap_or(&NOTHING)
    }

    /// Whether it has samples of the type.
    pub(super) fn carries(&self, profile_type: &ProfileType) -> bool {
        self.info().types.iter().any(|sum| sum.read_type().is_some_and(|found| found.measures_as(profile_type)))
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

    /// From the first to the last moment of what is read from here.
    pub(super) fn bounds(&self) -> TimeRange {
        let from_ms = self.pieces.first().map_or(0, |piece| piece.range.from_ms);
        TimeRange { from_ms, until_ms: self.pieces.last().map_or(0, |piece| piece.range.until_ms) }
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

/// Everything that may hold what is asked for.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) picks: Vec<Pick>,
    pub(super) parts: Vec<PartPick>,
    pub(super) received: Vec<Received>,
}

/// What of the listed segments a question needs: which windows and which parts at which level.
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
            for (number, info) in footer.windows.iter().enumerate() {
                let inside = pieces.iter().any(|piece| piece.range.contains(info.start_ms));
                if inside && counts(&info.service) && labels.matches(|name| info.label(name)) {
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
            let read = segment.windows(store.bulk().as_ref(), part, pick.bounds());
            let Some(windows) = store.checked(&row.segment.id, read)? else { break };
            let service = names.text(service);
            let before = gathered.received.len();
            for window in windows {
                if pick.wants(window.window_ms) && labels.matches(|name| window.labels.get_of(&window.instance, name)) {
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
pub(super) struct Names {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Labels>,
    types: HashMap<Vec<ProfileType>, Arc<[ProfileType]>>,
}

impl Names {
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(shared.clone());
        shared
    }

    /// By name.
    pub(super) fn labels<'a>(&mut self, labels: impl Iterator<Item = &'a v1::Label>) -> Labels {
        let labels: Labels = labels.map(|label| (label.name.as_str(), label.value.as_str())).collect();
        if let Some(known) = self.labels.get(&labels) {
            return known.clone();
        }
        self.labels.insert(labels.clone());
        labels
    }

    fn received(&mut self, info: &WindowInfo) -> Received {
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
