//! Shutdown in the middle of everything: dialling, checking, downloading, announcing, with unfinished disk operations. Each time all
//! sockets and tasks are gone within the time promised, and a new start goes on from there.

use crate::{LIMIT, rng, twice};
use sim::real_driver::{Client, Health, Swarm, Trouble};
use std::time::Duration;

/// Moments tried in one test.
const MOMENTS: u64 = 24;

/// A seeder, two leechers, a tracker that works and one that hangs, a peer that is dead, disks of some slowness.
fn busy_swarm(swarm: &mut Swarm, max_delay: Duration) {
    let (hanging, working) = (swarm.add_hanging_tracker("hanging"), swarm.add_tracker("working"));
    let trackers =
        vec![format!("http://{hanging}/a"), format!("udp://{hanging}/a"), format!("http://{working}/announce")];
    let dead = swarm.addr_of(3);
    for number in 0..4 {
        let peers = if number == 0 { vec![] } else { vec![dead, swarm.addr_of(0)] };
        swarm.add_client(Client { seeder: number == 0, peers, trackers: trackers.clone(), ..Client::default() });
        swarm.set_disk(number, Health { max_delay, trouble: Trouble::None });
        swarm.limit(number, Some(1_000_000));
    }
    swarm.crash(3);
}

#[test]
fn a_shutdown_at_any_moment_leaves_nothing_behind_and_the_next_start_goes_on() {
    twice("a_shutdown_at_any_moment_leaves_nothing_behind_and_the_next_start_goes_on", |swarm| {
        let mut rng = rng(7);
        busy_swarm(swarm, Duration::from_millis(100));
        for _ in 0..MOMENTS {
            // Often within the first milliseconds: sockets are being opened, the first operations are under way.
            let most = [5, 60, 400, 1500][rng.below(4) as usize];
            swarm.run_for(Duration::from_millis(rng.below(most)));
            swarm.shut_down();
            (0..3).for_each(|client| swarm.restart(client));
        }
        swarm.run_until(LIMIT, |swarm| (0..3).all(|client| swarm.is_complete(client)));
        swarm.shut_down();
    });
}

#[test]
fn a_disk_that_hangs_does_not_hold_up_the_shutdown() {
    twice("a_disk_that_hangs_does_not_hold_up_the_shutdown", |swarm| {
        busy_swarm(swarm, Duration::from_millis(8));
        swarm.run_until(LIMIT, |swarm| swarm.verified(1) >= 2);
        for client in 0..3 {
            swarm.set_disk(client, Health { max_delay: Duration::from_secs(600), trouble: Trouble::None });
        }
        swarm.run_for(Duration::from_millis(300));
        swarm.shut_down();
        (0..3).for_each(|client| swarm.set_disk(client, Health::default()));
        (0..3).for_each(|client| swarm.restart(client));
        swarm.run_until(LIMIT, |swarm| (0..3).all(|client| swarm.is_complete(client)));
        swarm.shut_down();
    });
}

#[test]
fn one_that_shuts_down_is_no_loss_to_the_others() {
    twice("one_that_shuts_down_is_no_loss_to_the_others", |swarm| {
        busy_swarm(swarm, Duration::from_millis(8));
        swarm.run_until(LIMIT, |swarm| swarm.verified(1) >= 5);
        swarm.stop(1);
        swarm.run_until(LIMIT, |swarm| swarm.is_complete(2));
        swarm.restart(1);
        swarm.run_until(LIMIT, |swarm| swarm.is_complete(1));
        swarm.shut_down();
    });
}
