//! The beginning of a connection: the handshake, and a word to those who speak plain HTTP to a port that speaks TLS.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;
use super::names;
use crate::base::certificate::PeerCertificate;

/// A handshake must be complete by then, as the head of a request must. It waits on nobody but its client.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// With this every connection that speaks TLS begins: a record of the handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// How plain HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// The answer to plain HTTP/1.
const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 64\r\n\
    connection: close\r\n\r\nthis port speaks TLS: write https:// in the collector's address\n";

/// The answer to plain HTTP/2: empty settings, then GOAWAY with INADEQUATE_SECURITY, of which a client shows the words (RFC 9113, 6.5 and 6.8).
const REFUSAL_2: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x47\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0c\
    this port speaks TLS: write https:// in the collector's address";

/// How much of what a client still says is listened to, so that the refusal reaches it.
const HEARD_BYTES_MAX: usize = 64 << 10;

/// A connection whose handshake is done.
pub(in crate::serve) struct Accepted {
    pub(in crate::serve) stream: TlsStream<TcpStream>,
    /// Of the client, if it showed one. It was verified.
    pub(in crate::serve) certificate: Option<PeerCertificate>,
}

impl Tls {
    /// Shakes hands. `None` for a client that speaks plain HTTP: it was told.
    ///
    /// # Errors
    /// When the client wants something else, is not who it must be, or is too slow.
    pub(in crate::serve) async fn accept(&self, stream: TcpStream) -> io::Result<Option<Accepted>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
        timeout(HANDSHAKE_TIME_MAX, self.shake_hands(stream)).await.map_err(late)?
    }

    async fn shake_hands(&self, mut stream: TcpStream) -> io::Result<Option<Accepted>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match first {
            [HANDSHAKE] => {}
            [b'A'..=b'Z'] => return refuse(&mut stream).await.map(|()| None),
            _ => return Err(io::Error::other("neither TLS nor HTTP")),
        }
        let stream = TlsAcceptor::from(self.config()).accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(names::peer);
        Ok(Some(Accepted { stream, certificate }))
    }
}

/// Says in the client's own protocol that this is the wrong one.
async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    let mut said = [0; PREFACE.len()];
    stream.read_exact(&mut said).await?;
    stream.write_all(if said == PREFACE { REFUSAL_2 } else { REFUSAL }).await?;
    stream.shutdown().await?;
    // Whoever is not listened to is reset by the operating system, and sees no answer.
    let (mut heard, mut all) = ([0; 4096], 0);
    while all < HEARD_BYTES_MAX {
        match stream.read(&mut heard).await? {
            0 => break,
            more => all += more,
        }
    }
    Ok(())
}
