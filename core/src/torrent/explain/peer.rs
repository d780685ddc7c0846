//! Why one connection is not faster.

use super::giving::{is_stuck, since_asked};
use super::{Shared, Torrent, Waits, oldest_of, requests_of};
use crate::choker::{count_ahead, next_turn_in};
use crate::explain::{Cause, Explanation};
use crate::id::{BLOCK_LEN, ConnId};
use crate::peer::{Peer, Stage};
use crate::time::{Duration, Instant};
use crate::view::TorrentState;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

impl Torrent {
    /// All its connections, also those that are being made, with the other side's addresses.
    pub(crate) fn connections(&self) -> impl Iterator<Item = (ConnId, SocketAddr)> {
        self.peers.values().map(|peer| (peer.conn, peer.addr))
    }

    /// Why a connection is not faster; `None` when it is not the torrent's.
    pub(crate) fn explain_peer(&self, now: Instant, shared: &Shared, conn: ConnId) -> Option<Explanation> {
        let peer = self.peers.get(&conn)?;
        Some(match why_not_live(now, shared, peer) {
            Some(cause) => Explanation { down: vec![cause], up: Vec::new() },
            None => Explanation {
                down: vec![self.why_peer_not_down(now, shared, peer)],
                up: vec![self.why_peer_not_up(now, shared, peer)],
            },
        })
    }

    fn why_peer_not_down(&self, now: Instant, shared: &Shared, peer: &Peer) -> Cause {
        if self.state != TorrentState::Downloading || self.pieces.is_finished() {
            return self.disk_trouble(now).unwrap_or_else(|| self.complete());
        }
        let requests = requests_of(peer);
        let waited = oldest_of(peer).map_or(Duration::ZERO, |sent| now.since(sent));
        let rate = peer.down.per_second();
        match () {
            () if !peer.am_interested => Cause::HasNothingForUs { pieces: peer.has.count() },
            () if peer.peer_choking => Cause::ChokesUs,
            () if self.lines.down.turns.contains(peer.conn) => {
                self.down_limit(shared, rate, 1).unwrap_or(Cause::AnswersAwaited { requests, peers: 1, waited })
            }
            () if peer.pipeline.is_snubbed() => Cause::Snubs { waited: waited.max(now.since(peer.last_progress)) },
            () if requests > 0 && rate == 0 => Cause::AnswersAwaited { requests, peers: 1, waited },
            () if requests > 0 => {
                self.window_full(shared, peer, requests).unwrap_or(Cause::Receiving { peers: 1, bytes_per_s: rate })
            }
            () => self.buffers_full(shared).unwrap_or_else(|| match self.count_unasked_of(peer) {
                0 => Cause::AskedElsewhere { pieces: peer.wanted },
                pieces => self.asked_next(now, pieces),
            }),
        }
    }

    /// Pieces of this peer that nobody is asked for.
    fn count_unasked_of(&self, peer: &Peer) -> u32 {
        let lacking = peer.has.iter_ones_not_in(self.pieces.settled());
        lacking.filter(|piece| self.waits_for(*piece) == Waits::Asking).count() as u32
    }

    /// More could be asked for, if the peer, or our share of buffers, let us.
    fn window_full(&self, shared: &Shared, peer: &Peer, requests: u32) -> Option<Cause> {
        let round_trip = peer.pipeline.round_trip().filter(|time| !time.is_zero())?;
        let (window, share) = (peer.pipeline.window(), self.share_of_pool(shared));
        let is_full = requests >= window.min(share) && (share < window || peer.pipeline.is_bounded());
        let bytes = u128::from(requests) * u128::from(BLOCK_LEN);
        let most_bytes_per_s = u64::try_from(bytes * 1_000_000 / round_trip.as_micros()).unwrap_or(u64::MAX);
        is_full.then_some(Cause::WindowFull { requests, round_trip, most_bytes_per_s })
    }

    fn why_peer_not_up(&self, now: Instant, shared: &Shared, peer: &Peer) -> Cause {
        let rate = peer.up.per_second();
        match () {
            () if is_stuck(now, peer) => Cause::NotReading { peers: 1, waited: now.since(peer.tx_moved) },
            () if !peer.peer_interested => Cause::NotInterested,
            () if shared.config.upload_slots == 0 => Cause::NoSlots,
            () if peer.am_choking() => {
                let (chokees, (slots, earned)) = (self.chokees(now), self.count_slots_taken());
                let ahead = count_ahead(now, &chokees, peer.conn) as u32;
                Cause::ChokedByUs { slots, earned, ahead, next_in: next_turn_in(now, &chokees, self.upload_slots) }
            }
            () => self.up_limit(shared, rate, core::iter::once(peer)).unwrap_or_else(|| match () {
                () if rate > 0 || !peer.uploads.is_empty() => Cause::Sending { peers: 1, bytes_per_s: rate },
                () => Cause::AskNothing { peers: 1, waited: since_asked(now, peer) },
            }),
        }
    }
}

/// A connection that is still being made.
pub(crate) fn why_not_live(now: Instant, shared: &Shared, peer: &Peer) -> Option<Cause> {
    let waited = now.since(peer.stage_since);
    let left = |timeout: Duration| timeout.saturating_sub(waited);
    match peer.stage {
        Stage::Dialing => Some(Cause::Dialing { waited, gives_up_in: left(shared.config.dial_timeout) }),
        Stage::Handshaking => Some(Cause::Handshaking { waited, gives_up_in: left(shared.config.handshake_timeout) }),
        Stage::Live => None,
    }
}
