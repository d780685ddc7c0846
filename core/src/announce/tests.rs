//! Every rule of the announcer, in virtual time.

use super::attempt::MAX_REDIRECTS;
use super::*;
use crate::action::{Fetch, Operation};
use crate::engine::tests::breaches::check_breaches;
use crate::event::FetchReply;
use crate::id::{InfoHash, PeerId};
use crate::rng::{Rng, Stream};
use crate::tracker::Swarm;
use crate::tracker::http::encode_reply;
use crate::tracker::udp::{Request, Response, decode_request, encode_response};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use proptest::prelude::*;

mod scrape;

/// An announcer, a clock, and what it has asked for.
struct World {
    announcer: Announcer,
    now: Instant,
    totals: Totals,
    has_room: bool,
    open: BTreeMap<RequestId, Operation>,
    datagrams: VecDeque<(SocketAddr, Request)>,
    peers: Vec<SocketAddr>,
    log: Vec<String>,
    stopped: bool,
}

impl World {
    fn new(tiers: &[&[&str]]) -> Self {
        let config = AnnounceConfig {
            info_hash: InfoHash::V1([1; 20]),
            peer_id: PeerId(*b"-SM0001-abcdefghijkl"),
            listen_port: 6881,
            user_agent: "sameseed".to_string(),
            tiers: tiers.iter().map(|tier| tier.iter().map(ToString::to_string).collect()).collect(),
            stop_timeout: Duration::from_secs(4),
        };
        World {
            announcer: Announcer::new(config, Rng::new(&[3; 32], Stream::Announce, 0), Instant::ZERO),
            now: Instant::ZERO,
            totals: Totals { uploaded: 0, downloaded: 0, left: 1000 },
            has_room: true,
            open: BTreeMap::new(),
            datagrams: VecDeque::new(),
            peers: Vec::new(),
            log: Vec::new(),
            stopped: false,
        }
    }

    fn started(tiers: &[&[&str]]) -> Self {
        let mut world = World::new(tiers);
        world.tell(AnnounceEvent::Start);
        world
    }

    fn tell(&mut self, event: AnnounceEvent<'_>) {
        self.announcer.handle(self.now, self.totals, self.has_room, event);
        while let Some(output) = self.announcer.poll_output() {
            self.note(output);
        }
        assert!(self.announcer.poll_timeout().is_none_or(|due| due > self.now), "it spins");
        assert!(self.announcer.attempts.len() <= MAX_GOODBYES);
        let busy = matches!(self.announcer.phase, Phase::Running) && self.announcer.attempts.len() > MAX_IN_FLIGHT;
        assert!(!busy, "too many announces at a time");
        for attempt in &self.announcer.attempts {
            let tracker = &self.announcer.trackers[attempt.tracker];
            let early = match attempt.kind {
                Some(AnnounceKind::Regular) => attempt.began < tracker.not_before(),
                Some(AnnounceKind::Started) => attempt.began < tracker.retry_at,
                Some(AnnounceKind::Completed | AnnounceKind::Stopped) => false,
                None => panic!("a scrape is no announce"),
            };
            assert!(!early, "a tracker was asked sooner than allowed");
        }
        let under_way = self.announcer.attempts.len() + self.announcer.scrapes.len();
        assert!(self.open.len() <= under_way, "a request was forgotten");
        self.announcer.check_invariants();
    }

    fn note(&mut self, output: AnnounceOutput) {
        let line = match output {
            AnnounceOutput::Submit { request, operation } => {
                let line = match &operation {
                    Operation::Resolve { host } => format!("resolve {host}"),
                    Operation::Fetch(fetch) => format!("fetch {} {}", fetch.addr, event_of(fetch)),
                    other => panic!("not an announcer's operation: {other:?}"),
                };
                assert!(self.open.insert(request, operation).is_none());
                line
            }
            AnnounceOutput::Abort { request } => {
                self.open.remove(&request).expect("only what is under way is aborted");
                format!("abort #{}", request.0)
            }
            AnnounceOutput::Datagram { to, bytes } => {
                let request = decode_request(&bytes).expect("a valid packet");
                let line = match &request {
                    Request::Connect { .. } => format!("udp {to} connect"),
                    Request::Announce { announce, .. } => format!("udp {to} {:?}", announce.kind),
                    Request::Scrape { info_hashes, .. } => format!("udp {to} scrape of {}", info_hashes.len()),
                };
                self.datagrams.push_back((to, request));
                line
            }
            AnnounceOutput::Peers(peers) => {
                let line = format!("peers {}", peers.len());
                self.peers.extend(peers);
                line
            }
            AnnounceOutput::OwnIp { from, said } => format!("own ip {said} by {from}"),
            AnnounceOutput::Answered { url, peers, next_in, .. } => {
                format!("answered {url} peers={peers} next={}", next_in.as_secs())
            }
            AnnounceOutput::Failed { url, reason } => format!("failed {url}: {reason}"),
            AnnounceOutput::Scraped { url, result: Ok(swarm) } => format!("scraped {url} {}", counts(&swarm)),
            AnnounceOutput::Scraped { url, result: Err(reason) } => format!("not scraped {url}: {reason}"),
            AnnounceOutput::Stopped => {
                self.stopped = true;
                assert!(self.announcer.attempts.is_empty(), "announces outlive the goodbye");
                "stopped".to_string()
            }
        };
        let tenths = self.now.as_micros() / 100_000;
        self.log.push(format!("{:>5}.{} {line}", tenths / 10, tenths % 10));
    }

