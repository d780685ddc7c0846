//! Pieces that are gone again: ours from the disk, and those that peers take back (BEP 54).

use super::harness::{INFO_HASH, Said, TORRENT, World};
use super::{block, config};
use crate::action::{CloseReason, FileStat, Notice, Operation};
use crate::config::Config;
use crate::event::{Command, Event};
use crate::explain::Cause;
use crate::fault::{DiskFault, DiskFaultKind, PeerFault};
use crate::id::{BLOCK_LEN, ConnId, PeerId, PieceIndex};
use crate::peer::LT_DONTHAVE_ID;
use crate::time::Duration;
use crate::view::TorrentState;
use crate::wire::{Handshake, Message};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

const PIECE: u32 = 2 * BLOCK_LEN;

impl World {
    /// A peer that says which extensions it takes.
    fn hello(&mut self, host: u8, fast: bool, hello: &[u8]) -> ConnId {
        let conn = self.accept(host);
        self.shake(conn, host, fast);
        self.say(conn, &Message::Extended { id: 0, payload: hello });
        self.news(conn);
        conn
    }

    fn take_back(&mut self, conn: ConnId, piece: u32) {
        self.say(conn, &Message::Extended { id: LT_DONTHAVE_ID, payload: &piece.to_be_bytes() });
    }

    /// The file ends after so many bytes from now on; with `None` it is gone.
    fn cut(&mut self, len: Option<u64>) {
        self.file = len.map(|len| FileStat { len, mtime_unix_ns: 99 });
        let kept = len.unwrap_or(0) as usize;
        self.disk[kept..].fill(0);
    }

    /// Something could not be read for a peer, because its file is too short.
    fn fail_to_serve(&mut self, host: u8) {
        let conn = self.accept(host);
        self.shake(conn, host, true);
        self.peers.remove(&conn);
        let fault = DiskFault { kind: DiskFaultKind::Short, path: String::from("file"), detail: String::new() };
        self.handle(Event::ServeFailed { conn, fault });
    }
}

fn seeder() -> World {
    World::new(4, PIECE, true, config())
}

const DONTHAVE: &[u8] = b"d1:md11:lt_donthavei3eee";

#[test]
fn what_is_found_to_be_gone_is_taken_back_from_every_peer_and_fetched_again() {
    let mut world = seeder();
    let (told, deaf) = (world.hello(1, true, DONTHAVE), world.hello(2, true, b"de"));
    world.cut(Some(u64::from(2 * PIECE + 5)));
    world.fail_to_serve(3);
    let gone = |piece: u8| Said::Extended(vec![0, 0, 0, piece]);
    let news = world.news(told);
    assert!(news.contains(&gone(2)) && news.contains(&gone(3)) && !news.contains(&gone(1)), "{news:?}");
    assert_eq!(world.closed.get(&deaf), Some(&CloseReason::PieceLost));
    let lost = Notice::PiecesLost { torrent: TORRENT, pieces: vec![PieceIndex(2), PieceIndex(3)] };
    assert!(world.notices.contains(&lost));
    let torrent = world.torrent();
    assert_eq!((torrent.state, torrent.have, torrent.lost_pieces), (TorrentState::Downloading, 2, 2));
    world.say(told, &Message::Interested);
    world.say(told, &Message::Request(block(2, 0)));
    assert!(world.news(told).contains(&Said::Reject(block(2, 0))));
    // Somebody has them.
    let seed = world.seed(4, true);
    world.say(seed, &Message::Unchoke);
    world.serve(seed, 100);
    assert_eq!((world.torrent().state, world.torrent().have), (TorrentState::Seeding, 4));
    let news = world.news(told);
    assert!(news.contains(&Said::Have(2)) && news.contains(&Said::Have(3)));
    let complete = |notice: &&Notice| matches!(notice, Notice::Complete { .. });
    assert_eq!(world.notices.iter().filter(complete).count(), 2);
    world.audit();
}

#[test]
fn requests_that_wait_for_a_piece_that_is_gone_are_refused() {
    let mut world = World::new(50, PIECE, true, config());
    world.network_works = false;
    let peer = world.hello(1, true, DONTHAVE);
    world.say(peer, &Message::Interested);
    (0..48).for_each(|piece| world.say(peer, &Message::Request(block(piece, 0))));
    world.cut(Some(u64::from(40 * PIECE)));
    world.fail_to_serve(2);
    let news = world.news(peer);
    let rejected: Vec<u32> = (40..48).filter(|piece| news.contains(&Said::Reject(block(*piece, 0)))).collect();
    assert_eq!(rejected, Vec::from_iter(40..48));
}

