//! Standard output, standard error and the terminal: whole lines, and one line that is drawn over.
//!
//! A reader that has gone away (`| head`) is not an error: output is for whoever wants it, and the work goes on.

use std::io::{IsTerminal, Write};

/// Back to the first column, and clear the line.
const CLEAR_LINE: &str = "\r\x1b[K";
/// What a terminal is taken for that does not tell its width.
const DEFAULT_COLUMNS: u16 = 80;

/// Prints a whole line on standard output, at once.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a line on standard error. A line of progress on the same terminal is cleared first.
pub(crate) fn error_line(text: &str) {
    let clear = if std::io::stderr().is_terminal() { CLEAR_LINE } else { "" };
    let _ = writeln!(std::io::stderr().lock(), "{clear}{text}");
}

/// One line on a terminal that is drawn over.
#[derive(Debug)]
pub(crate) struct Redrawn {
    stream: Stream,
    terminal: bool,
    shown: bool,
}

/// Where a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// Where progress is what was asked for.
    Stdout,
    /// Where standard output is for the result.
    Stderr,
}

impl Redrawn {
    /// Nothing is drawn yet; nothing ever is when `stream` is not a terminal.
    pub(crate) fn new(stream: Stream) -> Self {
        let terminal = match stream {
            Stream::Stdout => std::io::stdout().is_terminal(),
            Stream::Stderr => std::io::stderr().is_terminal(),
        };
        Redrawn { stream, terminal, shown: false }
    }

    /// Whether it can be seen.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// How many columns there are; one is left free, because a full line makes some terminals scroll.
    pub(crate) fn columns(&self) -> usize {
        let size = match self.stream {
            Stream::Stdout => terminal_size::terminal_size_of(std::io::stdout()),
            Stream::Stderr => terminal_size::terminal_size_of(std::io::stderr()),
        };
        usize::from(size.map_or(DEFAULT_COLUMNS, |(width, _)| width.0)).saturating_sub(1)
    }

    /// Draws over what was drawn before.
    pub(crate) fn draw(&mut self, text: &str) {
        if self.terminal {
            self.shown = true;
            self.write(&format!("{CLEAR_LINE}{text}"));
        }
    }

    /// Leaves an empty line behind.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.write(CLEAR_LINE);
        }
    }

    fn write(&self, text: &str) {
        let mut out: Box<dyn Write> = match self.stream {
            Stream::Stdout => Box::new(std::io::stdout().lock()),
            Stream::Stderr => Box::new(std::io::stderr().lock()),
        };
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Drop for Redrawn {
    fn drop(&mut self) {
        self.clear();
    }
}
