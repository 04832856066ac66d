//! Signs what was imported, as one more agent: this process.

use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use tephra_proto::v1;

use super::accept::Accepted;
use crate::base::clock::now_ns;
use crate::base::ids::unique_bytes;
use crate::store::catalog::ContentKey;

/// Signs windows as an agent of its own.
#[derive(Debug)]
pub(super) struct Importer {
    agent_id: [u8; 16],
    boot_id: u64,
    numbered: AtomicU64,
}

impl Importer {
    pub(super) fn new() -> Self {
        Self { agent_id: unique_bytes(), boot_id: now_ns().max(1), numbered: AtomicU64::new(0) }
    }

    /// Makes a header this process's. Its number is drawn later, see [`Importer::number`].
    pub(super) fn sign(&self, header: v1::PushHeader) -> v1::PushHeader {
        v1::PushHeader { agent_id: self.agent_id.to_vec(), boot_id: self.boot_id, sequence: 1, ..header }
    }

    /// Draws the number of a window, if it is one of ours. The writer does so: numbers then reach the catalog in their order, however many
    /// windows are on their way, and none is so late that nobody can tell whether it is stored.
    pub(super) fn number(&self, window: &mut Accepted) {
        if window.id.agent_id == self.agent_id && window.id.boot_id == self.boot_id {
            window.id.sequence = self.numbered.fetch_add(1, Ordering::Relaxed) + 1;
            window.packed.header.sequence = window.id.sequence;
        }
    }
}

/// Names a window by whose it is, when it was and what is in it: what is sent again has the same key, whichever collector it comes to.
/// `payload` is the serialized one.
pub(super) fn content_key(header: &v1::PushHeader, payload: &[u8]) -> ContentKey {
    let of = v1::PushHeader {
        service: header.service.clone(),
        instance: header.instance.clone(),
        labels: header.labels.clone(),
        window_start_unix_ms: header.window_start_unix_ms,
        window_duration_ms: header.window_duration_ms,
        ..v1::PushHeader::default()
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&of.encode_length_delimited_to_vec()).update(payload);
    let mut key = ContentKey::default();
    hasher.finalize_xof().fill(&mut key);
    key
}
