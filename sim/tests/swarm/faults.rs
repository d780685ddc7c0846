//! Faults of the network, the disk, the tracker and the power; then everything heals, and everyone must finish.

use crate::{LIMIT, add_all, twice};
use sameseed_core::action::Notice;
use sim::real_driver::{Client, Health, Swarm, Trouble};
use std::time::Duration;

/// What a client receives in a second: the whole torrent in eight.
const BYTES_PER_SECOND: u64 = 1_000_000;
/// After a partition connections are dead and neither side knows: `Config::idle_timeout` must find out, then back-off passes.
const AFTER_PARTITION: Duration = Duration::from_secs(260);

/// A seeder and leechers that know it and each other, over lines so slow that the download takes some seconds.
fn add_slow(swarm: &mut Swarm, leechers: usize, client: &Client) {
    add_all(swarm, leechers, client);
    (0..=leechers).for_each(|client| swarm.limit(client, Some(BYTES_PER_SECOND)));
}

fn said_trouble(swarm: &Swarm, client: usize) -> usize {
    swarm.said(client, |notice| matches!(notice, Notice::DiskTrouble { .. }))
}

#[test]
fn connections_that_break_all_the_time_only_cost_time() {
    twice("connections_that_break_all_the_time_only_cost_time", |swarm| {
        add_slow(swarm, 4, &Client::default());
        (0..5).for_each(|client| swarm.cut_below(client, Some(700_000)));
        swarm.run_until(LIMIT, Swarm::all_complete);
        let gone = (0..5).map(|n| swarm.said(n, |notice| matches!(notice, Notice::PeerGone { .. }))).sum::<usize>();
        assert!(gone >= 20, "connections broke often: {gone}");
        swarm.shut_down();
    });
}

#[test]
fn a_partitioned_swarm_finishes_after_the_repair() {
    twice("a_partitioned_swarm_finishes_after_the_repair", |swarm| {
        add_slow(swarm, 4, &Client::default());
        swarm.run_until(LIMIT, |swarm| (1..5).all(|client| swarm.verified(client) >= 4));
        let across = [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)];
        across.iter().for_each(|(a, b)| swarm.partition(*a, *b));
        // One has only dead connections, the other dials anew and is refused.
        swarm.crash(4);
        swarm.restart(4);
        swarm.run_until(LIMIT, |swarm| swarm.is_complete(1) && swarm.is_complete(2));
        assert!(!swarm.is_complete(3) && !swarm.is_complete(4), "they were cut off");
        across.iter().for_each(|(a, b)| swarm.repair(*a, *b));
        swarm.run_until(AFTER_PARTITION, Swarm::all_complete);
        swarm.shut_down();
    });
}

#[test]
fn a_dead_link_does_not_hold_up_what_others_can_give() {
    twice("a_dead_link_does_not_hold_up_what_others_can_give", |swarm| {
        add_slow(swarm, 2, &Client::default());
        swarm.run_until(LIMIT, |swarm| swarm.verified(1) >= 4);
        swarm.partition(0, 1);
        // Well before the idle time-out: requests are taken back from the link and asked of the other.
        swarm.run_until(Duration::from_secs(100), Swarm::all_complete);
        swarm.shut_down();
    });
}

#[test]
fn addresses_that_never_answer_make_way_for_the_living() {
    twice("addresses_that_never_answer_make_way_for_the_living", |swarm| {
        // More of them than dials may be under way; addresses by hand are tried in order, and the seeder's is the last.
        let dead = swarm.add_client(Client::default());
        swarm.crash(dead);
        let seeder = swarm.add_client(Client { seeder: true, ..Client::default() });
        let ip = swarm.addr_of(dead).ip();
        let mut peers: Vec<_> = (7000..7080).map(|port| (ip, port).into()).collect();
        peers.push(swarm.addr_of(seeder));
        let leecher = swarm.add_client(Client { peers, ..Client::default() });
        swarm.run_until(LIMIT, |swarm| swarm.is_complete(leecher));
        assert!(swarm.elapsed() > Duration::from_secs(8), "dials were given up");
        swarm.shut_down();
    });
}

#[test]
fn what_was_held_back_comes_in_a_burst_and_is_taken() {
    twice("what_was_held_back_comes_in_a_burst_and_is_taken", |swarm| {
        add_slow(swarm, 2, &Client::default());
        swarm.run_until(LIMIT, |swarm| swarm.verified(1) >= 4);
        swarm.hold(0, 1);
        swarm.hold(0, 2);
        // Long enough for dials and requests to be given up; the SYNs among what was held lead nowhere.
        swarm.run_for(Duration::from_secs(40));
        assert!(!swarm.all_complete());
        swarm.release(0, 1);
        swarm.release(0, 2);
        swarm.run_until(LIMIT, Swarm::all_complete);
        swarm.shut_down();
    });
}

