//! Prices carts and takes orders.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use shop::archive::Archive;
use shop::audit::Audit;
use shop::cart::{Cart, Confirmation, LINES_MAX, Quote};
use shop::catalog::Catalog;
use shop::service::Refusal;
use shop::tax::{TaxOffice, TaxRules};
use shop::{client, fingerprint, receipt, service, tax, tenant};

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

struct Checkout {
    catalog: Catalog,
    taxes: Box<dyn TaxOffice>,
    archive: Archive,
    audit: Audit,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> Result<(), client::Error> {
    let _agent = service::profile("checkout")?;
    let catalog = Catalog::generate(3_000);
    let audit = Audit::of(&catalog);
    let checkout = Checkout { catalog, taxes: Box::new(TaxRules::load()), archive: Archive::default(), audit };
    let app = Router::new()
        .route("/quote", post(quote))
        .route("/orders", post(order))
        .layer(DefaultBodyLimit::max(1 << 20))
        .with_state(Arc::new(checkout));
    service::serve(app, "127.0.0.1:4052").await
}

#[tracing::instrument(name = "quote", skip_all)]
async fn quote(State(checkout): State<Arc<Checkout>>, body: Bytes) -> Result<Json<Quote>, Refusal> {
    let cart = read_cart(&body)?;
    Ok(Json(tax::quote(&cart, &checkout.catalog, checkout.taxes.as_ref())))
}

#[tracing::instrument(name = "order", skip_all)]
async fn order(
    State(checkout): State<Arc<Checkout>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Confirmation>, Refusal> {
    let cart = read_cart(&body)?;
    // In place, so that no other request of this thread waits with it.
    let holds = || tokio::task::block_in_place(|| checkout.audit.holds(&checkout.catalog));
    if checkout.audit.is_due(tenant::of(&headers)) && !holds() {
        let why = "the price lists are not those that were agreed".to_owned();
        return Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, why));
    }
    let order = fingerprint::of(&body);
    let quote = tax::quote(&cart, &checkout.catalog, checkout.taxes.as_ref());
    let shipping_cents = tax::shipping_cents(&cart, checkout.taxes.as_ref());
    let receipt = receipt::render(&quote, shipping_cents);
    // Somebody else's thread may take it from here: the work still belongs to this request.
    tokio::task::yield_now().await;
    let record = serde_json::to_vec(&quote).map_err(Refusal::invalid)?;
    let archived_bytes = checkout.archive.keep(&record);
    let total_cents = quote.net_cents + quote.tax_cents + shipping_cents;
    Ok(Json(Confirmation { order, total_cents, receipt, archived_bytes }))
}

fn read_cart(body: &[u8]) -> Result<Cart, Refusal> {
    let cart: Cart = serde_json::from_slice(body).map_err(Refusal::invalid)?;
    if cart.lines.len() > LINES_MAX {
        return Err(Refusal::invalid(format!("the cart has {} lines, limit {LINES_MAX}", cart.lines.len())));
    }
    Ok(cart)
}
