//! Who sends wrong bytes is named, by block, and nobody else; and a piece that failed comes to its end whatever they do.

use super::config;
use super::harness::World;
use crate::action::{CloseReason, Notice};
use crate::config::Config;
use crate::fault::PeerFault;
use crate::id::{BLOCK_LEN, ConnId};
use crate::time::Duration;
use crate::view::TorrentState;
use crate::wire::Message;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

const PIECE: u32 = 4 * BLOCK_LEN;
const CORRUPT: CloseReason = CloseReason::Fault(PeerFault::CorruptPiece);

fn complete(world: &World) -> bool {
    world.torrent().state == TorrentState::Seeding
}

fn failures(world: &World) -> usize {
    world.notices.iter().filter(|notice| matches!(notice, Notice::PieceFailed { .. })).count()
}

/// The last numbers of hosts that were banned.
fn banned(world: &World) -> Vec<u8> {
    let addrs = world.notices.iter().filter_map(|notice| match notice {
        Notice::Banned { addr, .. } => Some(*addr),
        _ => None,
    });
    let last = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => panic!("all hosts here have IPv4"),
    };
    addrs.map(last).collect()
}

/// A torrent of one piece: the liar (host 1) sends its first block, wrong, the honest (host 2) the others. It has failed.
fn shared_failure(config: Config, disk_works: bool) -> (World, ConnId, ConnId) {
    let mut world = World::new(1, PIECE, false, config);
    let (liar, honest) = (world.seed(1, false), world.seed(2, false));
    world.say(liar, &Message::Unchoke);
    let first = world.asked(liar)[0];
    world.give_corrupt(liar, first);
    world.say(liar, &Message::Choke);
    world.say(honest, &Message::Unchoke);
    world.disk_works = disk_works;
    world.serve(honest, 3);
    (world, liar, honest)
}

#[test]
fn who_alone_sent_a_bad_piece_is_banned_and_the_piece_comes_from_others() {
    let mut world = World::new(2, PIECE, false, config());
    let liar = world.seed(1, false);
    world.say(liar, &Message::Unchoke);
    while let Some(request) = world.asked(liar).first().copied() {
        world.give_corrupt(liar, request);
    }
    assert_eq!((world.closed.get(&liar), banned(&world)), (Some(&CORRUPT), [1].into()));
    let again = world.accept(1);
    assert_eq!(world.closed.get(&again), Some(&CloseReason::Banned));
    let honest = world.seed(2, false);
    world.say(honest, &Message::Unchoke);
    world.pass(Duration::from_secs(1));
    world.serve(honest, 100);
    assert!(complete(&world));
    world.audit();
}

#[test]
fn who_left_before_the_verdict_on_a_piece_of_its_own_is_banned_all_the_same() {
    let mut world = World::new(2, PIECE, false, config());
    world.disk_works = false;
    let liar = world.seed(1, false);
    world.say(liar, &Message::Unchoke);
    let asked = world.asked(liar);
    asked[..4].iter().for_each(|request| world.give_corrupt(liar, *request));
    world.drop_link(liar);
    world.run_disk();
    assert_eq!(banned(&world), [1]);
    world.audit();
}

#[test]
fn the_liar_in_a_shared_piece_is_banned_when_the_piece_verifies_and_the_honest_is_not() {
    for leaves in [false, true] {
        let (mut world, liar, honest) = shared_failure(config(), true);
        assert_eq!((failures(&world), banned(&world).len()), (1, 0), "nobody is blamed before it is known who lied");
        if leaves {
            world.drop_link(liar);
        }
        world.pass(Duration::from_secs(1));
        world.serve(honest, 4);
        assert!(complete(&world));
        assert_eq!(banned(&world), [1]);
        assert_eq!(world.closed.contains_key(&liar), !leaves);
        assert_eq!(world.closed.get(&honest), Some(&CloseReason::BothComplete));
        let again = world.accept(1);
        assert_eq!(world.closed.get(&again), Some(&CloseReason::Banned));
        world.audit();
    }
}

