//! Our own addresses as others see them: told by trackers (BEP 24) and by peers (`yourip`, BEP 10), believed by majority.
//!
//! A word is a vote, one for each host that says something, the newest. A tracker weighs as much as [`ENOUGH`] peers, so it is believed as long as
//! nobody contradicts; no single peer is. Who stands near sees another address of ours than who stands in the world, so each sort of them is asked about
//! its own.

use crate::tracker::reach::{Reach, reach_of};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

/// Votes kept, the newest: more than there are peers at a time in one torrent, and a few KiB.
const MAX_VOTES: usize = 100;
/// Nothing is believed that fewer peers say: one liar may not decide, nor one with a friend.
const ENOUGH: u32 = 3;

/// Who says what our address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    /// A peer, who may be anybody.
    Peer,
    /// A tracker, which was chosen.
    Tracker,
}

#[derive(Clone, Copy, Debug)]
struct Vote {
    voter: IpAddr,
    said: IpAddr,
    weight: u32,
}

/// What others say, and what is believed of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct External {
    votes: VecDeque<Vote>,
    believed: Vec<IpAddr>,
}

impl External {
    /// The addresses that are believed: at most one of each family and reach.
    pub(crate) fn believed(&self) -> &[IpAddr] {
        &self.believed
    }

    /// Somebody at `from` says that we are `said`. Whether that changes what is believed.
    pub(crate) fn hear(&mut self, from: IpAddr, said: IpAddr, witness: Witness) -> bool {
        let (from, said) = (from.to_canonical(), said.to_canonical());
        if said.is_loopback() || reach_of(said) == Reach::Nowhere || realm(from) != realm(said) {
            return false;
        }
        let voter = household(from);
        self.votes.retain(|vote| vote.voter != voter);
        if self.votes.len() >= MAX_VOTES {
            self.votes.pop_front();
        }
        self.votes.push_back(Vote { voter, said, weight: if witness == Witness::Tracker { ENOUGH } else { 1 } });
        let believed = self.count();
        let changed = believed != self.believed;
        self.believed = believed;
        changed
    }

    /// What more than half of the votes about its family and reach say, when they are enough.
    fn count(&self) -> Vec<IpAddr> {
        let mut weights: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for vote in &self.votes {
            *weights.entry(vote.said).or_default() += vote.weight;
        }
        let wins = |(ip, weight): &(&IpAddr, &u32)| {
            let rivals = weights.iter().filter(|(other, _)| realm(**other) == realm(**ip));
            **weight >= ENOUGH && **weight * 2 > rivals.map(|(_, weight)| weight).sum::<u32>()
        };
        weights.iter().filter(wins).map(|(ip, _)| *ip).collect()
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        assert!(self.votes.len() <= MAX_VOTES, "votes about our address are bounded");
        assert_eq!(self.believed, self.count(), "what is believed of our address equals a recount");
    }
}

/// Whose words are about the same address of ours.
fn realm(ip: IpAddr) -> (bool, Reach) {
    (ip.is_ipv4(), reach_of(ip))
}

/// Who counts as one voter: a host, which in IPv6 has a whole /64 of addresses.
fn household(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::breaches::check_breaches;
    use alloc::vec;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn peer(n: u8) -> IpAddr {
        IpAddr::from([80, 0, 0, n])
    }

    #[test]
    fn three_peers_are_believed_and_fewer_are_not() {
        let mut external = External::default();
        for n in [1, 2, 2, 2] {
            assert!(!external.hear(peer(n), ip("1.2.3.4"), Witness::Peer));
        }
        assert!(external.hear(peer(3), ip("::ffff:1.2.3.4"), Witness::Peer), "in either form");
        assert_eq!(external.believed(), [ip("1.2.3.4")]);
        assert!(!external.hear(peer(4), ip("1.2.3.4"), Witness::Peer), "no news");
    }

    #[test]
    fn a_liar_that_says_much_has_one_vote() {
        let mut external = External::default();
        external.hear(peer(1), ip("1.2.3.4"), Witness::Tracker);
        for n in 0..1000 {
            external.hear(ip("6.6.6.6"), IpAddr::from([9, 9, 9, (n % 200) as u8]), Witness::Peer);
            external.check_invariants();
        }
        assert_eq!(external.believed(), [ip("1.2.3.4")]);
        let mut alone = External::default();
        (0..1000u16)
            .for_each(|n| _ = alone.hear(IpAddr::from([0x2a00, 1, 1, 1, 0, 0, 0, n]), ip("2a00::9"), Witness::Peer));
        assert!(alone.believed().is_empty(), "a /64 is one voter");
    }

    #[test]
    fn a_tracker_is_believed_until_more_peers_contradict() {
        let mut external = External::default();
        assert!(external.hear(peer(1), ip("9.9.9.9"), Witness::Tracker));
        (2..5).for_each(|n| _ = external.hear(peer(n), ip("1.2.3.4"), Witness::Peer));
        assert!(external.believed().is_empty(), "words against words");
        assert!(external.hear(peer(5), ip("1.2.3.4"), Witness::Peer));
        assert_eq!(external.believed(), [ip("1.2.3.4")]);
    }

    #[test]
    fn a_new_address_is_taken_over_when_most_have_noticed() {
        let mut external = External::default();
        (1..6).for_each(|n| _ = external.hear(peer(n), ip("1.2.3.4"), Witness::Peer));
        (1..4).for_each(|n| _ = external.hear(peer(n), ip("1.2.3.5"), Witness::Peer));
        assert_eq!(external.believed(), [ip("1.2.3.5")]);
    }

    #[test]
    fn who_is_near_and_who_is_far_are_asked_about_different_addresses() {
        let mut external = External::default();
        for n in 1..4 {
            external.hear(IpAddr::from([192, 168, 0, n]), ip("192.168.0.9"), Witness::Peer);
            external.hear(IpAddr::from([192, 168, 0, n]), ip("8.8.8.8"), Witness::Peer);
            external.hear(peer(n), ip("10.0.0.1"), Witness::Peer);
            external.hear(peer(n), ip("127.0.0.1"), Witness::Peer);
            external.hear(peer(n), ip("0.0.0.0"), Witness::Peer);
            external.hear(peer(n), ip("2606:4700::1"), Witness::Peer);
        }
        assert_eq!(external.believed(), [ip("192.168.0.9")]);
        external.hear(peer(1), ip("1.2.3.4"), Witness::Tracker);
        external.hear(ip("2606:4700::1"), ip("2606:4700::2"), Witness::Tracker);
        assert_eq!(external.believed(), [ip("1.2.3.4"), ip("192.168.0.9"), ip("2606:4700::2")]);
    }

    #[test]
    fn each_law_is_seen_to_be_broken() {
        check_breaches(
            include_str!("external.rs"),
            External::default,
            External::check_invariants,
            &[
                ("votes about our address are bounded", |external| {
                    let vote = Vote { voter: ip("1.1.1.1"), said: ip("1.2.3.4"), weight: 0 };
                    external.votes = vec![vote; MAX_VOTES + 1].into();
                }),
                ("what is believed of our address equals a recount", |external| external.believed.push(ip("6.6.6.6"))),
            ],
        );
    }
}
