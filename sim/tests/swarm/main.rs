//! The real driver under turmoil. Each scenario is run twice from one seed (`SAMESEED_SEED`, else 1) and leaves one trace hash.

mod drawn;
mod faults;
mod meta;
mod peers;
mod shutdown;

use sameseed_core::rng::{Rng, Stream};
use sim::real_driver::{Client, Swarm};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(300);

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// The seed of the named scenarios.
fn seed() -> u64 {
    setting("SAMESEED_SEED").unwrap_or(1)
}

/// What a scenario draws from, apart from the world's own draws.
fn rng(seed: u64) -> Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Rng::new(&bytes, Stream::Candidates, 1)
}

/// Runs a named scenario twice.
fn twice(name: &str, scenario: impl Fn(&mut Swarm)) {
    let seed = seed();
    let build = || {
        let swarm = Swarm::new(seed);
        assert!(swarm.metainfo().layout.total_len() >= 8 << 20 && swarm.metainfo().layout.piece_count() >= 32);
        swarm
    };
    run_twice(name, seed, "", build, scenario);
}

/// Runs a scenario twice and prints what it takes to repeat it.
#[expect(clippy::print_stdout, reason = "what repeats a run is printed before it can fail")]
fn run_twice(name: &str, seed: u64, drawn: &str, build: impl Fn() -> Swarm, scenario: impl Fn(&mut Swarm)) {
    println!("repeat with: SAMESEED_SEED={seed} cargo test -p sim --test swarm {name}");
    if !drawn.is_empty() {
        println!("drawn: {drawn}");
    }
    let [first, second] = [(); 2].map(|()| {
        #[expect(clippy::disallowed_methods, reason = "how long the test takes; nothing in the world sees it")]
        let start = Instant::now();
        let mut swarm = build();
        scenario(&mut swarm);
        let (entries, hash) = swarm.trace_hash();
        println!("{name}: {:?} simulated, {:?} real, {entries} entries, {hash:?}", swarm.elapsed(), start.elapsed());
        (entries, hash)
    });
    assert_eq!(first, second, "one seed, one trace");
}

/// A seeder and leechers that know it and each other.
fn add_all(swarm: &mut Swarm, leechers: usize, client: &Client) {
    let peers: Vec<_> = (0..=leechers).map(|number| swarm.addr_of(number)).collect();
    for number in 0..=leechers {
        swarm.add_client(Client { seeder: number == 0, peers: peers[..number].to_vec(), ..client.clone() });
    }
}
