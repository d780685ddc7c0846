//! Small swarms in lock step: each test is a scenario, run from a fixed seed.

use sameseed_core::config::Config;
use sameseed_core::event::Command;
use sameseed_core::time::Duration;
use sameseed_core::view::TorrentState;
use sim::content;
use sim::lockstep::{Access, Crash, HostIndex, World};

fn config() -> Config {
    Config { pool_blocks: 64, ..Config::default() }
}

fn state(world: &World, host: HostIndex) -> TorrentState {
    world.host(host).engine().view().torrents[0].state
}

fn all_complete(world: &World, hosts: &[HostIndex]) -> bool {
    hosts.iter().all(|host| state(world, *host) == TorrentState::Seeding)
}

/// The laws that hold at the end of every swarm.
fn audit(world: &mut World, hosts: &[HostIndex]) {
    world.run_until(Duration::from_secs(300), |world| hosts.iter().all(|host| world.host(*host).is_home()));
    for host in hosts {
        assert!(world.host(*host).disk().is_complete(), "the files of host {host} equal the formula");
        assert!(world.host(*host).is_home(), "every buffer of host {host} is home");
    }
}

fn one_to_one(seed: u64, pool_blocks: usize, piece_len: u32) -> World {
    let mut world = World::new(seed, content::torrent("pair", &[300_000, 0, 700_001], piece_len));
    let seeder = world.add_host(true, config(), &[]);
    let leecher = world.add_host(false, Config { pool_blocks, ..config() }, &[seeder]);
    let done = world.run_until(Duration::from_secs(600), |world| all_complete(world, &[leecher]));
    assert!(done, "stuck at {:?}: {:?}", world.now(), world.host(leecher).engine().view());
    audit(&mut world, &[leecher]);
    world
}

#[test]
fn a_leecher_completes_from_a_seeder() {
    one_to_one(1, 64, 65536);
}

#[test]
fn odd_piece_lengths_work() {
    one_to_one(2, 64, 50_001);
    one_to_one(3, 64, 1000);
    one_to_one(4, 64, 16384);
}

#[test]
fn a_pool_smaller_than_a_piece_is_enough() {
    one_to_one(5, 4, 1 << 20);
    one_to_one(6, 1, 262_144);
}

#[test]
fn one_seed_gives_one_trace() {
    assert_eq!(one_to_one(7, 64, 65536).trace_hash(), one_to_one(7, 64, 65536).trace_hash());
    assert_ne!(one_to_one(7, 64, 65536).trace_hash(), one_to_one(8, 64, 65536).trace_hash());
}

fn swarm(seed: u64, lies: u32) -> (World, Vec<HostIndex>) {
    let mut world = World::new(seed, content::torrent("swarm", &[1_000_000, 1_500_000], 65536));
    let seeder = world.add_host(true, config(), &[]);
    let second = world.add_host(true, config(), &[]);
    world.disk_mut(second).lie_about_pieces = lies;
    let mut hosts = vec![seeder, second];
    for _ in 0..6 {
        let leecher = world.add_host(false, config(), &hosts);
        hosts.push(leecher);
    }
    (world, hosts)
}

#[test]
fn a_swarm_completes_and_trades() {
    for seed in 10..20 {
        let (mut world, hosts) = swarm(seed, 0);
        let done = world.run_until(Duration::from_secs(600), |world| all_complete(world, &hosts[2..]));
        assert!(done, "seed {seed} is stuck");
        audit(&mut world, &hosts[2..]);
        let uploaded: u64 =
            hosts[2..].iter().map(|host| world.host(*host).engine().view().torrents[0].uploaded_bytes).sum();
        assert!(uploaded > 0, "leechers give too");
    }
}

#[test]
fn a_liar_cannot_stop_the_swarm() {
    for seed in 30..40 {
        let (mut world, hosts) = swarm(seed, u32::MAX);
        let done = world.run_until(Duration::from_secs(1200), |world| all_complete(world, &hosts[2..]));
        assert!(done, "seed {seed} is stuck: {:?}", world.host(hosts[2]).engine().view());
        audit(&mut world, &hosts[2..]);
    }
}

