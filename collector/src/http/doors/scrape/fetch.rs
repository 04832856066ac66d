//! One answer of a target: fetched within a time, a size, and the memory that all answers share. Redirects are not followed, so that nobody
//! is sent credentials whom the configuration does not name.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Certificate, Identity, StatusCode, header, redirect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::{Auth, Job, Secret, Tls};
use super::files;
use crate::http::doors::inflate::Encoding;
use crate::profile::pprof::PPROF_BYTES_MAX;

/// Of answers that are on their way, together.
const ROOM_KIB: usize = 64 << 10;

/// Of what a target says of its failure, in its own words.
const WORDS_MAX: usize = 120;

/// Memory for what comes.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_KIB)))
    }
}

impl Room {
    fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, String> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let held = self.0.clone().try_acquire_many_owned(kib);
        held.map_err(|_| format!("answers of all targets together have more than {} MiB", ROOM_KIB >> 10))
    }
}

/// Asks the targets of a job.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    auth: Auth,
    room: Room,
}

impl Client {
    /// # Errors
    /// In words, when certificates cannot be used.
    pub(super) fn new(job: &Job, room: Room) -> Result<Self, String> {
        let agent = concat!("tephra/", env!("CARGO_PKG_VERSION"));
        let builder = reqwest::Client::builder().user_agent(agent).redirect(redirect::Policy::none()).no_proxy();
        // A connection that a target closed meanwhile would cost a scrape.
        let builder = builder.pool_idle_timeout(Duration::from_secs(5)).pool_max_idle_per_host(1);
        let http = with_tls(builder, &job.tls)?.build().map_err(|error| said(&error))?;
        Ok(Self { http, auth: job.auth.clone(), room })
    }

    /// The body of an answer, inflated where it was compressed on its way, and the memory that it takes.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn get(&self, url: &str, time: Duration) -> Result<(Bytes, OwnedSemaphorePermit), String> {
        let fetched = tokio::time::timeout(time, self.fetch(url));
        fetched.await.unwrap_or_else(|_| Err(format!("it did not answer within {:.1} s", time.as_secs_f64())))
    }

    async fn fetch(&self, url: &str) -> Result<(Bytes, OwnedSemaphorePermit), String> {
        let request = self.http.get(url);
        let request = match &self.auth {
            Auth::None => request,
            Auth::Basic { user, password } => request.basic_auth(user, Some(password.reveal().await?)),
            Auth::Header { scheme, credentials } => {
                request.header(header::AUTHORIZATION, format!("{scheme} {}", credentials.reveal().await?))
            }
        };
        let mut answer = request.send().await.map_err(|error| said(&error))?;
        let status = answer.status();
        let encoding = Encoding::of(answer.headers()).map_err(|error| error.to_string())?;
        let mut held = self.room.hold(1)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| said(&error))? {
            if status != StatusCode::OK && body.len() > WORDS_MAX {
                break;
            }
            if body.len() + chunk.len() > PPROF_BYTES_MAX {
                return Err(format!("the answer has more than {PPROF_BYTES_MAX} bytes"));
            }
            held.merge(self.room.hold(chunk.len())?);
            body.extend_from_slice(&chunk);
        }
        if status != StatusCode::OK {
            let words: String = String::from_utf8_lossy(&body).chars().take(WORDS_MAX).collect();
            let words = words.split(char::is_control).next().unwrap_or_default().trim().to_owned();
            return Err(format!("it answers {status}: {words}"));
        }
        let body = body.freeze();
        if encoding == Encoding::Identity {
            return Ok((body, held));
        }
        let inflated =
            crate::work::blocking(move || encoding.inflate(body)).await.map_err(|error| error.to_string())?;
        Ok((inflated.map_err(|error| error.to_string())?, held))
    }
}

impl Secret {
    /// # Errors
    /// In words, when its file cannot be read.
    async fn reveal(&self) -> Result<String, String> {
        match self {
            Self::Written(secret) => Ok(secret.clone()),
            Self::In(file) => {
                let file = file.clone();
                let read =
                    crate::work::blocking(move || files::text(&file)).await.map_err(|error| error.to_string())?;
                read.map(|secret| secret.trim().to_owned())
            }
        }
    }
}

fn with_tls(mut builder: reqwest::ClientBuilder, tls: &Tls) -> Result<reqwest::ClientBuilder, String> {
    if let Some(file) = &tls.ca {
        let authorities = Certificate::from_pem_bundle(files::text(file)?.as_bytes());
        let authorities = authorities.map_err(|error| format!("{}: {}", file.display(), said(&error)))?;
        if authorities.is_empty() {
            return Err(format!("{}: it holds no certificate in PEM", file.display()));
        }
        builder = builder.tls_built_in_root_certs(false);
        builder = authorities.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    if let Some((cert, key)) = &tls.cert_and_key {
        let pem = format!("{}\n{}", files::text(cert)?, files::text(key)?);
        let identity = Identity::from_pem(pem.as_bytes());
        builder = builder.identity(identity.map_err(|error| format!("{}: {}", cert.display(), said(&error)))?);
    }
    Ok(builder.danger_accept_invalid_certs(tls.skip_verify))
}

/// What the last cause of an error says: the others only say that something was tried. Without the address, which may hold a secret.
fn said(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
