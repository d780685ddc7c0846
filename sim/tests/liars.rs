//! Wrong bytes, whoever they come from: a liar among honest peers, a disk that changes what it is given, a disk that cannot be read. All laws
//! hold all the time; these scenarios make what they forbid likely.

use sameseed_core::time::Duration;
use sim::lockstep::Access;
use sim::lockstep::checks::SharedScene;
use sim::lockstep::faults::Fault;
use sim::lockstep::phases::{finish, run};
use sim::lockstep::scenario::{Client, Scenario};

/// One seeder and four leechers that know each other and everybody hostile, with pools that let several pieces be open at a time.
fn shared(seed: u64, pool_blocks: usize, hostile: Vec<Fault>) -> Scenario {
    let nodes = 5 + hostile.len();
    let client = |index: usize| Client {
        seeder: index == 0,
        pool_blocks,
        peers: (0..nodes).filter(|peer| *peer != index).collect(),
        access: Access { up_per_s: 256 << 10, ..Access::default() },
        ..Client::leecher()
    };
    Scenario {
        seed,
        piece_len: 131_072,
        file_lens: vec![2_500_000],
        clients: (0..5).map(client).collect(),
        hostile,
        hostile_stay: true,
        ..Scenario::plain()
    }
}

#[test]
fn liars_that_share_pieces_with_the_honest_are_all_banned_by_whom_they_lied_to() {
    let mut bans = 0;
    for seed in 0..12 {
        let liars = if seed % 2 == 0 { 1 } else { 3 };
        let scenario = shared(seed, 64, vec![Fault::CorruptBlock; liars]);
        let mut world = scenario.build();
        finish(&mut world);
        for host in world.clients() {
            let view = world.host(host).view();
            bans += view.banned;
            let (failed, most) = (view.torrents[0].failed_pieces, 8 * liars as u32);
            assert!(failed <= most, "seed {seed}, host {host}: {failed} pieces failed");
            assert!(
                failed == 0 || view.banned > 0,
                "seed {seed}, host {host}: {failed} pieces failed and nobody is banned"
            );
        }
    }
    assert!(bans > 12, "{bans} bans");
}

#[test]
fn a_disk_that_changes_what_it_is_given_has_nobody_banned() {
    // Pools smaller than a piece: much is hashed by way of the disk.
    for seed in 0..12 {
        let rates = vec![(Fault::Misdirected, 300), (Fault::BitRot, 500), (Fault::FileChanged, 300)];
        let scenario = Scenario { rates, ..shared(seed, 3, Vec::new()) };
        let told = run(&scenario, &SharedScene::default());
        assert!(told.counts[Fault::Misdirected as usize] > 0, "seed {seed}");
    }
}

#[test]
fn a_liar_and_a_disk_that_changes_what_it_is_given_have_no_honest_peer_banned() {
    for seed in 0..12 {
        let rates =
            vec![(Fault::Misdirected, 100), (Fault::BitRot, 500), (Fault::FileChanged, 300), (Fault::ReadFails, 200)];
        let pool_blocks = if seed % 2 == 0 { 64 } else { 6 };
        run(&Scenario { rates, ..shared(seed, pool_blocks, vec![Fault::CorruptBlock]) }, &SharedScene::default());
    }
}

#[test]
fn blocks_that_cannot_be_read_back_are_fetched_again() {
    for seed in 0..6 {
        let rates = vec![(Fault::ReadFails, 400), (Fault::DiskError, 30)];
        let safety = Duration::from_secs(90);
        let told = run(&Scenario { rates, safety, ..shared(seed, 3, Vec::new()) }, &SharedScene::default());
        assert!(told.counts[Fault::ReadFails as usize] > 0, "seed {seed}");
    }
}
