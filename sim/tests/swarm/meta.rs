//! The world's own checks, each seen to fail on a client that does wrong deliberately.

use crate::{LIMIT, add_all};
use sim::real_driver::{Client, Sabotage, Swarm};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Runs a seeder and one leecher that does wrong, to their end; gives the panic that fails the run.
fn failure_of(sabotage: Sabotage) -> String {
    let run = || {
        let mut swarm = Swarm::new(1);
        let seeder = swarm.add_client(Client { seeder: true, ..Client::default() });
        let peers = vec![swarm.addr_of(seeder)];
        swarm.add_client(Client { peers, sabotage: Some(sabotage), ..Client::default() });
        swarm.run_until(LIMIT, Swarm::all_complete);
        swarm.shut_down();
    };
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("the world notices");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().expect("panics are text").to_string(),
    }
}

#[track_caller]
fn assert_says(failure: &str, words: &str) {
    assert!(failure.contains(words), "{failure}");
}

#[test]
fn a_panic_in_a_task_of_the_driver_fails_the_run() {
    assert_says(&failure_of(Sabotage::PanicInDriver), "panic");
}

#[test]
fn a_panic_in_a_task_that_nobody_waits_for_fails_the_run() {
    assert_says(&failure_of(Sabotage::PanicInSpawnedTask), "panic");
}

#[test]
fn a_logged_error_fails_the_run() {
    let failure = failure_of(Sabotage::LogError);
    assert_says(&failure, "an ERROR line was logged");
    assert_says(&failure, "client-1");
}

#[test]
fn a_leaked_socket_fails_the_run() {
    assert_says(&failure_of(Sabotage::LeakSocket), "the account of client-1 does not balance");
}

#[test]
fn a_leaked_task_fails_the_run() {
    assert_says(&failure_of(Sabotage::LeakTask), "1 tasks outlive the driver");
}

#[test]
#[should_panic(expected = "not done after 1s")]
fn a_swarm_that_is_stuck_fails_the_run() {
    let mut swarm = Swarm::new(1);
    add_all(&mut swarm, 1, &Client::default());
    swarm.partition(0, 1);
    swarm.run_until(Duration::from_secs(1), Swarm::all_complete);
}
