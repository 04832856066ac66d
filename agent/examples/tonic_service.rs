//! A gRPC service whose samples carry the trace of the call they worked for. The service is gRPC's own health check; put yours
//! beside it.
//!
//! `cargo run -p tephra-agent --example tonic_service [listen on] [endpoint]`, then
//! `grpcurl -plaintext -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' 127.0.0.1:3001
//! grpc.health.v1.Health/Check`.

use tonic::transport::Server;
use tracing_subscriber::layer::SubscriberExt;

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3001".to_owned());
    let endpoint = arguments.next().unwrap_or_else(|| "http://127.0.0.1:4040".to_owned());
    let agent = tephra_agent::Agent::builder("tonic-service").endpoint(endpoint).label("version", "v1").start()?;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(tephra_agent::tracing_layer()))?;
    let (_, health) = tonic_health::server::health_reporter();
    println!("listening on http://{address}");
    // Calls take their trace from the `traceparent` header; a call that fails by its `grpc-status` counts as failed.
    Server::builder().layer(tephra_agent::tower_layer()).add_service(health).serve(address.parse()?).await?;
    println!("{:#?}", agent.stats());
    Ok(())
}
