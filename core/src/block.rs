//! Block buffers and the one small pool they come from.
//!
//! A request is sent only with a buffer reserved (law: memory is bounded before the bytes are asked for). Buffers are handed out as
//! owned values, travel with operations and come home with their completions; the pool counts them, so that none is lost.

use crate::id::BLOCK_LEN;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// One buffer of up to [`BLOCK_LEN`] bytes. Only a [`BlockPool`] makes them.
#[derive(Clone)]
pub struct Block {
    bytes: Box<[u8]>,
    len: u32,
}

impl Deref for Block {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len as usize]
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.len)
    }
}

/// The pool: so many blocks, of which some are reserved for requests, some are out, the rest are free.
///
/// How many depends on where they come from. Peers that answer at once are kept busy by few, and more would only stand between them and the disk, and out
/// of the processor's caches; peers that answer late have much on the way, which is neither here nor there.
#[derive(Clone, Debug)]
pub struct BlockPool {
    capacity: usize,
    near: usize,
    far: usize,
    reserved: usize,
    out: usize,
    /// Buffers already allocated and at rest. Memory grows to what was needed at once, never past `capacity`.
    idle: Vec<Block>,
}

impl BlockPool {
    /// A pool of at most `capacity` blocks, of which `near` are there wherever they come from. Nothing is allocated yet.
    pub fn new(capacity: usize, near: usize) -> Self {
        BlockPool { capacity, near, far: 0, reserved: 0, out: 0, idle: Vec::new() }
    }

    /// How many blocks may exist.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many blocks may be reserved or out for now. When it falls, more may be until they have come home.
    pub fn size(&self) -> usize {
        self.capacity.min(self.near.saturating_add(self.far))
    }

    /// How many blocks can still be reserved.
    pub fn free(&self) -> usize {
        self.size().saturating_sub(self.reserved + self.out)
    }

    /// How many blocks are on their way from distant peers, as far as these have told.
    pub fn far(&self) -> usize {
        self.far
    }

    /// One of the peers has so many on the way; before that it had `before`.
    ///
    /// # Panics
    /// When it had never told of so many.
    pub fn set_far(&mut self, before: u32, blocks: u32) {
        let others = self.far.checked_sub(before as usize);
        self.far = others.expect("what one peer has on the way is part of what all have") + blocks as usize;
    }

    /// How many are reserved for requests on the way.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// How many hold data.
    pub fn out(&self) -> usize {
        self.out
    }

