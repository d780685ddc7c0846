//! Which pieces we have, and which are open.
//!
//! Law: a piece is in exactly one state: missing, open, or had. It is had only when its digest matched and all its writes
//! were confirmed. This module never decides which piece to fetch.

mod open_piece;

use crate::bitfield::Bitfield;
use crate::block::Block;
use crate::id::{ConnId, PieceIndex};
use crate::layout::Layout;
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};

pub(crate) use open_piece::{OpenPiece, Sender, Sent, Store, Verdict};

/// All pieces of a torrent.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    layout: Layout,
    have: Bitfield,
    have_bytes: u64,
    /// Pieces of which nothing more is wanted: had, or not wanted at all.
    settled: Bitfield,
    /// Bytes of all others.
    lacking_bytes: u64,
    open: BTreeMap<PieceIndex, OpenPiece>,
    /// Open pieces with blocks that nobody was asked for: the only ones of interest when a block is picked.
    wanting: BTreeSet<PieceIndex>,
}

impl Pieces {
    /// All pieces missing and wanted.
    pub(crate) fn new(layout: Layout) -> Self {
        let none = Bitfield::empty(layout.piece_count());
        Pieces {
            have: none.clone(),
            have_bytes: 0,
            settled: none,
            lacking_bytes: layout.total_len(),
            open: BTreeMap::new(),
            wanting: BTreeSet::new(),
            layout,
        }
    }

    /// Files have other names; the cut is the same.
    pub(crate) fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    /// Verified and written pieces.
    pub(crate) fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Bytes of verified and written pieces.
    pub(crate) fn have_bytes(&self) -> u64 {
        self.have_bytes
    }

    /// Whether every piece is had.
    pub(crate) fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    /// Pieces of which nothing more is wanted: had, or not wanted at all.
    pub(crate) fn settled(&self) -> &Bitfield {
        &self.settled
    }

    /// Bytes of the pieces that are wanted and not had.
    pub(crate) fn lacking_bytes(&self) -> u64 {
        self.lacking_bytes
    }

    /// How many pieces are wanted and not had.
    pub(crate) fn lacking_count(&self) -> u32 {
        self.settled.len() - self.settled.count()
    }

    /// Whether every piece that is wanted is had.
    pub(crate) fn is_finished(&self) -> bool {
        self.settled.is_full()
    }

    /// A piece is wanted from now on, or no longer.
    pub(crate) fn set_wanted(&mut self, piece: PieceIndex, wanted: bool) {
        let len = u64::from(self.layout.len_of(piece));
        if !wanted && self.settled.set(piece) {
            self.lacking_bytes -= len;
        } else if wanted && !self.have.get(piece) && self.settled.clear(piece) {
            self.lacking_bytes += len;
        }
    }

    /// A piece is verified and written.
    pub(crate) fn set_have(&mut self, piece: PieceIndex) {
        self.set_wanted(piece, false);
        self.open.remove(&piece);
        self.wanting.remove(&piece);
        if self.have.set(piece) {
            self.have_bytes += u64::from(self.layout.len_of(piece));
        }
    }

    /// A piece that was had is gone from the disk; `wanted`: it is to be fetched again.
    pub(crate) fn set_lost(&mut self, piece: PieceIndex, wanted: bool) {
        if self.have.clear(piece) {
            self.have_bytes -= u64::from(self.layout.len_of(piece));
        }
        self.set_wanted(piece, wanted);
    }

    /// Begins a missing piece.
    pub(crate) fn open(&mut self, piece: PieceIndex, lease: Option<(ConnId, Instant)>) {
        assert!(!self.have.get(piece) && !self.open.contains_key(&piece), "only a missing piece is opened");
        let blocks = self.layout.blocks_of(piece);
        self.open.insert(piece, OpenPiece::new(blocks, lease));
        self.wanting.insert(piece);
    }

    /// An open piece.
    pub(crate) fn get(&self, piece: PieceIndex) -> Option<&OpenPiece> {
        self.open.get(&piece)
    }

