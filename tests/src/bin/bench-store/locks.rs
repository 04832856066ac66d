//! What locks cost: to know who asks, for each request; TLS, for ingest, beside the same load in clear; and ten thousand encrypted connections
//! on which nothing happens.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tephra_collector::access::proxies::{Proxies, network};
use tephra_collector::access::role::Role;
use tephra_collector::access::token::Token;
use tephra_collector::access::{Access, AccessOptions, Brought};
use tephra_collector::store::access::{AccessCatalog, NewToken};
use tephra_collector::store::place::Place;
use tephra_collector::store::{Options, Store};
use tephra_proto::v1::PushRequest;
use tephra_proto::v1::profile_service_client::ProfileServiceClient;
use tephra_tests::bench::{Random, Report, percentile_ms};
use tephra_tests::clock::now_ms;
use tephra_tests::collector::{Collector, command};
use tephra_tests::process::free_port;
use tephra_tests::synthetic::{Agent, Window, aligned, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::ingest::{SAMPLES_PER_WINDOW, window};

/// Tokens in force.
const TOKENS: usize = 1_000;
/// Requests whose sender is asked for.
const ASKED: u32 = 200_000;

/// Connections that push; each waits for its ack.
const PUSHING: usize = 64;
const VARIANTS: u64 = 64;
/// Windows of a round; rounds in clear and over TLS take turns.
const ROUND: u64 = 1_500;
const ROUNDS: u64 = 4;

/// Encrypted connections on which nothing happens.
const IDLE: usize = 10_000;
/// Handshakes at the same time.
const AT_ONCE: usize = 64;
/// New connections that ask for something meanwhile.
const OTHERS: usize = 300;

const MIB: f64 = (1 << 20) as f64;

pub(crate) fn measure(report: &mut Report) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    who_asks(report, &runtime);
    ingest(report, &runtime);
    idle(report, &runtime);
}

