//! The command line: words in, an exit code out. 0: no law was broken; 1: one was; 2: the words make no sense.

mod args;
mod nth;
mod run;
mod shrink;
mod sweep;

use args::Task;
use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let task = match args::parse(&words) {
        Ok(task) => task,
        Err(complaint) => {
            tell(&format!("sim: {complaint}\n{}", args::USAGE));
            return ExitCode::from(2);
        }
    };
    let passed = match task {
        Task::Help => {
            say(args::USAGE);
            true
        }
        Task::Sweep(options) => sweep::sweep(&options),
        Task::Run { seed, full } => run::run(seed, full),
        Task::Scenario { seed } => {
            say(&sim::lockstep::scenario::Scenario::draw(seed).to_string());
            true
        }
        Task::Shrink { seed, runs, threads } => shrink::shrink(seed, runs, threads),
        Task::Nth { every, threads } => nth::nth(every, threads),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line of what was asked for.
#[expect(clippy::print_stdout, reason = "this is a command")]
fn say(line: &str) {
    println!("{line}");
}

/// A line about how it goes.
#[expect(clippy::print_stderr, reason = "this is a command")]
fn tell(line: &str) {
    eprintln!("{line}");
}

/// Real time since something began. How fast the simulator is, is a question about real time; nothing simulated sees it.
struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the speed of the simulator itself")]
    fn new() -> Self {
        Stopwatch(std::time::Instant::now())
    }

    /// Seconds; never 0, so that one may divide by it.
    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64().max(1e-9)
    }
}
