//! The part file: where a wanted piece crosses into a file that is not selected, the bytes beyond the border go there, never into that file.
//!
//! Which ranges of a piece stand in it is decided at the piece's first write, by what is selected then, and kept by piece; the driver is told before
//! the write ([`Action::Place`]). A file that is selected later gets its bytes from there as soon as their piece is verified. Nothing on disk says
//! what the part file holds: the check finds out by hashing, and resume data claims no piece of which
//! something stands there.

use super::{Purpose, Shared, Torrent};
use crate::action::{Action, FileStat, Operation};
use crate::fault::DiskFault;
use crate::id::PieceIndex;
use crate::selection::Priority;
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// Ranges of a piece, in bytes from its start; each lies within one file.
pub(super) type Ranges = Vec<Range<u32>>;

/// What stands in the part file of one torrent.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// As the driver was told. Pieces that touch no border are not here.
    placed: BTreeMap<PieceIndex, Ranges>,
    /// What is being copied to its file.
    moving: BTreeMap<PieceIndex, Ranges>,
    /// There may be a part file.
    pub exists: bool,
}

impl Parts {
    /// Whether something is being copied to its file.
    pub(super) fn is_moving(&self) -> bool {
        !self.moving.is_empty()
    }

    /// The pieces of which something is being copied to its file.
    pub(super) fn moving(&self) -> impl Iterator<Item = PieceIndex> {
        self.moving.keys().copied()
    }

    /// The pieces of which something stands in the part file, or stood there until what is being written now.
    pub(super) fn placed(&self) -> impl Iterator<Item = PieceIndex> {
        self.placed.keys().copied()
    }

    /// What of a piece stands in the part file.
    pub(super) fn of(&self, piece: PieceIndex) -> &[Range<u32>] {
        self.placed.get(&piece).map_or(&[], Vec::as_slice)
    }
}

impl Torrent {
    /// The ranges of a piece for which `fits` holds of their file (by number) and of where in it they end. Pad files have none.
    pub(super) fn ranges(&self, piece: PieceIndex, fits: impl Fn(usize, u64) -> bool) -> Ranges {
        let layout = &self.metainfo.layout;
        let (mut at, mut ranges) = (0, Vec::new());
        for span in layout.spans(piece, 0, layout.len_of(piece)) {
            let end = at + span.len as u32;
            if !span.pad && fits(span.file.0 as usize, span.offset + span.len) {
                ranges.push(at..end);
            }
            at = end;
        }
        ranges
    }

    fn skipped_ranges(&self, piece: PieceIndex) -> Ranges {
        if self.selection.is_usual() {
            return Vec::new();
        }
        self.ranges(piece, |file, _| self.selection.of_index(file) == Priority::Skip)
    }

    /// A piece is about to be written to for the first time since it was opened.
    pub(super) fn place_open(&mut self, shared: &mut Shared, piece: PieceIndex) {
        if self.pieces.update(piece, |open| core::mem::replace(&mut open.placed, true)) == Some(false) {
            let ranges = self.skipped_ranges(piece);
            self.place(shared, piece, ranges);
        }
    }

    /// Tells the driver where a piece stands, unless it knows.
    pub(super) fn place(&mut self, shared: &mut Shared, piece: PieceIndex, ranges: Ranges) {
        if self.parts.of(piece) == ranges {
            return;
        }
        shared.actions.push_back(Action::Place { torrent: self.id, piece, in_parts: ranges.clone() });
        if ranges.is_empty() {
            self.parts.placed.remove(&piece);
        } else {
            self.parts.exists = true;
            self.parts.placed.insert(piece, ranges);
        }
    }

    /// Whether an open piece writes into a file that is not selected (any more).
    pub(super) fn writes_into_skipped(&self, piece: PieceIndex) -> bool {
        let placed = self.parts.of(piece);
        self.skipped_ranges(piece).iter().any(|range| !placed.contains(range))
    }

    /// What stands in the part file and belongs to a file that is wanted goes there.
    pub(super) fn move_parts(&mut self, shared: &mut Shared) {
        let pieces: Vec<PieceIndex> = self.parts.placed.keys().copied().collect();
        pieces.into_iter().for_each(|piece| self.move_part(shared, piece));
    }

    /// The same for one piece. Until it has been copied it is read where it stood.
    pub(super) fn move_part(&mut self, shared: &mut Shared, piece: PieceIndex) {
        if !self.is_running()
            || self.trouble.is_some()
            || !self.pieces.have().get(piece)
            || self.parts.moving.contains_key(&piece)
        {
            return;
        }
        let skipped = self.skipped_ranges(piece);
        let ranges: Ranges = self.parts.of(piece).iter().filter(|range| !skipped.contains(range)).cloned().collect();
        if !ranges.is_empty() {
            self.note_moved(piece, &ranges);
            self.parts.moving.insert(piece, ranges.clone());
            let operation = Operation::Unpart { torrent: self.id, piece, ranges };
            shared.submit(self.id, Purpose::Unpart(piece), operation);
        }
    }

    pub(super) fn handle_unparted(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        piece: PieceIndex,
        result: Result<(), DiskFault>,
    ) {
        let moved = self.parts.moving.remove(&piece).unwrap_or_default();
        self.note_moved(piece, &moved);
        if let Err(fault) = result {
            self.troubled(now, shared, fault);
            return;
        }
        let left = self.parts.of(piece).iter().filter(|range| !moved.contains(range)).cloned().collect();
        self.place(shared, piece, left);
        // From now on a checkpoint may claim it.
        self.checkpoints.verified(now, 0);
        self.move_part(shared, piece);
        self.finish_when_complete(shared);
    }

    /// The files of these ranges are about to change, or have: by our doing.
    fn note_moved(&mut self, piece: PieceIndex, ranges: &[Range<u32>]) {
        ranges.iter().for_each(|range| self.note_files_written(piece, range.start, range.end - range.start));
    }

    /// Removes the part file when nothing stands in it, once what was moved from it is safe. Only where nobody is connected, since what was queued for a
    /// peer may still be read from it; and nothing is written before it is gone.
    pub(super) fn drop_unused_parts(&mut self, shared: &mut Shared) {
        let is_used = || self.parts.placed.keys().any(|piece| self.pieces.have().get(*piece));
        let may = self.check.has_looked() && !self.check_only && !self.life.has_errands();
        if may && self.parts.exists && self.pieces.open_count() == 0 && !self.parts.is_moving() && !is_used() {
            self.parts.exists = false;
            self.check.note_preparing();
            shared.submit(self.id, Purpose::DropParts, Operation::Sync { torrent: self.id });
        }
    }

    /// What stood in the part file is safe where it stands now.
    pub(super) fn handle_parts_settled(&mut self, now: Instant, shared: &mut Shared, result: Result<(), DiskFault>) {
        if let Err(fault) = result {
            self.sync_failed();
            return self.handle_prepared(now, shared, Err(fault));
        }
        shared.submit(self.id, Purpose::DropParts, Operation::DropParts { torrent: self.id });
    }

    /// Of an answer to `Stat`, how the part file looks; what is left is one entry for each file.
    pub(super) fn split_parts_off(&self, stat: &mut Vec<Option<FileStat>>) -> Option<FileStat> {
        let count = stat.len().min(self.metainfo.layout.files().len());
        stat.split_off(count).first().copied().flatten()
    }
}
