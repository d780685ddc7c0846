//! The client on the command line: what the program `sameseed` does, one command per file.
//!
//! Failures are one line on standard error and an exit code (`exit`); what people and scripts read is made in `progress` and `json`.

mod args;
mod completions;
mod config_file;
mod create;
mod exit;
mod explain;
mod follow;
mod hashing;
mod hook;
mod info;
mod json;
mod log;
mod open_files;
mod output;
mod patience;
mod progress;
mod run;
mod selection;
mod signals;
mod teller;
mod text;
mod torrent_file;
mod tracker;
mod values;
mod verify;

use args::Command;
use exit::{Exit, Failure};
use json::Line;
use std::ffi::OsString;
use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let cli = match args::parse(&argv) {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            if error.use_stderr() {
                return Exit::Usage.into();
            }
            // `--help` and `--version` come this way too.
            output::note(printed);
            return end(Ok(Exit::Done));
        }
    };
    let mut json = false;
    let mut outcome = match &cli.command {
        Some(Command::Info(args)) => info::info(args),
        Some(Command::Create(args)) => create::create(args),
        Some(Command::Verify(args)) => verify::verify(args),
        Some(Command::Explain(args)) => log::start(&args.run.log).and_then(|()| explain::explain(args)),
        Some(Command::Tracker(args)) => log::start(&args.log).and_then(|()| tracker::tracker(args)),
        Some(Command::Completions(args)) => Ok(completions::completions(args)),
        None => {
            json = cli.run.json;
            config_file::complete(&argv, cli.run).and_then(|args| {
                json = args.json;
                log::start(&args.log)?;
                run::run(&args)
            })
        }
    };
    if json {
        outcome = output::unless_lost(outcome);
        let error = outcome.as_ref().err().map(|failure| text::clean(&failure.message));
        output::line(&Line::Ended { exit_code: code(&outcome) as u8, error }.to_json(None));
    }
    end(outcome)
}

/// Says why the work was not done, or could not be told.
fn end(outcome: Result<Exit, Failure>) -> ExitCode {
    let outcome = output::unless_lost(outcome);
    if let Err(failure) = &outcome {
        output::error_line(&format!("sameseed: {}", text::clean(&failure.message)));
    }
    code(&outcome).into()
}

/// What the process exits with.
fn code(outcome: &Result<Exit, Failure>) -> Exit {
    outcome.as_ref().map_or_else(|failure| failure.exit, |exit| *exit)
}
