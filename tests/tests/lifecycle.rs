//! A collector from its start to its end: what it takes from the operating system, and what signals do to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tephra_tests::clock::{eventually, now_ms};
use tephra_tests::collector::{Collector, command};
use tephra_tests::process::{Signal, free_port};
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Window, aligned};

fn push(collector: &Collector) {
    let window = Window::new().cpu(&["main"], 5);
    Pusher::new(&collector.endpoint()).accept(Agent::new("checkout", 1).seal(aligned(now_ms(), 60_000), &window));
}

/// Started by a shell that has done something before.
fn start_after(prelude: &str, data: &Path, options: &[&str]) -> Collector {
    let port = free_port();
    let mut serve = command(data, port);
    serve.args(options);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{prelude}; exec \"$@\"")).arg("sh").arg(serve.get_program()).args(serve.get_args());
    Collector::start_command(shell, port)
}

#[test]
fn sighup_changes_nothing() {
    let collector = Collector::start();
    for _ in 0..3 {
        collector.signal(Signal::HUP);
        push(&collector);
    }
    assert!(collector.api.is_ready());
    assert!(collector.terminate().success());
}

#[test]
fn after_sigterm_it_says_that_it_is_stopping_and_answers_until_its_time_is_over() {
    let mut collector = Collector::start_with(&["--shutdown-delay", "10m"]);
    collector.signal(Signal::TERM);
    let said = eventually("the collector says that it is stopping", || {
        let ready = collector.api.get("/readyz");
        (ready.status == 503).then(|| ready.text())
    });
    assert!(said.contains("stopping"), "{said}");
    assert_eq!(collector.api.get("/healthz").status, 200);
    push(&collector);
    assert_eq!(collector.windows(), 1);
    assert!(collector.is_alive());
    // Whoever asks again means now.
    assert!(collector.terminate().success());
}

#[test]
fn nobody_else_may_read_what_is_kept() {
    for (options, folder_mode, file_mode) in [(&[][..], 0o700, 0o600), (&["--umask", "027"][..], 0o750, 0o640)] {
        let place = tempfile::tempdir().expect("a folder");
        let data = place.path().join("data");
        let collector = start_after("umask 022", &data, options);
        push(&collector);
        assert!(collector.terminate().success());
        let mut found = 0;
        walk(&data, &mut |path, mode, is_folder| {
            found += 1;
            assert_eq!(mode, if is_folder { folder_mode } else { file_mode }, "{}: {mode:o}", path.display());
        });
        assert!(found > 4, "a catalog, a lock, a segment and their folders");
    }
}

fn walk(path: &Path, look: &mut impl FnMut(&Path, u32, bool)) {
    let about = fs::symlink_metadata(path).expect("it is there");
    look(path, about.permissions().mode() & 0o777, about.is_dir());
    if about.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            walk(&entry.expect("an entry").path(), look);
        }
    }
}

#[test]
fn a_folder_that_others_may_look_into_is_told_and_left_as_it_is() {
    let data = tempfile::tempdir().expect("a folder");
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let collector = Collector::start_on(data.path());
    let status = collector.api.json("/api/v1/status");
    assert!(status["conditions"].to_string().contains("chmod 0700"), "{status}");
    assert_eq!(fs::metadata(data.path()).expect("it is there").permissions().mode() & 0o777, 0o755);
}

#[test]
fn the_limit_of_open_files_is_raised_and_connections_are_held_to_it() {
    let data = tempfile::tempdir().expect("a folder");
    let collector = start_after("ulimit -S -n 64; ulimit -H -n 400", data.path(), &[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", collector.id())).expect("its limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line about files");
    assert_eq!(files.split_whitespace().filter(|word| *word == "400").count(), 2, "{files}");
    let status = collector.api.json("/api/v1/status");
    assert!(status["conditions"].to_string().contains("--connections 236"), "{status}");
    // More than the limit, all idle.
    let idle: Vec<_> =
        (0..500).map(|_| std::net::TcpStream::connect(("127.0.0.1", collector.port())).expect("connects")).collect();
    assert_eq!(collector.api.get("/healthz").status, 200);
    push(&collector);
    assert_eq!(collector.windows(), 1);
    drop(idle);
}
