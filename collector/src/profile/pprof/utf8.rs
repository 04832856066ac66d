//! Texts that are no UTF-8, as names of C functions and of files may be: each byte that is none becomes U+FFFD.

use std::borrow::Cow;

use tephra_proto::limits::PAYLOAD_BYTES_MAX;

use super::decode::Fields;
use crate::profile::import::ImportError;
use crate::profile::remarks::Remarks;

/// Field of the string table.
const STRINGS: u64 = 6;

/// The same profile with texts that are UTF-8; untouched where they were.
///
/// # Errors
/// When it is not serialized as it should, or grows beyond the limit.
pub(super) fn repair<'a>(profile: &'a [u8], remarks: &mut Remarks) -> Result<Cow<'a, [u8]>, ImportError> {
    let mut bad = 0;
    for field in Fields(profile) {
        let (number, text) = field?;
        bad += u64::from(number == STRINGS && std::str::from_utf8(text).is_err());
    }
    if bad == 0 {
        return Ok(Cow::Borrowed(profile));
    }
    remarks.names_made_fit += bad;
    let mut repaired = Vec::with_capacity(profile.len() + 64);
    let mut fields = Fields(profile);
    let mut rest = profile;
    while let Some(field) = fields.next() {
        let (number, text) = field?;
        let whole = &rest[..rest.len() - fields.0.len()];
        rest = fields.0;
        if number == STRINGS {
            prost::encoding::string::encode(number as u32, &String::from_utf8_lossy(text).into_owned(), &mut repaired);
        } else {
            repaired.extend_from_slice(whole);
        }
        if repaired.len() > PAYLOAD_BYTES_MAX {
            return Err(ImportError::TooLarge { limit: PAYLOAD_BYTES_MAX });
        }
    }
    Ok(Cow::Owned(repaired))
}
