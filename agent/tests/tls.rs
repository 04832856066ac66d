//! TLS to the collector: who is believed, who is told what, and that the host's own cryptography goes on as without the agent.
#![cfg(all(target_os = "linux", feature = "tls-ring", not(feature = "pprof-fallback")))]
#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use support::{Collector, alone, wait_at_work};
use tephra_agent::rustls::crypto::{CryptoProvider, ring};
use tephra_agent::rustls::pki_types::PrivateKeyDer;
use tephra_agent::rustls::server::WebPkiClientVerifier;
use tephra_agent::rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig};
use tephra_agent::{Agent, Builder};
use tephra_proto::v1::PushResponse;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::Status;

/// What a child process is to do.
const ROLE: &str = "TEPHRA_TEST_ROLE";

/// Runs one test of this file again in a process of its own; what it was told of deliveries that failed.
fn in_child(test: &str) -> Option<Vec<String>> {
    if std::env::var(ROLE).is_ok_and(|role| role == test) {
        return None;
    }
    let started = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap());
    let Output { status, stdout, stderr } =
        child.args(["--exact", test, "--nocapture"]).env(ROLE, test).output().unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.success(), "{said}\n{}", String::from_utf8_lossy(&stdout));
    assert!(!said.contains("hunter2"), "{said}");
    let notices = said.lines().filter(|line| line.starts_with("tephra: no collector takes windows"));
    let notices: Vec<String> = notices.map(str::to_owned).collect();
    let minutes = started.elapsed().as_secs() as usize / 60;
    assert!((1..=minutes + 1).contains(&notices.len()), "one a minute: {said}");
    Some(notices)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Signs certificates, and keeps them as files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tephra-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(), folder };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key.
    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn identity(&self) -> (PathBuf, PathBuf) {
        let (cert, key) = self.sign("agent.example", |_| {});
        (self.write("agent.pem", &cert.pem()), self.write("agent-key.pem", &key.serialize_pem()))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// Settings of a collector's port; with clients of an authority, they must show a certificate.
    fn server(&self, name: &str, clients: Option<&Self>, change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let (cert, key) = self.sign(name, change);
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(of) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(of.roots()), provider()).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![cert.into()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that speaks TLS before a collector; it ends with the test's process.
struct Front {
    address: SocketAddr,
    /// What the next connection is met with.
    config: Arc<Mutex<Arc<ServerConfig>>>,
    /// Of each handshake that was done.
    suites: Arc<Mutex<Vec<CipherSuite>>>,
}

impl Front {
    fn of(collector: &Collector, config: ServerConfig) -> Self {
        let behind: SocketAddr = collector.endpoint().trim_start_matches("http://").parse().unwrap();
        let (config, suites) = (Arc::new(Mutex::new(Arc::new(config))), Arc::new(Mutex::new(Vec::new())));
        let (met, noted) = (Arc::clone(&config), Arc::clone(&suites));
        let (bound, address) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (acceptor, noted) = (TlsAcceptor::from(met.lock().unwrap().clone()), Arc::clone(&noted));
                    tokio::spawn(async move {
                        let Ok(mut stream) = acceptor.accept(stream).await else { return };
                        noted.lock().unwrap().extend(stream.get_ref().1.negotiated_cipher_suite().map(|s| s.suite()));
                        let mut plain = TcpStream::connect(behind).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                    });
                }
            });
        });
        Self { address: address.recv().unwrap(), config, suites }
    }

    fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

fn builder(endpoint: String) -> Builder {
    Agent::builder("encrypted").endpoint(endpoint).window(Duration::from_secs(1))
}

fn delivers(agent: &Agent) {
    wait_at_work("delivery", || agent.stats().windows_delivered >= 2);
}

/// Windows wait, attempts are counted, the service goes on.
fn waits(agent: &Agent) {
    wait_at_work("failed attempts", || agent.stats().failed_attempts >= 2);
    let stats = agent.stats();
    assert!(stats.windows_delivered == 0 && stats.windows_waiting > 0, "{stats:?}");
    assert!(stats.windows_refused == 0 && stats.cpu_samples > 0, "{stats:?}");
}

#[test]
fn windows_and_symbols_go_over_tls_with_the_token_and_nothing_is_left_of_it_in_the_process() {
    let _alone = alone();
    let (authority, collector) = (Authority::new("token"), Collector::start());
    let front = Front::of(&collector, authority.server("localhost", None, |_| {}));
    let file = authority.write("token", "hunter2\n");
    let agent = builder(front.endpoint()).ca_file(authority.ca_file()).token_file(&file).start().unwrap();
    delivers(&agent);
    wait_at_work("symbols", || !collector.uploads().is_empty());
    assert!(collector.tokens().iter().all(|token| token.as_deref() == Some("Bearer hunter2")));
    authority.write("token", "hunter3\n");
    wait_at_work("the renewed token", || {
        collector.tokens().iter().any(|token| token.as_deref() == Some("Bearer hunter3"))
    });
    drop(agent);
    // The host's own way to rustls, which panics where somebody has brought a second provider into the process without choosing one.
    assert!(CryptoProvider::get_default().is_none(), "the agent chooses nothing for the process");
    let _ = ClientConfig::builder().with_root_certificates(authority.roots()).with_no_client_auth();
    let installed = CryptoProvider::get_default().map(Arc::as_ptr);
    let agent = builder(front.endpoint()).ca_file(authority.ca_file()).start().unwrap();
    delivers(&agent);
    drop(agent);
    assert_eq!(CryptoProvider::get_default().map(Arc::as_ptr), installed, "what the host has chosen stays");
}

