//! Who shares what, in memory: the tracker's only state.
//!
//! Pure: time is an argument and nothing here is random. It never grows without bound: torrents and peers are counted, and whoever is
//! silent for long is forgotten, as is a torrent without peers.

use sameseed_core::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;

/// Torrents kept at a time; far more than a local network shares, and some 10 MiB at most.
const MAX_TORRENTS: usize = 10_000;
/// Peers kept per torrent: one hostile host can invent 65,535 of them.
const MAX_PEERS_PER_TORRENT: usize = 1_000;
/// Peers kept in all, so that 10,000 torrents of 1,000 peers do not take gigabytes; some 20 MiB.
const MAX_PEERS: usize = 100_000;

/// What an announce is about (BEP 3 `event`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Started, or the regular announce.
    Present,
    /// The download has just become complete.
    Completed,
    /// It leaves.
    Stopped,
}

/// One announce, whichever way it came.
#[derive(Clone, Debug)]
pub(crate) struct Announce {
    pub(crate) info_hash: [u8; 20],
    pub(crate) peer_id: [u8; 20],
    /// The sender's address, as seen by us, and the port that it claims to listen on.
    pub(crate) addr: SocketAddr,
    /// It has everything.
    pub(crate) seed: bool,
    pub(crate) moment: Moment,
    /// How many peers to give at most.
    pub(crate) wanted: usize,
    /// Only addresses of the sender's family fit the reply.
    pub(crate) same_family: bool,
}

/// How many share a torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) seeds: u32,
    pub(crate) leechers: u32,
    /// Downloads that became complete while the torrent was known.
    pub(crate) completed: u32,
}

/// The answer to an announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbours {
    pub(crate) counts: Counts,
    /// Address and peer id.
    pub(crate) peers: Vec<(SocketAddr, [u8; 20])>,
}

/// All torrents.
#[derive(Debug)]
pub(crate) struct Swarms {
    torrents: BTreeMap<[u8; 20], Swarm>,
    /// Peers in all torrents together.
    peers: usize,
    /// A peer that has not announced for so long is forgotten.
    lifetime: Duration,
}

#[derive(Debug, Default)]
struct Swarm {
    peers: BTreeMap<SocketAddr, Peer>,
    completed: u32,
    /// The last peer that was given out: the next reply begins behind it, so that all are named equally often.
    given: Option<SocketAddr>,
}

#[derive(Debug)]
struct Peer {
    id: [u8; 20],
    seed: bool,
    expires: Instant,
}

impl Swarms {
    /// No torrents yet.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Swarms { torrents: BTreeMap::new(), peers: 0, lifetime }
    }

    /// Notes the sender and names others. The error is a sentence for the sender.
    pub(crate) fn announce(&mut self, now: Instant, announce: &Announce) -> Result<Neighbours, &'static str> {
        if announce.moment == Moment::Stopped {
            return Ok(self.forget(announce));
        }
        let known = self.torrents.get(&announce.info_hash);
        let known_peer = known.is_some_and(|swarm| swarm.peers.contains_key(&announce.addr));
        if known.is_none() && self.torrents.len() >= MAX_TORRENTS {
            return Err("this tracker knows as many torrents as it can");
        }
        if !known_peer
            && (self.peers >= MAX_PEERS || known.is_some_and(|swarm| swarm.peers.len() >= MAX_PEERS_PER_TORRENT))
        {
            return Err("this tracker knows as many peers as it can");
        }
        self.peers += usize::from(!known_peer);
        let swarm = self.torrents.entry(announce.info_hash).or_default();
        let peer = Peer { id: announce.peer_id, seed: announce.seed, expires: now + self.lifetime };
        let before = swarm.peers.insert(announce.addr, peer);
        // Repeated `completed` of one peer counts once.
        if announce.moment == Moment::Completed && !before.is_some_and(|peer| peer.seed) {
            swarm.completed = swarm.completed.saturating_add(1);
        }
        Ok(Neighbours { counts: swarm.counts(), peers: swarm.pick(announce) })
    }

    /// The counts of a torrent; zeros when it is not known.
    pub(crate) fn scrape(&self, info_hash: &[u8; 20]) -> Counts {
        self.torrents.get(info_hash).map_or(Counts::default(), Swarm::counts)
    }

    /// Forgets who has been silent for too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.torrents.retain(|_, swarm| {
            swarm.peers.retain(|_, peer| peer.expires > now);
            !swarm.peers.is_empty()
        });
        self.peers = self.torrents.values().map(|swarm| swarm.peers.len()).sum();
    }

    fn forget(&mut self, announce: &Announce) -> Neighbours {
        let mut counts = Counts::default();
        if let Some(swarm) = self.torrents.get_mut(&announce.info_hash) {
            self.peers -= usize::from(swarm.peers.remove(&announce.addr).is_some());
            counts = swarm.counts();
            if swarm.peers.is_empty() {
                self.torrents.remove(&announce.info_hash);
            }
        }
        Neighbours { counts, peers: Vec::new() }
    }
}

