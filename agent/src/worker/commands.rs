//! What the handle asks of the agent thread, and how it is woken for that.

use std::sync::mpsc::{self, Receiver, Sender};

use crate::sampler::wakeup;

/// What the handle asks of the agent thread.
#[derive(Debug)]
pub(crate) enum Command {
    Pause(bool),
    /// Seal what there is, and say so.
    Flush(Sender<()>),
}

/// The handle's end of the commands, which wakes the agent thread for each. Dropped, it tells the agent thread to stop.
#[derive(Debug)]
pub(crate) struct Commands(Option<Sender<Command>>);

impl Commands {
    /// Both ends.
    pub(crate) fn channel() -> (Self, Receiver<Command>) {
        let (sender, receiver) = mpsc::channel();
        (Self(Some(sender)), receiver)
    }

    /// Never waits. An agent that failed has nobody to listen, and is off already.
    pub(crate) fn send(&self, command: Command) {
        if let Some(commands) = &self.0 {
            let _ = commands.send(command);
        }
        wakeup::wake();
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        // First: whoever wakes finds it gone.
        self.0 = None;
        wakeup::wake();
    }
}
