//! Connections: dials, duplicates, ourselves, idleness.

use super::config;
use super::harness::{INFO_HASH, Said, TORRENT, World};
use crate::action::CloseReason;
use crate::config::Config;
use crate::event::{Command, Event};
use crate::fault::{LinkFault, PeerFault};
use crate::id::{BLOCK_LEN, ConnId};
use crate::time::Duration;
use crate::wire::{ExtendedHandshake, Handshake, Message};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, host], 6881))
}

fn dialled(peers: Vec<SocketAddr>) -> World {
    World::with_peers(4, BLOCK_LEN, false, config(), peers)
}

#[test]
fn half_open_dials_are_bounded_and_hanging_ones_make_way_for_the_first_block_within_5_s() {
    let peers = (0..500u16).map(|n| SocketAddr::from(([10, 9, (n >> 8) as u8, n as u8], 6881))).collect();
    let mut world = dialled(peers);
    let mut id = 0u8;
    for _ in 0..50 {
        assert!(world.engine.view().half_open <= 30);
        // Every second address answers, after a tenth of a second.
        world.pass(Duration::from_millis(100));
        for conn in world.dials.iter().map(|(conn, _)| *conn).collect::<Vec<_>>() {
            let answers = world.dials.iter().position(|(dial, to)| *dial == conn && to.ip().to_string().len() % 2 == 0);
            if let Some(at) = answers {
                world.dial_succeeds(at);
                id = id.wrapping_add(1);
                world.shake(conn, id, true);
                world.say(conn, &Message::HaveAll);
                world.say(conn, &Message::Unchoke);
                world.serve(conn, 1);
            }
        }
        if world.torrent().downloaded_bytes > 0 {
            break;
        }
    }
    assert!(world.torrent().downloaded_bytes > 0 && world.now.as_micros() < 5_000_000);
    world.audit();
}

#[test]
fn a_dial_that_hangs_is_given_up_and_tried_again_ever_later() {
    let mut world = dialled(vec![addr(1)]);
    let mut times = vec![];
    for _ in 0..2000 {
        if !world.dials.is_empty() {
            times.push(world.now.as_micros() / 1_000_000);
            world.dials.clear();
        }
        world.pass(Duration::from_secs(1));
    }
    assert!((6..=12).contains(&times.len()), "{times:?}");
    assert!(world.closed.values().all(|reason| *reason == CloseReason::DialTimeout));
}

#[test]
fn dials_that_fail_at_once_are_no_port_scan() {
    let peers = (0..3000u32).map(|n| SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 6881))).collect();
    let mut world = dialled(peers);
    let mut dials = 0;
    for _ in 0..20 {
        while let Some((conn, _)) = world.dials.pop() {
            dials += 1;
            world.handle(Event::Dialed { conn, outcome: Err(LinkFault::Refused) });
        }
        world.pass(Duration::from_millis(100));
    }
    assert!(dials <= 180, "{dials} dials in two seconds");
    world.audit();
}

#[test]
fn a_second_link_to_one_peer_is_closed() {
    let mut world = dialled(vec![]);
    let first = world.seed(1, true);
    let second = world.accept(1);
    world.shake(second, 1, true);
    assert_eq!(world.closed.get(&second), Some(&CloseReason::Duplicate));
    assert!(!world.closed.contains_key(&first));
    world.audit();
}

#[test]
fn a_copied_id_from_another_host_pushes_nobody_out() {
    let mut world = dialled(vec![addr(1)]);
    let first = world.dial_succeeds(0);
    world.shake(first, 1, true);
    let thief = world.accept(66);
    world.shake(thief, 1, true);
    assert_eq!(world.closed.get(&thief), Some(&CloseReason::Duplicate));
    assert_eq!(world.torrent().peers, 1);
    world.audit();
}

