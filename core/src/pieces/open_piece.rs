//! A piece in progress: where each of its blocks is on its way from wanted to written, and what is to be done next.
//!
//! Blocks leave for the disk as they come: hashed in order, in runs; a block out of order waits, or, when the pool is short, is
//! written and read back when its turn comes.

use crate::block::Block;
use crate::event::Hashed;
use crate::hash::HashState;
use crate::id::{ConnId, Digest};
use crate::time::Instant;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Blocks of a write: 256 KiB. Smaller writes cost up to twice the processor time on common file systems.
pub(super) const RUN_BLOCKS: u32 = 16;
/// The most blocks of one write: bounds how long one operation keeps its buffers.
pub(super) const MAX_RUN_BLOCKS: u32 = 64;

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
    pub(super) missing: u32,
    /// Buffers that wait here.
    pub(super) held: u32,
    /// No slot before this one is missing.
    pub(super) scan_from: u32,
    hash: HashState,
    hash_out: bool,
    /// Blocks before this one are hashed, or are being hashed.
    pub(super) hashed_to: u32,
    pub(super) operations: u32,
    pub(super) written: u32,
    /// What all of it hashes to, and what it must hash to.
    digests: Option<(Digest, Digest)>,
    lost: bool,
    /// Who sent any of its blocks.
    pub(super) senders: Vec<Sender>,
    /// Only this connection may fill the piece until then: so that a failure has one author.
    pub lease: Option<(ConnId, Instant)>,
    /// It was decided where its bytes go.
    pub placed: bool,
}

impl OpenPiece {
    pub(super) fn new(blocks: u32, lease: Option<(ConnId, Instant)>) -> Self {
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
            lease,
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
    pub(super) fn accept(&mut self, block: u32, data: Block, from: Sender) -> Result<(), Block> {
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

    /// Whether this block is here.
    pub(super) fn is_block_here(&self, block: u32) -> bool {
        !self.lost && block < self.slots.len() as u32 && self.asked(block).is_none()
    }

    /// Takes out the buffers that wait and awaits nobody.
    pub(super) fn drop_held(&mut self, mut home: impl FnMut(Block)) {
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

    pub(super) fn check_invariants(&self) {
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
