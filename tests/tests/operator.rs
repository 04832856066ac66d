//! What the person who runs the collector is told.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use tephra_tests::binaries;
use tephra_tests::clock::now_ms;
use tephra_tests::collector::{Collector, command};
use tephra_tests::process::free_port;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Window, aligned};

fn refuses_to_start(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    assert!(!status.success());
    format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}

#[test]
fn a_port_in_use_is_named() {
    let data = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let said = refuses_to_start(&mut command(data.path(), port));
    assert!(said.contains(&port.to_string()) && said.contains("in use"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_data_folder_that_is_a_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("data");
    std::fs::write(&file, "not a folder").expect("writes");
    let said = refuses_to_start(&mut command(&file, free_port()));
    assert!(said.contains(&file.display().to_string()), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let data = tempfile::tempdir().expect("a folder");
    let catalog = format!("postgres://tephra:hunter2@127.0.0.1:{}/profiles", free_port());
    let mut serve = command(data.path(), free_port());
    let said = refuses_to_start(serve.args(["--catalog", &catalog, "--bucket", "s3://profiles"]));
    assert!(said.contains("127.0.0.1") && said.contains("/profiles") && said.contains("correct --catalog"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("panicked"), "{said}");
    let alone = refuses_to_start(command(data.path(), free_port()).args(["--catalog", &catalog]));
    assert!(alone.contains("--bucket") && !alone.contains("hunter2"), "{alone}");
    let nonsense =
        refuses_to_start(command(data.path(), free_port()).args(["--catalog", &catalog, "--bucket", "profiles"]));
    assert!(nonsense.contains("\"profiles\"") && nonsense.contains("s3://bucket"), "{nonsense}");
    let help = Command::new(binaries::collector()).args(["serve", "--help"]).env("TEPHRA_CATALOG", &catalog).output();
    assert!(!String::from_utf8_lossy(&help.expect("it starts").stdout).contains("hunter2"));
}

#[test]
fn a_second_collector_on_the_same_folder_does_no_harm() {
    let data = tempfile::tempdir().expect("a folder");
    let first = Collector::start_on(data.path());
    let pusher = Pusher::new(&first.endpoint());
    let mut agent = Agent::new("checkout", 1);
    let start = aligned(now_ms(), 60_000);
    pusher.accept(agent.seal(start, &Window::new().cpu(&["main"], 5)));
    // Either it says that the folder is taken, or it works beside the first one: what it must not do is spoil anything.
    let mut second = command(data.path(), free_port()).spawn().expect("it starts");
    pusher.accept(agent.seal(start + 10_000, &Window::new().cpu(&["main"], 6)));
    let _ = second.kill();
    let _ = second.wait();
    assert_eq!((first.windows(), first.samples()), (2, 11));
}

#[test]
fn sigterm_ends_it_in_good_order_and_the_data_is_there_afterwards() {
    let data = tempfile::tempdir().expect("a folder");
    let collector = Collector::start_on(data.path());
    let window = Window::new().cpu(&["main"], 5);
    Pusher::new(&collector.endpoint()).accept(Agent::new("checkout", 1).seal(aligned(now_ms(), 60_000), &window));
    assert!(collector.terminate().success());
    assert_eq!(Collector::start_on(data.path()).windows(), 1);
}

#[test]
fn metrics_and_status_tell_what_happened() {
    let collector = Collector::start();
    let window = Window::new().cpu(&["main"], 5);
    Pusher::new(&collector.endpoint()).accept(Agent::new("checkout", 1).seal(aligned(now_ms(), 60_000), &window));
    let metrics = collector.api.get("/metrics").text();
    assert!(metrics.lines().any(|line| line.starts_with("tephra_") && line.ends_with(" 1")), "{metrics}");
    let status = collector.api.json("/api/v1/status");
    let agent = &status["agents"][0];
    assert_eq!(
        (&agent["service"], &agent["sampled"], &agent["stored"]),
        (&"checkout".into(), &5.into(), &5.into()),
        "{status}"
    );
}

#[test]
fn help_names_the_commands() {
    let help = Command::new(binaries::collector()).arg("--help").output().expect("it starts");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for name in ["serve", "gate", "export", "import", "symbols"] {
        assert!(help.contains(name), "no {name} in:\n{help}");
    }
}

#[test]
fn symbols_sent_by_hand_give_a_stripped_build_its_names() {
    let collector = Collector::start();
    let upload = |file: &Path| {
        let mut command = Command::new(binaries::collector());
        let sent = command.args(["symbols", "upload", "--server", &collector.endpoint()]).arg(file).output();
        let Output { status, stdout, stderr } = sent.expect("it starts");
        (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
    };
    let (taken, said) = upload(&binaries::shop("v1", "shop-checkout"));
    assert!(taken && said.contains("has names now"), "{said}");
    assert_eq!(collector.api.json("/api/v1/status")["symbols"]["builds"], 1);

    let folder = tempfile::tempdir().expect("a folder");
    let [text, empty] = ["notes.txt", "empty"].map(|name| folder.path().join(name));
    std::fs::write(&text, "not a program").expect("writes");
    std::fs::write(&empty, "").expect("writes");
    for (file, why) in
        [(&text, "not a 64-bit"), (&empty, "not a 64-bit"), (&folder.path().join("nothing"), "No such file")]
    {
        let (taken, said) = upload(file);
        assert!(!taken && said.contains(why) && said.contains(&file.display().to_string()), "{said}");
    }
    assert_eq!(collector.api.json("/api/v1/status")["symbols"]["builds"], 1);
}
