//! What is wanted of the torrent: the selection of files, and what changes when it changes.
//!
//! The selection itself never touches a peer or a piece; here its consequences are drawn, all in one event: nothing that is no longer wanted stays
//! asked for, and what is newly wanted is asked for at once.

use super::{Shared, Torrent};
use crate::action::Refusal;
use crate::id::{FileIndex, PieceIndex};
use crate::peer::Stage;
use crate::pieces::OpenPiece;
use crate::selection::Priority;
use crate::time::Instant;
use crate::view::TorrentState;
use crate::wire::Message;
use alloc::vec::Vec;

impl Torrent {
    /// Changes how urgently some files are wanted.
    ///
    /// # Errors
    /// When there is none of one of them: nothing changes.
    pub(crate) fn set_priorities(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        files: &[(FileIndex, Priority)],
    ) -> Result<(), Refusal> {
        if self.selection.first_unknown(files).is_some() {
            return Err(Refusal::NoSuchFile);
        }
        let added = |file: &FileIndex| self.selection.of_file(*file) == Priority::Skip;
        let mut added: Vec<FileIndex> = files.iter().map(|(file, _)| *file).filter(added).collect();
        self.apply_priorities(files);
        if self.state == TorrentState::Stopped {
            return Ok(());
        }
        added.retain(|file| self.is_selected(*file));
        self.prepare_added(shared, added);
        self.move_parts(shared);
        self.give_up_unwanted(now, shared);
        self.recount_wanted(now, shared);
        self.reopen(now, shared);
        self.finish_when_complete(shared);
        self.fill_all_requests(now, shared);
        Ok(())
    }

    /// Asks for pieces in order, or the rarest first.
    pub(crate) fn set_sequential(&mut self, sequential: bool) {
        self.sequential = sequential;
    }

    /// Pieces follow their files.
    pub(super) fn apply_priorities(&mut self, files: &[(FileIndex, Priority)]) {
        if files.is_empty() {
            return;
        }
        self.selection.change(files);
        self.follow_selection();
    }

    /// What is wanted of each piece follows from the selection.
    pub(super) fn follow_selection(&mut self) {
        for piece in (0..self.metainfo.layout.piece_count()).map(PieceIndex) {
            let priority = self.selection.of_piece(piece);
            self.pieces.set_wanted(piece, priority != Priority::Skip);
            if !self.pieces.have().get(piece) && self.pieces.get(piece).is_none() {
                self.picker.insert(piece, priority);
            }
        }
    }

    /// Open pieces that are no longer wanted are missing again, and their requests called off; but one of which everything is here only waits for
    /// its verdict. The same for those that would go on writing into a file that is no longer wanted: they begin anew, and leave it alone.
    fn give_up_unwanted(&mut self, now: Instant, shared: &mut Shared) {
        let unwanted = |(piece, open): &(PieceIndex, &OpenPiece)| {
            let strays = || open.placed && self.writes_into_skipped(*piece);
            !open.is_here() && (self.pieces.settled().get(*piece) || strays())
        };
        let unwanted: Vec<PieceIndex> = self.pieces.iter_open().filter(unwanted).map(|(piece, _)| piece).collect();
        for piece in unwanted {
            self.cancel_piece(now, shared, piece);
            self.abandon_piece(shared, piece);
        }
    }

    /// Calls off whatever was asked for of a piece.
    fn cancel_piece(&mut self, now: Instant, shared: &mut Shared, piece: PieceIndex) {
        for peer in self.peers.values_mut() {
            let asked: Vec<_> = peer.requested().map(|o| o.request).filter(|r| r.piece == piece).collect();
            for request in asked {
                if peer.forget_request(request) {
                    shared.pool.unreserve();
                    peer.send(now, &Message::Cancel(request));
                }
            }
            shared.announce_tx(peer);
        }
    }

    /// What each peer has that is wanted, and whether we are interested.
    pub(super) fn recount_wanted(&mut self, now: Instant, shared: &mut Shared) {
        for peer in self.peers.values_mut().filter(|peer| peer.stage == Stage::Live) {
            peer.wanted = peer.has.iter_ones_not_in(self.pieces.settled()).count() as u32;
            peer.set_interested(now, peer.wanted > 0);
            shared.announce_tx(peer);
        }
        self.recount_sources();
        self.tell_upload_only(now, shared);
    }

    /// More is wanted than is there, again: the torrent downloads again, also from those with whom there was nothing to trade.
    pub(super) fn reopen(&mut self, now: Instant, shared: &mut Shared) {
        if !self.is_in_place() {
            self.goals.reopened();
            if core::mem::take(&mut self.finish_told) {
                self.checkpoints.reopened(now);
            }
        }
        // Where nothing more is wanted, too: what it needs a place for may be another now.
        if self.check.is_over() {
            self.settle(now, shared);
        }
        // Also while the disk refuses, or the last sync is under way: who came then and had everything was sent away too.
        if !self.pieces.is_finished() {
            self.candidates.revive(now);
            self.fill_dials(now, shared);
        }
    }

    /// Tells peers whether we only upload from now on (BEP 21), when that changed. Of a whole torrent they know from our pieces.
    pub(super) fn tell_upload_only(&mut self, now: Instant, shared: &mut Shared) {
        let upload_only = self.pieces.is_finished();
        if self.upload_only_told == upload_only {
            return;
        }
        self.upload_only_told = upload_only;
        if self.pieces.is_complete() {
            return;
        }
        for peer in self.peers.values_mut().filter(|peer| peer.stage == Stage::Live) {
            super::links::say_hello(peer, now, shared, upload_only);
            shared.announce_tx(peer);
        }
    }
}
