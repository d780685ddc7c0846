//! One run of `sameseed`: what it says, how it ends, and what it costs.
//!
//! Linux tells a process's memory and time until it is reaped, so every look at it takes them down.

use crate::{Deadline, Outcome, Process, Stage, sameseed_binary};
use std::ffi::OsStr;
use std::fs;
use std::process::Command;

/// No hostile world may make the program larger than this.
const MEMORY_LIMIT_KIB: u64 = 100 * 1024;
/// Nor take more processor time than this while it has nothing to do but wait and fetch a few MiB (in a build for debugging).
const CPU_LIMIT_TICKS: u64 = 250;

/// A run under watch.
#[derive(Debug)]
pub struct Run {
    process: Process,
    peak_kib: u64,
    cpu_ticks: u64,
}

impl Run {
    /// Starts `sameseed` with these arguments; its output goes to `NAME.log` on the stage.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(stage: &Stage, name: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Outcome<Run> {
        let mut command = Command::new(sameseed_binary());
        command.args(args);
        Ok(Run { process: Process::start(stage, name, command)?, peak_kib: 0, cpu_ticks: 0 })
    }

    /// All that it has said.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn output(&self) -> Outcome<String> {
        self.process.output()
    }

    /// Waits until it has said a line that holds `text`.
    ///
    /// # Errors
    /// When the time is over, or it has ended without saying so.
    pub fn wait_for_line(&mut self, text: &str, deadline: Deadline) -> Outcome<String> {
        self.process.wait_for_line(text, deadline)
    }

    /// Waits for its end; gives the exit code, -1 when a signal ended it.
    ///
    /// # Errors
    /// When the time is over, or it cost more than it may.
    pub fn wait_for_exit(&mut self, deadline: Deadline) -> Outcome<i32> {
        let code = deadline.wait_for("the end of sameseed", || {
            self.look();
            Ok(self.process.wait_for_exit(Deadline::in_s(0)).ok())
        })?;
        self.check_frugal()?;
        Ok(code.code().unwrap_or(-1))
    }

    /// Waits for its end and wants this exit code. A panic is never right.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn expect_exit(&mut self, code: i32, within_s: u64) -> Outcome {
        let found = self.wait_for_exit(Deadline::in_s(within_s))?;
        let said = self.output()?;
        if found != code || said.contains("panicked") {
            return Err(format!("exit code {found} instead of {code}:\n{said}").into());
        }
        Ok(())
    }

    /// Ends it with SIGTERM: it must be gone within 5 s (and one for a busy machine) with this code.
    ///
    /// # Errors
    /// When it is not.
    pub fn terminate(&mut self, code: i32) -> Outcome {
        self.look();
        self.process.terminate()?;
        self.expect_exit(code, 6)
    }

    /// Wants it to be alive, small and idle.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_alive(&mut self) -> Outcome {
        self.look();
        self.process.check_alive()?;
        self.check_frugal()
    }

    /// Wants that memory and processor time stayed within their limits so far.
    ///
    /// # Errors
    /// When they did not.
    pub fn check_frugal(&self) -> Outcome {
        if self.peak_kib > MEMORY_LIMIT_KIB || self.cpu_ticks > CPU_LIMIT_TICKS {
            return Err(format!("{} KiB at its largest, {} ticks of CPU", self.peak_kib, self.cpu_ticks).into());
        }
        Ok(())
    }

    /// Hundredths of a second of processor time so far, in user mode and in the kernel.
    pub fn cpu_ticks(&mut self) -> u64 {
        self.look();
        self.cpu_ticks
    }

    fn look(&mut self) {
        let proc = format!("/proc/{}", self.process.id());
        // Before it becomes the program it shares this process's memory.
        if fs::read_link(format!("{proc}/exe")).ok() == std::env::current_exe().ok() {
            return;
        }
        let status = fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        self.peak_kib = self.peak_kib.max(peak.unwrap_or(0));
        let stat = fs::read_to_string(format!("{proc}/stat")).unwrap_or_default();
        // The name of the program stands in brackets and may hold spaces; utime and stime are the 12th and 13th field after it.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        self.cpu_ticks = self.cpu_ticks.max(ticks);
    }
}
