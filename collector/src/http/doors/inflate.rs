//! Transport encodings: what a client compressed on its way here is inflated with a cap, like everything else.

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use tephra_proto::codec::{self, CodecError, read_capped};
use tephra_proto::limits::PAYLOAD_BYTES_MAX;

use crate::http::error::{ApiError, ErrorKind};

/// How a body was compressed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Encoding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Encoding {
    /// By its name in a header.
    ///
    /// # Errors
    /// When it is another one.
    pub(in crate::http) fn named(name: &str) -> Result<Self, ApiError> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => {
                let shown: String = other.chars().filter(char::is_ascii_graphic).take(32).collect();
                Err(ApiError::new(
                    ErrorKind::MediaType,
                    format!("the body is compressed with {shown:?}"),
                    "send it as it is, or compressed with gzip or zstd",
                ))
            }
        }
    }

    /// As the header `Content-Encoding` says.
    ///
    /// # Errors
    /// As [`Encoding::named`].
    pub(in crate::http) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        headers
            .get(header::CONTENT_ENCODING)
            .map_or(Ok(Self::Identity), |name| Self::named(name.to_str().unwrap_or("?")))
    }

    /// The content of a body, which has at most [`PAYLOAD_BYTES_MAX`] bytes. Blocks.
    ///
    /// # Errors
    /// When it has more, or is damaged.
    pub(in crate::http) fn inflate(self, body: Bytes) -> Result<Bytes, ApiError> {
        let limit = PAYLOAD_BYTES_MAX;
        let inflated = match self {
            Self::Identity => return Ok(body),
            Self::Gzip => read_capped(flate2::bufread::MultiGzDecoder::new(&*body), limit)
                .map_err(|error| error.to_string())
                .and_then(|inflated| inflated.ok_or_else(String::new)),
            Self::Zstd => codec::decompress(&body, limit).map_err(|error| match error {
                CodecError::TooLarge { .. } => String::new(),
                error => error.to_string(),
            }),
        };
        inflated.map(Bytes::from).map_err(|damage| {
            if damage.is_empty() {
                let message = format!("the body inflates to more than {limit} bytes");
                return ApiError::new(ErrorKind::TooLarge, message, "send less at once");
            }
            ApiError::invalid(format!("the body's compression is damaged: {damage}"), "send it again")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(content: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn bodies_are_inflated_by_what_they_are_said_to_be() {
        let content = Bytes::from_static(b"content");
        let zstd = Bytes::from(codec::compress(&content).unwrap());
        for (name, body) in [("identity", content.clone()), ("GZIP", gzip(&content)), ("zstd", zstd)] {
            assert_eq!(Encoding::named(name).unwrap().inflate(body).unwrap(), content, "{name}");
        }
        let error = Encoding::named("br").unwrap_err();
        assert!(error.to_string().contains("\"br\"") && error.hint().contains("zstd"), "{error}");
    }

    #[test]
    fn bombs_and_damage_are_told_apart() {
        let bomb = vec![0; PAYLOAD_BYTES_MAX + 1];
        let zstd = Bytes::from(codec::compress(&bomb).unwrap());
        for (encoding, body) in [(Encoding::Gzip, gzip(&bomb)), (Encoding::Zstd, zstd)] {
            let error = encoding.inflate(body.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{encoding:?}");
            let error = encoding.inflate(body.slice(..body.len() / 2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{encoding:?}: {error}");
        }
    }
}
