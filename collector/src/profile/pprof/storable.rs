//! Which columns of a profile can be stored: one that cannot, costs the others nothing.

use super::read::Profile;
use crate::profile::decode::COUNT_MAX;
use crate::profile::import::ImportError;
use crate::profile::meaning::Meaning;

/// Why each column cannot be stored, in the units that it is kept in; `None`: it can.
///
/// # Errors
/// When a sample has another number of values than there are types: then nobody can tell which is which.
pub(super) fn problems(profile: &Profile, meanings: &[Meaning]) -> Result<Vec<Option<String>>, ImportError> {
    let types = profile.sample_type.len();
    let mut negative: Vec<Option<(usize, i64)>> = vec![None; types];
    let mut sums = vec![0u64; types];
    for (i, sample) in profile.sample.iter().enumerate() {
        if sample.value.len() != types {
            return Err(ImportError::Values { sample: i, values: sample.value.len(), types });
        }
        for (((value, negative), sum), meaning) in sample.value.iter().zip(&mut negative).zip(&mut sums).zip(meanings) {
            match u64::try_from(*value) {
                Ok(value) => *sum = sum.saturating_add(value.saturating_mul(meaning.factor)),
                Err(_) => *negative = negative.or(Some((i, *value))),
            }
        }
    }
    let why = |(negative, sum): (Option<(usize, i64)>, u64)| match negative {
        Some((sample, value)) => Some(format!(
            "has the value {value} in sample {sample}: what lies below zero, as in differences, has no place in a sum"
        )),
        None if sum > COUNT_MAX => Some(format!("adds up to {sum}, limit {COUNT_MAX}: take it over a shorter time")),
        None => None,
    };
    Ok(negative.into_iter().zip(sums).map(why).collect())
}
