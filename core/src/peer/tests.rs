//! Each law of a connection broken by hand.

use super::*;
use crate::block::BlockPool;
use crate::engine::tests::breaches::check_breaches;
use crate::id::PieceIndex;

fn request(piece: u32, begin: u32) -> BlockRequest {
    BlockRequest { piece: PieceIndex(piece), begin, len: 100 }
}

/// It was asked for two blocks, of which the first is just arriving.
fn busy() -> Peer {
    let addr = SocketAddr::from(([10, 0, 0, 1], 2000));
    let mut peer = Peer::new(ConnId::dialed(0), addr, Instant::ZERO, Stage::Handshaking);
    let [ours, theirs] = [1, 2].map(|id| Handshake::new([0; 20], PeerId([id; 20])));
    peer.go_live(Instant::ZERO, &theirs, &ours, 10);
    peer.has = Bitfield::full(10);
    peer.note_requested(Instant::ZERO, request(1, 100));
    let mut pool = BlockPool::new(1, 1);
    assert!(pool.reserve());
    let (request, block) = (request(1, 0), Some(pool.take(100)));
    peer.begin_incoming(Incoming { request, sent: Instant::ZERO, block, filled: 0, counted: true, unrequested: false });
    peer
}

#[test]
fn each_law_is_seen_to_be_broken() {
    check_breaches(
        include_str!("mod.rs"),
        busy,
        Peer::check_invariants,
        &[
            ("no more requests than the window", |peer| {
                (0..MAX_WINDOW).for_each(|n| peer.note_requested(Instant::ZERO, request(2, n)));
            }),
            ("requests given up are remembered for a while only", |peer| {
                peer.forgotten.extend((0..=MAX_FORGOTTEN).map(|_| request(2, 0)));
            }),
            ("a peer is asked for a block once", |peer| peer.note_requested(Instant::ZERO, request(1, 0))),
            ("a peer is asked for what it has", |peer| _ = peer.has.clear(PieceIndex(1))),
            ("a block fits its buffer", |peer| peer.incoming.iter_mut().for_each(|incoming| incoming.filled = 101)),
            ("a block that is kept is counted, unless it is too slow", |peer| {
                peer.incoming.iter_mut().for_each(|incoming| incoming.counted = false);
            }),
            ("nothing waits for a peer that is choked", |peer| peer.uploads.push_back(request(1, 0))),
            ("nothing before handshakes", |peer| peer.stage = Stage::Handshaking),
            ("who has something to send has said so", |peer| peer.tx_announced = true),
        ],
    );
}
