//! `sameseed completions`: what a shell needs to complete the command line, made from its definition.

use super::args::{CompletionsArgs, command};
use super::exit::Exit;
use super::output;

/// Prints them.
pub(crate) fn completions(args: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    // Into memory, because it panics when a reader has gone away.
    clap_complete::generate(args.shell, &mut command(), "sameseed", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}
