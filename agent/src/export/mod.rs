//! Ships sealed windows and symbols, on one thread of its own with its own runtime: whatever the network does, only
//! this thread sees it.

mod backoff;
mod connect;
mod credentials;
mod ifunc;
mod outline;
mod push;
mod queue;
mod symbols;
#[cfg(feature = "tls-no-provider")]
mod tls;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use self::connect::Destination;
use self::connect::connect;
pub(crate) use self::credentials::{Credentials, TokenError};
pub(crate) use self::queue::{Lost, Queue, Sealed};
#[cfg(feature = "tls-no-provider")]
pub(crate) use self::tls::{Tls, TlsProblem, TlsSettings};
use crate::notice::Notice;
use crate::requests::Asked;

pub(crate) const THREAD_NAME: &str = "tephra-ship";

/// How long shipping goes on after the agent was stopped.
const LAST_WORDS: Duration = Duration::from_millis(450);

/// A reply that is larger is not from a collector: 4 096 build ids of 20 bytes are 88 KiB.
const REPLY_BYTES_MAX: usize = 128 << 10;

/// A file that was mapped into this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binary {
    pub(crate) build_id: Vec<u8>,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// The files mapped right now; written by the agent thread, read when symbols are offered.
#[derive(Debug, Default)]
pub(crate) struct Binaries(Mutex<Arc<[Binary]>>);

impl Binaries {
    pub(crate) fn set(&self, binaries: impl Iterator<Item = Binary>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = binaries.collect();
    }

    fn get(&self) -> Arc<[Binary]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs until the queue is closed and then for at most `LAST_WORDS`. Called on the shipping thread.
///
/// # Errors
/// When the operating system refuses the runtime its resources.
pub(crate) fn run(
    destination: &Destination,
    queue: Arc<Queue>,
    binaries: Arc<Binaries>,
    asked: Arc<Asked>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Name lookups only: they block, and the C library offers nothing else.
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_name(THREAD_NAME)
        .build()?;
    runtime.block_on(async {
        let connection = connect(destination);
        let symbols = symbols::spawn(connection.clone(), binaries);
        let endpoint = destination.endpoint.clone();
        let mut shipping = tokio::spawn(push::ship(connection, endpoint, Arc::clone(&queue), symbols, asked));
        queue.closed().await;
        match tokio::time::timeout(LAST_WORDS, &mut shipping).await {
            Ok(Err(failed)) if failed.is_panic() => {
                static FAILED: Notice = Notice::new();
                FAILED.say("shipping failed and is off for good; the service is not affected");
            }
            _ => shipping.abort(),
        }
    });
    // A name lookup that hangs is left behind.
    runtime.shutdown_background();
    Ok(())
}