    /// Lets time pass, with a tick whenever one is wanted.
    fn run_to(&mut self, secs: u64) {
        let end = Instant::from_secs(secs);
        while let Some(due) = self.announcer.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.tell(AnnounceEvent::Tick);
        }
        self.now = end.max(self.now);
    }

    /// The fetch under way to this address.
    fn fetch(&self, ip: &str) -> Option<(RequestId, Fetch)> {
        self.open.iter().find_map(|(request, operation)| match operation {
            Operation::Fetch(fetch) if fetch.addr.ip().to_string() == ip => Some((*request, *fetch.clone())),
            _ => None,
        })
    }

    fn done_fetch(&mut self, ip: &str, result: Result<FetchReply, LinkFault>) {
        let (request, _) = self.fetch(ip).expect("a fetch to this address is under way");
        self.open.remove(&request);
        self.tell(AnnounceEvent::Done { request, outcome: Outcome::Fetch(result) });
    }

    fn answer_with(&mut self, ip: &str, status: u16, body: &[u8]) {
        let reply = FetchReply { status, location: None, gzip: false, body: body.to_vec() };
        self.done_fetch(ip, Ok(reply));
    }

    fn answer(&mut self, ip: &str) {
        self.answer_with(ip, 200, &reply_body());
    }

    fn redirect(&mut self, ip: &str, location: &str) {
        self.done_fetch(
            ip,
            Ok(FetchReply { status: 302, location: Some(location.to_string()), ..FetchReply::default() }),
        );
    }

    fn fail(&mut self, ip: &str) {
        self.done_fetch(ip, Err(LinkFault::Refused));
    }

    fn resolve(&mut self, host: &str, result: Result<&[&str], LinkFault>) {
        let is_it = |operation: &Operation| matches!(operation, Operation::Resolve { host: asked } if asked == host);
        let request = *self.open.iter().find(|(_, operation)| is_it(operation)).expect("this name is being resolved").0;
        self.open.remove(&request);
        let result = result.map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect());
        self.tell(AnnounceEvent::Done { request, outcome: Outcome::Resolve(result) });
    }

    fn udp(&mut self) -> (SocketAddr, Request) {
        self.datagrams.pop_front().expect("a datagram was sent")
    }

    fn datagram(&mut self, from: SocketAddr, response: &Response) -> bool {
        let bytes = encode_response(response, from.ip());
        let expected = self.announcer.expects_datagram(from, &bytes);
        self.tell(AnnounceEvent::Datagram { from, bytes: &bytes });
        expected
    }

    /// Answers the next datagram as an honest tracker would.
    fn serve_udp(&mut self) -> Request {
        let (to, request) = self.udp();
        let response = match &request {
            Request::Connect { transaction } => Response::Connect { transaction: *transaction, connection: 77 },
            Request::Announce { transaction, .. } => Response::Announce { transaction: *transaction, reply: a_reply() },
            Request::Scrape { transaction, .. } => Response::Scrape {
                transaction: *transaction,
                swarms: vec![Swarm { complete: Some(7), incomplete: Some(8), downloaded: Some(9) }],
            },
        };
        assert!(self.datagram(to, &response));
        request
    }

    fn logged(&self, what: &str) -> usize {
        self.log.iter().filter(|line| line.contains(what)).count()
    }

    fn next_in_secs(&self) -> Option<u64> {
        Some(self.announcer.poll_timeout()?.since(self.now).as_secs())
    }
}

fn counts(swarm: &Swarm) -> String {
    let shown = |number: Option<u32>| number.map_or(String::from("?"), |number| number.to_string());
    format!("{}/{}/{}", shown(swarm.complete), shown(swarm.incomplete), shown(swarm.downloaded))
}

fn event_of(fetch: &Fetch) -> String {
    if fetch.target.starts_with("/scrape?info_hash=") {
        return "scrape".to_string();
    }
    let event = fetch.target.split('&').find_map(|pair| pair.strip_prefix("event=")).unwrap_or("regular");
    event.to_string()
}

fn a_reply() -> Reply {
    Reply {
        interval_s: Some(1800),
        complete: Some(1),
        incomplete: Some(2),
        peers: ["9.9.9.9:9".parse().unwrap()].to_vec(),
        ..Reply::default()
    }
}

fn reply_body() -> Vec<u8> {
    encode_reply(&a_reply())
}

#[test]
fn a_hanging_tracker_is_joined_by_the_next_and_its_late_answer_counts() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"], &["http://1.0.0.2/announce"]]);
    world.run_to(9);
    assert!(world.fetch("1.0.0.2").is_none());
    world.run_to(10);
    world.answer("1.0.0.2");
    assert_eq!(world.peers.len(), 1);
    world.run_to(25);
    world.answer("1.0.0.1");
    assert_eq!(world.peers.len(), 2);
    assert_eq!(world.logged("abort"), 0);
    assert_eq!(world.next_in_secs(), Some(1785), "the first answer sets the time");
}

#[test]
fn a_tracker_that_never_answers_is_given_up_after_a_minute() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.run_to(60);
    assert_eq!(world.logged("abort"), 1);
    assert_eq!(world.logged("failed http://1.0.0.1/announce: timed out"), 1);
    world.run_to(67);
    assert_eq!(world.logged("fetch"), 2, "and tried again after a pause");
}

#[test]
fn two_hundred_hanging_trackers_are_asked_six_at_a_time() {
    let urls: Vec<String> = (0..100_000).map(|n| format!("http://1.0.{}.{}/announce", n / 250, n % 250)).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let mut world = World::started(&[&urls]);
    assert_eq!(world.announcer.trackers.len(), MAX_TRACKERS);
    world.run_to(50);
    assert_eq!(world.open.len(), MAX_IN_FLIGHT);
    world.run_to(100);
    assert_eq!(world.logged("fetch"), 11, "one every ten seconds");
}

#[test]
fn a_refused_tracker_is_followed_by_the_next_at_once() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"], &["http://1.0.0.2/announce"]]);
    world.fail("1.0.0.1");
    assert!(world.fetch("1.0.0.2").is_some());
    world.answer_with("1.0.0.2", 503, b"<html>");
    assert_eq!(world.logged("HTTP status 503"), 1);
    assert!(world.open.is_empty());
}

