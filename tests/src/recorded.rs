//! Windows of real agents, for benchmarks: the demo shop under load.

use std::process::Command;
use std::time::Duration;

use tephra_proto::v1::PushRequest;

use crate::binaries;
use crate::clock::eventually;
use crate::process::{Running, free_port};
use crate::sink::Sink;

/// A load of the shop.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Requests per second between bursts.
    pub rate: u32,
    /// How often the share of traces that its agents tell of is halved.
    pub halvings: u32,
}

impl Load {
    /// Both services busy.
    pub const HEAVY: Self = Self { rate: 300, halvings: 0 };
    /// A small service, of which as many traces are told as a collector would ask for: 54 to 108 requests a window, and the slowest.
    pub const LIGHT: Self = Self { rate: 40, halvings: 3 };
    /// One of a hundred instances of such a service.
    pub const LIGHT_OF_MANY: Self = Self { rate: 40, halvings: 9 };
}

/// What the agents of a shop under load send within that time.
///
/// # Panics
/// When the shop does not open or does not end.
pub fn shop(watch: Duration, under: Load) -> Vec<PushRequest> {
    let sink = Sink::announcing(under.halvings);
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
    load.args(["--target", &format!("http://127.0.0.1:{gateway_port}"), "--rate", &under.rate.to_string()]);
    let load = Running::start(&mut load);
    std::thread::sleep(watch);
    drop(load);
    for service in shop {
        assert!(service.terminate().success(), "the shop delivers its last window");
    }
    sink.windows()
}
