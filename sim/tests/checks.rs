//! Every law of the lock-step world is seen to be broken: a client broken on purpose makes exactly that law fire, and no other before it.
//! And what watches changes nothing: one seed gives one trace, however often and however loudly it is watched.

use sameseed_core::config::{Config, RateLimits};
use sameseed_core::time::Duration;
use sim::content;
use sim::lockstep::Sabotage::{self, *};
use sim::lockstep::checks::{Check, SharedScene};
use sim::lockstep::faults::Fault;
use sim::lockstep::phases::{finish, run, run_broken};
use sim::lockstep::scenario::{Client, Scenario};
use sim::lockstep::{Access, HostIndex, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Two seeders and five leechers, nothing goes wrong. The first file is empty.
fn calm() -> Scenario {
    let drawn = Scenario::draw(1);
    let client = |index: usize| Client {
        seeder: index < 2,
        pool_blocks: 64,
        upload_slots: 2,
        peers: (0..index).collect(),
        access: Access { up_per_s: 256 << 10, ..Default::default() },
        ..Client::leecher()
    };
    Scenario {
        piece_len: 50_000,
        file_lens: vec![0, 1_000_000, 1_234_567],
        clients: (0..7).map(client).collect(),
        hostile: Vec::new(),
        hostile_stay: false,
        trackers: Vec::new(),
        rates: Vec::new(),
        safety: Duration::from_secs(1),
        cadence: 1,
        ..drawn
    }
}

/// One leecher does not want the second file, which shares a piece with the third.
fn selective() -> Scenario {
    let mut scenario = Scenario { file_lens: vec![0, 990_001, 1_234_567], ..calm() };
    scenario.clients[4].skips = vec![1];
    scenario
}

/// One seeder for all, with one slow slot: turns are taken.
fn crowd() -> Scenario {
    let mut scenario = calm();
    for client in &mut scenario.clients[1..] {
        client.seeder = false;
    }
    scenario.clients[0].upload_slots = 1;
    scenario.clients[0].access.up_per_s = 32 << 10;
    scenario
}

/// One seeder is much slower than the other, and buffers are plenty: in the end game what it was asked for comes from elsewhere.
fn uneven() -> Scenario {
    let mut scenario = calm();
    scenario.clients[0].access.up_per_s = 32 << 10;
    scenario.clients.iter_mut().for_each(|client| client.pool_blocks = 128);
    scenario
}

/// One leecher takes much longer than all others: they are done while the world goes on.
fn late() -> Scenario {
    let mut scenario = calm();
    scenario.clients[6].access.down_per_s = 32 << 10;
    scenario
}

/// One of the hostile peers is there from beginning to end.
fn with_hostile(vice: Fault) -> Scenario {
    let mut scenario = calm();
    let (hostile, clients) = (scenario.clients.len(), &mut scenario.clients);
    clients.iter_mut().for_each(|client| client.peers.push(hostile));
    Scenario { hostile: vec![vice], hostile_stay: true, ..scenario }
}

/// Everybody is given limits on the way.
fn limited() -> Scenario {
    let mut scenario = calm();
    for client in &mut scenario.clients {
        client.later = Some((Duration::from_millis(500), RateLimits { down: 40_000, up: 60_000 }));
    }
    scenario
}

/// There is a tracker.
fn tracked() -> Scenario {
    Scenario { trackers: vec![(false, None)], ..calm() }
}

/// Users do something all the time.
fn with_users(fault: Fault) -> Scenario {
    Scenario { rates: vec![(fault, 1000)], safety: Duration::from_secs(60), ..calm() }
}

/// Limits on active torrents come and go while all are still downloading.
fn queueing() -> Scenario {
    let mut scenario = crowd();
    scenario.clients.iter_mut().for_each(|client| client.access.up_per_s = 16 << 10);
    Scenario { rates: vec![(Fault::Queueing, 500)], safety: Duration::from_secs(60), ..scenario }
}

/// Files are cut while all are still downloading.
fn losing() -> Scenario {
    Scenario { rates: vec![(Fault::FileCut, 1000)], safety: Duration::from_secs(60), ..crowd() }
}

/// Which client is broken, how, and where.
fn fire(check: Check) -> (Scenario, usize, Sabotage) {
    const SEEDER: usize = 0;
    const LEECHER: usize = 4;
    match check {
        Check::Readable => (calm(), LEECHER, SendsUnknownMessage),
        Check::ChokedRequest => (calm(), LEECHER, AsksWhileChoked),
        Check::PossibleRequest => (calm(), LEECHER, AsksBeyondThePiece),
        Check::Unwanted => (selective(), LEECHER, AsksForTheUnwanted),
        Check::LeftAlone => (selective(), LEECHER, ForgetsThePartFile),
        Check::AskedOnce => (calm(), LEECHER, AsksTwice),
        Check::EndGameOnly => (calm(), LEECHER, AsksTwoPeers),
        Check::AnswerOnce => (calm(), SEEDER, AnswersTwice),
        Check::AnswerAll => (calm(), SEEDER, SwallowsBlocks),
        Check::NotCancelled => (uneven(), SEEDER, SendsWhatWasCancelled),
        Check::NotChoking => (calm(), SEEDER, SendsWhileChoking),
        Check::BitfieldFirst => (calm(), LEECHER, TellsPiecesAgain),
        Check::HaveOnce => (calm(), LEECHER, RepeatsHave),
        // Slow enough that two seconds pass before anything else is wrong.
        Check::HaveIsTold => (queueing(), LEECHER, SwallowsHave),
        Check::HaveIsTrue => (calm(), LEECHER, AnnouncesWhatItLacks),
        Check::TakenBack => (losing(), LEECHER, KeepsWhatIsGone),
        Check::Interested => (calm(), LEECHER, SwallowsInterest),
        Check::UploadIsTrue => (calm(), SEEDER, RotsBeforeUpload),
        Check::AfterClose => (calm(), LEECHER, ClosesTwice),
        Check::DoneOnce => (calm(), LEECHER, SubmitsTwice),
        Check::Recount => (calm(), LEECHER, LosesABlock),
        Check::ClaimIsSafe => (calm(), LEECHER, SyncsNothing),
        Check::HaveCount => (calm(), LEECHER, CountsPiecesTwice),
        Check::Counted => (calm(), LEECHER, CountsReceivedTwice),
        Check::Useful => (calm(), LEECHER, ForgetsWhatItFound),
        Check::Junk => (calm(), LEECHER, RatesJunk),
        Check::OneLink => (calm(), LEECHER, ShowsAPeerTwice),
        Check::Limits => (calm(), LEECHER, ShowsTooManyDials),
        Check::Rate => (limited(), LEECHER, ForgetsLimits),
        Check::Spin => (calm(), LEECHER, TicksForEver),
        Check::IdleTick => (calm(), LEECHER, RisesEarly),
        Check::HonestBan => (calm(), LEECHER, BansTheHonest),
        Check::LiarBan => (with_hostile(Fault::CorruptBlock), LEECHER, KeepsTheLiar),
        Check::Starving => (crowd(), SEEDER, NeverUnchokes),
        Check::Silent => (with_users(Fault::PauseFlood), LEECHER, IgnoresPause),
        Check::Active => (queueing(), LEECHER, IgnoresTheQueue),
        Check::Gone => (with_users(Fault::Deletion), LEECHER, KeepsFiles),
        Check::Shown => (tracked(), LEECHER, InventsCounts),
        Check::Explained => (calm(), LEECHER, ExplainsNothing),
        Check::Liveness => (calm(), LEECHER, NeverAsks),
        Check::Audit => (calm(), LEECHER, GrowsAFile),
        Check::Home => (calm(), LEECHER, KeepsABuffer),
        Check::WritesFirst => (calm(), LEECHER, LeavesInMidWrite),
        Check::Announced => (tracked(), SEEDER, ClaimsCompletion),
        Check::Goodbye => (calm(), LEECHER, SwallowsGoodbye),
    }
}

/// The message of the law that broke.
fn broken_by(scenario: &Scenario, sabotages: &[(usize, Sabotage)]) -> String {
    let scene = SharedScene::default();
    let result = catch_unwind(AssertUnwindSafe(|| run_broken(scenario, &scene, sabotages)));
    let Err(panic) = result else { return String::from("nothing") };
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn assert_fires(check: Check, scenario: &Scenario, sabotages: &[(usize, Sabotage)]) {
    let text = broken_by(scenario, sabotages);
    let first = text.lines().next().unwrap_or_default();
    assert!(first.starts_with(&format!("{check:?}: {}", check.sentence())), "{sabotages:?}: {first}");
}

#[test]
fn each_law_is_broken_by_the_sabotage_that_is_meant_for_it() {
    let mut wrong = Vec::new();
    for check in Check::ALL {
        let (scenario, host, sabotage) = fire(*check);
        let text = broken_by(&scenario, &[(host, sabotage)]);
        if !text.starts_with(&format!("{check:?}: {}", check.sentence())) {
            wrong.push(format!("{check:?} by {sabotage:?}: {}", text.lines().next().unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn without_sabotage_the_same_worlds_break_no_law() {
    run(&calm(), &SharedScene::default());
    run(&crowd(), &SharedScene::default());
    run(&limited(), &SharedScene::default());
    run(&uneven(), &SharedScene::default());
    run(&late(), &SharedScene::default());
    run(&losing(), &SharedScene::default());
    run(&with_hostile(Fault::CorruptBlock), &SharedScene::default());
    run(&with_users(Fault::PauseFlood), &SharedScene::default());
    run(&queueing(), &SharedScene::default());
    run(&with_users(Fault::Deletion), &SharedScene::default());
}

#[test]
fn laws_with_several_sides_are_broken_from_each() {
    assert_fires(Check::AnswerAll, &crowd(), &[(0, SwallowsRejects)]);
    assert_fires(Check::DoneOnce, &calm(), &[(4, ForgetsDone)]);
    assert_fires(Check::TakenBack, &calm(), &[(4, TakesBackWhatItNeverHad)]);
    for sabotage in [CountsUploadedTwice, WastesWithoutCounting, CreditsTooEarly, CreditsAPeerTooEarly] {
        let host = if sabotage == CountsUploadedTwice { 0 } else { 4 };
        assert_fires(Check::Counted, &calm(), &[(host, sabotage)]);
    }
    assert_fires(Check::Counted, &with_hostile(Fault::DuplicateBlock), &[(4, ExcusesJunk)]);
    assert_fires(Check::Junk, &calm(), &[(4, PraisesJunk)]);
    assert_fires(Check::Rate, &limited(), &[(0, ForgetsLimits)]);
    assert_fires(Check::Active, &late(), &[(4, GivesUpInWords)]);
    assert_fires(Check::Announced, &tracked(), &[(4, ForgetsTheTracker)]);
    assert_fires(Check::Shown, &tracked(), &[(4, ForgetsCounts)]);
    let pauses = Scenario { trackers: vec![(false, None)], ..with_users(Fault::PauseFlood) };
    assert_fires(Check::Silent, &pauses, &[(4, ScrapesUnasked)]);
    assert_fires(Check::Goodbye, &calm(), &[(4, TalksAfterGoodbye)]);
}

#[test]
fn who_watches_changes_nothing() {
    for seed in 0..6 {
        let scenario = Scenario::draw(seed);
        let traces = [(1, false, false), (17, false, false), (17, true, false), (1, true, true)].map(
            |(cadence, logging, full)| {
                let scene = SharedScene::default();
                (scene.borrow_mut().logging, scene.borrow_mut().full) = (logging, full);
                run(&Scenario { cadence, ..scenario.clone() }, &scene)
            },
        );
        assert!(traces.iter().all(|trace| *trace == traces[0]), "seed {seed}: {traces:?}");
    }
}

fn have(world: &World, host: HostIndex) -> u32 {
    world.host(host).view().torrents[0].have
}

/// A seeder that goes for ever, and two leechers that have begun with it; the second has a pool smaller than a piece.
fn abandoned(seed: u64) -> (World, [HostIndex; 2]) {
    let mut world = World::new(seed, content::torrent("abandoned", &[4_000_000], 262_144));
    let slow = Access { up_per_s: 256 << 10, ..Access::default() };
    let seeder = world.add_host_at(slow, true, Config::default(), &[]);
    let big = world.add_host(false, Config { pool_blocks: 64, ..Config::default() }, &[seeder]);
    assert!(world.run_until(Duration::from_secs(60), |world| have(world, big) > 8));
    let small = world.add_host(false, Config { pool_blocks: 4, ..Config::default() }, &[seeder, big]);
    assert!(world.run_until(Duration::from_secs(60), |world| world.host(small).view().pool.2 > 0), "a piece is open");
    world.take_down(seeder);
    (world, [big, small])
}

#[test]
fn with_a_pool_smaller_than_a_piece_and_the_only_holder_of_an_open_piece_gone_the_others_complete() {
    for seed in 0..10 {
        let (mut world, [big, small]) = abandoned(seed);
        let gone = world.out_of_reach(small).len() as u32;
        assert!(gone > 0, "seed {seed}: the seeder took pieces along");
        // It does not claim a failure, since nobody can have those pieces; but all others must come.
        finish(&mut world);
        // A piece that was on its way to the disk when the seeder went comes on top.
        let had = [have(&world, big), have(&world, small)];
        assert!(had.iter().all(|have| *have >= 16 - gone), "seed {seed}: {had:?} without {gone}");
    }
}

#[test]
fn what_lies_behind_two_routers_is_out_of_reach() {
    let nat = Access { nat: true, ..Access::default() };
    let mut world = World::new(1, content::torrent("nat", &[500_000], 65_536));
    let seeder = world.add_host_at(nat, true, Config::default(), &[]);
    let behind = world.add_host_at(nat, false, Config::default(), &[seeder]);
    let open = world.add_host(false, Config::default(), &[]);
    assert_eq!((world.out_of_reach(behind).len(), world.out_of_reach(open).len()), (8, 8), "nobody knows the open one");
    let between = world.add_host(false, Config::default(), &[]);
    let second = world.add_host_at(nat, true, Config::default(), &[between]);
    assert_eq!((world.out_of_reach(between).len(), world.out_of_reach(second).len()), (0, 0));
    finish(&mut world);
    assert_eq!([behind, between].map(|host| have(&world, host)), [0, 8]);
}