#[test]
fn a_crash_leaves_the_others_to_find_each_other_again() {
    twice("a_crash_leaves_the_others_to_find_each_other_again", |swarm| {
        let tracker = swarm.add_tracker("tracker");
        let client = Client { trackers: vec![format!("http://{tracker}/announce")], ..Client::default() };
        add_slow(swarm, 3, &client);
        swarm.run_until(LIMIT, |swarm| (1..4).all(|client| swarm.verified(client) >= 3));
        // The only one that has everything, in the middle of serving. Who dials it hears nothing.
        swarm.crash(0);
        swarm.run_for(Duration::from_secs(20));
        assert!(!(1..4).any(|client| swarm.is_complete(client)), "a piece is missing");
        swarm.restart(0);
        swarm.run_until(LIMIT, Swarm::all_complete);
        swarm.shut_down();
    });
}

#[test]
fn a_leecher_that_crashes_again_and_again_loses_nothing_that_counts() {
    twice("a_leecher_that_crashes_again_and_again_loses_nothing_that_counts", |swarm| {
        add_slow(swarm, 2, &Client::default());
        let mut rng = crate::rng(5);
        for round in 0..4 {
            swarm.run_until(LIMIT, |swarm| swarm.verified(2) >= 3 || swarm.is_complete(2));
            swarm.run_for(Duration::from_millis(rng.below(200)));
            if round % 2 == 0 {
                swarm.crash(2)
            } else {
                swarm.crash_hard(2, &mut rng)
            }
            swarm.run_for(Duration::from_millis(rng.below(3000)));
            swarm.restart(2);
        }
        swarm.run_until(LIMIT, Swarm::all_complete);
        swarm.shut_down();
    });
}

#[test]
fn slow_disks_that_end_things_in_any_order_only_cost_time() {
    twice("slow_disks_that_end_things_in_any_order_only_cost_time", |swarm| {
        add_slow(swarm, 4, &Client::default());
        for client in 0..5 {
            swarm.set_disk(client, Health { max_delay: Duration::from_millis(1500), ..Health::default() });
        }
        swarm.run_until(LIMIT, Swarm::all_complete);
        assert!(swarm.elapsed() > Duration::from_secs(5), "they were slow");
        swarm.shut_down();
    });
}

#[test]
fn a_disk_that_fails_now_and_then_is_tried_again() {
    twice("a_disk_that_fails_now_and_then_is_tried_again", |swarm| {
        add_slow(swarm, 2, &Client::default());
        (0..3).for_each(|client| swarm.set_disk(client, Health { trouble: Trouble::OneIn(12), ..Health::default() }));
        swarm.run_for(Duration::from_secs(60));
        assert!((0..3).map(|client| said_trouble(swarm, client)).sum::<usize>() >= 3, "it was said");
        (0..3).for_each(|client| swarm.set_disk(client, Health::default()));
        swarm.run_until(LIMIT, Swarm::all_complete);
        swarm.shut_down();
    });
}

#[test]
fn a_disk_that_was_full_goes_on_when_there_is_space() {
    twice("a_disk_that_was_full_goes_on_when_there_is_space", |swarm| {
        add_slow(swarm, 2, &Client::default());
        swarm.run_until(LIMIT, |swarm| swarm.verified(1) >= 4);
        swarm.set_disk(1, Health { trouble: Trouble::Full, ..Health::default() });
        swarm.run_until(LIMIT, |swarm| swarm.is_complete(2) && said_trouble(swarm, 1) > 0);
        swarm.run_for(Duration::from_secs(30));
        assert!(!swarm.is_complete(1), "nothing can be written");
        swarm.set_disk(1, Health::default());
        swarm.run_until(LIMIT, Swarm::all_complete);
        swarm.shut_down();
    });
}

#[test]
fn a_tracker_that_dies_for_a_while_is_asked_again() {
    for scheme in ["http", "udp"] {
        twice("a_tracker_that_dies_for_a_while_is_asked_again", |swarm| {
            let tracker = swarm.add_tracker("tracker");
            let trackers = vec![format!("{scheme}://{tracker}/announce")];
            // Only the tracker knows who is there, and it is dead before anyone could ask.
            swarm.kill_tracker("tracker");
            for number in 0..3 {
                swarm.add_client(Client { seeder: number == 0, trackers: trackers.clone(), ..Client::default() });
            }
            swarm.run_for(Duration::from_secs(90));
            assert!((1..3).all(|client| swarm.verified(client) == 0), "nobody knows anybody");
            swarm.revive_tracker("tracker");
            swarm.run_until(LIMIT, Swarm::all_complete);
            // It dies for good: saying goodbye to it must not hold up the shutdown.
            swarm.kill_tracker("tracker");
            swarm.shut_down();
        });
    }
}
