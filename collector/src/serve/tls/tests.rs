//! TLS over the loopback: what is spoken, who is let in, and certificates that change meanwhile.

mod attacks;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion, version};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::connections::{self, Door};
use super::super::places::ConnectionLimits;
use super::*;
use crate::base::certificate::PeerCertificate;

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Signed {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Signed { cert: cert.pem(), key: key.serialize_pem() }
    }

    fn server(&self) -> Signed {
        self.sign("localhost", |_| {})
    }

    /// Settings of a client that trusts this authority.
    fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocol: &str,
        own: Option<&Signed>,
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = CertificateDer::pem_slice_iter(own.cert.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config).into()
    }

    fn plain_client(&self) -> TlsConnector {
        self.client(&[&version::TLS13], "http/1.1", None)
    }
}

/// Files of a collector, and what is in them.
struct Files {
    folder: TempDir,
}

impl Files {
    fn of(signed: &Signed) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.renew(signed);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// As a program that renews certificates does: one file after the other.
    fn renew(&self, signed: &Signed) {
        self.write("cert.pem", &signed.cert);
        self.write("key.pem", &signed.key);
    }

    fn named(&self) -> TlsFiles {
        let (cert, key) = (self.path("cert.pem"), self.path("key.pem"));
        TlsFiles { cert, key, client_ca: None, client_optional: false }
    }

    fn with_clients_of(&self, authority: &Authority, client_optional: bool) -> TlsFiles {
        let client_ca = Some(self.write("clients.pem", &authority.0.pem()));
        TlsFiles { client_ca, client_optional, ..self.named() }
    }
}

/// A port that speaks TLS and answers in which version of HTTP it was asked, and by whom.
struct Port {
    address: SocketAddr,
    tls: Tls,
    conditions: Conditions,
    _stop: oneshot::Sender<()>,
    _server: JoinHandle<()>,
}

impl Port {
    async fn open(files: TlsFiles) -> Self {
        Self::open_with(files, ConnectionLimits::default()).await
    }

    async fn open_with(files: TlsFiles, limits: ConnectionLimits) -> Self {
        let tls = Tls::read(files).unwrap();
        let who = any(async |request: Request| {
            let names = request.extensions().get::<PeerCertificate>().map(|peer| peer.names.join(" "));
            format!("{:?} {}\n", request.version(), names.unwrap_or_else(|| "nobody".to_owned()))
        });
        let router = Router::new().route("/", who);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (door, conditions) = (Door { tls: Some(tls.clone()), ..listener.into() }, Conditions::default());
        let edge = (limits, conditions.clone());
        let server = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or(()) };
            connections::serve(door, router, edge, stopped, Duration::ZERO).await;
        });
        Self { address, tls, conditions, _stop: stop, _server: server }
    }

    async fn connect(&self, connector: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// Asks on a connection of its own, by HTTP/1.1; the last line of the answer.
    async fn ask(&self, connector: &TlsConnector) -> io::Result<String> {
        let mut stream = self.connect(connector).await?;
        ask_on(&mut stream, "close").await
    }

    /// The certificate that new connections are shown.
    async fn shown(&self, connector: &TlsConnector) -> CertificateDer<'static> {
        let stream = self.connect(connector).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    }
}

async fn ask_on(stream: &mut TlsStream<TcpStream>, connection: &str) -> io::Result<String> {
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") || answer.ends_with(b"\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(answer.lines().last().unwrap().to_owned())
}

