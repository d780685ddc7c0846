//! Which pieces we have, and how far the open ones are.
//!
//! Law: a piece is in exactly one state: missing, open, or had. It is had only when its digest matched and all its writes
//! were confirmed. Blocks leave for the disk as they come: hashed in order, in runs; a block out of order waits, or, when the pool is short, is
//! written and read back when its turn comes. This module never decides which piece to fetch.

use crate::bitfield::Bitfield;
use crate::block::Block;
use crate::event::Hashed;
use crate::hash::HashState;
use crate::id::{ConnId, Digest, PieceIndex};
use crate::layout::Layout;
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Blocks of a write: 256 KiB. Smaller writes cost up to twice the processor time on common file systems.
pub(crate) const RUN_BLOCKS: u32 = 16;
/// The most blocks of one write: bounds how long one operation keeps its buffers.
pub(crate) const MAX_RUN_BLOCKS: u32 = 64;

/// Who sent a block: the connection, and the address behind it, which is still known when the connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The connection.
    pub conn: ConnId,
    /// The other side's address.
    pub addr: SocketAddr,
}

/// One block of a piece, and who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Its place in the piece.
    pub block: u32,
    /// From where it came.
    pub from: Sender,
    /// It was hashed after a way over the disk, which might be what changed it.
    pub reread: bool,
}

/// A block's way from wanted to written. Who sent it is the place of a [`Sender`] in the piece's list.
#[derive(Clone, Debug)]
enum Slot {
    Missing,
    /// Asked of so many peers.
    Requested(u8),
    /// Here, waiting for its run.
    Held(Block, u32),
    /// In an operation.
    Writing(u32),
    Written {
        by: u32,
        reread: bool,
    },
    /// Came, and was thrown away because the disk has lost the piece.
    Dropped(u32),
}

/// Disk work for an open piece, in blocks.
#[derive(Debug)]
pub(crate) enum Store {
    /// Write these blocks, and hash them when `hash` is given.
    Absorb {
        /// Index of the first block.
        first: u32,
        /// The blocks.
        blocks: Vec<Block>,
        /// The piece's hash so far.
        hash: Option<HashState>,
        /// They end the piece.
        last: bool,
    },
    /// Read blocks back that were written out of order, and hash them.
    ReadBack {
        /// Index of the first block.
        first: u32,
        /// How many.
        count: u32,
        /// The piece's hash so far.
        hash: HashState,
        /// They end the piece.
        last: bool,
    },
}

/// What has become of a piece whose last operation came home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The digest matches and everything is written.
    Good,
    /// The digest differs.
    Bad,
    /// The disk lost it; nobody is to blame.
    Lost,
}

/// A piece in progress.
#[derive(Clone, Debug)]
pub(crate) struct OpenPiece {
    slots: Vec<Slot>,
    missing: u32,
    /// Buffers that wait here.
    held: u32,
    /// No slot before this one is missing.
    scan_from: u32,
    hash: HashState,
    hash_out: bool,
    /// Blocks before this one are hashed, or are being hashed.
    hashed_to: u32,
    operations: u32,
    written: u32,
    /// What all of it hashes to, and what it must hash to.
    digests: Option<(Digest, Digest)>,
    lost: bool,
    /// Who sent any of its blocks.
    senders: Vec<Sender>,
    /// Only this connection may fill the piece until then: so that a failure has one author.
    pub lease: Option<(ConnId, Instant)>,
    /// It was decided where its bytes go.
    pub placed: bool,
}

impl OpenPiece {
    fn new(blocks: u32) -> Self {
        OpenPiece {
            slots: (0..blocks).map(|_| Slot::Missing).collect(),
            missing: blocks,
            held: 0,
            scan_from: 0,
            hash: HashState::default(),
            hash_out: false,
            hashed_to: 0,
            operations: 0,
            written: 0,
            digests: None,
            lost: false,
            senders: Vec::new(),
            lease: None,
            placed: false,
        }
    }

    /// Blocks that nobody was asked for.
    pub(crate) fn missing(&self) -> u32 {
        if self.lost { 0 } else { self.missing }
    }

    /// The first block that nobody was asked for.
    pub(crate) fn first_missing(&mut self) -> Option<u32> {
        if self.missing() == 0 {
            return None;
        }
        let found =
            (self.scan_from..self.slots.len() as u32).find(|b| matches!(self.slots[*b as usize], Slot::Missing));
        self.scan_from = found.unwrap_or(self.slots.len() as u32);
        found
    }

