//! Commands side by side, as many as there are places; what each prints is shown in one piece when it ends.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::tools::describe;
use crate::{Result, stop, timings};

/// Commands that follow each other.
pub(crate) struct Job {
    what: String,
    commands: Vec<Step>,
}

/// Made when its turn comes: it may depend on what ran before.
type Step = Box<dyn FnOnce() -> Result<Command> + Send>;

impl Job {
    pub(crate) fn new(what: impl Into<String>, command: Command) -> Self {
        Self { what: what.into(), commands: Vec::new() }.then(command)
    }

    /// One more command, if all before it succeed.
    pub(crate) fn then(self, command: Command) -> Self {
        self.then_make(|| Ok(command))
    }

    /// One more command, which is made once all before it succeeded.
    pub(crate) fn then_make(mut self, command: impl FnOnce() -> Result<Command> + Send + 'static) -> Self {
        self.commands.push(Box::new(command));
        self
    }

    fn run(self, mut output: &File) -> Result {
        for command in self.commands {
            let mut command = command()?;
            command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
            let line = describe(&command);
            let status = command.status().map_err(|e| format!("cannot run `{line}`: {e}"))?;
            if !status.success() {
                writeln!(output, "`{line}` failed: {status}")?;
                return Err(status.to_string().into());
            }
        }
        Ok(())
    }
}

/// Runs all jobs, the first ones first. Each runs whatever became of the others; fails at the end, naming all that did.
pub(crate) fn run(jobs: Vec<Job>, places: usize) -> Result {
    let waiting = Mutex::new(jobs.into_iter());
    let failed = Mutex::new(Vec::new());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..places {
            scope.spawn(|| {
                while !stop::asked()
                    && let Some(job) = next()
                {
                    let what = job.what.clone();
                    if let Err(why) = run_one(job) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("  {what}: {why}"));
                    }
                }
            });
        }
    });
    stop::check()?;
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failed.is_empty() { Ok(()) } else { Err(format!("failed:\n{}", failed.join("\n")).into()) }
}

fn run_one(job: Job) -> Result {
    let what = job.what.clone();
    eprintln!("· {what}");
    let start = Instant::now();
    let mut output = tempfile::tempfile()?;
    let outcome = job.run(&output);
    let took = start.elapsed();
    timings::record(&what, took);
    let mut printed = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut printed)?;
    let end = if outcome.is_ok() { "" } else { ", FAILED" };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "── {what}: {:.0} s{end}", took.as_secs_f64())?;
    stdout.write_all(&printed)?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(what: &str, script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job::new(what, command)
    }

    #[test]
    fn all_jobs_run_and_every_failure_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let touch = |name: &str| format!("touch {}/{name}", folder.path().display());
        let jobs = vec![
            shell("one", "exit 3"),
            shell("two", &touch("two")),
            shell("three", "exit 1").then(Command::new("touch")),
            shell("four", &touch("four")),
        ];
        let why = run(jobs, 2).unwrap_err().to_string();
        assert!(why.contains("one: exit status: 3") && why.contains("three: exit status: 1"), "{why}");
        assert!(!why.contains("two") && !why.contains("four"), "{why}");
        assert!(folder.path().join("two").exists() && folder.path().join("four").exists());
    }

    #[test]
    fn a_job_ends_with_its_first_command_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("after");
        let mut touch = Command::new("touch");
        touch.arg(&file);
        assert!(run(vec![shell("one", "exit 1").then(touch)], 1).is_err());
        assert!(!file.exists());
    }
}
