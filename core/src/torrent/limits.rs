//! How fast the bytes of a torrent's peers flow, when there is a limit: who may be read from, whose payload leaves.
//!
//! Received bytes are limited by what the driver may read, sent ones by what is let go from the send queues; both are counted by the torrent and by all
//! torrents together. Who waits for a share has its turn in order, for so many bytes: no peer starves. Without a limit nothing here costs anything.

use super::{Shared, Torrent};
use crate::action::Action;
use crate::config::RateLimits;
use crate::id::{BLOCK_LEN, ConnId};
use crate::limiter::LEAST_BYTES;
use crate::peer::{IDLE_CREDIT_BYTES, Peer, READ_GRANT_BYTES, Stage};
use crate::time::{Duration, Instant};
use alloc::vec::Vec;

/// A peer with less than this left to send waits for more: a `have` or two, so that it is seldom kept waiting.
pub(super) const LOW_CREDIT_BYTES: u64 = 32;
/// What a peer was allowed to send and did not for this long goes to others.
const GRANT_LASTS: Duration = Duration::from_secs(1);
/// Payload of one turn. Who asks for long blocks has no more of the line than others.
const TURN_BYTES: u64 = BLOCK_LEN as u64;
/// Payload at the driver, under a limit: what the network takes all at once after a pause is no more than two blocks.
pub(super) const MAX_AT_DRIVER_BYTES: u64 = 2 * BLOCK_LEN as u64;
/// What is asked for under a limit is what comes in so many seconds: enough for any round trip, and little to be called off.
const WINDOW_SECONDS: u64 = 4;

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// Somebody had a share, or is out of the line.
    Yes,
    /// The torrent's own limit lets nobody have anything.
    Held,
}

impl Torrent {
    /// Its limits.
    pub(crate) fn limits(&self) -> RateLimits {
        RateLimits { down: self.lines.down.bucket.bytes_per_s(), up: self.lines.up.bucket.bytes_per_s() }
    }

    /// Changes its limits.
    pub(crate) fn set_limits(&mut self, now: Instant, shared: &mut Shared, limits: RateLimits) {
        let before = self.are_limited(shared);
        self.lines.down.bucket.set_rate(now, limits.down);
        self.lines.up.bucket.set_rate(now, limits.up);
        self.limits_changed(now, shared, before);
    }

    /// Whether what is received and what is sent is limited, by itself or with all others.
    pub(crate) fn are_limited(&self, shared: &Shared) -> (bool, bool) {
        (self.is_down_limited(shared), self.is_up_limited(shared))
    }

    pub(super) fn is_down_limited(&self, shared: &Shared) -> bool {
        shared.lines.down.bucket.is_limited() || self.lines.down.bucket.is_limited()
    }

    pub(super) fn is_up_limited(&self, shared: &Shared) -> bool {
        shared.lines.up.bucket.is_limited() || self.lines.up.bucket.is_limited()
    }

    /// Limits, its own or those of all, are not what they were.
    pub(crate) fn limits_changed(&mut self, now: Instant, shared: &mut Shared, before: (bool, bool)) {
        let (down, up) = self.are_limited(shared);
        if before.0 != down {
            self.down_limited_or_not(now, shared, down);
        }
        if before.1 != up {
            self.lines.up.turns.clear();
            for peer in self.peers.values_mut() {
                peer.tx.set_limited(up);
                (peer.control_bytes, peer.turn_bytes) = (0, 0);
                shared.announce_tx(peer);
                // What was on the list and is held now leaves it when it is let go.
                peer.tx_announced &= peer.tx.is_ready();
            }
            let peers = &self.peers;
            shared.tx_ready.retain(|conn| peers.get(conn).is_none_or(|peer| peer.tx_announced));
            let conns: Vec<ConnId> = self.peers.keys().copied().collect();
            conns.into_iter().for_each(|conn| self.pump_uploads(now, shared, conn));
        }
    }

