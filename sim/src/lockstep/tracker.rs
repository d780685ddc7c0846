//! Trackers in bytes: what they answer is read by the production decoders. Written by hand from BEP 3, 15, 23 and 48, not with the production encoder.
//!
//! How large the swarm is they tell in numbers that no other tracker and no other answer has, so that it shows what came from where.

use super::faults::Fault;
use sameseed_core::event::FetchReply;
use sameseed_core::time::Instant;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The port of every tracker.
pub(super) const PORT: u16 = 6969;
/// Seconds between announces.
const INTERVAL_S: u32 = 120;
/// What a UDP tracker hands out as connection id.
const CONNECTION: u64 = 0x1122_3344_5566_7788;
/// The counts of a tracker lie so far from those of the next one.
const COUNTS_APART: u32 = 1_000_000;
/// BEP 15's magic number.
const PROTOCOL: u64 = 0x0417_2710_1980;

/// One tracker.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    /// Where it is.
    pub(super) ip: Ipv4Addr,
    /// It speaks BEP 15; else HTTP.
    pub(super) udp: bool,
    /// What it does wrong while faults are on.
    pub(super) fault: Option<Fault>,
    /// Until then nobody answers, whatever heals.
    pub(super) dead_until: Instant,
    peers: BTreeSet<SocketAddrV4>,
    /// The first number of the counts that it tells next.
    next_count: u32,
    /// What it has just told of how large the swarm is.
    just_told: Option<Counts>,
}

/// How large a tracker says the swarm is: complete, incomplete, downloaded.
pub(super) type Counts = [u32; 3];

/// A number of a tracker's own, to vary what is wrong.
pub(super) type Mood = u64;

impl Tracker {
    /// The n-th tracker.
    pub(super) fn new(n: usize, udp: bool, fault: Option<Fault>) -> Self {
        Tracker {
            ip: Ipv4Addr::new(90, 0, 0, n as u8 + 1),
            udp,
            fault,
            dead_until: Instant::ZERO,
            peers: BTreeSet::new(),
            next_count: COUNTS_APART * (n as u32 + 1),
            just_told: None,
        }
    }

    /// What its last answer tells of how large the swarm is, if anything. Gives it once.
    pub(super) fn take_counts(&mut self) -> Option<Counts> {
        self.just_told.take()
    }

    fn counts(&mut self) -> Counts {
        let first = self.next_count;
        self.next_count += 3;
        let counts = [first, first + 1, first + 2];
        self.just_told = Some(counts);
        counts
    }

    /// Its URL.
    pub(super) fn url(&self, n: usize) -> String {
        format!("{}://tracker-{n}.example:{PORT}/announce", if self.udp { "udp" } else { "http" })
    }

    fn announced(&mut self, from: Ipv4Addr, port: u16, leaving: bool, ourselves: bool) -> Vec<u8> {
        let asker = SocketAddrV4::new(from, port);
        if leaving {
            self.peers.remove(&asker);
        } else {
            self.peers.insert(asker);
        }
        let others = self.peers.iter().filter(|peer| ourselves || **peer != asker);
        others.flat_map(|peer| [&peer.ip().octets()[..], &peer.port().to_be_bytes()].concat()).collect()
    }

    /// A peer stays away for good.
    pub(super) fn forget(&mut self, ip: Ipv4Addr) {
        self.peers.retain(|peer| *peer.ip() != ip);
    }