#[test]
fn a_tracker_that_says_interval_zero_is_asked_once_a_minute() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    for _ in 0..10 {
        world.answer_with("1.0.0.1", 200, b"d8:completei1e8:intervali0e5:peers0:e");
        assert_eq!(world.next_in_secs(), Some(60));
        world.run_to(world.now.as_micros() / 1_000_000 + 60);
    }
    assert_eq!(world.logged("fetch"), 11);
}

#[test]
fn too_few_peers_never_break_the_min_interval() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer_with("1.0.0.1", 200, b"d8:completei1e8:intervali1800e12:min intervali300e5:peers0:e");
    for secs in (10..300).step_by(10) {
        world.run_to(secs);
        world.tell(AnnounceEvent::WantPeers);
    }
    assert_eq!(world.logged("fetch"), 1);
    world.run_to(300);
    let (_, fetch) = world.fetch("1.0.0.1").unwrap();
    assert!(fetch.target.contains("numwant=200"), "{}", fetch.target);
    world.answer("1.0.0.1");
    assert_eq!(world.next_in_secs(), Some(1800), "wanting is forgotten once asked");
}

#[test]
fn who_answers_is_promoted_within_its_tier() {
    let tier = ["http://1.0.0.1/announce", "http://1.0.0.2/announce", "http://1.0.0.3/announce"];
    let mut world = World::started(&[&tier]);
    for _ in 0..2 {
        let ip = world
            .open
            .values()
            .find_map(|op| if let Operation::Fetch(f) = op { Some(f.addr.ip().to_string()) } else { None });
        world.fail(&ip.unwrap());
    }
    let before = world.announcer.tiers[0].clone();
    let Some(Operation::Fetch(last)) = world.open.values().next() else { panic!("the third is being asked") };
    let last = last.addr.ip().to_string();
    world.answer(&last);
    assert_eq!(world.announcer.tiers[0], [before[2], before[0], before[1]]);
    world.run_to(1800);
    assert!(world.fetch(&last).is_some(), "it is the first to be asked from now on");
}

#[test]
fn tiers_are_shuffled_within_themselves_only() {
    let urls: Vec<String> = (1..=20).map(|n| format!("http://1.0.0.{n}/announce")).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let world = World::new(&[&urls[..10], &[], &urls[10..], &urls[..1]]);
    let tiers = &world.announcer.tiers;
    assert_eq!(tiers.len(), 2, "empty tiers and repeated trackers are dropped");
    let sorted = |tier: &[usize]| {
        let mut tier = tier.to_vec();
        tier.sort_unstable();
        tier
    };
    assert_eq!(sorted(&tiers[0]), (0..10).collect::<Vec<_>>());
    assert_eq!(sorted(&tiers[1]), (10..20).collect::<Vec<_>>());
    assert_ne!(tiers[0], sorted(&tiers[0]));
}

#[test]
fn redirects_are_followed_and_circles_end() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.redirect("1.0.0.1", "http://1.0.0.2/a?x=1");
    assert_eq!(world.fetch("1.0.0.2").unwrap().1.target, "/a?x=1");
    for _ in 0..MAX_REDIRECTS {
        world.redirect("1.0.0.2", "/a?x=1");
    }
    assert_eq!(world.logged("failed http://1.0.0.1/announce: redirected to where we do not go"), 1);
    assert_eq!(world.logged("fetch"), 1 + MAX_REDIRECTS as usize);
    assert!(world.open.is_empty());
}

#[test]
fn no_redirect_leads_home_or_out_of_tls_or_to_another_protocol() {
    let bad = [
        "http://127.0.0.1/announce",
        "http://[::1]/announce",
        "http://1.0.0.2/a",
        "udp://1.0.0.2:80",
        "file:///etc/passwd",
    ];
    for location in bad {
        let mut world = World::started(&[&["https://1.0.0.1/announce"]]);
        world.redirect("1.0.0.1", location);
        assert_eq!(world.logged("redirected to where we do not go"), 1, "{location}");
    }
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.redirect("1.0.0.1", "http://127.0.0.1/announce");
    assert_eq!(world.logged("redirected to where we do not go"), 1, "it would be fine in a torrent");
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.redirect("1.0.0.1", "http://rebound.example.com/announce");
    world.resolve("rebound.example.com", Ok(&["10.0.0.1"]));
    assert_eq!(world.logged("redirected to where we do not go"), 1);
}

#[test]
fn a_name_in_the_world_that_resolves_to_this_machine_is_not_reached() {
    let mut world = World::started(&[&["http://tracker.example.com/announce"], &["udp://udp.example.com:80/announce"]]);
    world.resolve("tracker.example.com", Ok(&["127.0.0.1", "10.1.1.1"]));
    world.resolve("udp.example.com", Ok(&["192.168.1.1"]));
    assert_eq!(world.logged("its address is not one"), 2);
    assert!(world.datagrams.is_empty());
    let mut world = World::started(&[&["http://127.0.0.1:6969/announce"], &["http://127.0.0.1:631/admin"]]);
    world.fail("127.0.0.1");
    assert_eq!(world.logged("its address is not one"), 1, "a literal is fine, with the announce path only");
}

#[test]
fn every_address_of_a_name_gets_its_turn() {
    let mut world = World::started(&[&["https://t.example.com/announce"]]);
    world.resolve("t.example.com", Ok(&["2600::1", "1.0.0.1", "1.0.0.1", "1.0.0.2"]));
    assert_eq!(world.fetch("2600::1").unwrap().1.tls_name.as_deref(), Some("t.example.com"));
    world.fail("2600::1");
    world.run_to(15);
    assert_eq!(world.logged("abort"), 1, "a silent address gives way");
    assert!(world.fetch("1.0.0.2").is_some());
    world.run_to(60);
    assert_eq!(world.logged("failed"), 1, "but not the last one, before the time is up");
}

