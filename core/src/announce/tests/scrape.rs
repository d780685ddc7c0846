//! How large the swarm is: who is asked, when, and what is shown.

use super::super::scrape::{MAX_SCRAPES, MIN_SCRAPE_PAUSE, SCRAPE_TIMEOUT};
use super::*;
use crate::tracker::MAX_REPLY_BYTES;
use crate::tracker::http::{encode_failure, encode_scrape};

const HASH: InfoHash = InfoHash::V1([1; 20]);

fn swarm(complete: u32, incomplete: u32, downloaded: u32) -> Swarm {
    Swarm { complete: Some(complete), incomplete: Some(incomplete), downloaded: Some(downloaded) }
}

impl World {
    fn shown(&self) -> Vec<String> {
        self.announcer.trackers().iter().map(|tracker| counts(&tracker.swarm)).collect()
    }

    /// An answer to an announce without counts.
    fn answer_without_counts(&mut self, ip: &str) {
        self.answer_with(ip, 200, b"d8:intervali1800e5:peers0:e");
    }
}

#[test]
fn an_answer_to_an_announce_tells_how_large_the_swarm_is_and_nothing_more_is_asked() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer("1.0.0.1");
    assert_eq!(world.shown(), ["1/2/?"]);
    world.run_to(1799);
    assert_eq!(world.logged("scrape"), 0);
}

#[test]
fn who_names_no_counts_is_scraped_after_its_answer_but_seldom() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer_without_counts("1.0.0.1");
    assert_eq!(world.logged("fetch 1.0.0.1:80 scrape"), 1);
    world.answer_with("1.0.0.1", 200, &encode_scrape(HASH, &swarm(3, 4, 5)));
    assert_eq!(world.shown(), ["3/4/5"]);
    for n in 1..10 {
        world.run_to(n * 120);
        world.tell(AnnounceEvent::Again);
        if world.fetch("1.0.0.1").is_some() {
            world.answer_without_counts("1.0.0.1");
        }
    }
    assert!(world.logged("answered") > 5);
    assert_eq!(world.logged("fetch 1.0.0.1:80 scrape"), 1, "within half an hour");
}

#[test]
fn who_cannot_be_scraped_is_not() {
    let mut world = World::started(&[&["http://1.0.0.1/a", "http://1.0.0.1/announce/x", "ftp://x/announce"]]);
    world.tell(AnnounceEvent::Scrape);
    world.answer_without_counts("1.0.0.1");
    world.tell(AnnounceEvent::Scrape);
    assert_eq!(world.logged("scrape"), 0);
}

#[test]
fn a_user_asks_all_trackers_in_either_protocol() {
    let mut world = World::started(&[&["http://1.0.0.1/announce?key=1"], &["udp://2.0.0.2:80/x"]]);
    world.answer("1.0.0.1");
    world.tell(AnnounceEvent::Scrape);
    let (_, fetch) = world.fetch("1.0.0.1").unwrap();
    assert!(fetch.target.starts_with("/scrape?key=1&info_hash=%01%01"), "{}", fetch.target);
    assert_eq!(fetch.max_body_bytes, MAX_REPLY_BYTES);
    world.answer_with("1.0.0.1", 200, &encode_scrape(HASH, &swarm(3, 4, 5)));
    assert!(matches!(world.serve_udp(), Request::Connect { .. }));
    assert!(matches!(world.serve_udp(), Request::Scrape { info_hashes, .. } if info_hashes == [HASH]));
    assert_eq!(world.shown(), ["3/4/5", "7/8/9"]);
    assert_eq!(world.announcer.swarm(), swarm(7, 8, 9));
    assert_eq!(world.logged("scraped http://1.0.0.1/announce 3/4/5"), 1);
}

#[test]
fn a_connection_id_serves_an_announce_and_a_scrape() {
    let mut world = World::started(&[&["udp://2.0.0.2:80"]]);
    world.tell(AnnounceEvent::Scrape);
    assert!(matches!(world.serve_udp(), Request::Connect { .. }));
    assert!(matches!(world.serve_udp(), Request::Connect { .. }));
    assert!(matches!(world.serve_udp(), Request::Announce { .. }));
    assert!(matches!(world.serve_udp(), Request::Scrape { .. }));
    world.run_to(59);
    world.tell(AnnounceEvent::Scrape);
    assert!(world.datagrams.is_empty(), "it was asked within the last minute");
    world.now = Instant::ZERO + MIN_SCRAPE_PAUSE;
    world.tell(AnnounceEvent::Scrape);
    assert!(matches!(world.serve_udp(), Request::Connect { .. }), "the id is too old");
}

#[test]
fn who_asks_over_and_over_asks_trackers_once_a_minute() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer("1.0.0.1");
    for second in 1..=120 {
        world.run_to(second);
        (0..5).for_each(|_| world.tell(AnnounceEvent::Scrape));
        if world.fetch("1.0.0.1").is_some() {
            world.answer_with("1.0.0.1", 200, &encode_scrape(HASH, &swarm(1, 1, second as u32)));
        }
    }
    assert_eq!(world.logged("scraped"), 2);
}