#[test]
fn the_host_s_provider_and_settings_are_what_is_spoken() {
    let _alone = alone();
    let (authority, collector) = (Authority::new("provider"), Collector::start());
    let front = Front::of(&collector, authority.server("localhost", None, |_| {}));
    let only = |suite: CipherSuite| {
        let cipher_suites = ring::default_provider().cipher_suites.into_iter().filter(|s| s.suite() == suite).collect();
        Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
    };
    let spoken = || front.suites.lock().unwrap().last().copied();

    let chosen = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    let agent = builder(front.endpoint()).ca_file(authority.ca_file()).crypto_provider(only(chosen)).start().unwrap();
    delivers(&agent);
    drop(agent);
    assert_eq!(spoken(), Some(chosen));

    let chosen = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    let config = ClientConfig::builder_with_provider(only(chosen)).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(authority.roots()).with_no_client_auth();
    let agent = builder(front.endpoint()).tls_config(Arc::new(config)).start().unwrap();
    delivers(&agent);
    drop(agent);
    assert_eq!(spoken(), Some(chosen));
}

#[test]
fn a_collector_that_is_not_who_it_says_gets_nothing_and_one_line_says_why() {
    const TEST: &str = "a_collector_that_is_not_who_it_says_gets_nothing_and_one_line_says_why";
    if let Some(notices) = in_child(TEST) {
        let line = &notices[0];
        assert!(line.contains("https://localhost:") && line.contains("invalid peer certificate"), "{line}");
        return;
    }
    let (authority, stranger, collector) = (Authority::new("wrong"), Authority::new("other"), Collector::start());
    let wrong = [
        stranger.server("localhost", None, |_| {}),
        authority.server("elsewhere.example", None, |_| {}),
        authority.server("localhost", None, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)),
    ];
    for config in wrong {
        let front = Front::of(&collector, config);
        let agent = builder(front.endpoint()).ca_file(authority.ca_file()).token("hunter2").start().unwrap();
        waits(&agent);
        // Once it is who it says, what waited arrives.
        *front.config.lock().unwrap() = Arc::new(authority.server("localhost", None, |_| {}));
        delivers(&agent);
        let before = collector.pushes().len();
        drop(agent);
        assert!(before > 0);
        assert_eq!(collector.pushes()[0].header.as_ref().unwrap().sequence, 1, "nothing was lost");
    }
}

#[test]
fn a_refused_token_costs_one_line_and_windows_wait_for_a_better_one() {
    const TEST: &str = "a_refused_token_costs_one_line_and_windows_wait_for_a_better_one";
    if let Some(notices) = in_child(TEST) {
        let line = &notices[0];
        assert!(line.contains("unknown token") && line.contains("Unauthenticated"), "{line}");
        return;
    }
    let collector = Collector::answering(|n, _| match n {
        0 | 2 => Err(Status::unauthenticated("unknown token")),
        1 => Err(Status::permission_denied("it may not push")),
        _ => Ok(PushResponse::default()),
    });
    let agent = builder(collector.endpoint()).token("hunter2").start().unwrap();
    delivers(&agent);
    assert_eq!((agent.stats().failed_attempts, agent.stats().windows_refused), (3, 0));
    drop(agent);
    let pushes = collector.pushes();
    assert!(pushes[..4].iter().all(|push| *push == pushes[0]), "the window is kept and sent again");
}

#[test]
fn an_agent_shows_its_certificate_and_a_renewed_one_after_it() {
    let _alone = alone();
    let (authority, clients, collector) = (Authority::new("mutual"), Authority::new("clients"), Collector::start());
    let front = Front::of(&collector, authority.server("localhost", Some(&clients), |_| {}));
    let with = |(cert, key): &(PathBuf, PathBuf)| {
        builder(front.endpoint()).ca_file(authority.ca_file()).client_identity(cert, key).start().unwrap()
    };
    let agent = with(&clients.identity());
    delivers(&agent);
    drop(agent);

    // Of an authority that is not known, until somebody renews the files.
    let stranger = Authority::new("stranger");
    let identity = stranger.identity();
    let agent = with(&identity);
    waits(&agent);
    let (cert, key) = clients.identity();
    let copy = |from: &Path, to: &Path| assert!(std::fs::copy(from, to).unwrap() > 0);
    copy(&cert, &identity.0);
    copy(&key, &identity.1);
    delivers(&agent);
}

#[test]
fn plain_http_to_a_port_that_speaks_tls_costs_windows_and_nothing_else() {
    let _alone = alone();
    let (authority, collector) = (Authority::new("plain"), Collector::start());
    let front = Front::of(&collector, authority.server("localhost", None, |_| {}));
    let agent = builder(front.endpoint().replace("https", "http")).start().unwrap();
    wait_at_work("a failed attempt", || agent.stats().failed_attempts > 0);
    assert_eq!(agent.stats().windows_delivered, 0);
}
