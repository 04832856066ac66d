//! Commits an arrived segment that was written and not committed when a process was killed. Its windows may have been acked, if the
//! catalog is that of the moment before; if they were not, no harm is done: a window counts once, and is recognised when it is sent again.

use std::collections::{HashMap, HashSet};

use super::arrived::{self, AgentKey, Stored};
use super::bulk::ObjectInfo;
use super::catalog::{Accounting, Arrivals, Outcome, Registration, SequenceState, Verdict};
use super::segment::{self, Origin, PackedWindow, SegmentError, WindowInfo};
use super::{Bulk, Store, StoreError};
use crate::base::clock::{now_ms, now_s};
use crate::base::ids::{hex, unique_bytes};
use crate::profile::decode::{self, Lateness, WindowId};

/// A window of a segment, read again.
pub(super) struct Read {
    pub(super) id: WindowId,
    pub(super) packed: PackedWindow,
    version: String,
    accounting: Accounting,
}

impl Read {
    fn as_stored(&self) -> Stored<'_> {
        Stored { id: &self.id, info: &self.packed.info, version: &self.version, accounting: &self.accounting }
    }
}

/// Those of the windows of a segment that are whole. Blocks.
pub(super) fn read_windows(bulk: &dyn Bulk, name: &str, infos: &[WindowInfo]) -> Result<Vec<Read>, SegmentError> {
    let mut windows = Vec::with_capacity(infos.len());
    for info in infos {
        match segment::read_window(bulk, name, info) {
            Ok(stored) => windows.extend(read(stored, info)),
            Err(SegmentError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(windows)
}

fn read(stored: segment::StoredWindow, info: &WindowInfo) -> Option<Read> {
    let segment::StoredWindow { header, payload, payload_bytes } = stored;
    let window = decode::decode(&header, &payload, payload_bytes, Lateness::Stored).ok()?;
    let WindowId { agent_id, boot_id, sequence } = window.header.id;
    let info = WindowInfo { agent_id: agent_id.to_vec(), boot_id, sequence, ..info.clone() };
    Some(Read {
        id: window.header.id,
        version: window.header.agent_version.clone(),
        accounting: arrived::account(&window),
        packed: PackedWindow { header, payload, payload_bytes, info, traces: arrived::trace_keys(&window) },
    })
}

/// Commits the windows of a segment that are not stored yet. Answers how many those are; with 0, nothing was changed.
pub(super) async fn adopt(store: &Store, object: &ObjectInfo) -> Result<u64, StoreError> {
    let (bulk, name, bytes) = (store.bulk().clone(), object.name.clone(), object.bytes);
    let found = tokio::task::spawn_blocking(move || {
        let (footer, crc) = segment::read_footer_of(bulk.as_ref(), &name, bytes, None)?;
        let windows = read_windows(bulk.as_ref(), &name, &footer.windows)?;
        Ok::<_, SegmentError>((footer, crc, windows))
    });
    let (footer, crc, windows) = match found.await? {
        Ok(found) => found,
        Err(SegmentError::Bulk(error)) => return Err(error.into()),
        Err(SegmentError::Damaged { .. }) => return Ok(0),
    };
    let agents: HashSet<AgentKey> = windows.iter().map(|window| (window.id.agent_id, window.id.boot_id)).collect();
    let before = store.catalog().sequences(agents).await?;
    let mut after: HashMap<AgentKey, SequenceState> =
        before.iter().map(|(key, before)| (*key, before.sequences.clone())).collect();
    let (tombstones, _) = store.tombstones().await?;
    let deleted = |window: &Read| tombstones.iter().any(|it| it.took(&window.packed.info.service, footer.commit));
    let mut is_new = |window: &Read| {
        let state = after.entry((window.id.agent_id, window.id.boot_id)).or_default();
        state.admit(window.id.sequence) == Verdict::New
    };
    let fresh: Vec<Read> = windows.into_iter().filter(|window| is_new(window) && !deleted(window)).collect();
    if fresh.is_empty() {
        return Ok(0);
    }
    let commit = store.catalog().next_commit().await?;
    // Written again even where nothing changes: what can be read after a kill may not be on the disk yet.
    let whole = fresh.len() == footer.windows.len() && footer.commit == commit;
    let id = if whole { object.name.clone() } else { hex(&unique_bytes()) };
    let (bulk, name) = (store.bulk().clone(), id.clone());
    let written = if whole {
        tokio::task::spawn_blocking(move || {
            let content = bulk.get_range(&name, 0, bytes as usize)?;
            bulk.put(&name, &content)?;
            Ok::<_, StoreError>(arrived::segment_row(&name, &footer, bytes, crc))
        })
    } else {
        let packed: Vec<PackedWindow> = fresh.iter().map(|window| window.packed.clone()).collect();
        let origin = Origin { store: store.id().to_owned(), commit, written_ms: now_ms() };
        tokio::task::spawn_blocking(move || {
            let encoded = segment::encode(&packed, origin);
            bulk.put(&name, &encoded.bytes)?;
            Ok(arrived::segment_row(&name, &encoded.footer, encoded.bytes.len() as u64, encoded.crc))
        })
    };
    let registration = Registration {
        arrivals: Arrivals::default(),
        segment: written.await??,
        services: arrived::service_spans(fresh.iter().map(|window| &window.packed.info)),
        agents: arrived::agent_updates(fresh.iter().map(Read::as_stored), &before, &after),
        commit,
        now_ms: now_ms(),
    };
    match store.catalog().register(&registration).await? {
        Outcome::Done if whole => Ok(fresh.len() as u64),
        Outcome::Done => {
            let (bulk, name) = (store.bulk().clone(), object.name.clone());
            let now = now_s();
            tokio::task::spawn_blocking(move || bulk.set_aside(&name, now)).await??;
            Ok(fresh.len() as u64)
        }
        Outcome::Overtaken => Ok(0),
    }
}