/// Which of two crossed dials stays, by whether ours is the greater id and which handshake comes first.
fn crossed(their_id: u8, ours_first: bool) -> bool {
    let mut world = dialled(vec![addr(1)]);
    let ours = world.dial_succeeds(0);
    let theirs = world.accept(1);
    let order = if ours_first { [ours, theirs] } else { [theirs, ours] };
    order.iter().for_each(|conn| world.shake(*conn, their_id, true));
    assert_eq!(world.torrent().peers, 1);
    let kept_ours = world.closed.contains_key(&theirs);
    world.audit();
    kept_ours
}

#[test]
fn of_crossed_dials_both_ends_keep_the_one_of_the_greater_id() {
    for ours_first in [true, false] {
        assert!(crossed(0, ours_first), "our id is greater: our dial stays");
        assert!(!crossed(255, ours_first), "their id is greater: their dial stays");
    }
}

#[test]
fn our_own_id_coming_back_is_closed_and_never_dialled_again() {
    let mut world = dialled(vec![addr(1)]);
    let conn = world.dial_succeeds(0);
    let mut bytes = vec![];
    Handshake::new(INFO_HASH, world.engine.peer_id()).encode(&mut bytes);
    world.send_bytes(conn, &bytes);
    assert_eq!(world.closed.get(&conn), Some(&CloseReason::Ourselves));
    world.pass(Duration::from_secs(7200));
    assert!(world.dials.is_empty());
    world.handle(Event::Command(Command::AddPeers { torrent: TORRENT, peers: vec![addr(1)] }));
    assert!(world.dials.is_empty());
    world.audit();
}

#[test]
fn our_own_address_in_a_list_is_not_dialled() {
    let config = Config { own_ips: vec![addr(1).ip()], ..config() };
    let world = World::with_peers(4, BLOCK_LEN, false, config, vec![addr(1), addr(2)]);
    assert_eq!(world.dials.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [addr(2)]);
}

#[test]
fn what_most_peers_call_us_is_our_address_and_what_one_says_is_not() {
    let mut world = dialled((1..=4).map(addr).collect());
    let own: IpAddr = "10.0.9.9".parse().unwrap();
    let conns: Vec<ConnId> = (0..4).map(|_| world.dial_succeeds(0)).collect();
    for (n, conn) in conns.iter().enumerate() {
        assert!(world.engine.view().external_ips.is_empty(), "{n} of 4 have said it");
        world.shake(*conn, n as u8 + 1, true);
        let said = if n == 0 { addr(4).ip() } else { own };
        let mut payload = vec![];
        ExtendedHandshake { yourip: Some(said), ..ExtendedHandshake::default() }.encode(&mut payload);
        (0..10).for_each(|_| world.say(*conn, &Message::Extended { id: 0, payload: &payload }));
    }
    assert_eq!(world.engine.view().external_ips, [own]);
    let peers = vec![SocketAddr::new(own, 6881)];
    world.handle(Event::Command(Command::AddPeers { torrent: TORRENT, peers }));
    assert!(world.dials.iter().all(|(_, to)| to.ip() != own), "ourselves");
    world.audit();
}

#[test]
fn a_peer_of_several_addresses_is_found_again_at_each_when_its_link_is_gone() {
    let mut world = dialled(vec![addr(1), addr(2)]);
    let (first, second) = (world.dial_succeeds(0), world.dial_succeeds(0));
    world.shake(first, 1, true);
    world.shake(second, 1, true);
    assert_eq!(world.closed.get(&second), Some(&CloseReason::Duplicate));
    world.drop_link(first);
    let mut again = vec![];
    for _ in 0..20 {
        world.pass(Duration::from_secs(1));
        again.extend(world.dials.iter().map(|(_, to)| *to));
    }
    again.sort();
    again.dedup();
    assert_eq!(again, [addr(1), addr(2)]);
    world.audit();
}

