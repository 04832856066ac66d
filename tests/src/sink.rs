//! A collector that stores nothing: it acks every window and keeps it for whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

use tephra_proto::v1::profile_service_server::{ProfileService, ProfileServiceServer};
use tephra_proto::v1::{PushRequest, PushResponse, TraceShare};
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
struct Kept {
    windows: Arc<Mutex<Vec<PushRequest>>>,
    /// How often the share of traces that are told of is halved.
    halvings: u32,
}

#[tonic::async_trait]
impl ProfileService for Kept {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).push(request.into_inner());
        let trace_share = Some(TraceShare { halvings: self.halvings, from_unix_ms: 0 });
        Ok(Response::new(PushResponse { trace_share, ..PushResponse::default() }))
    }
}

impl Sink {
    /// Starts listening on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub fn start() -> Self {
        Self::announcing(0)
    }

    /// The same, with a share of traces that agents are to tell of: 2^−halvings.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn announcing(halvings: u32) -> Self {
        let windows = Kept { halvings, ..Kept::default() };
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
        self.windows.windows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
