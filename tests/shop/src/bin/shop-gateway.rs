//! What people talk to: shows goods by itself, asks `shop-checkout` for prices and orders.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use shop::cart::{Cart, Confirmation};
use shop::catalog::{Catalog, Product};
use shop::client::{self, Client};
use shop::service::{self, Refusal};
use shop::sessions::Sessions;
use shop::{archive, fingerprint, tenant};

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

struct Gateway {
    catalog: Catalog,
    sessions: Sessions,
    checkout: Client,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> Result<(), client::Error> {
    let _agent = service::profile("gateway")?;
    let checkout = std::env::var("SHOP_CHECKOUT").unwrap_or_else(|_| "http://127.0.0.1:4052".to_owned());
    let gateway =
        Gateway { catalog: Catalog::generate(3_000), sessions: Sessions::default(), checkout: Client::new(&checkout) };
    let app = Router::new()
        .route("/products/{id}", get(product))
        .route("/search", get(search))
        .route("/report", get(report))
        .route("/quote", post(quote))
        .route("/checkout", post(checkout_cart))
        .layer(DefaultBodyLimit::max(1 << 20))
        .with_state(Arc::new(gateway));
    service::serve(app, "127.0.0.1:4051").await
}

#[derive(Deserialize)]
struct Visit {
    customer: String,
}

#[tracing::instrument(name = "product", skip_all)]
async fn product(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<u32>,
    Query(visit): Query<Visit>,
) -> Json<Product> {
    gateway.sessions.remember(&visit.customer, "product");
    Json(gateway.catalog.product(id).clone())
}

#[derive(Deserialize)]
struct Search {
    customer: String,
    q: String,
}

#[tracing::instrument(name = "search", skip_all)]
async fn search(State(gateway): State<Arc<Gateway>>, Query(search): Query<Search>) -> Json<Vec<Product>> {
    gateway.sessions.remember(&search.customer, "search");
    Json(gateway.catalog.search(&search.q, 40).into_iter().cloned().collect())
}

/// The slow one: everything the shop sells, packed.
#[tracing::instrument(name = "report", skip_all)]
async fn report(State(gateway): State<Arc<Gateway>>) -> Vec<u8> {
    archive::compress(gateway.catalog.report().as_bytes())
}

#[tracing::instrument(name = "quote", skip_all)]
async fn quote(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, body: Bytes) -> Result<Vec<u8>, Refusal> {
    forward(&gateway, "/quote", &headers, &body).await
}

#[tracing::instrument(name = "checkout", skip_all)]
async fn checkout_cart(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Confirmation>, Refusal> {
    let answer = forward(&gateway, "/orders", &headers, &body).await?;
    let mut confirmation: Confirmation = serde_json::from_slice(&answer).map_err(Refusal::upstream)?;
    // Whoever shows this receipt later must be able to prove that it is this one.
    confirmation.order = fingerprint::of(confirmation.receipt.as_bytes());
    Ok(Json(confirmation))
}

async fn forward(gateway: &Gateway, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let cart: Cart = serde_json::from_slice(body).map_err(Refusal::invalid)?;
    gateway.sessions.remember(&cart.customer, path);
    let cart = serde_json::to_vec(&cart).map_err(Refusal::invalid)?;
    let traceparent = client::outgoing_traceparent();
    let passed_on = [("traceparent", traceparent.as_deref()), (tenant::HEADER, tenant::of(headers))];
    let answer = gateway.checkout.send(path, Some(cart), &passed_on).await.map_err(Refusal::upstream)?;
    if !answer.status.is_success() {
        return Err(Refusal(answer.status, String::from_utf8_lossy(&answer.body).into_owned()));
    }
    Ok(answer.body.into())
}