fn first_of(signed: &Signed) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(signed.cert.as_bytes()).unwrap()
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_are_spoken() {
    let authority = Authority::new();
    let files = Files::of(&authority.server());
    let port = Port::open(files.named()).await;
    for (offered, spoken) in [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut stream = port.connect(&authority.client(&[offered], "http/1.1", None)).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(ask_on(&mut stream, "close").await.unwrap(), "HTTP/1.1 nobody");

        let stream = port.connect(&authority.client(&[offered], "h2", None)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut asking, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::get("https://localhost/").body(Empty::<Bytes>::new()).unwrap();
        let answer = asking.send_request(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "HTTP/2.0 nobody\n");
        connection.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_under_load_and_no_request_fails() {
    const RENEWALS: usize = 10;
    let authority = Authority::new();
    let files = Files::of(&authority.server());
    let port = Arc::new(Port::open(files.named()).await);
    let following = tokio::spawn(port.tls.clone().follow(port.conditions.clone()));
    let (answered, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (port, connector) = (port.clone(), authority.plain_client());
            let (answered, is_over) = (answered.clone(), is_over.clone());
            tokio::spawn(async move {
                // One connection that lasts, and new ones beside it.
                let mut lasting = port.connect(&connector).await.unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    ask_on(&mut lasting, "keep-alive").await.unwrap();
                    port.ask(&connector).await.unwrap();
                    answered.fetch_add(2, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let connector = authority.plain_client();
    for _ in 0..RENEWALS {
        let renewed = authority.server();
        files.renew(&renewed);
        port.tls.read_again();
        let before = answered.load(Ordering::Relaxed);
        while port.shown(&connector).await != first_of(&renewed) || answered.load(Ordering::Relaxed) == before {
            tokio::task::yield_now().await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for task in asking {
        task.await.expect("every request was answered");
    }
    assert!(answered.load(Ordering::Relaxed) >= 2 * RENEWALS);
    assert_eq!(port.conditions.all(), []);
    following.abort();
}

#[tokio::test]
async fn a_broken_renewal_leaves_the_old_in_force_and_is_told_once() {
    let authority = Authority::new();
    let (old, new) = (authority.server(), authority.server());
    let files = Files::of(&old);
    let port = Port::open(files.named()).await;
    let connector = authority.plain_client();
    let mut follower = Follower::new(port.tls.clone(), port.conditions.clone());
    let broken: [&dyn Fn(); 4] = [
        &|| drop(files.write("cert.pem", &old.cert[..old.cert.len() / 2])),
        &|| drop(files.write("key.pem", &new.key)),
        &|| drop(files.write("cert.pem", "")),
        &|| fs::remove_file(files.path("key.pem")).unwrap(),
    ];
    for breaks in broken {
        breaks();
        follower.look(true, 0);
        let told = port.conditions.all();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].kind == NOT_RENEWED && told[0].message.contains("cert.pem"), "{told:?}");
        assert!(told[0].severity == Severity::Degraded && told[0].message.contains("stays in force"), "{told:?}");
        assert_eq!(port.shown(&connector).await, first_of(&old));
        assert_eq!(port.ask(&connector).await.unwrap(), "HTTP/1.1 nobody");
    }
    files.renew(&new);
    follower.look(true, 0);
    assert_eq!(port.conditions.all(), []);
    assert_eq!(port.shown(&connector).await, first_of(&new));
}

#[test]
fn files_are_read_again_once_they_have_changed_and_settled() {
    let authority = Authority::new();
    let files = Files::of(&authority.server());
    let tls = Tls::read(files.named()).unwrap();
    let mut follower = Follower::new(tls.clone(), Conditions::default());
    let config = |tls: &Tls| Arc::as_ptr(&tls.config());
    let first = config(&tls);
    for _ in 0..3 {
        follower.look(false, 0);
    }
    assert_eq!(config(&tls), first, "nothing has changed");
    // In place; then by another file under the same name, as with a link to another folder.
    for replaced in [false, true] {
        let before = config(&tls);
        let renewed = authority.server();
        files.write("cert.pem", &renewed.cert);
        follower.look(false, 0);
        if replaced {
            let beside = files.write("beside.pem", &renewed.key);
            fs::rename(beside, files.path("key.pem")).unwrap();
        } else {
            files.write("key.pem", &renewed.key);
        }
        follower.look(false, 0);
        assert_eq!(config(&tls), before, "it is still being written");
        assert_eq!(follower.conditions.all(), [], "and nothing is told of that");
        follower.look(false, 0);
        assert_ne!(config(&tls), before);
    }
}

#[test]
fn an_operator_is_told_before_the_certificate_is_over_and_after() {
    let (now, day) = (1_750_000_000, 86_400);
    assert_eq!(expiry(None, now).1, None);
    assert_eq!(expiry(Some(now + 8 * day), now).1, None);
    let (severity, message) = expiry(Some(now + 6 * day), now);
    assert!(severity == Severity::Notice && message.unwrap().contains("is valid until 2025-06-21 15:06 UTC"));
    let (severity, message) = expiry(Some(now - 1), now);
    assert!(severity == Severity::Degraded && message.unwrap().contains("was valid until 2025-06-15 15:06 UTC"));
}

#[tokio::test]
async fn clients_must_show_a_certificate_of_the_authority_and_are_known_by_its_names() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let files = Files::of(&authority.server());
    let port = Port::open(files.with_clients_of(&authority, false)).await;
    let agent = authority.sign("agent.example", |_| {});
    let impostor = stranger.sign("agent.example", |_| {});
    let past = authority.sign("agent.example", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for version in [&version::TLS12, &version::TLS13] {
        let ask = async |own| port.ask(&authority.client(&[version], "http/1.1", own)).await;
        let known = ask(Some(&agent)).await.unwrap();
        assert_eq!(known, "HTTP/1.1 dns:agent.example cn:agent.example");
        for own in [None, Some(&impostor), Some(&past)] {
            assert!(ask(own).await.is_err());
        }
    }
    // Where they may go without, a bad one is still refused.
    let port = Port::open(files.with_clients_of(&authority, true)).await;
    let ask = async |own| port.ask(&authority.client(&[&version::TLS13], "http/1.1", own)).await;
    assert_eq!(ask(Some(&agent)).await.unwrap(), "HTTP/1.1 dns:agent.example cn:agent.example");
    assert_eq!(ask(None).await.unwrap(), "HTTP/1.1 nobody");
    assert!(ask(Some(&impostor)).await.is_err() && ask(Some(&past)).await.is_err());
}

#[tokio::test]
async fn a_renewed_authority_of_clients_is_in_force_for_new_connections() {
    let (authority, next) = (Authority::new(), Authority::new());
    let files = Files::of(&authority.server());
    let port = Port::open(files.with_clients_of(&authority, false)).await;
    let agent = authority.sign("agent.example", |_| {});
    let connector = authority.client(&[&version::TLS13], "http/1.1", Some(&agent));
    let mut before = port.connect(&connector).await.unwrap();
    ask_on(&mut before, "keep-alive").await.unwrap();
    files.write("clients.pem", &next.0.pem());
    Follower::new(port.tls.clone(), port.conditions.clone()).look(true, 0);
    // The same settings, which hold tickets of sessions of before.
    assert!(port.ask(&connector).await.is_err());
    ask_on(&mut before, "keep-alive").await.unwrap();
}

#[tokio::test]
async fn slow_handshakes_stop_nobody() {
    let authority = Authority::new();
    let files = Files::of(&authority.server());
    let port = Port::open_with(files.named(), ConnectionLimits { all: 20, per_address: Some(15) }).await;
    let mut slow = Vec::new();
    for said in [&b""[..], &[22], &[22, 3, 1, 0, 200, 1, 0, 0, 196], b"GET"] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(port.address).await.unwrap();
            stream.write_all(said).await.unwrap();
            slow.push(stream);
        }
        assert_eq!(port.ask(&authority.plain_client()).await.unwrap(), "HTTP/1.1 nobody");
    }
    assert_eq!(port.conditions.all(), [], "nobody was turned away");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_a_deadline() {
    let authority = Authority::new();
    let files = Files::of(&authority.server());
    let tls = Tls::read(files.named()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for said in [&b""[..], &[22, 3, 1], b"GET / HTTP/1.1\r\n"] {
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(said).await.unwrap();
        let error = tls.accept(stream).await.err().expect("it does not go on for ever");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{said:?}");
    }
}

#[tokio::test]
async fn plain_http_is_told_that_the_port_speaks_tls() {
    let authority = Authority::new();
    let files = Files::of(&authority.server());
    let port = Port::open(files.named()).await;
    let say = async |said: &[u8]| {
        let mut stream = TcpStream::connect(port.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map(|_| answer)
    };
    let request =
        format!("POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{}", "x".repeat(9));
    let answer = String::from_utf8(say(request.as_bytes()).await.unwrap()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    assert!(body.contains("https://"), "{body}");
    assert_eq!(say(b"\x80\x2e\x01\x00\x02 neither").await.unwrap_or_default(), b"", "what is neither gets nothing");

    let stream = TcpStream::connect(port.address).await.unwrap();
    let (mut asking, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://localhost/").body(Empty::<Bytes>::new()).unwrap();
    let refused = asking.send_request(request).await.unwrap_err();
    let ended = connection.await.unwrap();
    let said = format!("{refused:?} {ended:?}");
    assert!(said.contains("INADEQUATE_SECURITY") && said.contains("https://"), "{said}");
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let authority = Authority::new();
    let (one, other) = (authority.server(), authority.server());
    let files = Files::of(&one);
    let good = files.named();
    let refused = |files: TlsFiles| Tls::read(files).unwrap_err().to_string();
    let write = |name: &str, text: &str| files.write(name, text);

    let strange = write("other.pem", &other.key);
    let message = refused(TlsFiles { key: strange.clone(), ..good.clone() });
    assert!(message.contains("cert.pem and ") && message.contains("other.pem: the key is not that of"), "{message}");

    let message = refused(TlsFiles { cert: files.path("gone.pem"), ..good.clone() });
    assert!(message.contains("gone.pem: No such file"), "{message}");
    let message = refused(TlsFiles { cert: strange, ..good.clone() });
    assert!(message.contains("other.pem: holds no certificate"), "{message}");
    let message = refused(TlsFiles { key: good.cert.clone(), ..good.clone() });
    assert!(message.contains("cert.pem: holds no private key"), "{message}");
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let message = refused(TlsFiles { key: write("locked.pem", locked), ..good.clone() });
    assert!(message.contains("locked.pem: holds no private key in PEM that is not encrypted"), "{message}");
    let message = refused(TlsFiles { client_ca: Some(write("empty.pem", "")), ..good.clone() });
    assert!(message.contains("empty.pem: holds no certificate"), "{message}");
    let large = write("large.pem", &"x".repeat(5 << 20));
    assert!(refused(TlsFiles { cert: large, ..good.clone() }).contains("large.pem: is larger than 4 MiB"));
    assert!(refused(TlsFiles { cert: Path::new("/").to_owned(), ..good.clone() }).starts_with("/: "));
    assert!(!format!("{:?}", Tls::read(good).unwrap()).contains("BEGIN"));
}
