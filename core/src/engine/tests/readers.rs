//! Readers wait for bytes: what is asked for then, and when they hear that it is there.

use super::harness::{TORRENT, World};
use crate::action::{Notice, Refusal};
use crate::event::{Command, Event};
use crate::id::{BLOCK_LEN, ConnId, FileIndex, ReaderId};
use crate::time::Duration;
use crate::wire::Message;
use alloc::vec::Vec;

const BLOCK: u64 = BLOCK_LEN as u64;

fn wait(world: &mut World, reader: u64, file: u32, first: u64, blocks: u64) {
    let bytes = first * BLOCK..(first + blocks) * BLOCK;
    let (reader, file) = (ReaderId(reader), FileIndex(file));
    world.readers_wait = true;
    world.handle(Event::Command(Command::Await { torrent: TORRENT, reader, file, bytes }));
}

fn asked_pieces(world: &World, conn: ConnId) -> Vec<u32> {
    world.asked(conn).iter().map(|request| request.piece.0).collect()
}

fn readable(world: &World, reader: u64) -> bool {
    world.notices.contains(&Notice::Readable { torrent: TORRENT, reader: ReaderId(reader) })
}

#[test]
fn what_a_reader_waits_for_comes_before_all_else_and_the_nearest_first() {
    let mut world = World::of_files(&[5 * BLOCK, 40 * BLOCK], BLOCK_LEN, &[]);
    wait(&mut world, 1, 1, 20, 3);
    wait(&mut world, 2, 0, 1, 1);
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    assert_eq!(asked_pieces(&world, peer)[..4], [1, 25, 26, 27], "nearest pieces of both, then what follows");
    world.serve(peer, 3);
    assert!(readable(&world, 2) && !readable(&world, 1));
    world.serve(peer, 1);
    assert!(readable(&world, 1));
    wait(&mut world, 3, 1, 20, 3);
    assert!(readable(&world, 3), "what is there already is readable at once");
    world.audit();
}

#[test]
fn a_reader_that_jumps_is_followed_and_one_that_leaves_is_not() {
    let mut world = World::of_files(&[200 * BLOCK], BLOCK_LEN, &[]);
    let peer = world.seed(1, false);
    wait(&mut world, 1, 0, 0, 200);
    world.say(peer, &Message::Unchoke);
    assert_eq!(asked_pieces(&world, peer), (0..8).collect::<Vec<_>>());
    wait(&mut world, 1, 0, 100, 5);
    world.serve(peer, 1);
    assert_eq!(asked_pieces(&world, peer)[7..], [100, 101]);
    world.handle(Event::Command(Command::EndAwait { torrent: TORRENT, reader: ReaderId(1) }));
    world.serve(peer, 200);
    assert!(!readable(&world, 1));
    world.audit();
}

#[test]
fn a_block_of_the_nearest_piece_that_is_kept_back_is_asked_of_one_other_peer() {
    let mut world = World::of_files(&[200 * BLOCK], BLOCK_LEN, &[]);
    let (a, b, c) = (world.seed(1, false), world.seed(2, false), world.seed(3, false));
    wait(&mut world, 1, 0, 50, 2);
    world.say(a, &Message::Unchoke);
    assert_eq!(asked_pieces(&world, a)[..2], [50, 51]);
    world.say(b, &Message::Unchoke);
    world.say(c, &Message::Unchoke);
    let holders = |world: &World, piece| [a, b, c].iter().filter(|p| asked_pieces(world, **p).contains(&piece)).count();
    world.serve(b, 1);
    assert_eq!(holders(&world, 50), 1, "not before it is late");
    world.pass(Duration::from_secs(3));
    world.serve(b, 1);
    world.serve(c, 1);
    assert_eq!((holders(&world, 50), holders(&world, 51)), (2, 1), "one copy, and of the nearest piece alone");
    world.audit();
}

#[test]
fn readers_beyond_the_limit_and_files_that_are_not_there_are_refused() {
    let mut world = World::of_files(&[9 * BLOCK], BLOCK_LEN, &[]);
    (0..64).for_each(|reader| wait(&mut world, reader, 0, 0, 9));
    wait(&mut world, 64, 0, 0, 9);
    let refusal = Notice::TooManyReaders { torrent: TORRENT, reader: ReaderId(64) };
    assert_eq!(world.notices.last(), Some(&refusal));
    wait(&mut world, 0, 1, 0, 9);
    assert_eq!(world.notices.last(), Some(&Notice::Refused { torrent: TORRENT, why: Refusal::NoSuchFile }));
    wait(&mut world, 0, 0, u64::MAX / BLOCK / 2, 1);
    assert!(readable(&world, 0), "beyond the end there is nothing to wait for");
    world.audit();
}

#[test]
fn a_reader_waits_silently_while_paused_and_a_recheck_takes_nothing_for_read() {
    let mut world = World::of_files(&[20 * BLOCK], BLOCK_LEN, &[]);
    let peer = world.seed(1, false);
    wait(&mut world, 1, 0, 4, 3);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 1);
    world.handle(Event::Command(Command::Pause { torrent: None }));
    world.handle(Event::Command(Command::Recheck { torrent: TORRENT }));
    // What was there is not any more.
    world.disk.fill(0);
    world.handle(Event::Command(Command::Recheck { torrent: TORRENT }));
    assert!(!readable(&world, 1));
    world.handle(Event::Command(Command::Resume { torrent: None }));
    let peer = world.seed(2, false);
    world.say(peer, &Message::Unchoke);
    assert_eq!(asked_pieces(&world, peer)[..3], [4, 5, 6]);
    world.serve(peer, 2);
    assert!(!readable(&world, 1));
    world.serve(peer, 1);
    assert!(readable(&world, 1));
    world.audit();
}