#[test]
fn two_hundred_hanging_trackers_are_scraped_four_at_a_time() {
    let urls: Vec<String> = (0..200).map(|n| format!("http://1.0.0.{n}/announce")).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let mut world = World::new(&[&urls]);
    world.tell(AnnounceEvent::Scrape);
    assert_eq!(world.open.len(), MAX_SCRAPES);
    world.run_to(50 * SCRAPE_TIMEOUT.as_secs());
    assert_eq!((world.open.len(), world.logged("not scraped"), world.announcer.poll_timeout()), (0, 200, None));
}

#[test]
fn who_is_paused_keeps_what_was_known_and_may_ask() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer("1.0.0.1");
    world.tell(AnnounceEvent::Stop);
    world.answer("1.0.0.1");
    assert!(world.stopped);
    assert_eq!(world.shown(), ["1/2/?"]);
    world.run_to(10_000);
    assert_eq!(world.logged("fetch"), 2, "by itself it asks nothing");
    world.tell(AnnounceEvent::Scrape);
    world.answer_with("1.0.0.1", 200, &encode_scrape(HASH, &swarm(0, 4, 5)));
    assert_eq!(world.shown(), ["0/4/5"]);
    assert_eq!(world.announcer.poll_timeout(), None);
}

#[test]
fn a_stop_ends_what_was_asked_before() {
    let mut world = World::new(&[&["http://1.0.0.1/announce"], &["udp://2.0.0.2:80"]]);
    world.tell(AnnounceEvent::Scrape);
    world.tell(AnnounceEvent::Stop);
    assert_eq!((world.logged("abort"), world.open.len(), world.announcer.poll_timeout()), (1, 0, None));
}

#[test]
fn what_is_asked_while_the_goodbye_goes_on_is_answered() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer("1.0.0.1");
    world.tell(AnnounceEvent::Stop);
    world.tell(AnnounceEvent::Scrape);
    world.tell(AnnounceEvent::Stop);
    world.run_to(5);
    assert!(world.stopped);
    world.answer_with("1.0.0.1", 200, &encode_scrape(HASH, &swarm(0, 1, 5)));
    assert_eq!(world.shown(), ["0/1/5"]);
    world.run_to(100);
    world.tell(AnnounceEvent::Scrape);
    world.tell(AnnounceEvent::EndScrapes);
    assert_eq!((world.open.len(), world.announcer.poll_timeout()), (0, None));
}

#[test]
fn a_tracker_that_goes_is_not_waited_for() {
    let mut world = World::new(&[&["http://1.0.0.1/announce"]]);
    world.tell(AnnounceEvent::Scrape);
    world.tell(AnnounceEvent::ReplaceTrackers(vec![vec!["http://1.0.0.2/announce".to_string()]]));
    assert_eq!((world.logged("abort"), world.open.len()), (1, 0));
    world.tell(AnnounceEvent::Scrape);
    world.answer_with("1.0.0.2", 200, &encode_scrape(HASH, &swarm(1, 2, 3)));
    assert_eq!(world.shown(), ["1/2/3"]);
}

#[test]
fn a_scrape_that_fails_says_so_and_changes_nothing_else() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer("1.0.0.1");
    let planned = world.announcer.next_round;
    for (n, (status, body)) in
        [(200, b"<html>".to_vec()), (404, Vec::new()), (200, encode_failure("no")), (500, encode_failure("broken"))]
            .into_iter()
            .enumerate()
    {
        world.run_to(60 * (n as u64 + 1));
        world.tell(AnnounceEvent::Scrape);
        world.answer_with("1.0.0.1", status, &body);
        assert_eq!(world.logged("not scraped"), n + 1);
    }
    assert_eq!(world.logged("the tracker says: no"), 1);
    assert_eq!((world.shown(), world.announcer.next_round), (vec!["1/2/?".to_string()], planned));
    assert_eq!(world.logged(" failed "), 0);
}

#[test]
fn an_answer_to_something_else_is_none() {
    let mut world = World::new(&[&["udp://2.0.0.2:80"]]);
    world.tell(AnnounceEvent::Scrape);
    world.serve_udp();
    let (to, Request::Scrape { transaction, .. }) = world.udp() else { panic!("not a scrape") };
    world.datagram(to, &Response::Announce { transaction, reply: a_reply() });
    assert!(world.peers.is_empty());
    world.datagram(to, &Response::Scrape { transaction, swarms: Vec::new() });
    assert_eq!(world.logged("not scraped udp://2.0.0.2:80/: the answer makes no sense: a scrape without counts"), 1);
}

#[test]
fn a_redirected_scrape_is_followed_but_never_home() {
    let mut world = World::new(&[&["http://1.0.0.1/announce"]]);
    world.tell(AnnounceEvent::Scrape);
    world.redirect("1.0.0.1", "http://2.0.0.2/other?info_hash=x");
    assert_eq!(world.fetch("2.0.0.2").unwrap().1.target, "/other?info_hash=x");
    world.redirect("2.0.0.2", "http://127.0.0.1/scrape");
    assert_eq!(world.logged("not scraped"), 1);
}

#[test]
fn who_asked_to_be_left_alone_is() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer_with("1.0.0.1", 200, b"d14:failure reason4:busy8:retry ini10ee");
    world.tell(AnnounceEvent::Scrape);
    world.run_to(599);
    world.tell(AnnounceEvent::Scrape);
    assert_eq!(world.logged("scrape"), 0);
}
