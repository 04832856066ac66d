//! A disk without room: windows are refused with the reason, what is stored is still served, and it recovers by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tephra_tests::clock::{eventually, now_ms};
use tephra_tests::collector::{Collector, command};
use tephra_tests::load::Load;
use tephra_tests::process::free_port;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Window, aligned};

/// Little more than the room that a collector wants to be free before it takes anything.
const DISK: &str = "size=280m";

/// A small disk of its own, where this user may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(at).output().ok()?;
        mounted.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_with_the_reason_still_answers_and_recovers_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        println!("skipped: this user may not mount a small disk");
        return;
    };
    let collector = Collector::start_on(&disk.0);
    let mut load = Load::new("checkout", 2);
    load.start(&[collector.endpoint()]);
    load.wait_for(20);
    // Somebody else's file takes the room, while agents go on sending.
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; 40 << 20]).expect("room for it");
    eventually("the collector says that it is not ready", || (!collector.api.is_ready()).then_some(()));
    load.stop();
    let acked = load.acked();
    let answer = collector.api.get("/readyz");
    assert_eq!(answer.status, 503);
    let window = Agent::new("checkout", 9).seal(aligned(now_ms(), 60_000), &Window::new().cpu(&["main"], 1));
    let refused = Pusher::new(&collector.endpoint()).push(window).expect_err("there is no room");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    for said in [answer.text(), refused.message().to_owned()] {
        assert!(said.contains("bytes left") && said.contains(&disk.0.display().to_string()), "{said}");
    }
    assert_eq!(load.verify(&collector.api), acked, "what was acked is answered all the while");
    fs::remove_file(&ballast).expect("it goes");
    eventually("the collector is ready again by itself", || collector.api.is_ready().then_some(()));
    load.start(&[collector.endpoint()]);
    load.wait_for(20);
    load.stop();
    assert!(load.verify(&collector.api) >= acked + 20);
    drop(collector);
}

/// Not even the reserve is left: SQLite and the folder run into the end of the disk in the middle of their writes.
#[test]
fn a_disk_that_fills_up_to_the_last_byte_loses_nothing_that_was_acked() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        println!("skipped: this user may not mount a small disk");
        return;
    };
    let mut load = Load::new("checkout", 4);
    let mut collector = Collector::start_on(&disk.0);
    load.start(&[collector.endpoint()]);
    load.wait_for(20);
    let ballast = disk.0.join("ballast");
    // Ends where the disk does.
    let _ = fs::write(&ballast, vec![1; 280 << 20]);
    let refused = eventually("windows are refused", || {
        let window = Agent::new("other", 9).seal(aligned(now_ms(), 60_000), &Window::new().cpu(&["main"], 1));
        Pusher::new(&collector.endpoint()).push(window).err()
    });
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    load.stop();
    assert!(collector.is_alive());
    fs::remove_file(&ballast).expect("it goes");
    load.start(&[collector.endpoint()]);
    load.wait_for(20);
    load.stop();
    let acked = load.verify(&collector.api);
    collector.kill();
    assert_eq!(load.verify(&Collector::start_on(&disk.0).api), acked);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    // Root may write anywhere but where the kernel itself refuses.
    let data = if rustix::process::geteuid().is_root() {
        PathBuf::from("/proc/tephra-data")
    } else {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).expect("its owner may");
        folder.path().join("data")
    };
    let output = command(&data, free_port()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains(&data.display().to_string()) && said.contains("choose another with --data"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}
