//! The client on the command line: what the program `sameseed` does, one command per file.
//!
//! Failures are one line on standard error and an exit code (`exit`); what people and scripts read is made in `progress` and `json`.

mod args;
mod create;
mod exit;
mod hashing;
mod info;
mod json;
mod log;
mod output;
mod progress;
mod run;
mod selection;
mod signals;
mod text;
mod torrent_file;
mod tracker;
mod verify;

use args::{Cli, Command};
use clap::Parser;
use exit::{Exit, Failure};
use json::Line;
use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too, with code 0.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Done as u8 });
        }
    };
    let json = cli.command.is_none() && cli.run.json;
    let outcome = match (&cli.command, &cli.run.file) {
        (Some(Command::Info(args)), _) => info::info(args),
        (Some(Command::Create(args)), _) => create::create(args),
        (Some(Command::Verify(args)), _) => verify::verify(args),
        (Some(Command::Tracker(args)), _) => log::start(&args.log).and_then(|()| tracker::tracker(args)),
        (None, Some(file)) => log::start(&cli.run.log).and_then(|()| run::run(file, &cli.run)),
        (None, None) => Err(Failure::new(Exit::Usage, "no torrent file given; see sameseed --help")),
    };
    let exit = outcome.as_ref().map_or_else(|failure| failure.exit, |exit| *exit);
    if let Err(failure) = &outcome {
        output::error_line(&format!("sameseed: {}", text::clean(&failure.message)));
    }
    if json {
        let error = outcome.err().map(|failure| text::clean(&failure.message));
        output::line(&Line::Ended { exit_code: exit as u8, error }.to_json());
    }
    exit.into()
}
