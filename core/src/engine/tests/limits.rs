//! Limits of rate, seen from the peers.

use super::harness::{Said, TORRENT, World};
use super::{block, config};
use crate::config::{Config, RateLimits};
use crate::event::{Command, Event};
use crate::id::{BLOCK_LEN, ConnId};
use crate::time::Duration;
use crate::wire::Message;

fn limited(down: u64, up: u64) -> Config {
    Config { limits: RateLimits { down, up }, ..config() }
}

fn set(world: &mut World, all: bool, down: u64, up: u64) {
    let torrent = (!all).then_some(TORRENT);
    world.handle(Event::Command(Command::SetLimits { torrent, limits: RateLimits { down, up } }));
}

/// A peer that is served and asks for `blocks` blocks of piece 0.
fn taker(world: &mut World, host: u8, blocks: u32) -> ConnId {
    let conn = world.accept(host);
    world.shake(conn, host, true);
    world.say_bits(conn, |_| false);
    world.say(conn, &Message::Interested);
    (0..blocks).for_each(|n| world.say(conn, &Message::Request(block(0, n))));
    conn
}

fn sent(world: &World, conn: ConnId) -> usize {
    world.peers[&conn].raw.len()
}

#[test]
fn payload_leaves_at_the_limit_and_messages_at_once() {
    let mut world = World::new(2, 16 * BLOCK_LEN, true, limited(0, 40_000));
    let (first, second) = (taker(&mut world, 1, 16), taker(&mut world, 2, 16));
    let before = sent(&world, first) + sent(&world, second);
    world.pass(Duration::from_secs(10));
    let bytes = sent(&world, first) + sent(&world, second) - before;
    assert!((397_000..=400_000 + 16_384).contains(&bytes), "{bytes} in ten seconds");
    world.news(second);
    // Its block is not begun: what is said to it does not wait.
    let third = taker(&mut world, 3, 1);
    assert!(world.news(third).contains(&Said::Plain("unchoke")));
    world.pass(Duration::from_secs(3600));
    world.audit();
}

#[test]
fn a_limit_that_goes_lets_go_what_it_held() {
    let mut world = World::new(2, 16 * BLOCK_LEN, true, config());
    set(&mut world, false, 0, 1);
    let conn = taker(&mut world, 1, 8);
    world.pass(Duration::from_secs(5));
    assert!(sent(&world, conn) < 1000);
    set(&mut world, true, 0, 1);
    set(&mut world, false, 0, 0);
    assert!(sent(&world, conn) < 1000, "the limit of all is still there");
    set(&mut world, true, 0, 0);
    assert!(sent(&world, conn) > 8 * BLOCK_LEN as usize);
    world.audit();
}

#[test]
fn a_block_that_is_half_sent_survives_a_cancel_and_a_limit_that_comes_and_goes() {
    let mut world = World::new(2, 16 * BLOCK_LEN, true, limited(0, 1000));
    let conn = taker(&mut world, 1, 3);
    world.pass(Duration::from_secs(5));
    world.say(conn, &Message::Cancel(block(0, 0)));
    world.say(conn, &Message::Cancel(block(0, 2)));
    set(&mut world, true, 0, 0);
    set(&mut world, true, 0, 2000);
    world.say(conn, &Message::Request(block(0, 5)));
    world.pass(Duration::from_secs(60));
    let answers: alloc::vec::Vec<Said> =
        world.news(conn).into_iter().filter(|said| matches!(said, Said::Block(_) | Said::Reject(_))).collect();
    let rejected = Said::Reject(block(0, 2));
    assert_eq!(answers, [Said::Block(block(0, 0)), rejected, Said::Block(block(0, 1)), Said::Block(block(0, 5))]);
    world.audit();
}