#[test]
fn a_resolver_that_hangs_is_a_tracker_that_hangs() {
    let mut world = World::started(&[&["http://a.example.com/announce"], &["http://b.example.com/announce"]]);
    world.run_to(10);
    assert_eq!(world.logged("resolve b.example.com"), 1);
    world.resolve("b.example.com", Err(LinkFault::NameNotFound));
    world.run_to(60);
    assert_eq!(world.logged("abort"), 1);
}

#[test]
fn replies_of_any_size_cost_no_more_than_their_cap() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"], &["http://1.0.0.2/announce"]]);
    let mut body = b"d5:peers900000:".to_vec();
    body.resize(body.len() + 900_000, 7);
    body.push(b'e');
    let bomb = crate::tracker::gzip::gzip_for_tests(&alloc::vec![b'd'; 30 * 1024 * 1024]);
    world.done_fetch("1.0.0.1", Ok(FetchReply { status: 200, location: None, gzip: true, body: bomb }));
    assert_eq!(world.logged("it unpacks to too much"), 1);
    world.answer_with("1.0.0.2", 200, &body);
    assert_eq!(world.peers.len(), crate::tracker::MAX_PEERS);
}

#[test]
fn a_refusal_is_shown_and_its_wish_respected() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"], &["http://1.0.0.2/announce"]]);
    world.answer_with("1.0.0.1", 400, b"d14:failure reason6:banned8:retry in5:nevere");
    world.answer_with("1.0.0.2", 200, b"d14:failure reason4:busy8:retry ini7ee");
    assert_eq!(world.logged("the tracker says: banned"), 1);
    assert_eq!(world.next_in_secs(), Some(420));
    world.run_to(100_000);
    assert_eq!(world.logged("fetch 1.0.0.1:80"), 1);
}

#[test]
fn a_tracker_in_its_pause_is_left_out_of_the_round() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"], &["http://1.0.0.2/announce"]]);
    world.answer_with("1.0.0.1", 200, b"d14:failure reason4:busy8:retry ini7ee");
    world.answer_with("1.0.0.2", 200, b"d8:intervali60e5:peers0:e");
    world.run_to(60);
    assert!(world.fetch("1.0.0.1").is_none());
    world.answer_with("1.0.0.2", 200, b"d8:intervali400e5:peers0:e");
    world.run_to(460);
    assert!(world.fetch("1.0.0.1").is_some(), "and asked first when it is over");
}

#[test]
fn unusable_urls_are_reported_once_and_never_asked() {
    let mut world = World::started(&[&["wss://t.example.com/?passkey=secret", "http://a b/"]]);
    assert_eq!(world.logged("the URL cannot be used"), 2);
    assert_eq!(world.logged("secret"), 0);
    assert_eq!(world.announcer.poll_timeout(), None);
    world.tell(AnnounceEvent::Stop);
    assert!(world.stopped);
}

#[test]
fn completed_is_said_once_to_each_tracker_that_heard_started() {
    let mut world =
        World::started(&[&["http://1.0.0.1/announce"], &["http://1.0.0.2/announce"], &["http://1.0.0.3/announce"]]);
    world.run_to(10);
    world.answer("1.0.0.1");
    world.totals.left = 0;
    world.tell(AnnounceEvent::Completed);
    assert_eq!(event_of(&world.fetch("1.0.0.1").unwrap().1), "completed");
    world.fail("1.0.0.1");
    world.answer("1.0.0.2");
    assert_eq!(event_of(&world.fetch("1.0.0.2").unwrap().1), "completed", "it was just hearing started");
    world.answer("1.0.0.2");
    world.run_to(20);
    assert_eq!(world.logged("1.0.0.1:80 completed"), 2, "tried again after a failure");
    world.answer("1.0.0.1");
    world.tell(AnnounceEvent::Completed);
    world.run_to(4000);
    assert_eq!(world.logged("completed"), 3);
}

#[test]
fn a_tracker_that_was_just_told_completed_is_not_asked_again_by_the_same_round() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"], &["http://1.0.0.2/announce"]]);
    world.run_to(10);
    world.answer_with("1.0.0.2", 200, b"d8:intervali60e5:peers0:e");
    world.fail("1.0.0.1");
    world.run_to(71);
    world.tell(AnnounceEvent::Completed);
    world.fail("1.0.0.2");
    world.fail("1.0.0.1");
    assert!(world.open.is_empty(), "its pause holds for the round that was under way as well");
}

#[test]
fn a_torrent_that_was_complete_from_the_start_never_says_completed() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.totals.left = 0;
    world.answer("1.0.0.1");
    world.run_to(1800);
    world.answer("1.0.0.1");
    world.tell(AnnounceEvent::Stop);
    world.answer("1.0.0.1");
    assert_eq!(world.logged("completed"), 0);
    assert_eq!(world.logged("regular"), 1);
}

#[test]
fn stopped_goes_to_both_trackers_that_heard_of_us_and_to_no_other() {
    let mut world =
        World::started(&[&["http://1.0.0.1/announce"], &["udp://1.0.0.2:80"], &["http://1.0.0.3/announce"]]);
    world.run_to(10);
    world.serve_udp();
    world.serve_udp();
    world.answer("1.0.0.1");
    world.run_to(20);
    world.tell(AnnounceEvent::Stop);
    let (_, fetch) = world.fetch("1.0.0.1").unwrap();
    assert!(fetch.target.contains("event=stopped") && fetch.target.contains("numwant=0"), "{}", fetch.target);
    let Request::Announce { announce, .. } = world.serve_udp() else { panic!("its connection id is still good") };
    assert_eq!((announce.kind, announce.num_want), (AnnounceKind::Stopped, 0));
    assert!(!world.stopped);
    let peers = world.peers.len();
    world.answer("1.0.0.1");
    assert!(world.stopped);
    assert_eq!(world.peers.len(), peers, "a goodbye brings no peers");
    assert_eq!(world.announcer.poll_timeout(), None);
    assert_eq!(world.logged("1.0.0.3"), 0);
}