/// From the headers of a request to who it is.
fn who_asks(report: &mut Report, runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = Place::Folder(folder.path().to_owned());
    let proxies = Proxies {
        networks: vec![network("10.0.0.0/8").expect("a network")],
        group_roles: vec![("staff".to_owned(), Role::Read)],
    };
    let options = AccessOptions { required: true, proxies, ..AccessOptions::default() };
    let (access, token) = runtime.block_on(async {
        let store = Store::open_at(place.clone(), Options::default()).await.expect("a store");
        let catalog = AccessCatalog::beside(&place, store.catalog()).await.expect("an access catalog");
        let mut last = None;
        for _ in 0..TOKENS {
            let token = Token::draw().expect("a token");
            let (id, digest, role) = (token.id().to_owned(), token.digest(), Role::Read.as_str().to_owned());
            let tenant = "default".to_owned();
            let new = NewToken { id, digest, role, tenant, note: String::new(), expires_ms: None };
            catalog.create_token(&new, now_ms()).await.expect("a token");
            last = Some(token);
        }
        let access = Access::open(options, catalog, store.conditions()).await.expect("access");
        (access, last.expect("there are some"))
    });
    let bearer = format!("Bearer {}", token.reveal());
    let wrong = format!(
        "Bearer {}.{}",
        token.id(),
        Token::draw().expect("a token").reveal().split_once('.').expect("two parts").1
    );
    let person = [("x-forwarded-user", "alice"), ("x-forwarded-groups", "a,b,staff"), ("x-forwarded-for", "192.0.2.1")];
    let mut cost = |name: &str, said: &[(&'static str, &str)], is_right: bool| {
        let headers: HeaderMap = said
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value")))
            .collect();
        let uri: Uri = "/api/v1/flamegraph?service=checkout&from=now-1h&until=now".parse().expect("a URI");
        let begun = Instant::now();
        for _ in 0..ASKED {
            let forwarded = access.forwarded([10, 0, 0, 1].into(), &headers);
            let brought = Brought { certificate: None, forwarded: forwarded.as_ref() };
            let admitted = access.admit(std::hint::black_box(&headers), &uri, brought, Role::Read);
            assert_eq!(admitted.is_ok(), is_right);
        }
        let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(ASKED);
        report.at_most(&format!("to know who asks, {TOKENS} tokens in force: {name}"), each, "µs", 20.0);
    };
    cost("a right token", &[("authorization", &bearer)], true);
    cost("a wrong secret", &[("authorization", &wrong)], false);
    cost("a person, by a proxy", &person, true);
}

/// A collector, and whoever pushes to it.
struct Side {
    collector: Collector,
    channels: Vec<Channel>,
    windows: Vec<PushRequest>,
    cpu: Vec<f64>,
    took: Vec<f64>,
}

impl Side {
    fn new(collector: Collector, connect: impl Fn() -> Channel, windows: &[Window]) -> Self {
        let packed: Vec<PushRequest> = {
            let mut agent = Agent::new("bench", 1);
            windows.iter().map(|window| request(agent.next_header(0, window), &window.payload())).collect()
        };
        let mut agent = Agent::new("bench", 1);
        let all = ROUND * ROUNDS;
        let start = aligned(now_ms(), 0) - all * 10_000;
        let windows = (0..all).map(|i| {
            let variant = (i % VARIANTS) as usize;
            let header = agent.next_header(start + i * 10_000, &windows[variant]);
            PushRequest { header: Some(header), ..packed[variant].clone() }
        });
        let channels = (0..PUSHING).map(|_| connect()).collect();
        Self { collector, channels, windows: windows.collect(), cpu: Vec::new(), took: Vec::new() }
    }

    /// The next windows. The first round also connects.
    async fn round(&mut self) {
        let rest = self.windows.split_off(ROUND as usize);
        let windows = Arc::new(std::mem::replace(&mut self.windows, rest));
        let (cpu, begun) = (self.collector.cpu_seconds(), Instant::now());
        let next = Arc::new(AtomicUsize::new(0));
        let pushing = self.channels.iter().map(|channel| {
            let (channel, windows, next) = (channel.clone(), windows.clone(), next.clone());
            tokio::spawn(async move {
                let mut client = ProfileServiceClient::new(channel);
                while let Some(window) = windows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    client.push(window.clone()).await.expect("an ack");
                }
            })
        });
        for pushing in pushing.collect::<Vec<_>>() {
            pushing.await.expect("it does not panic");
        }
        self.took.push(begun.elapsed().as_secs_f64());
        self.cpu.push(self.collector.cpu_seconds() - cpu);
    }
}

/// A certificate for this machine, and clients that trust it.
struct Certificate {
    folder: tempfile::TempDir,
    roots: RootCertStore,
}

impl Certificate {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.path().join("cert.pem"), cert.pem()).expect("writes");
        std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).expect("writes");
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("a root");
        Self { folder, roots }
    }

    /// Waits until it takes connections.
    fn serve(&self, data: &Path, options: &[&str]) -> Collector {
        let port = free_port();
        let mut command = command(data, port);
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| self.folder.path().join(name));
        command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key).args(options);
        Collector::start_until(command, port, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    fn client(&self, protocol: &str) -> TlsConnector {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.expect("versions").with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config).into()
    }
}

async fn connect(port: u16, tls: TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    tls.connect(name, stream).await
}