impl Swarm {
    fn counts(&self) -> Counts {
        let seeds = self.peers.values().filter(|peer| peer.seed).count();
        Counts { seeds: seeds as u32, leechers: (self.peers.len() - seeds) as u32, completed: self.completed }
    }

    /// Others, beginning behind the last one given; seeds are of no use to a seed.
    fn pick(&mut self, announce: &Announce) -> Vec<(SocketAddr, [u8; 20])> {
        let start = self.given.map_or(Bound::Unbounded, Bound::Excluded);
        let end = self.given.map_or(Bound::Excluded(announce.addr), Bound::Included);
        let behind = self.peers.range((start, Bound::Unbounded));
        let before = self.peers.range((Bound::Unbounded, end)).take(if self.given.is_some() { usize::MAX } else { 0 });
        let picked: Vec<_> = behind
            .chain(before)
            .filter(|(addr, peer)| {
                **addr != announce.addr
                    && !(announce.seed && peer.seed)
                    && (!announce.same_family || addr.is_ipv4() == announce.addr.is_ipv4())
            })
            .take(announce.wanted)
            .map(|(addr, peer)| (*addr, peer.id))
            .collect();
        if let Some((last, _)) = picked.last() {
            self.given = Some(*last);
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const LIFETIME: Duration = Duration::from_secs(600);

    fn announce(torrent: u8, port: u16) -> Announce {
        Announce {
            info_hash: [torrent; 20],
            peer_id: [port as u8; 20],
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            seed: false,
            moment: Moment::Present,
            wanted: 50,
            same_family: false,
        }
    }

    fn ports(neighbours: &Neighbours) -> Vec<u16> {
        neighbours.peers.iter().map(|(addr, _)| addr.port()).collect()
    }

    #[test]
    fn peers_are_named_to_each_other_but_never_to_themselves() {
        let mut swarms = Swarms::new(LIFETIME);
        let now = Instant::ZERO;
        assert!(ports(&swarms.announce(now, &announce(1, 1)).unwrap()).is_empty());
        assert_eq!(ports(&swarms.announce(now, &announce(1, 2)).unwrap()), [1]);
        assert_eq!(ports(&swarms.announce(now, &announce(1, 1)).unwrap()), [2]);
        assert!(ports(&swarms.announce(now, &announce(9, 3)).unwrap()).is_empty());
        let stopped = Announce { moment: Moment::Stopped, ..announce(1, 2) };
        assert!(ports(&swarms.announce(now, &stopped).unwrap()).is_empty());
        assert!(ports(&swarms.announce(now, &announce(1, 1)).unwrap()).is_empty());
    }

    #[test]
    fn seeds_are_not_named_to_seeds() {
        let mut swarms = Swarms::new(LIFETIME);
        let seed = |port| Announce { seed: true, ..announce(1, port) };
        swarms.announce(Instant::ZERO, &seed(1)).unwrap();
        assert!(ports(&swarms.announce(Instant::ZERO, &seed(2)).unwrap()).is_empty());
        let neighbours = swarms.announce(Instant::ZERO, &announce(1, 3)).unwrap();
        assert_eq!(ports(&neighbours), [1, 2]);
        assert_eq!(neighbours.counts, Counts { seeds: 2, leechers: 1, completed: 0 });
    }

    #[test]
    fn every_peer_is_named_equally_often() {
        let mut swarms = Swarms::new(LIFETIME);
        (1..=10).for_each(|port| drop(swarms.announce(Instant::ZERO, &Announce { wanted: 0, ..announce(1, port) })));
        let mut named = [0; 11];
        for _ in 0..30 {
            for port in ports(&swarms.announce(Instant::ZERO, &Announce { wanted: 3, ..announce(1, 10) }).unwrap()) {
                named[usize::from(port)] += 1;
            }
        }
        assert_eq!(named, [0, 10, 10, 10, 10, 10, 10, 10, 10, 10, 0]);
    }

    #[test]
    fn one_reply_names_nobody_twice() {
        let mut swarms = Swarms::new(LIFETIME);
        for port in 1..=9 {
            let mut named = ports(&swarms.announce(Instant::ZERO, &announce(1, port)).unwrap());
            named.sort_unstable();
            assert_eq!(named, (1..port).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_silent_are_forgotten_and_their_torrents_too() {
        let mut swarms = Swarms::new(LIFETIME);
        swarms.announce(Instant::ZERO, &announce(1, 1)).unwrap();
        swarms.announce(Instant::from_secs(300), &announce(1, 2)).unwrap();
        swarms.expire(Instant::from_secs(600));
        assert_eq!(swarms.scrape(&[1; 20]).leechers, 1);
        assert_eq!(swarms.peers, 1);
        swarms.expire(Instant::from_secs(900));
        assert!(swarms.torrents.is_empty());
        assert_eq!(swarms.peers, 0);
    }

    #[test]
    fn completed_counts_each_peer_once() {
        let mut swarms = Swarms::new(LIFETIME);
        let completed = Announce { moment: Moment::Completed, seed: true, ..announce(1, 1) };
        swarms.announce(Instant::ZERO, &announce(1, 1)).unwrap();
        swarms.announce(Instant::ZERO, &completed).unwrap();
        assert_eq!(swarms.announce(Instant::ZERO, &completed).unwrap().counts.completed, 1);
    }

    #[test]
    fn a_flood_is_refused_at_the_limits_and_known_peers_stay_served() {
        let mut swarms = Swarms::new(LIFETIME);
        for port in 1..=MAX_PEERS_PER_TORRENT as u16 {
            swarms.announce(Instant::ZERO, &announce(1, port)).unwrap();
        }
        assert!(swarms.announce(Instant::ZERO, &announce(1, 60_000)).is_err());
        assert!(swarms.announce(Instant::ZERO, &announce(1, 1)).is_ok());
        for n in 1..MAX_TORRENTS as u32 {
            let mut one = announce(2, 1);
            one.info_hash[..4].copy_from_slice(&n.to_be_bytes());
            swarms.announce(Instant::ZERO, &one).unwrap();
        }
        assert!(swarms.announce(Instant::ZERO, &announce(3, 1)).is_err());
        assert_eq!(swarms.torrents.len(), MAX_TORRENTS);
    }

    #[test]
    fn families_are_kept_apart_when_asked() {
        let mut swarms = Swarms::new(LIFETIME);
        let v6 = Announce { addr: SocketAddr::new(IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1]), 6), ..announce(1, 6) };
        swarms.announce(Instant::ZERO, &v6).unwrap();
        let same = Announce { same_family: true, ..announce(1, 1) };
        assert!(ports(&swarms.announce(Instant::ZERO, &same).unwrap()).is_empty());
        assert_eq!(ports(&swarms.announce(Instant::ZERO, &announce(1, 1)).unwrap()), [6]);
    }
}
