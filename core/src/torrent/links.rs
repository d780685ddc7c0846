//! Connections of one torrent: whom to dial, the handshake, time-outs, the end.
//!
//! Law: after the handshake at most one link per peer, never one to ourselves.

use super::upload::MAX_QUEUED_REQUESTS;
use super::{Shared, Torrent};
use crate::action::{Action, CloseReason, Notice};
use crate::candidates::{Ending, Source};
use crate::fault::{LinkFault, PeerFault};
use crate::id::{BLOCK_LEN, ConnId};
use crate::ledger::Fate;
use crate::peer::{Counted, LT_DONTHAVE_ID, Peer, Stage};
use crate::time::{Duration, Instant};
use crate::view::TorrentState;
use crate::wire::{ExtendedHandshake, ExtensionIds, Handshake, Message};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Dials of one torrent in a second: a list full of addresses that refuse at once must not become a port scan.
const MAX_DIALS_PER_SECOND: u32 = 60;
/// Something is said at least this often, so that the other side and the routers between keep the connection (BEP 3: two minutes).
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// A connection shorter than this, over which no block went either way, was of no use: the next try waits longer. One that carried
/// something is worth making again, however often the line breaks.
const USEFUL_AFTER: Duration = Duration::from_secs(30);
/// A peer that takes nothing of what waits for it is gone after this long: two turns of the choker.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Peers beyond this many are not sought. Those that came in do not count: else a host could fill our places and keep all others out.
const ENOUGH_PEERS: usize = 40;

impl Torrent {
    /// Dials as many as the limits allow.
    pub(super) fn fill_dials(&mut self, now: Instant, shared: &mut Shared) {
        if !self.is_running() {
            return;
        }
        self.candidates.set_own(&shared.own);
        while shared.half_open < shared.config.max_half_open
            && self.dials_this_second < MAX_DIALS_PER_SECOND
            && self.peers.len() < shared.config.max_connections_per_torrent
            && self.peers.keys().filter(|conn| conn.is_dialed()).count() < ENOUGH_PEERS
            && shared.connections() < shared.config.max_connections
        {
            if self.candidates.next_due().is_none_or(|due| due > now) {
                return;
            }
            let conn = shared.next_conn();
            let Some(addr) = self.candidates.pop_due(now, conn) else { return };
            if shared.own.is_at(addr) || shared.bans.contains(addr) {
                self.candidates.never_again(addr);
                continue;
            }
            self.dials_this_second += 1;
            shared.half_open += 1;
            shared.conns.insert(conn, self.id);
            self.peers.insert(conn, Peer::new(conn, addr, now, Stage::Dialing));
            shared.actions.push_back(Action::Dial { conn, to: addr });
        }
    }

    /// A dial succeeded or failed.
    pub(crate) fn handle_dialed(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        conn: ConnId,
        outcome: Result<SocketAddr, LinkFault>,
    ) {
        let limited = self.is_down_limited(shared);
        let Some(peer) = self.peers.get_mut(&conn).filter(|peer| peer.stage == Stage::Dialing) else { return };
        let local = match outcome {
            Ok(local) => local,
            Err(_) => return self.handle_closed(now, shared, conn),
        };
        shared.half_open -= 1;
        peer.stage = Stage::Handshaking;
        peer.stage_since = now;
        peer.last_heard = now;
        if local.ip() == peer.addr.ip() && peer.addr.port() == shared.config.listen_port {
            self.close(now, shared, conn, CloseReason::Ourselves);
            return;
        }
        shared.grant_first_read(peer);
        shared.lines.down.bucket.promise(if limited { peer.promised_bytes() } else { 0 });
        self.lines.down.bucket.promise(if limited { peer.promised_bytes() } else { 0 });
        peer.tx.set_limited(self.lines.up.bucket.is_limited() || shared.lines.up.bucket.is_limited());
        let ours = Handshake::new(*self.metainfo.info_hash.wire_bytes(), shared.peer_id);
        peer.tx.push_with(|out| ours.encode(out));
        shared.announce_tx(peer);
        self.fill_dials(now, shared);
    }