    fn down_limited_or_not(&mut self, now: Instant, shared: &mut Shared, limited: bool) {
        self.lines.down.turns.clear();
        for peer in self.peers.values_mut().filter(|peer| peer.stage != Stage::Dialing) {
            peer.excuse_wait(now, false);
            if limited {
                shared.revoke_read(peer, IDLE_CREDIT_BYTES);
            } else {
                let promised = peer.promised_bytes();
                shared.lines.down.bucket.settle(promised);
                self.lines.down.bucket.settle(promised);
                shared.grant_read_ahead(peer);
            }
        }
    }

    /// Bytes were received: they are counted, and more is allowed at once or in turn.
    pub(super) fn note_read(&mut self, now: Instant, shared: &mut Shared, conn: ConnId, bytes: u64) {
        let limited = self.is_down_limited(shared);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if !limited {
            peer.read_credit = peer.read_credit.saturating_sub(bytes);
            if peer.read_credit < READ_GRANT_BYTES / 2 {
                shared.grant_read_ahead(peer);
            }
            return;
        }
        let promised = peer.promised_bytes();
        peer.read_credit = peer.read_credit.saturating_sub(bytes);
        let used = promised - peer.promised_bytes();
        for bucket in [&mut shared.lines.down.bucket, &mut self.lines.down.bucket] {
            bucket.refill(now);
            bucket.settle(used);
            bucket.take(bytes);
        }
        if peer.read_credit < LOW_CREDIT_BYTES {
            peer.in_line_since.get_or_insert(now);
            self.lines.down.turns.join(conn);
            shared.lines.down.turns.join(self.id);
        }
    }

    /// The next peer in line may send something.
    pub(crate) fn serve_read(&mut self, now: Instant, shared: &mut Shared) -> Served {
        let (own, all) = (&mut self.lines.down.bucket, &mut shared.lines.down.bucket);
        own.refill(now);
        let most = own.available().min(all.available());
        if most < LEAST_BYTES {
            return Served::Held;
        }
        let Some(conn) = self.lines.down.turns.next() else { return Served::Yes };
        let Some(peer) = self.peers.get_mut(&conn) else { return Served::Yes };
        // Who has sent at once what it was allowed to gets more at a time, who takes long less: what is not used is lacking elsewhere.
        let at_once = now.since(peer.granted) <= own.step().min(all.step()) * 2;
        let grant = if at_once { peer.grant_bytes * 2 } else { peer.grant_bytes / 2 };
        let most_at_a_time = own.most_at_a_time().min(all.most_at_a_time()).min(READ_GRANT_BYTES - LOW_CREDIT_BYTES);
        peer.grant_bytes = grant.clamp(LEAST_BYTES, most_at_a_time.max(LEAST_BYTES));
        let bytes = peer.grant_bytes.min(most);
        let promised = peer.promised_bytes();
        peer.read_credit += bytes;
        peer.granted = now;
        peer.excuse_wait(now, false);
        let promised = peer.promised_bytes() - promised;
        own.promise(promised);
        all.promise(promised);
        shared.actions.push_back(Action::AllowRead { conn, bytes });
        Served::Yes
    }

    /// Once a second: what is not used goes to others, and who is kept waiting by us is not late.
    pub(super) fn look_at_grants(&mut self, now: Instant, shared: &mut Shared) {
        if !self.is_down_limited(shared) {
            return;
        }
        for peer in self.peers.values_mut() {
            peer.excuse_wait(now, peer.in_line_since.is_some());
            let unused = peer.promised_bytes();
            // What is left of a handshake needs no turn.
            if unused > 0 && peer.stage != Stage::Handshaking && now.since(peer.granted) >= GRANT_LASTS {
                shared.revoke_read(peer, IDLE_CREDIT_BYTES);
                shared.lines.down.bucket.settle(unused);
                self.lines.down.bucket.settle(unused);
                peer.grant_bytes = LEAST_BYTES;
            }
        }
    }

    /// A peer that asks for something, or is in the midst of a block, waits for its turn.
    pub(super) fn wait_to_send(&mut self, shared: &mut Shared, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let wants = peer.tx.held_bytes() > 0 || !peer.uploads.is_empty();
        if wants && peer.tx.bytes_at_driver() < MAX_AT_DRIVER_BYTES {
            self.lines.up.turns.join(conn);
            shared.lines.up.turns.join(self.id);
        }
    }