#[test]
fn under_a_limit_little_is_asked_for() {
    let mut world = World::new(40, 16 * BLOCK_LEN, false, limited(5000, 0));
    let conns = [1, 2, 3].map(|host| world.seed(host, true));
    conns.iter().for_each(|conn| world.say(*conn, &Message::Unchoke));
    let asked: usize = conns.iter().map(|conn| world.asked(*conn).len()).sum();
    assert!((3..=6).contains(&asked), "{asked} blocks are under way");
    world.audit();
}

#[test]
fn keep_alives_do_not_excuse_who_sends_no_block_under_a_limit() {
    let mut world = World::new(4, 16 * BLOCK_LEN, false, limited(20_000, 0));
    let silent = world.seed(1, true);
    world.say(silent, &Message::Unchoke);
    let is_snubbed = |world: &World| world.engine.peers(TORRENT)[0].snubbed;
    assert!(!world.asked(silent).is_empty() && !is_snubbed(&world));
    for _ in 0..70 {
        world.pass(Duration::from_secs(1));
        (0..20).for_each(|_| world.say(silent, &Message::KeepAlive));
    }
    assert!(is_snubbed(&world), "each turn in line is short, and the rest of the time is its own");
}

#[test]
fn messages_that_kept_to_the_limit_are_not_owed_when_payload_is_asked_for() {
    // All but one piece come.
    let mut world = World::new(26, 16 * BLOCK_LEN, false, config());
    set(&mut world, false, 0, 3000);
    let seed = world.seed(1, true);
    world.say(seed, &Message::Unchoke);
    for _ in 0..400 {
        world.serve(seed, 1);
        world.pass(Duration::from_millis(50));
    }
    let conn = taker(&mut world, 2, 4);
    (0..4).for_each(|n| world.say(conn, &Message::Request(block(1, n))));
    // What the limit gave and nobody used stands in the bucket, less a second's messages.
    assert!(sent(&world, conn) > 12_000, "{} bytes", sent(&world, conn));
    world.audit();
}

#[test]
fn a_limit_above_any_grant_comes_and_goes() {
    let mut world = World::new(400, 16 * BLOCK_LEN, false, limited(4_000_000_000, 0));
    let seed = world.seed(1, true);
    world.say(seed, &Message::Unchoke);
    for _ in 0..600 {
        world.serve(seed, 8);
        world.pass(Duration::from_millis(10));
    }
    set(&mut world, true, 0, 0);
    world.serve(seed, 8);
    world.audit();
}

#[test]
fn a_stranger_may_send_a_handshake_and_no_more() {
    let mut world = World::new(2, 16 * BLOCK_LEN, true, config());
    let conn = world.accept(1);
    assert_eq!(world.peers[&conn].allowed, 128);
    set(&mut world, true, 1000, 0);
    set(&mut world, true, 0, 0);
    assert_eq!(world.peers[&conn].allowed, 128, "whatever is set");
    world.shake(conn, 1, true);
    assert!(world.peers[&conn].allowed > 1_000_000, "its torrent has no limit");
    // The limit of one torrent: it is known who is meant before more is read.
    set(&mut world, false, 1000, 0);
    let limited = world.accept(2);
    world.shake(limited, 2, true);
    assert_eq!(world.peers[&limited].allowed, 128);
    world.audit();
}

#[test]
fn what_was_said_to_a_peer_that_is_gone_counts_too_and_is_not_paid_from_before() {
    for (bytes_per_s, pause, most) in [(40_000, Duration::ZERO, 7_000), (14_000, Duration::from_millis(2900), 9_000)] {
        let mut world = World::new(2, 16 * BLOCK_LEN, true, config());
        set(&mut world, false, 0, bytes_per_s);
        let flood = world.accept(1);
        world.shake(flood, 1, true);
        world.say_bits(flood, |_| false);
        world.pass(pause);
        (0..500).for_each(|_| world.say(flood, &Message::Request(block(0, 0))));
        assert!(sent(&world, flood) > 500 * 17, "each is refused");
        world.drop_link(flood);
        let conn = taker(&mut world, 2, 4);
        assert!(sent(&world, conn) < most, "{} bytes", sent(&world, conn));
        world.audit();
    }
}