#[test]
fn a_disk_that_changes_bytes_unnoticed_or_cannot_be_read_blames_nobody() {
    for (first_rots, second_rots, unreadable) in
        [(true, false, false), (false, true, false), (false, false, true), (true, true, false)]
    {
        let (mut world, _, honest) = shared_failure(config(), false);
        // The last write and what it brings: the verdict. Then the honest peer's block rots, or nothing can be read.
        while failures(&world) == 0 {
            world.run_op(0);
        }
        if first_rots {
            world.rot(0, 2);
        }
        world.disk_unreadable = unreadable;
        world.run_disk();
        world.disk_unreadable = false;
        world.pass(Duration::from_secs(1));
        world.serve(honest, 4);
        while world.torrent().have == 0 {
            world.run_op(0);
        }
        if second_rots {
            world.rot(0, 0);
            world.rot(0, 3);
        }
        world.run_disk();
        assert!(complete(&world), "{first_rots} {second_rots} {unreadable}");
        assert_eq!(banned(&world), [], "{first_rots} {second_rots} {unreadable}");
        world.audit();
    }
}

#[test]
fn blocks_that_were_hashed_by_way_of_the_disk_prove_nothing() {
    // The last block comes first, and goes to the disk for want of room; it rots there, and makes the piece fail.
    let mut world = World::new(2, PIECE, false, Config { pool_blocks: 4, ..config() });
    let honest = world.seed(1, false);
    world.say(honest, &Message::Unchoke);
    let asked = world.asked(honest);
    let piece = asked[0].piece;
    world.give(honest, asked[3]);
    world.rot(piece.0, 3);
    asked[..3].iter().for_each(|request| world.give(honest, *request));
    assert_eq!((failures(&world), banned(&world).len()), (1, 0));
    for _ in 0..3 {
        world.serve(honest, 10);
        world.pass(Duration::from_secs(1));
    }
    assert!(complete(&world), "{:?}", world.torrent());
    assert_eq!(banned(&world), []);
    world.audit();
}

#[test]
fn evidence_is_read_before_the_piece_is_asked_for_again_but_not_for_ever() {
    let (mut world, _, honest) = shared_failure(config(), false);
    while failures(&world) == 0 {
        world.run_op(0);
    }
    assert_eq!(world.ops.len(), 1, "one block at a time");
    world.pass(Duration::from_secs(2));
    assert!(world.asked(honest).is_empty(), "it would write over what is being read");
    world.pass(Duration::from_secs(20));
    assert_eq!(world.asked(honest).len(), 4, "a disk that is so slow holds up no piece");
    world.run_op(0);
    world.disk_works = true;
    world.serve(honest, 4);
    assert!(complete(&world));
    assert_eq!(banned(&world), []);
    world.audit();
}

#[test]
fn of_two_copies_in_end_game_the_one_that_came_first_is_judged_and_the_other_sender_is_innocent() {
    let mut world = World::new(1, 2 * BLOCK_LEN, false, config());
    let (liar, honest, other) = (world.seed(1, false), world.seed(2, false), world.seed(3, false));
    [liar, honest, other].iter().for_each(|conn| world.say(*conn, &Message::Unchoke));
    let asked = world.asked(honest);
    assert_eq!((world.asked(liar).len(), asked.len()), (2, 2), "two copies of each block are under way");
    // The honest copy of the first block is half here when the liar's is complete.
    let bytes = world.block_bytes(asked[0]);
    world.peers.get_mut(&honest).unwrap().asked.retain(|request| *request != asked[0]);
    world.send_bytes(honest, &bytes[..5000]);
    world.give_corrupt(liar, asked[0]);
    world.send_bytes(honest, &bytes[5000..]);
    world.serve(honest, 1);
    assert_eq!(failures(&world), 1);
    world.say(liar, &Message::Choke);
    for _ in 0..3 {
        world.pass(Duration::from_secs(1));
        [honest, other].iter().for_each(|conn| world.serve(*conn, 2));
    }
    assert!(complete(&world));
    assert_eq!(banned(&world), [1]);
    world.audit();
}

