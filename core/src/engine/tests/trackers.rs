//! What a tracker can make us do.

use super::config;
use super::harness::{Said, TORRENT, World};
use crate::action::{Action, Notice, Operation, Refusal};
use crate::announce::HEDGE_AFTER;
use crate::candidates::MAX_CANDIDATES;
use crate::config::{ActiveLimits, Config};
use crate::event::{Command, Event};
use crate::id::BLOCK_LEN;
use crate::time::Duration;
use crate::tracker::Swarm;
use crate::tracker::http::encode_scrape;
use crate::wire::Message;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

const URL: &str = "http://10.0.0.9:6969/announce";

fn reply(peers: &[SocketAddr]) -> Vec<u8> {
    let mut body = format!("d8:completei3e8:intervali1800e5:peers{}:", peers.len() * 6).into_bytes();
    for peer in peers {
        let IpAddr::V4(ip) = peer.ip() else { continue };
        body.extend(ip.octets());
        body.extend(peer.port().to_be_bytes());
    }
    body.push(b'e');
    body
}

#[test]
fn ports_of_other_services_and_our_own_address_in_a_trackers_list_are_not_dialled() {
    let own = IpAddr::from([10, 0, 0, 1]);
    let mut world = World::tracked(Config { own_ips: vec![own], ..config() }, vec![URL]);
    let good = SocketAddr::from(([10, 0, 5, 5], 6881));
    let list = [([10, 0, 5, 5], 22), ([10, 0, 5, 5], 1023), ([10, 0, 0, 1], 6881), ([224, 0, 0, 1], 6881)];
    let mut list: Vec<SocketAddr> = list.into_iter().map(SocketAddr::from).collect();
    list.push(good);
    world.answer_fetch(reply(&list));
    assert_eq!(world.dials.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [good]);
    world.pass(Duration::from_secs(1800));
    assert!(world.dials.iter().all(|(_, to)| *to == good));
}

#[test]
fn as_many_peers_as_a_reply_can_hold_cost_a_bounded_list_and_bounded_dials() {
    let mut world = World::tracked(config(), vec![URL]);
    let list: Vec<SocketAddr> =
        (0..170_000).map(|n| SocketAddr::from((Ipv4Addr::from_bits(0x0a10_0000 + n), 6881))).collect();
    world.answer_fetch(reply(&list));
    assert!(world.torrent().candidates as usize <= MAX_CANDIDATES);
    assert_eq!(world.dials.len(), 30);
    for _ in 0..60 {
        world.pass(Duration::from_secs(1));
        assert!(world.engine.view().half_open <= 30 && world.torrent().candidates as usize <= MAX_CANDIDATES);
    }
}

#[test]
fn no_more_trackers_are_asked_at_a_time_than_may_be() {
    let mut world = World::tracked(Config { max_announces: 1, ..config() }, vec![URL]);
    assert_eq!(world.ops.len(), 1);
    world.answer_fetch(reply(&[]));
    let mut world = World::tracked(Config { max_announces: 0, ..config() }, vec![URL]);
    world.pass(Duration::from_secs(10));
    assert!(world.ops.is_empty(), "{:?}", world.ops);
}

#[test]
fn a_tracker_that_hangs_does_not_hold_up_the_download_nor_the_end() {
    let mut world = World::tracked(config(), vec![URL]);
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.disk_works = false;
    world.serve(peer, 2);
    assert!(world.news(peer).iter().any(|said| matches!(said, Said::Request(r) if r.len <= BLOCK_LEN)));
    while let Some(at) = world.ops.iter().position(|(_, operation)| !matches!(operation, Operation::Fetch(_))) {
        world.run_op(at);
    }
    assert_eq!(world.torrent().have, 2);
    let begun = world.now;
    world.handle(Event::Command(Command::Shutdown));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.notices.last(), Some(&Notice::ShutDown));
    assert!(world.now.since(begun) <= Duration::from_secs(5));
    assert!(!matches!(world.engine.poll_action(), Some(Action::Submit { .. })));
}

#[test]
fn our_address_as_a_tracker_tells_it_is_not_dialled_and_is_shown() {
    let mut world = World::tracked(config(), vec![URL]);
    let (ourselves, other) = (SocketAddr::from(([10, 0, 7, 7], 6881)), SocketAddr::from(([10, 0, 7, 8], 6881)));
    let told = [&b"d11:external ip4:\x0a\0\x07\x07"[..], &reply(&[ourselves, other])[1..]].concat();
    world.answer_fetch(told);
    assert_eq!(world.dials.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [other]);
    assert_eq!(world.engine.view().external_ips, [ourselves.ip()]);
    world.audit();
}

