//! The collector's gRPC side, as an agent uses it.

use tephra_proto::v1::profile_service_client::ProfileServiceClient;
use tephra_proto::v1::{PushRequest, PushResponse};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// A connection, for tests that are not async themselves.
#[derive(Debug)]
pub struct Pusher {
    runtime: Runtime,
    client: ProfileServiceClient<Channel>,
}

impl Pusher {
    /// Connects when it first pushes.
    ///
    /// # Panics
    /// When the endpoint is not a URL.
    pub fn new(endpoint: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).expect("a URL");
        let client = runtime.block_on(async { ProfileServiceClient::new(endpoint.connect_lazy()) });
        Self { runtime, client }
    }

    /// Pushes one window.
    ///
    /// # Errors
    /// When the collector refuses it or is not there.
    // A status is large, but this is a test.
    #[allow(clippy::result_large_err)]
    pub fn push(&self, request: PushRequest) -> Result<PushResponse, Status> {
        let mut client = self.client.clone();
        self.runtime.block_on(async move { client.push(request).await }).map(tonic::Response::into_inner)
    }

    /// Pushes one window that must be taken.
    ///
    /// # Panics
    /// When it is not.
    pub fn accept(&self, request: PushRequest) -> PushResponse {
        self.push(request).unwrap_or_else(|status| panic!("refused: {status}"))
    }
}