#[test]
fn a_piece_whose_author_drips_is_open_to_all_when_its_lease_ends() {
    let mut world = World::new(1, 64 * BLOCK_LEN, false, config());
    let (dripper, helper) = (world.seed(1, false), world.seed(2, false));
    world.say(helper, &Message::Unchoke);
    let first = world.asked(helper)[0];
    world.give(helper, first);
    world.say(helper, &Message::Choke);
    world.say(dripper, &Message::Unchoke);
    while let Some(request) = world.asked(dripper).first().copied() {
        world.give_corrupt(dripper, request);
    }
    assert_eq!(failures(&world), 1);
    // The dripper alone lets us ask, and gets the lease.
    world.pass(Duration::from_secs(1));
    assert!(!world.asked(dripper).is_empty());
    world.say(helper, &Message::Unchoke);
    let mut seconds = 0;
    while !complete(&world) && seconds < 1000 {
        if seconds % 20 == 0
            && let Some(request) = world.asked(dripper).first().copied()
        {
            world.give(dripper, request);
        }
        world.serve(helper, 100);
        world.pass(Duration::from_secs(1));
        seconds += 1;
    }
    assert!((50..200).contains(&seconds), "{seconds} s");
    assert_eq!(banned(&world), [1], "for the first try");
    world.audit();
}

#[test]
fn several_liars_that_spoil_a_piece_again_and_again_are_all_found_and_it_ends() {
    let mut world = World::new(3, PIECE, false, config());
    let honest = world.seed(1, false);
    let mut liars: Vec<ConnId> = (2..8).map(|host| world.seed(host, false)).collect();
    world.say(honest, &Message::Unchoke);
    liars.iter().for_each(|conn| world.say(*conn, &Message::Unchoke));
    for second in 0..600 {
        for liar in &liars {
            // Each now and then, and slowly: pieces are shared.
            if let Some(request) = world.asked(*liar).first().copied() {
                if second % 3 == 0 { world.give_corrupt(*liar, request) } else { world.give(*liar, request) }
            }
        }
        world.serve(honest, 1);
        liars.retain(|conn| !world.closed.contains_key(conn));
        world.pass(Duration::from_secs(1));
        if complete(&world) {
            break;
        }
    }
    assert!(complete(&world), "{:?}", world.torrent());
    assert!(!banned(&world).contains(&1));
    assert!(failures(&world) <= 12, "{} failures", failures(&world));
    world.audit();
}

#[test]
fn coming_back_from_another_port_ends_with_the_second_lie() {
    let mut world = World::new(8, PIECE, false, config());
    for (n, port) in [(0, 50_000), (1, 50_001), (2, 50_002)] {
        let conn = ConnId::accepted(100 + n);
        world.accept_from(conn, SocketAddr::from(([10, 0, 1, 1], port)));
        if n == 2 {
            assert_eq!(world.closed.get(&conn), Some(&CloseReason::Banned));
            return;
        }
        world.shake(conn, n as u8, false);
        world.say_bits(conn, |_| true);
        world.say(conn, &Message::Unchoke);
        while let Some(request) = world.asked(conn).first().copied() {
            world.give_corrupt(conn, request);
        }
        assert_eq!(world.closed.get(&conn), Some(&CORRUPT));
    }
}

#[test]
fn a_piece_that_only_a_gone_peer_might_fill_is_open_to_all_again() {
    let (mut world, liar, honest) = shared_failure(config(), true);
    world.pass(Duration::from_secs(1));
    world.serve(honest, 2);
    assert_eq!(world.asked(honest).len(), 2, "half of the second try is here");
    world.drop_link(honest);
    world.say(liar, &Message::Unchoke);
    assert_eq!(world.asked(liar).len(), 2, "also to who lied before and is not yet found out");
    world.serve(liar, 2);
    assert!(complete(&world));
    world.audit();
}

#[test]
fn a_lease_ends_with_its_holder_although_nothing_is_asked_of_it() {
    let (mut world, liar, honest) = shared_failure(Config { pool_blocks: 2, ..config() }, true);
    // The second try belongs to the honest alone. Its first two blocks take up the whole pool, at a disk that is slow.
    world.pass(Duration::from_secs(1));
    world.disk_works = false;
    world.serve(honest, 2);
    assert_eq!((world.asked(honest).len(), world.pool()), (0, (0, 2)));
    world.drop_link(honest);
    world.run_disk();
    world.disk_works = true;
    world.say(liar, &Message::Unchoke);
    assert!(!world.asked(liar).is_empty(), "nobody is waited for who is gone");
    world.serve(liar, 4);
    assert!(complete(&world));
    world.audit();
}
