//! Standard output, standard error and the terminal: whole lines, and a few lines that are drawn over.
//!
//! A reader that has gone away (`| head`) is not an error: output is for whoever wants it, and the work goes on. It goes on too when lines cannot
//! be written (a full disk), but the end says so. Whoever prints a line takes what is drawn away first; it comes back with the next drawing.

use super::exit::{Exit, Failure, system_words};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What a terminal is taken for that does not tell its size.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// What stands on the terminal to be drawn over: at most one thing at a time, of one program.
static DRAWN: Mutex<Drawn> = Mutex::new(Drawn { rows: 0, stream: Stream::Stdout });

/// Why the first line that was lost could not be written.
static LOST: OnceLock<Failure> = OnceLock::new();

#[derive(Debug)]
struct Drawn {
    /// Lines; the cursor stands at the end of the last one.
    rows: usize,
    stream: Stream,
}

/// Prints a whole line on standard output, at once.
pub(crate) fn line(text: &str) {
    with_nothing_drawn(Stream::Stdout, || {
        let mut out = io::stdout().lock();
        note(writeln!(out, "{text}").and_then(|()| out.flush()));
    });
}

/// Takes note of how it went to write on standard output.
pub(crate) fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        LOST.get_or_init(|| Failure::new(Exit::Disk, format!("standard output: {}", system_words(&error))));
    }
}

/// What came of the work; of work that was done, whether all of it could be told.
pub(crate) fn unless_lost(outcome: Result<Exit, Failure>) -> Result<Exit, Failure> {
    match (outcome, LOST.get()) {
        (Ok(Exit::Done), Some(lost)) => Err(lost.clone()),
        (outcome, _) => outcome,
    }
}

/// Prints a line on standard error.
pub(crate) fn error_line(text: &str) {
    with_nothing_drawn(Stream::Stderr, || {
        let _ = writeln!(io::stderr().lock(), "{text}");
    });
}

/// Takes away what is drawn on the terminal that `stream` goes to, and keeps everybody else from printing meanwhile.
fn with_nothing_drawn(stream: Stream, print: impl FnOnce()) {
    // Nothing in here can be left half done by a panic.
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    if drawn.rows > 0 && stream.is_terminal() {
        drawn.stream.write(&redrawing(std::mem::take(&mut drawn.rows), &[""; 0]));
    }
    print();
}

/// Some lines on a terminal that are drawn over.
#[derive(Debug)]
pub(crate) struct Redrawn {
    stream: Stream,
    terminal: bool,
}

/// Where lines are drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// Where progress is what was asked for.
    Stdout,
    /// Where standard output is for the result.
    Stderr,
}

impl Stream {
    fn is_terminal(self) -> bool {
        match self {
            Stream::Stdout => io::stdout().is_terminal(),
            Stream::Stderr => io::stderr().is_terminal(),
        }
    }

    fn write(self, text: &str) {
        let mut out: Box<dyn Write> = match self {
            Stream::Stdout => Box::new(io::stdout().lock()),
            Stream::Stderr => Box::new(io::stderr().lock()),
        };
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Redrawn {
    /// Nothing is drawn yet; nothing ever is when `stream` is not a terminal.
    pub(crate) fn new(stream: Stream) -> Self {
        Redrawn { stream, terminal: stream.is_terminal() }
    }

    /// Whether it can be seen.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// How many columns there are; one is left free, because a full line makes some terminals scroll.
    pub(crate) fn columns(&self) -> usize {
        usize::from(self.size().0).saturating_sub(1)
    }

    /// How many lines there is room for; one is left free for what is printed above.
    pub(crate) fn rows(&self) -> usize {
        usize::from(self.size().1).saturating_sub(1)
    }

    fn size(&self) -> (u16, u16) {
        let size = match self.stream {
            Stream::Stdout => terminal_size::terminal_size_of(io::stdout()),
            Stream::Stderr => terminal_size::terminal_size_of(io::stderr()),
        };
        size.map_or(DEFAULT_SIZE, |(width, height)| (width.0, height.0))
    }

    /// Draws over what was drawn before. Each of `lines` must fit into the columns.
    pub(crate) fn draw<S: AsRef<str>>(&mut self, lines: &[S]) {
        if self.terminal {
            let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
            self.stream.write(&redrawing(drawn.rows, lines));
            *drawn = Drawn { rows: lines.len(), stream: self.stream };
        }
    }

    /// Leaves an empty line behind.
    pub(crate) fn clear(&mut self) {
        if self.terminal {
            with_nothing_drawn(self.stream, || ());
        }
    }
}

impl Drop for Redrawn {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What replaces so many `rows` by `lines`, without a moment in which nothing is there. The cursor stays at the end of the last line.
fn redrawing(rows: usize, lines: &[impl AsRef<str>]) -> String {
    let up = "\x1b[A".repeat(rows.saturating_sub(1));
    // Each line clears what is behind its end, the last one also what is below.
    let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
    format!("\r{up}{}\x1b[J", lines.join("\x1b[K\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that knows what is needed here.
    fn shown(bytes: &str) -> Vec<String> {
        let (mut screen, mut row, mut column) = (vec![String::new()], 0, 0);
        let mut rest = bytes;
        while let Some(c) = rest.chars().next() {
            let escape = ["\x1b[A", "\x1b[K", "\x1b[J"].into_iter().find(|escape| rest.starts_with(escape));
            rest = &rest[escape.map_or(c.len_utf8(), str::len)..];
            let line: &mut String = &mut screen[row];
            match (escape, c) {
                (Some("\x1b[A"), _) => row -= 1,
                (Some("\x1b[K"), _) => line.truncate(column),
                (Some(_), _) => {
                    line.truncate(column);
                    screen.truncate(row + 1);
                }
                (None, '\r') => column = 0,
                (None, '\n') => {
                    (row, column) = (row + 1, 0);
                    screen.resize(screen.len().max(row + 1), String::new());
                }
                (None, c) => {
                    line.truncate(line.len().max(column));
                    line.replace_range(column..(column + 1).min(line.len()), &c.to_string());
                    column += 1;
                }
            }
        }
        screen
    }

    #[test]
    fn lines_are_drawn_over_whatever_their_number_was() {
        let draws: [&[&str]; 6] =
            [&["one long line", "two"], &["1"], &[], &["a", "b", "c"], &["a", "longer", "c"], &["x", "y"]];
        let mut bytes = String::from("above\n");
        let mut rows = 0;
        for lines in draws {
            bytes.push_str(&redrawing(rows, lines));
            rows = lines.len();
            let mut expected = vec!["above"];
            expected.extend(if lines.is_empty() { &[""] } else { lines });
            assert_eq!(shown(&bytes), expected);
        }
    }
}
