//! What a compacted segment names: services, types, labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::labels::INSTANCE;
use crate::base::range::TimeRange;
use crate::store::bulk::{Bulk, BulkError};
use crate::store::catalog::{ServiceSpan, TableObject};
use crate::store::columnar::{Problem, Segment, Table, TableFile};
use crate::store::identity::SegmentFooter;

/// What it names, by service; `None` when that part of it is damaged. Blocks.
pub(super) fn of(bulk: &dyn Bulk, footer: &SegmentFooter) -> Result<Option<Vec<ServiceSpan>>, BulkError> {
    match read(bulk, footer) {
        Ok(spans) => Ok(Some(spans)),
        Err(Problem::Bulk(BulkError::Missing { .. }) | Problem::Damaged { .. }) => Ok(None),
        Err(Problem::Bulk(error)) => Err(error),
    }
}

fn read(bulk: &dyn Bulk, footer: &SegmentFooter) -> Result<Vec<ServiceSpan>, Problem> {
    let mut files = Vec::new();
    for table in [Table::Windows, Table::Series] {
        if let Some(entry) = footer.tables.iter().find(|entry| entry.name == table.name()) {
            files.push((table, Arc::new(TableFile::open(bulk, table, &TableObject::from(entry.clone()))?)));
        }
    }
    let segment = Segment::new(files);
    let mut spans: BTreeMap<&str, ServiceSpan> = BTreeMap::new();
    for (part, service) in segment.services().iter().enumerate() {
        let windows = segment.windows(bulk, part, TimeRange::ALL)?;
        let span = spans.entry(service).or_insert_with(|| ServiceSpan {
            service: service.clone(),
            min_ms: u64::MAX,
            max_ms: 0,
            windows: 0,
            types: Vec::new(),
            labels: Vec::new(),
            sample_labels: Vec::new(),
        });
        for window in windows {
            span.min_ms = span.min_ms.min(window.from_ms);
            span.max_ms = span.max_ms.max(window.from_ms);
            // Later windows win: the type as it is now.
            for found in window.types.iter() {
                span.types.retain(|known| known.name != found.name);
                span.types.push(found.clone());
            }
            for label in window.labels.iter().chain([(INSTANCE, &*window.instance)]).map(owned) {
                if !span.labels.contains(&label) {
                    span.labels.push(label);
                }
            }
        }
        let series = segment.dictionary(bulk, part, false)?.series;
        for label in series.iter().flat_map(|series| series.labels.iter()).map(owned) {
            if !span.labels.contains(&label) && !span.sample_labels.contains(&label) {
                span.sample_labels.push(label);
            }
        }
    }
    Ok(spans.into_values().filter(|span| span.min_ms <= span.max_ms).collect())
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
