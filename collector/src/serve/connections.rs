//! Connections: HTTP/1 and HTTP/2 on one port, with the timers and caps that `axum::serve` leaves out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::util::MapRequest;
use tracing::{debug, warn};

use super::idle::IdleTimeout;
use crate::ingest::Peer;

/// Connections at the same time: each agent keeps one, a browser six.
const CONNECTIONS_MAX: usize = 4_096;

/// The head of an HTTP/1 request must be complete by then.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection on which nothing arrives for this long is dead: HTTP/2 peers answer a ping every 20 s, and no answer takes this
/// long to compute.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// Requests of one HTTP/2 connection at the same time.
const STREAMS_MAX: u32 = 64;

/// Bytes of all header fields of a request.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// Bytes that a peer may send ahead of their reader, for one request and for one connection: with all connections open this is what
/// they can make the collector hold. A typical window is sent in one go; 4 MiB over 50 ms of round trip take half a second.
const STREAM_AHEAD_BYTES_MAX: u32 = 256 << 10;
/// See above.
const CONNECTION_AHEAD_BYTES_MAX: u32 = 512 << 10;

/// Streams that a peer may open and reset before it is sent away.
const RESETS_MAX: usize = 32;

/// Accepts until `stop` is done, then asks every connection to finish and waits at most `drain`.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>, drain: Duration) {
    let (stopping, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                // Out of file descriptors, most likely: others will finish.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                connections.spawn(connection(stream, Peer(peer), router.clone(), stopped.clone(), place));
            }
            Err(_) => warn!(limit = CONNECTIONS_MAX, "too many connections: one was closed"),
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finished).await.is_err() {
        warn!(after = ?drain, "some requests did not finish in time and were cut off");
    }
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    // Small answers must not wait for more.
    let _ = stream.set_nodelay(true);
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
    let io = TokioIo::new(IdleTimeout::new(stream, IDLE_MAX));
    let service = MapRequest::new(router, move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    });
    let mut connection = std::pin::pin!(builder.serve_connection(io, TowerToHyperService::new(service)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // An error means that the accept loop is gone, which means the same.
        () = async { stopped.wait_for(|stopped| *stopped).await.map_or((), drop) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}
