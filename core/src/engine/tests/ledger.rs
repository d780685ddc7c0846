//! What became of each byte that came, per peer and in all.

use super::harness::{TORRENT, World};
use super::{block, config};
use crate::id::{BLOCK_LEN, ConnId};
use crate::ledger::Ledger;
use crate::wire::Message;

const PIECE: u32 = 4 * BLOCK_LEN;
const LEN: u64 = BLOCK_LEN as u64;

fn ledger_of(world: &World, conn: ConnId) -> Ledger {
    let peers = world.engine.peers(TORRENT);
    peers.into_iter().find(|peer| peer.conn == conn).map(|peer| peer.ledger).unwrap_or_default()
}

/// Two peers that have everything; both were asked for every block of two pieces. (The last block of all is a short one.)
fn end_game() -> (World, [ConnId; 2]) {
    let mut world = World::new(2, PIECE, false, config());
    let peers = [world.seed(1, false), world.seed(2, false)];
    peers.iter().for_each(|conn| world.say(*conn, &Message::Unchoke));
    assert!(peers.iter().all(|conn| world.asked(*conn).len() == 8));
    (world, peers)
}

#[test]
fn who_sent_a_block_is_credited_when_its_piece_is_verified_and_not_before() {
    let (mut world, [first, second]) = end_game();
    world.give(first, block(0, 0));
    (1..3).for_each(|n| world.give(second, block(0, n)));
    assert_eq!(ledger_of(&world, first), Ledger { undecided: LEN, ..Ledger::default() });
    assert_eq!(world.torrent().ledger, Ledger { undecided: 3 * LEN, ..Ledger::default() });
    world.give(second, block(0, 3));
    world.run_disk();
    assert_eq!(world.torrent().ledger, Ledger { verified: 4 * LEN, ..Ledger::default() });
    world.audit();
}

#[test]
fn duplicate_unrequested_and_late_payload_are_counted_apart_and_make_nobody_a_good_peer() {
    let (mut world, [first, second]) = end_game();
    let copy = world.block_bytes(block(0, 0));
    world.give(first, block(0, 0));
    world.send_bytes(second, &copy);
    assert_eq!(ledger_of(&world, second), Ledger { duplicate: LEN, ..Ledger::default() });
    world.send_bytes(second, &copy);
    let junk = Ledger { duplicate: LEN, unrequested: LEN, ..Ledger::default() };
    assert_eq!(ledger_of(&world, second), junk, "the answer to its request was the first");
    let next = world.block_bytes(block(0, 1));
    world.send_bytes(second, &next[..1013]);
    world.drop_link(second);
    assert_eq!(world.torrent().ledger, Ledger { undecided: LEN, late: 1000, ..junk });
    world.audit();
}

#[test]
fn the_blocks_of_a_piece_that_fails_are_corrupt_whoever_sent_them() {
    let (mut world, [first, second]) = end_game();
    world.give(first, block(0, 0));
    world.give_corrupt(second, block(0, 1));
    (2..4).for_each(|n| world.give(first, block(0, n)));
    world.run_disk();
    assert_eq!(ledger_of(&world, first), Ledger { corrupt: 3 * LEN, ..Ledger::default() });
    let view = world.torrent();
    assert_eq!(view.ledger, Ledger { corrupt: 4 * LEN, ..Ledger::default() });
    assert_eq!((view.downloaded_bytes, view.wasted_bytes), (4 * LEN, 4 * LEN));
    world.audit();
}
