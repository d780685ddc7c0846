//! UDP on top of the swarms (BEP 15): a datagram in, at most one out, never to an address that is not proved.
//!
//! Pure. A connection id is a keyed hash of the sender's address and the minute, so the tracker remembers nothing of those who only connect, and
//! a forged sender costs one reply no longer than the request. Written apart from core's codec, so that each is checked by the other.

use super::http::put_compact;
use super::swarm::{Announce, Counts, Moment, Swarms};
use sameseed_core::hash::sha1;
use sameseed_core::time::Instant;
use std::net::SocketAddr;

/// What a connect begins with (BEP 15).
const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;
/// An id is taken in the minute it was given and in the two that follow (BEP 15: two minutes).
const ID_MINUTES: u64 = 2;
/// Peers in a reply when the client does not say.
const DEFAULT_WANTED: usize = 50;
/// Peers in a reply at most: with IPv6 the datagram stays below the 1,452 bytes that every Ethernet takes.
const MAX_WANTED: usize = 75;
/// Torrents in one scrape (BEP 15).
const MAX_SCRAPE: usize = 74;

/// Makes connection ids out of thin air, and knows its own.
#[derive(Debug)]
pub(crate) struct Gate {
    secret: [u8; 16],
}

impl Gate {
    /// A gate whose ids nobody can guess who does not know `secret`.
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Gate { secret }
    }

    fn id(&self, from: SocketAddr, minute: u64) -> u64 {
        let mut text = Vec::with_capacity(64);
        text.extend_from_slice(&self.secret);
        text.extend_from_slice(&minute.to_be_bytes());
        put_compact(&mut text, &from);
        let [a, b, c, d, e, f, g, h, ..] = sha1(&text);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    fn admits(&self, id: u64, from: SocketAddr, minute: u64) -> bool {
        (0..=ID_MINUTES).any(|age| minute >= age && self.id(from, minute - age) == id)
    }
}

/// The reply to a datagram. `None` when it is not worth one.
pub(crate) fn respond(
    datagram: &[u8],
    from: SocketAddr,
    interval_s: u32,
    now: Instant,
    gate: &Gate,
    swarms: &mut Swarms,
) -> Option<Vec<u8>> {
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    let minute = now.as_micros() / 60_000_000;
    let (id, rest) = datagram.split_first_chunk::<8>()?;
    let (action, rest) = rest.split_first_chunk::<4>()?;
    let (transaction, rest) = rest.split_first_chunk::<4>()?;
    let (id, action) = (u64::from_be_bytes(*id), u32::from_be_bytes(*action));
    let begin = |action: u32| [action.to_be_bytes(), *transaction].concat();

    if action == CONNECT {
        let mut out = begin(CONNECT);
        out.extend_from_slice(&gate.id(from, minute).to_be_bytes());
        return (id == PROTOCOL_ID).then_some(out);
    }
    let answer = if !gate.admits(id, from, minute) {
        Err("the connection id is not valid here, or no longer")
    } else if action == ANNOUNCE {
        announce(rest, from, interval_s, now, swarms, begin(ANNOUNCE))
    } else if action == SCRAPE {
        Ok(scrape(rest, swarms, begin(SCRAPE)))
    } else {
        Err("no such action")
    };
    let out = answer.unwrap_or_else(|reason| {
        let mut out = begin(ERROR);
        out.extend_from_slice(reason.as_bytes());
        out
    });
    // An address that has proved nothing gets no more than it sent.
    (gate.admits(id, from, minute) || out.len() <= datagram.len()).then_some(out)
}

fn announce(
    body: &[u8],
    from: SocketAddr,
    interval_s: u32,
    now: Instant,
    swarms: &mut Swarms,
    mut out: Vec<u8>,
) -> Result<Vec<u8>, &'static str> {
    let short = "the announce is too short";
    let (info_hash, rest) = body.split_first_chunk::<20>().ok_or(short)?;
    let (peer_id, rest) = rest.split_first_chunk::<20>().ok_or(short)?;
    // downloaded, left, uploaded
    let (counters, rest) = rest.split_first_chunk::<24>().ok_or(short)?;
    // event, address (not honoured, as with HTTP), key, number wanted
    let (words, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
    let (port, _) = rest.split_first_chunk::<2>().ok_or(short)?;
    let [_, left, _] = *counters.as_chunks::<8>().0 else { return Err(short) };
    let [event, _, _, wanted] = *words.as_chunks::<4>().0 else { return Err(short) };
    let port = u16::from_be_bytes(*port);
    if port == 0 {
        return Err("the port is 0");
    }
    // -1 is "as you like"
    let wanted = usize::try_from(i32::from_be_bytes(wanted)).unwrap_or(DEFAULT_WANTED).min(MAX_WANTED);
    let moment = match u32::from_be_bytes(event) {
        1 => Moment::Completed,
        3 => Moment::Stopped,
        _ => Moment::Present,
    };
    let neighbours = swarms.announce(
        now,
        &Announce {
            info_hash: *info_hash,
            peer_id: *peer_id,
            addr: SocketAddr::new(from.ip(), port),
            seed: u64::from_be_bytes(left) == 0,
            moment,
            wanted,
            same_family: true,
        },
    )?;
    for number in [interval_s, neighbours.counts.leechers, neighbours.counts.seeds] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    neighbours.peers.iter().for_each(|(addr, _)| put_compact(&mut out, addr));
    Ok(out)
}