#[test]
fn a_link_that_carried_blocks_is_made_again_soon_however_often_it_breaks() {
    let mut world = World::with_peers(20, BLOCK_LEN, false, config(), vec![addr(1)]);
    for _ in 0..8 {
        let conn = world.dial_succeeds(0);
        world.shake(conn, 1, true);
        world.say(conn, &Message::HaveAll);
        world.say(conn, &Message::Unchoke);
        world.serve(conn, 2);
        world.drop_link(conn);
        world.pass(Duration::from_secs(4));
        assert_eq!(world.dials.len(), 1);
    }
    assert_eq!(world.torrent().have, 16);
    world.audit();
}

#[test]
fn something_is_said_at_least_every_two_minutes() {
    let mut world = dialled(vec![]);
    let peer = world.seed(1, false);
    world.news(peer);
    for _ in 0..10 {
        world.pass(Duration::from_secs(50));
        world.say(peer, &Message::KeepAlive);
    }
    let alive = world.news(peer).iter().filter(|said| **said == Said::Plain("keep-alive")).count();
    assert!((4..=5).contains(&alive), "{alive}");
    assert!(world.closed.is_empty());
    world.audit();
}

#[test]
fn a_peer_that_says_nothing_is_closed_and_one_that_keeps_the_customary_two_minutes_is_not() {
    let mut world = dialled(vec![]);
    let (silent, alive) = (world.seed(1, false), world.seed(2, false));
    for _ in 0..3 {
        world.pass(Duration::from_secs(121));
        world.say(alive, &Message::KeepAlive);
    }
    assert_eq!(world.closed.get(&silent), Some(&CloseReason::Idle));
    assert!(!world.closed.contains_key(&alive), "its clock may be a second late");
    world.audit();
}

#[test]
fn two_that_have_everything_part() {
    let mut world = World::new(4, BLOCK_LEN, true, config());
    let peer = world.seed(1, false);
    assert_eq!(world.closed.get(&peer), Some(&CloseReason::BothComplete));
    world.audit();
}

#[test]
fn bytes_and_ends_of_links_that_are_gone_are_nothing() {
    let mut world = dialled(vec![]);
    let peer = world.seed(1, false);
    world.drop_link(peer);
    for conn in [peer, ConnId::dialed(77), ConnId::accepted(77)] {
        world.handle(Event::Received { conn, bytes: &mut [1, 2, 3] });
        world.handle(Event::Flushed { conn, bytes: 5 });
        world.handle(Event::Dialed { conn, outcome: Err(LinkFault::Reset) });
        world.handle(Event::Closed { conn, fault: LinkFault::Reset });
    }
    assert!(world.closed.is_empty());
    world.audit();
}

#[test]
fn who_came_in_and_says_nothing_counts_among_all_connections() {
    let peers = (1..=10).map(addr).collect();
    let mut world = World::with_peers(4, BLOCK_LEN, false, Config { max_connections: 4, ..config() }, vec![]);
    let silent = [world.accept(50), world.accept(51)];
    world.handle(Event::Command(Command::AddPeers { torrent: TORRENT, peers }));
    assert_eq!((world.dials.len(), world.engine.view().connections), (2, 4), "two places are left to dial");
    world.drop_link(silent[0]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.engine.view().connections, 4);
    world.audit();
}

#[test]
fn a_torrent_dials_no_more_than_it_may_have_connections() {
    let config = Config { max_connections_per_torrent: 5, ..config() };
    let mut world = World::with_peers(4, BLOCK_LEN, false, config, (1..=30).map(addr).collect());
    for id in 1..=30 {
        world.pass(Duration::from_secs(1));
        if !world.dials.is_empty() {
            let conn = world.dial_succeeds(0);
            world.shake(conn, id, true);
        }
        assert!(world.torrent().peers <= 5);
    }
    assert_eq!((world.torrent().peers, world.dials.len()), (5, 0));
    world.audit();
}

#[test]
fn who_takes_our_dial_and_says_nothing_is_closed_in_time() {
    let mut world = dialled(vec![addr(1)]);
    let conn = world.dial_succeeds(0);
    world.pass(config().handshake_timeout);
    assert_eq!(world.closed.get(&conn), Some(&CloseReason::Fault(PeerFault::HandshakeTimeout)));
    world.audit();
}