    /// Changes an open piece.
    pub(crate) fn update<T>(&mut self, piece: PieceIndex, change: impl FnOnce(&mut OpenPiece) -> T) -> Option<T> {
        let open = self.open.get_mut(&piece)?;
        let wanted = open.missing() > 0;
        let result = change(open);
        if wanted != (open.missing() > 0) && !self.wanting.remove(&piece) {
            self.wanting.insert(piece);
        }
        Some(result)
    }

    /// All open pieces.
    pub(crate) fn iter_open(&self) -> impl Iterator<Item = (PieceIndex, &OpenPiece)> {
        self.open.iter().map(|(piece, open)| (*piece, open))
    }

    /// Open pieces with blocks that nobody was asked for.
    pub(crate) fn iter_wanting(&self) -> impl Iterator<Item = (PieceIndex, &OpenPiece)> {
        self.wanting.iter().filter_map(|piece| Some((*piece, self.open.get(piece)?)))
    }

    /// A connection is gone: what it was to fill alone is open to all.
    pub(crate) fn end_leases(&mut self, conn: ConnId) {
        for open in self.open.values_mut().filter(|open| open.lease.is_some_and(|(holder, _)| holder == conn)) {
            open.lease = None;
        }
    }

    /// The same for one piece.
    pub(crate) fn end_lease(&mut self, piece: PieceIndex, conn: ConnId) {
        if let Some(open) =
            self.open.get_mut(&piece).filter(|open| open.lease.is_some_and(|(holder, _)| holder == conn))
        {
            open.lease = None;
        }
    }

    /// How many are open.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Whether a block would still be of use.
    pub(crate) fn wants(&self, piece: PieceIndex, block: u32) -> bool {
        self.open.get(&piece).is_some_and(|open| open.wants(block))
    }

    /// Whether a block is here.
    pub(crate) fn is_here(&self, piece: PieceIndex, block: u32) -> bool {
        self.have.get(piece) || self.open.get(&piece).is_some_and(|open| open.is_block_here(block))
    }

    /// Takes a block in, or gives it back when it is of no use any more.
    ///
    /// # Errors
    /// The block, when its place is filled or its piece is not open.
    pub(crate) fn accept(&mut self, piece: PieceIndex, block: u32, data: Block, from: Sender) -> Result<(), Block> {
        if !self.wants(piece, block) {
            return Err(data);
        }
        self.update(piece, |open| open.accept(block, data, from)).unwrap_or(Ok(()))
    }

    /// Gives an open piece up: it is missing again. Buffers that wait go to `home`.
    pub(crate) fn forget(&mut self, piece: PieceIndex, home: impl FnMut(Block)) -> Option<OpenPiece> {
        let mut open = self.open.remove(&piece)?;
        self.wanting.remove(&piece);
        open.drop_held(home);
        Some(open)
    }

    /// Open pieces that hold buffers.
    pub(crate) fn holding(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.open.iter().filter(|(_, open)| open.is_holding()).map(|(piece, _)| *piece)
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        let had = self.have.iter_ones().map(|piece| u64::from(self.layout.len_of(piece))).sum::<u64>();
        assert_eq!(self.have_bytes, had, "bytes had equal a recount");
        assert!(self.have.iter_ones().all(|piece| self.settled.get(piece)), "of what is had nothing more is wanted");
        let all = (0..self.layout.piece_count()).map(PieceIndex);
        let lacking = all.filter(|piece| !self.settled.get(*piece)).map(|piece| u64::from(self.layout.len_of(piece)));
        assert_eq!(self.lacking_bytes, lacking.sum::<u64>(), "bytes lacking equal a recount");
        for (piece, open) in &self.open {
            open.check_invariants();
            assert!(!self.have.get(*piece), "no piece is open and had");
            assert_eq!(open.missing() > 0, self.wanting.contains(piece), "pieces to pick blocks from equal a recount");
        }
        assert!(self.wanting.iter().all(|piece| self.open.contains_key(piece)), "blocks are picked of open pieces");
    }
}

#[cfg(test)]
mod tests;
