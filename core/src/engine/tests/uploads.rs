//! What is given: each request one answer.

use super::harness::{Said, World};
use super::{block, config};
use crate::config::Config;
use crate::event::Event;
use crate::fault::{DiskFault, DiskFaultKind};
use crate::id::{BLOCK_LEN, ConnId};
use crate::time::Duration;
use crate::view::TorrentState;
use crate::wire::{BlockRequest, Message};
use alloc::string::String;
use alloc::vec::Vec;

const PIECE: u32 = 4 * BLOCK_LEN;

fn seeder(slots: usize) -> World {
    World::new(50, PIECE, true, Config { upload_slots: slots, ..config() })
}

#[test]
fn an_interested_peer_is_unchoked_and_served() {
    let mut world = seeder(1);
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    assert!(world.news(peer).contains(&Said::Plain("have all")));
    world.say(peer, &Message::Interested);
    assert_eq!(world.news(peer), [Said::Plain("unchoke")]);
    let odd = BlockRequest { len: BLOCK_LEN - 7, ..block(3, 0) };
    world.say(peer, &Message::Request(block(2, 1)));
    world.say(peer, &Message::Request(odd));
    assert_eq!(world.news(peer), [Said::Block(block(2, 1)), Said::Block(odd)]);
    assert_eq!(world.torrent().uploaded_bytes, u64::from(BLOCK_LEN + odd.len));
    world.audit();
}

#[test]
fn requests_while_choked_are_rejected_with_the_fast_extension_and_dropped_without() {
    let mut world = seeder(1);
    for (host, fast) in [(1, true), (2, false)] {
        let peer = world.accept(host);
        world.shake(peer, host, fast);
        world.news(peer);
        world.say(peer, &Message::Request(block(0, 0)));
        let answer = if fast { [Said::Reject(block(0, 0))].to_vec() } else { Vec::new() };
        assert_eq!(world.news(peer), answer);
    }
    world.audit();
}

#[test]
fn each_request_gets_a_block_or_a_reject_exactly_once_also_when_choked_or_cancelled() {
    let mut world = seeder(1);
    world.network_works = false;
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    world.say(peer, &Message::Interested);
    for piece in 0..50 {
        (0..3).for_each(|n| world.say(peer, &Message::Request(block(piece, n))));
    }
    for piece in 0..50 {
        world.say(peer, &Message::Cancel(block(piece, 1)));
        world.say(peer, &Message::Cancel(block(piece, 1)));
    }
    world.pass(Duration::from_secs(40));
    assert!(world.news(peer).contains(&Said::Plain("choke")), "it does not read");
    assert!(world.peers[&peer].asking.is_empty(), "every request has its answer: {:?}", world.peers[&peer].asking);
    world.audit();
}

#[test]
fn a_peer_that_does_not_read_costs_a_bounded_pile() {
    let mut world = seeder(1);
    world.network_works = false;
    let peer = world.accept(1);
    world.shake(peer, 1, false);
    world.say(peer, &Message::Interested);
    for piece in 0..50 {
        (0..4).for_each(|n| world.say(peer, &Message::Request(BlockRequest { len: BLOCK_LEN - 5, ..block(piece, n) })));
    }
    assert!(world.peers[&peer].unflushed < 1024 * 1024);
    assert!(!world.closed.contains_key(&peer));
    world.audit();
}

#[test]
fn a_failing_read_ends_that_link_and_says_so_but_seeding_goes_on() {
    let mut world = seeder(2);
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    let fault = DiskFault { kind: DiskFaultKind::Short, path: String::from("file"), detail: String::new() };
    world.peers.remove(&peer);
    world.handle(Event::ServeFailed { conn: peer, fault: fault.clone() });
    assert_eq!(world.torrent().trouble, Some(fault));
    assert_eq!((world.torrent().state, world.torrent().peers), (TorrentState::Seeding, 0));
    let other = world.accept(2);
    world.shake(other, 2, true);
    world.say(other, &Message::Interested);
    world.say(other, &Message::Request(block(0, 0)));
    assert!(world.news(other).contains(&Said::Block(block(0, 0))));
    world.audit();
}

#[test]
fn a_piece_that_is_not_verified_is_not_sent() {
    let mut world = World::new(2, PIECE, false, config());
    let peer = world.seed(1, true);
    world.say(peer, &Message::Interested);
    world.news(peer);
    world.say(peer, &Message::Request(block(0, 0)));
    assert_eq!(world.news(peer), [Said::Reject(block(0, 0))]);
    world.audit();
}