fn scrape(body: &[u8], swarms: &Swarms, mut out: Vec<u8>) -> Vec<u8> {
    for info_hash in body.as_chunks::<20>().0.iter().take(MAX_SCRAPE) {
        let Counts { seeds, completed, leechers } = swarms.scrape(info_hash);
        for number in [seeds, completed, leechers] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::time::Duration;

    struct Tracker {
        gate: Gate,
        swarms: Swarms,
    }

    impl Tracker {
        fn new() -> Self {
            Tracker { gate: Gate::new([7; 16]), swarms: Swarms::new(Duration::from_secs(600)) }
        }

        fn ask(&mut self, at_s: u64, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
            respond(datagram, from, 60, Instant::from_secs(at_s), &self.gate, &mut self.swarms)
        }

        fn connect(&mut self, at_s: u64, from: SocketAddr) -> [u8; 8] {
            let reply = self.ask(at_s, from, &request(&PROTOCOL_ID.to_be_bytes(), CONNECT, &[])).unwrap();
            assert_eq!(reply[..8], [0, 0, 0, 0, b't', b'x', b'i', b'd']);
            reply[8..].try_into().unwrap()
        }
    }

    fn request(id: &[u8; 8], action: u32, body: &[u8]) -> Vec<u8> {
        [&id[..], &action.to_be_bytes(), b"txid", body].concat()
    }

    fn announce_body(left: u64, event: u32, wanted: i32, port: u16) -> Vec<u8> {
        let mut body = [[1; 20], *b"-XX0000-aaaaaaaaaaaa"].concat();
        [0, left, 0].iter().for_each(|n: &u64| body.extend_from_slice(&n.to_be_bytes()));
        [event, 0, 0].iter().for_each(|n: &u32| body.extend_from_slice(&n.to_be_bytes()));
        body.extend_from_slice(&wanted.to_be_bytes());
        body.extend_from_slice(&port.to_be_bytes());
        body
    }

    fn host(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 5000))
    }

    #[test]
    fn two_peers_meet() {
        let mut tracker = Tracker::new();
        let id = tracker.connect(0, host(1));
        let reply = tracker.ask(0, host(1), &request(&id, ANNOUNCE, &announce_body(0, 2, -1, 6881))).unwrap();
        assert_eq!(reply, [&[0, 0, 0, 1][..], b"txid", &[0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 1]].concat());
        let id = tracker.connect(0, host(2));
        let reply = tracker.ask(0, host(2), &request(&id, ANNOUNCE, &announce_body(5, 2, -1, 6882))).unwrap();
        assert_eq!(reply[8..], [0, 0, 0, 60, 0, 0, 0, 1, 0, 0, 0, 1, 10, 0, 0, 1, 0x1a, 0xe1]);
        let reply = tracker.ask(0, host(2), &request(&id, SCRAPE, &[[1; 20], [2; 20]].concat())).unwrap();
        assert_eq!(reply[8..], [[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1], [0; 12]].concat());
        let reply = tracker.ask(0, host(2), &request(&id, ANNOUNCE, &announce_body(5, 3, -1, 6882))).unwrap();
        assert_eq!(reply[8..], [0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_connection_id_belongs_to_one_address_and_expires() {
        let mut tracker = Tracker::new();
        let id = tracker.connect(59, host(1));
        let announce = request(&id, ANNOUNCE, &announce_body(0, 0, -1, 6881));
        let action = |reply: Option<Vec<u8>>| reply.unwrap()[3];
        assert_eq!(action(tracker.ask(179, host(1), &announce)), ANNOUNCE as u8);
        assert_eq!(action(tracker.ask(180, host(1), &announce)), ERROR as u8);
        assert_eq!(action(tracker.ask(60, host(2), &announce)), ERROR as u8);
        let other_port = SocketAddr::from(([10, 0, 0, 1], 5001));
        assert_eq!(action(tracker.ask(60, other_port, &announce)), ERROR as u8);
    }

    #[test]
    fn who_has_not_proved_its_address_gets_no_more_than_it_sent() {
        let mut tracker = Tracker::new();
        for action in [0, 1, 2, 3, u32::MAX] {
            for len in 0..120 {
                for id in [[0; 8], PROTOCOL_ID.to_be_bytes()] {
                    let mut datagram = request(&id, action, &[0xff; 120]);
                    datagram.truncate(len);
                    let reply = tracker.ask(0, host(1), &datagram);
                    assert!(reply.is_none_or(|reply| reply.len() <= len));
                }
            }
        }
    }

    #[test]
    fn cut_or_senseless_announces_get_an_error_and_are_not_remembered() {
        let mut tracker = Tracker::new();
        let id = tracker.connect(0, host(1));
        let whole = request(&id, ANNOUNCE, &announce_body(0, 0, -1, 6881));
        for len in 16..whole.len() {
            assert_eq!(tracker.ask(0, host(1), &whole[..len]).unwrap()[3], ERROR as u8);
        }
        let port_0 = request(&id, ANNOUNCE, &announce_body(0, 0, -1, 0));
        assert_eq!(tracker.ask(0, host(1), &port_0).unwrap()[3], ERROR as u8);
        assert_eq!(tracker.swarms.scrape(&[1; 20]), Counts::default());
    }

    #[test]
    fn a_reply_fits_into_one_datagram() {
        let mut tracker = Tracker::new();
        let host = |n| SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, n], 5000));
        let mut longest = 0;
        for n in 0..200 {
            let id = tracker.connect(0, host(n));
            let announce = request(&id, ANNOUNCE, &announce_body(1, 0, i32::MAX, 6881));
            longest = longest.max(tracker.ask(0, host(n), &announce).unwrap().len());
        }
        assert_eq!(longest, 20 + 18 * MAX_WANTED);
    }
}
