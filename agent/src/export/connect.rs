//! Where windows and symbols go, and the connection to it: plain, or encrypted where the address says so.

use std::time::Duration;

use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};

use super::credentials::Credentials;
#[cfg(feature = "tls-no-provider")]
use super::tls::Tls;

/// For a connection, and again for a call: longer than any healthy collector needs, shorter than a window's queue.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Notices a collector that vanished without a word before the next window is due.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A collector, and how it is talked to.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) endpoint: Uri,
    pub(crate) credentials: Credentials,
    #[cfg(feature = "tls-no-provider")]
    pub(crate) tls: Option<Tls>,
}

/// What calls go through.
pub(super) type Connection = InterceptedService<Channel, Credentials>;

/// Connects at the first call, and again whenever the connection is lost.
pub(super) fn connect(to: &Destination) -> Connection {
    let settings = |endpoint: Endpoint| {
        endpoint
            .connect_timeout(TIMEOUT)
            .tcp_nodelay(true)
            .http2_max_header_list_size(16 << 10)
            .tcp_keepalive(Some(KEEPALIVE))
    };
    #[cfg(feature = "tls-no-provider")]
    if let Some(tls) = &to.tls {
        let endpoint = settings(Endpoint::from(encrypted::dialled(&to.endpoint))).origin(to.endpoint.clone());
        let channel = endpoint.connect_with_connector_lazy(encrypted::Connector::new(tls.clone()));
        return InterceptedService::new(channel, to.credentials.clone());
    }
    let channel = settings(Endpoint::from(to.endpoint.clone())).connect_lazy();
    InterceptedService::new(channel, to.credentials.clone())
}

#[cfg(feature = "tls-no-provider")]
mod encrypted {
    use std::future::Future;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tonic::codegen::Service;
    use tonic::transport::Uri;

    use super::{KEEPALIVE, Tls};

    /// The address as plain HTTP, with the port that https means: where the host has tonic speak TLS, tonic takes every https address for
    /// its own business.
    pub(super) fn dialled(endpoint: &Uri) -> Uri {
        let host = endpoint.host().unwrap_or_default();
        let port = endpoint.port_u16().unwrap_or(443);
        format!("http://{host}:{port}").parse().unwrap_or_else(|_| endpoint.clone())
    }

    /// Dials as tonic does, then shakes hands.
    #[derive(Clone)]
    pub(super) struct Connector {
        tcp: HttpConnector,
        tls: Tls,
    }

    impl Connector {
        pub(super) fn new(tls: Tls) -> Self {
            let mut tcp = HttpConnector::new();
            tcp.set_nodelay(true);
            tcp.set_keepalive(Some(KEEPALIVE));
            Self { tcp, tls }
        }
    }

    impl Service<Uri> for Connector {
        type Response = TokioIo<TlsStream<TcpStream>>;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.tcp.poll_ready(cx).map_err(io::Error::other)
        }

        fn call(&mut self, address: Uri) -> Self::Future {
            let (dialling, tls) = (self.tcp.call(address), self.tls.clone());
            Box::pin(async move {
                let tcp = dialling.await.map_err(io::Error::other)?.into_inner();
                let stream = TlsConnector::from(tls.config()).connect(tls.server.clone(), tcp).await;
                Ok(TokioIo::new(stream.map_err(|error| io::Error::new(error.kind(), format!("TLS: {error}")))?))
            })
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_address_without_a_port_means_that_of_https() {
            for (endpoint, expected) in [
                ("https://collector", "http://collector:443/"),
                ("https://collector:4040/", "http://collector:4040/"),
                ("https://[::1]:4040", "http://[::1]:4040/"),
            ] {
                assert_eq!(dialled(&endpoint.parse().unwrap()).to_string(), expected);
            }
        }
    }
}
