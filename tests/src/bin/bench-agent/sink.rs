//! A collector in a process of its own, so that the agent's memory is not mixed with it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use tephra_proto::limits::PAYLOAD_BYTES_MAX;
use tephra_proto::v1::{PushRequest, WindowPayload};
use tephra_proto::{codec, packing};
use tephra_tests::sink::Sink;

/// What makes this program one.
pub(crate) const ARGUMENT: &str = "sink";

/// A running one.
pub(crate) struct Process {
    child: Child,
    pub(crate) endpoint: String,
}

impl Process {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a program"));
        command.arg(ARGUMENT).env("TEPHRA", "off").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a second process");
        let mut endpoint = String::new();
        let output = child.stdout.as_mut().expect("is piped");
        BufReader::with_capacity(1, output).read_line(&mut endpoint).expect("it says where it listens");
        Self { child, endpoint: endpoint.trim().to_owned() }
    }

    /// Bytes that arrived, and rows in them.
    pub(crate) fn finish(mut self) -> (u64, u64) {
        drop(self.child.stdin.take());
        let mut numbers = String::new();
        self.child.stdout.take().expect("is piped").read_to_string(&mut numbers).expect("it says what it got");
        self.child.wait().expect("it ends");
        let mut numbers = numbers.split_whitespace().map(|number| number.parse().expect("a number"));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

/// Takes windows until its input ends, and prints what they were.
pub(crate) fn serve() {
    let sink = Sink::start();
    println!("{}", sink.endpoint());
    std::io::stdout().flush().expect("somebody listens");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("somebody is there");
    let windows = sink.windows();
    let bytes: usize = windows.iter().map(|window| window.payload.len()).sum();
    println!("{bytes} {}", windows.iter().map(rows).sum::<usize>());
}

fn rows(window: &PushRequest) -> usize {
    let payload = codec::decompress(&window.payload, PAYLOAD_BYTES_MAX).expect("our own frame");
    let mut payload: WindowPayload = prost::Message::decode(&payload[..]).expect("our own payload");
    packing::unpack(&mut payload).expect("our own columns");
    payload.series.iter().map(|series| series.stack.len()).sum()
}
