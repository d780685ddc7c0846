//! Checkpoints, and starts that rely on them.

use super::harness::{INFO_HASH, Said, TORRENT, World};
use super::{block, config};
use crate::action::{FileStat, Notice, Operation};
use crate::config::Config;
use crate::event::{Command, Event, Outcome};
use crate::fault::{DiskFault, DiskFaultKind};
use crate::id::{BLOCK_LEN, InfoHash, PieceIndex};
use crate::resume::{FileThen, ResumeData, ResumeError};
use crate::time::Duration;
use crate::view::TorrentState;
use crate::wire::Message;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

const PIECE: u32 = 2 * BLOCK_LEN;

fn keeping() -> Config {
    Config { keep_resume: true, ..config() }
}

impl World {
    /// What the resume data on disk says.
    fn resume(&self) -> ResumeData {
        let bytes = self.saved.as_ref().expect("it was saved");
        ResumeData::parse(bytes, InfoHash::V1(INFO_HASH), &self.meta.layout).expect("it can be read")
    }

    fn claims(&self) -> Vec<u32> {
        self.resume().have.iter_ones().map(|piece| piece.0).collect()
    }

    /// Ends with a clean shutdown.
    fn end(&mut self) {
        self.handle(Event::Command(Command::Shutdown));
        assert_eq!(self.notices.last(), Some(&Notice::ShutDown));
    }

    fn step(&self) -> &Operation {
        &self.ops[0].1
    }
}

/// Eight pieces, of which these are downloaded.
fn partly(pieces: &[u32]) -> World {
    let mut world = World::new(8, PIECE, false, keeping());
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    world.say_bits(peer, |piece| pieces.contains(&piece));
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    assert_eq!(world.torrent().have, pieces.len() as u32);
    world
}

#[test]
fn a_restart_after_a_clean_end_hashes_nothing_and_the_totals_go_on() {
    let mut world = partly(&[1, 2, 5]);
    world.end();
    assert_eq!(world.claims(), [1, 2, 5]);
    let saved = world.saved.clone();
    world.restart(keeping(), saved.clone(), false);
    let torrent = world.torrent();
    assert_eq!((torrent.have, torrent.hashed, torrent.state), (3, 0, TorrentState::Downloading));
    assert_eq!(torrent.total_downloaded_bytes, u64::from(3 * PIECE));
    assert_eq!(torrent.downloaded_bytes, 0, "of this session");
    world.pass(Duration::from_secs(3600));
    world.end();
    assert_eq!(world.saved, saved, "nothing has changed, so nothing is written");
}

#[test]
fn what_touches_a_file_that_has_changed_is_hashed_whatever_is_claimed() {
    for force_check in [false, true] {
        let mut world = partly(&[1, 2, 5]);
        world.end();
        let changed = FileStat { mtime_unix_ns: 99, ..world.file.unwrap() };
        world.file = Some(changed).filter(|_| !force_check).or(world.file);
        let saved = world.saved.clone();
        world.restart(keeping(), saved, force_check);
        assert_eq!((world.torrent().have, world.torrent().hashed), (3, 6), "the file ends with piece 5");
        assert_eq!(world.torrent().total_downloaded_bytes, u64::from(3 * PIECE));
    }
}

#[test]
fn a_claimed_piece_of_a_file_that_is_gone_is_not_had() {
    let mut world = partly(&[1, 2, 5]);
    world.end();
    world.file = None;
    let saved = world.saved.clone();
    world.restart(keeping(), saved, false);
    assert_eq!((world.torrent().have, world.torrent().hashed), (0, 0));
}

