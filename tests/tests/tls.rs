//! A collector that speaks TLS, with an agent and the command line as they are used.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tephra_agent::Agent;
use tephra_tests::clock::eventually;
use tephra_tests::collector::{command, tephra};
use tephra_tests::process::{Running, Signal, free_port};

/// A folder with an authority's certificate (`ca.pem`), and what it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let authority = Self { issuer, folder: tempfile::tempdir().expect("a folder") };
        std::fs::write(authority.path("ca.pem"), authority.issuer.pem()).expect("writes");
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Certificate and key for a name, as files in a folder.
    fn sign(&self, name: &str, into: &Path) -> [PathBuf; 2] {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = ["cert", "key"].map(|kind| into.join(format!("{name}-{kind}.pem")));
        std::fs::write(&files[0], cert.pem()).expect("writes");
        std::fs::write(&files[1], key.serialize_pem()).expect("writes");
        files
    }
}

fn serve(data: &Path, port: u16, [cert, key]: &[PathBuf; 2]) -> Command {
    let mut serve = command(data, port);
    serve.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
    serve
}

/// The flame graph of a service, by the command line; or what it says instead.
fn export(port: u16, ca_file: Option<&Path>) -> Result<String, String> {
    let mut export = tephra();
    export.args(["export", "--server", &format!("https://localhost:{port}"), "--format", "folded"]);
    export.arg("service=encrypted").env_remove("TEPHRA_CA_FILE");
    if let Some(path) = ca_file {
        export.arg("--ca-file").arg(path);
    }
    let Output { status, stdout, stderr } = export.output().expect("it starts");
    let [out, err] = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    if status.success() { Ok(out) } else { Err(err) }
}

/// Works until so many windows were taken.
fn deliver(agent: &Agent, windows: u64) {
    eventually("windows are taken", || {
        std::hint::black_box((0..3_000_000u64).fold(0, |sum, n| sum ^ n.wrapping_mul(sum | 1)));
        (agent.stats().windows_delivered >= windows).then_some(())
    });
}

#[test]
fn an_agent_and_the_command_line_speak_tls_and_certificates_are_renewed_meanwhile() {
    let (authority, next) = (Authority::new(), Authority::new());
    let data = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let pair = authority.sign("localhost", authority.folder.path());
    let collector = Running::start(&mut serve(data.path(), port, &pair));
    let agent = Agent::builder("encrypted")
        .endpoint(format!("https://localhost:{port}"))
        .ca_file(authority.path("ca.pem"))
        .window(Duration::from_secs(1))
        .start()
        .expect("an agent");
    deliver(&agent, 1);
    let found = eventually("the flame graph", || export(port, Some(&authority.path("ca.pem"))).ok());
    assert!(!found.is_empty());
    let refused = export(port, None).expect_err("nobody on this system has signed it");
    assert!(refused.contains("invalid peer certificate"), "{refused}");

    let failed = agent.stats().failed_attempts;
    next.sign("localhost", authority.folder.path());
    collector.signal(Signal::HUP);
    eventually("the renewed certificate", || export(port, Some(&next.path("ca.pem"))).ok());
    deliver(&agent, agent.stats().windows_delivered + 2);
    assert_eq!(agent.stats().failed_attempts, failed, "the connection of before goes on");
    drop(agent);
    assert!(collector.terminate().success());
}

#[test]
fn a_key_of_another_certificate_stops_the_start_and_both_files_are_named() {
    let authority = Authority::new();
    let [cert, _] = authority.sign("one.example", authority.folder.path());
    let [_, key] = authority.sign("other.example", authority.folder.path());
    let data = tempfile::tempdir().expect("a folder");
    let Output { status, stderr, .. } = serve(data.path(), free_port(), &[cert, key]).output().expect("it starts");
    let said = String::from_utf8_lossy(&stderr);
    assert!(
        !status.success() && said.contains("one.example-cert.pem") && said.contains("other.example-key.pem"),
        "{said}"
    );
    assert!(said.contains("the key is not that of the certificate"), "{said}");

    let alone = command(data.path(), free_port()).args(["--tls-cert", "x.pem"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&alone.stderr);
    assert!(!alone.status.success() && said.contains("--tls-key"), "{said}");
}