    /// Takes in a connection that came in and named this torrent.
    ///
    /// # Errors
    /// Why it cannot stay; the caller closes it.
    pub(crate) fn adopt(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        mut peer: Peer,
        handshake: &Handshake,
    ) -> Result<(), CloseReason> {
        let conn = peer.conn;
        let same_host = self.peers.values().filter(|other| other.addr.ip() == peer.addr.ip()).count();
        let limit = shared.config.max_connections_per_torrent;
        if !self.is_running() {
            // A peer that was told "nothing yet" would need a `have` for each piece that the check finds; one that is refused comes back.
            return Err(self.why_silent());
        }
        // Some places are for whom we choose ourselves, and one host may take half of the others, not all.
        let ours = if self.state == TorrentState::Seeding { 0 } else { ENOUGH_PEERS.min(limit / 2) };
        let (came_in, theirs) = (self.peers.keys().filter(|conn| !conn.is_dialed()).count(), limit - ours);
        if self.peers.len() >= limit || came_in >= theirs || same_host >= theirs.div_ceil(2) {
            return Err(CloseReason::Full);
        }
        peer.stage = Stage::Handshaking;
        let ours = Handshake::new(*self.metainfo.info_hash.wire_bytes(), shared.peer_id);
        peer.tx.push_with(|out| ours.encode(out));
        peer.decoder.set_piece_count(self.metainfo.layout.piece_count());
        shared.conns.insert(conn, self.id);
        peer.tx.set_limited(self.is_up_limited(shared));
        self.peers.insert(conn, peer);
        let accepted = self.handle_handshake(now, shared, conn, handshake);
        if accepted.is_err() {
            self.peers.remove(&conn);
        }
        accepted
    }

    pub(super) fn handle_handshake(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        conn: ConnId,
        theirs: &Handshake,
    ) -> Result<(), CloseReason> {
        let ours = Handshake::new(*self.metainfo.info_hash.wire_bytes(), shared.peer_id);
        if theirs.info_hash != ours.info_hash {
            return Err(PeerFault::OtherInfoHash.into());
        }
        if theirs.peer_id == ours.peer_id {
            // Only the dialling half knows the address to remember: it hears our answer and closes. This half says no more.
            let answer = self.peers.get_mut(&conn).filter(|_| !conn.is_dialed());
            return answer.map(|peer| shared.announce_tx(peer)).ok_or(CloseReason::Ourselves);
        }
        self.settle_duplicates(now, shared, conn, theirs)?;
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        peer.go_live(now, theirs, &ours, self.metainfo.layout.piece_count());
        say_hello(peer, now, shared, self.pieces.is_finished());
        let have = self.pieces.have();
        match () {
            () if peer.fast && have.is_full() && !have.is_empty() => peer.send(now, &Message::HaveAll),
            () if peer.fast && have.is_empty_set() => peer.send(now, &Message::HaveNone),
            () if have.is_empty_set() => {}
            () => peer.send(now, &Message::Bitfield(have.as_wire_bytes())),
        }
        shared.announce_tx(peer);
        let (addr, peer_id) = (peer.addr, peer.peer_id);
        shared.notify(Notice::PeerConnected { torrent: self.id, conn, addr, peer_id });
        Ok(())
    }

    /// Keeps one of several links to the same peer.
    ///
    /// # Errors
    /// [`CloseReason::Duplicate`] when it is the older one that stays.
    fn settle_duplicates(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        conn: ConnId,
        theirs: &Handshake,
    ) -> Result<(), CloseReason> {
        let older =
            self.peers.values().find(|p| p.stage == Stage::Live && p.peer_id == theirs.peer_id && p.conn != conn);
        let (Some(older), Some(new)) = (older, self.peers.get(&conn)) else { return Ok(()) };
        let (kept, new_addr) = (older.conn, new.listen_addr);
        // Both sides dialled at once: both keep the link that the greater id dialled. From another host the older link stays, else
        // a copied id would push honest peers out.
        let crossed = older.addr.ip() == new.addr.ip() && kept.is_dialed() != conn.is_dialed();
        let greater_dialed = if shared.peer_id > theirs.peer_id { conn.is_dialed() } else { !conn.is_dialed() };
        if crossed && greater_dialed && now.since(older.stage_since) < USEFUL_AFTER {
            self.close(now, shared, kept, CloseReason::Duplicate);
            return Ok(());
        }
        if let Some(addr) = new_addr {
            // Not to be dialled again while the other link lives.
            self.candidates.linked(now, addr, kept);
            if let Some(older) = self.peers.get_mut(&kept) {
                older.listen_addr = older.listen_addr.or(Some(addr));
            }
        }
        Err(CloseReason::Duplicate)
    }

