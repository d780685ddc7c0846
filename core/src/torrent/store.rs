//! Blocks on their way to the disk, and the verdict on each piece.

use super::{Purpose, Shared, Torrent};
use crate::action::{Notice, Operation};
use crate::block::Block;
use crate::event::Hashed;
use crate::fault::DiskFault;
use crate::id::{BLOCK_LEN, PieceIndex};
use crate::ledger::Fate;
use crate::peer::Stage;
use crate::pieces::{OpenPiece, Sent, Store, Verdict};
use crate::time::Instant;
use crate::view::TorrentState;
use alloc::vec::Vec;

impl Torrent {
    /// Sends what is due of one piece to the disk.
    pub(super) fn store(&mut self, shared: &mut Shared, piece: PieceIndex, spill: bool) {
        if self.trouble.is_some() {
            return;
        }
        // Without peers nothing comes that would make a run longer.
        let spill = spill || !self.is_running();
        let torrent = self.id;
        while let Some(store) = self.pieces.update(piece, |open| open.next_store(spill)).flatten() {
            self.place_open(shared, piece);
            let (purpose, operation) = match store {
                Store::Absorb { first, blocks, hash, last } => {
                    let begin = first * BLOCK_LEN;
                    self.note_written(piece, begin, blocks.iter().map(|block| block.len() as u32).sum());
                    (
                        Purpose::Absorb { piece, first, hashing: hash.is_some() },
                        Operation::Absorb { torrent, piece, begin, blocks, hash, last },
                    )
                }
                Store::ReadBack { first, count, hash, last } => {
                    let begin = first * BLOCK_LEN;
                    let len = (count * BLOCK_LEN).min(self.metainfo.layout.len_of(piece) - begin);
                    (Purpose::ReadBack { piece }, Operation::Hash { torrent, piece, begin, len, hash, last })
                }
            };
            shared.submit(torrent, purpose, operation);
        }
    }

    /// Sends what is due of all pieces to the disk; with `spill`, whatever holds a buffer.
    pub(crate) fn store_all(&mut self, shared: &mut Shared, spill: bool) {
        let holding: Vec<PieceIndex> = self.pieces.holding().collect();
        holding.into_iter().for_each(|piece| self.store(shared, piece, spill));
    }

    /// The disk works again: everything goes on where it stood, also pieces that wait for nothing but the disk.
    pub(super) fn resume_stores(&mut self, shared: &mut Shared) {
        let open: Vec<PieceIndex> = self.pieces.iter_open().map(|(piece, _)| piece).collect();
        open.into_iter().for_each(|piece| self.store(shared, piece, false));
    }

    /// What waits in pieces that will not be completed goes home, so that other torrents have buffers; so does what is just coming for
    /// them, and for those that the disk has lost.
    pub(super) fn lose_held(&mut self, shared: &mut Shared, lost: impl Fn(&OpenPiece) -> bool) {
        let idle = |open: &OpenPiece| open.is_lost() || (open.is_holding() && lost(open));
        let pieces: Vec<PieceIndex> =
            self.pieces.iter_open().filter(|(_, open)| idle(open)).map(|(piece, _)| piece).collect();
        pieces.into_iter().for_each(|piece| self.abandon_piece(shared, piece));
    }

    /// An open piece will not be completed: it is missing again as soon as the disk has done with it.
    pub(super) fn abandon_piece(&mut self, shared: &mut Shared, piece: PieceIndex) {
        self.expect_nothing_of(shared, piece);
        self.pieces.update(piece, |open| open.lose(|block| shared.pool.give_back(block)));
        if self.pieces.get(piece).is_some_and(OpenPiece::is_quiet) {
            self.give_up_piece(shared, piece, Fate::Lost);
        }
    }

    /// What was received of open pieces is thrown away: nothing on the disk is believed any more.
    pub(super) fn lose_open(&mut self, shared: &mut Shared) {
        let open: Vec<PieceIndex> = self.pieces.iter_open().map(|(piece, _)| piece).collect();
        for piece in open {
            self.pieces.update(piece, |open| open.lose(|block| shared.pool.give_back(block)));
            if self.pieces.get(piece).is_some_and(OpenPiece::is_quiet) {
                self.give_up_piece(shared, piece, Fate::Lost);
            }
        }
    }

    pub(super) fn handle_absorbed(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        (piece, first, hashing): (PieceIndex, u32, bool),
        blocks: Vec<Block>,
        hash: Option<Hashed>,
        written: Result<(), DiskFault>,
    ) {
        let count = blocks.len() as u32;
        self.note_written(piece, first * BLOCK_LEN, blocks.iter().map(|block| block.len() as u32).sum());
        blocks.into_iter().for_each(|block| shared.pool.give_back(block));
        self.pieces.update(piece, |open| open.absorbed(first, count, hash, hashing, written.is_ok()));
        if let Err(fault) = written {
            self.troubled(now, shared, fault);
        }
        self.store(shared, piece, false);
        self.judge(now, shared, piece);
    }

    pub(super) fn handle_read_back(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        piece: PieceIndex,
        hash: Result<Hashed, DiskFault>,
    ) {
        self.pieces.update(piece, |open| open.read_back(hash.as_ref().ok().copied()));
        if let Err(fault) = hash {
            self.troubled(now, shared, fault);
        }
        self.store(shared, piece, false);
        self.judge(now, shared, piece);
    }

    fn judge(&mut self, now: Instant, shared: &mut Shared, piece: PieceIndex) {
        match self.pieces.get(piece).and_then(OpenPiece::verdict) {
            Some(Verdict::Good) => self.piece_good(now, shared, piece),
            Some(Verdict::Bad) => self.piece_bad(now, shared, piece),
            Some(Verdict::Lost) => {
                self.give_up_piece(shared, piece, Fate::Lost);
            }
            None => {}
        }
    }

