//! TLS to the collector, with settings of the agent's own: it neither installs a crypto provider for the process nor asks for the process's,
//! so whatever the host does with rustls goes on as without the agent.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::notice::Notice;

/// How the collector is recognized, and how it recognizes this agent.
#[derive(Clone, Default)]
pub(crate) struct TlsSettings {
    /// The host's own settings: then nothing of the rest counts.
    pub(crate) config: Option<Arc<ClientConfig>>,
    /// Whose implementation of cryptography; that of a feature where the host gives none.
    pub(crate) provider: Option<Arc<CryptoProvider>>,
    /// Authorities in PEM; the system's where the host names none.
    pub(crate) ca_file: Option<PathBuf>,
    /// Certificate and key of this agent, in PEM.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// Where the files are, and nothing of what is in them.
impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("TlsSettings");
        shown.field("ca_file", &self.ca_file).field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Why TLS cannot be spoken as it is wanted. Says nothing of a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsProblem {
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("no authority's certificate is installed on this system: name a file with `ca_file` or TEPHRA_CA_FILE")]
    NoAuthority,
    #[error(
        "the feature tls-no-provider brings no cryptography: give it with `crypto_provider` or `tls_config`, or choose tls-ring or tls-aws-lc"
    )]
    NoProvider,
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

impl TlsSettings {
    fn load(&self) -> Result<Arc<ClientConfig>, TlsProblem> {
        let mut config = match &self.config {
            Some(config) => ClientConfig::clone(config),
            None => self.make()?,
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn make(&self) -> Result<ClientConfig, TlsProblem> {
        let provider = self.provider.clone().or_else(of_feature).ok_or(TlsProblem::NoProvider)?;
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(path) => {
                for authority in certificates(path)? {
                    roots.add(authority).map_err(|error| of_file(path, error))?;
                }
            }
            // What of the system's cannot be read is left out, as everybody leaves it out.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        if roots.is_empty() {
            return Err(TlsProblem::NoAuthority);
        }
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let Some((cert, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| of_file(key, error))?;
        builder.with_client_auth_cert(certificates(cert)?, private).map_err(|error| of_file(cert, error))
    }

    /// When the files were written, and how long they are; `None` for one that cannot be looked at.
    fn stamp(&self) -> Vec<Option<(SystemTime, u64)>> {
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        let files = self.ca_file.iter().chain(identity);
        let stamp = |path: &PathBuf| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        };
        files.map(stamp).collect()
    }
}

/// The cryptography that this build brings. Where it brings two, the one that needs no C compiler.
fn of_feature() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "tls-ring")]
    return Some(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(all(feature = "tls-aws-lc", not(feature = "tls-ring")))]
    return Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
    None
}

fn of_file(path: &Path, problem: impl ToString) -> TlsProblem {
    TlsProblem::File { path: path.to_owned(), problem: problem.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsProblem> {
    /// No file of certificates is larger.
    const FILE_BYTES_MAX: u64 = 4 << 20;
    let read = || {
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(std::fs::File::open(path)?, FILE_BYTES_MAX), &mut text)?;
        Ok::<_, io::Error>(text)
    };
    read().map_err(|error| of_file(path, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| of_file(path, error))?;
    if found.is_empty() { Err(of_file(path, "holds no certificate in PEM")) } else { Ok(found) }
}

/// TLS as it is spoken now. Files that change are read before the next connection.
#[derive(Clone)]
pub(crate) struct Tls {
    /// Whose name must be in the collector's certificate.
    pub(super) server: ServerName<'static>,
    settings: TlsSettings,
    loaded: Arc<Mutex<Loaded>>,
}

struct Loaded {
    stamp: Vec<Option<(SystemTime, u64)>>,
    config: Arc<ClientConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { server, settings, .. } = self;
        f.debug_struct("Tls").field("server", server).field("settings", settings).finish_non_exhaustive()
    }
}

impl Tls {
    pub(crate) fn new(server: ServerName<'static>, settings: TlsSettings) -> Result<Self, TlsProblem> {
        let (stamp, config) = (settings.stamp(), settings.load()?);
        Ok(Self { server, settings, loaded: Arc::new(Mutex::new(Loaded { stamp, config })) })
    }

    /// For the next connection. Files that cannot be used change nothing.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.settings.stamp();
        if stamp != loaded.stamp {
            match self.settings.load() {
                Ok(config) => *loaded = Loaded { stamp, config },
                Err(why) => {
                    static BROKEN: Notice = Notice::new();
                    BROKEN.say(&format!("TLS goes on with the certificates of before: {why}"));
                }
            }
        }
        loaded.config.clone()
    }
}