#[test]
fn the_loss_of_the_seeder_in_mid_download_is_survived_by_those_that_have_everything_between_them() {
    for seed in 50..55 {
        let (mut world, hosts) = swarm(seed, 0);
        world.run_until(Duration::from_secs(600), |world| world.host(hosts[2]).engine().view().torrents[0].have > 20);
        world.take_down(hosts[0]);
        let done = world.run_until(Duration::from_secs(900), |world| all_complete(world, &hosts[2..]));
        assert!(done, "seed {seed} is stuck");
        audit(&mut world, &hosts[2..]);
    }
}

#[test]
fn a_full_disk_stops_the_download_and_space_lets_it_go_on() {
    let mut world = World::new(60, content::torrent("full", &[2_000_000], 65536));
    let seeder = world.add_host(true, config(), &[]);
    let leecher = world.add_host(false, config(), &[seeder]);
    world.disk_mut(leecher).writes_left = Some(5);
    assert!(world.run_until(Duration::from_secs(60), |world| state(world, leecher) == TorrentState::Troubled));
    world.run_until(Duration::from_secs(60), |_| false);
    let have = world.host(leecher).engine().view().torrents[0].have;
    assert!(have <= 5, "nothing is claimed that was not written: {have}");
    world.disk_mut(leecher).writes_left = None;
    assert!(world.run_until(Duration::from_secs(120), |world| all_complete(world, &[leecher])));
    audit(&mut world, &[leecher]);
}

#[test]
fn we_among_our_own_peers_are_recognised_and_left_alone() {
    let mut world = World::new(70, content::torrent("self", &[500_000], 65536));
    let seeder = world.add_host(true, config(), &[]);
    assert!(world.run_until(Duration::from_secs(1), |world| all_complete(world, &[seeder])));
    let leecher = seeder + 1;
    assert_eq!(world.add_host(false, config(), &[seeder, leecher]), leecher, "it knows its own address as a peer's");
    assert!(world.run_until(Duration::from_secs(60), |world| all_complete(world, &[leecher])));
    // Who has everything, as we do, is asked again after an hour: it may have lost something.
    world.run_until(Duration::from_secs(3000), |_| false);
    assert_eq!(world.dials(leecher), 2, "one to the seeder, one to itself");
    world.run_until(Duration::from_secs(3600), |_| false);
    assert_eq!(world.dials(leecher), 3, "and never again to itself");
}

/// One client's program ends in good order and starts again.
fn restart_cleanly(world: &mut World, host: HostIndex) {
    world.command(host, Command::Shutdown);
    assert!(world.run_until(Duration::from_secs(10), |world| world.host(host).has_said_goodbye()));
    world.crash(host, Crash::Kept, false, Duration::from_secs(1));
    let is_back = |world: &World| world.host(host).engine().view().torrents.iter().any(|t| t.checked == t.pieces);
    assert!(world.run_until(Duration::from_secs(10), |world| !world.host(host).has_said_goodbye() && is_back(world)));
}

#[test]
fn a_restart_after_a_clean_end_hashes_nothing_in_mid_download_and_at_its_end() {
    for seed in 0..20 {
        let mut world = World::new(seed, content::torrent("again", &[300_000, 0, 700_001], 16_384));
        let slow = Access { up_per_s: 64 << 10, ..Access::default() };
        let seeder = world.add_host_at(slow, true, config(), &[]);
        let leecher = world.add_host(false, config(), &[seeder]);
        let view = |world: &World, host: HostIndex| world.host(host).engine().view().torrents[0].clone();
        let some = 1 + seed as u32 * 2;
        assert!(world.run_until(Duration::from_secs(60), |world| view(world, leecher).have >= some));
        restart_cleanly(&mut world, leecher);
        let after = view(&world, leecher);
        assert!(after.have >= some && after.hashed == 0, "seed {seed}: {after:?}");
        assert!(world.run_until(Duration::from_secs(600), |world| all_complete(world, &[leecher])));
        for host in [seeder, leecher] {
            restart_cleanly(&mut world, host);
            let after = view(&world, host);
            assert_eq!((after.have, after.hashed), (after.pieces, 0), "seed {seed}");
        }
        let total = view(&world, seeder).total_uploaded_bytes;
        assert!(total >= 1_000_000, "totals go on: {total}");
        audit(&mut world, &[leecher]);
    }
}
