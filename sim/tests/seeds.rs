//! A fixed set of drawn scenarios, and every k-th blow at the small swarm; what a sweep does, as a test.
//!
//! `SAMESEED_SEED=n` runs one seed alone, `SAMESEED_SEEDS=n` that many, `SAMESEED_QUICK=1` fewer of everything.

use sim::lockstep::checks::SharedScene;
use sim::lockstep::faults::Fault;
use sim::lockstep::nth::{Blow, blows, swarm};
use sim::lockstep::parallel::{cores, side_by_side};
use sim::lockstep::scenario::Scenario;
use sim::lockstep::verdict::{Failure, attempt, combined, told};
use std::ops::Range;
use std::process::Command;

/// Seeds that broke a law once: each stands in TESTING.md. They mean what they meant as long as nothing is drawn differently.
const BROKE: [u64; 24] = [
    2835, 7554, 9660, 13852, 14617, 17474, 21386, 21941, 23699, 25318, 42908, 47655, 47751, 52415, 52596, 57697, 58041,
    65401, 66709, 67233, 79414, 81391, 89864, 94569,
];
/// Seeds of an ordinary run, and of a quick one.
const SEEDS: [u64; 2] = [2000, 40];
/// From so many seeds on every kind of fault must have been seen.
const LONG: u64 = 1000;
/// One blow in so many is struck, in an ordinary run and in a quick one. Primes, so that all kinds are met.
const EVERY: [usize; 2] = [7, 307];
/// Seeds that are run twice, in an ordinary run and in a quick one.
const TWICE: [u64; 2] = [8, 2];

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// The ordinary value, or the quick one.
fn sized<T: Copy>(values: [T; 2]) -> T {
    values[usize::from(setting("SAMESEED_QUICK").is_some_and(|quick| quick > 0))]
}

fn seeds() -> Range<u64> {
    match setting("SAMESEED_SEED") {
        Some(seed) => seed..seed.saturating_add(1),
        None => 0..setting("SAMESEED_SEEDS").unwrap_or_else(|| sized(SEEDS)),
    }
}

#[test]
fn no_drawn_scenario_breaks_a_law_and_every_kind_of_fault_is_seen() {
    let (mut failures, mut counts) = (Vec::new(), vec![0; Fault::ALL.len()]);
    let run = |seed| attempt(&Scenario::draw(seed), &SharedScene::default());
    side_by_side(seeds(), cores(), run, |seed, result| match result {
        Ok(summary) => counts.iter_mut().zip(summary.counts).for_each(|(sum, count)| *sum += count),
        Err(failure) => failures.push(story(seed, &failure)),
    });
    judge(failures);
    if seeds().count() as u64 >= LONG {
        let unseen = Fault::ALL.iter().zip(&counts).filter(|(_, count)| **count == 0);
        let unseen: Vec<&str> = unseen.map(|(fault, _)| fault.name()).collect();
        assert!(unseen.is_empty(), "never seen: {unseen:?}; seen: {}", told(&counts));
    }
}

#[test]
fn no_seed_that_broke_a_law_once_breaks_one_again() {
    let mut failures = Vec::new();
    let some: Vec<u64> = BROKE.into_iter().step_by(sized([1, 6])).collect();
    let run = |at: u64| attempt(&Scenario::draw(some[at as usize]), &SharedScene::default());
    side_by_side(0..some.len() as u64, cores(), run, |at, result| {
        failures.extend(result.err().map(|failure| story(some[at as usize], &failure)));
    });
    judge(failures);
}

fn story(seed: u64, failure: &Failure) -> (u64, String) {
    let again = format!("repeat with: cargo run --release -p sim -- run {seed}");
    (seed, format!("seed {seed}: {}\n{again}\n", failure.report()))
}

fn judge(mut failures: Vec<(u64, String)>) {
    failures.sort();
    let told_first: Vec<&str> = failures.iter().take(5).map(|(_, story)| story.as_str()).collect();
    assert!(failures.is_empty(), "{} seeds failed\n{}", failures.len(), told_first.join("\n"));
}

#[test]
fn one_blow_at_any_single_place_is_survived() {
    let places = attempt(&swarm(), &SharedScene::default()).expect("without a blow").places;
    let all = blows(&places);
    let some: Vec<Blow> = all.into_iter().step_by(sized(EVERY)).collect();
    let kinds = ["Disk", "Serve", "Cut", "Datagram", "Crash"];
    let missing = |kind: &&str| !some.iter().any(|blow| format!("{blow:?}").starts_with(*kind));
    assert!(!kinds.iter().any(missing) || sized([false, true]), "every kind of blow is in the sample");
    let mut failures = Vec::new();
    let run = |at: u64| {
        let scenario = Scenario { blow: Some(some[at as usize]), ..swarm() };
        attempt(&scenario, &SharedScene::default()).err()
    };
    side_by_side(0..some.len() as u64, cores(), run, |at, failure| {
        failures.extend(failure.map(|failure| (at, format!("{:?}: {}", some[at as usize], failure.report()))));
    });
    failures.sort();
    assert!(failures.is_empty(), "{} of {} blows:\n{}", failures.len(), some.len(), failures[0].1);
}

#[test]
fn one_seed_is_one_trace_in_two_runs_and_in_two_processes() {
    let trace = |seed| attempt(&Scenario::draw(seed), &SharedScene::default()).expect("no law is broken").trace;
    let traces: Vec<u64> = (0..sized(TWICE)).map(trace).collect();
    assert_eq!((0..sized(TWICE)).map(trace).collect::<Vec<_>>(), traces);
    let mut different = traces.clone();
    different.dedup();
    assert_eq!(different.len(), traces.len(), "each seed goes its own way");
    let words = ["sweep", "--seeds", &sized(TWICE).to_string(), "--threads", "1", "--hash"];
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(words).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains(&format!("\nhash {:016x}\n", combined(traces))), "{text}");
}

#[test]
fn words_that_make_no_sense_end_with_2_and_how_it_is_called() {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(["run", "x"]).output().expect("it runs");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("\"x\" is not a seed") && text.contains("usage: "), "{text}");
}
