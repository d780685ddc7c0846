//! The disk that fails, the check, and the end.

use super::config;
use super::harness::{Said, TORRENT, World};
use crate::action::{CloseReason, Notice, Operation};
use crate::config::Config;
use crate::event::{Command, Event, Outcome};
use crate::fault::{DiskFault, DiskFaultKind};
use crate::id::BLOCK_LEN;
use crate::time::Duration;
use crate::tracker::Reply;
use crate::tracker::udp::{Response, encode_response};
use crate::view::TorrentState;
use crate::wire::Message;
use alloc::string::String;
use alloc::vec;
use core::net::SocketAddr;

const PIECE: u32 = 4 * BLOCK_LEN;

#[test]
fn a_full_disk_blames_nobody_is_told_and_tried_again() {
    let mut world = World::new(6, PIECE, false, config());
    let peers = [world.seed(1, false), world.seed(2, true)];
    world.disk_full = true;
    for conn in peers {
        world.say(conn, &Message::Unchoke);
        world.serve(conn, 1000);
    }
    assert_eq!(world.torrent().state, TorrentState::Troubled);
    assert!(
        world
            .notices
            .iter()
            .any(|n| matches!(n, Notice::DiskTrouble { fault, .. } if fault.kind == DiskFaultKind::Full))
    );
    assert_eq!((world.torrent().have, world.pool()), (0, (0, 0)), "nothing is claimed, nothing is pinned");
    assert!(world.closed.is_empty());
    world.disk_full = false;
    world.pass(Duration::from_secs(17));
    for _ in 0..20 {
        world.pass(Duration::from_secs(1));
        peers.iter().for_each(|conn| world.serve(*conn, 1000));
    }
    assert_eq!(world.torrent().state, TorrentState::Seeding);
    world.audit();
}

#[test]
fn blocks_that_come_while_the_disk_refuses_are_not_kept() {
    let mut world = World::new(6, PIECE, false, config());
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.disk_full = true;
    let asked = world.asked(peer);
    asked.iter().for_each(|request| world.give(peer, *request));
    assert_eq!(world.torrent().state, TorrentState::Troubled);
    assert_eq!(world.pool(), (0, 0));
    world.audit();
}

#[test]
fn a_piece_that_waits_for_nothing_but_the_disk_goes_on_when_the_trouble_is_over() {
    let mut world = World::new(2, 2 * BLOCK_LEN, false, Config { pool_blocks: 2, ..config() });
    world.disk_works = false;
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    // The second block comes first and is spilled, because the pool is empty; so does the first, to be hashed.
    let asked = world.asked(peer);
    assert_eq!(asked.len(), 2);
    world.give(peer, asked[1]);
    let other = asked[0];
    world.give(peer, other);
    // A fault elsewhere, before the disk has answered for this piece.
    let fault = DiskFault { kind: DiskFaultKind::Io, path: String::from("file"), detail: String::new() };
    world.handle(Event::ServeFailed { conn: peer, fault });
    world.peers.remove(&peer);
    world.run_disk();
    world.disk_works = true;
    world.pass(Duration::from_secs(20));
    let again = world.seed(2, false);
    world.say(again, &Message::Unchoke);
    world.serve(again, 100);
    assert_eq!(world.torrent().state, TorrentState::Seeding);
    world.audit();
}

#[test]
fn a_fault_in_a_slow_check_begins_no_second_round_before_the_first_is_over() {
    let mut world = World::unchecked(8, PIECE, true, config(), vec![]);
    world.run_op(0);
    assert_eq!(world.ops.len(), 4, "four pieces at a time");
    let (op, _) = world.ops.remove(0);
    let fault = DiskFault { kind: DiskFaultKind::Io, path: String::from("file"), detail: String::new() };
    world.handle(Event::Done { op, outcome: Outcome::Hash(Err(fault)) });
    world.pass(Duration::from_secs(40));
    while !world.ops.is_empty() {
        world.run_op(0);
    }
    world.pass(Duration::from_secs(40));
    world.run_disk();
    assert_eq!(world.torrent().state, TorrentState::Seeding);
    world.audit();
}

