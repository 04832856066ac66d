//! A collector that stores nothing: it acks every window and keeps it for whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

use tephra_proto::v1::profile_service_server::{ProfileService, ProfileServiceServer};
use tephra_proto::v1::{PushRequest, PushResponse};
use tokio::runtime::Runtime;
use tonic::{Request, Response, Status};

/// Listens until dropped.
#[derive(Debug)]
pub struct Sink {
    windows: Kept,
    port: u16,
    _runtime: Runtime,
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<PushRequest>>>);

#[tonic::async_trait]
impl ProfileService for Kept {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request.into_inner());
        Ok(Response::new(PushResponse::default()))
    }
}

impl Sink {
    /// Starts listening on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub fn start() -> Self {
        let windows = Kept::default();
        let port = crate::process::free_port();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let service = ProfileServiceServer::new(windows.clone());
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        runtime.spawn(tonic::transport::Server::builder().add_service(service).serve(address));
        Self { windows, port, _runtime: runtime }
    }

    /// Where agents send to.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything received so far.
    pub fn windows(&self) -> Vec<PushRequest> {
        self.windows.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
