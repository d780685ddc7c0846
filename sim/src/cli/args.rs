//! Words of the command line to a task. By hand: five commands, five options.

use sim::lockstep::parallel::cores;

/// How it is called.
pub(super) const USAGE: &str = "\
usage: sim sweep [--seeds N] [--from SEED] [--threads N] [--hash]
       sim run SEED [--log short|full]
       sim shrink SEED [--runs N] [--threads N]
       sim nth [--every K] [--threads N]
       sim scenario SEED";

/// Seeds of a sweep that does not say.
const SEEDS: u64 = 1000;
/// Runs of a shrink that does not say: a minute or two.
const RUNS: u64 = 3000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Tell how the command is called.
    Help,
    /// Many seeds.
    Sweep(Sweep),
    /// One seed, told at length.
    Run { seed: u64, full: bool },
    /// What a seed draws.
    Scenario { seed: u64 },
    /// A failing seed made small, in at most so many runs.
    Shrink { seed: u64, runs: u64, threads: usize },
    /// Every k-th place of the small swarm.
    Nth { every: u64, threads: usize },
}

/// Options of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sweep {
    /// How many.
    pub seeds: u64,
    /// The first.
    pub from: u64,
    /// Side by side.
    pub threads: usize,
    /// Print one hash over all of them.
    pub hash: bool,
}

/// The words after the command, taken out one by one.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| *word != name);
        self.0.len() < before
    }

    fn value(&mut self, name: &str) -> Result<Option<&'a str>, String> {
        let Some(at) = self.0.iter().position(|word| *word == name) else { return Ok(None) };
        self.0.remove(at);
        if at < self.0.len() { Ok(Some(self.0.remove(at))) } else { Err(format!("{name} needs a value")) }
    }

    fn number(&mut self, name: &str, otherwise: u64) -> Result<u64, String> {
        match self.value(name)? {
            None => Ok(otherwise),
            Some(word) => word.parse().map_err(|_| format!("{name}: {word:?} is not a number")),
        }
    }

    /// A number that is at least 1.
    fn count(&mut self, name: &str, otherwise: u64) -> Result<u64, String> {
        match self.number(name, otherwise)? {
            0 => Err(format!("{name} must be at least 1")),
            count => Ok(count),
        }
    }

    fn threads(&mut self) -> Result<usize, String> {
        Ok(self.count("--threads", cores() as u64)? as usize)
    }

    fn seed(&mut self) -> Result<u64, String> {
        let at = self.0.iter().position(|word| !word.starts_with('-')).ok_or("which seed?")?;
        let word = self.0.remove(at);
        word.parse().map_err(|_| format!("{word:?} is not a seed: a seed is a number"))
    }

    fn done(self, task: Task) -> Result<Task, String> {
        match self.0.first() {
            None => Ok(task),
            Some(word) => Err(format!("{word:?} is not understood here")),
        }
    }
}

/// The task that the words name.
///
/// # Errors
/// What is wrong with them.
pub(super) fn parse(words: &[String]) -> Result<Task, String> {
    let (command, rest) = words.split_first().ok_or("what is to be done?")?;
    let mut words = Words(rest.iter().map(String::as_str).collect());
    let task = match command.as_str() {
        "help" | "--help" | "-h" => Task::Help,
        "sweep" => {
            let (seeds, from) = (words.count("--seeds", SEEDS)?, words.number("--from", 0)?);
            if from.checked_add(seeds).is_none() {
                return Err(format!("there are no {seeds} seeds from {from} on"));
            }
            Task::Sweep(Sweep { seeds, from, threads: words.threads()?, hash: words.flag("--hash") })
        }
        "run" => {
            let full = match words.value("--log")? {
                None | Some("short") => false,
                Some("full") => true,
                Some(other) => return Err(format!("--log is short or full, not {other:?}")),
            };
            Task::Run { full, seed: words.seed()? }
        }
        "scenario" => Task::Scenario { seed: words.seed()? },
        "shrink" => {
            let (runs, threads) = (words.count("--runs", RUNS)?, words.threads()?);
            Task::Shrink { runs, threads, seed: words.seed()? }
        }
        "nth" => Task::Nth { every: words.count("--every", 1)?, threads: words.threads()? },
        other => return Err(format!("there is no command {other:?}")),
    };
    words.done(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_anywhere() {
        let sweep = Sweep { seeds: 5, from: 7, threads: 3, hash: true };
        assert_eq!(parsed("sweep --hash --threads 3 --from 7 --seeds 5"), Ok(Task::Sweep(sweep)));
        assert_eq!(parsed("run 4 --log full"), Ok(Task::Run { seed: 4, full: true }));
        assert_eq!(parsed("run --log short 4"), Ok(Task::Run { seed: 4, full: false }));
        assert_eq!(parsed("shrink 9 --runs 10 --threads 1"), Ok(Task::Shrink { seed: 9, runs: 10, threads: 1 }));
        assert_eq!(parsed("nth --every 50 --threads 2"), Ok(Task::Nth { every: 50, threads: 2 }));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, complaint) in [
            ("", "what is to be done?"),
            ("swep", "there is no command \"swep\""),
            ("sweep --seed 5", "\"--seed\" is not understood here"),
            ("sweep --seeds", "--seeds needs a value"),
            ("sweep --seeds many", "--seeds: \"many\" is not a number"),
            ("sweep --threads 0", "--threads must be at least 1"),
            ("sweep --from 18446744073709551615 --seeds 2", "there are no 2 seeds from 18446744073709551615 on"),
            ("run", "which seed?"),
            ("run seven", "\"seven\" is not a seed: a seed is a number"),
            ("run 1 2", "\"2\" is not understood here"),
            ("run 1 --log long", "--log is short or full, not \"long\""),
        ] {
            assert_eq!(parsed(line), Err(String::from(complaint)), "{line}");
        }
    }
}
