//! Bytes from a peer: decoded, blocks copied into their buffers, messages acted upon.

use super::{Shared, Torrent};
use crate::action::CloseReason;
use crate::external::Witness;
use crate::fault::PeerFault;
use crate::id::{BLOCK_LEN, ConnId, PieceIndex};
use crate::ledger::Fate;
use crate::peer::{Arrival, Counted, Incoming, MAX_UNREAD_BYTES, News, Stage};
use crate::pieces::Sender;
use crate::time::Instant;
use crate::wire::{BlockRequest, Item, Message};
use alloc::vec::Vec;

impl Torrent {
    /// Bytes came in.
    pub(crate) fn handle_received(&mut self, now: Instant, shared: &mut Shared, conn: ConnId, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.last_heard = now;
        self.note_read(now, shared, conn, bytes.len() as u64);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let mut decoder = core::mem::take(&mut peer.decoder);
        let mut input = bytes;
        loop {
            let result = match decoder.next(&mut input) {
                Ok(None) => break,
                // The accepting half of a connection to ourselves, or somebody who copied our id.
                Ok(Some(item)) if !matches!(item, Item::Handshake(_)) && !self.is_live(conn) => {
                    Err(CloseReason::Ourselves)
                }
                Err(fault) => Err(fault.into()),
                Ok(Some(Item::PieceBytes(bytes))) => {
                    if let Some(peer) = self.peers.get_mut(&conn) {
                        peer.fill(bytes);
                        self.ledger.arrive(bytes.len() as u64);
                        self.downloaded.add(bytes.len() as u64);
                    }
                    Ok(())
                }
                Ok(Some(Item::PieceStart(request))) => self.begin_block(shared, conn, request),
                Ok(Some(Item::PieceEnd)) => self.end_block(now, shared, conn),
                Ok(Some(Item::Message(message))) => self.handle_message(now, shared, conn, message),
                Ok(Some(Item::Handshake(theirs))) => {
                    let accepted = self.handle_handshake(now, shared, conn, &theirs);
                    decoder.set_piece_count(self.metainfo.layout.piece_count());
                    accepted
                }
            };
            if let Err(reason) = result {
                self.close(now, shared, conn, reason);
                return;
            }
        }
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.decoder = decoder;
        if peer.tx.unflushed_bytes() > MAX_UNREAD_BYTES {
            self.close(now, shared, conn, CloseReason::NotReading);
            return;
        }
        // Who keeps us waiting is asked when everybody is, last.
        if !peer.pipeline.is_snubbed() {
            self.fill_requests(now, shared, conn);
        }
    }

