//! A scenario from beginning to end: safety (things go wrong), healing, liveness (everybody must finish), audit, goodbye.

use super::checks::{Check, SharedScene, broken};
use super::host::TORRENT;
use super::node::NodeIndex;
use super::nth::Places;
use super::scenario::Scenario;
use super::world::World;
use sameseed_core::event::Command;
use sameseed_core::id::PieceIndex;
use sameseed_core::time::Duration;

/// How long the healed swarm may take: the longest wait between two dials, suspects, leases, slow links.
const LIVENESS: Duration = Duration::from_secs(2 * 3600);
/// How long buffers may be out after everyone has finished: a block that was asked of two peers is still arriving from the slower one.
const HOMECOMING: Duration = Duration::from_secs(300);
/// How long a client may take to stop.
const GOODBYE: Duration = Duration::from_secs(60);

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
    let mut world = scenario.build();
    world.watch(scene.clone());
    world.unleash();
    let clients = world.clients();
    let all_seed =
        |world: &World| clients.iter().all(|node| world.nodes[*node].alive && world.host(*node).is_seeding());
    world.run_until(scenario.safety, |_| false);
    world.heal(scenario.hostile_stay);
    if !world.run_until(LIVENESS, all_seed) {
        report_stuck(&world, &clients, scenario);
    }
    world.nth.is_over = true;
    world.run_until(HOMECOMING, |world| clients.iter().all(|node| world.host(*node).is_home()));
    audit(&world, &clients);
    say_goodbye(&mut world, &clients);
    Summary {
        trace: world.trace_hash(),
        counts: world.faults.counts.clone(),
        steps: world.steps(),
        simulated: Duration::from_micros(world.now().as_micros()),
        places: world.nth.places.clone(),
    }
}

fn report_stuck(world: &World, clients: &[NodeIndex], scenario: &Scenario) -> ! {
    let pieces = (0..scenario.pieces() as u32).map(PieceIndex);
    let held = |piece: &PieceIndex| clients.iter().any(|node| world.host(*node).disk().is_piece_right(*piece));
    let nowhere: Vec<PieceIndex> = pieces.filter(|piece| !held(piece)).collect();
    let stuck: Vec<NodeIndex> = clients.iter().copied().filter(|node| !world.host(*node).is_seeding()).collect();
    let mut detail = format!("stuck: {stuck:?}; pieces that exist nowhere: {nowhere:?}");
    for node in &stuck {
        detail += &format!("\n  host-{node}: {:?}", world.host(*node).engine().view());
        for peer in world.peers_of(*node) {
            detail += &format!("\n    {peer}");
        }
    }
    broken(Check::Liveness, stuck.first().copied().unwrap_or_default(), &detail)
}

fn audit(world: &World, clients: &[NodeIndex]) {
    for node in clients {
        let host = world.host(*node);
        if !host.disk().is_complete() {
            broken(Check::Audit, *node, "a file differs");
        }
        let view = host.engine().view();
        if !host.is_home() {
            broken(Check::Home, *node, &format!("{view:?}"));
        }
        let torrent = &view.torrents[0];
        if torrent.have != torrent.pieces || torrent.have_bytes != torrent.total_bytes {
            broken(Check::HaveCount, *node, &format!("{torrent:?}"));
        }
        if torrent.wasted_bytes > torrent.downloaded_bytes {
            broken(Check::HaveCount, *node, &format!("more wasted than received: {torrent:?}"));
        }
    }
}

fn say_goodbye(world: &mut World, clients: &[NodeIndex]) {
    for node in clients {
        world.command(*node, Command::Shutdown);
    }
    let all_gone = |world: &World| clients.iter().all(|node| world.host(*node).has_said_goodbye());
    if !world.run_until(GOODBYE, all_gone) {
        let late = clients.iter().copied().find(|node| !world.host(*node).has_said_goodbye()).unwrap_or_default();
        broken(Check::Goodbye, late, "no ShutDown in time");
    }
    world.run_until(Duration::from_secs(200), |_| false);
    for node in clients {
        let host = world.host(*node);
        if !host.engine().peers(TORRENT).is_empty() || host.engine().poll_timeout().is_some() {
            broken(Check::Goodbye, *node, "a peer or a timer is left");
        }
    }
}
