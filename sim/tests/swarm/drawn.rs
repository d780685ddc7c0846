//! Swarms drawn from a seed: hosts, sizes, chops, and what goes wrong; then everything heals, and everyone must finish.
//!
//! `SAMESEED_SEED=n` runs one seed alone, `SAMESEED_SEEDS=n` that many.

use crate::{rng, run_twice, setting};
use sameseed_core::rng::Rng;
use sim::real_driver::{Client, Health, Swarm, Trouble};
use std::cell::RefCell;
use std::time::Duration;

/// Seeds of an ordinary run.
const SEEDS: u64 = 8;
/// How long things go wrong, at most.
const SAFETY: Duration = Duration::from_secs(60);
/// How long the healed swarm may take: connections that a partition killed are found out after `Config::idle_timeout`, and
/// back-off grows to a quarter of an hour.
const LIVENESS: Duration = Duration::from_secs(1500);

#[test]
fn everyone_finishes_once_things_heal() {
    let seeds = match setting("SAMESEED_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SAMESEED_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        draw(seed);
    }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn draw(seed: u64) {
    let mut rng = rng(seed);
    let piece_len = pick(&mut rng, &[16_384, 65_536, 131_072, 262_144]);
    let pieces = 8 + rng.below(56);
    let lens = [1 + rng.below(u64::from(piece_len) * pieces / 2), 0, u64::from(piece_len) * pieces / 2];
    let clients = 2 + rng.below(6) as usize;
    let (cuts, has_liar) = (rng.below(3) as u32, rng.below(3) == 0);
    let scheme = pick(&mut rng, &["http", "udp"]);
    let rates: Vec<_> = (0..clients).map(|_| pick(&mut rng, &[50_000, 200_000, 500_000, 2_000_000])).collect();
    let drawn =
        format!("{lens:?} in {piece_len}, receiving {rates:?}/s, {cuts} cuts, liar {has_liar}, {scheme} tracker");
    let build = || Swarm::with_torrent(seed, &lens, piece_len);
    run_twice("everyone_finishes_once_things_heal", seed, &drawn, build, |swarm| {
        let rng = RefCell::new(rng.clone());
        let tracker = swarm.add_tracker("tracker");
        let liar = has_liar.then(|| swarm.add_liar("liar"));
        for (number, rate) in rates.iter().enumerate() {
            let mut peers: Vec<_> = liar.filter(|_| number > 0).into_iter().collect();
            peers.extend((0..number).filter(|_| rng.borrow_mut().below(2) == 0).map(|peer| swarm.addr_of(peer)));
            let trackers = vec![format!("{scheme}://{tracker}/announce")];
            swarm.add_client(Client { seeder: number == 0, peers, trackers, cuts, sabotage: None });
            swarm.limit(number, Some(*rate));
        }
        let mut rng = rng.borrow_mut();
        go_wrong(swarm, &mut rng);
        heal(swarm);
        swarm.run_until(LIVENESS, Swarm::all_complete);
        swarm.shut_down();
    });
}

fn go_wrong(swarm: &mut Swarm, rng: &mut Rng) {
    let end = swarm.elapsed() + Duration::from_millis(rng.below(SAFETY.as_millis() as u64));
    while swarm.elapsed() < end {
        let client = rng.below(swarm.clients() as u64) as usize;
        let other = (client + 1 + rng.below(swarm.clients() as u64 - 1) as usize) % swarm.clients();
        match rng.below(12) {
            0 if swarm.is_up(client) => swarm.crash(client),
            1 if swarm.is_up(client) => swarm.crash_hard(client, rng),
            2 if swarm.is_up(client) => swarm.stop(client),
            0..=4 => (0..swarm.clients())
                .filter(|n| !swarm.is_up(*n))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|n| swarm.restart(n)),
            5 => swarm.cut_below(client, Some(1 + rng.below(1 << 20))),
            6 => swarm.partition(client, other),
            7 => swarm.hold(client, other),
            8 => swarm.repair(client, other),
            9 => {
                let max_delay = Duration::from_millis(1 + rng.below(3000));
                swarm.set_disk(client, Health { max_delay, ..Health::default() });
            }
            10 => {
                let trouble = pick(rng, &[Trouble::None, Trouble::Full, Trouble::OneIn(2), Trouble::OneIn(30)]);
                swarm.set_disk(client, Health { trouble, ..Health::default() });
            }
            _ if rng.below(2) == 0 => swarm.kill_tracker("tracker"),
            _ => swarm.revive_tracker("tracker"),
        }
        swarm.run_for(Duration::from_millis(rng.below(4000)));
    }
}

fn heal(swarm: &mut Swarm) {
    for client in 0..swarm.clients() {
        swarm.cut_below(client, None);
        swarm.set_disk(client, Health::default());
        for other in 0..client {
            swarm.release(client, other);
            swarm.repair(client, other);
        }
        if !swarm.is_up(client) {
            swarm.restart(client);
        }
    }
    swarm.revive_tracker("tracker");
}
