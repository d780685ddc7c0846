//! Peers that break the rules, and what it costs: them a connection, us next to nothing.

use super::harness::{INFO_HASH, Said, World};
use super::{block, config};
use crate::action::CloseReason;
use crate::config::Config;
use crate::event::Event;
use crate::fault::{LinkFault, PeerFault};
use crate::id::{BLOCK_LEN, ConnId, PeerId, PieceIndex};
use crate::time::Duration;
use crate::wire::{Handshake, Message};
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

const PIECE: u32 = 4 * BLOCK_LEN;

/// What closes a connection that sends these bytes after the handshake.
fn closed_by(fast: bool, bytes: &[u8]) -> Option<CloseReason> {
    let mut world = World::new(20, PIECE, false, config());
    let peer = world.accept(1);
    world.shake(peer, 1, fast);
    world.send_bytes(peer, bytes);
    let reason = world.closed.get(&peer).copied();
    world.audit();
    reason
}

fn fault(fault: PeerFault) -> Option<CloseReason> {
    Some(CloseReason::Fault(fault))
}

#[test]
fn bitfields_of_a_wrong_length_or_with_spare_bits_end_the_connection() {
    assert_eq!(closed_by(false, b"\0\0\0\x04\x05\xff\xff\xf0"), None);
    assert_eq!(closed_by(false, b"\0\0\0\x04\x05\xff\xff\xf1"), fault(PeerFault::BadBitfield));
    assert!(closed_by(false, b"\0\0\0\x03\x05\xff\xff").is_some());
    assert!(closed_by(false, b"\0\0\0\x05\x05\xff\xff\xf0\0").is_some());
    assert!(closed_by(false, b"\0\x10\0\0\x05").is_some());
}

#[test]
fn pieces_beyond_the_torrent_end_the_connection() {
    assert_eq!(closed_by(false, b"\0\0\0\x05\x04\0\0\0\x13"), None);
    assert_eq!(closed_by(false, b"\0\0\0\x05\x04\0\0\0\x14"), fault(PeerFault::NoSuchPiece));
    assert_eq!(closed_by(false, b"\0\0\0\x05\x04\xff\xff\xff\xff"), fault(PeerFault::NoSuchPiece));
    assert_eq!(closed_by(true, b"\0\0\0\x05\x0d\0\0\0\x14"), fault(PeerFault::NoSuchPiece));
}

#[test]
fn frames_longer_than_their_kind_end_the_connection_before_they_are_read() {
    for bytes in
        [&b"\xff\xff\xff\xff\x04"[..], b"\0\0\x40\x0a\x07", b"\0\0\0\x02\x00", b"\0\0\0\x09\x07", b"\x7f\0\0\0\x63"]
    {
        let reason = closed_by(true, bytes);
        assert!(matches!(reason, Some(CloseReason::Fault(_))), "{bytes:?}: {reason:?}");
    }
}

#[test]
fn fast_messages_without_the_agreement_end_the_connection() {
    for bytes in [
        &b"\0\0\0\x01\x0e"[..],
        b"\0\0\0\x01\x0f",
        b"\0\0\0\x05\x11\0\0\0\0",
        b"\0\0\0\x0d\x10\0\0\0\0\0\0\0\0\0\0\x40\0",
    ] {
        assert_eq!(closed_by(false, bytes), fault(PeerFault::UnexpectedFast));
    }
}

#[test]
fn an_unknown_info_hash_is_closed_after_68_bytes_without_a_word() {
    let mut world = World::new(1, PIECE, false, config());
    let peer = world.accept(1);
    let mut bytes = vec![];
    Handshake::new([1; 20], PeerId([5; 20])).encode(&mut bytes);
    world.send_bytes(peer, &bytes[..67]);
    assert!(world.closed.is_empty());
    world.send_bytes(peer, &bytes[67..]);
    assert_eq!(world.closed.get(&peer).copied(), fault(PeerFault::UnknownInfoHash));
    world.audit();
}

#[test]
fn what_is_not_bittorrent_is_closed_at_the_first_wrong_byte() {
    let mut world = World::new(1, PIECE, false, config());
    let peer = world.accept(1);
    world.send_bytes(peer, b"GET");
    assert_eq!(world.closed.get(&peer).copied(), fault(PeerFault::NotBitTorrent));
}

#[test]
fn a_handshake_that_drips_is_given_ten_seconds_in_all() {
    let mut world = World::new(1, PIECE, false, config());
    let peer = world.accept(1);
    let mut bytes = vec![];
    Handshake::new(INFO_HASH, PeerId([5; 20])).encode(&mut bytes);
    for byte in &bytes[..9] {
        world.send_bytes(peer, &[*byte]);
        world.pass(Duration::from_secs(1));
    }
    assert!(world.closed.is_empty());
    world.pass(Duration::from_secs(2));
    assert_eq!(world.closed.get(&peer).copied(), fault(PeerFault::HandshakeTimeout));
}

#[test]
fn who_says_nothing_is_closed_in_time_although_numbers_come_out_of_order() {
    let mut world = World::new(1, PIECE, false, config());
    let [first, second] = [ConnId::accepted(7), ConnId::accepted(3)];
    for conn in [first, second] {
        world.handle(Event::Accepted { conn, from: SocketAddr::from(([10, 0, 1, 1], 50_000)) });
        world.pass(Duration::from_secs(4));
    }
    world.handle(Event::Closed { conn: second, fault: LinkFault::Reset });
    world.pass(Duration::from_secs(2));
    assert_eq!(world.closed.get(&first).copied(), fault(PeerFault::HandshakeTimeout));
    world.audit();
}

