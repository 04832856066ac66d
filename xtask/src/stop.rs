//! Ctrl-C and SIGTERM as an ordinary error, so that leaving early runs the same clean-up as leaving late.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;

static ASKED: AtomicBool = AtomicBool::new(false);
static HANDLER: Once = Once::new();

/// From here on, Ctrl-C no longer ends this process at once: [`asked`] tells, and [`sleep`] returns early.
pub(crate) fn listen() {
    HANDLER.call_once(|| {
        if let Err(why) = ctrlc::set_handler(|| ASKED.store(true, Ordering::SeqCst)) {
            eprintln!("Ctrl-C will not clean up: {why}");
        }
    });
}

/// Somebody pressed Ctrl-C.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Fails once somebody pressed Ctrl-C.
pub(crate) fn check() -> Result {
    if asked() { Err("stopped".into()) } else { Ok(()) }
}

/// Waits, unless somebody presses Ctrl-C.
pub(crate) fn sleep(lasts: Duration) -> Result {
    let end = Instant::now() + lasts;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}
