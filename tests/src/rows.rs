//! A table of tests that mostly wait: many run at a time, each on a stage of its own.

use crate::{Outcome, Stage};
use libtest_mimic::{Arguments, Failed, Trial};

/// What one row may take: the slowest waits for time-outs of ten seconds, on a busy machine.
const ROW_LIMIT_S: u64 = 60;
/// Rows wait for clocks more than for processors.
const ROWS_AT_A_TIME: usize = 10;

/// The rows of one test program.
#[derive(Debug, Default)]
pub struct Rows {
    trials: Vec<Trial>,
}

impl Rows {
    /// Adds a row. Its name is a sentence.
    pub fn add(&mut self, name: &str, play: impl FnOnce(&Stage) -> Outcome + Send + 'static) {
        let stage = name.to_owned();
        self.trials.push(Trial::test(name, move || Stage::run(&stage, ROW_LIMIT_S, play).map_err(Failed::from)));
    }

    /// Adds a row that cannot run here: it is shown as ignored, with the reason.
    pub fn ignore(&mut self, name: &str, reason: &str) {
        let failure = reason.to_owned();
        let trial = Trial::test(name, move || Err(Failed::from(failure)));
        self.trials.push(trial.with_kind(reason).with_ignored_flag(true));
    }

    /// Runs them and leaves.
    pub fn run(self) -> ! {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(ROWS_AT_A_TIME);
        libtest_mimic::run(&arguments, self.trials).exit()
    }
}
