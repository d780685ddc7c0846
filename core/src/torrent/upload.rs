//! What we give: requests of peers, and who is unchoked.

use super::{Shared, Torrent};
use crate::action::CloseReason;
use crate::choker::{Chokee, ROUND, Slot, Slots, count_slots, pick_changes};
use crate::fault::{DiskFault, DiskFaultKind, PeerFault};
use crate::id::{BLOCK_LEN, ConnId};
use crate::peer::{Peer, Stage};
use crate::time::{Duration, Instant};
use crate::view::TorrentState;
use crate::wire::{BlockRequest, Message};
use alloc::vec::Vec;

/// Requests that a peer may have waiting here; we announce it (BEP 10 `reqq`).
pub(super) const MAX_QUEUED_REQUESTS: usize = 500;
/// What is sent in spite of what we announced is borne up to here, then the connection ends: common clients ask for up to 2,000.
pub(super) const MAX_REQUESTS_BORNE: usize = 2000;
/// The longest request we answer: BEP 3's customary bound; everyone asks for 16 KiB.
const MAX_REQUEST_LEN: u32 = 128 * 1024;
/// Payload given to the driver and not yet taken by the network, per peer: enough for 100 MiB/s at 5 ms.
const MAX_UNFLUSHED_BYTES: u64 = 512 * 1024;
/// A peer that takes nothing of what waits for it gives its slot up after this long; a lossy link may pause for some seconds.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// Or as long as our line needs for two blocks to everybody, up to this: a thin line moves slowly, and that is not the peer's fault.
const LONGEST_STALL: Duration = Duration::from_secs(30);
/// A peer with a slot that asks for nothing for this long makes way for those that wait: one round of BEP 3.
const IDLE_AFTER: Duration = Duration::from_secs(10);

impl Torrent {
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        conn: ConnId,
        request: BlockRequest,
    ) -> Result<(), CloseReason> {
        let BlockRequest { piece, begin, len } = request;
        let end = begin.checked_add(len).ok_or(PeerFault::BadRequest)?;
        if len == 0 || len > MAX_REQUEST_LEN || end > self.metainfo.layout.len_of(piece) {
            return Err(PeerFault::BadRequest.into());
        }
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        if peer.uploads.len() >= MAX_REQUESTS_BORNE {
            return Err(PeerFault::TooManyRequests.into());
        }
        if peer.am_choking() || !self.pieces.have().get(piece) {
            // It may not know yet that it is choked; but a peer that never listens is a flood.
            peer.redundant()?;
            reject(peer, now, request);
            shared.announce_tx(peer);
            return Ok(());
        }
        if peer.uploads.contains(&request) {
            peer.redundant()?;
            return Ok(());
        }
        peer.last_asked = now;
        peer.uploads.push_back(request);
        self.pump_uploads(now, shared, conn);
        Ok(())
    }

    pub(super) fn handle_cancel(&mut self, now: Instant, shared: &mut Shared, conn: ConnId, request: BlockRequest) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if let Some(at) = peer.uploads.iter().position(|r| *r == request) {
            peer.uploads.remove(at);
            // BEP 6: a cancelled request too is answered exactly once.
            reject(peer, now, request);
            shared.announce_tx(peer);
        }
    }

    /// Moves requests into the send queue as far as the network keeps up.
    pub(super) fn pump_uploads(&mut self, now: Instant, shared: &mut Shared, conn: ConnId) {
        if self.is_up_limited(shared) {
            return self.wait_to_send(shared, conn);
        }
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        while peer.tx.unflushed_bytes() < MAX_UNFLUSHED_BYTES
            && let Some(request) = peer.uploads.pop_front()
        {
            peer.last_sent = now;
            peer.tx.push_block(self.id, request);
        }
        shared.announce_tx(peer);
    }

    /// The network took bytes.
    pub(crate) fn handle_flushed(&mut self, now: Instant, shared: &mut Shared, conn: ConnId, bytes: u64) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let payload = peer.tx.flushed(bytes);
        peer.tx_moved = now;
        peer.up.add(payload);
        self.uploaded.add(payload);
        self.pump_uploads(now, shared, conn);
    }

    /// A range that we have could not be read: the disk's fault, and the connection is gone with it.
    pub(crate) fn handle_serve_failed(&mut self, now: Instant, shared: &mut Shared, conn: ConnId, fault: DiskFault) {
        self.handle_closed(now, shared, conn);
        match fault.kind {
            DiskFaultKind::NotFound | DiskFaultKind::Short => self.look_for_losses(shared, fault),
            _ => self.troubled(now, shared, fault),
        }
    }

    /// How many upload slots there should be.
    fn count_slots(&self, shared: &Shared) -> usize {
        let limits = [self.lines.up.bucket.bytes_per_s(), shared.lines.up.bucket.bytes_per_s()];
        let limit = limits.into_iter().filter(|limit| *limit > 0).min();
        let served = self.peers.values().filter(|peer| !peer.am_choking());
        count_slots(served.map(|peer| peer.up.per_second()).collect(), limit, shared.config.upload_slots)
    }

    /// Its peers, as the choker sees them.
    pub(super) fn chokees(&self, now: Instant) -> Vec<Chokee> {
        let served = self.peers.values().filter(|peer| !peer.am_choking()).count() as u64;
        let two_blocks_s = served * 2 * u64::from(BLOCK_LEN) / self.uploaded.per_second().max(1);
        let stalled_after = Duration::from_secs(two_blocks_s).clamp(STALLED_AFTER, LONGEST_STALL);
        self.peers
            .values()
            .filter(|peer| peer.stage == Stage::Live)
            .map(|peer| Chokee {
                conn: peer.conn,
                // Who asks and does not read must not keep a slot from those who do.
                interested: peer.peer_interested && now.since(peer.tx_moved) < stalled_after,
                slot: peer.slot,
                // Who waits for what it asked for is not idle.
                idle: !peer.am_choking()
                    && peer.uploads.is_empty()
                    && now.since(peer.last_asked.max(peer.choke_since)) >= IDLE_AFTER,
                since: peer.choke_since,
                was_served: peer.was_served,
                earns: if peer.pipeline.is_snubbed() { 0 } else { peer.useful.per_second() },
            })
            .collect()
    }

    /// Gives the upload slots out.
    pub(super) fn rechoke(&mut self, now: Instant, shared: &mut Shared) {
        if !self.is_running() {
            return;
        }
        let is_round = now.since(self.last_round) >= ROUND;
        if is_round {
            self.last_round = now;
            self.upload_slots = self.count_slots(shared);
        }
        let peers = self.chokees(now);
        let is_leeching = self.state == TorrentState::Downloading;
        for (conn, slot) in pick_changes(now, &peers, Slots { count: self.upload_slots, is_round, is_leeching }) {
            let Some(peer) = self.peers.get_mut(&conn) else { continue };
            let was_choked = peer.am_choking();
            peer.slot = slot;
            if was_choked {
                (peer.choke_since, peer.was_served) = (now, true);
                peer.send(now, &Message::Unchoke);
            } else if slot == Slot::None {
                peer.choke_since = now;
                peer.send(now, &Message::Choke);
                let waiting: Vec<BlockRequest> = peer.uploads.drain(..).collect();
                waiting.into_iter().for_each(|request| reject(peer, now, request));
            }
            shared.announce_tx(peer);
        }
    }
}

pub(super) fn reject(peer: &mut Peer, now: Instant, request: BlockRequest) {
    if peer.fast {
        peer.send(now, &Message::RejectRequest(request));
    }
}