    fn begin_block(&mut self, shared: &mut Shared, conn: ConnId, request: BlockRequest) -> Result<(), CloseReason> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        let BlockRequest { piece, begin, len } = request;
        let arrival = peer.arrival(request)?;
        let sent = if let Arrival::Requested(sent) = arrival { sent } else { peer.last_progress };
        let wanted = self.trouble.is_none() && self.pieces.wants(piece, begin / BLOCK_LEN);
        let mut incoming = Incoming { request, sent, block: None, filled: 0, counted: false, unrequested: false };
        match arrival {
            Arrival::Requested(_) => {
                incoming.counted = true;
                incoming.block = Some(shared.pool.take(len));
            }
            Arrival::Late if wanted && shared.pool.reserve() => {
                incoming.counted = true;
                incoming.block = Some(shared.pool.take(len));
                self.pieces.update(piece, |open| open.request(begin / BLOCK_LEN));
            }
            Arrival::Late => {}
            Arrival::Unrequested => incoming.unrequested = true,
        }
        peer.begin_incoming(incoming);
        Ok(())
    }

    fn end_block(&mut self, now: Instant, shared: &mut Shared, conn: ConnId) -> Result<(), CloseReason> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        let from = Sender { conn, addr: peer.addr };
        let Some(incoming) = peer.end_incoming(now) else { return Ok(()) };
        let BlockRequest { piece, begin, len } = incoming.request;
        let asked = self.pieces.get(piece).and_then(|open| open.asked(begin / BLOCK_LEN)).unwrap_or(0);
        let refused = match incoming.block {
            Some(block) => self.pieces.accept(piece, begin / BLOCK_LEN, block, from).map_err(Some),
            None => Err(None),
        };
        match refused {
            Ok(()) => {
                if asked > u32::from(incoming.counted) {
                    self.cancel_elsewhere(now, shared, incoming.request);
                }
                self.store(shared, piece, false);
            }
            Err(block) => {
                block.into_iter().for_each(|block| shared.pool.give_back(block));
                self.decide(conn, u64::from(len), self.fate_of_useless(incoming.unrequested, incoming.request));
            }
        }
        Ok(())
    }

    /// What becomes of a block, or a part of one, that is not taken in.
    pub(super) fn fate_of_useless(&self, unrequested: bool, request: BlockRequest) -> Fate {
        let BlockRequest { piece, begin, .. } = request;
        match () {
            () if unrequested => Fate::Unrequested,
            () if self.pieces.is_here(piece, begin / BLOCK_LEN) => Fate::Duplicate,
            () if self.trouble.is_some() => Fate::Lost,
            () => Fate::Late,
        }
    }

    /// Writes down, in both ledgers, what became of payload from a connection.
    pub(super) fn decide(&mut self, conn: ConnId, bytes: u64, fate: Fate) {
        self.ledger.decide(fate, bytes);
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.ledger.decide(fate, bytes);
        }
    }

    fn handle_message(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        conn: ConnId,
        message: Message<'_>,
    ) -> Result<(), CloseReason> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        match peer.handle_message(message)? {
            News::None => {}
            News::Choked => {
                // With BEP 6 each request is still answered: by its block or a reject.
                if !peer.fast {
                    self.take_requests_back(now, shared, conn);
                }
                self.recount_sources();
            }
            // Asked for more when all that came was decoded.
            News::Unchoked => self.recount_sources(),
            News::InterestChanged => {
                // It may want what it has not been told of.
                peer.hurry(now);
                shared.announce_tx(peer);
                self.rechoke(now, shared);
            }
            News::FirstPieces => {
                peer.wanted = peer.has.iter_ones_not_in(self.pieces.settled()).count() as u32;
                if peer.has.is_full() {
                    self.picker.complete_peer_came();
                    peer.counted = Counted::Complete;
                } else {
                    peer.has.iter_ones().for_each(|piece| self.picker.peer_has(piece));
                    peer.counted = Counted::Partial;
                }
                return self.pieces_changed(now, shared, conn);
            }
            News::NewPiece(piece) => {
                peer.counted = Counted::Partial;
                peer.wanted += u32::from(!self.pieces.settled().get(piece));
                self.picker.peer_has(piece);
                return self.pieces_changed(now, shared, conn);
            }
            News::NewPieces(pieces) => {
                peer.counted = Counted::Partial;
                peer.wanted += pieces.iter_ones_not_in(self.pieces.settled()).count() as u32;
                pieces.iter_ones().for_each(|piece| self.picker.peer_has(piece));
                return self.pieces_changed(now, shared, conn);
            }
            News::LostPiece(piece) => self.peer_lost(now, shared, conn, piece),
            News::Requests(request) => return self.handle_request(now, shared, conn, request),
            News::Cancels(request) => self.handle_cancel(now, shared, conn, request),
            News::Rejects(request) => self.handle_reject(shared, conn, request)?,
            News::Introduced(yourip) => {
                if let Some(said) = yourip {
                    shared.hear_own_ip(peer.addr.ip(), said, Witness::Peer);
                }
                if let Some(addr) = peer.listen_addr {
                    self.candidates.linked(now, addr, conn);
                }
                return self.pieces_changed(now, shared, conn);
            }
        }
        Ok(())
    }

    /// A peer has more pieces than before: is it interesting, or of no use at all?
    fn pieces_changed(&mut self, now: Instant, shared: &mut Shared, conn: ConnId) -> Result<(), CloseReason> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        if self.pieces.is_finished() && peer.is_seed() {
            return Err(CloseReason::BothComplete);
        }
        peer.set_interested(now, peer.wanted > 0);
        if !peer.am_interested {
            // It would wonder why, not having been told yet that we have it.
            peer.hurry(now);
        }
        shared.announce_tx(peer);
        self.recount_sources();
        Ok(())
    }

    /// A peer took a piece back (BEP 54). What it was asked for of it is asked of others at once; with BEP 6 it still says no to each.
    fn peer_lost(&mut self, now: Instant, shared: &mut Shared, conn: ConnId, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.counted == Counted::Complete {
            // From now on it stands in the rarity index piece by piece.
            self.picker.complete_peer_gone();
            peer.has.iter_ones().for_each(|piece| self.picker.peer_has(piece));
            peer.counted = Counted::Partial;
        } else {
            self.picker.peer_lost(piece);
        }
        peer.wanted -= u32::from(!self.pieces.settled().get(piece));
        peer.turns.leave(piece);
        peer.set_interested(now, peer.wanted > 0);
        // It may want it again, and not know that we have it.
        peer.hurry(now);
        let asked: Vec<_> = peer.requested().map(|o| o.request).filter(|request| request.piece == piece).collect();
        for request in &asked {
            if peer.forget_request(*request) {
                shared.pool.unreserve();
            }
        }
        if !asked.is_empty() {
            // As after a reject: others are asked first until it sends something.
            peer.pipeline.snub();
        }
        shared.announce_tx(peer);
        self.unrequest(&asked);
        self.pieces.end_lease(piece, conn);
        self.recount_sources();
    }

    fn handle_reject(&mut self, shared: &mut Shared, conn: ConnId, request: BlockRequest) -> Result<(), PeerFault> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        if peer.forgive(request) {
            // Answers come in order: one that was called off has had its answer, and what was asked for since has not.
            return Ok(());
        }
        if peer.drop_request(request) {
            peer.turns.leave(request.piece);
            shared.pool.unreserve();
            // A peer that rejects without choking would be asked for the same block again at once, for ever.
            let bearable = peer.redundant();
            if !peer.peer_choking {
                // Nor may it take the last buffer each time: others are asked first until it sends something.
                peer.pipeline.snub();
            }
            self.unrequest(&[request]);
            bearable?;
        } else {
            peer.redundant()?;
        }
        Ok(())
    }

    /// Whether a connection's handshake is done.
    pub(crate) fn is_live(&self, conn: ConnId) -> bool {
        self.peers.get(&conn).is_some_and(|peer| peer.stage == Stage::Live)
    }
}
