//! zstd with caps. The only module that names the zstd crate: whatever inflates in this project inflates here.
//!
//! A frame is refused before memory is spent on it: the caller says how large the content may be, the decoder is told
//! how large a window it may keep, and the output stops one byte past the cap.

use std::cell::RefCell;
use std::io::Read;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, find_frame_compressed_size};

use crate::limits::ZSTD_WINDOW_LOG_MAX;

/// Level 3: on profile columns level 1 is 5 % larger and no cheaper end to end, level 6 is 2 % smaller at twice the time.
const LEVEL: i32 = 3;

/// Level 9, for what is small: another 2 % less for some 30 µs, in as much memory.
const LEVEL_OF_SMALL: i32 = 9;
const SMALL_BYTES: usize = 16 << 10;

/// Level 1, with a table that stays in the processor's nearest cache: it is cleared for each window.
const LEVEL_QUICK: i32 = 1;
const HASH_LOG_QUICK: u32 = 12;

/// Encoders and decoders that met more than that are not kept.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Why a frame was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The content is larger than allowed.
    #[error("zstd frame inflates to more than {limit} bytes")]
    TooLarge {
        /// The cap that was hit.
        limit: usize,
    },
    /// The content is not as long as its sender said.
    #[error("zstd frame inflates to {actual} bytes, its sender said {declared}")]
    WrongLength {
        /// What came out.
        actual: usize,
        /// What was announced.
        declared: usize,
    },
    /// Not a zstd frame, or a damaged one.
    #[error("zstd frame is damaged: {0}")]
    Damaged(#[source] std::io::Error),
}

/// Compresses `content` as one frame. Without a checksum: what is stored has one of its own.
///
/// # Errors
/// When the encoder runs out of memory.
pub fn compress(content: &[u8]) -> Result<Vec<u8>, CodecError> {
    let level = if content.len() <= SMALL_BYTES { LEVEL_OF_SMALL } else { LEVEL };
    zstd::bulk::compress(content, level).map_err(CodecError::Damaged)
}

/// Compresses as [`compress`] does, at a third of the cost and some 10 % larger: for what is laid out anew within the minute. The encoder is
/// kept for the next call on the same thread.
///
/// # Errors
/// When the encoder runs out of memory.
pub fn compress_quickly(content: &[u8]) -> Result<Vec<u8>, CodecError> {
    thread_local! {
        static ENCODER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    }
    let compressed = ENCODER.with_borrow_mut(|kept| {
        let mut encoder = match kept.take() {
            Some(encoder) => encoder,
            None => {
                let mut encoder = Compressor::new(LEVEL_QUICK)?;
                encoder.set_parameter(CParameter::HashLog(HASH_LOG_QUICK))?;
                encoder
            }
        };
        let mut compressed = encoder.compress(content)?;
        compressed.shrink_to_fit();
        // Its tables are as large as the largest content was.
        *kept = (content.len() <= KEPT_BYTES_MAX).then_some(encoder);
        Ok(compressed)
    });
    compressed.map_err(CodecError::Damaged)
}

/// Decompresses one frame whose sender declared `declared` bytes of content, at most `limit`.
///
/// # Errors
/// When the frame is damaged, asks for too large a window, or its content has another length.
pub fn decompress_exact(frame: &[u8], declared: usize, limit: usize) -> Result<Vec<u8>, CodecError> {
    if declared > limit {
        return Err(CodecError::TooLarge { limit });
    }
    let content = decompress(frame, declared)?;
    if content.len() != declared {
        return Err(CodecError::WrongLength { actual: content.len(), declared });
    }
    Ok(content)
}

/// Decompresses one frame of at most `limit` bytes of content. What follows the frame is an error.
///
/// # Errors
/// When the frame is damaged, asks for too large a window, or its content is longer.
pub fn decompress(frame: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
    if let Some(content) = decompress_at_once(frame, limit) {
        return Ok(content);
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame).map_err(CodecError::Damaged)?.single_frame();
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(CodecError::Damaged)?;
    let Some(content) = read_capped(decoder.by_ref(), limit).map_err(CodecError::Damaged)? else {
        return Err(CodecError::TooLarge { limit });
    };
    let rest = decoder.finish();
    if !rest.is_empty() {
        let message = format!("{} bytes follow the frame", rest.len());
        return Err(CodecError::Damaged(std::io::Error::new(std::io::ErrorKind::InvalidData, message)));
    }
    Ok(content)
}

