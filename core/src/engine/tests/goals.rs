//! Seeding goals: what ends a seeder, when, and what does not.

use super::config;
use super::harness::{TORRENT, World};
use crate::action::{CloseReason, Notice, Operation};
use crate::config::{ActiveLimits, Config, Goal, SeedingGoals};
use crate::event::{Command, Event};
use crate::explain::Cause;
use crate::id::{BLOCK_LEN, ConnId, FileIndex};
use crate::resume::ResumeData;
use crate::selection::Priority;
use crate::time::Duration;
use crate::view::TorrentState::{self, *};
use crate::view::{LineView, Place};
use crate::wire::{BlockRequest, Message};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

const PIECE: u32 = 2 * BLOCK_LEN;
const HOUR: Duration = Duration::from_secs(3600);
const REPLY: &[u8] = b"d8:intervali1800e5:peers0:e";

fn ratio(per_mille: u32) -> SeedingGoals {
    SeedingGoals { ratio_per_mille: Some(per_mille), time: None }
}

fn time(time: Duration) -> SeedingGoals {
    SeedingGoals { ratio_per_mille: None, time: Some(time) }
}

fn with(goals: SeedingGoals) -> Config {
    Config { goals, keep_resume: true, ..config() }
}

fn tell(world: &mut World, command: Command) {
    world.handle(Event::Command(command));
}

fn set(world: &mut World, goals: Option<SeedingGoals>) {
    tell(world, Command::SetGoals { torrent: Some(TORRENT), goals });
}

fn state(world: &World) -> TorrentState {
    world.torrent().state
}

fn told(world: &World) -> Vec<Goal> {
    let goal = |notice: &Notice| if let Notice::SeededEnough { goal, .. } = notice { Some(*goal) } else { None };
    world.notices.iter().filter_map(goal).collect()
}

/// A peer that takes blocks of the first pieces, so many times.
fn take(world: &mut World, host: u8, blocks: u32) -> ConnId {
    let peer = world.accept(host);
    world.shake(peer, host, true);
    world.say_bits(peer, |_| false);
    world.say(peer, &Message::Interested);
    for n in 0..blocks {
        let len = BLOCK_LEN - n / 4;
        world.say(peer, &Message::Request(BlockRequest { len, ..super::block(n % 4 / 2, n % 2) }));
    }
    peer
}

/// Everything comes from a peer. The events that a tracker hears meanwhile; it answers each.
fn download(world: &mut World, peer: ConnId) -> Vec<String> {
    let mut heard = vec![];
    loop {
        world.serve(peer, 100);
        match world.ops.first() {
            None => return heard,
            Some((_, Operation::Fetch(fetch))) => {
                heard.extend(fetch.target.split('&').find_map(|part| part.strip_prefix("event=")).map(String::from));
                world.answer_fetch(REPLY.to_vec());
            }
            Some(_) => world.run_op(0),
        }
    }
}

#[test]
fn who_has_given_as_much_as_it_wanted_is_silent_although_it_never_received_anything() {
    let mut world = World::new(4, PIECE, true, with(ratio(1000)));
    let peer = take(&mut world, 1, 7);
    world.pass(Duration::from_secs(3));
    assert_eq!((state(&world), told(&world)), (Seeding, vec![]), "{}", world.torrent().ratio_per_mille);
    let other = take(&mut world, 2, 2);
    assert_eq!(state(&world), Seeding, "looked at once a second");
    world.pass(Duration::from_secs(1));
    assert_eq!((state(&world), told(&world)), (Finished(Goal::Ratio), vec![Goal::Ratio]));
    assert_eq!([peer, other].map(|conn| world.closed[&conn]), [CloseReason::SeededEnough; 2]);
    let late = world.accept(3);
    world.shake(late, 3, true);
    assert_eq!(world.closed[&late], CloseReason::SeededEnough);
    let why = world.engine.explain_torrent(world.now, TORRENT).unwrap();
    assert_eq!(why.down, [Cause::SeededEnough { goal: Goal::Ratio }]);
    world.pass(HOUR);
    assert_eq!(world.engine.poll_timeout(), None, "nobody is woken any more");
    world.audit();
}

#[test]
fn time_counts_only_while_it_seeds_and_ends_to_the_second() {
    let mut world = World::new(4, PIECE, true, with(time(HOUR)));
    world.pass(HOUR / 2);
    tell(&mut world, Command::Pause { torrent: None });
    world.pass(HOUR * 9);
    tell(&mut world, Command::Resume { torrent: None });
    world.pass(HOUR / 2 - Duration::from_secs(1));
    assert_eq!((state(&world), world.torrent().seeded_s), (Seeding, 1800));
    world.pass(Duration::from_secs(1));
    assert_eq!((state(&world), told(&world)), (Finished(Goal::Time), vec![Goal::Time]));
    assert_eq!((world.torrent().seeded_s, world.torrent().seeding_since), (3600, None));
}