#[test]
fn a_checkpoint_that_finds_a_file_cut_takes_back_what_stood_there() {
    let mut world = World::new(4, PIECE, false, Config { keep_resume: true, ..config() });
    let peer = world.hello(1, true, DONTHAVE);
    world.say_bits(peer, |piece| piece < 3);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    world.cut(Some(u64::from(PIECE)));
    world.pass(Duration::from_secs(40));
    assert_eq!((world.torrent().have, world.torrent().lost_pieces), (1, 2));
    assert!(world.asked(peer).iter().any(|request| request.piece == PieceIndex(2)), "it is asked for again");
    world.serve(peer, 100);
    world.audit();
}

#[test]
fn when_nothing_is_left_nothing_is_made_anew_until_something_is_there_again() {
    let mut world = seeder();
    let told = world.hello(1, true, DONTHAVE);
    let (file, disk) = (world.file, world.disk.clone());
    world.cut(None);
    world.fail_to_serve(2);
    let torrent = world.torrent();
    assert_eq!((torrent.state, torrent.have), (TorrentState::Troubled, 0));
    assert_eq!(torrent.trouble.map(|fault| fault.kind), Some(DiskFaultKind::NotFound));
    assert_eq!(
        world.news(told).iter().filter(|said| matches!(said, Said::Extended(gone) if gone.len() == 4)).count(),
        4
    );
    world.disk_works = false;
    world.pass(Duration::from_secs(100));
    assert!(matches!(world.ops[..], [(_, Operation::Stat { .. })]), "{:?}", world.ops);
    // The drive is there again.
    (world.file, world.disk, world.disk_works) = (file, disk, true);
    world.run_op(0);
    assert_eq!((world.torrent().state, world.torrent().have), (TorrentState::Seeding, 4));
    world.audit();
}

#[test]
fn a_read_that_fails_though_nothing_is_gone_is_trouble_and_takes_nothing_back() {
    let mut world = seeder();
    let told = world.hello(1, true, DONTHAVE);
    world.fail_to_serve(2);
    assert_eq!((world.torrent().have, world.torrent().lost_pieces), (4, 0));
    assert!(world.torrent().trouble.is_some() && world.news(told).is_empty());
    world.audit();
}

#[test]
fn who_pauses_while_losses_are_looked_for_loses_nothing_of_the_answer() {
    let mut world = seeder();
    world.cut(Some(u64::from(PIECE)));
    world.disk_works = false;
    world.fail_to_serve(2);
    world.handle(Event::Command(Command::Pause { torrent: None }));
    world.run_disk();
    assert_eq!((world.torrent().state, world.torrent().have), (TorrentState::Paused, 1));
    world.disk_works = true;
    world.handle(Event::Command(Command::Resume { torrent: None }));
    assert_eq!(world.torrent().state, TorrentState::Downloading);
    world.audit();
}

#[test]
fn a_copy_that_is_still_arriving_when_its_piece_is_lost_counts_for_nothing_when_that_is_asked_for_again() {
    // Nobody has the second piece: else all would be done, and the link to another seed be closed.
    let mut world = World::new(2, PIECE, false, config());
    let [slow, quick] = [1, 2].map(|host| {
        let peer = world.accept(host);
        world.shake(peer, host, true);
        world.say_bits(peer, |piece| piece == 0);
        world.say(peer, &Message::Extended { id: 0, payload: DONTHAVE });
        world.say(peer, &Message::Unchoke);
        peer
    });
    // End game: both are asked. The copy comes while the piece is had already.
    let asked = world.asked(slow);
    let bytes = world.block_bytes(asked[1]);
    world.give(slow, asked[0]);
    world.send_bytes(slow, &bytes[..100]);
    world.give(quick, asked[1]);
    assert_eq!(world.torrent().have, 1);
    world.cut(Some(0));
    world.fail_to_serve(3);
    assert_eq!(world.torrent().lost_pieces, 1);
    // The harness recounts after each event.
    world.serve(quick, 100);
    world.send_bytes(slow, &bytes[100..]);
    world.serve(slow, 100);
    world.audit();
}