#[test]
fn peers_that_come_during_the_check_are_told_to_come_back() {
    let mut world = World::unchecked(8, PIECE, true, config(), vec![]);
    let early = world.accept(1);
    world.shake(early, 1, true);
    assert_eq!(world.closed.get(&early), Some(&CloseReason::NotReady));
    world.run_disk();
    let late = world.accept(1);
    world.shake(late, 1, true);
    assert!(world.news(late).contains(&Said::Plain("have all")));
    world.audit();
}

#[test]
fn at_the_end_pieces_that_are_here_are_still_written_and_of_others_nothing_is_kept() {
    let mut world = World::new(8, PIECE, false, config());
    world.disk_works = false;
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 6);
    assert!(world.pool().1 == 6);
    world.handle(Event::Command(Command::Shutdown));
    assert_eq!(world.pool(), (0, 4), "the half piece is gone");
    assert!(!world.notices.contains(&Notice::ShutDown), "a write is under way");
    world.run_disk();
    assert_eq!(world.torrent().have, 1);
    assert_eq!(world.notices.last(), Some(&Notice::ShutDown));
    assert_eq!(world.pool(), (0, 0));
}

#[test]
fn the_end_does_not_wait_for_a_disk_that_hangs_and_nothing_is_begun_after_it() {
    let mut world = World::new(8, PIECE, false, config());
    world.disk_works = false;
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 4);
    world.handle(Event::Command(Command::Shutdown));
    world.pass(Duration::from_millis(4001));
    assert_eq!(world.notices.last(), Some(&Notice::ShutDown));
    let told = world.notices.len();
    world.run_disk();
    let late = world.accept(3);
    world.shake(late, 3, true);
    world.handle(Event::Command(Command::AddPeers { torrent: TORRENT, peers: vec![([10, 0, 0, 9], 6881).into()] }));
    assert_eq!((world.notices.len(), world.ops.len(), world.dials.len()), (told, 0, 0));
    assert_eq!(world.pool(), (0, 0), "buffers come home all the same");
    assert_eq!(world.engine.poll_timeout(), None);
}

#[test]
fn the_end_during_the_check_waits_for_nothing() {
    let mut world = World::unchecked(8, PIECE, true, config(), vec![]);
    world.run_op(0);
    assert!(world.ops.iter().all(|(_, operation)| matches!(operation, Operation::Hash { .. })));
    world.handle(Event::Command(Command::Shutdown));
    assert_eq!(world.notices.last(), Some(&Notice::ShutDown));
    world.run_disk();
    assert!(world.ops.is_empty());
}

#[test]
fn a_jump_of_an_hour_closes_what_was_silent_and_spins_nothing() {
    let mut world = World::new(8, PIECE, false, config());
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.now = world.now + Duration::from_secs(3600);
    world.handle(Event::Tick);
    assert_eq!(world.closed.get(&peer), Some(&CloseReason::Idle));
    assert_eq!(world.pool(), (0, 0));
    world.audit();
}

#[test]
fn who_is_gone_when_the_time_for_goodbyes_is_over_is_told_of_before_the_end() {
    let mut world = World::tracked(config(), vec!["udp://10.0.0.9:6969/announce"]);
    let from = SocketAddr::from(([10, 0, 0, 9], 6969));
    let reply = Reply { interval_s: Some(1800), complete: Some(0), incomplete: Some(0), ..Reply::default() };
    let answers: [fn(u32, Reply) -> Response; 2] = [
        |transaction, _| Response::Connect { transaction, connection: 7 },
        |transaction, reply| Response::Announce { transaction, reply },
    ];
    for answer in answers {
        let transaction = u32::from_be_bytes(world.datagram[12..16].try_into().expect("four bytes"));
        let mut bytes = encode_response(&answer(transaction, reply.clone()), from.ip());
        world.handle(Event::Datagram { from, bytes: &mut bytes });
    }
    world.handle(Event::Command(Command::Remove { torrent: TORRENT, delete_data: false }));
    world.run_disk();
    assert!(
        !world.notices.iter().any(|notice| matches!(notice, Notice::Removed { .. })),
        "its goodbye is not answered"
    );
    world.handle(Event::Command(Command::Shutdown));
    // A timer that is late finds the tracker's time over, and that of all goodbyes.
    world.now = world.now + Duration::from_secs(600);
    world.handle(Event::Tick);
    let last = &world.notices[world.notices.len() - 2..];
    assert_eq!(last, [Notice::Removed { torrent: TORRENT, fault: None }, Notice::ShutDown]);
}
