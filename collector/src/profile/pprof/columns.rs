//! Which values of a sample are stored, under which type, and what they mean.

use tephra_proto::v1;

use super::read::{Profile, Sample};
use super::storable;
use crate::profile::fit::{fit, fit_apart};
use crate::profile::import::{Amount, ImportError};
use crate::profile::meaning::{self, Column, Distance, Kinds, Meaning};
use crate::profile::model::Kind;
use crate::profile::remarks::Remarks;

/// The columns of a profile that are stored.
pub(super) struct Columns {
    pub(super) stored: Vec<Stored>,
}

/// One of them.
pub(super) struct Stored {
    column: usize,
    name: String,
    meaning: Meaning,
}

impl Columns {
    /// `said` is how types add up where whoever sends the profile says so.
    pub(super) fn of(profile: &Profile, said: &Kinds, remarks: &mut Remarks) -> Result<Self, ImportError> {
        let names = Names::of(profile)?;
        let mut meanings = meaning::read(&names.columns(), names.distance(profile)?, said);
        let problems = storable::problems(profile, &meanings)?;
        let mut stored: Vec<Stored> = Vec::new();
        let columns = names.fitted.into_iter().zip(names.given).zip(meanings.drain(..)).zip(problems).enumerate();
        for (column, ((((name, unit), (given_name, given_unit)), meaning), problem)) in columns {
            if let Some(why) = problem {
                remarks.leave_out(given_name, why);
                continue;
            }
            remarks.fitted(given_name, &name);
            remarks.fitted(given_unit, &unit);
            stored.push(Stored { column, name, meaning });
        }
        let count = stored.iter().position(|of| of.name == SAMPLES && of.meaning.unit == "count");
        if let Some(count) = count.filter(|count| is_told_by_others(profile, &stored, *count)) {
            stored.remove(count);
        }
        if let Some(unknown) = said.keys().find(|name| stored.iter().all(|of| of.name != **name)) {
            let known = stored.iter().map(|of| of.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ImportError::UnknownType { name: unknown.clone(), known });
        }
        match remarks.left_out.first() {
            _ if !stored.is_empty() => Ok(Self { stored }),
            Some(left) => Err(ImportError::NotStorable { name: left.name.clone(), why: left.why.clone() }),
            None => Err(ImportError::NoTypes),
        }
    }

    /// The types, in their order.
    pub(super) fn types(&self) -> Vec<v1::ProfileType> {
        let kind = |meaning: &Meaning| match meaning.kind {
            Kind::Counter => v1::Kind::Counter,
            Kind::Gauge => v1::Kind::Gauge,
        };
        let one = |of: &Stored| v1::ProfileType {
            name: of.name.clone(),
            unit: of.meaning.unit.clone(),
            kind: kind(&of.meaning).into(),
            period: of.meaning.period,
        };
        self.stored.iter().map(one).collect()
    }

    /// What a sample adds to each of them.
    pub(super) fn amounts(&self, values: &[i64]) -> impl Iterator<Item = Amount> {
        let given = |column: usize| values.get(column).map_or(0, |value| u64::try_from(*value).unwrap_or(0));
        self.stored.iter().map(move |of| {
            let value = given(of.column).saturating_mul(of.meaning.factor);
            Amount { value, samples: of.meaning.samples(value, given) }
        })
    }
}

/// Names and units of all columns.
struct Names<'a> {
    /// As the profile has them.
    given: Vec<(&'a str, &'a str)>,
    /// As they are stored, no name twice.
    fitted: Vec<(String, String)>,
}

impl<'a> Names<'a> {
    fn of(profile: &'a Profile<'a>) -> Result<Self, ImportError> {
        let mut this = Self { given: Vec::new(), fitted: Vec::new() };
        for value in &profile.sample_type {
            let (name, unit) = (profile.text(value.r#type)?, profile.text(value.unit)?);
            let fitted = fit_apart(name, |name| this.fitted.iter().any(|(known, _)| known == name));
            this.given.push((name, unit));
            this.fitted.push((fitted, fit_unit(unit)));
        }
        Ok(this)
    }

    fn columns(&self) -> Vec<Column<'_>> {
        self.fitted.iter().map(|(name, unit)| Column { name, unit }).collect()
    }

    /// How far samples lie apart, in terms of the columns' names.
    fn distance(&self, profile: &Profile) -> Result<Option<Distance>, ImportError> {
        let Some(of) = &profile.period_type else { return Ok(None) };
        let (name, unit) = (profile.text(of.r#type)?, profile.text(of.unit)?);
        // The same name in the same unit is that column, whatever it had to be called.
        let column = self.given.iter().position(|given| *given == (name, unit));
        let name =
            column.and_then(|column| self.fitted.get(column)).map_or_else(|| fit(name).into_owned(), |f| f.0.clone());
        Ok(Some(Distance { name, unit: fit_unit(unit), value: u64::try_from(profile.period).unwrap_or(0) }))
    }
}

fn fit_unit(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { fit(unit).into_owned() }
}

/// A column that counts the samples of the others. They are kept with every value, and written as this column again.
const SAMPLES: &str = "samples";

/// True when all that the column `count` says is how many samples are behind the others.
fn is_told_by_others(profile: &Profile, stored: &[Stored], count: usize) -> bool {
    let Some(count) = stored.get(count).map(|of| of.column) else { return false };
    let counted: Vec<usize> =
        stored.iter().filter(|of| of.meaning.counted_by() == Some(count)).map(|of| of.column).collect();
    let is_there = |sample: &Sample<'_>, column: &usize| sample.value.get(*column).is_some_and(|value| *value != 0);
    !counted.is_empty()
        && profile
            .sample
            .iter()
            .all(|sample| !is_there(sample, &count) || counted.iter().any(|column| is_there(sample, column)))
}