/// The same load in clear and over TLS, by turns. What counts is the collector's CPU time: the clock also times those who push, on the same
/// cores.
fn ingest(report: &mut Report, runtime: &Runtime) {
    let mut random = Random::seeded(1);
    let windows: Vec<Window> = (0..VARIANTS).map(|variant| window(&mut random, variant)).collect();
    let (certificate, data) = (Certificate::new(), tempfile::tempdir().expect("a temporary folder"));
    let (clear, encrypted) = (Collector::start(), certificate.serve(data.path(), &[]));
    let endpoint = Endpoint::from_shared(clear.endpoint()).expect("a URL");
    let (port, connector) = (encrypted.port(), certificate.client("h2"));
    let _runtime = runtime.enter();
    let mut clear = Side::new(clear, || endpoint.connect_lazy(), &windows);
    let over_tls = || {
        let connector = connector.clone();
        let dial = move |_: Uri| {
            let connector = connector.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(connect(port, connector).await?)) }
        };
        Endpoint::from_static("http://localhost").connect_with_connector_lazy(service_fn(dial))
    };
    let mut tls = Side::new(encrypted, over_tls, &windows);
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            clear.round().await;
            tls.round().await;
        }
    });
    // Without the first, in which connections are made.
    let mean = |rounds: &[f64]| rounds[1..].iter().sum::<f64>() / (rounds.len() - 1) as f64;
    let per_window = |rounds: &[f64]| mean(rounds) / ROUND as f64 * 1e6;
    report.note("ingest in clear: collector's CPU per window", per_window(&clear.cpu), "µs");
    report.note("ingest over TLS: collector's CPU per window", per_window(&tls.cpu), "µs");
    let more = (mean(&tls.cpu) / mean(&clear.cpu) - 1.0) * 100.0;
    report.at_most("ingest over TLS: collector's CPU, more than in clear", more, "%", 10.0);
    let rate = |rounds: &[f64]| (ROUND * SAMPLES_PER_WINDOW) as f64 / mean(rounds);
    report.note("ingest in clear: samples per second", rate(&clear.took), "1/s");
    report.note("ingest over TLS: samples per second", rate(&tls.took), "1/s");
}

/// Many encrypted connections on which nothing happens but what keeps them open, while others are served.
fn idle(report: &mut Report, runtime: &Runtime) {
    let (certificate, data) = (Certificate::new(), tempfile::tempdir().expect("a temporary folder"));
    let room = (IDLE + 2 * AT_ONCE).to_string();
    let collector = certificate.serve(data.path(), &["--connections", &room, "--connections-per-address", &room]);
    let (port, open) = (collector.port(), Arc::new(AtomicUsize::new(0)));
    let before = collector.memory() as f64 / MIB;
    let (h2, http1) = (certificate.client("h2"), certificate.client("http/1.1"));
    let mut asked = Vec::new();
    let begun = Instant::now();
    runtime.block_on(async {
        for _ in 0..IDLE.div_ceil(AT_ONCE) {
            let several: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(connect(port, h2.clone()))).collect();
            for one in several {
                // Where this machine has no more descriptors, there are fewer; how many is reported.
                let Ok(stream) = one.await.expect("it does not panic") else { continue };
                let open = open.clone();
                open.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let _ = stay(stream).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
        report.note("idle TLS connections: seconds until all were open", begun.elapsed().as_secs_f64(), "s");
        for _ in 0..OTHERS {
            let sent = Instant::now();
            let mut stream = connect(port, http1.clone()).await.expect("another connection is taken");
            let request = b"GET /api/v1/services HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.expect("it is asked");
            let mut answer = Vec::new();
            // How a stream ends is not what this is about.
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            asked.push(sent.elapsed());
        }
    });
    let memory = collector.memory() as f64 / MIB;
    report.at_least("idle TLS connections: open at the end", open.load(Ordering::Relaxed) as f64, "", IDLE as f64);
    report.at_most("idle TLS connections: collector's resident memory", memory, "MiB", 500.0);
    report.note("idle TLS connections: of it before", before, "MiB");
    report.note("idle TLS connections: another's handshake and answer, p50", percentile_ms(&mut asked, 0.5), "ms");
    report.note("idle TLS connections: another's handshake and answer, p99", percentile_ms(&mut asked, 0.99), "ms");
}

/// Speaks as much HTTP/2 as keeps a connection open (RFC 9113, 6.5 and 6.7), until it ends.
async fn stay(mut stream: TlsStream<TcpStream>) -> io::Result<()> {
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [_, high, low, kind, flags, ..] = head;
        let mut payload = vec![0; usize::from(high) << 8 | usize::from(low)];
        stream.read_exact(&mut payload).await?;
        let is_new = flags & 1 == 0;
        match kind {
            SETTINGS if is_new => stream.write_all(b"\0\0\0\x04\x01\0\0\0\0").await?,
            PING if is_new => stream.write_all(&[&b"\0\0\x08\x06\x01\0\0\0\0"[..], &payload].concat()).await?,
            _ => {}
        }
    }
}
