//! What this process asks of the operating system: file descriptors for its connections, files that only its user may read, and signals.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Permissions that new files and folders lack: everybody's but their owner's.
pub const PRIVATE: u32 = 0o077;

/// Raises the limit of open files as far as it goes; answers how many there may be.
pub(super) fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    // Where that is not allowed, what there is must do.
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    limit.unwrap_or(u64::MAX)
}

/// From now on new files and folders lack these permissions.
pub fn mask_permissions(mask: u32) {
    umask(Mode::from_raw_mode(mask));
}

/// What is to be said of a folder that others may look into, although new files are not for them. Its permissions stay as they are: who gave
/// them may have meant it.
pub(super) fn open_to_others(data: &Path, mask: u32) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "who may look into a folder is a matter of this process's own mask")]
    let mode = std::fs::metadata(data).ok()?.mode() & 0o777;
    (mode & mask & 0o007 != 0).then(|| {
        let folder = data.display();
        format!("every user of this machine may look into {folder} (mode {mode:04o}): chmod 0700 {folder}, or 0750 and --umask 027 to let its group read")
    })
}

/// The signals that end a collector. SIGHUP, which does so by default, does not: a terminal that goes away takes no collector with it.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on signals are waited for, and each SIGHUP is told. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn new(hangup_came: impl Fn() + Send + 'static) -> io::Result<Self> {
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                hangup_came();
            }
        });
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Done when the next SIGINT or SIGTERM comes.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_everybody_may_look_into_is_told() {
        let data = tempfile::tempdir().unwrap();
        let told = |mode, mask| {
            std::fs::set_permissions(data.path(), Permissions::from_mode(mode)).unwrap();
            open_to_others(data.path(), mask)
        };
        let message = told(0o755, PRIVATE).unwrap();
        assert!(message.contains("mode 0755") && message.contains("chmod 0700"), "{message}");
        assert!(told(0o701, PRIVATE).is_some());
        assert_eq!(told(0o700, PRIVATE), None);
        assert_eq!(told(0o750, PRIVATE), None, "a group is somebody's choice");
        assert_eq!(told(0o755, 0o022), None, "as asked for");
        assert_eq!(open_to_others(Path::new("/no/such/folder"), PRIVATE), None);
    }

    #[test]
    fn the_limit_of_open_files_is_the_hard_one() {
        let allowed = raise_descriptors();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), allowed);
        assert_eq!(allowed, getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX));
    }
}