#[test]
fn ten_thousand_silent_connections_of_one_host_keep_nobody_else_out() {
    let mut world = World::new(1, PIECE, false, config());
    let honest = world.accept(2);
    for _ in 0..10_000 {
        world.accept(1);
        assert!(world.engine.view().connections <= 64);
    }
    assert!(!world.closed.contains_key(&honest));
    world.shake(honest, 2, true);
    assert!(world.news(honest).contains(&Said::Handshake));
    world.pass(Duration::from_secs(11));
    assert_eq!(world.engine.view().connections, 1);
    world.audit();
}

#[test]
fn one_host_cannot_take_the_places_of_those_we_want_to_dial() {
    let dialed = (1..=60).map(|host| SocketAddr::from(([10, 0, 2, host], 6881))).collect();
    let mut world = World::with_peers(1, PIECE, false, config(), dialed);
    world.dials.clear();
    for n in 0..200 {
        let peer = world.accept(1 + n % 5);
        world.shake(peer, n, true);
    }
    world.pass(Duration::from_secs(60));
    let dialled = world.closed.values().filter(|reason| **reason == CloseReason::DialTimeout).count();
    assert!(dialled > 30, "there is still room for whom we choose");
}

#[test]
fn requests_outside_the_torrent_or_too_long_end_the_connection() {
    for (piece, begin, len) in [
        (20, 0, 1),
        (19, PIECE - 5, 1),
        (0, PIECE, 1),
        (0, u32::MAX, 2),
        (0, 0, 0),
        (0, 0, 128 * 1024 + 1),
        (u32::MAX, 0, 1),
    ] {
        let mut world = World::new(20, PIECE, true, config());
        let peer = world.accept(1);
        world.shake(peer, 1, true);
        let request = crate::wire::BlockRequest { piece: PieceIndex(piece), begin, len };
        world.say(peer, &Message::Request(request));
        assert_eq!(world.closed.get(&peer).copied(), fault(PeerFault::BadRequest), "{request:?}");
    }
}

#[test]
fn a_flood_of_requests_while_choked_ends_the_connection() {
    let mut world = World::new(20, PIECE, true, config());
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    for _ in 0..10_000 {
        world.say(peer, &Message::Request(block(0, 0)));
    }
    assert_eq!(world.closed.get(&peer).copied(), fault(PeerFault::Flood));
    world.audit();
}

#[test]
fn ten_thousand_requests_from_one_that_does_not_read_end_the_connection() {
    let mut world = World::new(3000, BLOCK_LEN, true, config());
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    world.say(peer, &Message::Interested);
    world.network_works = false;
    for piece in 0..2999 {
        world.say(peer, &Message::Request(block(piece, 0)));
    }
    assert_eq!(world.closed.get(&peer).copied(), fault(PeerFault::TooManyRequests));
}

#[test]
fn choke_flapping_ends_the_connection() {
    let mut world = World::new(20, PIECE, false, config());
    let peer = world.seed(1, false);
    for _ in 0..10_000 {
        world.say(peer, &Message::Unchoke);
        world.say(peer, &Message::Choke);
    }
    assert_eq!(world.closed.get(&peer).copied(), fault(PeerFault::Flood));
    world.audit();
}

#[test]
fn a_peer_that_rejects_everything_is_asked_once_a_second_and_others_get_everything_done() {
    let mut world = World::new(20, PIECE, false, config());
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    let mut rejected = 0;
    for _ in 0..60 {
        while let Some(request) = world.asked(peer).first().copied() {
            world.say(peer, &Message::RejectRequest(request));
            rejected += 1;
            assert!(rejected < 100, "the same is asked over and over");
        }
        assert_eq!(world.pool(), (0, 0), "a reject gives the reservation back");
        world.pass(Duration::from_secs(1));
    }
    assert!(rejected > 30, "it may have changed its mind: {rejected}");
    let honest = world.seed(2, true);
    world.say(honest, &Message::Unchoke);
    for _ in 0..30 {
        world.serve(honest, 1000);
        while let Some(request) = world.asked(peer).first().copied() {
            world.say(peer, &Message::RejectRequest(request));
        }
        world.pass(Duration::from_secs(1));
    }
    assert_eq!(world.torrent().have, 20);
    world.audit();
}

#[test]
fn rejects_of_what_was_never_asked_for_are_borne_for_a_while() {
    let mut world = World::new(20, PIECE, false, config());
    let peer = world.seed(1, true);
    for _ in 0..2100 {
        world.say(peer, &Message::RejectRequest(block(0, 0)));
    }
    assert_eq!(world.closed.get(&peer).copied(), fault(PeerFault::Flood));
}

#[test]
fn one_that_does_not_read_what_is_said_ends() {
    let mut world = World::new(20, PIECE, true, config());
    world.network_works = false;
    let peers: Vec<_> = (0..3).map(|host| world.accept(host)).collect();
    for (id, conn) in (0..).zip(&peers) {
        world.shake(*conn, id, true);
    }
    world.pass(Duration::from_secs(3600));
    assert!(peers.iter().all(|conn| world.closed.get(conn) == Some(&CloseReason::NotReading)));
    world.audit();
}

#[test]
fn limits_of_connections_hold() {
    let config = Config { max_connections_per_torrent: 10, ..config() };
    let mut world = World::new(20, PIECE, true, config);
    for n in 0..50 {
        let conn = world.accept(n);
        world.shake(conn, n, true);
    }
    assert_eq!(world.torrent().peers, 10);
    assert!(world.closed.values().all(|reason| *reason == CloseReason::Full));
    world.audit();
}
