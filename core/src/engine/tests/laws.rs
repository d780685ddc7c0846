//! Whatever happens in whatever order: the harness checks every law after every event.

use super::harness::World;
use super::{block, config};
use crate::config::Config;
use crate::event::Event;
use crate::id::{BLOCK_LEN, ConnId, PieceIndex};
use crate::time::Duration;
use crate::view::TorrentState;
use crate::wire::{BlockRequest, Message};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const PIECES: u32 = 5;
const PIECE: u32 = 3 * BLOCK_LEN;
/// Of so many peers each step concerns one.
const PEERS: u8 = 4;

#[derive(Clone, Debug)]
enum Step {
    Connect { fast: bool, bits: u32 },
    Drop,
    Choke(bool),
    Interest(bool),
    Have(u32),
    Give(usize),
    GiveCorrupt(usize),
    GiveHalf(usize),
    Unasked(u32, u32),
    Reject(usize),
    Request(u32, u32, u32),
    Cancel(u32, u32),
    Junk(Vec<u8>),
    Disk(usize),
    DiskFull(bool),
    Pass(u64),
    Flush(u64),
}

fn step() -> impl Strategy<Value = (u8, Step)> {
    let place = (0..PIECES, 0u32..3);
    let step = prop_oneof![
        3 => (any::<bool>(), 0u32..32).prop_map(|(fast, bits)| Step::Connect { fast, bits }),
        1 => Just(Step::Drop),
        4 => any::<bool>().prop_map(Step::Choke),
        1 => any::<bool>().prop_map(Step::Interest),
        2 => (0..PIECES).prop_map(Step::Have),
        8 => (0usize..8).prop_map(Step::Give),
        2 => (0usize..8).prop_map(Step::GiveCorrupt),
        1 => (0usize..8).prop_map(Step::GiveHalf),
        1 => place.clone().prop_map(|(piece, n)| Step::Unasked(piece, n)),
        1 => (0usize..8).prop_map(Step::Reject),
        2 => (0..PIECES, 0u32..3, 1u32..BLOCK_LEN).prop_map(|(piece, n, len)| Step::Request(piece, n, len)),
        1 => place.prop_map(|(piece, n)| Step::Cancel(piece, n)),
        1 => proptest::collection::vec(any::<u8>(), 1..40).prop_map(Step::Junk),
        8 => (0usize..8).prop_map(Step::Disk),
        1 => proptest::bool::weighted(0.2).prop_map(Step::DiskFull),
        2 => (1u64..40_000).prop_map(Step::Pass),
        2 => (1u64..100_000).prop_map(Step::Flush),
    ];
    (0..PEERS, step)
}

/// Lets one thing happen. `conns` are the links of the peers, by their number.
fn take(world: &mut World, conns: &mut [Option<ConnId>], peer: u8, step: Step) {
    let slot = &mut conns[usize::from(peer)];
    if let Step::Connect { fast, bits } = step {
        if slot.is_none_or(|conn| !world.peers.contains_key(&conn)) {
            let conn = world.accept(peer);
            *slot = Some(conn);
            world.shake(conn, peer, fast);
            world.say_bits(conn, |piece| bits >> piece & 1 == 1);
        }
        return;
    }
    let Some(conn) = *slot else { return };
    let asked = |world: &World, n: usize| world.asked(conn).get(n).copied();
    match step {
        Step::Connect { .. } => {}
        Step::Drop => world.drop_link(conn),
        Step::Choke(true) => world.say(conn, &Message::Choke),
        Step::Choke(false) => world.say(conn, &Message::Unchoke),
        Step::Interest(true) => world.say(conn, &Message::Interested),
        Step::Interest(false) => world.say(conn, &Message::NotInterested),
        Step::Have(piece) => world.say(conn, &Message::Have(PieceIndex(piece))),
        Step::Give(n) => asked(world, n).into_iter().for_each(|request| world.give(conn, request)),
        Step::GiveCorrupt(n) => asked(world, n).into_iter().for_each(|request| world.give_corrupt(conn, request)),
        Step::GiveHalf(n) => {
            if let Some(request) = asked(world, n) {
                let bytes = world.block_bytes(request);
                world.send_bytes(conn, &bytes[..bytes.len() / 2]);
                world.drop_link(conn);
            }
        }
        Step::Unasked(piece, n) => {
            let bytes = world.block_bytes(BlockRequest { len: 100, ..block(piece, n) });
            world.send_bytes(conn, &bytes);
        }
        Step::Reject(n) => {
            asked(world, n).into_iter().for_each(|request| world.say(conn, &Message::RejectRequest(request)));
        }
        Step::Request(piece, n, len) => world.say(conn, &Message::Request(BlockRequest { len, ..block(piece, n) })),
        Step::Cancel(piece, n) => world.say(conn, &Message::Cancel(block(piece, n))),
        Step::Junk(bytes) => {
            world.send_bytes(conn, &bytes);
            world.drop_link(conn);
        }
        Step::Disk(n) if !world.ops.is_empty() => world.run_op(n % world.ops.len()),
        Step::Disk(_) => {}
        Step::DiskFull(full) => world.disk_full = full,
        Step::Pass(ms) => world.pass(Duration::from_millis(ms)),
        Step::Flush(most) => {
            let bytes = world.peers.get(&conn).map_or(0, |peer| peer.unflushed.min(most));
            if let Some(peer) = world.peers.get_mut(&conn).filter(|_| bytes > 0) {
                peer.unflushed -= bytes;
                world.handle(Event::Flushed { conn, bytes });
            }
        }
    }
}

proptest! {
    #[test]
    fn the_laws_hold_whatever_peers_disk_and_time_do(
        pool_blocks in prop_oneof![Just(1usize), Just(3), Just(64)],
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new(PIECES, PIECE, false, Config { pool_blocks, upload_slots: 2, keep_resume: true, checkpoint_interval: Duration::from_secs(5), ..config() });
        world.disk_works = false;
        world.network_works = false;
        let mut conns = [None; PEERS as usize];
        for (peer, step) in steps {
            take(&mut world, &mut conns, peer, step);
        }
        // Liveness: with all well again and an honest seed from elsewhere, the download ends.
        world.disk_full = false;
        world.disk_works = true;
        world.network_works = true;
        conns.iter().flatten().for_each(|conn| world.drop_link(*conn));
        let mut seed = world.seed(100, true);
        world.say(seed, &Message::Unchoke);
        for host in 0..120 {
            world.pass(Duration::from_secs(1));
            if !world.peers.contains_key(&seed) && world.torrent().state != TorrentState::Seeding {
                seed = world.seed(100 + host, true);
                world.say(seed, &Message::Unchoke);
            }
            world.serve(seed, 100);
        }
        prop_assert_eq!(world.torrent().state, TorrentState::Seeding);
        world.audit();
    }
}

#[test]
fn a_copy_of_the_engine_goes_on_as_the_engine_does() {
    let mut world = World::new(PIECES, PIECE, false, config());
    let peer = world.seed(1, true);
    let mut copy = world.engine.clone();
    let mut bytes = Vec::new();
    Message::Unchoke.encode(&mut bytes);
    let mut sent = [Vec::new(), Vec::new()];
    for (engine, sent) in [&mut world.engine, &mut copy].into_iter().zip(&mut sent) {
        engine.handle(world.now, Event::Received { conn: peer, bytes: &mut bytes.clone() });
        let mut batch = crate::action::TxBatch::default();
        while engine.poll_transmit(&mut batch).is_some() {
            sent.push(batch.clone());
        }
    }
    assert!(!sent[0].is_empty());
    assert_eq!(sent[0], sent[1]);
}
