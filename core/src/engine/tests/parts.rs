//! Resume data and the part file: what stands there is never claimed, always found again, and not removed before it is safe elsewhere.

use super::config;
use super::harness::{INFO_HASH, World};
use crate::action::Operation;
use crate::config::Config;
use crate::event::{Command, Event};
use crate::id::{BLOCK_LEN, InfoHash};
use crate::resume::{FileThen, ResumeData};
use crate::selection::Priority::{Normal, Skip};
use crate::time::Duration;
use crate::view::TorrentState;
use crate::wire::Message;
use alloc::vec;
use alloc::vec::Vec;

const BLOCK: u64 = BLOCK_LEN as u64;

fn keeping() -> Config {
    Config { keep_resume: true, ..config() }
}

impl World {
    fn told(&self) -> ResumeData {
        let bytes = self.saved.as_ref().expect("it was saved");
        ResumeData::parse(bytes, InfoHash::V1(INFO_HASH), &self.meta.layout).expect("it can be read")
    }

    fn claimed(&self) -> Vec<u32> {
        self.told().have.iter_ones().map(|piece| piece.0).collect()
    }

    fn parts_exist(&self) -> bool {
        self.stats.last().is_some_and(Option::is_some)
    }

    fn position(&self, wanted: impl Fn(&Operation) -> bool) -> usize {
        self.ops.iter().position(|(_, operation)| wanted(operation)).expect("it is under way")
    }

    /// Starts again with what was saved, and wants this of the first file.
    fn again(&mut self, wants_all: bool) {
        self.priorities = if wants_all { vec![] } else { vec![(crate::id::FileIndex(0), Skip)] };
        let saved = self.saved.clone();
        self.restart(keeping(), saved, false);
    }

    fn stop(&mut self) {
        self.handle(Event::Command(Command::Shutdown));
    }
}

/// Two files; the first is not selected, and they meet in the middle of piece 1. What is selected was fetched.
fn fetched() -> World {
    let mut world = World::of_files_with(&[3 * BLOCK, 3 * BLOCK], 2 * BLOCK_LEN, &[(0, Skip)], keeping());
    world.again(false);
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    assert_eq!((world.torrent().have, world.torrent().state), (2, TorrentState::Seeding));
    assert!(world.parts_exist());
    world
}

#[test]
fn a_piece_that_stands_partly_in_the_part_file_is_not_claimed_and_is_hashed_at_the_next_start() {
    let mut world = fetched();
    world.stop();
    assert_eq!(world.claimed(), [2]);
    assert_eq!((world.told().files[0], world.told().file_priority), (FileThen::Missing, vec![0, 4]));
    world.again(false);
    let torrent = world.torrent();
    assert_eq!((torrent.have, torrent.hashed, torrent.state), (2, 1, TorrentState::Seeding));
    assert!(world.parts_exist(), "it is still of use");
}

#[test]
fn without_the_part_file_its_pieces_are_missing_and_nothing_is_hashed() {
    let mut world = fetched();
    world.stop();
    *world.stats.last_mut().unwrap() = None;
    world.again(false);
    assert_eq!((world.torrent().have, world.torrent().hashed), (1, 0));
}

#[test]
fn what_was_moved_to_its_file_is_claimed_once_it_is_safe_there() {
    let mut world = fetched();
    world.stop();
    world.again(true);
    assert_eq!(world.placed.get(&1), Some(&vec![]), "it was moved");
    world.pass(Duration::from_secs(31));
    assert_eq!(world.claimed(), [1, 2]);
    world.stop();
    assert!(!world.parts_exist(), "it is of no use any more");
    world.again(true);
    assert_eq!((world.torrent().have, world.torrent().hashed), (2, 0));
}

#[test]
fn what_is_moved_after_a_sync_began_is_not_claimed_with_it() {
    let mut world = fetched();
    world.pass(Duration::from_secs(31));
    world.disk_works = false;
    world.select(&[(0, Normal)]);
    world.run_op(world.position(|operation| matches!(operation, Operation::Prepare { .. })));
    world.pass(Duration::from_secs(31));
    // The checkpoint begins, then the move ends.
    let sync = |operation: &Operation| matches!(operation, Operation::Sync { .. });
    assert!(world.position(sync) > world.position(|operation| matches!(operation, Operation::Unpart { .. })));
    world.run_op(world.position(|operation| matches!(operation, Operation::Unpart { .. })));
    world.run_op(world.position(sync));
    world.run_op(world.position(|operation| matches!(operation, Operation::Stat { .. })));
    world.run_op(world.position(|operation| matches!(operation, Operation::SaveResume { .. })));
    assert_eq!(world.claimed(), [2]);
    world.disk_works = true;
    world.pass(Duration::from_secs(31));
    assert_eq!(world.claimed(), [1, 2], "with the next one");
    world.audit();
}

#[test]
fn who_is_killed_after_a_move_finds_the_piece_by_hashing() {
    let mut world = fetched();
    world.pass(Duration::from_secs(31));
    let before = world.saved.clone();
    world.select(&[(0, Normal)]);
    assert!(world.stats[0].is_some());
    world.saved = before;
    world.again(true);
    assert_eq!((world.torrent().have, world.torrent().hashed), (2, 2), "both: their files have changed");
}

#[test]
fn the_part_file_stays_until_what_was_moved_from_it_is_safe() {
    let mut world = fetched();
    world.select(&[(0, Normal)]);
    world.disk_works = false;
    world.syncs_fail = true;
    world.stop();
    let drops = |world: &World| world.ops.iter().any(|(_, operation)| matches!(operation, Operation::DropParts { .. }));
    assert!(!drops(&world), "first it is brought to stable storage");
    world.run_disk();
    assert!(world.parts_exist() && !drops(&world));
    world.syncs_fail = false;
    world.again(true);
    world.run_disk();
    world.stop();
    world.run_disk();
    assert!(!world.parts_exist(), "the next start removes it");
}

#[test]
fn a_torrent_that_is_wanted_whole_again_is_complete_when_its_last_piece_comes() {
    let mut world = fetched();
    world.pass(Duration::from_secs(31));
    assert!(world.told().history.completed_unix_s > 0);
    world.pass(Duration::from_secs(100));
    world.select(&[(0, Normal)]);
    world.pass(Duration::from_secs(31));
    let history = world.told().history;
    assert_eq!((history.completed_unix_s, history.seeding_s), (0, 131), "the time of seeding is kept");
}
