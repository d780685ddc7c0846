//! `run SEED`: one scenario, told at length.

use super::say;
use sim::lockstep::checks::{Scene, SharedScene};
use sim::lockstep::scenario::Scenario;
use sim::lockstep::verdict::{COLUMNS, Failure, attempt, told};
use std::process::Command;

/// Lines of the short log for each host involved.
const SHORT_LINES: usize = 30;

/// Runs it; whether all laws held.
pub(super) fn run(seed: u64, full: bool) -> bool {
    let scenario = Scenario::draw(seed);
    say(&scenario.to_string());
    let scene = SharedScene::default();
    (scene.borrow_mut().logging, scene.borrow_mut().full) = (true, full);
    let result = attempt(&scenario, &scene);
    let scene = scene.borrow();
    if full {
        say(COLUMNS);
        scene.lines.iter().for_each(|(_, line)| say(line));
    }
    match result {
        Ok(summary) => {
            say(&format!("faults: {}", told(&summary.counts)));
            let seconds = summary.simulated.as_secs_f64();
            say(&format!("trace {:016x}, {} steps, {seconds:.6} s simulated", summary.trace, summary.steps));
            true
        }
        Err(failure) => {
            if !full {
                log(&scene, &failure);
            }
            say(&failure.report());
            say(&format!("seed {seed}{}", commit().map(|commit| format!(", commit {commit}")).unwrap_or_default()));
            say(&format!("repeat with: cargo run --release -p sim -- run {seed} --log full"));
            say(&format!("make small with: cargo run --release -p sim -- shrink {seed}"));
            false
        }
    }
}

/// The last lines of the hosts involved.
pub(super) fn log(scene: &Scene, failure: &Failure) {
    for host in &failure.involved {
        let lines = scene.last(*host, SHORT_LINES);
        if !lines.is_empty() {
            say(&format!("the last {} lines of host-{host}:\n{COLUMNS}", lines.len()));
            lines.iter().for_each(|line| say(line));
        }
    }
}

/// The commit that stands here, where there is git.
pub(super) fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_string())
}
