//! Choking in lock step: who gives gets, who gives nothing waits but does not starve, and slots follow the line.

use sameseed_core::config::{Config, RateLimits};
use sameseed_core::time::Duration;
use sim::content;
use sim::lockstep::{Access, World};
use std::net::IpAddr;

fn config(upload_slots: usize) -> Config {
    Config { pool_blocks: 256, upload_slots, ..Config::default() }
}

fn line(up_per_s: u64) -> Access {
    Access { up_per_s, down_per_s: 10 << 20, ..Access::default() }
}

#[test]
fn who_gives_gets_more_and_who_gives_nothing_still_gets_all() {
    for seed in 1..3 {
        let mut world = World::new(seed, content::torrent("choking", &[12_000_000], 65_536));
        world.cadence = 997;
        let mut known = vec![world.add_host_at(line(150 << 10), true, config(4), &[])];
        // Every second one unchokes nobody.
        for n in 0..10 {
            known.push(world.add_host_at(
                line(64 << 10),
                false,
                config(if n % 2 == 0 { 4 } else { 0 }),
                &known.clone(),
            ));
        }
        let (givers, riders): (Vec<_>, Vec<_>) = known[1..].iter().copied().partition(|host| host % 2 == 1);
        let nobody_is_done = |world: &World| !known[1..].iter().any(|host| world.host(*host).is_seeding());
        // What givers have sent to givers, and to the others.
        let mut sent = [0, 0];
        while nobody_is_done(&world) {
            sent = [0, 0];
            for giver in &givers {
                for peer in world.host(*giver).peers() {
                    let to = known.iter().position(|host| IpAddr::V4(*world.addr(*host).ip()) == peer.addr.ip());
                    sent[usize::from(to.is_some_and(|to| to % 2 == 0))] += peer.uploaded_bytes;
                }
            }
            world.run_until(Duration::from_secs(5), |_| false);
        }
        // Each has four givers and five others to send to.
        assert!(sent[0] * 25 > sent[1] * 24, "seed {seed}: {sent:?}");
        let done = |world: &World| riders.iter().all(|host| world.host(*host).is_seeding());
        assert!(world.run_until(Duration::from_secs(3600), done), "seed {seed}: they get the rest from seeds");
    }
}

#[test]
fn a_thin_line_serves_few_at_a_time_and_a_fat_one_many() {
    let served = |up: u64, limit: u64| {
        let mut world = World::new(1, content::torrent("slots", &[60_000_000], 262_144));
        world.cadence = 9_997;
        let limits = RateLimits { down: 0, up: limit };
        let seeder = world.add_host_at(line(up), true, Config { limits, ..config(32) }, &[]);
        (0..20).for_each(|_| _ = world.add_host_at(line(10 << 10), false, config(4), &[seeder]));
        let mut most = 0;
        for second in 0..60 {
            world.run_until(Duration::from_secs(1), |_| false);
            let unchoked = world.host(seeder).peers().iter().filter(|peer| !peer.am_choking).count();
            most = if second > 30 { most.max(unchoked) } else { 0 };
        }
        most
    };
    let (thin, fat, limited) = (served(20 << 10, 0), served(1 << 20, 0), served(1 << 20, 50 << 10));
    assert!(
        thin <= 5 && fat >= 16 && limited <= 5,
        "{thin} on a thin line, {fat} on a fat one, {limited} under a limit"
    );
}
