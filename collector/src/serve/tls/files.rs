//! Certificate, key and client authority as files: read, checked against each other, and told apart from what was read before.
#![expect(
    clippy::disallowed_methods,
    reason = "an operator's certificates are no part of the store, and are only read"
)]

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, version};

use super::names::valid_until_s;

/// No chain and no set of authorities that a collector needs is larger.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What clients are asked to speak, in the order in which they are preferred.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where certificates and keys are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The collector's certificate, then those that lead from it to an authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities that sign certificates of clients. With them, clients must show one.
    pub client_ca: Option<PathBuf>,
    /// A client may go without; one that is shown must still be good.
    pub client_optional: bool,
}

/// Why files cannot be used. Each message names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file that holds something else.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Two files that do not belong together, or a kind of key that is not known.
    #[error("{} and {}: {problem}", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        problem: String,
    },
}

/// What files say.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// The last second in which the certificate is valid, unix seconds.
    pub(super) valid_until_s: Option<u64>,
}

/// Tells one state of the files from another without reading them: device, inode, length, and when contents and inode were last written.
/// `None` for a file that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<[i128; 7]>>);

impl TlsFiles {
    /// Reads and checks all of them.
    ///
    /// # Errors
    /// Names the file that cannot be used, and why.
    pub(super) fn load(&self) -> Result<Loaded, TlsError> {
        // Never the provider of the process: there may be several in one, or none.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&self.cert)?;
        let valid_until_s = chain.first().and_then(valid_until_s);
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| match error {
            pem::Error::NoItemsFound => content(
                &self.key,
                "holds no private key in PEM that is not encrypted: `openssl pkey -in FILE` makes one",
            ),
            error => content(&self.key, error),
        })?;
        let pair = |error: rustls::Error| TlsError::Pair {
            cert: self.cert.clone(),
            key: self.key.clone(),
            problem: match error {
                rustls::Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
                error => format!("cannot be used: {error}"),
            },
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(pair)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(self.verifier(path, &provider)?),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Loaded { config: Arc::new(config), valid_until_s })
    }

    fn verifier(
        &self,
        path: &Path,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(path)? {
            roots.add(authority).map_err(|error| content(path, format!("not an authority's certificate: {error}")))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = if self.client_optional { builder.allow_unauthenticated() } else { builder };
        builder.build().map_err(|error| content(path, error))
    }

    /// In which state the files are.
    pub(super) fn stamp(&self) -> Stamp {
        let files = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        let stamp = |path: &PathBuf| {
            let about = std::fs::metadata(path).ok()?;
            let (written, changed) = ((about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()));
            let (device, inode, bytes) = (about.dev().into(), about.ino().into(), about.len().into());
            Some([device, inode, bytes, written.0.into(), written.1.into(), changed.0.into(), changed.1.into()])
        };
        Stamp(files.into_iter().flatten().map(stamp).collect())
    }
}

fn content(path: &Path, problem: impl ToString) -> TlsError {
    TlsError::Content { path: path.to_owned(), problem: problem.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| content(path, error))?;
    if found.is_empty() { Err(content(path, "holds no certificate in PEM")) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
    read.map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(content(path, format!("is larger than {} MiB: it is no PEM file for this", FILE_BYTES_MAX >> 20)));
    }
    Ok(text)
}