    /// The answer to `GET target`; `None` when there is none.
    pub(super) fn answer_http(
        &mut self,
        from: Ipv4Addr,
        target: &str,
        fault: Option<Fault>,
        mood: Mood,
    ) -> Option<FetchReply> {
        if target.starts_with("/scrape?") {
            let body = self.scraped(target, fault, mood)?;
            return answered(target, body, fault, mood);
        }
        let value = |name: &str| target.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let port = value("port")?.parse().ok()?;
        let leaving = value("event") == Some("stopped");
        let mut peers = self.announced(from, port, leaving, fault == Some(Fault::TrackerOurselves));
        match fault {
            Some(Fault::TrackerEmpty) => peers.clear(),
            // Some less than a mebibyte of them, which is read, or more, which is not.
            Some(Fault::TrackerMillion) => {
                peers = strangers(if mood.is_multiple_of(2) { 170_000 } else { 200_000 }, mood)
            }
            _ => {}
        }
        let interval = if fault == Some(Fault::TrackerZero) { 0 } else { INTERVAL_S };
        // BEP 24; and one that is odd tells everybody another lie.
        let external = if fault == Some(Fault::TrackerExtras) { (mood as u32).to_be_bytes() } else { from.octets() };
        let mut body = [&b"d11:external ip4:"[..], &external].concat();
        body.extend(format!("8:intervali{interval}e5:peers{}:", peers.len()).as_bytes());
        body.extend(peers);
        if fault == Some(Fault::TrackerExtras) {
            body.extend(b"10:tracker id6:\x00&=%\xff 15:warning message20:\x1b[31mnot so \xc3\x28often\n");
        }
        body.push(b'e');
        answered(target, body, fault, mood)
    }

    /// The body of the answer to a scrape of one torrent (BEP 48).
    fn scraped(&mut self, target: &str, fault: Option<Fault>, mood: Mood) -> Option<Vec<u8>> {
        let hash = unescaped(target.split(['?', '&']).find_map(|pair| pair.strip_prefix("info_hash="))?)?;
        let [complete, incomplete, downloaded] = self.counts();
        let mut body = b"d5:filesd".to_vec();
        let entry = |hash: &[u8], counts: &str| [&b"20:"[..], hash, b"d", counts.as_bytes(), b"e"].concat();
        let right = format!("8:completei{complete}e10:downloadedi{downloaded}e10:incompletei{incomplete}e");
        match fault {
            // It knows of no torrent.
            Some(Fault::TrackerEmpty) => {}
            Some(Fault::TrackerExtras) => {
                body.extend(entry(&hash, "8:completei-7e10:downloadedi99999999999999e10:incomplete2:hi"));
            }
            // It names all that it knows first.
            Some(Fault::TrackerMillion) => {
                let others = if mood.is_multiple_of(2) { 10_000 } else { 20_000 };
                (0..others).for_each(|n: u32| {
                    body.extend(entry(
                        &[&n.to_be_bytes()[..], &[0; 16]].concat(),
                        "8:completei1e10:downloadedi2e10:incompletei3e",
                    ));
                });
                body.extend(entry(&hash, &right));
            }
            _ => body.extend(entry(&hash, &right)),
        }
        body.extend(b"ee");
        Some(body)
    }

