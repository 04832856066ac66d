//! What is known of a connection once its handshake is done: that nobody listens, and who its client is, by a certificate that was verified.

use std::sync::Arc;

/// In the extensions of requests that came over a connection whose client showed a certificate, which a certificate authority of the
/// operator's has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The names in it, each with its kind before it, so that none can pass for another: `dns:agent.example`, `uri:spiffe://example/agent` (both
    /// subject alternative names), `cn:agent` (the subject's common name). Printable, and at most 32 of at most 512 bytes.
    pub names: Arc<[String]>,
}

/// In the extensions of requests that nobody could read on the way.
#[derive(Debug, Clone, Copy)]
pub struct Encrypted;
