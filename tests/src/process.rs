//! One child process: its log, its end.
//!
//! It is ended by its process id when the guard is dropped, and never by name: others may run the same program.

use crate::{Deadline, Outcome, Stage};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running child, killed and reaped on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; both its outputs go to `NAME.log` on the stage. Its home is the stage too, so that no settings of the user are read.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(stage: &Stage, name: &str, mut command: Command) -> Outcome<Process> {
        let log = stage.path(format!("{name}.log"));
        let out = File::create(&log)?;
        let home = stage.folder(&format!("{name}.home"))?;
        command
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", &home)
            .env("XDG_DATA_HOME", &home)
            .env("XDG_CACHE_HOME", &home)
            .env("XDG_STATE_HOME", &home);
        command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
        let child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Process { child, name: name.into(), log })
    }

    /// All that it has said so far, on both outputs.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn output(&self) -> Outcome<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// Waits until it has said a line that holds `text`.
    ///
    /// # Errors
    /// When the time is over, or it has ended without saying so.
    pub fn wait_for_line(&mut self, text: &str, deadline: Deadline) -> Outcome<String> {
        let what = format!("a line with {text:?} from {}", self.name);
        deadline.wait_for(&what, || {
            let alive = self.check_alive();
            let line = self.output()?.lines().find(|line| line.contains(text)).map(String::from);
            if line.is_none() {
                alive?;
            }
            Ok(line)
        })
    }

    /// Says whether it still runs.
    ///
    /// # Errors
    /// When it has ended: the sentence holds its status.
    pub fn check_alive(&mut self) -> Outcome {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} has ended too early: {status}", self.name).into()),
        }
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn try_wait(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the time is over.
    pub fn wait_for_exit(&mut self, deadline: Deadline) -> Outcome<ExitStatus> {
        deadline.wait_for(&format!("the end of {}", self.name), || Ok(self.child.try_wait()?))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn terminate(&self) -> Outcome {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("{} could not be signalled", self.name).into()) }
    }

    /// Sends SIGKILL and reaps it.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn kill(&mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to do.
        let _ = self.kill();
    }
}