#[test]
fn goodbyes_are_given_up_at_the_deadline() {
    let mut world = World::started(&[&["http://t.example.com/announce"]]);
    world.resolve("t.example.com", Ok(&["1.0.0.1"]));
    world.answer("1.0.0.1");
    world.tell(AnnounceEvent::Stop);
    assert!(world.fetch("1.0.0.1").is_some(), "without asking the resolver again");
    world.run_to(3);
    assert!(!world.stopped);
    world.run_to(4);
    assert!(world.stopped);
    assert_eq!(world.logged("abort"), 1);
}

#[test]
fn while_too_many_others_ask_a_round_waits_and_goodbyes_wait_as_long_as_they_may() {
    let mut world = World::new(&[&["http://1.0.0.1/announce"]]);
    world.has_room = false;
    world.tell(AnnounceEvent::Start);
    world.run_to(100);
    assert_eq!(world.logged("fetch"), 0);
    world.has_room = true;
    world.run_to(103);
    assert_eq!(world.logged("fetch"), 1);
    world.answer("1.0.0.1");
    world.has_room = false;
    world.tell(AnnounceEvent::Stop);
    world.run_to(105);
    assert_eq!(world.logged("stopped"), 0);
    world.has_room = true;
    world.run_to(106);
    assert_eq!(world.logged("stopped"), 1);
    world.answer("1.0.0.1");
    assert!(world.stopped);

    world.tell(AnnounceEvent::Start);
    world.run_to(200);
    world.answer("1.0.0.1");
    (world.has_room, world.stopped) = (false, false);
    world.tell(AnnounceEvent::Stop);
    world.run_to(203);
    assert!(!world.stopped);
    world.run_to(204);
    assert!(world.stopped, "at the deadline nobody waits for room any more");
}

#[test]
fn while_too_many_others_ask_no_second_tracker_is_asked_beside_one_that_hangs() {
    let mut world = World::new(&[&["http://1.0.0.1/announce"], &["http://1.0.0.2/announce"]]);
    world.tell(AnnounceEvent::Start);
    world.has_room = false;
    world.run_to(20);
    assert_eq!(world.logged("fetch"), 1);
    world.has_room = true;
    world.run_to(23);
    assert_eq!(world.logged("fetch"), 2);
}

#[test]
fn who_leaves_at_once_after_completing_says_both() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer("1.0.0.1");
    world.totals.left = 0;
    world.tell(AnnounceEvent::Completed);
    world.tell(AnnounceEvent::Stop);
    assert_eq!((world.logged("completed"), world.logged("abort")), (1, 0));
    world.answer("1.0.0.1");
    assert_eq!(event_of(&world.fetch("1.0.0.1").unwrap().1), "stopped");
    world.answer("1.0.0.1");
    assert!(world.stopped);
}

#[test]
fn a_torrent_can_start_again_after_it_stopped() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer("1.0.0.1");
    world.tell(AnnounceEvent::Stop);
    world.answer("1.0.0.1");
    world.run_to(10);
    world.tell(AnnounceEvent::Start);
    assert_eq!(event_of(&world.fetch("1.0.0.1").unwrap().1), "started");
    world.tell(AnnounceEvent::Stop);
    assert!(world.stopped, "who has not answered has not heard of us");
}

#[test]
fn the_tracker_id_and_the_key_are_sent_back() {
    let mut world = World::started(&[&["http://1.0.0.1/announce?passkey=x"]]);
    let key = |fetch: &Fetch| fetch.target.split('&').find(|pair| pair.starts_with("key=")).map(ToString::to_string);
    let first = key(&world.fetch("1.0.0.1").unwrap().1);
    world.answer_with("1.0.0.1", 200, b"d8:intervali60e5:peers0:10:tracker id3:a be");
    world.run_to(60);
    let (_, fetch) = world.fetch("1.0.0.1").unwrap();
    assert!(fetch.target.starts_with("/announce?passkey=x&info_hash=") && fetch.target.ends_with("&trackerid=a%20b"));
    assert_eq!(key(&fetch), first);
    assert_eq!(world.logged("passkey"), 0);
}

#[test]
fn udp_connects_announces_and_reuses_its_connection_for_a_minute() {
    let mut world = World::started(&[&["udp://1.0.0.1:80/announce?a=b"]]);
    let Request::Connect { transaction: first } = world.serve_udp() else { panic!("not a connect") };
    let Request::Announce { connection, transaction, announce, url_data } = world.serve_udp() else {
        panic!("not an announce")
    };
    assert_ne!(first, transaction, "each packet has a number of its own");
    assert_eq!((connection, announce.kind, announce.num_want), (77, AnnounceKind::Started, 200));
    assert_eq!(announce.totals, world.totals);
    assert_eq!(url_data, b"/announce?a=b");
    world.run_to(59);
    world.tell(AnnounceEvent::Completed);
    assert!(matches!(world.serve_udp(), Request::Announce { .. }));
    world.run_to(2000);
    assert!(matches!(world.serve_udp(), Request::Connect { .. }), "the id has expired");
}

#[test]
fn udp_retransmits_as_bep_15_says_and_reports_the_silence() {
    let mut world = World::started(&[&["udp://1.0.0.1:80"]]);
    world.run_to(10_000);
    let times: Vec<&str> =
        world.log.iter().filter(|l| l.contains("connect")).filter_map(|l| l.split('.').next()).collect();
    let times: Vec<u64> = times.iter().take(9).map(|t| t.trim().parse().unwrap()).collect();
    assert_eq!(times, [0, 15, 45, 105, 225, 465, 945, 1905, 3825]);
    assert!(world.log[..10].iter().any(|line| line.contains("60.0 failed udp://1.0.0.1:80/: timed out")));
    assert_eq!(world.logged("failed"), 2, "once for each attempt");
}