    /// The answer to a datagram; `None` when there is none.
    pub(super) fn answer_udp(
        &mut self,
        from: SocketAddrV4,
        asked: &[u8],
        fault: Option<Fault>,
        mood: Mood,
    ) -> Option<Vec<u8>> {
        let word = |at: usize| Some(u32::from_be_bytes(asked.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from(word(at)?) << 32 | u64::from(word(at + 4)?));
        let transaction = word(12)?.to_be_bytes();
        let error = |text: &str| [&3u32.to_be_bytes()[..], &transaction, text.as_bytes()].concat();
        if fault == Some(Fault::TrackerDead) {
            return None;
        }
        let mut answer = match (word(8)?, long(0)?) {
            (0, PROTOCOL) => [&0u32.to_be_bytes()[..], &transaction, &CONNECTION.to_be_bytes()].concat(),
            (1, CONNECTION) if asked.len() >= 98 => {
                let port = u16::from_be_bytes([asked[96], asked[97]]);
                let ourselves = fault == Some(Fault::TrackerOurselves);
                let mut peers = self.announced(*from.ip(), port, word(80)? == 3, ourselves);
                match fault {
                    Some(Fault::TrackerEmpty) => peers.clear(),
                    // As many as fit into a datagram.
                    Some(Fault::TrackerMillion) => peers = strangers(10_900, mood),
                    _ => {}
                }
                let interval = if fault == Some(Fault::TrackerZero) { 0 } else { INTERVAL_S };
                let [complete, incomplete, _] = self.counts();
                let numbers = [interval, incomplete, complete].map(u32::to_be_bytes).concat();
                [&1u32.to_be_bytes()[..], &transaction, &numbers, &peers].concat()
            }
            (2, CONNECTION) if asked.len() >= 36 => {
                let [complete, incomplete, downloaded] = self.counts();
                let mut numbers = vec![complete, downloaded, incomplete];
                match fault {
                    Some(Fault::TrackerEmpty) => numbers.clear(),
                    Some(Fault::TrackerExtras) => numbers = vec![u32::MAX, 1 << 31, u32::MAX],
                    // As many as fit into a datagram.
                    Some(Fault::TrackerMillion) => numbers.extend((0..16_000).map(|n| n ^ mood as u32)),
                    _ => {}
                }
                let numbers: Vec<u8> = numbers.into_iter().flat_map(u32::to_be_bytes).collect();
                [&2u32.to_be_bytes()[..], &transaction, &numbers].concat()
            }
            _ => error("unknown connection id"),
        };
        match fault {
            Some(Fault::TrackerHangs | Fault::TrackerLossy) => return None,
            Some(Fault::TrackerRefuses | Fault::TrackerFails) => answer = error("not today"),
            Some(Fault::TrackerMalformed) => answer.truncate(mood as usize % answer.len()),
            _ => {}
        }
        Some(answer)
    }
}

/// What becomes of a body on its way out.
fn answered(target: &str, mut body: Vec<u8>, fault: Option<Fault>, mood: Mood) -> Option<FetchReply> {
    let mut reply = FetchReply { status: 200, ..FetchReply::default() };
    match fault {
        Some(Fault::TrackerHangs) => return None,
        Some(Fault::TrackerRefuses) => (reply.status, body) = ([503, 404, 500][(mood % 3) as usize], Vec::new()),
        Some(Fault::TrackerFails) if mood.is_multiple_of(3) => {
            // Not "never": that would split the swarm for good.
            body = b"d14:failure reason9:not today8:retry ini10ee".to_vec();
        }
        Some(Fault::TrackerFails) => body = b"d14:failure reason9:not todaye".to_vec(),
        Some(Fault::TrackerMalformed) => match mood % 4 {
            0 => body.truncate((mood / 4) as usize % body.len()),
            1 => body = b"<html>".to_vec(),
            2 => body.clear(),
            _ => body = b"d8:intervali-5e5:peers3:abce".to_vec(),
        },
        Some(Fault::TrackerLoop) => {
            (reply.status, body) = ([301, 302, 307][(mood % 3) as usize], Vec::new());
            // To itself, or to the same with more behind it.
            reply.location = Some(if mood.is_multiple_of(2) { target.to_owned() } else { format!("{target}&again=1") });
        }
        Some(Fault::TrackerGzip) => {
            reply.gzip = true;
            match mood % 3 {
                // Not gzip at all; a header and nonsense; a stored block that claims more than there is.
                0 => {}
                1 => body = [b"\x1f\x8b\x08\0\0\0\0\0\0\0", &mood.to_le_bytes()[..]].concat(),
                _ => body = [b"\x1f\x8b\x08\0\0\0\0\0\0\0\x01\xff\xff\0\0", &body[..]].concat(),
            }
        }
        _ => {}
    }
    reply.body = body;
    Some(reply)
}

/// Addresses where nobody lives.
fn strangers(count: u32, mood: Mood) -> Vec<u8> {
    let first = 0x6e00_0000 + (mood as u32 & 0xff_ffff);
    (first..first + count).flat_map(|ip| [&ip.to_be_bytes()[..], &6881u16.to_be_bytes()].concat()).collect()
}

/// The bytes that `%41` and the like stand for.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(out)
}