/// A peer that wants something, has half of the torrent, and unchokes us.
fn trader(world: &mut World, host: u8) -> ConnId {
    let peer = world.accept(host);
    world.shake(peer, host, true);
    world.say_bits(peer, |piece| piece % 2 == 0);
    world.say(peer, &Message::Unchoke);
    world.say(peer, &Message::Interested);
    peer
}

#[test]
fn who_gives_blocks_that_verify_earns_a_slot_and_the_others_have_turns() {
    let config = Config { upload_slots: 2, ..config() };
    let mut world = World::new(50, PIECE, false, config);
    let [idle, giver, liar] = [1, 2, 3].map(|host| trader(&mut world, host));
    let slots = |world: &World| {
        let peers = world.engine.peers(super::harness::TORRENT);
        [idle, giver, liar].map(|conn| {
            let peer = peers.iter().find(|peer| peer.conn == conn);
            peer.map_or((true, false), |peer| (peer.am_choking, peer.has_earned_slot))
        })
    };
    assert_eq!(slots(&world), [(false, false), (false, false), (true, false)], "first come, first served");
    for _ in 0..5 {
        world.serve(giver, 4);
        world.pass(Duration::from_secs(2));
    }
    assert_eq!(slots(&world)[1], (false, true));
    let mut turns = [0; 2];
    for _ in 0..60 {
        world.serve(giver, 1);
        world.pass(Duration::from_secs(2));
        let [a, b, c] = slots(&world);
        assert_eq!((b, a.0 as u8 + c.0 as u8), ((false, true), 1), "one has earned its slot, one has its turn");
        turns[usize::from(a.0)] += 1;
    }
    assert!(turns.iter().all(|turns| *turns >= 25), "{turns:?}");
    world.audit();
}

#[test]
fn who_keeps_us_waiting_loses_what_it_had_earned() {
    let mut world = World::new(50, PIECE, false, Config { upload_slots: 2, ..config() });
    let peer = trader(&mut world, 1);
    let earned = |world: &World| world.engine.peers(super::harness::TORRENT)[0].has_earned_slot;
    for _ in 0..6 {
        world.serve(peer, 4);
        world.pass(Duration::from_secs(2));
    }
    assert!(earned(&world));
    // It goes on talking and sends no block.
    for _ in 0..100 {
        world.say(peer, &Message::KeepAlive);
        world.pass(Duration::from_secs(1));
    }
    assert!(
        !earned(&world) && !world.engine.peers(super::harness::TORRENT)[0].am_choking,
        "it has its turn: nobody waits"
    );
    world.audit();
}

#[test]
fn who_fills_pieces_that_are_never_verified_earns_nothing() {
    let mut world = World::new(50, PIECE, false, Config { upload_slots: 2, ..config() });
    let peer = trader(&mut world, 1);
    for _ in 0..5 {
        // Of each piece one block is kept back.
        let asked = world.asked(peer);
        asked.into_iter().filter(|request| request.begin > 0).for_each(|request| world.give(peer, request));
        world.pass(Duration::from_secs(2));
    }
    assert!(world.torrent().downloaded_bytes > 0);
    let seen = &world.engine.peers(super::harness::TORRENT)[0];
    assert_eq!((seen.useful_rate, seen.has_earned_slot), (0, false));
    world.audit();
}

#[test]
fn once_complete_nobody_has_earned_a_slot_and_all_have_turns() {
    let mut world = World::new(10, PIECE, false, Config { upload_slots: 2, ..config() });
    let peer = trader(&mut world, 1);
    for _ in 0..6 {
        world.serve(peer, 3);
        world.pass(Duration::from_secs(2));
    }
    assert!(world.engine.peers(super::harness::TORRENT)[0].has_earned_slot);
    let seed = world.accept(2);
    world.shake(seed, 2, true);
    world.say_bits(seed, |piece| piece != 0);
    world.say(seed, &Message::Unchoke);
    world.serve(peer, 1000);
    world.serve(seed, 1000);
    assert_eq!(world.torrent().state, TorrentState::Seeding);
    world.pass(Duration::from_secs(10));
    assert!(world.engine.peers(super::harness::TORRENT).iter().all(|seen| !seen.has_earned_slot));
    world.audit();
}
