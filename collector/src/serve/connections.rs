//! Connections: HTTP/1 and HTTP/2 on one port, with the timers and caps that `axum::serve` leaves out.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::idle::IdleTimeout;
use super::places::{ConnectionLimits, Place, Places};
use super::tls::{Accepted, Tls};
use crate::access::proxies::Proxies;
use crate::base::certificate::{Encrypted, PeerCertificate};
use crate::conditions::{Conditions, Severity};
use crate::ingest::{Crowded, Peer};

/// The head of an HTTP/1 request must be complete by then.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection on which nothing goes either way for this long is dead, unless an answer is being computed: HTTP/2 peers answer a ping every
/// 20 s.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// Requests of one HTTP/2 connection at the same time.
const STREAMS_MAX: u32 = 64;

/// Bytes of all header fields of a request.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// Bytes that a peer may send ahead of their reader, for one request and for one connection: with all connections open this is what
/// they can make the collector hold. A typical window is sent in one go; 4 MiB over 50 ms of round trip take half a second.
const STREAM_AHEAD_BYTES_MAX: u32 = 256 << 10;
/// The same for one connection.
const CONNECTION_AHEAD_BYTES_MAX: u32 = 512 << 10;

/// Streams that a peer may open and reset before it is sent away.
const RESETS_MAX: usize = 32;

/// What may be asked in the lobby takes no longer, and then the next one waits there.
const LOBBY_TIME_MAX: Duration = Duration::from_secs(5);

/// The condition while the operating system gives no more connections.
const NOT_ACCEPTED: &str = "connections_not_accepted";

/// Where connections come from.
#[derive(Debug)]
pub struct Door {
    /// The port.
    pub listener: TcpListener,
    /// What they are encrypted with, if they are.
    pub tls: Option<Tls>,
    /// Whose connections are many people's: no limit of one address holds for them.
    pub proxies: Proxies,
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self { listener, tls: None, proxies: Proxies::default() }
    }
}

/// Accepts until `stop` is done, then asks every connection to finish and waits at most `drain`.
pub(super) async fn serve(
    Door { listener, tls, proxies }: Door,
    router: Router,
    (limits, conditions): (ConnectionLimits, Conditions),
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let (stopping, stopped) = watch::channel(false);
    let places = Places::new(limits, conditions.clone());
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                conditions.end(NOT_ACCEPTED, "");
                let peer = Peer(peer.ip());
                let place = places.take(peer, proxies.trusts(peer.0));
                connections.spawn(connection(stream, tls.clone(), peer, router.clone(), stopped.clone(), place));
            }
            // It was gone before its turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Out of file descriptors, most likely: others will finish.
                let message = format!(
                    "connections cannot be accepted ({error}): raise the limit of open files (`ulimit -n`, LimitNOFILE=)"
                );
                conditions.begin(NOT_ACCEPTED, "", Severity::Degraded, message);
                places.send_one_away();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finished).await.is_err() {
        warn!(after = ?drain, "some requests did not finish in time and were cut off");
    }
}

/// The handshake, if there is one, and all that follows. A handshake has a place as every connection has, and gives it up as one that never
/// asked for anything.
async fn connection(
    stream: TcpStream,
    tls: Option<Tls>,
    peer: Peer,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    place: Place,
) {
    // Small answers must not wait for more.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return talk(stream, Client { peer, tls: None }, router, stopped, place).await };
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        () = place.is_needed() => return debug!("a handshake made room for another connection"),
        () = is_stopped(&mut stopped) => return,
    };
    match accepted {
        Ok(Some(Accepted { stream, certificate })) => {
            talk(stream, Client { peer, tls: Some(certificate) }, router, stopped, place).await;
        }
        Ok(None) => debug!(peer = %peer.0, "plain HTTP was refused"),
        // What rustls says: the client's certificate is not good, or nothing in common is spoken.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            info!(peer = %peer.0, "a handshake failed: {error}");
        }
        Err(error) => debug!(peer = %peer.0, %error, "a handshake failed"),
    }
}

/// An error means that the accept loop is gone, which means the same.
async fn is_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Who is at the other end.
struct Client {
    peer: Peer,
    /// Over TLS: the certificate that was shown, if one was.
    tls: Option<Option<PeerCertificate>>,
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    Client { peer, tls }: Client,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    place: Place,
) {
    let (is_encrypted, certificate) = (tls.is_some(), tls.flatten());
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .initial_stream_window_size(STREAM_AHEAD_BYTES_MAX)
        .initial_connection_window_size(CONNECTION_AHEAD_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let (activity, is_lobby) = (place.activity(), place.is_lobby);
    let io = TokioIo::new(IdleTimeout::new(stream, activity.clone(), IDLE_MAX));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let asked = activity.begin();
        request.extensions_mut().insert(peer);
        if is_encrypted {
            request.extensions_mut().insert(Encrypted);
        }
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        if is_lobby {
            request.extensions_mut().insert(Crowded);
        }
        let answer = router.clone().oneshot(request);
        async move { answer.await.map(|answer| answer.map(|body| asked.answered(body))) }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let lobby_time =
        async { if is_lobby { tokio::time::sleep(LOBBY_TIME_MAX).await } else { std::future::pending().await } };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = place.is_needed() => return debug!("an idle connection made room for another"),
        () = lobby_time => return,
        () = is_stopped(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}
