//! Makes a window ready to be sent: encodes and compresses it, and writes on it whose it is.

use std::sync::Arc;

use tephra_proto::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_COMPRESSED_BYTES_MAX};
use tephra_proto::v1::{DropCount, Label, PushHeader, PushRequest};
use tephra_proto::{codec, packing};

use super::account::Account;
use crate::export::{Queue, Sealed};
use crate::notice::Notice;
use crate::requests::Requests;
use crate::settings::Settings;
use crate::window::{Encoding, LiveHeap, Window};
use crate::{clock, random};

/// Puts one agent's windows into its queue.
#[derive(Debug)]
pub(super) struct Sealer {
    queue: Arc<Queue>,
    service: String,
    instance: String,
    labels: Vec<Label>,
    agent_id: [u8; 16],
    boot_id: u64,
    /// Windows sealed so far.
    sequence: u64,
    heap_mean_bytes: u64,
}

impl Sealer {
    /// Of an agent that starts now.
    pub(super) fn new(settings: &Settings, queue: Arc<Queue>) -> Self {
        let mut agent_id = [0; 16];
        random::fill(&mut agent_id);
        let labels = settings.labels.iter();
        Self {
            queue,
            service: settings.service.to_string(),
            instance: settings.instance.as_str().to_owned(),
            labels: labels.map(|(name, value)| Label { name: name.clone(), value: value.clone() }).collect(),
            agent_id,
            boot_id: clock::unix_ns(),
            sequence: 0,
            heap_mean_bytes: settings.heap_mean_bytes,
        }
    }

    /// Windows sealed so far.
    pub(super) fn sealed(&self) -> u64 {
        self.sequence
    }

    /// Whether the queue lost something that no window has told.
    pub(super) fn has_untold_losses(&self) -> bool {
        self.queue.owes()
    }

    /// Queues a window that was sampled at `hz`, with the heap that is `live` at its end if it is to tell of it, and the requests that
    /// ended in it or were asked for. The process had used `cpu_ns` of CPU time by then. Takes what it sends out of the window.
    pub(super) fn seal(
        &mut self,
        window: &mut Window,
        hz: u32,
        live: Option<&LiveHeap>,
        requests: Requests,
        cpu_ns: u64,
        account: &mut Account,
    ) {
        let stored = window.stored();
        let payload = {
            let encoding =
                Encoding { cpu_period_ns: 1_000_000_000 / u64::from(hz.max(1)), heap_mean_bytes: self.heap_mean_bytes };
            let mut columns = encoding.payload(window, live, &requests);
            drop(requests);
            packing::pack(&mut columns);
            prost::Message::encode_to_vec(&columns)
            // The columns are gone before the bytes are compressed.
        };
        match codec::compress(&payload) {
            Ok(mut frame) if payload.len() <= PAYLOAD_BYTES_MAX && frame.len() <= PAYLOAD_COMPRESSED_BYTES_MAX => {
                let header = self.header(window, cpu_ns, account);
                // It was made with room for content that does not compress.
                frame.shrink_to_fit();
                let payload_bytes = payload.len() as u32;
                let request = PushRequest { header: Some(header), payload: frame.into(), payload_bytes };
                self.queue.push(Sealed { request, stored });
            }
            _ => {
                account.lose(stored);
                static TOO_LARGE: Notice = Notice::new();
                TOO_LARGE.say("a window was too large to send and is dropped; a lower memory_limit keeps them small");
            }
        }
    }

    fn header(&mut self, window: &Window, cpu_ns: u64, account: &mut Account) -> PushHeader {
        let news = account.tell(cpu_ns);
        let mut drops = news.lost;
        drops.merge(self.queue.take_lost());
        self.sequence += 1;
        let slot = window.slot();
        PushHeader {
            agent_id: self.agent_id.to_vec(),
            boot_id: self.boot_id,
            sequence: self.sequence,
            service: self.service.clone(),
            instance: self.instance.clone(),
            labels: self.labels.clone(),
            window_start_unix_ms: slot.start_ms,
            window_duration_ms: slot.length_ms,
            sampled: window.stored() + drops.iter().map(|(_, samples)| samples).sum::<u64>(),
            drops: drops.iter().map(|(reason, samples)| DropCount { reason: reason.into(), samples }).collect(),
            process_cpu_ns: news.cpu_ns,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            coarsened: window.coarsened().to_wire(),
        }
    }
}
