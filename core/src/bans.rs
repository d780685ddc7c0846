//! Who is refused after sending a bad piece.
//!
//! The first offence bans one address and port: behind one address there may be many households, and on one machine many programs. The second
//! offence from the same address bans all of it, so coming back from another port does not help.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use core::net::{IpAddr, SocketAddr};

/// How many hosts are remembered; beyond, the list stays as it is. Some 400 KiB.
const MAX_HOSTS: usize = 10_000;

/// The banned, by host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bans {
    hosts: BTreeMap<IpAddr, Ban>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ban {
    Port(u16),
    Host,
}

impl Bans {
    /// The one at `addr` alone sent a bad piece.
    pub(crate) fn add(&mut self, addr: SocketAddr) {
        let full = self.hosts.len() >= MAX_HOSTS;
        match self.hosts.entry(addr.ip()) {
            Entry::Occupied(mut first) if *first.get() != Ban::Port(addr.port()) => {
                first.insert(Ban::Host);
            }
            Entry::Vacant(free) if !full => {
                free.insert(Ban::Port(addr.port()));
            }
            _ => {}
        }
    }

    /// How many hosts there are.
    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        assert!(self.hosts.len() <= MAX_HOSTS, "the banned are bounded");
    }

    /// Whether connections from and to `addr` are refused.
    pub(crate) fn contains(&self, addr: SocketAddr) -> bool {
        match self.hosts.get(&addr.ip()) {
            Some(Ban::Port(port)) => *port == addr.port(),
            Some(Ban::Host) => true,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::breaches::check_breaches;

    #[test]
    fn the_second_offence_bans_the_whole_host() {
        let addr = |host: u8, port| SocketAddr::from(([10, 0, 0, host], port));
        let mut bans = Bans::default();
        bans.add(addr(1, 2000));
        bans.add(addr(1, 2000));
        assert!(bans.contains(addr(1, 2000)) && !bans.contains(addr(1, 2001)));
        bans.add(addr(1, 2001));
        assert!(bans.contains(addr(1, 2002)) && !bans.contains(addr(2, 2000)));
    }

    #[test]
    fn each_law_is_seen_to_be_broken() {
        check_breaches(
            include_str!("bans.rs"),
            Bans::default,
            Bans::check_invariants,
            &[("the banned are bounded", |bans| {
                let hosts = (0..=MAX_HOSTS as u32).map(|n| IpAddr::from(n.to_be_bytes()));
                bans.hosts = hosts.map(|host| (host, Ban::Host)).collect();
            })],
        );
    }
}
