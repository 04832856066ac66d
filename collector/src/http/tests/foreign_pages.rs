//! What a page of another site can make a browser send, byte for byte, to a running collector.

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::Lab;
use crate::http::route::Route;
use crate::http::{router, routes};
use crate::ingest::testing::{TestWindow, recent_ms, row};
use crate::serve::{Collector, ConnectionLimits, run};

/// What Chromium adds to `fetch(url, { method: "POST", mode: "no-cors", body })` by what the body is, and what it cannot be talked out of;
/// it says `Sec-Fetch-Site` to this machine and over TLS, not to other addresses.
const SENT: [&str; 6] = [
    "Content-Type: text/plain;charset=UTF-8\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
    "Content-Type: text/plain;charset=UTF-8\r\nOrigin: http://evil.example\r\n",
    "Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
    "Content-Type: application/x-www-form-urlencoded\r\nOrigin: null\r\n",
    // From browsers that say less.
    "Content-Type: text/plain\r\n",
    "",
];

/// A gRPC message.
fn message(request: &impl Message) -> Vec<u8> {
    let content = request.encode_to_vec();
    let mut framed = vec![0];
    framed.extend((content.len() as u32).to_be_bytes());
    framed.extend(content);
    framed
}

/// The status line of the answer.
async fn post(port: u16, path: &str, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_page_of_another_site_stores_nothing_by_any_call() {
    let lab = Lab::new().await;
    let state = lab.state.clone();
    let collector = Collector {
        store: lab.store.clone(),
        query: state.engine.clone(),
        ingest: lab.ingest.clone(),
        symbols: state.symbols.clone(),
        connections: ConnectionLimits::default(),
        compacting: Default::default(),
        access: state.access.clone(),
        started_ms: 0,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let app = router(state.clone());
    let server =
        tokio::spawn(async move { run(&collector, listener, app, async { stopped.await.unwrap_or(()) }).await });

    let body = message(&TestWindow::new("shop", 1, 1, recent_ms()).cpu(&[row("main", 1)]).request());
    let calls: Vec<&str> = routes::all(&state).iter().filter(|route| Route::is_call(route)).map(|r| r.path).collect();
    for path in calls {
        for headers in SENT {
            let status = post(port, path, headers, &body).await;
            assert!(status.contains("403") || status.contains("415"), "{path}: {status} to {headers}");
        }
    }
    let windows = async || lab.store.catalog().totals().await.unwrap().windows;
    assert_eq!(windows().await, 0);
    // The very same bytes, sent by what is no page.
    let status =
        post(port, "/tephra.v1.ProfileService/Push", "Content-Type: application/grpc\r\nTE: trailers\r\n", &body).await;
    assert_eq!((status.as_str(), windows().await), ("HTTP/1.1 200 OK", 1));
    stop.send(()).unwrap();
    server.await.unwrap();
}