#[test]
fn a_connection_id_that_expires_between_retransmissions_is_renewed() {
    let mut world = World::started(&[&["udp://1.0.0.1:80"]]);
    world.run_to(1);
    world.serve_udp();
    world.run_to(230);
    let lines: Vec<&str> =
        world.log.iter().filter(|line| line.contains("udp 1.0.0.1:80")).map(|line| line.trim()).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    0.0 udp 1.0.0.1:80 connect
    1.0 udp 1.0.0.1:80 Started
    16.0 udp 1.0.0.1:80 Started
    46.0 udp 1.0.0.1:80 Started
    106.0 udp 1.0.0.1:80 connect
    226.0 udp 1.0.0.1:80 connect
    ");
}

#[test]
fn forged_datagrams_change_nothing() {
    let mut world = World::started(&[&["udp://1.0.0.1:80"]]);
    let (to, request) = world.udp();
    let Request::Connect { transaction } = request else { panic!("not a connect") };
    let response = Response::Connect { transaction, connection: 5 };
    assert!(!world.datagram("1.0.0.1:81".parse().unwrap(), &response));
    assert!(!world.datagram("6.6.6.6:80".parse().unwrap(), &response));
    assert!(!world.datagram(to, &Response::Connect { transaction: transaction ^ 1, connection: 5 }));
    assert!(!world.announcer.expects_datagram(to, b"short"));
    assert!(
        world.datagram(to, &Response::Announce { transaction, reply: a_reply() }),
        "right sender and number, wrong action"
    );
    assert!(world.datagrams.is_empty() && world.peers.is_empty());
    let mapped = SocketAddr::new("::ffff:1.0.0.1".parse().unwrap(), 80);
    assert!(world.datagram(mapped, &response));
    assert_eq!(world.datagrams.len(), 1);
}

#[test]
fn a_udp_tracker_that_forgot_us_is_asked_for_a_new_connection_once() {
    let mut world = World::started(&[&["udp://1.0.0.1:80"]]);
    world.serve_udp();
    world.serve_udp();
    world.tell(AnnounceEvent::Completed);
    let refuse = |world: &mut World| {
        let (to, Request::Announce { transaction, .. }) = world.udp() else { panic!("not an announce") };
        world.datagram(to, &Response::Error { transaction, reason: "bad connection".to_string() });
    };
    refuse(&mut world);
    assert!(matches!(world.serve_udp(), Request::Connect { .. }));
    refuse(&mut world);
    assert_eq!(world.logged("the tracker says: bad connection"), 1);
    assert!(world.datagrams.is_empty());
}

#[test]
fn udp_speaks_over_ipv6_and_tries_the_other_addresses() {
    let mut world = World::started(&[&["udp://t.example.com:80"]]);
    world.resolve("t.example.com", Ok(&["2600::1", "1.0.0.1"]));
    assert!(world.udp().0.is_ipv6());
    world.run_to(15);
    assert!(world.udp().0.is_ipv4());
    world.run_to(45);
    let (to, Request::Connect { transaction }) = world.udp() else { panic!("not a connect") };
    assert!(to.is_ipv6());
    world.datagram(to, &Response::Connect { transaction, connection: 5 });
    let (to, Request::Announce { transaction, .. }) = world.udp() else { panic!("not an announce") };
    let reply = Reply { peers: ["[2600::2]:7".parse().unwrap()].to_vec(), ..a_reply() };
    world.datagram(to, &Response::Announce { transaction, reply });
    assert_eq!(world.peers, ["[2600::2]:7".parse().unwrap()]);
}

#[test]
fn an_overdue_udp_tracker_makes_way_when_its_place_is_needed() {
    let urls: Vec<String> = (1..=8).map(|n| format!("udp://1.0.0.{n}:80")).collect();
    let tiers: Vec<[&str; 1]> = urls.iter().map(|url| [url.as_str()]).collect();
    let tiers: Vec<&[&str]> = tiers.iter().map(<[&str; 1]>::as_slice).collect();
    let mut world = World::started(&tiers);
    world.run_to(70);
    assert_eq!(world.logged("udp 1.0.0.8:80 connect"), 1);
    assert!(world.announcer.trackers[0].retry_at > Instant::ZERO, "which counts as its failure");
    assert_eq!(world.announcer.attempts.len(), MAX_IN_FLIGHT);
}

#[test]
fn the_story_of_three_tiers_with_faults() {
    let mut world = World::started(&[
        &["http://1.0.0.1/announce"],
        &["udp://2.example.com:80", "http://127.0.0.1:631/printers"],
        &["http://1.0.0.3/announce?passkey=secret"],
    ]);
    world.run_to(2);
    world.fail("1.0.0.1");
    world.run_to(3);
    world.resolve("2.example.com", Ok(&["1.0.0.2"]));
    world.run_to(14);
    world.answer("1.0.0.3");
    world.run_to(18);
    let (to, Request::Connect { transaction }) = world.udp() else { panic!("not a connect") };
    world.datagram(to, &Response::Connect { transaction, connection: 1 });
    world.run_to(40);
    world.totals = Totals { uploaded: 5, downloaded: 1000, left: 0 };
    world.tell(AnnounceEvent::Completed);
    world.answer_with("1.0.0.3", 200, b"d8:completei1e8:intervali600e5:peers0:e");
    world.run_to(655);
    world.answer("1.0.0.1");
    world.tell(AnnounceEvent::Stop);
    world.fail("1.0.0.1");
    world.run_to(750);
    insta::assert_snapshot!(world.log.join("\n"));
}