#[test]
fn the_last_block_of_who_took_its_piece_back_is_waited_for_and_that_is_said() {
    let mut world = World::new(1, PIECE, false, config());
    let peer = seed(&mut world, 1, true);
    world.say(peer, &Message::Unchoke);
    let asked = world.asked(peer);
    world.give(peer, asked[0]);
    world.take_back(peer, 0);
    let bytes = world.block_bytes(asked[1]);
    world.send_bytes(peer, &bytes[..100]);
    let explanation = world.engine.explain_torrent(world.now, TORRENT).unwrap();
    assert!(matches!(explanation.top(), Some(Cause::LastBlocks { requests: 1, peers: 1, .. })), "{explanation:?}");
    world.send_bytes(peer, &bytes[100..]);
    world.audit();
}

/// A peer that has everything and speaks BEP 10, with BEP 6 or without.
fn seed(world: &mut World, host: u8, fast: bool) -> ConnId {
    let conn = world.accept(host);
    if fast {
        world.shake(conn, host, true);
    } else {
        let mut handshake = Handshake::new(INFO_HASH, PeerId([host; 20]));
        handshake.reserved = [0, 0, 0, 0, 0, 0x10, 0, 0];
        let mut bytes = vec![];
        handshake.encode(&mut bytes);
        world.send_bytes(conn, &bytes);
    }
    world.say_bits(conn, |_| true);
    conn
}

/// A seed that is asked for everything, and another that is not asked yet.
fn asked(fast: bool) -> (World, ConnId, ConnId) {
    let mut world = World::new(2, PIECE, false, config());
    let a = seed(&mut world, 1, fast);
    world.say(a, &Message::Unchoke);
    let b = seed(&mut world, 2, fast);
    assert_eq!((world.asked(a).len(), world.asked(b).len()), (4, 0));
    (world, a, b)
}

#[test]
fn a_piece_that_a_seed_takes_back_is_asked_of_another_and_the_reject_is_no_breach() {
    let (mut world, a, b) = asked(true);
    let void: Vec<_> = world.asked(a).into_iter().filter(|request| request.piece == PieceIndex(1)).collect();
    world.take_back(a, 1);
    assert_eq!(world.torrent().seeds, 1, "it is no seed any more");
    for request in &void {
        world.say(a, &Message::RejectRequest(*request));
    }
    world.say(b, &Message::Unchoke);
    let asked = |world: &World, conn, piece| world.asked(conn).iter().any(|r| r.piece == PieceIndex(piece));
    assert!(asked(&world, b, 1));
    assert!(asked(&world, a, 0) && !asked(&world, a, 1));
    world.serve(b, 100);
    world.serve(a, 100);
    world.serve(b, 100);
    assert_eq!(world.torrent().left_bytes, 0);
    world.audit();
}

#[test]
fn without_the_fast_extension_what_was_asked_for_of_a_piece_taken_back_is_void_and_a_late_block_is_welcome() {
    let (mut world, a, _) = asked(false);
    let late = world.asked(a).into_iter().find(|request| request.piece == PieceIndex(1)).unwrap();
    let all = world.pool().0;
    world.take_back(a, 1);
    assert_eq!(world.pool().0, all - 2, "two reservations are free again");
    world.give(a, late);
    assert_eq!(world.torrent().wasted_bytes, 0);
    world.audit();
}

#[test]
fn a_block_of_a_piece_that_is_taken_back_in_its_midst_is_taken_in() {
    let (mut world, a, _) = asked(true);
    let first = world.asked(a)[0];
    let bytes = world.block_bytes(first);
    let (front, back) = bytes.split_at(100);
    // BEP 54's message cannot come within a block; but the next one may be of a piece that is gone by then.
    world.send_bytes(a, front);
    world.send_bytes(a, back);
    world.take_back(a, 0);
    assert!(world.asked(a).iter().all(|request| request.piece != PieceIndex(0)));
    assert_eq!(world.torrent().wasted_bytes, 0);
    world.audit();
}

#[test]
fn who_takes_everything_back_is_of_no_interest_and_a_piece_beyond_the_torrent_ends_the_connection() {
    let (mut world, a, _) = asked(true);
    [0, 1].iter().for_each(|piece| world.take_back(a, *piece));
    assert!(world.news(a).contains(&Said::Plain("not interested")));
    assert!(world.asked(a).is_empty());
    world.say(a, &Message::Have(PieceIndex(1)));
    assert!(world.news(a).contains(&Said::Plain("interested")));
    world.take_back(a, 2);
    assert_eq!(world.closed.get(&a), Some(&CloseReason::Fault(PeerFault::NoSuchPiece)));
    world.audit();
}