    /// Closes a connection from our side.
    pub(super) fn close(&mut self, now: Instant, shared: &mut Shared, conn: ConnId, reason: CloseReason) {
        if self.peers.contains_key(&conn) {
            shared.close(conn, reason);
            self.unlink(now, shared, conn, Some(reason));
        }
    }

    /// The other side, or the network, closed a connection.
    pub(crate) fn handle_closed(&mut self, now: Instant, shared: &mut Shared, conn: ConnId) {
        shared.conns.remove(&conn);
        self.unlink(now, shared, conn, None);
        self.fill_dials(now, shared);
        self.fill_all_requests(now, shared);
    }

    fn unlink(&mut self, now: Instant, shared: &mut Shared, conn: ConnId, closed: Option<CloseReason>) {
        if let Some(incoming) = self.peers.get(&conn).and_then(Peer::incoming) {
            // The rest of the block will not come.
            let (bytes, unrequested) = (incoming.filled as u64, incoming.unrequested);
            self.decide(conn, bytes, if unrequested { Fate::Unrequested } else { Fate::Late });
        }
        let Some(mut peer) = self.peers.remove(&conn) else { return };
        if peer.stage == Stage::Dialing {
            shared.half_open -= 1;
        }
        match peer.counted {
            Counted::No => {}
            Counted::Complete => self.picker.complete_peer_gone(),
            Counted::Partial => peer.has.iter_ones().for_each(|piece| self.picker.peer_lost(piece)),
        }
        if !self.is_anyone_counted() {
            self.picker.rest();
        }
        self.leave_lines(shared, &peer);
        let given_up = peer.release(&mut shared.pool);
        self.unrequest(&given_up);
        self.pieces.end_leases(conn);
        self.recount_sources();
        let nothing_to_trade = peer.is_seed() && self.pieces.is_finished();
        if let Some(addr) = peer.listen_addr.filter(|_| closed == Some(CloseReason::Ourselves)) {
            self.candidates.never_again(addr);
        }
        let ending = match closed {
            Some(
                CloseReason::Paused
                | CloseReason::Queued
                | CloseReason::SeededEnough
                | CloseReason::Stopped
                | CloseReason::NotReady
                | CloseReason::PieceLost,
            ) => Ending::Parted,
            Some(CloseReason::Fault(fault)) if fault != PeerFault::HandshakeTimeout => Ending::Breach,
            _ if peer.down.total() + peer.up.total() >= u64::from(BLOCK_LEN) => Ending::Useful,
            _ if peer.stage == Stage::Live && now.since(peer.stage_since) >= USEFUL_AFTER => Ending::Useful,
            _ => Ending::Useless,
        };
        self.candidates.unlinked(now, conn, ending);
        if let Some(addr) = peer.listen_addr.filter(|_| nothing_to_trade) {
            self.candidates.rest(now, addr);
        }
        if peer.stage == Stage::Live {
            shared.notify(Notice::PeerGone { torrent: self.id, conn, closed });
        }
    }

    /// Whether any peer's pieces are counted.
    pub(super) fn is_anyone_counted(&self) -> bool {
        self.peers.values().any(|peer| peer.counted != Counted::No)
    }

