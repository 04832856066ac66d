//! What the `series` of other tables stand for.

use std::sync::Arc;

use super::{Ids, NO_ORDER, SERVICE, Table};
use crate::base::labels::Labels;
use crate::profile::model::ProfileType;
use crate::store::columnar::column::{Coding, Column, Definition, Int32, Int64, LARGE_PAGE, Text};
use crate::store::columnar::files::Files;
use crate::store::columnar::rows::Rows;
use crate::store::columnar::table::Problem;
use crate::store::columnar::text::{kind_from_text, kind_to_text, labels_from_text, labels_to_text};

/// What rows have in common. Their order is that of the fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartSeries {
    /// What is measured.
    pub(crate) profile_type: ProfileType,
    /// Resource labels, and those of the samples.
    pub(crate) labels: Labels,
    /// Which process; empty once instances are folded.
    pub(crate) instance: Arc<str>,
}

const ID: Column<Int32> = Column::new("id").coded(Coding::Differences);
const TYPE: Column<Text> = Column::new("type");
const UNIT: Column<Text> = Column::new("unit");
const KIND: Column<Text> = Column::new("kind");
const PERIOD: Column<Int64> = Column::new("period");
const INSTANCE: Column<Text> = Column::new("instance");
const LABELS: Column<Text> = Column::new("labels");

pub(super) static TABLE: Definition = Definition {
    name: "series",
    columns: &[
        SERVICE.about(),
        ID.about(),
        TYPE.about(),
        UNIT.about(),
        KIND.about(),
        PERIOD.about(),
        INSTANCE.about(),
        LABELS.about(),
    ],
    page_rows: LARGE_PAGE,
};

pub(in crate::store::columnar) fn write(
    files: &mut Files,
    service: &str,
    first: Ids,
    rows: &[PartSeries],
) -> parquet::errors::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    files.row_group(Table::Series, "", |group| {
        group.same_text(SERVICE, service, rows.len())?;
        group.put(ID, (0..rows.len()).map(|i| first.series + i as i32))?;
        group.texts(TYPE, rows.iter().map(|row| row.profile_type.name.as_str()))?;
        group.texts(UNIT, rows.iter().map(|row| row.profile_type.unit.as_str()))?;
        group.texts(KIND, rows.iter().map(|row| kind_to_text(row.profile_type.kind)))?;
        group.put(PERIOD, rows.iter().map(|row| row.profile_type.period as i64))?;
        group.texts(INSTANCE, rows.iter().map(|row| &*row.instance))?;
        group.texts(LABELS, rows.iter().map(|row| labels_to_text(row.labels.iter())))
    })
}

/// Hands on each with its id; `add` answers `None` when ids do not run on.
pub(in crate::store::columnar) fn read(
    rows: &Rows<'_>,
    mut add: impl FnMut(i32, PartSeries) -> Option<()>,
) -> Result<(), Problem> {
    let own = |text: &str| Some(text.to_owned());
    let ids = rows.get(ID)?;
    let (names, units) = (rows.texts(TYPE, own)?, rows.texts(UNIT, own)?);
    let kinds = rows.texts(KIND, kind_from_text)?;
    let periods = rows.get(PERIOD)?;
    let instances = rows.texts(INSTANCE, |text| Some(Arc::<str>::from(text)))?;
    let labels = rows.texts(LABELS, |text| Some(labels_from_text(text)))?;
    for (i, id) in ids.into_iter().enumerate() {
        let (name, unit) = (names[i].clone(), units[i].clone());
        let profile_type = ProfileType { name, unit, kind: kinds[i], period: periods[i] as u64 };
        let (instance, labels) = (instances[i].clone(), labels[i].clone());
        let added = add(id, PartSeries { profile_type, labels, instance });
        added.ok_or_else(|| rows.damaged(NO_ORDER))?;
    }
    Ok(())
}