#[derive(Clone, Debug)]
enum Step {
    Start,
    Completed,
    Stop,
    WantPeers,
    Scrape,
    Wait(u64),
    /// Ends the n-th open operation in one of several ways.
    End(usize, u8),
    /// Answers the last datagram in one of several ways.
    Udp(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Start),
        1 => Just(Step::Completed),
        1 => Just(Step::Stop),
        2 => Just(Step::WantPeers),
        2 => Just(Step::Scrape),
        6 => (1u64..100).prop_map(Step::Wait),
        1 => (100u64..100_000).prop_map(Step::Wait),
        8 => (any::<usize>(), any::<u8>()).prop_map(|(n, way)| Step::End(n, way)),
        6 => any::<u8>().prop_map(Step::Udp),
    ]
}

fn end_one(world: &mut World, n: usize, way: u8) {
    let Some(request) = world.open.keys().nth(n % world.open.len().max(1)).copied() else { return };
    let outcome = match (world.open.remove(&request), way % 8) {
        (Some(Operation::Resolve { .. }), 0) => Outcome::Resolve(Err(LinkFault::NameNotFound)),
        (Some(Operation::Resolve { .. }), 1) => Outcome::Resolve(Ok(["127.0.0.1".parse().unwrap()].to_vec())),
        (Some(Operation::Resolve { .. }), 2) => Outcome::Resolve(Ok(Vec::new())),
        (Some(Operation::Resolve { .. }), _) => {
            Outcome::Resolve(Ok(["1.0.0.9".parse().unwrap(), "2600::1".parse().unwrap()].to_vec()))
        }
        (_, 0) => Outcome::Fetch(Err(LinkFault::Reset)),
        (_, 1) => Outcome::Fetch(Ok(FetchReply { status: 200, body: b"junk".to_vec(), ..FetchReply::default() })),
        (_, 2) => {
            let location = Some("http://other.example.com/x".to_string());
            Outcome::Fetch(Ok(FetchReply { status: 301, location, ..FetchReply::default() }))
        }
        (_, 3) => Outcome::Fetch(Ok(FetchReply {
            status: 200,
            body: b"d14:failure reason1:xe".to_vec(),
            ..FetchReply::default()
        })),
        (_, 4) => Outcome::Fetch(Ok(FetchReply {
            status: 200,
            body: b"d8:intervali-9e5:peers0:e".to_vec(),
            ..FetchReply::default()
        })),
        (_, 5) => {
            Outcome::Fetch(Ok(FetchReply { status: 200, body: b"d5:filesdee".to_vec(), ..FetchReply::default() }))
        }
        _ => Outcome::Fetch(Ok(FetchReply { status: 200, body: reply_body(), ..FetchReply::default() })),
    };
    world.tell(AnnounceEvent::Done { request, outcome });
}

fn serve_one(world: &mut World, way: u8) {
    let Some((from, request)) = world.datagrams.pop_back() else { return };
    let (Request::Connect { transaction }
    | Request::Announce { transaction, .. }
    | Request::Scrape { transaction, .. }) = request;
    let response = match (&request, way % 5) {
        (_, 0) => Response::Error { transaction, reason: "no".to_string() },
        (_, 1) => Response::Connect { transaction: transaction ^ 1, connection: 1 },
        (Request::Connect { .. }, _) => Response::Connect { transaction, connection: 1 },
        (_, 2) => Response::Announce { transaction, reply: a_reply() },
        (_, 3) => Response::Scrape { transaction, swarms: vec![Swarm::default()] },
        (Request::Announce { .. }, _) => Response::Announce { transaction, reply: a_reply() },
        (Request::Scrape { .. }, _) => Response::Scrape { transaction, swarms: Vec::new() },
    };
    world.datagram(from, &response);
}

proptest! {
    #[test]
    fn no_sequence_of_events_breaks_the_announcer(steps in proptest::collection::vec(step(), 0..120)) {
        let mut world = World::new(&[
            &["http://1.0.0.1/announce", "http://a.example.com/announce", "bad"],
            &["udp://1.0.0.2:80", "udp://b.example.com:80/x", "https://127.0.0.1/admin"],
            &["http://1.0.0.3/announce", "http://1.0.0.4/announce", "http://1.0.0.5/announce", "http://1.0.0.6/announce"],
            &["http://localhost/announce"],
        ]);
        // `tell` checks after every step: no spin, bounded announces under way, no request forgotten.
        for step in steps {
            match step {
                Step::Start => world.tell(AnnounceEvent::Start),
                Step::Completed => world.tell(AnnounceEvent::Completed),
                Step::Stop => world.tell(AnnounceEvent::Stop),
                Step::WantPeers => world.tell(AnnounceEvent::WantPeers),
                Step::Scrape => world.tell(AnnounceEvent::Scrape),
                Step::Wait(secs) => world.run_to(world.now.as_micros() / 1_000_000 + secs),
                Step::End(n, way) => end_one(&mut world, n, way),
                Step::Udp(way) => serve_one(&mut world, way),
            }
        }
        world.stopped = false;
        // As a torrent that leaves: what was asked during a goodbye would go on.
        world.tell(AnnounceEvent::EndScrapes);
        world.tell(AnnounceEvent::Stop);
        world.run_to(world.now.as_micros() / 1_000_000 + 6);
        prop_assert!(world.stopped);
        prop_assert!(world.announcer.poll_timeout().is_none());
    }
}

#[test]
fn trackers_added_by_hand_are_asked_at_once_and_each_only_once() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer("1.0.0.1");
    let urls = ["http://1.0.0.1/announce", "http://2.0.0.1/announce", "nonsense", "http://2.0.0.1/announce"];
    world.tell(AnnounceEvent::AddTrackers(urls.map(String::from).to_vec()));
    assert_eq!(world.open.len(), 1, "who has just answered is left alone");
    let (_, fetch) = world.fetch("2.0.0.1").expect("the new one is asked");
    assert_eq!(event_of(&fetch), "started");
    world.answer("2.0.0.1");
    world.tell(AnnounceEvent::Stop);
    assert_eq!(world.open.len(), 2, "both are told that we stop");
}

