//! Attacks on HTTP/2, frame by frame, in clear and over TLS: each ends the same way, and nobody else notices.

use tokio::io::{AsyncRead, AsyncWrite, split};

use super::*;

/// Sent in one go, so that many frames are there when the collector looks.
const AT_ONCE_BYTES: usize = 64 << 10;

/// An attack that got so far was not stopped.
const ATTACK_BYTES: usize = 64 << 20;

/// RFC 9113, 7: the peer is doing something that may be an attack.
const ENHANCE_YOUR_CALM: u32 = 11;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 5;

/// GET http://localhost/ in HPACK: three from the static table, and the authority in words.
const GET: &[u8] = b"\x82\x86\x84\x41\x09localhost";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Opens a stream and takes it back, again and again.
fn rapid_reset(n: u32) -> Vec<u8> {
    let stream = 2 * n + 1;
    [frame(HEADERS, WHOLE, stream, GET), frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
}

/// One request whose header never ends.
fn continuation_flood(n: u32) -> Vec<u8> {
    match n {
        0 => frame(HEADERS, 0, 1, GET),
        _ => frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b"),
    }
}

/// Answers on a port of its own for as long as the test runs.
async fn open(tls: Option<Tls>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door { tls, ..listener.into() };
    let router = Router::new().route("/", any(async || "fine\n"));
    let edge = (ConnectionLimits::default(), Conditions::default());
    tokio::spawn(connections::serve(door, router, edge, std::future::pending(), Duration::ZERO));
    address
}

async fn connect(address: SocketAddr, tls: Option<&TlsConnector>) -> Box<dyn Stream> {
    let stream = TcpStream::connect(address).await.unwrap();
    match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()),
    }
}

/// Sends frames until the other side has enough. What it says about that, if its words arrive: what is sent on meanwhile may drown them.
async fn attack(stream: Box<dyn Stream>, frames: fn(u32) -> Vec<u8>) -> Option<u32> {
    let (mut reading, mut writing) = split(stream);
    let heard = tokio::spawn(async move {
        let mut code = None;
        loop {
            let mut head = [0; 9];
            if reading.read_exact(&mut head).await.is_err() {
                return code;
            }
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            if reading.read_exact(&mut payload).await.is_err() {
                return code;
            }
            if head[3] == GOAWAY {
                code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
    });
    let (mut n, mut sent) = (0, 0);
    let mut chunk = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
    while !heard.is_finished() {
        while chunk.len() < AT_ONCE_BYTES {
            chunk.extend(frames(n));
            n += 1;
        }
        sent += chunk.len();
        assert!(sent < ATTACK_BYTES, "it goes on for ever");
        if writing.write_all(&chunk).await.is_err() || writing.flush().await.is_err() {
            break;
        }
        chunk.clear();
        tokio::task::yield_now().await;
    }
    heard.await.unwrap()
}

#[tokio::test]
async fn attacks_on_http_2_end_over_tls_as_they_do_in_clear() {
    let authority = Authority::new();
    let files = Files::of(&authority.server());
    let connector = authority.client(&[&version::TLS13], "h2", None);
    let asking = authority.plain_client();
    let (clear, encrypted) = (open(None).await, open(Some(Tls::read(files.named()).unwrap())).await);
    for frames in [rapid_reset, continuation_flood] {
        for (address, tls) in [(clear, None), (encrypted, Some(&connector))] {
            let mut other = connect(address, tls.map(|_| &asking)).await;
            for _ in 0..3 {
                let code = attack(connect(address, tls).await, frames).await;
                assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
            }
            // A connection of before, on which nothing was said until now.
            other.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            // How it ends is not what this is about.
            let _ = other.read_to_end(&mut answer).await;
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("fine\n"), "{answer}");
        }
    }
}
