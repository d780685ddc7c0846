//! The simulator as a command: `sweep` runs many drawn scenarios quietly, `run` repeats one and tells what happened, `shrink` makes a failing one small,
//! `nth` strikes at every single place of one small swarm.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