/// Decompresses a small frame that needs no window, with the decoder of the last call on the same thread. `None`: it must be looked at
/// closely.
fn decompress_at_once(frame: &[u8], limit: usize) -> Option<Vec<u8>> {
    thread_local! {
        static DECODER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    // In the frame's descriptor: what the content has is all the window there is.
    const SINGLE_SEGMENT: u8 = 1 << 5;
    let is_plain = frame.get(4).is_some_and(|descriptor| descriptor & SINGLE_SEGMENT != 0)
        && find_frame_compressed_size(frame) == Ok(frame.len());
    if !is_plain || limit > KEPT_BYTES_MAX {
        return None;
    }
    DECODER.with_borrow_mut(|kept| {
        let decoder = match kept {
            Some(decoder) => decoder,
            None => kept.insert(Decompressor::new().ok()?),
        };
        let mut content = Vec::with_capacity(limit);
        decoder.decompress_to_buffer(frame, &mut content).ok()?;
        Some(content)
    })
}

/// Reads all there is, or `None` when that is more than `limit` bytes. Memory grows as content arrives, so that what only claims to be
/// large costs nothing; and never beyond the limit, so that a bomb costs no more than what is allowed.
///
/// # Errors
/// When reading fails.
pub fn read_capped(mut reader: impl Read, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    const STEP_BYTES: usize = 16 << 10;
    let mut content = Vec::new();
    loop {
        let filled = content.len();
        // One more than allowed, to see whether there is more; the last step is as large as it takes, so that nothing is moved for that one.
        let doubled = filled.saturating_mul(2).max(STEP_BYTES);
        let room = if doubled >= limit { limit + 1 - filled } else { doubled - filled };
        content.reserve_exact(room);
        let read = reader.by_ref().take(room as u64).read_to_end(&mut content)?;
        if content.len() > limit {
            return Ok(None);
        }
        if read < room {
            return Ok(Some(content));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_survives_a_round_trip() {
        let content: Vec<u8> = (0..100_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let frame = compress(&content).unwrap();
        assert!(frame.len() < content.len() / 2);
        assert_eq!(decompress_exact(&frame, content.len(), content.len()).unwrap(), content);
        let (long, short) = (content.repeat(20), &content[..5_000]);
        for content in [short, &content, &long, short, &[], &content] {
            let frame = compress_quickly(content).unwrap();
            assert_eq!(decompress_exact(&frame, content.len(), content.len()).unwrap(), content);
            assert_eq!(decompress(&frame, content.len() + 7).unwrap(), content);
        }
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        let frame = compress(&vec![0; 64 << 20]).unwrap();
        assert!(frame.len() < 16 << 10, "{} bytes", frame.len());
        assert!(matches!(decompress(&frame, 1 << 20), Err(CodecError::TooLarge { limit }) if limit == 1 << 20));
    }

    #[test]
    fn reading_stops_at_the_cap_and_takes_no_more_memory() {
        for (there, limit) in [(0, 0), (5, 5), (100_000, 100_000), (100_000, 1 << 20)] {
            let content = read_capped(std::io::repeat(7).take(there), limit).unwrap().expect("it fits");
            assert_eq!(content.len() as u64, there);
            assert!(content.capacity() <= limit + 1, "{} for a limit of {limit}", content.capacity());
        }
        for limit in [0, 5, 16 << 10, 100_000] {
            assert_eq!(read_capped(std::io::repeat(7), limit).unwrap(), None);
        }
    }

    #[test]
    fn a_wrong_length_is_refused() {
        let frame = compress(b"hello").unwrap();
        assert!(matches!(decompress_exact(&frame, 6, 100), Err(CodecError::WrongLength { actual: 5, declared: 6 })));
        assert!(matches!(decompress_exact(&frame, 4, 100), Err(CodecError::TooLarge { limit: 4 })));
        assert!(matches!(decompress_exact(&frame, 101, 100), Err(CodecError::TooLarge { limit: 100 })));
    }

    #[test]
    fn damage_and_trailing_bytes_are_refused() {
        let frame = compress(&[7; 1000]).unwrap();
        for cut in 0..frame.len() {
            assert!(decompress(&frame[..cut], 1000).is_err(), "cut at {cut}");
        }
        assert!(matches!(decompress(&[frame.clone(), frame].concat(), 2000), Err(CodecError::Damaged(_))));
    }

    #[test]
    fn a_frame_that_wants_a_huge_window_is_refused() {
        // Magic, descriptor without a content size, window descriptor of 2^41 bytes, one empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x01, 0x00, 0x00];
        assert!(matches!(decompress(&frame, 1000), Err(CodecError::Damaged(_))));
    }
}
