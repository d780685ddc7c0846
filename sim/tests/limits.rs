//! Limits of rate in lock step: kept exactly, on the bytes of the links, whoever has the limit; and nobody is late, or starves, because of them.

use sameseed_core::config::{Config, RateLimits};
use sameseed_core::time::Duration;
use sim::content;
use sim::lockstep::{HostIndex, TORRENT, World};

const TEN_SECONDS: Duration = Duration::from_secs(10);

fn config(limits: RateLimits) -> Config {
    Config { pool_blocks: 256, limits, ..Config::default() }
}

fn world(bytes: u64) -> World {
    let mut world = World::new(1, content::torrent("limits", &[bytes], 65_536));
    world.cadence = 997;
    world
}

fn received(world: &World, host: HostIndex) -> u64 {
    world.host(host).bytes()[0]
}

/// Each of several spans of ten seconds brings what the limit gives in it, within 2 %.
fn assert_steady(world: &mut World, leecher: HostIndex, bytes_per_s: u64) {
    world.run_until(TEN_SECONDS, |_| false);
    for _ in 0..2 {
        let before = received(world, leecher);
        world.run_until(TEN_SECONDS, |_| false);
        let per_ten_s = received(world, leecher) - before;
        let off = per_ten_s.abs_diff(10 * bytes_per_s);
        assert!(off * 50 <= 10 * bytes_per_s, "{per_ten_s} bytes in ten seconds at {bytes_per_s} a second");
    }
}

const RATES: [u64; 4] = [5 << 10, 40_000, 150 << 10, 600 << 10];

#[test]
fn a_sender_with_a_limit_sends_what_it_gives() {
    for up in RATES {
        let mut world = world(up * 40);
        let seeder = world.add_host(true, config(RateLimits { down: 0, up }), &[]);
        let leecher = world.add_host(false, config(RateLimits::default()), &[seeder]);
        assert_steady(&mut world, leecher, up);
    }
}

#[test]
fn a_receiver_with_a_limit_receives_what_it_gives() {
    for down in RATES {
        let mut world = world(down * 40);
        let seeders = [0, 1, 2].map(|_| world.add_host(true, config(RateLimits::default()), &[]));
        let leecher = world.add_host(false, config(RateLimits { down, up: 0 }), &seeders);
        assert_steady(&mut world, leecher, down);
    }
}

#[test]
fn the_lower_of_two_limits_counts_and_a_limit_can_change_at_any_time() {
    let mut world = world(6_000_000);
    let seeder = world.add_host(true, config(RateLimits { down: 0, up: 60_000 }), &[]);
    let leecher = world.add_host(false, config(RateLimits::default()), &[seeder]);
    assert_steady(&mut world, leecher, 60_000);
    world.limit(seeder, Some(TORRENT), RateLimits { down: 0, up: 20_000 });
    assert_steady(&mut world, leecher, 20_000);
    world.limit(leecher, None, RateLimits { down: 10_000, up: 0 });
    assert_steady(&mut world, leecher, 10_000);
    world.limit(seeder, Some(TORRENT), RateLimits::default());
    world.limit(seeder, None, RateLimits::default());
    world.limit(leecher, None, RateLimits::default());
    assert!(world.run_until(TEN_SECONDS, |world| world.host(leecher).is_seeding()), "without limits it is soon done");
}

#[test]
fn those_who_share_a_limit_have_equal_shares_of_it() {
    let mut world = world(4_000_000);
    let seeder = world.add_host(true, config(RateLimits { down: 0, up: 100_000 }), &[]);
    let leechers = [0; 4].map(|_| world.add_host(false, config(RateLimits::default()), &[seeder]));
    world.run_until(Duration::from_secs(60), |_| false);
    let shares = leechers.map(|leecher| received(&world, leecher));
    assert!(shares.iter().all(|share| share.abs_diff(1_500_000) < 100_000), "{shares:?}");

    let mut world = self::world(8_000_000);
    let seeders = [0; 4].map(|_| world.add_host(true, config(RateLimits::default()), &[]));
    let leecher = world.add_host(false, config(RateLimits { down: 100_000, up: 0 }), &seeders);
    world.run_until(Duration::from_secs(60), |_| false);
    let shares = seeders.map(|seeder| world.host(seeder).bytes()[1]);
    assert!(shares.iter().all(|share| share.abs_diff(1_500_000) < 400_000), "{shares:?}");
    assert!(received(&world, leecher) > 5_900_000);
}

/// Looks every five seconds for ten minutes: nobody is taken for slow, nobody is lost.
fn assert_patient(world: &mut World, watched: &[HostIndex], links: usize) {
    world.run_until(TEN_SECONDS, |_| false);
    for _ in 0..120 {
        world.run_until(Duration::from_secs(5), |_| false);
        for host in watched {
            let peers = world.host(*host).peers();
            assert_eq!(peers.len(), links, "at {:?}", world.now());
            assert!(!peers.iter().any(|peer| peer.snubbed), "at {:?}: {peers:?}", world.now());
        }
    }
}

#[test]
fn at_five_kib_a_second_nobody_is_taken_for_slow_or_dead() {
    let slow = 5 << 10;
    let mut world = world(20_000_000);
    let seeder = world.add_host(true, config(RateLimits { down: 0, up: slow }), &[]);
    let leechers = [0; 4].map(|_| world.add_host(false, config(RateLimits::default()), &[seeder]));
    assert_patient(&mut world, &leechers, 1);

    let mut world = self::world(20_000_000);
    let seeders = [0; 12].map(|_| world.add_host(true, config(RateLimits::default()), &[]));
    let leecher = world.add_host(false, config(RateLimits { down: slow, up: 0 }), &seeders);
    assert_patient(&mut world, &[leecher], seeders.len());
    let (bytes, least) = (received(&world, leecher), 600 * slow);
    assert!(bytes > least, "{bytes} bytes in ten minutes");
    let wasted = world.host(leecher).view().torrents[0].wasted_bytes;
    assert!(wasted < 100_000, "{wasted} bytes of no use");
}
