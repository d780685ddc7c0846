//! `sweep`: many drawn scenarios, quietly; then what struck how often, how fast it went, and what failed.

use super::args::Sweep;
use super::{Stopwatch, say, tell};
use sim::lockstep::checks::SharedScene;
use sim::lockstep::faults::Fault;
use sim::lockstep::parallel::side_by_side;
use sim::lockstep::phases::Summary;
use sim::lockstep::scenario::Scenario;
use sim::lockstep::verdict::{Failure, attempt, combined};
use std::collections::BTreeMap;
use std::time::Duration;

/// A kind of fault that is never seen fails a sweep that is this long.
const LONG_SWEEP: u64 = 1000;
/// Seconds between two lines about how it goes.
const PROGRESS_S: f64 = 5.0;
/// Seeds named for each kind of failure.
const SEEDS_NAMED: usize = 8;
/// Columns of a failure's message.
const MESSAGE_COLUMNS: usize = 240;

/// What a sweep has come to.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failed: u64,
    /// By name: the seeds, and what the first of them says.
    failures: BTreeMap<String, Vec<(u64, String)>>,
    /// For each kind of fault: how often it struck, in how many seeds.
    counts: Vec<(u64, u64)>,
    hosts: Vec<usize>,
    pieces: Vec<u64>,
    kinds: Vec<usize>,
    steps: u64,
    simulated: Duration,
    traces: BTreeMap<u64, u64>,
}

/// Runs it; whether all laws held, and every kind of fault was seen.
pub(super) fn sweep(options: &Sweep) -> bool {
    let watch = Stopwatch::new();
    let Sweep { seeds, from, threads, hash } = *options;
    let mut tally = Tally { counts: vec![(0, 0); Fault::ALL.len()], ..Tally::default() };
    let mut next_line = PROGRESS_S;
    let run = |seed| {
        let scenario = Scenario::draw(seed);
        let result = attempt(&scenario, &SharedScene::default());
        (scenario, result)
    };
    side_by_side(from..from + seeds, threads, run, |_, (scenario, result)| {
        tally.note(&scenario, result);
        let seconds = watch.seconds();
        if seconds >= next_line {
            next_line = seconds + PROGRESS_S;
            let (done, rate) = (tally.done, tally.done as f64 / seconds);
            tell(&format!("{done:>8} of {seeds} seeds, {rate:.1} a second, {} failed", tally.failed));
        }
    });
    let all_seen = tally.coverage();
    tally.figures(watch.seconds());
    if hash {
        say(&format!("hash {:016x}", combined(tally.traces.values().copied())));
    }
    tally.verdict();
    tally.failed == 0 && (seeds < LONG_SWEEP || all_seen)
}

fn median<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Tally {
    fn note(&mut self, scenario: &Scenario, result: Result<Summary, Box<Failure>>) {
        self.done += 1;
        self.hosts.push(scenario.clients.len() + scenario.hostile.len());
        self.pieces.push(scenario.pieces());
        self.kinds.push(scenario.kinds());
        let counts = match result {
            Ok(summary) => {
                self.steps += summary.steps;
                self.simulated += summary.simulated;
                self.traces.insert(scenario.seed, summary.trace);
                summary.counts
            }
            Err(failure) => {
                self.failed += 1;
                self.steps += failure.step;
                self.simulated += Duration::from_micros(failure.now.as_micros());
                // A failure has no trace; how far it came stands for it.
                self.traces.insert(scenario.seed, failure.step);
                let seeds = self.failures.entry(failure.name()).or_default();
                if seeds.len() < SEEDS_NAMED {
                    tell(&format!("seed {} FAILED: {}", scenario.seed, failure.name()));
                }
                let line = failure.text.lines().next().unwrap_or_default();
                seeds.push((scenario.seed, line.chars().take(MESSAGE_COLUMNS).collect()));
                failure.counts
            }
        };
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum = (sum.0 + count, sum.1 + u64::from(count > 0));
        }
    }

    /// The table of faults; whether every kind was seen.
    fn coverage(&self) -> bool {
        say(&format!("{:<32} {:>10} {:>8}", "fault", "struck", "seeds"));
        for (fault, (count, in_seeds)) in Fault::ALL.iter().zip(&self.counts) {
            let mark = if *count == 0 { "  NEVER SEEN" } else { "" };
            say(&format!("{:<32} {count:>10} {in_seeds:>8}{mark}", fault.name()));
        }
        self.counts.iter().all(|(count, _)| *count > 0)
    }

    fn figures(&mut self, real: f64) {
        let (hosts, pieces) = (median(&mut self.hosts), median(&mut self.pieces));
        let kinds = median(&mut self.kinds);
        say(&format!("median: {hosts} hosts, {pieces} pieces, {kinds} kinds of faults"));
        let (done, steps) = (self.done, self.steps);
        let (rate, simulated) = (done as f64 / real, self.simulated.as_secs_f64() / real);
        say(&format!(
            "{done} seeds in {real:.1} s: {rate:.1} a second; {steps} steps, {simulated:.0} simulated seconds a second"
        ));
    }

    fn verdict(&mut self) {
        if self.failures.is_empty() {
            return say("no law was broken");
        }
        say(&format!("{} of {} seeds FAILED:", self.failed, self.done));
        for (name, seeds) in &mut self.failures {
            seeds.sort();
            let named: Vec<String> = seeds.iter().take(SEEDS_NAMED).map(|(seed, _)| seed.to_string()).collect();
            let more = if seeds.len() > SEEDS_NAMED { " …" } else { "" };
            say(&format!("{:>6} {name}: seeds {}{more}", seeds.len(), named.join(" ")));
            say(&format!("       {}", seeds[0].1));
        }
        if let Some((seed, _)) = self.failures.values().map(|seeds| &seeds[0]).min() {
            say(&format!("repeat with: cargo run --release -p sim -- run {seed}"));
        }
    }
}
