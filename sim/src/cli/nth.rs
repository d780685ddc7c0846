//! `nth`: the small swarm once for each place where a blow can strike.

use super::run::log;
use super::shrink::test;
use super::{Stopwatch, say, tell};
use sim::lockstep::checks::SharedScene;
use sim::lockstep::nth::{Blow, blows, swarm};
use sim::lockstep::parallel::side_by_side;
use sim::lockstep::scenario::Scenario;
use sim::lockstep::verdict::attempt;
use std::collections::BTreeMap;

/// Blows named for each kind of failure.
const NAMED: usize = 5;

fn kind(blow: Blow) -> &'static str {
    match blow {
        Blow::Disk { .. } => "the n-th disk operation fails",
        Blow::Serve { .. } => "the n-th block cannot be read",
        Blow::Cut { .. } => "a link is cut at byte n",
        Blow::Datagram { .. } => "the n-th datagram is lost",
        Blow::Crash { .. } => "a client dies at the n-th action",
        Blow::Leave { .. } => "a client is told to stop at the n-th",
    }
}

/// Runs every k-th; whether all laws held.
pub(super) fn nth(every: u64, threads: usize) -> bool {
    let watch = Stopwatch::new();
    let places = match attempt(&swarm(), &SharedScene::default()) {
        Ok(summary) => summary.places,
        Err(failure) => {
            say(&format!("without a blow: {}", failure.report()));
            return false;
        }
    };
    let blows: Vec<Blow> = blows(&places).into_iter().step_by(usize::try_from(every).unwrap_or(usize::MAX)).collect();
    tell(&format!("{} runs", blows.len()));
    let (mut runs, mut failures) = (BTreeMap::<_, u64>::new(), BTreeMap::<String, Vec<u64>>::new());
    let scenario = |at: u64| Scenario { blow: Some(blows[at as usize]), ..swarm() };
    let run = |at: u64| attempt(&scenario(at), &SharedScene::default()).err();
    side_by_side(0..blows.len() as u64, threads, run, |at, failure| {
        *runs.entry(kind(blows[at as usize])).or_default() += 1;
        if let Some(failure) = failure {
            failures.entry(failure.name()).or_default().push(at);
        }
    });
    for (kind, count) in runs {
        say(&format!("{kind:<36} {count:>8} runs"));
    }
    say(&format!("{} runs in {:.1} s", blows.len(), watch.seconds()));
    for found in failures.values_mut() {
        found.sort_unstable();
        tell_first(&scenario(found[0]));
    }
    for (name, found) in &failures {
        let named: Vec<String> = found.iter().take(NAMED).map(|at| format!("{:?}", blows[*at as usize])).collect();
        let more = if found.len() > NAMED { ", …" } else { "" };
        say(&format!("{:>6} {name}: {}{more}", found.len(), named.join(", ")));
    }
    if failures.is_empty() {
        say("no law was broken");
    }
    failures.is_empty()
}

/// Runs it once more, with a log.
fn tell_first(scenario: &Scenario) {
    let scene = SharedScene::default();
    scene.borrow_mut().logging = true;
    if let Err(failure) = attempt(scenario, &scene) {
        log(&scene.borrow(), &failure);
        say(&failure.report());
        say(&format!("{}\n", test("nth", scenario, &failure)));
    }
}
