//! Pieces that we had and that are gone: files deleted or cut behind our back. They are found out, taken back from every peer, and fetched again.
//!
//! A look at the files tells (`Stat`): one after a read that found a file gone or too short, and the one that each checkpoint makes. A piece is
//! gone when one of its files ends before it does. What has changed and not shrunk no look can tell; a re-check does. When nothing is left of any
//! file, it is the folder that is gone, a drive perhaps: what we had is taken back, but nothing is made anew in its place; as soon as something is
//! there again, everything is hashed.

use super::upload::reject;
use super::{Purpose, Shared, Torrent};
use crate::action::{CloseReason, FileStat, Notice, Operation};
use crate::bitfield::Bitfield;
use crate::fault::{DiskFault, DiskFaultKind};
use crate::id::{ConnId, PieceIndex};
use crate::peer::Stage;
use crate::selection::Priority;
use crate::time::Instant;
use crate::view::TorrentState;
use crate::wire::{BlockRequest, Message};
use alloc::string::String;
use alloc::vec::Vec;

/// What is known of losses.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    /// The look that is under way: what was had and stood in the files when it began, and what it is made for.
    look: Option<(Bitfield, DiskFault)>,
    /// Nothing is left of any file.
    all_gone: bool,
    /// Pieces found to be gone.
    count: u32,
}

impl Losses {
    /// Whether a look is under way.
    pub(super) fn is_looking(&self) -> bool {
        self.look.is_some()
    }

    /// Pieces found to be gone, so far.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Whether nothing is left of any file.
    pub(super) fn is_all_gone(&self) -> bool {
        self.all_gone
    }

    /// The disk is looked at from the beginning.
    pub(super) fn begin_anew(&mut self) {
        (self.look, self.all_gone) = (None, false);
    }
}

impl Torrent {
    /// A read found a file gone or too short: what else is?
    pub(super) fn look_for_losses(&mut self, shared: &mut Shared, fault: DiskFault) {
        if !self.losses.is_looking() && self.state != TorrentState::Stopped {
            self.losses.look = Some((self.standing_in_files(), fault));
            shared.submit(self.id, Purpose::Losses, Operation::Stat { torrent: self.id });
        }
    }

    pub(super) fn handle_look_for_losses(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        stat: Result<Vec<Option<FileStat>>, DiskFault>,
    ) {
        let Some((had, fault)) = self.losses.look.take() else { return };
        let mut found = match stat {
            Ok(found) => found,
            Err(fault) => return self.troubled(now, shared, fault),
        };
        self.split_parts_off(&mut found);
        if self.losses.all_gone && self.is_something_there(&found) {
            return self.recheck(now, shared);
        }
        if !self.lose(now, shared, &had, &found) {
            self.troubled(now, shared, fault);
        }
    }

    /// What is had, without what stands in the part file.
    pub(super) fn standing_in_files(&self) -> Bitfield {
        let mut standing = self.pieces.have().clone();
        self.parts.placed().for_each(|piece| _ = standing.clear(piece));
        standing
    }

    /// A look has `found` this: what of `had` cannot be there any more is taken back. Whether anything was.
    pub(super) fn lose(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        had: &Bitfield,
        found: &[Option<FileStat>],
    ) -> bool {
        let lost = self.find_lost(had, found);
        if lost.is_empty() {
            return false;
        }
        // A slow peer's copy may still be arriving: nobody counts on it any more.
        let arriving = self.peers.values().filter_map(|peer| peer.incoming()).map(|incoming| incoming.request.piece);
        let arriving: Vec<PieceIndex> = arriving.filter(|piece| lost.binary_search(piece).is_ok()).collect();
        arriving.into_iter().for_each(|piece| self.expect_nothing_of(shared, piece));
        for piece in &lost {
            let priority = self.selection.of_piece(*piece);
            self.pieces.set_lost(*piece, priority != Priority::Skip);
            self.picker.insert(*piece, priority);
            self.checkpoints.unclaim(now, *piece);
        }
        self.losses.count = self.losses.count.saturating_add(lost.len() as u32);
        self.take_back(now, shared, &lost);
        shared.notify(Notice::PiecesLost { torrent: self.id, pieces: lost });
        self.recount_wanted(now, shared);
        self.losses.all_gone = !self.is_something_there(found);
        if self.losses.all_gone {
            let (path, detail) = (self.metainfo.name.clone(), String::from("no file of the torrent is left"));
            self.troubled(now, shared, DiskFault { kind: DiskFaultKind::NotFound, path, detail });
        }
        self.reopen(now, shared);
        self.fill_all_requests(now, shared);
        true
    }

    fn find_lost(&self, had: &Bitfield, found: &[Option<FileStat>]) -> Vec<PieceIndex> {
        let layout = &self.metainfo.layout;
        let len = |file: usize| found.get(file).copied().flatten().map_or(0, |stat| stat.len);
        if layout.files().iter().enumerate().all(|(i, file)| file.pad || len(i) >= file.len) {
            return Vec::new();
        }
        let ends_early = |piece: &PieceIndex| {
            let mut spans = layout.spans(*piece, 0, layout.len_of(*piece)).filter(|span| !span.pad);
            spans.any(|span| len(span.file.0 as usize) < span.offset + span.len)
        };
        had.iter_ones_also_in(self.pieces.have()).filter(ends_early).collect()
    }

    fn is_something_there(&self, found: &[Option<FileStat>]) -> bool {
        let files = self.metainfo.layout.files().iter().zip(found);
        files.into_iter().any(|(file, stat)| !file.pad && stat.is_some_and(|stat| stat.len > 0))
    }

    /// Tells every peer that pieces are gone (BEP 54). Who does not understand it would go on asking: it may come back and hear anew what there is.
    fn take_back(&mut self, now: Instant, shared: &mut Shared, lost: &[PieceIndex]) {
        let mut deaf: Vec<ConnId> = Vec::new();
        for peer in self.peers.values_mut().filter(|peer| peer.stage == Stage::Live) {
            let Some(id) = peer.takes.lt_donthave.filter(|id| *id != 0) else {
                deaf.push(peer.conn);
                continue;
            };
            let is_lost = |request: &BlockRequest| lost.binary_search(&request.piece).is_ok();
            let (void, kept): (Vec<BlockRequest>, Vec<BlockRequest>) = peer.uploads.drain(..).partition(is_lost);
            peer.uploads.extend(kept);
            for piece in lost {
                peer.send(now, &Message::Extended { id, payload: &piece.0.to_be_bytes() });
            }
            void.into_iter().for_each(|request| reject(peer, now, request));
            shared.announce_tx(peer);
        }
        for conn in deaf {
            self.close(now, shared, conn, CloseReason::PieceLost);
        }
    }
}
