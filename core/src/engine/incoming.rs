//! Connections that came in and have not yet named their torrent.
//!
//! Bounded in number and time: a host that connects and says nothing costs a place for ten seconds, and never the last one.

use super::Engine;
use crate::action::CloseReason;
use crate::config::Config;
use crate::engine::TimerKind;
use crate::fault::PeerFault;
use crate::id::{ConnId, InfoHash};
use crate::peer::{Peer, Stage};
use crate::time::Instant;
use crate::torrent::Shared;
use crate::wire::{Handshake, Item};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// How many may wait for a handshake at a time; the oldest makes way for a new one, so that silent ones cannot lock others out.
const MAX_WAITING: usize = 64;
/// How many of them may come from one host, so that one host alone pushes out only itself.
const MAX_WAITING_PER_HOST: usize = 16;

/// The waiting connections. Their numbers need not come in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Incoming {
    waiting: BTreeMap<ConnId, Peer>,
}

impl Incoming {
    fn put(&mut self, shared: &mut Shared, peer: Peer) {
        self.waiting.insert(peer.conn, peer);
        shared.unnamed = self.waiting.len();
    }

    /// One of them.
    pub(super) fn get(&self, conn: ConnId) -> Option<&Peer> {
        self.waiting.get(&conn)
    }

    pub(super) fn take(&mut self, shared: &mut Shared, conn: ConnId) -> Option<Peer> {
        let peer = self.waiting.remove(&conn);
        shared.unnamed = self.waiting.len();
        peer
    }

    /// Who makes way for a new one from `host`: of too many the oldest, its own before those of others.
    fn pick_oldest(&self, host: IpAddr) -> Option<ConnId> {
        let own = || self.waiting.values().filter(|peer| peer.addr.ip() == host);
        let oldest_of = |peers: &mut dyn Iterator<Item = &Peer>| {
            peers.min_by_key(|peer| (peer.stage_since, peer.conn)).map(|peer| peer.conn)
        };
        if own().count() >= MAX_WAITING_PER_HOST {
            oldest_of(&mut own())
        } else if self.waiting.len() >= MAX_WAITING {
            oldest_of(&mut self.waiting.values())
        } else {
            None
        }
    }

    pub(super) fn next_deadline(&self, config: &Config) -> Option<Instant> {
        self.waiting.values().map(|peer| peer.stage_since + config.handshake_timeout).min()
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(super) fn check_invariants(&self, shared: &Shared) {
        assert!(self.waiting.len() <= MAX_WAITING, "who has not named a torrent is one of few");
        assert_eq!(shared.unnamed, self.waiting.len(), "connections without a torrent equal a recount");
        let is_linked = |conn| shared.conns.contains_key(conn);
        assert!(!self.waiting.keys().any(is_linked), "who has not named a torrent belongs to none");
    }

    pub(super) fn close_late(&mut self, now: Instant, shared: &mut Shared) {
        let timeout = shared.config.handshake_timeout;
        let late = self.waiting.values().filter(|peer| peer.stage_since + timeout <= now).map(|peer| peer.conn);
        for conn in late.collect::<Vec<_>>() {
            shared.close(conn, PeerFault::HandshakeTimeout.into());
            self.take(shared, conn);
        }
    }

    pub(super) fn close_all(&mut self, shared: &mut Shared) {
        while let Some(conn) = self.waiting.keys().next().copied() {
            shared.close(conn, CloseReason::Stopped);
            self.take(shared, conn);
        }
    }
}

impl Engine {
    pub(super) fn handle_accepted(&mut self, now: Instant, conn: ConnId, from: SocketAddr) {
        let shared = &mut self.shared;
        let refusal = match () {
            () if self.stopping => Some(CloseReason::Stopped),
            () if shared.bans.contains(from) => Some(CloseReason::Banned),
            () if shared.connections() >= shared.config.max_connections => Some(CloseReason::Full),
            () => None,
        };
        if let Some(reason) = refusal {
            shared.close(conn, reason);
            return;
        }
        if let Some(oldest) = self.incoming.pick_oldest(from.ip()) {
            self.incoming.take(shared, oldest);
            shared.close(oldest, CloseReason::Full);
        }
        let mut peer = Peer::new(conn, from, now, Stage::Handshaking);
        shared.grant_first_read(&mut peer);
        self.incoming.put(shared, peer);
        self.timers.set(TimerKind::Incoming, self.incoming.next_deadline(&shared.config));
    }

    pub(super) fn handle_received(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        let Some(mut peer) = self.incoming.take(&mut self.shared, conn) else {
            self.with_torrent_of(conn, |torrent, shared| torrent.handle_received(now, shared, conn, bytes));
            return;
        };
        let mut rest = bytes;
        let heard = peer.decoder.next(&mut rest);
        let used = (bytes.len() - rest.len()) as u64;
        peer.read_credit = peer.read_credit.saturating_sub(used);
        self.shared.lines.down.bucket.refill(now);
        self.shared.lines.down.bucket.take(used);
        let handshake = match heard {
            Ok(Some(Item::Handshake(handshake))) => Ok(handshake),
            Ok(_) => {
                self.incoming.put(&mut self.shared, peer);
                return;
            }
            Err(fault) => Err(fault.into()),
        };
        let adopted = handshake.and_then(|handshake| self.hand_over(now, peer, &handshake));
        if let Err(reason) = adopted {
            self.shared.close(conn, reason);
            return;
        }
        // Also with nothing left: the peer may be asked at once.
        self.with_torrent_of(conn, |torrent, shared| torrent.handle_received(now, shared, conn, rest));
    }

    fn hand_over(&mut self, now: Instant, peer: Peer, theirs: &Handshake) -> Result<(), CloseReason> {
        let id = self.by_hash.get(&InfoHash::V1(theirs.info_hash)).ok_or(PeerFault::UnknownInfoHash)?;
        let torrent = self.torrents.get_mut(id).ok_or(PeerFault::UnknownInfoHash)?;
        torrent.adopt(now, &mut self.shared, peer, theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::breaches::check_breaches;
    use crate::id::{PeerId, TorrentId};

    fn put(state: &mut (Incoming, Shared), n: u64) {
        let addr = SocketAddr::from(([10, 0, 0, 1], 2000));
        state.0.put(&mut state.1, Peer::new(ConnId::accepted(n), addr, Instant::ZERO, Stage::Handshaking));
    }

    #[test]
    fn each_law_is_seen_to_be_broken() {
        let intact = || {
            let mut state = (Incoming::default(), Shared::new(Config::default(), PeerId([0; 20]), (Instant::ZERO, 0)));
            put(&mut state, 0);
            state
        };
        check_breaches(
            include_str!("incoming.rs"),
            intact,
            |(incoming, shared)| incoming.check_invariants(shared),
            &[
                ("who has not named a torrent is one of few", |state| (0..=64).for_each(|n| put(state, n))),
                ("connections without a torrent equal a recount", |state| state.1.unnamed += 1),
                ("who has not named a torrent belongs to none", |state| {
                    state.1.conns.insert(ConnId::accepted(0), TorrentId(1));
                }),
            ],
        );
    }
}