    pub(super) fn close_all(&mut self, now: Instant, shared: &mut Shared, reason: CloseReason) {
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            self.close(now, shared, conn, reason);
        }
    }

    /// Once complete, peers that have everything too are of no use.
    pub(super) fn close_useless(&mut self, now: Instant, shared: &mut Shared) {
        let seeds: Vec<ConnId> =
            self.peers.values().filter(|p| p.stage == Stage::Live && p.is_seed()).map(|p| p.conn).collect();
        for conn in seeds {
            self.close(now, shared, conn, CloseReason::BothComplete);
        }
    }

    /// Rates, time-outs, keep-alives.
    pub(super) fn tick_peers(&mut self, now: Instant, shared: &mut Shared) {
        self.look_at_grants(now, shared);
        self.charge_messages(now);
        let (mut late, mut snubbing) = (Vec::new(), Vec::new());
        let config = &shared.config;
        for peer in self.peers.values_mut() {
            peer.tick(&mut shared.pool);
            peer.hurry(now);
            if peer.tx.bytes_at_driver() == 0 {
                peer.tx_moved = now;
            }
            let age = now.since(peer.stage_since);
            match peer.stage {
                Stage::Dialing if age >= config.dial_timeout => late.push((peer.conn, CloseReason::DialTimeout)),
                Stage::Handshaking if age >= config.handshake_timeout => {
                    late.push((peer.conn, PeerFault::HandshakeTimeout.into()));
                }
                Stage::Live if now.since(peer.last_heard) >= config.idle_timeout => {
                    late.push((peer.conn, CloseReason::Idle));
                }
                // It may go on talking: what it holds is an upload slot, and memory here.
                Stage::Live if now.since(peer.tx_moved) >= UNREAD_TIMEOUT => {
                    late.push((peer.conn, CloseReason::NotReading));
                }
                Stage::Live => {
                    // Also when it delivers others: one block kept back could hold up the whole piece.
                    let kept_back =
                        peer.oldest_request().is_some_and(|sent| now.since(sent) >= config.request_timeout * 2);
                    let since_progress = now.since(peer.last_progress);
                    if kept_back || (!peer.is_idle() && since_progress >= config.request_timeout) {
                        snubbing.push(peer.conn);
                    }
                    if now.since(peer.last_sent) >= KEEP_ALIVE {
                        peer.send(now, &Message::KeepAlive);
                    }
                }
                _ => {}
            }
        }
        for (conn, reason) in late {
            self.close(now, shared, conn, reason);
        }
        for conn in snubbing {
            self.snub(now, shared, conn);
        }
        for peer in self.peers.values_mut() {
            shared.announce_tx(peer);
        }
    }

    /// Addresses named by a tracker.
    pub(super) fn add_candidates(&mut self, now: Instant, shared: &mut Shared, peers: &[SocketAddr]) {
        self.candidates.set_own(&shared.own);
        for addr in peers {
            if shared.own.is_at(*addr) {
                self.candidates.never_again(*addr);
            } else if !shared.bans.contains(*addr) {
                self.candidates.add(now, *addr, Source::Tracker);
            }
        }
        self.fill_dials(now, shared);
    }

    /// Whether more peers would help and no address is left to try.
    pub(super) fn wants_peers(&self) -> bool {
        self.state == TorrentState::Downloading && self.candidates.waiting() == 0 && self.peers.len() < ENOUGH_PEERS / 2
    }
}

/// Tells about ourselves (BEP 10), first and whenever that changed.
pub(super) fn say_hello(peer: &mut Peer, now: Instant, shared: &Shared, upload_only: bool) {
    if !peer.extended {
        return;
    }
    let hello = ExtendedHandshake {
        m: ExtensionIds { lt_donthave: Some(LT_DONTHAVE_ID), ..ExtensionIds::default() },
        v: Some(shared.config.user_agent.clone()),
        reqq: Some(MAX_QUEUED_REQUESTS as u32),
        p: Some(shared.config.listen_port).filter(|port| *port != 0),
        upload_only,
        yourip: Some(peer.addr.ip()),
        ..ExtendedHandshake::default()
    };
    let mut payload = Vec::new();
    hello.encode(&mut payload);
    peer.send(now, &Message::Extended { id: 0, payload: &payload });
}
