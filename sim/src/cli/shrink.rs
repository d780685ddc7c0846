//! `shrink SEED`: a failing scenario made smaller, as long as the same law breaks; at the end a test ready to paste.

use super::run::commit;
use super::{say, tell};
use sim::lockstep::checks::SharedScene;
use sim::lockstep::literal;
use sim::lockstep::parallel::side_by_side;
use sim::lockstep::scenario::Scenario;
use sim::lockstep::smaller::SHRINKS;
use sim::lockstep::verdict::{Failure, attempt};
use std::collections::BTreeMap;

/// A smaller scenario goes another way by chance: it gets so many seeds to fail with.
const LUCK: u64 = 6;

/// Shrinks it; whether there was nothing to shrink.
pub(super) fn shrink(seed: u64, runs: u64, threads: usize) -> bool {
    let scenario = Scenario::draw(seed);
    let Err(failure) = attempt(&scenario, &SharedScene::default()) else {
        say(&format!("seed {seed} breaks no law"));
        return true;
    };
    tell(&format!("seed {seed}: {}", failure.name()));
    let mut search = Search { scenario, failure, runs_left: runs, threads };
    while search.pass() {}
    if search.runs_left == 0 {
        tell(&format!("stopped after {runs} runs: give more with --runs"));
    } else {
        tell(&format!("smallest after {} runs", runs - search.runs_left));
    }
    search.print(seed);
    false
}

struct Search {
    scenario: Scenario,
    failure: Box<Failure>,
    runs_left: u64,
    threads: usize,
}

impl Search {
    /// Tries every kind of shrinking until it gives no more; whether anything became smaller.
    fn pass(&mut self) -> bool {
        let mut smaller = false;
        for (name, shrink) in SHRINKS {
            // What was left out does not come back, so each list only has to be gone through again from where it helped.
            let mut at = 0;
            while let Some(candidate) = shrink(&self.scenario).into_iter().nth(at) {
                if self.runs_left == 0 {
                    return false;
                }
                if self.fails(&candidate) {
                    smaller = true;
                    self.tell(name);
                } else {
                    at += 1;
                }
            }
        }
        smaller
    }

    /// Whether the same law breaks; if so, the candidate is taken.
    fn fails(&mut self, candidate: &Scenario) -> bool {
        let mut seeds = vec![self.scenario.seed];
        seeds.extend((0..LUCK).filter(|seed| *seed != self.scenario.seed));
        // By their place in the list, so that the outcome does not depend on the number of threads.
        for batch in seeds.chunks(self.threads.max(1)) {
            let run = |at: u64| {
                let candidate = Scenario { seed: batch[at as usize], ..candidate.clone() };
                attempt(&candidate, &SharedScene::default()).err().map(|failure| (candidate, failure))
            };
            let mut found = BTreeMap::new();
            side_by_side(0..batch.len() as u64, self.threads, run, |at, result| _ = found.insert(at, result));
            self.runs_left = self.runs_left.saturating_sub(batch.len() as u64);
            let name = self.failure.name();
            let same = found.into_values().flatten().find(|(_, failure)| failure.name() == name);
            if let Some((scenario, failure)) = same {
                (self.scenario, self.failure) = (scenario, failure);
                return true;
            }
        }
        false
    }

    fn tell(&self, name: &str) {
        let Scenario { clients, hostile, rates, .. } = &self.scenario;
        let (clients, hostile, rates, step) = (clients.len(), hostile.len(), rates.len(), self.failure.step);
        let pieces = self.scenario.pieces();
        tell(&format!(
            "{name}: {clients} clients, {hostile} hostile, {rates} faults, {pieces} pieces; fails at step {step}"
        ));
    }

    fn print(&self, seed: u64) {
        say(&format!("{}\n{}\n", self.scenario, self.failure.report()));
        say(&test(&format!("seed_{seed}"), &self.scenario, &self.failure));
    }
}

/// A test for `sim/tests/regressions.rs`.
pub(super) fn test(from: &str, scenario: &Scenario, failure: &Failure) -> String {
    let at = commit().map(|commit| format!(", at {commit}")).unwrap_or_default();
    let (name, sentence) = (failure.name(), failure.sentence());
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    }
    let snake = snake.trim_matches('_');
    let scenario = literal::scenario(scenario);
    format!("#[test]\nfn {from}_{snake}() {{\n    // {name}: {sentence}. Found{at}.\n    holds(&{scenario});\n}}")
}