    fn piece_good(&mut self, now: Instant, shared: &mut Shared, piece: PieceIndex) {
        if let Some(open) = self.pieces.get(piece) {
            for Sent { block, from, .. } in open.sent() {
                if let Some(peer) = self.peers.get_mut(&from.conn) {
                    peer.credit(now, u64::from(self.metainfo.layout.block_len(piece, block)));
                }
            }
            if let Some(digest) = open.digest() {
                self.blame.piece_verified(now, piece, digest);
            }
        }
        self.decide_piece(piece, Fate::Verified);
        let was_wanted = !self.pieces.settled().get(piece);
        self.pieces.set_have(piece);
        self.read_evidence(shared, piece);
        let is_first = !core::mem::replace(&mut self.downloaded_any, true);
        self.checkpoints.verified(now, u64::from(self.metainfo.layout.len_of(piece)));
        shared.notify(Notice::PieceVerified { torrent: self.id, piece });
        if self.state != TorrentState::Stopped {
            self.move_part(shared, piece);
            self.serve_readers(shared);
        }
        self.tell_have(now, shared, piece, was_wanted);
        if is_first {
            // From now on "everything" must be safe, too, before it asks for a place to seed.
            self.settle(now, shared);
        }
        self.finish_when_complete(shared);
    }

    fn tell_have(&mut self, now: Instant, shared: &mut Shared, piece: PieceIndex, was_wanted: bool) {
        for peer in self.peers.values_mut().filter(|peer| peer.stage == Stage::Live) {
            peer.tell_have(now, piece);
            peer.wanted -= u32::from(was_wanted && peer.has.get(piece));
            peer.set_interested(now, peer.wanted > 0);
            shared.announce_tx(peer);
        }
        self.recount_sources();
        self.tell_upload_only(now, shared);
    }

    fn piece_bad(&mut self, now: Instant, shared: &mut Shared, piece: PieceIndex) {
        shared.notify(Notice::PieceFailed { torrent: self.id, piece });
        self.failed_pieces = self.failed_pieces.saturating_add(1);
        let Some(open) = self.give_up_piece(shared, piece, Fate::Corrupt) else { return };
        if let Some(digest) = open.digest() {
            self.investigate(now, shared, (piece, digest), &open);
        }
    }

    /// An open piece is missing again, and this is what becomes of its blocks.
    fn give_up_piece(&mut self, shared: &mut Shared, piece: PieceIndex, fate: Fate) -> Option<OpenPiece> {
        self.expect_nothing_of(shared, piece);
        self.decide_piece(piece, fate);
        self.picker.insert(piece, self.selection.of_piece(piece));
        self.pieces.forget(piece, |block| shared.pool.give_back(block))
    }

    /// An open piece ends: what became of each of its blocks is written down to whom it came from.
    fn decide_piece(&mut self, piece: PieceIndex, fate: Fate) {
        let sent: Vec<Sent> = self.pieces.get(piece).map(|open| open.sent().collect()).unwrap_or_default();
        for Sent { block, from, .. } in sent {
            self.decide(from.conn, u64::from(self.metainfo.layout.block_len(piece, block)), fate);
        }
    }

    /// Nothing more of a piece is awaited, and what is just coming is of no use.
    pub(super) fn expect_nothing_of(&mut self, shared: &mut Shared, piece: PieceIndex) {
        for peer in self.peers.values_mut() {
            if let Some(block) = peer.disown_incoming(piece) {
                shared.pool.give_back(block);
            }
            let stale: Vec<_> = peer.requested().map(|o| o.request).filter(|r| r.piece == piece).collect();
            for request in stale {
                if peer.forget_request(request) {
                    shared.pool.unreserve();
                }
            }
        }
    }

    /// The last piece that is wanted was verified: bring everything to stable storage before saying so.
    pub(super) fn finish_when_complete(&mut self, shared: &mut Shared) {
        if self.is_in_place() && self.state == TorrentState::Downloading && self.trouble.is_none() {
            self.syncs += 1;
            shared.submit(self.id, Purpose::Sync, Operation::Sync { torrent: self.id });
        }
    }

    /// Whether everything that is wanted is there, and where it belongs.
    pub(super) fn is_in_place(&self) -> bool {
        self.pieces.is_finished() && !self.parts.is_moving() && self.check.is_prepared()
    }

    pub(super) fn handle_synced(&mut self, now: Instant, shared: &mut Shared, result: Result<(), DiskFault>) {
        self.syncs -= 1;
        match result {
            // Meanwhile more may have been selected, and fetched: only the last one covers all of it.
            Ok(()) if self.state == TorrentState::Downloading && self.syncs == 0 && self.is_in_place() => {
                self.completed(now, shared);
            }
            Ok(()) => {}
            Err(fault) => {
                self.sync_failed();
                self.troubled(now, shared, fault);
            }
        }
    }

    /// Everything that is wanted is there and safe.
    pub(super) fn completed(&mut self, now: Instant, shared: &mut Shared) {
        if self.finish_told {
            return;
        }
        self.finish_told = true;
        self.checkpoints.completed(now, shared.unix_s(now), self.downloaded_any);
        shared.notify(Notice::Complete { torrent: self.id, downloaded: self.downloaded_any });
        // Trackers count whole copies.
        if self.pieces.is_complete() && self.downloaded_any && !self.complete_announced {
            self.complete_announced = true;
            self.announce_completed(now, shared);
        }
        self.judge_goals(now, shared);
        self.settle(now, shared);
        self.close_useless(now, shared);
    }
}