    /// Checks what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub fn check_invariants(&self) {
        assert!(self.out + self.idle.len() <= self.capacity, "no more buffers were made than the pool has");
        assert!(self.reserved + self.out <= self.capacity, "no more is promised than the pool has");
    }

    /// Reserves one block for a request; `false` when none is free.
    #[must_use]
    pub fn reserve(&mut self) -> bool {
        let ok = self.free() > 0;
        self.reserved += usize::from(ok);
        ok
    }

    /// Gives a reservation back: the request was cancelled, rejected or lost.
    ///
    /// # Panics
    /// When nothing is reserved.
    pub fn unreserve(&mut self) {
        assert!(self.reserved > 0, "a reservation is given back once");
        self.reserved -= 1;
    }

    /// Turns a reservation into a buffer of `len` bytes (contents unspecified).
    ///
    /// # Panics
    /// When nothing is reserved, or `len` exceeds [`BLOCK_LEN`].
    pub fn take(&mut self, len: u32) -> Block {
        assert!(self.reserved > 0, "a block is taken only against a reservation");
        assert!(len <= BLOCK_LEN, "a block has at most 16 KiB");
        self.reserved -= 1;
        self.out += 1;
        let mut block =
            self.idle.pop().unwrap_or_else(|| Block { bytes: vec![0; BLOCK_LEN as usize].into_boxed_slice(), len: 0 });
        block.len = len;
        block
    }

    /// Takes a block home.
    ///
    /// # Panics
    /// When more come home than went out.
    pub fn give_back(&mut self, block: Block) {
        assert!(self.out > 0, "no block comes home twice");
        self.out -= 1;
        self.idle.push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::breaches::check_breaches;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Reserve,
        Unreserve,
        Take(u32),
        GiveBack(usize),
        Far(u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => Just(Op::Reserve),
            1 => Just(Op::Unreserve),
            3 => (0..=BLOCK_LEN).prop_map(Op::Take),
            2 => (0usize..8).prop_map(Op::GiveBack),
            1 => (0u32..4).prop_map(Op::Far),
        ]
    }

    proptest! {
        #[test]
        fn the_pool_behaves_like_two_counters_and_a_row(
            capacity in 0usize..6,
            near in 0usize..6,
            ops in proptest::collection::vec(op(), 0..80),
        ) {
            let mut pool = BlockPool::new(capacity, near);
            let (mut reserved, mut most_out, mut far) = (0, 0, 0);
            // Blocks that are out, with the byte that each was filled with.
            let mut row: Vec<(Block, u8)> = Vec::new();
            for (stamp, op) in (0u8..).zip(ops) {
                match op {
                    Op::Reserve => {
                        let room = reserved + row.len() < capacity.min(near + far as usize);
                        prop_assert_eq!(pool.reserve(), room);
                        reserved += usize::from(room);
                    }
                    Op::Unreserve if reserved > 0 => {
                        pool.unreserve();
                        reserved -= 1;
                    }
                    Op::Take(len) if reserved > 0 => {
                        let mut block = pool.take(len);
                        prop_assert_eq!(block.len(), len as usize);
                        block.fill(stamp);
                        row.push((block, stamp));
                        reserved -= 1;
                    }
                    Op::GiveBack(n) if !row.is_empty() => {
                        let (block, stamp) = row.remove(n % row.len());
                        prop_assert!(block.iter().all(|byte| *byte == stamp), "nobody else wrote into it");
                        pool.give_back(block);
                    }
                    Op::Far(blocks) => {
                        pool.set_far(far, blocks);
                        far = blocks;
                    }
                    _ => {}
                }
                most_out = most_out.max(row.len());
                pool.check_invariants();
                prop_assert_eq!((pool.reserved(), pool.out(), pool.far()), (reserved, row.len(), far as usize));
                prop_assert_eq!(pool.free(), pool.size().saturating_sub(reserved + row.len()));
                prop_assert_eq!(pool.out + pool.idle.len(), most_out, "as many buffers as were out at once");
            }
        }
    }

    #[test]
    fn reservations_and_blocks_share_one_capacity() {
        let mut pool = BlockPool::new(2, 2);
        assert!(pool.reserve() && pool.reserve() && !pool.reserve());
        let block = pool.take(5);
        assert_eq!((block.len(), pool.free(), pool.reserved(), pool.out()), (5, 0, 1, 1));
        pool.unreserve();
        pool.give_back(block);
        assert_eq!(pool.free(), 2);
    }

    #[test]
    fn whoever_sets_no_bound_for_near_peers_has_the_whole_pool() {
        let mut pool = BlockPool::new(2, usize::MAX);
        pool.set_far(0, u32::MAX);
        assert_eq!(pool.size(), 2);
    }

    #[test]
    fn each_law_is_seen_to_be_broken() {
        let intact = || {
            let mut pool = BlockPool::new(2, 2);
            assert!(pool.reserve() && pool.reserve());
            let _block = pool.take(1);
            pool
        };
        check_breaches(
            include_str!("block.rs"),
            intact,
            BlockPool::check_invariants,
            &[
                ("no more buffers were made than the pool has", |pool| {
                    let bytes = vec![0; 1].into_boxed_slice();
                    pool.idle.extend([Block { bytes: bytes.clone(), len: 0 }, Block { bytes, len: 0 }]);
                }),
                ("no more is promised than the pool has", |pool| pool.reserved += 1),
            ],
        );
    }
}
