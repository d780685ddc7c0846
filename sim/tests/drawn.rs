//! Swarms drawn from a seed: hosts, pieces, pools, and what goes wrong; then everything heals, and every honest leecher must finish.
//!
//! `SAMESEED_SEED=n` runs one seed alone, `SAMESEED_SEEDS=n` that many.

use sameseed_core::config::Config;
use sameseed_core::rng::{Rng, Stream};
use sameseed_core::time::Duration;
use sameseed_core::view::TorrentState;
use sim::content;
use sim::lockstep::{HostIndex, World};

/// Seeds of an ordinary run.
const SEEDS: u64 = 150;
/// How long things go wrong.
const SAFETY: Duration = Duration::from_secs(90);
/// How long the healed swarm may take: suspects and leases cost a minute each.
const LIVENESS: Duration = Duration::from_secs(3600);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn every_honest_leecher_finishes_once_things_heal() {
    let seeds = match setting("SAMESEED_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SAMESEED_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        run(seed);
    }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn run(seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = Rng::new(&bytes, Stream::Candidates, 1);
    let piece_len = pick(&mut rng, &[16_384, 20_000, 32_768, 65_536, 131_072]);
    let pieces = 1 + rng.below(80);
    let lens = [rng.below(u64::from(piece_len) * pieces), 0, 1 + rng.below(100_000)];
    let (leechers, liars) = (1 + rng.below(8) as usize, rng.below(3) as usize);
    let pool_blocks = pick(&mut rng, &[1, 3, 16, 64, 256]);
    let slots = pick(&mut rng, &[1, 4, 8]);
    let drawn =
        format!("{lens:?} in {piece_len}, {leechers} leechers, {liars} liars, pool {pool_blocks}, {slots} slots");
    let config = || Config { pool_blocks, upload_slots: slots, ..Config::default() };
    let mut world = World::new(seed, content::torrent("drawn", &lens, piece_len));
    let mut hosts: Vec<HostIndex> = vec![world.add_host(true, config(), &[])];
    for _ in 0..liars {
        let liar = world.add_host(true, config(), &[]);
        world.disk_mut(liar).lie_about_pieces = 1 + rng.below(pieces) as u32;
        hosts.push(liar);
    }
    let first = hosts.len();
    for _ in 0..leechers {
        hosts.push(world.add_host(false, config(), &hosts));
    }
    let honest = &hosts[first..];
    let end = world.now() + SAFETY;
    while world.now() < end {
        let host = pick(&mut rng, &hosts);
        match rng.below(10) {
            0 => world.take_down(host),
            1..=3 => hosts.iter().for_each(|host| world.bring_back(*host)),
            4..=6 => world.cut_one(host, rng.next_u64()),
            7 => world.disk_mut(host).writes_left = Some(rng.below(4) as u32),
            _ => hosts.iter().for_each(|host| world.disk_mut(*host).writes_left = None),
        }
        world.run_until(Duration::from_millis(rng.below(3000)), |_| false);
        if world.is_quiet() {
            break;
        }
    }
    for host in &hosts {
        world.bring_back(*host);
        world.disk_mut(*host).writes_left = None;
    }
    let done = world.run_until(LIVENESS, |world| {
        honest.iter().all(|host| world.host(*host).engine().view().torrents[0].state == TorrentState::Seeding)
    });
    let views: Vec<_> = honest.iter().map(|host| world.host(*host).engine().view()).collect();
    assert!(done, "seed {seed} ({drawn}): a leecher does not finish though everything it needs is there: {views:#?}");
    for (host, view) in honest.iter().zip(views) {
        assert!(world.host(*host).disk().is_complete(), "seed {seed} ({drawn}): the files equal the formula");
        assert_eq!((view.pool.1, view.pool.2), (0, 0), "seed {seed} ({drawn}): every buffer is home");
    }
}