#[test]
fn whichever_comes_first_ends_it() {
    let mut world = World::new(4, PIECE, true, with(SeedingGoals { time: Some(HOUR), ..ratio(500) }));
    take(&mut world, 1, 4);
    world.pass(Duration::from_secs(1));
    assert_eq!(state(&world), Finished(Goal::Ratio));
    set(&mut world, Some(SeedingGoals { time: Some(HOUR), ..ratio(5000) }));
    assert_eq!(state(&world), Seeding, "it has not given that much");
    world.pass(HOUR);
    assert_eq!(state(&world), Finished(Goal::Time));
}

#[test]
fn with_no_time_to_seed_it_ends_when_it_is_complete_and_trackers_hear_of_both() {
    let goals = time(Duration::ZERO);
    let mut world = World::tracked(Config { goals, ..config() }, vec!["http://10.0.0.9:6969/announce"]);
    world.answer_fetch(REPLY.to_vec());
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    let heard = download(&mut world, peer);
    assert_eq!((state(&world), told(&world)), (Finished(Goal::Time), vec![Goal::Time]));
    assert_eq!(heard, ["completed", "stopped"]);
    let complete = world.notices.iter().position(|notice| matches!(notice, Notice::Complete { .. }));
    let enough = world.notices.iter().position(|notice| matches!(notice, Notice::SeededEnough { .. }));
    assert!(complete < enough && complete.is_some());
}

#[test]
fn a_resume_of_this_torrent_waives_the_goal_until_goals_change_and_one_of_all_does_not() {
    let mut world = World::new(4, PIECE, true, with(time(HOUR)));
    world.pass(HOUR);
    tell(&mut world, Command::Resume { torrent: None });
    assert_eq!(state(&world), Finished(Goal::Time), "it was not paused");
    tell(&mut world, Command::Pause { torrent: Some(TORRENT) });
    assert_eq!(state(&world), Paused);
    tell(&mut world, Command::Resume { torrent: Some(TORRENT) });
    assert_eq!(state(&world), Finished(Goal::Time), "where it was paused");
    tell(&mut world, Command::Resume { torrent: Some(TORRENT) });
    assert_eq!((state(&world), world.torrent().goals_waived), (Seeding, true));
    world.pass(HOUR * 5);
    assert_eq!((state(&world), world.engine.poll_timeout()), (Seeding, None));
    set(&mut world, Some(time(HOUR * 6)));
    assert_eq!((state(&world), world.torrent().goals_waived), (Finished(Goal::Time), false), "six hours are over");
}

#[test]
fn a_goal_that_is_reached_is_told_once_however_often_it_is_paused_moved_or_told_again() {
    let mut world = World::new(4, PIECE, true, with(time(HOUR)));
    world.pass(HOUR);
    for _ in 0..3 {
        tell(&mut world, Command::Pause { torrent: Some(TORRENT) });
        tell(&mut world, Command::Resume { torrent: Some(TORRENT) });
        set(&mut world, Some(time(HOUR / 2)));
        world.run_disk();
    }
    assert_eq!((state(&world), told(&world)), (Finished(Goal::Time), vec![Goal::Time]));
    tell(&mut world, Command::Resume { torrent: Some(TORRENT) });
    set(&mut world, Some(time(HOUR * 2)));
    world.pass(HOUR);
    assert_eq!((state(&world), told(&world)), (Finished(Goal::Time), vec![Goal::Time; 2]), "reached anew");
}

#[test]
fn who_received_more_than_is_wanted_now_owes_what_it_received() {
    let lens = [u64::from(PIECE), u64::from(PIECE)];
    let mut world = World::of_files_with(&lens, PIECE, &[], with(ratio(1000)));
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 4);
    world.select(&[(1, Priority::Skip)]);
    take(&mut world, 2, 2);
    world.pass(Duration::from_secs(1));
    assert_eq!((state(&world), world.torrent().ratio_per_mille), (Seeding, 500), "half of what came");
    take(&mut world, 3, 2);
    world.pass(Duration::from_secs(1));
    assert_eq!(state(&world), Finished(Goal::Ratio));
}