#[test]
fn a_piece_is_claimed_only_after_a_sync_that_began_after_its_write() {
    let mut world = World::new(4, PIECE, false, keeping());
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    world.give(peer, block(0, 0));
    world.give(peer, block(0, 1));
    world.disk_works = false;
    world.pass(Duration::from_secs(29));
    assert!(world.ops.is_empty(), "not before its time");
    world.pass(Duration::from_secs(1));
    assert!(matches!(world.step(), Operation::Sync { .. }));
    // Another piece is verified while the sync is under way, a third while the files are looked at.
    for (piece, next) in [(1, "Stat"), (2, "SaveResume")] {
        world.give(peer, block(piece, 0));
        world.give(peer, block(piece, 1));
        world.run_op(1);
        assert_eq!(world.torrent().have, piece + 1);
        world.run_op(0);
        assert!(alloc::format!("{:?}", world.step()).starts_with(next));
    }
    world.run_op(0);
    assert_eq!((world.claims(), world.torrent().checkpoints), (vec![0], 1));
    world.disk_works = true;
    world.pass(Duration::from_secs(31));
    assert_eq!(world.claims(), [0, 1, 2]);
}

#[test]
fn so_many_bytes_and_the_last_piece_make_a_checkpoint_at_once() {
    // The last piece is a few bytes short, and may come second.
    let most = u64::from(2 * PIECE - 8);
    let mut world = World::new(4, PIECE, false, Config { checkpoint_bytes: most, ..keeping() });
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    let mut counts = vec![];
    for _ in 0..4 {
        world.serve(peer, 2);
        world.handle(Event::Tick);
        counts.push(world.torrent().checkpoints);
    }
    // The last piece is saved with the bytes, and once more when it is known that it was the last.
    assert_eq!((counts, world.claims()), (vec![0, 1, 1, 3], vec![0, 1, 2, 3]));
    assert_eq!(world.torrent().state, TorrentState::Seeding);
}

#[test]
fn a_save_that_fails_is_told_once_and_tried_again_ever_later_while_the_torrent_goes_on() {
    let mut world = World::new(4, PIECE, false, keeping());
    world.saves_fail = true;
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    world.give(peer, block(0, 0));
    world.give(peer, block(0, 1));
    world.pass(Duration::from_secs(100));
    let told = |world: &World| world.notices.iter().filter(|n| matches!(n, Notice::ResumeTrouble { .. })).count();
    assert_eq!((told(&world), world.torrent().state), (1, TorrentState::Downloading));
    world.give(peer, block(1, 0));
    world.give(peer, block(1, 1));
    assert_eq!(world.torrent().have, 2);
    world.saves_fail = false;
    world.pass(Duration::from_secs(600));
    assert_eq!((world.claims(), told(&world)), (vec![0, 1], 1));
}

#[test]
fn after_a_sync_that_failed_nothing_of_its_files_is_claimed_any_more_and_a_restart_hashes_them() {
    let mut world = partly(&[1, 2]);
    world.syncs_fail = true;
    world.pass(Duration::from_secs(31));
    assert_eq!((world.saved.is_none(), world.torrent().trouble.is_some()), (true, true));
    world.syncs_fail = false;
    world.pass(Duration::from_secs(120));
    assert_eq!((world.claims(), world.resume().files), (vec![], vec![FileThen::Unknown]));
    world.end();
    let saved = world.saved.clone();
    world.restart(keeping(), saved, false);
    assert_eq!((world.torrent().have, world.torrent().hashed), (2, 3));
}

#[test]
fn a_file_that_shrinks_or_changes_without_our_doing_is_not_claimed() {
    for shrinks in [true, false] {
        let mut world = partly(&[1, 2]);
        world.pass(Duration::from_secs(31));
        assert_eq!(world.claims(), [1, 2]);
        let old = world.file.unwrap();
        let len = if shrinks { u64::from(2 * PIECE) } else { old.len };
        world.file = Some(FileStat { len, mtime_unix_ns: old.mtime_unix_ns + 5 });
        // As if a piece of another file had come.
        world.engine.torrents.get_mut(&TORRENT).unwrap().touch_checkpoint(world.now);
        world.handle(Event::Command(Command::AddPeers { torrent: TORRENT, peers: vec![] }));
        world.pass(Duration::from_secs(31));
        assert_eq!((world.claims(), world.resume().files), (vec![], vec![FileThen::Unknown]), "{shrinks}");
    }
}

