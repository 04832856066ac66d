//! Where the picture of a page is, for its head: a whole address, which is what chats want.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::AppState;
use crate::base::certificate::Encrypted;
use crate::urls::encode;

/// Pages with longer addresses have no picture: chats cut such links.
const PAGE_BYTES_MAX: usize = 2 << 10;

/// The address; none where people are asked who they are, since a chat's server is nobody.
#[derive(Debug, Clone, Default)]
pub struct CardLink(pub(super) Option<String>);

impl CardLink {
    fn of(parts: &Parts) -> Option<String> {
        let page = parts.uri.path_and_query()?.as_str();
        // HTTP/2 carries the name in the URI. The guard has checked it.
        let host = match parts.uri.authority() {
            Some(authority) => authority.as_str(),
            None => parts.headers.get(header::HOST)?.to_str().ok()?,
        };
        let scheme = if parts.extensions.get::<Encrypted>().is_some() { "https" } else { "http" };
        (page.len() <= PAGE_BYTES_MAX).then(|| format!("{scheme}://{host}/og.png?page={}", encode(page)))
    }
}

impl FromRequestParts<AppState> for CardLink {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self(if state.access.is_on() { None } else { Self::of(parts) }))
    }
}
