//! Which missing piece to begin: the rarest that a peer has. Owns the rarity index.
//!
//! Missing pieces stand in one row, ordered by how many partial peers have them; a change by one moves a piece across one bucket border, so
//! every update is O(1). Peers that have everything raise all pieces alike and are only counted. Within a bucket the scan starts
//! at a random place, so that peers with the same view choose differently (BEP 3: rarest first, in random order).

use crate::bitfield::Bitfield;
use crate::id::PieceIndex;
use crate::rng::Rng;
use alloc::vec;
use alloc::vec::Vec;

/// Not in the row: open or had.
const NOWHERE: u32 = u32::MAX;
/// How many pieces are looked at in order of rarity before the peer's bitfield is searched word by word instead:
/// a peer that has few of the rare pieces must not cost a walk over a million.
const SCAN_LIMIT: usize = 256;

/// The rarity index of one torrent.
#[derive(Clone, Debug)]
pub(crate) struct Picker {
    availability: Vec<u16>,
    /// Missing pieces, rarest first.
    row: Vec<PieceIndex>,
    /// Where each piece stands in the row.
    place: Vec<u32>,
    /// `bucket_end[a]`: where pieces of availability `a` end in the row.
    bucket_end: Vec<u32>,
    /// Pieces that are open or had: those that do not stand in the row.
    taken: Bitfield,
    complete_peers: u32,
}

impl Picker {
    /// All pieces missing, no peers.
    pub(crate) fn new(pieces: u32) -> Self {
        Picker {
            availability: vec![0; pieces as usize],
            row: (0..pieces).map(PieceIndex).collect(),
            place: (0..pieces).collect(),
            bucket_end: vec![pieces],
            taken: Bitfield::empty(pieces),
            complete_peers: 0,
        }
    }

    /// How many pieces are missing and not open.
    pub(crate) fn missing_count(&self) -> u32 {
        self.row.len() as u32
    }

    /// Of those, how many some connected peer has.
    pub(crate) fn reachable_count(&self) -> u32 {
        if self.complete_peers > 0 { self.missing_count() } else { self.missing_count() - self.bucket_end[0] }
    }

    /// Whether a piece is missing and not open.
    pub(crate) fn is_missing(&self, piece: PieceIndex) -> bool {
        !self.taken.get(piece)
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        let mut start = 0;
        for (a, end) in self.bucket_end.iter().enumerate() {
            for at in start..*end {
                let piece = self.row[at as usize].0 as usize;
                assert_eq!(self.place[piece], at, "a missing piece knows its place in the row");
                assert_eq!(usize::from(self.availability[piece]), a, "a missing piece stands in its bucket");
            }
            start = *end;
        }
        assert_eq!(start as usize, self.row.len(), "the buckets cover the row");
        assert_eq!(self.missing_count(), self.taken.len() - self.taken.count(), "the row holds all missing pieces");
    }

    /// A piece is open or had: it is no longer to be picked.
    pub(crate) fn remove(&mut self, piece: PieceIndex) {
        if !self.taken.set(piece) {
            return;
        }
        // Walk it to the end of the row, one bucket border at a time.
        for bucket in self.availability[piece.0 as usize] as usize..self.bucket_end.len() {
            self.bucket_end[bucket] -= 1;
            self.swap(self.place[piece.0 as usize], self.bucket_end[bucket]);
        }
        self.row.pop();
        self.place[piece.0 as usize] = NOWHERE;
    }

    /// A piece is missing again.
    pub(crate) fn insert(&mut self, piece: PieceIndex) {
        if !self.taken.clear(piece) {
            return;
        }
        self.place[piece.0 as usize] = self.row.len() as u32;
        self.row.push(piece);
        for bucket in (self.availability[piece.0 as usize] as usize..self.bucket_end.len()).rev() {
            let end = self.bucket_end[bucket];
            self.swap(self.place[piece.0 as usize], end);
            self.bucket_end[bucket] += 1;
        }
    }

    /// A partial peer has one more piece.
    pub(crate) fn peer_has(&mut self, piece: PieceIndex) {
        let a = self.availability[piece.0 as usize];
        let Some(more) = a.checked_add(1) else { return };
        if self.bucket_end.len() <= more as usize {
            self.bucket_end.push(self.row.len() as u32);
        }
        if self.place[piece.0 as usize] != NOWHERE {
            self.bucket_end[a as usize] -= 1;
            self.swap(self.place[piece.0 as usize], self.bucket_end[a as usize]);
        }
        self.availability[piece.0 as usize] = more;
    }

    /// A partial peer that had this piece is gone.
    pub(crate) fn peer_lost(&mut self, piece: PieceIndex) {
        let Some(less) = self.availability[piece.0 as usize].checked_sub(1) else { return };
        if self.place[piece.0 as usize] != NOWHERE {
            self.swap(self.place[piece.0 as usize], self.bucket_end[less as usize]);
            self.bucket_end[less as usize] += 1;
        }
        self.availability[piece.0 as usize] = less;
    }

    /// A peer that has everything came.
    pub(crate) fn complete_peer_came(&mut self) {
        self.complete_peers += 1;
    }

    /// A peer that had everything from the start is gone.
    pub(crate) fn complete_peer_gone(&mut self) {
        self.complete_peers = self.complete_peers.saturating_sub(1);
    }

    /// How many connected peers have a piece.
    pub(crate) fn availability(&self, piece: PieceIndex) -> u32 {
        self.complete_peers + self.availability.get(piece.0 as usize).map_or(0, |a| u32::from(*a))
    }

    /// The rarest missing piece that `peer` has and `allowed` does not refuse.
    pub(crate) fn pick_rarest(
        &self,
        peer: &Bitfield,
        rng: &mut Rng,
        allowed: impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        // Pieces that no partial peer has stand in bucket 0: a partial peer has none of those.
        let first_bucket = usize::from(!peer.is_full());
        let mut start = if first_bucket == 0 { 0 } else { self.bucket_end[0] as usize };
        let mut looked_at = 0;
        for end in &self.bucket_end[first_bucket.min(self.bucket_end.len())..] {
            let bucket = &self.row[start..*end as usize];
            start = *end as usize;
            if bucket.is_empty() {
                continue;
            }
            let turn = rng.below(bucket.len() as u64) as usize;
            for piece in bucket[turn..].iter().chain(&bucket[..turn]) {
                if peer.get(*piece) && allowed(*piece) {
                    return Some(*piece);
                }
                looked_at += 1;
                if looked_at == SCAN_LIMIT {
                    return self.pick_any(peer, rng, allowed);
                }
            }
        }
        None
    }

    /// Any missing piece that `peer` has and `allowed` does not refuse, from a random place on: for the first piece, which
    /// should be complete soon rather than rare.
    pub(crate) fn pick_any(
        &self,
        peer: &Bitfield,
        rng: &mut Rng,
        allowed: impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        let from = PieceIndex(rng.below(u64::from(peer.len())) as u32);
        let both = || peer.iter_ones_not_in(&self.taken).filter(|piece| allowed(*piece));
        both().find(|piece| *piece >= from).or_else(|| both().next())
    }

    fn swap(&mut self, a: u32, b: u32) {
        self.row.swap(a as usize, b as usize);
        self.place[self.row[a as usize].0 as usize] = a;
        self.place[self.row[b as usize].0 as usize] = b;
    }
}

#[cfg(test)]
mod tests;
