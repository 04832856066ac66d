//! A collector of a few lines: keeps what it is sent and answers what the test says.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its part of it")]

pub mod payload;
pub mod symbols;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod trap;

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tephra_proto::v1::profile_service_server::{ProfileService, ProfileServiceServer};
use tephra_proto::v1::symbol_service_server::{SymbolService, SymbolServiceServer};
use tephra_proto::v1::{
    OfferRequest, OfferResponse, PushRequest, PushResponse, SymbolFile, UploadChunk, UploadResponse,
};
use tephra_proto::{codec, limits};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use payload::Window;

/// There is one agent per process, and tests run side by side.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works for so long.
pub fn burn(duration: Duration) {
    let started = Instant::now();
    while started.elapsed() < duration {
        std::hint::black_box((0..1_000u64).sum::<u64>());
    }
}

/// Waits in a process that works: one that does nothing has no windows to send.
pub fn wait_at_work(what: &str, mut done: impl FnMut() -> bool) {
    wait_for(what, || {
        burn(Duration::from_millis(20));
        done()
    });
}

/// An answer to the n-th push, counted from 0.
type Answer = dyn Fn(usize, &PushRequest) -> Result<PushResponse, Status> + Send + Sync;

#[derive(Default)]
struct Kept {
    pushes: Mutex<Vec<PushRequest>>,
    offers: Mutex<Vec<SymbolFile>>,
    uploads: Mutex<Vec<(SymbolFile, Vec<u8>)>>,
    tokens: Mutex<Vec<Option<String>>>,
}

#[derive(Clone)]
struct Service {
    kept: Arc<Kept>,
    answer: Arc<Answer>,
}

/// A running collector; it ends with the test's process.
pub struct Collector {
    kept: Arc<Kept>,
    address: SocketAddr,
}

impl Collector {
    /// Accepts everything and wants all symbols.
    pub fn start() -> Self {
        Self::answering(|_, _| Ok(PushResponse::default()))
    }

    pub fn answering(
        answer: impl Fn(usize, &PushRequest) -> Result<PushResponse, Status> + Send + Sync + 'static,
    ) -> Self {
        let kept = Arc::new(Kept::default());
        let service = Service { kept: Arc::clone(&kept), answer: Arc::new(answer) };
        let (bound, address): (_, Receiver<SocketAddr>) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                bound.send(incoming.local_addr().unwrap()).unwrap();
                let profiles = ProfileServiceServer::new(service.clone()).max_decoding_message_size(64 << 20);
                tonic::transport::Server::builder()
                    .add_service(profiles)
                    .add_service(SymbolServiceServer::new(service))
                    .serve_with_incoming(incoming)
                    .await
                    .unwrap();
            });
        });
        Self { kept, address: address.recv().unwrap() }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every push so far, as it came.
    pub fn pushes(&self) -> Vec<PushRequest> {
        self.kept.pushes.lock().unwrap().clone()
    }

    /// Every push so far, decoded.
    pub fn windows(&self) -> Vec<Window> {
        self.pushes().iter().map(Window::read).collect()
    }

    /// The files that were offered.
    pub fn offers(&self) -> Vec<SymbolFile> {
        self.kept.offers.lock().unwrap().clone()
    }

    /// What each call so far said who it is, of pushes, offers and uploads.
    pub fn tokens(&self) -> Vec<Option<String>> {
        self.kept.tokens.lock().unwrap().clone()
    }

    /// The files that were uploaded, put together again.
    pub fn uploads(&self) -> Vec<(SymbolFile, Vec<u8>)> {
        self.kept.uploads.lock().unwrap().clone()
    }
}

/// How long a test that can go on for ever is to last: nothing, unless `cargo xtask soak` says so.
pub fn soak_time() -> Duration {
    let seconds =
        std::env::var("TEPHRA_SOAK_SECONDS").ok().map(|seconds| seconds.parse().expect("a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(0))
}

/// CPU time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

/// Waits until `done`; a test that waits for ever is ended by this and not by whoever runs it.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Kept {
    fn note_token<T>(&self, request: &Request<T>) {
        let token = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        self.tokens.lock().unwrap().push(token);
    }
}

#[tonic::async_trait]
impl ProfileService for Service {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        self.kept.note_token(&request);
        let request = request.into_inner();
        let n = {
            let mut pushes = self.kept.pushes.lock().unwrap();
            pushes.push(request.clone());
            pushes.len() - 1
        };
        (self.answer)(n, &request).map(Response::new)
    }
}

#[tonic::async_trait]
impl SymbolService for Service {
    async fn offer(&self, request: Request<OfferRequest>) -> Result<Response<OfferResponse>, Status> {
        self.kept.note_token(&request);
        let files = request.into_inner().files;
        let wanted = files.iter().map(|file| file.build_id.clone()).collect();
        self.kept.offers.lock().unwrap().extend(files);
        Ok(Response::new(OfferResponse { wanted }))
    }

    async fn upload(&self, request: Request<Streaming<UploadChunk>>) -> Result<Response<UploadResponse>, Status> {
        self.kept.note_token(&request);
        let mut chunks = request.into_inner();
        let (mut file, mut content) = (None, Vec::new());
        while let Some(chunk) = chunks.message().await? {
            file = file.or(chunk.file);
            content.extend(codec::decompress(&chunk.data, limits::SYMBOL_CHUNK_BYTES_MAX).unwrap());
        }
        let file_bytes = content.len() as u64;
        self.kept.uploads.lock().unwrap().push((file.unwrap(), content));
        Ok(Response::new(UploadResponse { file_bytes }))
    }
}