    /// Blocks that were asked of fewer than `limit` peers and are not here, with how many were asked.
    pub(crate) fn awaited(&self, limit: u8) -> impl Iterator<Item = (u32, u8)> + '_ {
        self.slots.iter().enumerate().filter_map(move |(block, slot)| match slot {
            Slot::Requested(n) if *n < limit && !self.lost => Some((block as u32, *n)),
            _ => None,
        })
    }

    /// Whether a block would still be of use.
    pub(crate) fn wants(&self, block: u32) -> bool {
        !self.lost && matches!(self.slots.get(block as usize), Some(Slot::Missing | Slot::Requested(_)))
    }

    /// A peer is asked for a block.
    pub(crate) fn request(&mut self, block: u32) {
        match &mut self.slots[block as usize] {
            slot @ Slot::Missing => {
                *slot = Slot::Requested(1);
                self.missing -= 1;
            }
            Slot::Requested(n) => *n = n.saturating_add(1),
            _ => {}
        }
    }

    /// A peer will not send a block it was asked for.
    pub(crate) fn unrequest(&mut self, block: u32) {
        match &mut self.slots[block as usize] {
            slot @ Slot::Requested(1) => {
                *slot = Slot::Missing;
                self.missing += 1;
                self.scan_from = self.scan_from.min(block);
            }
            Slot::Requested(n) => *n -= 1,
            _ => {}
        }
    }

    /// Takes a block in, or gives it back when it is of no use any more.
    fn accept(&mut self, block: u32, data: Block, from: Sender) -> Result<(), Block> {
        if !self.wants(block) {
            return Err(data);
        }
        let by = self.senders.iter().position(|sender| *sender == from).unwrap_or_else(|| {
            self.senders.push(from);
            self.senders.len() - 1
        });
        let slot = &mut self.slots[block as usize];
        if matches!(slot, Slot::Missing) {
            self.missing -= 1;
        }
        *slot = Slot::Held(data, by as u32);
        self.held += 1;
        Ok(())
    }

    /// The next disk work that is due. With `spill`, short runs and runs out of order go too.
    pub(crate) fn next_store(&mut self, spill: bool) -> Option<Store> {
        if self.lost {
            return None;
        }
        if !self.hash_out
            && let Some(store) = self.next_in_order(spill)
        {
            return Some(store);
        }
        if !spill || self.held == 0 {
            return None;
        }
        // The run that begins where hashing stands is hashed as soon as the state is home: leave it whole.
        let held = |slot: &Slot| matches!(slot, Slot::Held(..));
        let next = self.hashed_to as usize;
        let skip = self.slots[next..].iter().take_while(|slot| held(slot)).count();
        let first = (next + skip..self.slots.len()).find(|block| held(&self.slots[*block]))? as u32;
        let blocks = self.take_run(first);
        let last = self.ends_at(first, blocks.len());
        Some(Store::Absorb { first, blocks, hash: None, last })
    }

    fn next_in_order(&mut self, spill: bool) -> Option<Store> {
        let (first, total) = (self.hashed_to, self.slots.len() as u32);
        let rest = self.slots.get(first as usize..)?;
        match rest.first()? {
            Slot::Held(..) => {
                let run = rest.iter().take_while(|slot| matches!(slot, Slot::Held(..))).count() as u32;
                let can_grow =
                    matches!(rest.get(run as usize), Some(Slot::Missing | Slot::Requested(_))) && run < RUN_BLOCKS;
                if can_grow && !spill {
                    return None;
                }
                let blocks = self.take_run(first);
                self.hashed_to = first + blocks.len() as u32;
                self.hash_out = true;
                let last = self.ends_at(first, blocks.len());
                Some(Store::Absorb { first, blocks, hash: Some(self.hash), last })
            }
            Slot::Written { .. } => {
                let run = rest.iter().take_while(|slot| matches!(slot, Slot::Written { .. })).count() as u32;
                let count = run.min(MAX_RUN_BLOCKS);
                for slot in &mut self.slots[first as usize..(first + count) as usize] {
                    if let Slot::Written { reread, .. } = slot {
                        *reread = true;
                    }
                }
                self.hashed_to = first + count;
                self.hash_out = true;
                self.operations += 1;
                Some(Store::ReadBack { first, count, hash: self.hash, last: self.hashed_to == total })
            }
            _ => None,
        }
    }

    fn ends_at(&self, first: u32, count: usize) -> bool {
        first as usize + count == self.slots.len()
    }

    fn take_run(&mut self, first: u32) -> Vec<Block> {
        let slots = self.slots[first as usize..].iter_mut().take(MAX_RUN_BLOCKS as usize);
        let mut run = Vec::with_capacity(slots.len().min(self.held as usize));
        for slot in slots {
            match core::mem::replace(slot, Slot::Missing) {
                Slot::Held(block, by) => {
                    *slot = Slot::Writing(by);
                    run.push(block);
                }
                other => {
                    *slot = other;
                    break;
                }
            }
        }
        self.held -= run.len() as u32;
        self.operations += 1;
        run
    }

    /// A [`Store::Absorb`] came home.
    pub(crate) fn absorbed(&mut self, first: u32, count: u32, hash: Option<Hashed>, hashing: bool, written: bool) {
        self.operations -= 1;
        for slot in &mut self.slots[first as usize..(first + count) as usize] {
            if let Slot::Writing(by) = *slot {
                *slot = Slot::Written { by, reread: false };
            }
        }
        self.written += count;
        self.lost |= !written;
        if hashing {
            self.hash_home(hash);
        }
    }

    /// A [`Store::ReadBack`] came home; `None` when the disk failed.
    pub(crate) fn read_back(&mut self, hash: Option<Hashed>) {
        self.operations -= 1;
        self.hash_home(hash);
    }

    fn hash_home(&mut self, hash: Option<Hashed>) {
        self.hash_out = false;
        match hash {
            Some(Hashed::Running(state)) => self.hash = state,
            Some(Hashed::Finished { digest, expected }) => self.digests = Some((digest, expected)),
            None => self.lost = true,
        }
    }

    /// What has become of it, once nothing is under way.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        if !self.is_quiet() {
            return None;
        }
        if self.lost {
            return Some(Verdict::Lost);
        }
        let (digest, expected) = self.digests?;
        (self.written as usize == self.slots.len()).then_some(if digest == expected {
            Verdict::Good
        } else {
            Verdict::Bad
        })
    }

    /// Whether no operation of it is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.operations == 0
    }

    /// Operations of it that are under way.
    pub(crate) fn operations(&self) -> u32 {
        self.operations
    }

    /// Whether its hash is at the disk.
    pub(crate) fn is_hashing(&self) -> bool {
        self.hash_out
    }

    /// Whether the disk lost it: it is missing again when nothing of it is under way.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Who sent each block that came. Also when the piece is lost: what came is still to be accounted for.
    pub(crate) fn sent(&self) -> impl Iterator<Item = Sent> + '_ {
        self.slots.iter().zip(0..).filter_map(|(slot, block)| {
            let (by, reread) = match slot {
                Slot::Missing | Slot::Requested(_) => return None,
                Slot::Held(_, by) | Slot::Writing(by) | Slot::Dropped(by) => (*by, false),
                Slot::Written { by, reread } => (*by, *reread),
            };
            Some(Sent { block, from: *self.senders.get(by as usize)?, reread })
        })
    }

    /// The digest of what came, once all of it is hashed.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.digests.map(|(digest, _)| digest)
    }

    /// Gives the piece up: nothing of it goes to the disk or is awaited any more, and its buffers go `home`.
    pub(crate) fn lose(&mut self, home: impl FnMut(Block)) {
        self.lost = true;
        self.drop_held(home);
    }

    /// Whether every block is here: nothing but the disk stands between the piece and its verdict.
    pub(crate) fn is_here(&self) -> bool {
        self.missing == 0 && !self.slots.iter().any(|slot| matches!(slot, Slot::Requested(_) | Slot::Dropped(_)))
    }

    /// Takes out the buffers that wait and awaits nobody.
    fn drop_held(&mut self, mut home: impl FnMut(Block)) {
        for (block, slot) in self.slots.iter_mut().enumerate() {
            match core::mem::replace(slot, Slot::Missing) {
                Slot::Missing => continue,
                Slot::Requested(_) => {}
                Slot::Held(buffer, by) => {
                    home(buffer);
                    self.held -= 1;
                    *slot = Slot::Dropped(by);
                    continue;
                }
                other => {
                    *slot = other;
                    continue;
                }
            }
            self.missing += 1;
            self.scan_from = self.scan_from.min(block as u32);
        }
    }

    /// Whether buffers wait here.
    pub(crate) fn is_holding(&self) -> bool {
        self.held > 0
    }

    /// How many peers a block is asked of; `None` when it is here.
    pub(crate) fn asked(&self, block: u32) -> Option<u32> {
        match self.slots.get(block as usize)? {
            Slot::Missing => Some(0),
            Slot::Requested(n) => Some(u32::from(*n)),
            _ => None,
        }
    }

    /// Buffers that wait, and buffers at the disk.
    pub(crate) fn buffers(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Held(..) | Slot::Writing(_))).count()
    }

    fn check_invariants(&self) {
        let count = |is: fn(&Slot) -> bool| self.slots.iter().filter(|slot| is(slot)).count() as u32;
        assert_eq!(self.missing, count(|s| matches!(s, Slot::Missing)), "missing blocks equal a recount");
        assert_eq!(self.held, count(|s| matches!(s, Slot::Held(..))), "waiting buffers equal a recount");
        assert_eq!(self.written, count(|s| matches!(s, Slot::Written { .. })), "written blocks equal a recount");
        let before = self.slots.iter().take(self.scan_from as usize);
        assert!(!before.clone().any(|s| matches!(s, Slot::Missing)), "no block before the scan's start is missing");
        let hashed = self.slots.iter().take(self.hashed_to as usize);
        let at_disk = |s: &Slot| matches!(s, Slot::Writing(_) | Slot::Written { .. });
        assert!(hashed.clone().all(at_disk), "what is hashed is at the disk");
        let here = count(|s| !matches!(s, Slot::Missing | Slot::Requested(_)));
        assert_eq!(self.sent().count() as u32, here, "who sent a block is known while it is here");
        let idle = self.operations == 0;
        assert!(
            !(idle && (self.hash_out || count(|s| matches!(s, Slot::Writing(_))) > 0)),
            "who waits has an operation"
        );
    }
}

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
        self.open.insert(piece, OpenPiece { lease, ..OpenPiece::new(blocks) });
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
        let open = self.open.get(&piece).filter(|open| !open.lost);
        self.have.get(piece) || open.is_some_and(|open| block < open.slots.len() as u32 && open.asked(block).is_none())
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
