//! What the driver logs: an ERROR line fails the scenario, the last lines of any level are printed when one fails.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::subscriber::DefaultGuard;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// So many lines are kept: what happened in the last moments of some ten hosts.
const LAST_LINES: usize = 30;

/// Listens to the log of this thread until it is dropped.
pub struct LogWatch {
    lines: Lines,
    _listening: DefaultGuard,
}

impl fmt::Debug for LogWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWatch").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl LogWatch {
    /// Listens from now on.
    pub fn start() -> Self {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .with_timer(SimTime)
            .with_writer(lines.clone())
            .finish();
        LogWatch { lines, _listening: tracing::subscriber::set_default(subscriber) }
    }

    /// The ERROR lines since the last call.
    pub fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().errors)
    }

    /// The last lines.
    pub fn last(&self) -> String {
        self.lines.lock().last.iter().map(String::as_str).collect()
    }
}

/// Simulated time at the front of each line.
struct SimTime;

impl FormatTime for SimTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        write!(w, "{:9.3}", at.as_secs_f64())
    }
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    errors: Vec<String>,
    last: VecDeque<String>,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, is_error: false, is_wanted: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        // What turmoil itself has to say is no news of ours.
        let is_wanted = !metadata.target().starts_with("turmoil");
        Line { lines: self, is_error: *metadata.level() == Level::ERROR, is_wanted }
    }
}

/// Where one line goes; it is written whole.
struct Line<'a> {
    lines: &'a Lines,
    is_error: bool,
    is_wanted: bool,
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut kept = self.lines.lock();
        if self.is_error {
            kept.errors.push(text.to_string());
        }
        if self.is_wanted {
            if kept.last.len() == LAST_LINES {
                kept.last.pop_front();
            }
            kept.last.push_back(text.to_string());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
