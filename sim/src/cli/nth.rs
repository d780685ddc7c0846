//! `nth`: the small swarm once for each place where a blow can strike.

use super::{Stopwatch, say, tell};
use sim::lockstep::checks::SharedScene;
use sim::lockstep::literal;
use sim::lockstep::nth::{Blow, blows, swarm};
use sim::lockstep::parallel::side_by_side;
use sim::lockstep::scenario::Scenario;
use sim::lockstep::verdict::attempt;
use std::collections::BTreeMap;

/// Scenarios told in full for each kind of failure.
const TOLD: usize = 1;
/// Blows named for each kind of failure.
const NAMED: usize = 5;

fn kind(blow: Blow) -> &'static str {
    match blow {
        Blow::Disk { .. } => "the n-th disk operation fails",
        Blow::Serve { .. } => "the n-th block cannot be read",
        Blow::Cut { .. } => "a link is cut at byte n",
        Blow::Datagram { .. } => "the n-th datagram is lost",
        Blow::Crash { .. } => "a client dies at the n-th action",
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
    let (mut runs, mut failures) = (BTreeMap::<_, u64>::new(), BTreeMap::<String, Vec<(u64, String)>>::new());
    let run = |at: u64| {
        let scenario = Scenario { blow: Some(blows[at as usize]), ..swarm() };
        attempt(&scenario, &SharedScene::default()).err().map(|failure| (scenario, failure))
    };
    side_by_side(0..blows.len() as u64, threads, run, |at, result| {
        *runs.entry(kind(blows[at as usize])).or_default() += 1;
        if let Some((scenario, failure)) = result {
            let story = format!("{}\n{}", failure.report(), literal::scenario(&scenario));
            failures.entry(failure.name()).or_default().push((at, story));
        }
    });
    for (kind, count) in runs {
        say(&format!("{kind:<36} {count:>8} runs"));
    }
    say(&format!("{} runs in {:.1} s", blows.len(), watch.seconds()));
    for (name, found) in &mut failures {
        found.sort();
        let named: Vec<String> = found.iter().take(NAMED).map(|(at, _)| format!("{:?}", blows[*at as usize])).collect();
        say(&format!("{:>6} {name}: {}", found.len(), named.join(" ")));
        found.iter().take(TOLD).for_each(|(_, story)| say(story));
    }
    if failures.is_empty() {
        say("no law was broken");
    }
    failures.is_empty()
}
