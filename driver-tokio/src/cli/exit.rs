//! How the program ends: the exit codes, and the one line that says why.
//!
//! Scripts rely on these numbers; they are listed in `--help` and never change their meaning.

use std::fmt;
use std::process::ExitCode;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// Something that is not foreseen.
    Other = 1,
    /// The command line cannot be followed: an unknown option, an address or port that cannot be used.
    Usage = 2,
    /// The torrent file cannot be read or makes no sense.
    Torrent = 3,
    /// Nobody to download from.
    NoPeers = 4,
    /// The disk is full or refuses; standard output may be on one.
    Disk = 5,
    /// Data that is missing or differs from the torrent.
    Hash = 6,
    /// Ended by a signal before the work was done.
    Interrupted = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why the program ends without having done its work: one line for people, and the exit code.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, where, and what to do; without the program's name and without a line feed.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with its sentence.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What the system says of an error, in lower case and without the error's number.
pub(crate) fn system_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::from("unknown error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_words_carry_no_error_number() {
        let error = std::fs::File::open("/nonexistent/x").unwrap_err();
        assert_eq!(system_words(&error), "no such file or directory");
    }
}
