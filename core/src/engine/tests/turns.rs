//! A fast peer that has proven itself is asked for several pieces in turns, and nobody else is.

use super::config;
use super::harness::{TORRENT, World};
use crate::config::{Config, Turns};
use crate::event::{Command, Event};
use crate::id::{BLOCK_LEN, ConnId};
use crate::wire::Message;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

const PIECES: u32 = 60;
/// Blocks of a piece.
const BLOCKS: usize = 8;

fn world() -> World {
    let turns = Turns { rate_per_piece: u64::from(BLOCK_LEN), blocks: 2 };
    World::new(PIECES, BLOCKS as u32 * BLOCK_LEN, false, Config { turns, ..config() })
}

/// How many pieces a peer is asked for in turns, by the order of what it has yet to send.
fn width(world: &World, peer: ConnId) -> usize {
    let asked: Vec<u32> = world.asked(peer).iter().map(|request| request.piece.0).collect();
    let before_and_after = |at: usize| {
        let (before, after) = asked.split_at(at);
        before.iter().filter(|piece| after.contains(piece)).collect::<BTreeSet<_>>().len()
    };
    (0..asked.len()).map(before_and_after).max().unwrap_or(0)
}

#[test]
fn who_gives_whole_and_good_pieces_fast_is_asked_for_eight_at_a_time_by_runs() {
    let mut world = world();
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    assert_eq!(width(&world, peer), 1, "it has proven nothing yet");
    world.serve(peer, 200);
    assert_eq!(width(&world, peer), 8);
    let asked = world.asked(peer);
    let runs = asked.chunk_by(|a, b| a.piece == b.piece).map(<[_]>::len);
    assert!(runs.max() <= Some(2), "each has its turn: {asked:?}");
    world.serve(peer, 1000);
    world.audit();
}

#[test]
fn who_had_part_in_a_bad_piece_is_asked_for_one_at_a_time() {
    let mut world = world();
    let (liar, honest) = (world.seed(1, true), world.seed(2, true));
    world.say(liar, &Message::Unchoke);
    let bad = world.asked(liar)[0];
    world.give_corrupt(liar, bad);
    world.drop_link(liar);
    world.say(honest, &Message::Unchoke);
    world.serve(honest, 100);
    assert!(world.torrent().ledger.corrupt > 0, "the piece that both sent was bad");
    assert_eq!(width(&world, honest), 1);
    world.serve(honest, 1000);
    world.audit();
}

#[test]
fn in_the_order_of_the_torrent_one_piece_comes_after_the_other() {
    let mut world = world();
    world.handle(Event::Command(Command::SetSequential { torrent: TORRENT, sequential: true }));
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    let asked: Vec<u32> = world.asked(peer).iter().map(|request| request.piece.0).collect();
    assert!(asked.is_sorted(), "{asked:?}");
    world.serve(peer, 1000);
    world.audit();
}

#[test]
fn many_sources_share_the_turns() {
    let mut world = world();
    let peers: Vec<ConnId> = (1..=8).map(|host| world.seed(host, true)).collect();
    peers.iter().for_each(|peer| world.say(*peer, &Message::Unchoke));
    let mut most = 0;
    while world.torrent().have < PIECES / 2 {
        for peer in &peers {
            world.serve(*peer, 1);
            most = most.max(width(&world, *peer));
        }
    }
    assert_eq!(most, 2);
    world.audit();
}
