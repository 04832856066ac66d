//! Connections over the loopback: more of them than there is room for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::connections;
use super::places::ConnectionLimits;
use crate::conditions::Conditions;
use crate::http::guard::{AllowedHosts, guard};

/// A port on which `/healthz` and `/page` answer, and `/work` never does.
struct Port {
    address: SocketAddr,
    conditions: Conditions,
    /// One for each request that is at work.
    at_work: Arc<Semaphore>,
    _stop: oneshot::Sender<()>,
    _server: JoinHandle<()>,
}

impl Port {
    async fn open(limits: ConnectionLimits) -> Self {
        let (conditions, at_work) = (Conditions::default(), Arc::new(Semaphore::new(0)));
        let working = at_work.clone();
        let work = any(async move || {
            working.add_permits(1);
            std::future::pending::<()>().await;
        });
        let router = Router::new()
            .route("/healthz", any(async || "ok\n"))
            .route("/page", any(async || "a page\n"))
            .route("/tephra.v1.ProfileService/Push", any(async || "an ack\n"))
            .route("/work", work)
            .layer(from_fn_with_state(AllowedHosts::default(), guard));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let edge = (limits, conditions.clone());
        let server = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or(()) };
            connections::serve(listener.into(), router, edge, stopped, Duration::ZERO).await;
        });
        Self { address, conditions, at_work, _stop: stop, _server: server }
    }

    /// Connects from an address of this machine and says something.
    async fn connect(&self, from: &str, said: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        stream
    }

    /// Asks on a connection of its own; the whole answer.
    async fn ask(&self, from: &str, path: &str, headers: &str) -> String {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        let mut stream = self.connect(from, &request).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// So many connections on which something is being answered.
    async fn occupy(&self, from: &str, count: u32) -> Vec<TcpStream> {
        let mut streams = Vec::new();
        for _ in 0..count {
            streams.push(self.connect(from, "GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n").await);
        }
        self.at_work.acquire_many(count).await.unwrap().forget();
        streams
    }
}

#[tokio::test]
async fn however_many_idle_connections_there_are_a_request_is_answered() {
    let port = Port::open(ConnectionLimits { all: 20, per_address: Some(15) }).await;
    let mut idle = Vec::new();
    for (from, said) in [("127.0.0.1", ""), ("127.0.0.2", "GET /pa"), ("127.0.0.3", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]
    {
        for _ in 0..100 {
            idle.push(port.connect(from, said).await);
        }
        for from in ["127.0.0.1", "127.0.0.3", "127.0.0.4"] {
            assert!(port.ask(from, "/healthz", "").await.starts_with("HTTP/1.1 200"), "{from}");
            assert!(port.ask(from, "/page", "").await.ends_with("a page\n"), "{from}");
        }
    }
    assert_eq!(port.conditions.all(), [], "nobody was turned away");
}

#[tokio::test]
async fn where_every_connection_is_at_work_a_probe_is_answered_and_others_are_told_to_come_again() {
    let port = Port::open(ConnectionLimits { all: 6, per_address: Some(4) }).await;
    let here = port.occupy("127.0.0.1", 4).await;
    // Another address has room still.
    assert!(port.ask("127.0.0.2", "/page", "").await.starts_with("HTTP/1.1 200"));
    let there = port.occupy("127.0.0.2", 2).await;
    let mut lobby = Vec::new();
    for round in 0..3 {
        for from in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
            assert!(port.ask(from, "/healthz", "").await.starts_with("HTTP/1.1 200"), "{round} {from}");
            let page = port.ask(from, "/page", "").await;
            assert!(page.starts_with("HTTP/1.1 429") && page.contains("no room for another connection"), "{page}");
            let call = port.ask(from, "/tephra.v1.ProfileService/Push", "Content-Type: application/grpc\r\n").await;
            assert!(call.contains("grpc-status: 8"), "{call}");
        }
        for _ in 0..100 {
            lobby.push(port.connect("127.0.0.9", "").await);
        }
    }
    let told: BTreeSet<_> = port.conditions.all().iter().map(|condition| condition.kind).collect();
    assert_eq!(told, BTreeSet::from(["connections_full", "connections_of_address_full"]));
    drop((here, there));
    // Those that were at work are gone once their ends are noticed.
    while port.ask("127.0.0.1", "/page", "").await.starts_with("HTTP/1.1 429") {
        tokio::task::yield_now().await;
    }
    drop(lobby);
}