#[test]
fn what_it_needs_a_place_for_follows_from_what_is_selected() {
    let active = ActiveLimits { downloads: Some(1), seeds: Some(0) };
    let lens = [u64::from(PIECE), u64::from(PIECE)];
    let mut world = World::of_files_with(&lens, PIECE, &[(1, Priority::Skip)], Config { active, ..config() });
    let (one, none) = (LineView { active: 1, waiting: 0 }, LineView::default());
    let lines = |world: &World| {
        let queue = world.engine.view().queue;
        (queue.downloads, queue.seeds)
    };
    assert_eq!((state(&world), lines(&world)), (Downloading, (one, none)));
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 2);
    let waits = LineView { active: 0, waiting: 1 };
    assert_eq!((state(&world), lines(&world)), (Queued, (none, waits)), "its place to download is given back");
    let why = world.engine.explain_torrent(world.now, TORRENT).unwrap();
    assert_eq!(why.down, [Cause::Queued { place: Place::Seed, ahead: 0, limit: 0 }]);
    world.select(&[(1, Priority::Normal)]);
    assert_eq!((state(&world), lines(&world)), (Downloading, (one, none)));
    world.select(&[(1, Priority::Skip)]);
    world.run_disk();
    assert_eq!((state(&world), lines(&world)), (Queued, (none, waits)));
    tell(&mut world, Command::Remove { torrent: TORRENT, delete_data: false });
    world.run_disk();
    assert_eq!(lines(&world), (none, none));
}

#[test]
fn goals_of_all_do_not_touch_who_has_its_own() {
    let mut world = World::new(4, PIECE, true, config());
    world.pass(HOUR);
    set(&mut world, Some(SeedingGoals::default()));
    tell(&mut world, Command::SetGoals { torrent: None, goals: Some(time(HOUR)) });
    assert_eq!((state(&world), world.torrent().goals), (Seeding, SeedingGoals::default()));
    set(&mut world, None);
    assert_eq!((state(&world), world.torrent().goals), (Finished(Goal::Time), time(HOUR)));
    tell(&mut world, Command::SetGoals { torrent: None, goals: None });
    assert_eq!(state(&world), Seeding);
}

#[test]
fn what_was_given_and_how_long_is_remembered_over_a_restart_and_a_wrong_number_does_no_harm() {
    let goals = SeedingGoals { time: Some(HOUR), ..ratio(1000) };
    let mut world = World::new(4, PIECE, true, with(goals));
    take(&mut world, 1, 3);
    world.pass(HOUR / 2);
    tell(&mut world, Command::Shutdown);
    let saved = world.saved.clone().unwrap();
    world.restart(with(goals), Some(saved.clone()), false);
    world.pass(Duration::from_secs(1));
    let view = world.torrent();
    assert_eq!((view.state, view.seeded_s, view.total_uploaded_bytes), (Seeding, 1800, 3 * u64::from(BLOCK_LEN)));
    world.pass(HOUR / 2);
    assert_eq!(state(&world), Finished(Goal::Time));
    let layout = world.meta.layout.clone();
    for (seeding_s, uploaded_bytes, expected) in
        [(u64::MAX, 0, Goal::Time), (0, u64::MAX, Goal::Ratio), (u64::MAX, u64::MAX, Goal::Ratio)]
    {
        let mut data = ResumeData::parse(&saved, world.meta.info_hash, &layout).unwrap();
        (data.history.seeding_s, data.history.uploaded_bytes) = (seeding_s, uploaded_bytes);
        world.restart(with(goals), Some(data.encode(&[])), false);
        assert_eq!((state(&world), told(&world)), (Finished(expected), vec![expected]));
        let started = world.ops.iter().any(|(_, operation)| matches!(operation, Operation::Fetch(_)));
        assert!(!started, "no tracker is told that it begins");
        tell(&mut world, Command::Resume { torrent: Some(TORRENT) });
        world.pass(HOUR);
        assert_eq!(state(&world), Seeding);
        tell(&mut world, Command::Shutdown);
    }
}

#[test]
fn more_is_selected_and_a_check_begins_all_anew() {
    let goals = SeedingGoals { time: Some(Duration::ZERO), ..SeedingGoals::default() };
    let lens = [u64::from(PIECE), u64::from(PIECE)];
    let mut world = World::of_files_with(&lens, PIECE, &[(1, Priority::Skip)], with(goals));
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 2);
    assert_eq!(state(&world), Finished(Goal::Time));
    tell(&mut world, Command::SetPriorities { torrent: TORRENT, files: vec![(FileIndex(1), Priority::Normal)] });
    assert_eq!(state(&world), Downloading);
    let peer = world.seed(2, true);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 2);
    assert_eq!((state(&world), told(&world).len()), (Finished(Goal::Time), 2));
    world.audit();
}
