//! A scenario from beginning to end: safety (things go wrong), healing, liveness (everybody must finish), audit, goodbye.

use super::checks::{Check, SharedScene, broken};
use super::node::NodeIndex;
use super::nth::Places;
use super::sabotage::Sabotage;
use super::scenario::Scenario;
use super::world::World;
use sameseed_core::event::Command;
use sameseed_core::id::PieceIndex;
use sameseed_core::time::Duration;

/// How long the healed swarm may take: the longest wait between two dials, leases, slow links.
const LIVENESS: Duration = Duration::from_secs(2 * 3600);
/// How often all of the torrent may have to go through the slowest limit, on top of that.
const SLOW_ROUNDS: u64 = 20;
/// How long buffers may be out after everyone has finished: a block that was asked of two peers is still arriving from the slower one.
const HOMECOMING: Duration = Duration::from_secs(300);
/// How long a client may take to stop.
const GOODBYE: Duration = Duration::from_secs(60);
/// How long the world goes on after everybody has stopped: what still comes must change nothing.
const AFTERMATH: Duration = Duration::from_secs(200);

/// What came of a run that broke no law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The hash of everything.
    pub trace: u64,
    /// How often each fault struck.
    pub counts: Vec<u64>,
    /// Steps of the world.
    pub steps: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Where a blow could have struck.
    pub places: Places,
}

/// Runs a scenario.
///
/// # Panics
/// When a law is broken.
pub fn run(scenario: &Scenario, scene: &SharedScene) -> Summary {
    run_broken(scenario, scene, &[])
}

/// Runs a scenario in which some clients are broken on purpose.
///
/// # Panics
/// When a law is broken.
pub fn run_broken(scenario: &Scenario, scene: &SharedScene, sabotages: &[(NodeIndex, Sabotage)]) -> Summary {
    let world = &mut scenario.build();
    for (node, sabotage) in sabotages {
        world.sabotage(*node, *sabotage);
    }
    world.watch(scene.clone());
    world.unleash();
    world.run_until(scenario.safety, |_| false);
    world.heal(scenario.hostile_stay);
    finish(world);
    Summary {
        trace: world.trace_hash(),
        counts: world.faults.counts.clone(),
        steps: world.steps(),
        simulated: Duration::from_micros(world.now().as_micros()),
        places: world.nth.places.clone(),
    }
}

/// Nothing goes wrong any more: everybody must finish, be right, and say goodbye.
///
/// # Panics
/// When a law is broken.
pub fn finish(world: &mut World) {
    let goals = Goal::of_all(world);
    let limits = world.clients().into_iter().filter_map(|node| world.host(node).flow.slowest());
    let needed = limits.map(|bytes_per_s| SLOW_ROUNDS * world.content.layout().total_len() / bytes_per_s).max();
    let liveness = LIVENESS + Duration::from_secs(needed.unwrap_or(0));
    if !world.run_until(liveness, |world| goals.iter().all(|goal| goal.is_reached(world))) {
        report_stuck(world, &goals);
    }
    world.nth.is_over = true;
    world.run_until(HOMECOMING, |world| goals.iter().all(|goal| goal.is_home(world)));
    goals.iter().for_each(|goal| audit(world, goal));
    say_goodbye(world);
}

/// What a client can come to.
struct Goal {
    node: NodeIndex,
    /// Pieces that exist nowhere within its reach: no failure of its own.
    out_of_reach: Vec<PieceIndex>,
}

impl Goal {
    fn of_all(world: &World) -> Vec<Goal> {
        let goal = |node| Goal { node, out_of_reach: world.out_of_reach(node) };
        world.clients().into_iter().filter(|node| world.nodes[*node].alive).map(goal).collect()
    }

    fn is_whole(&self) -> bool {
        self.out_of_reach.is_empty()
    }

    fn is_reached(&self, world: &World) -> bool {
        let host = world.host(self.node);
        if self.is_whole() || !world.nodes[self.node].alive {
            return world.nodes[self.node].alive && host.is_seeding();
        }
        let lacking: u32 = host.view().torrents.iter().map(|torrent| torrent.wanted - torrent.wanted_have).sum();
        lacking as usize <= self.out_of_reach.len()
    }

    /// No buffer is out and no answer is owed. Of a piece that nobody else has, some blocks may be here for ever.
    fn is_home(&self, world: &World) -> bool {
        let host = world.host(self.node);
        (host.is_home() || !self.is_whole()) && host.owes().is_none()
    }
}

fn report_stuck(world: &World, goals: &[Goal]) -> ! {
    let stuck: Vec<&Goal> = goals.iter().filter(|goal| !goal.is_reached(world)).collect();
    let mut detail = String::from("stuck:");
    for goal in &stuck {
        let host = world.host(goal.node);
        detail += &format!("\n  host-{}, out of its reach {:?}: {:?}", goal.node, goal.out_of_reach, host.view());
        for peer in world.peers_of(goal.node) {
            detail += &format!("\n    {peer}");
        }
    }
    broken(Check::Liveness, stuck.first().map(|goal| goal.node).unwrap_or_default(), &detail)
}

fn audit(world: &World, goal: &Goal) {
    let (node, host) = (goal.node, world.host(goal.node));
    let view = host.view();
    if let Some(owed) = host.owes() {
        broken(Check::AnswerAll, node, &format!("{owed} is owed in the end"));
    }
    if !goal.is_whole() {
        return;
    }
    if !host.disk().is_complete_but(|file| host.skips.contains(&file)) {
        broken(Check::Audit, node, "a file differs");
    }
    if !host.is_home() {
        broken(Check::Home, node, &format!("{view:?}"));
    }
    for torrent in &view.torrents {
        if torrent.wanted_have != torrent.wanted || torrent.left_bytes != 0 {
            broken(Check::HaveCount, node, &format!("{torrent:?}"));
        }
        // Who was not drained since may have closed a connection, and not counted what came on it then.
        let counted = if host.undrained { Ok(()) } else { host.books.check(torrent) };
        if let Err((check, detail)) = counted.and_then(|()| host.books.check_useful(torrent)) {
            broken(check, node, &detail);
        }
    }
}

fn say_goodbye(world: &mut World) {
    let clients: Vec<NodeIndex> = world.clients().into_iter().filter(|node| world.nodes[*node].alive).collect();
    for node in &clients {
        world.command(*node, Command::Shutdown);
    }
    let is_late = |world: &World, node: &NodeIndex| !world.host(*node).has_said_goodbye();
    if !world.run_until(GOODBYE, |world| !clients.iter().any(|node| is_late(world, node))) {
        let late = clients.iter().find(|node| is_late(world, node)).copied().unwrap_or_default();
        broken(Check::Goodbye, late, "no ShutDown in time");
    }
    world.run_until(AFTERMATH, |_| false);
    for node in clients {
        let host = world.host(node);
        let view = host.view();
        if !host.peers().is_empty() || host.engine().poll_timeout().is_some() {
            broken(Check::Goodbye, node, "a peer or a timer is left");
        }
        let (_, reserved, out) = view.pool;
        if (reserved, out, view.connections, view.half_open) != (0, 0, 0, 0) {
            broken(Check::Home, node, &format!("{view:?}"));
        }
    }
}
