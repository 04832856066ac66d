//! Requests that a proxy sends for somebody else: from here on they come from where that one is, and carry what the proxy says of them.
//! Nobody behind this reads those headers.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::access::Access;
use crate::base::certificate::Encrypted;
use crate::ingest::Peer;

/// The middleware around everything on the port.
pub(super) async fn forwarded(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    if let Some(forwarded) = peer.and_then(|peer| access.forwarded(peer.0, request.headers())) {
        let extensions = request.extensions_mut();
        extensions.insert(Peer(forwarded.client));
        match forwarded.is_encrypted {
            Some(true) => drop(extensions.insert(Encrypted)),
            Some(false) => drop(extensions.remove::<Encrypted>()),
            None => {}
        }
        extensions.insert(forwarded);
    }
    next.run(request).await
}