    /// A limit never holds messages, but payload waits for what they have used. Once a second at least, so that what a limit allows them is not owed later.
    pub(super) fn charge_messages(&mut self, now: Instant) {
        self.lines.up.bucket.refill(now);
        for peer in self.peers.values_mut() {
            self.lines.up.bucket.take(core::mem::take(&mut peer.control_bytes));
        }
    }

    /// The next peer in line is sent something.
    pub(crate) fn serve_send(&mut self, now: Instant, shared: &mut Shared) -> Served {
        self.charge_messages(now);
        let most = self.lines.up.bucket.available().min(shared.lines.up.bucket.available());
        if most < LEAST_BYTES {
            return Served::Held;
        }
        let Some(conn) = self.lines.up.turns.next() else { return Served::Yes };
        let Some(peer) = self.peers.get_mut(&conn) else { return Served::Yes };
        if peer.tx.bytes_at_driver() >= MAX_AT_DRIVER_BYTES {
            // Comes back when the network has taken something.
            return Served::Yes;
        }
        if peer.tx.held_bytes() == 0 {
            let Some(request) = peer.uploads.pop_front() else { return Served::Yes };
            peer.tx.push_block(self.id, request);
        }
        let bytes = most.min(peer.tx.held_bytes()).min(TURN_BYTES - peer.turn_bytes);
        peer.tx.let_go(bytes);
        peer.turn_bytes += bytes;
        (peer.last_sent, peer.last_asked) = (now, now);
        self.lines.up.bucket.take(bytes);
        shared.lines.up.bucket.take(bytes);
        shared.announce_tx(peer);
        // A block is brought to its end before another begins: behind half a block messages wait.
        if peer.tx.held_bytes() > 0 && peer.turn_bytes < TURN_BYTES {
            self.lines.up.turns.rejoin_first(conn);
        } else {
            peer.turn_bytes = 0;
            if peer.tx.held_bytes() > 0 || !peer.uploads.is_empty() {
                self.lines.up.turns.join(conn);
            }
        }
        Served::Yes
    }

    /// Whether anybody waits to be read from, or to be sent to.
    pub(crate) fn waits(&self, down: bool) -> bool {
        let line = if down { &self.lines.down } else { &self.lines.up };
        line.turns.len() > 0
    }

    /// When its own limit lets something through; `None` when it does so now.
    pub(crate) fn next_share(&self, down: bool) -> Option<Instant> {
        let bucket = if down { &self.lines.down.bucket } else { &self.lines.up.bucket };
        (bucket.available() < LEAST_BYTES).then(|| bucket.due())
    }

    /// A connection is gone: it waits for nothing, what it did not use goes to others, and what was said to it has been said.
    pub(super) fn leave_lines(&mut self, shared: &mut Shared, peer: &Peer) {
        self.lines.up.bucket.refill(peer.last_sent);
        self.lines.up.bucket.take(peer.control_bytes);
        self.lines.down.turns.leave(peer.conn);
        self.lines.up.turns.leave(peer.conn);
        if self.is_down_limited(shared) {
            shared.lines.down.bucket.settle(peer.promised_bytes());
            self.lines.down.bucket.settle(peer.promised_bytes());
        }
    }

    /// How many requests one peer may have under way under a limit: no more than comes in some seconds.
    pub(super) fn window_under_limits(&self, shared: &Shared) -> u32 {
        let rates = [self.lines.down.bucket.bytes_per_s(), shared.lines.down.bucket.bytes_per_s()];
        let Some(rate) = rates.into_iter().filter(|rate| *rate > 0).min() else { return u32::MAX };
        let blocks = rate.saturating_mul(WINDOW_SECONDS) / u64::from(BLOCK_LEN) / self.sources.max(1) as u64;
        u32::try_from(blocks).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// What its peers were allowed to send and have not.
    pub(crate) fn promised_bytes(&self, shared: &Shared) -> u64 {
        if self.is_down_limited(shared) { self.peers.values().map(Peer::promised_bytes).sum() } else { 0 }
    }
}
