//! Whole downloads among all kinds of peers and trackers.

use crate::{LIMIT, add_all, run_twice, seed, twice};
use sameseed_core::action::Notice;
use sim::real_driver::{Client, Swarm};
use std::time::Duration;

const LEECHERS: usize = 8;

#[test]
fn one_seeder_and_eight_leechers() {
    twice("one_seeder_and_eight_leechers", |swarm| {
        add_all(swarm, LEECHERS, &Client::default());
        swarm.run_until(LIMIT, Swarm::all_complete);
        swarm.shut_down();
    });
}

#[test]
fn between_two_healthy_clients_nothing_waits_for_a_timer() {
    // So little that nothing else has a task look again whose wake-up was lost.
    let build = || Swarm::with_torrent(seed(), &[16_384], 16_384);
    run_twice("between_two_healthy_clients_nothing_waits_for_a_timer", seed(), "", build, |swarm| {
        let seeder = swarm.add_client(Client { seeder: true, ..Client::default() });
        swarm.run_until(LIMIT, Swarm::all_complete);
        let peers = vec![swarm.addr_of(seeder)];
        swarm.add_client(Client { peers, ..Client::default() });
        swarm.run_until(Duration::from_millis(500), Swarm::all_complete);
        swarm.shut_down();
    });
}

#[test]
fn dropped_connections_are_made_again() {
    twice("dropped_connections_are_made_again", |swarm| {
        let tracker = swarm.add_tracker("tracker");
        let client = Client { cuts: 4, trackers: vec![format!("http://{tracker}/announce")], ..Client::default() };
        add_all(swarm, 4, &client);
        swarm.run_until(LIMIT, Swarm::all_complete);
        let gone = (0..5).map(|n| swarm.said(n, |notice| matches!(notice, Notice::PeerGone { .. }))).sum::<usize>();
        assert!(gone > 0, "some connection broke");
        swarm.shut_down();
    });
}

#[test]
fn self_in_the_peer_list_is_recognised() {
    twice("self_in_the_peer_list_is_recognised", |swarm| {
        // The tracker names the asker too, and each client is given its own address by hand.
        let tracker = swarm.add_tracker("tracker");
        for number in 0..3 {
            let peers = vec![swarm.addr_of(number), swarm.addr_of(0)];
            let trackers = vec![format!("udp://{tracker}/announce")];
            swarm.add_client(Client { seeder: number == 0, peers, trackers, ..Client::default() });
        }
        swarm.run_until(LIMIT, Swarm::all_complete);
        for number in 0..3 {
            let own = swarm.addr_of(number);
            let to_self =
                |notice: &Notice| matches!(notice, Notice::PeerConnected { addr, .. } if addr.ip() == own.ip());
            assert_eq!(swarm.said(number, to_self), 0, "client {number} is no peer of its own");
        }
        swarm.shut_down();
    });
}

#[test]
fn unresponsive_trackers_do_not_hold_up_the_next_one() {
    for scheme in ["http", "udp"] {
        twice("unresponsive_trackers_do_not_hold_up_the_next_one", |swarm| {
            let (hanging, working) = (swarm.add_hanging_tracker("hanging"), swarm.add_tracker("working"));
            let trackers: Vec<_> =
                [hanging, working].iter().map(|addr| format!("{scheme}://{addr}/announce")).collect();
            for number in 0..3 {
                swarm.add_client(Client { seeder: number == 0, trackers: trackers.clone(), ..Client::default() });
            }
            swarm.run_until(LIMIT, Swarm::all_complete);
            // The exchange with the one that hangs is given up meanwhile.
            swarm.run_for(Duration::from_secs(70));
            swarm.shut_down();
        });
    }
}

#[test]
fn a_corrupt_peer_is_found_out_and_costs_only_time() {
    twice("a_corrupt_peer_is_found_out_and_costs_only_time", |swarm| {
        let liar = swarm.add_liar("liar");
        let seeder = swarm.addr_of(0);
        for number in 0..4 {
            let peers = if number == 0 { vec![] } else { vec![liar, seeder] };
            swarm.add_client(Client { seeder: number == 0, peers, ..Client::default() });
        }
        swarm.run_until(LIMIT, Swarm::all_complete);
        let failed =
            (1..4).map(|n| swarm.said(n, |notice| matches!(notice, Notice::PieceFailed { .. }))).sum::<usize>();
        assert!(failed > 0, "the liar was heard");
        for number in 1..4 {
            let honest = |notice: &Notice| matches!(notice, Notice::Banned { addr, .. } if addr.ip() != liar.ip());
            assert_eq!(swarm.said(number, honest), 0, "no honest peer is banned");
        }
        swarm.shut_down();
    });
}

#[test]
fn a_leecher_that_crashes_resumes_from_what_it_has() {
    twice("a_leecher_that_crashes_resumes_from_what_it_has", |swarm| {
        add_all(swarm, 3, &Client::default());
        let pieces = |swarm: &Swarm| swarm.said(2, |notice| matches!(notice, Notice::PieceVerified { .. }));
        swarm.run_until(LIMIT, |swarm| pieces(swarm) >= 8);
        swarm.crash(2);
        swarm.run_until(LIMIT, |swarm| swarm.is_complete(1) && swarm.is_complete(3));
        swarm.restart(2);
        swarm.run_until(LIMIT, Swarm::all_complete);
        let resumed = |notice: &Notice| matches!(notice, Notice::Checked { have, .. } if *have >= 8);
        assert_eq!(swarm.said(2, resumed), 1, "what was verified is there after the crash");
        swarm.shut_down();
    });
}