#[test]
fn whoever_asks_for_an_announce_has_it_as_soon_as_the_tracker_allows() {
    let mut world = World::tracked(config(), vec![URL]);
    world.answer_fetch(reply(&[]));
    world.pass(Duration::from_secs(100));
    assert!(world.ops.is_empty(), "not due for half an hour");
    world.handle(Event::Command(Command::Reannounce { torrent: TORRENT }));
    assert!(matches!(&world.ops[..], [(_, Operation::Fetch(_))]));
}

#[test]
fn a_tracker_added_by_hand_is_asked_when_the_others_give_nothing() {
    let mut world = World::tracked(config(), vec![URL]);
    let urls = vec!["http://10.0.0.8:80/announce".into()];
    world.handle(Event::Command(Command::AddTrackers { torrent: TORRENT, urls }));
    // The first keeps silent.
    world.pass(HEDGE_AFTER);
    let asked = world.ops.iter().filter_map(|(_, operation)| match operation {
        Operation::Fetch(fetch) => Some(fetch.addr),
        _ => None,
    });
    let added = SocketAddr::from(([10, 0, 0, 8], 80));
    assert!(asked.clone().any(|to| to == added), "{:?}", asked.collect::<Vec<_>>());
}

#[test]
fn a_scrape_ends_with_a_pause_also_when_the_torrent_was_silent_before() {
    let mut world = World::tracked(config(), vec![URL]);
    world.answer_fetch(reply(&[]));
    let limits = ActiveLimits { downloads: Some(0), seeds: Some(0) };
    world.handle(Event::Command(Command::SetActiveLimits { limits }));
    world.answer_fetch(reply(&[]));
    world.handle(Event::Command(Command::Scrape { torrent: TORRENT }));
    world.handle(Event::Command(Command::Pause { torrent: None }));
    world.answer_fetch(encode_scrape(world.torrent().info_hash, &Swarm::default()));
    let scraped = |notice: &Notice| matches!(notice, Notice::Scraped { .. });
    assert!(!world.notices.iter().any(scraped), "nobody waits for it");
    assert_eq!(world.engine.poll_timeout(), None);
}

#[test]
fn a_paused_torrent_is_scraped_when_somebody_asks_and_a_removed_one_waits_for_no_answer() {
    let mut world = World::tracked(config(), vec![URL]);
    world.answer_fetch(reply(&[]));
    assert_eq!(world.torrent().swarm, Swarm { complete: Some(3), ..Swarm::default() });
    world.handle(Event::Command(Command::Pause { torrent: None }));
    world.answer_fetch(reply(&[]));
    world.pass(Duration::from_secs(7200));
    assert!(world.ops.is_empty(), "silent");
    world.handle(Event::Command(Command::Scrape { torrent: TORRENT }));
    let (_, Operation::Fetch(fetch)) = &world.ops[0] else { panic!("nobody is asked") };
    assert!(fetch.target.starts_with("/scrape?info_hash="), "{}", fetch.target);
    let swarm = Swarm { complete: Some(1), incomplete: Some(0), downloaded: Some(9) };
    world.answer_fetch(encode_scrape(world.torrent().info_hash, &swarm));
    assert_eq!(world.torrent().swarm, swarm);
    let trackers = world.engine.trackers(TORRENT);
    assert_eq!(
        trackers.iter().map(|tracker| (tracker.url.as_str(), tracker.swarm)).collect::<Vec<_>>(),
        [(URL, swarm)]
    );
    assert!(matches!(world.notices.last(), Some(Notice::Scraped { result: Ok(said), .. }) if *said == swarm));
    world.pass(Duration::from_secs(60));
    world.handle(Event::Command(Command::Scrape { torrent: TORRENT }));
    world.handle(Event::Command(Command::Remove { torrent: TORRENT, delete_data: false }));
    world.handle(Event::Command(Command::Scrape { torrent: TORRENT }));
    let refused = Notice::Refused { torrent: TORRENT, why: Refusal::Leaving };
    assert!(world.notices.contains(&refused));
    // What was given up ends as well.
    world.run_disk();
    assert_eq!(world.notices.last(), Some(&Notice::Removed { torrent: TORRENT, fault: None }));
    assert!(world.engine.view().torrents.is_empty() && world.engine.poll_timeout().is_none());
}
