//! The simulator as a command: `sweep --seeds N` runs many drawn scenarios quietly, `run SEED` repeats one and tells what happened.

use sim::lockstep::checks::SharedScene;
use sim::lockstep::faults::Fault;
use sim::lockstep::phases::{Summary, run};
use sim::lockstep::scenario::Scenario;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const USAGE: &str = "usage: sim sweep [--seeds N] [--from SEED] [--threads N]
       sim run SEED [--log short|full]
       sim scenario SEED";
/// A kind of fault that is never seen fails a sweep that is this long.
const LONG_SWEEP: u64 = 1000;
/// Failures are told one by one up to here.
const MAX_FAILURES_TOLD: usize = 10;
/// Lines of `--log short` for each host.
const SHORT_LINES: usize = 30;

thread_local! {
    /// Where the last panic of this thread happened.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PLACE.with_borrow_mut(|last| *last = place);
    }));
    match args.as_slice() {
        ["sweep", options @ ..] => match sweep_options(options) {
            Some((from, seeds, threads)) => sweep(from, seeds, threads),
            None => usage(),
        },
        ["run", seed, options @ ..] => match (seed.parse(), options) {
            (Ok(seed), [] | ["--log", "short"]) => run_one(seed, false),
            (Ok(seed), ["--log", "full"]) => run_one(seed, true),
            _ => usage(),
        },
        ["scenario", seed] => match seed.parse() {
            Ok(seed) => {
                say(&Scenario::draw(seed).to_string());
                ExitCode::SUCCESS
            }
            Err(_) => usage(),
        },
        _ => usage(),
    }
}

#[expect(clippy::print_stdout, reason = "this is a command")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "this is a command")]
fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn sweep_options(mut options: &[&str]) -> Option<(u64, u64, usize)> {
    let (mut from, mut seeds, mut threads) = (0, 1000, 2);
    while let [name, value, rest @ ..] = options {
        match *name {
            "--from" => from = value.parse().ok()?,
            "--seeds" => seeds = value.parse().ok()?,
            "--threads" => threads = value.parse().ok()?,
            _ => return None,
        }
        options = rest;
    }
    options.is_empty().then_some((from, seeds, threads))
}

/// One seed; the failure as its message.
fn attempt(scenario: &Scenario, scene: &SharedScene) -> Result<Summary, String> {
    catch_unwind(AssertUnwindSafe(|| run(scenario, scene))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let place = PLACE.with_borrow(Clone::clone);
        format!("{} [{place}]", text.unwrap_or_default())
    })
}

/// What a sweep has come to.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failures: Vec<(u64, String)>,
    counts: Vec<(u64, u64)>,
    hosts: Vec<usize>,
    pieces: Vec<u64>,
    kinds: Vec<usize>,
    steps: u64,
    simulated: Duration,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the speed of a sweep is real time, and its seeds run on threads side by side"
)]
fn sweep(from: u64, seeds: u64, threads: usize) -> ExitCode {
    let began = std::time::Instant::now();
    let next = AtomicU64::new(from);
    let tally = Mutex::new(Tally { counts: vec![(0, 0); Fault::ALL.len()], ..Tally::default() });
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let scenario = Scenario::draw(seed);
                    let result = attempt(&scenario, &SharedScene::default());
                    let Ok(mut tally) = tally.lock() else { return };
                    note(&mut tally, &scenario, result);
                    if tally.done.is_multiple_of((seeds / 10).max(1)) {
                        let rate = tally.done as f64 / began.elapsed().as_secs_f64();
                        say(&format!("{:>7} seeds, {rate:.1} a second, {} failed", tally.done, tally.failures.len()));
                    }
                }
            });
        }
    });
    let Ok(tally) = tally.into_inner() else { return ExitCode::FAILURE };
    close_sweep(tally, began.elapsed(), seeds)
}

fn note(tally: &mut Tally, scenario: &Scenario, result: Result<Summary, String>) {
    tally.done += 1;
    tally.hosts.push(scenario.clients.len() + scenario.hostile.len());
    tally.pieces.push(scenario.pieces());
    tally.kinds.push(scenario.kinds());
    match result {
        Ok(summary) => {
            for (sum, count) in tally.counts.iter_mut().zip(&summary.counts) {
                *sum = (sum.0 + count, sum.1 + u64::from(*count > 0));
            }
            tally.steps += summary.steps;
            tally.simulated += summary.simulated;
        }
        Err(text) => {
            if tally.failures.len() < MAX_FAILURES_TOLD {
                let line: String = text.lines().next().unwrap_or_default().chars().take(220).collect();
                let place = text.rsplit(" [").next().unwrap_or_default();
                say(&format!("seed {} FAILED: {line} [{place}", scenario.seed));
            }
            tally.failures.push((scenario.seed, text));
        }
    }
}

fn median<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn close_sweep(mut tally: Tally, took: Duration, seeds: u64) -> ExitCode {
    say(&format!("{:<32} {:>10} {:>8}", "fault", "struck", "seeds"));
    let mut unseen = 0;
    for (fault, (count, in_seeds)) in Fault::ALL.iter().zip(&tally.counts) {
        unseen += usize::from(*count == 0);
        say(&format!(
            "{:<32} {count:>10} {in_seeds:>8}{}",
            fault.name(),
            if *count == 0 { "  NEVER SEEN" } else { "" }
        ));
    }
    let (hosts, pieces) = (median(&mut tally.hosts), median(&mut tally.pieces));
    let kinds = median(&mut tally.kinds);
    say(&format!("median: {hosts} hosts, {pieces} pieces, {kinds} kinds of faults"));
    let real = took.as_secs_f64();
    say(&format!(
        "{} seeds in {real:.1} s: {:.1} a second; {} steps, {:.0} simulated seconds a second",
        tally.done,
        tally.done as f64 / real,
        tally.steps,
        tally.simulated.as_secs_f64() / real
    ));
    tally.failures.sort();
    let failed: Vec<String> = tally.failures.iter().map(|(seed, _)| seed.to_string()).collect();
    if failed.is_empty() {
        say("no law was broken");
    } else {
        say(&format!("{} FAILED: {}", failed.len(), failed.join(" ")));
        say(&format!("repeat with: cargo run --release -p sim -- run {}", failed[0]));
    }
    let passed = failed.is_empty() && (seeds < LONG_SWEEP || unseen == 0);
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_one(seed: u64, full: bool) -> ExitCode {
    let scenario = Scenario::draw(seed);
    say(&scenario.to_string());
    let scene = SharedScene::default();
    (scene.borrow_mut().logging, scene.borrow_mut().full) = (true, full);
    let result = attempt(&scenario, &scene);
    let scene = scene.borrow();
    if full {
        scene.lines.iter().for_each(|(_, line)| say(line));
    }
    match result {
        Ok(summary) => {
            let struck = Fault::ALL.iter().zip(&summary.counts).filter(|(_, count)| **count > 0);
            let struck: Vec<String> = struck.map(|(fault, count)| format!("{} {count}", fault.name())).collect();
            say(&format!("faults: {}", struck.join(", ")));
            say(&format!("trace {:016x}, {} steps, {:?} simulated", summary.trace, summary.steps, summary.simulated));
            ExitCode::SUCCESS
        }
        Err(text) => {
            if !full {
                scene.last(scene.host, SHORT_LINES).iter().for_each(|line| say(line));
            }
            say(&format!("FAILED at {:?}, step {}, host-{}: {text}", scene.now, scene.steps, scene.host));
            say(&format!("repeat with: cargo run --release -p sim -- run {seed} --log full"));
            ExitCode::FAILURE
        }
    }
}
