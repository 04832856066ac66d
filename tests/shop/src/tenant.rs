//! Whose people buy: businesses have contracts of their own with the shop. The tenant travels in a header, and labels what is sampled.

use axum::http::HeaderMap;

/// The header that names the tenant.
pub const HEADER: &str = "x-tenant";

/// The tenant whose contract asks for audits: see [`crate::audit`].
pub const UMBRELLA: &str = "umbrella";

/// Whom a customer buys for: half of them for acme, a fifth for umbrella.
pub fn of_customer(customer: u64) -> &'static str {
    match customer % 10 {
        0..5 => "acme",
        5..8 => "globex",
        _ => UMBRELLA,
    }
}

/// Whom a request says that it is for.
pub fn of(headers: &HeaderMap) -> Option<&str> {
    headers.get(HEADER)?.to_str().ok()
}