#[test]
fn resume_data_that_is_broken_is_told_and_everything_is_checked() {
    let mut world = partly(&[1, 2]);
    world.end();
    let mut bytes = world.saved.clone().unwrap();
    let at = bytes.windows(8).position(|window| window == b"6:pieces").unwrap();
    bytes[at + 11] ^= 1;
    world.restart(keeping(), Some(bytes), false);
    let refused = Notice::ResumeRefused { torrent: TORRENT, error: ResumeError::Damaged };
    assert!(world.notices.contains(&refused));
    assert_eq!((world.torrent().have, world.torrent().hashed), (2, 3));
    world.restart(keeping(), Some(vec![b'x'; 9]), false);
    assert_eq!((world.torrent().have, world.torrent().hashed), (2, 3));
}

#[test]
fn what_another_program_claims_is_hashed_and_its_totals_go_on() {
    let mut world = partly(&[1, 2]);
    world.end();
    let mut data = ResumeData::new(InfoHash::V1(INFO_HASH), &world.meta.layout);
    (0..8).for_each(|piece| _ = data.have.set(PieceIndex(piece)));
    data.history.uploaded_bytes = 1 << 40;
    world.restart(keeping(), Some(data.encode(&[])), false);
    assert_eq!((world.torrent().have, world.torrent().hashed), (2, 3));
    assert_eq!(world.torrent().total_uploaded_bytes, 1 << 40);
}

#[test]
fn a_seeder_saves_its_totals_now_and_then_without_touching_the_files() {
    let mut world = World::new(2, PIECE, true, keeping());
    world.end();
    let saved = world.saved.clone();
    world.restart(keeping(), saved, false);
    world.disk_works = false;
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    world.say(peer, &Message::Interested);
    world.say(peer, &Message::Request(block(0, 0)));
    assert!(world.news(peer).contains(&Said::Block(block(0, 0))));
    for _ in 0..5 {
        world.pass(Duration::from_secs(100));
        world.say(peer, &Message::KeepAlive);
        assert!(world.ops.is_empty());
    }
    world.pass(Duration::from_secs(110));
    assert!(matches!(world.step(), Operation::SaveResume { .. }));
    world.run_op(0);
    assert_eq!((world.resume().history.uploaded_bytes, world.claims()), (u64::from(BLOCK_LEN), vec![0, 1]));
    world.pass(Duration::from_secs(3600));
    assert!(world.ops.is_empty(), "an idle seeder does not touch the disk");
}

#[test]
fn the_end_waits_for_the_last_write_and_then_for_its_checkpoint_but_not_for_one_that_fails() {
    for fails in [false, true] {
        let mut world = World::new(4, PIECE, false, keeping());
        let peer = world.seed(1, true);
        world.say(peer, &Message::Unchoke);
        world.disk_works = false;
        world.give(peer, block(0, 0));
        world.give(peer, block(0, 1));
        world.handle(Event::Command(Command::Shutdown));
        assert!(matches!(&world.ops[..], [(_, Operation::Absorb { .. })]), "no sync before the write");
        world.run_op(0);
        world.run_op(0);
        if fails {
            let (op, _) = world.ops.remove(0);
            let fault = DiskFault { kind: DiskFaultKind::Io, path: String::new(), detail: String::new() };
            world.handle(Event::Done { op, outcome: Outcome::Stat(Err(fault)) });
            assert!(world.saved.is_none());
        } else {
            world.run_op(0);
            assert!(!world.notices.contains(&Notice::ShutDown));
            world.run_op(0);
            assert_eq!(world.claims(), [0]);
        }
        assert_eq!(world.notices.last(), Some(&Notice::ShutDown));
    }
}
