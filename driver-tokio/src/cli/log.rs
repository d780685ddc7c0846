//! The log: on standard error or in a file, never on standard output.

use super::args::LogArgs;
use super::exit::{Exit, Failure, system_words};
use super::output;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use tracing_subscriber::filter::LevelFilter;

/// From now on what the library says is written down.
pub(crate) fn start(args: &LogArgs) -> Result<(), Failure> {
    let file = match &args.log_file {
        None => None,
        Some(path) => Some(OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
            let what = format!("cannot write the log {}: {}", path.display(), system_words(&error));
            Failure::new(Exit::Usage, what)
        })?),
    };
    let file = file.map(Arc::new);
    let started = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(args.log_level))
        .with_ansi(false)
        .with_writer(move || match &file {
            None => Writer::Terminal,
            Some(file) => Writer::File(Arc::clone(file)),
        })
        .try_init();
    started.map_err(|error| Failure::new(Exit::Other, format!("cannot start the log: {error}")))
}

enum Writer {
    Terminal,
    File(Arc<File>),
}

impl Write for Writer {
    /// `bytes` are whole lines: the subscriber hands over each event at once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writer::Terminal => output::error_line(String::from_utf8_lossy(bytes).trim_end()),
            Writer::File(file) => (&mut &**file).write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
