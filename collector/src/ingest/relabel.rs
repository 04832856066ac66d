//! Labels of samples beyond the cap: their values are replaced in the payload before it is stored, so that what is read later knows
//! nothing of them.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tephra_proto::codec;
use tephra_proto::limits::PAYLOAD_BYTES_MAX;
use tephra_proto::v1;

use crate::base::labels::Label;
use crate::profile::decode::Rejection;

/// The value of labels of samples beyond the cap.
pub(super) const OVERFLOW_VALUE: &str = "__other__";

/// The payload with the values of `beyond` replaced by [`OVERFLOW_VALUE`], and what it inflates to. Its samples stay as they are.
///
/// # Errors
/// When it cannot be read, which was done before.
pub(super) fn replace_values(
    payload: &[u8],
    payload_bytes: u32,
    beyond: &HashSet<Label>,
) -> Result<(Bytes, u32), Rejection> {
    let inflated = codec::decompress_exact(payload, payload_bytes as usize, PAYLOAD_BYTES_MAX)?;
    let mut window = v1::WindowPayload::decode(inflated.as_slice()).map_err(|e| Rejection::malformed(e.to_string()))?;
    drop(inflated);
    let other = window.strings.len() as u32;
    for set in &mut window.label_sets {
        for (name, value) in set.name.iter().zip(&mut set.value) {
            let text = |at: u32| window.strings.get(at as usize).map(|text| Arc::from(text.as_str()));
            if let (Some(name), Some(text)) = (text(*name), text(*value))
                && beyond.contains(&(name, text))
            {
                *value = other;
            }
        }
    }
    window.strings.push(OVERFLOW_VALUE.to_owned());
    let encoded = window.encode_to_vec();
    Ok((codec::compress(&encoded)?.into(), encoded.len() as u32))
}
