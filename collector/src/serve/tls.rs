//! TLS on the port: what is in force, and how it follows its files while connections go on.

mod files;
mod handshake;
mod names;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::Notify;
use tracing::info;

use crate::base::clock::now_s;
use crate::base::times::format_utc;
use crate::conditions::{Conditions, Severity};
use files::{Loaded, Stamp};
pub use files::{TlsError, TlsFiles};
pub(super) use handshake::Accepted;

/// How often the files are looked at. One that changed is read once it has stayed the same from one look to the next: who renews a
/// certificate writes several files.
const EVERY: Duration = Duration::from_secs(2);

/// So long before a certificate is over somebody is told: those who renew do so weeks before.
const TOLD_BEFORE_S: u64 = 7 * 24 * 3600;

/// The condition while what the files say cannot be used.
const NOT_RENEWED: &str = "tls_not_renewed";

/// The condition shortly before the certificate in force is over, and after.
const EXPIRES: &str = "tls_certificate_expires";

/// Certificates and key in force. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    /// Of the files when they were first read.
    first: Stamp,
    in_force: RwLock<Loaded>,
    hangup: Notify,
}

/// Nothing of a key.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// Names the file that cannot be used, and why.
    pub fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let first = files.stamp();
        let in_force = RwLock::new(files.load()?);
        Ok(Self(Arc::new(Inner { files, first, in_force, hangup: Notify::new() })))
    }

    /// For the next handshake.
    fn config(&self) -> Arc<ServerConfig> {
        self.0.in_force.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// Somebody says that the files have changed.
    pub(super) fn read_again(&self) {
        self.0.hangup.notify_one();
    }

    /// Follows the files. Connections keep what they began with.
    pub(super) async fn follow(self, conditions: Conditions) {
        let mut follower = Follower::new(self.clone(), conditions.clone());
        loop {
            let is_asked = tokio::select! {
                () = tokio::time::sleep(EVERY) => false,
                () = self.0.hangup.notified() => true,
            };
            // Files may be on a disk that is slow, or gone.
            let looked = tokio::task::spawn_blocking(move || {
                follower.look(is_asked, now_s());
                follower
            });
            match looked.await {
                Ok(back) => follower = back,
                Err(_) => follower = Follower::new(self.clone(), conditions.clone()),
            }
        }
    }
}

/// What was seen of the files so far.
struct Follower {
    tls: Tls,
    conditions: Conditions,
    /// When they were last read, for better or worse.
    read: Stamp,
    /// When they were last looked at.
    seen: Stamp,
}

impl Follower {
    fn new(tls: Tls, conditions: Conditions) -> Self {
        let first = tls.0.first.clone();
        Self { tls, conditions, read: first.clone(), seen: first }
    }

    /// Reads the files if they changed and stay as they are, or if somebody asks. What cannot be used changes nothing but what is told.
    fn look(&mut self, is_asked: bool, now_s: u64) {
        let stamp = self.tls.0.files.stamp();
        let is_settled = stamp == self.seen;
        self.seen = stamp.clone();
        if is_asked || (stamp != self.read && is_settled) {
            self.read = stamp;
            match self.tls.0.files.load() {
                Ok(loaded) => {
                    *self.tls.0.in_force.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                    self.conditions.end(NOT_RENEWED, "");
                    info!("certificate and key were read again; new connections begin with them");
                }
                Err(error) => self.conditions.begin(
                    NOT_RENEWED,
                    "",
                    Severity::Degraded,
                    format!("{error}; what was read before stays in force: correct the file"),
                ),
            }
        }
        let valid_until_s = self.tls.0.in_force.read().unwrap_or_else(PoisonError::into_inner).valid_until_s;
        let (severity, message) = expiry(valid_until_s, now_s);
        self.conditions.set(EXPIRES, severity, message);
    }
}

/// What an operator is told of the end of a certificate.
fn expiry(valid_until_s: Option<u64>, now_s: u64) -> (Severity, Option<String>) {
    let Some(until) = valid_until_s else { return (Severity::Notice, None) };
    let when = format_utc(until.saturating_mul(1_000));
    match until.checked_sub(now_s) {
        None => (
            Severity::Degraded,
            Some(format!("the certificate in force was valid until {when}: clients refuse it, so renew it")),
        ),
        Some(left) if left < TOLD_BEFORE_S => {
            (Severity::Notice, Some(format!("the certificate in force is valid until {when}: renew it")))
        }
        Some(_) => (Severity::Notice, None),
    }
}
