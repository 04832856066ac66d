//! An HTTP service whose samples carry the trace of the request they worked for.
//!
//! `cargo run -p tephra-agent --example axum_service [listen on] [endpoint]`, then
//! `curl -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' 127.0.0.1:3000/primes/50000` and look
//! for that trace id in the collector at <http://127.0.0.1:4040>.

use axum::Router;
use axum::extract::{MatchedPath, Path};
use axum::routing::get;
use tracing_subscriber::layer::SubscriberExt;

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

#[tracing::instrument]
fn count_primes(upto: u32) -> usize {
    (2..upto).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count()
}

async fn primes(Path(upto): Path<u32>) -> String {
    let primes = count_primes(upto.min(1_000_000));
    let trace = tephra_agent::current().map(|context| context.traceparent()).unwrap_or_default();
    format!("{primes} primes, {trace}\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let endpoint = arguments.next().unwrap_or_else(|| "http://127.0.0.1:4040".to_owned());
    let _agent = tephra_agent::Agent::builder("axum-service").endpoint(endpoint).label("version", "v1").start()?;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(tephra_agent::tracing_layer()))?;
    let routes = tephra_agent::tower_layer().route_by(|request| Some(request.get::<MatchedPath>()?.as_str()));
    let app = Router::new().route("/primes/{upto}", get(primes)).layer(routes);
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
