//! Windows of real agents, for benchmarks: the demo shop under load.

use std::process::Command;
use std::time::Duration;

use tephra_proto::v1::PushRequest;

use crate::binaries;
use crate::clock::eventually;
use crate::process::{Running, free_port};
use crate::sink::Sink;

/// Requests per second between bursts.
const RATE: &str = "300";

/// What the agents of a shop under load send within that time.
///
/// # Panics
/// When the shop does not open or does not end.
pub fn shop(watch: Duration) -> Vec<PushRequest> {
    let sink = Sink::start();
    let (gateway_port, checkout_port) = (free_port(), free_port());
    let service = |program: &str, port: u16| {
        let mut command = Command::new(binaries::shop("v2", program));
        command.env("TEPHRA_ENDPOINT", sink.endpoint()).env("SHOP_LISTEN", format!("127.0.0.1:{port}"));
        command.env("SHOP_CHECKOUT", format!("http://127.0.0.1:{checkout_port}"));
        let running = Running::start(&mut command);
        eventually("the shop opens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        running
    };
    let shop = [service("shop-checkout", checkout_port), service("shop-gateway", gateway_port)];
    let mut load = Command::new(binaries::shop("v2", "shop-load"));
    load.args(["--target", &format!("http://127.0.0.1:{gateway_port}"), "--rate", RATE]);
    let load = Running::start(&mut load);
    std::thread::sleep(watch);
    drop(load);
    for service in shop {
        assert!(service.terminate().success(), "the shop delivers its last window");
    }
    sink.windows()
}