#[test]
fn who_is_replaced_hears_stopped_and_is_not_asked_again() {
    let mut world = World::started(&[&["http://1.0.0.1/announce", "http://1.0.0.2/announce"]]);
    let first = if world.fetch("1.0.0.1").is_some() { "1.0.0.1" } else { "1.0.0.2" };
    world.answer(first);
    world.tell(AnnounceEvent::ReplaceTrackers(vec![vec![String::from("http://3.0.0.1/announce")]]));
    assert_eq!(event_of(&world.fetch(first).unwrap().1), "stopped");
    assert_eq!(event_of(&world.fetch("3.0.0.1").unwrap().1), "started");
    world.answer(first);
    world.answer("3.0.0.1");
    world.run_to(1830);
    assert!(world.fetch(first).is_none() && world.fetch("3.0.0.1").is_some());
    // Over and over: places are used again.
    for n in 0..500 {
        let url = format!("http://4.0.{}.{}/announce", n / 250, n % 250);
        world.tell(AnnounceEvent::ReplaceTrackers(vec![vec![url]]));
        world.announcer.check_invariants();
    }
    assert!(world.announcer.trackers.len() < 30);
}

#[test]
fn asking_again_never_breaks_the_min_interval_and_cuts_only_our_own_pauses() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.answer("1.0.0.1");
    for _ in 0..100 {
        world.tell(AnnounceEvent::Again);
        assert!(world.open.is_empty(), "it has answered a moment ago");
    }
    world.run_to(60);
    assert!(world.fetch("1.0.0.1").is_some(), "after the minimum interval, not after the interval");
    // Failures: the pause doubles, but who is asked to try again does so after the first one's.
    for _ in 0..6 {
        world.fail("1.0.0.1");
        let now = world.now.as_micros() / 1_000_000;
        world.tell(AnnounceEvent::Again);
        assert!(world.open.is_empty(), "not at once: a flood of wishes is no flood of announces");
        world.run_to(now + 11);
        assert!(world.fetch("1.0.0.1").is_some());
    }
    world.answer_with("1.0.0.1", 200, b"d14:failure reason2:no8:retry in2:99e");
    world.tell(AnnounceEvent::Again);
    let now = world.now.as_micros() / 1_000_000;
    world.run_to(now + 90 * 60);
    assert!(world.open.is_empty(), "what the tracker asked for is respected");
}

#[test]
fn a_flood_of_starts_and_stops_is_no_flood_of_announces() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    let mut asked = 1;
    for second in 1..=60 {
        for _ in 0..10 {
            world.tell(AnnounceEvent::Stop);
            world.tell(AnnounceEvent::Start);
        }
        world.run_to(second);
        if world.fetch("1.0.0.1").is_some() {
            asked += 1;
            world.answer("1.0.0.1");
        }
    }
    assert!((2..=8).contains(&asked), "{asked}");
}

#[test]
fn late_and_unknown_completions_are_ignored() {
    let mut world = World::started(&[&["http://1.0.0.1/announce"]]);
    world.tell(AnnounceEvent::Stop);
    let reply = FetchReply { status: 200, body: reply_body(), ..FetchReply::default() };
    world.tell(AnnounceEvent::Done { request: RequestId(0), outcome: Outcome::Fetch(Ok(reply)) });
    assert!(world.peers.is_empty());
}

#[test]
fn each_law_is_seen_to_be_broken() {
    let intact = || World::started(&[&["http://1.0.0.1/announce"]]).announcer;
    check_breaches(
        include_str!("mod.rs"),
        intact,
        Announcer::check_invariants,
        &[
            ("announces under way are bounded", |announcer| {
                announcer.attempts = core::iter::repeat_n(announcer.attempts[0].clone(), MAX_GOODBYES + 1).collect();
            }),
            ("a tracker is told one thing at a time", |announcer| {
                announcer.attempts.push(announcer.attempts[0].clone())
            }),
            ("the next look at trackers equals a recount", |announcer| announcer.timeout = None),
            ("trackers are bounded", |announcer| {
                let more = (0..2 * MAX_TRACKERS + MAX_GOODBYES).map(|_| Tracker::new("http://1.0.0.1/announce"));
                announcer.trackers.extend(more);
            }),
            ("what the announcer wants done has been taken", |announcer| {
                announcer.outputs.push_back(AnnounceOutput::Stopped);
            }),
        ],
    );
}

#[test]
fn who_answers_no_longer_fails_and_the_last_failure_is_told() {
    let mut world =
        World::started(&[&["http://1.0.0.1/announce"], &["http://1.0.0.2/announce"], &["ftp://1.0.0.3/announce"]]);
    let standing = |world: &World| world.announcer.standing(world.now);
    let first = standing(&world);
    // One cannot be asked at all.
    assert_eq!((first.trackers, first.failing, first.asked, first.answered), (3, 1, 1, 0));
    world.answer_with("1.0.0.1", 503, b"");
    let failed = standing(&world);
    assert_eq!((failed.failing, failed.asked), (2, 1), "the next one is asked at once");
    let told = failed.last.map(|(url, reason)| format!("{url}: {reason}"));
    assert_eq!(told.as_deref(), Some("http://1.0.0.1/announce: HTTP status 503"));
    world.answer("1.0.0.2");
    let answered = standing(&world);
    assert_eq!((answered.failing, answered.asked, answered.answered), (2, 0, 1));
    assert!(answered.next_in.is_some_and(|next_in| !next_in.is_zero()));
    world.tell(AnnounceEvent::Stop);
    world.tell(AnnounceEvent::Start);
    assert_eq!(standing(&world).answered, 0, "a new session has heard nothing yet");
}
