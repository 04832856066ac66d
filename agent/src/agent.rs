//! A running agent: two threads, and the handle that ends them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::StartError;
use crate::export::{self, Binaries, Queue};
use crate::notice::Notice;
use crate::requests::{self, Asked};
use crate::sampler;
use crate::settings::Settings;
use crate::stats::{Board, Stats, Thread};
use crate::worker::{self, Command, Commands, Worker};

/// How long stopping and flushing may keep their caller.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long starting waits for an agent that is being stopped: on a busy machine dropping its handle does not wait to the end.
const PATIENCE_BEFORE: Duration = Duration::from_secs(2);

/// There is one agent per process, for there is one SIGPROF.
static STATE: AtomicU8 = AtomicU8::new(NONE);
const NONE: u8 = 0;
const RUNNING: u8 = 1;
/// Its handle was dropped, and its thread has not ended.
const STOPPING: u8 = 2;

/// A running agent. Dropping it stops sampling and ships what is left, for at most half a second.
#[derive(Debug)]
#[must_use = "dropping the agent stops it: keep it as long as the process is to be profiled"]
pub struct Agent {
    /// `None`: inert.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    commands: Commands,
    queue: Arc<Queue>,
    board: Arc<Board>,
    threads: [JoinHandle<()>; 2],
    /// Disconnected once both threads have ended.
    ended: Receiver<()>,
    /// A forked child has the handle but not the threads.
    process: u32,
}

impl Agent {
    pub(crate) fn inert() -> Self {
        Self { running: None }
    }

    pub(crate) fn run(settings: Settings) -> Result<Self, StartError> {
        become_the_one()?;
        let queue = Arc::new(Queue::new(settings.queue_bytes));
        let binaries = Arc::new(Binaries::default());
        let board = Arc::new(Board::default());
        let asked = Arc::new(Asked::default());
        let (alive, ended) = mpsc::channel();
        let (commands, received) = Commands::channel();
        let (started, start) = mpsc::channel();
        let destination = settings.destination.clone();

        let sampling = {
            let (queue, binaries) = (Arc::clone(&queue), Arc::clone(&binaries));
            let (board, asked, alive) = (Arc::clone(&board), Arc::clone(&asked), alive.clone());
            spawn(worker::THREAD_NAME, alive, move || {
                board.runs_on(Thread::Agent);
                let work = || match Worker::start(&settings, &queue, binaries, board, asked) {
                    Err(why) => drop(started.send(Err(why))),
                    Ok(worker) => {
                        let _ = started.send(Ok(()));
                        worker.run(&received);
                    }
                };
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    static FAILED: Notice = Notice::new();
                    FAILED.say("sampling failed and is off for good; the service is not affected");
                }
                worker::stop();
                queue.close();
                STATE.store(NONE, Ordering::Release);
            })
        };
        let sampling = sampling.inspect_err(|_| STATE.store(NONE, Ordering::Release))?;
        match start.recv() {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(why),
            Err(_) => return Err(StartError::Sampler { reason: "the agent thread failed".to_owned() }),
        }
        let shipping = {
            let (queue, board) = (Arc::clone(&queue), Arc::clone(&board));
            spawn(export::THREAD_NAME, alive, move || {
                board.runs_on(Thread::Ship);
                if let Err(why) = export::run(&destination, queue, binaries, asked) {
                    static FAILED: Notice = Notice::new();
                    FAILED.say(&format!("cannot ship profiles: {why}"));
                }
            })
        };
        // On an error `commands` is dropped, which ends the agent thread.
        let threads = [sampling, shipping?];
        requests::record(true);
        Ok(Self { running: Some(Running { commands, queue, board, threads, ended, process: std::process::id() }) })
    }

    /// Stops taking samples until [`resume`](Self::resume). No thread has a timer meanwhile.
    pub fn pause(&self) {
        self.command(Command::Pause(true));
    }

    /// Takes samples again.
    pub fn resume(&self) {
        self.command(Command::Pause(false));
    }

    /// Ships what was sampled so far, as before the process is frozen, and waits at most half a second for it. True when
    /// a collector has everything. The heap's state is not part of it: that is reported when the window ends.
    pub fn flush(&self) -> bool {
        let Some(running) = &self.running else { return true };
        let deadline = Instant::now() + PATIENCE;
        let (sealed, done) = mpsc::channel();
        self.command(Command::Flush(sealed));
        let sealed = done.recv_timeout(PATIENCE).is_ok();
        sealed && running.queue.wait_until_empty(deadline.saturating_duration_since(Instant::now()))
    }

    /// What the agent did so far, and what it costs. All zero for an inert agent.
    pub fn stats(&self) -> Stats {
        self.running.as_ref().map(|running| running.board.read(&running.queue)).unwrap_or_default()
    }

    fn command(&self, command: Command) {
        if let Some(running) = &self.running {
            running.commands.send(command);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let Some(Running { commands, threads, ended, process, .. }) = self.running.take() else { return };
        if process != std::process::id() {
            return;
        }
        let [sampling, _] = &threads;
        if !sampling.is_finished() {
            let _ = STATE.compare_exchange(RUNNING, STOPPING, Ordering::AcqRel, Ordering::Relaxed);
        }
        // Ends the agent thread, which closes the queue, which ends the shipping thread.
        drop(commands);
        if let Err(RecvTimeoutError::Disconnected) = ended.recv_timeout(PATIENCE) {
            for thread in threads {
                let _ = thread.join();
            }
        }
    }
}

/// Makes this call's agent the process's one, once one that is being stopped is gone.
fn become_the_one() -> Result<(), StartError> {
    let deadline = Instant::now() + PATIENCE_BEFORE;
    loop {
        match STATE.compare_exchange(NONE, RUNNING, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return Ok(()),
            Err(STOPPING) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return Err(StartError::AlreadyRunning),
        }
    }
}

fn spawn(name: &str, alive: Sender<()>, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        sampler::wait_for_turn();
        work();
        drop(alive);
    });
    thread.map_err(StartError::Thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_being_stopped_is_waited_for_and_one_that_runs_is_not() {
        STATE.store(STOPPING, Ordering::Release);
        let thread = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            STATE.store(NONE, Ordering::Release);
        });
        become_the_one().unwrap();
        thread.join().unwrap();
        assert!(matches!(become_the_one(), Err(StartError::AlreadyRunning)));
        STATE.store(NONE, Ordering::Release);
    }
}
