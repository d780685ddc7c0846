//! Which missing piece to begin: the most urgent, and of those the rarest that a peer has. Owns the rarity index.
//!
//! Missing pieces that are wanted stand in one row for each priority, ordered by how many partial peers have them; a change by one moves a piece
//! across one bucket border, so every update is O(1). Peers that have everything raise all pieces alike and are only counted. Within a bucket the scan
//! starts at a random place, so that peers with the same view choose differently (BEP 3: rarest first, in random order).
//!
//! The rows, ten bytes a piece, are there only while somebody is connected who has pieces: of many torrents most wait.

use crate::bitfield::Bitfield;
use crate::id::PieceIndex;
use crate::rng::Rng;
use crate::selection::Priority;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Not in a row: open, had, or not wanted.
const NOWHERE: u32 = u32::MAX;
/// How many pieces of a row are looked at in order of rarity before the peer's bitfield is searched word by word instead:
/// a peer that has few of the rare pieces must not cost a walk over a million.
const SCAN_LIMIT: usize = 256;
/// The priorities that have a row, most urgent first.
const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// In which order pieces of one priority are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The rarest first.
    Rarest,
    /// Any, from a random place on: for the first pieces, which should be complete soon rather than rare.
    Any,
    /// As they stand in the torrent.
    Sequential,
}

/// What is missing in one torrent, and how rare it is.
#[derive(Clone, Debug)]
pub(crate) struct Picker {
    /// Missing pieces: one set for each of `PRIORITIES`.
    missing: [Bitfield; PRIORITIES.len()],
    /// Made when the first piece of a peer is counted.
    index: Option<Box<Index>>,
    complete_peers: u32,
}

/// How rare each piece is.
#[derive(Clone, Debug)]
struct Index {
    availability: Vec<u16>,
    /// Where each piece stands in its row.
    place: Vec<u32>,
    /// One for each of `PRIORITIES`.
    rows: [Row; PRIORITIES.len()],
}

/// Missing pieces of one priority, rarest first.
#[derive(Clone, Debug)]
struct Row {
    pieces: Vec<PieceIndex>,
    /// `bucket_end[a]`: where pieces of availability `a` end in the row.
    bucket_end: Vec<u32>,
}

impl Picker {
    /// All pieces missing and wanted as usual, no peers.
    pub(crate) fn new(pieces: u32) -> Self {
        let missing = PRIORITIES.map(|priority| match priority {
            Priority::Normal => Bitfield::full(pieces),
            _ => Bitfield::empty(pieces),
        });
        Picker { missing, index: None, complete_peers: 0 }
    }

    /// How many pieces are missing, wanted and not open.
    pub(crate) fn missing_count(&self) -> u32 {
        self.missing.iter().map(Bitfield::count).sum()
    }

    /// Of those, how many some connected peer has.
    pub(crate) fn reachable_count(&self) -> u32 {
        match &self.index {
            _ if self.complete_peers > 0 => self.missing_count(),
            Some(index) => self.missing_count() - index.rows.iter().map(|row| row.bucket_end[0]).sum::<u32>(),
            None => 0,
        }
    }

    /// The priority under which a piece can be picked; `None` when it is open, had, or not wanted.
    pub(crate) fn priority_of(&self, piece: PieceIndex) -> Option<Priority> {
        self.row_of(piece).map(|row| PRIORITIES[row])
    }

    fn row_of(&self, piece: PieceIndex) -> Option<usize> {
        self.missing.iter().position(|missing| missing.get(piece))
    }

    /// Whether anybody's pieces are counted one by one.
    pub(crate) fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    /// Nobody is connected who has pieces.
    pub(crate) fn rest(&mut self) {
        self.index = None;
    }

    fn index(&mut self) -> &mut Index {
        self.index.get_or_insert_with(|| Box::new(Index::new(&self.missing)))
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        let Some(index) = &self.index else { return };
        for (row, missing) in index.rows.iter().zip(&self.missing) {
            let mut start = 0;
            for (a, end) in row.bucket_end.iter().enumerate() {
                for at in start..*end {
                    let piece = row.pieces[at as usize].0 as usize;
                    assert_eq!(index.place[piece], at, "a missing piece knows its place in the row");
                    assert_eq!(usize::from(index.availability[piece]), a, "a missing piece stands in its bucket");
                }
                start = *end;
            }
            assert_eq!(start as usize, row.pieces.len(), "the buckets cover the row");
            assert!(row.pieces.iter().all(|piece| missing.get(*piece)), "what stands in the row is missing");
        }
        let standing = index.rows.iter().map(|row| row.pieces.len() as u32).sum::<u32>();
        let placed = index.place.iter().filter(|place| **place != NOWHERE).count() as u32;
        let missing = self.missing_count();
        assert_eq!((standing, placed), (missing, missing), "a missing piece stands in one row, once");
    }

    /// A piece is open or had, or no longer wanted: it is not to be picked.
    pub(crate) fn remove(&mut self, piece: PieceIndex) {
        let Some(row) = self.row_of(piece) else { return };
        self.missing[row].clear(piece);
        if let Some(index) = &mut self.index {
            index.remove(row, piece);
        }
    }

    /// A piece is missing (again), and wanted this urgently. One that was missing already changes over.
    pub(crate) fn insert(&mut self, piece: PieceIndex, priority: Priority) {
        if self.priority_of(piece) == Some(priority) {
            return;
        }
        self.remove(piece);
        let Some(row) = PRIORITIES.iter().position(|p| *p == priority) else { return };
        self.missing[row].set(piece);
        if let Some(index) = &mut self.index {
            index.insert(row, piece);
        }
    }

    /// A partial peer has one more piece.
    pub(crate) fn peer_has(&mut self, piece: PieceIndex) {
        let row = self.row_of(piece);
        self.index().raise(row, piece);
    }

    /// A partial peer that had this piece is gone.
    pub(crate) fn peer_lost(&mut self, piece: PieceIndex) {
        let row = self.row_of(piece);
        self.index().lower(row, piece);
    }

    /// A peer that has everything came.
    pub(crate) fn complete_peer_came(&mut self) {
        self.index();
        self.complete_peers += 1;
    }

    /// A peer that had everything from the start is gone.
    pub(crate) fn complete_peer_gone(&mut self) {
        self.complete_peers = self.complete_peers.saturating_sub(1);
    }

    /// How many connected peers have a piece.
    pub(crate) fn availability(&self, piece: PieceIndex) -> u32 {
        let partial = self.index.as_ref().and_then(|index| index.availability.get(piece.0 as usize));
        self.complete_peers + partial.map_or(0, |a| u32::from(*a))
    }

    /// The piece to begin that `peer` has and `allowed` does not refuse: of the most urgent, the first in `order`. With `above`, only a more urgent
    /// one than that.
    pub(crate) fn pick(
        &self,
        peer: &Bitfield,
        order: Order,
        above: Option<Priority>,
        rng: &mut Rng,
        allowed: impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        let rows = self.index.as_ref()?.rows.iter().zip(&self.missing).zip(PRIORITIES);
        let mut fitting = rows
            .filter(|((row, _), priority)| !row.pieces.is_empty() && above.is_none_or(|above| *priority > above))
            .map(|(row, _)| row);
        fitting.find_map(|(row, missing)| match order {
            Order::Rarest => row.pick_rarest(missing, peer, rng, &allowed),
            Order::Any => pick_any(missing, peer, rng, &allowed),
            Order::Sequential => peer.iter_ones_also_in(missing).find(|piece| allowed(*piece)),
        })
    }
}

/// Any piece of both sets, from a random place on.
fn pick_any(
    missing: &Bitfield,
    peer: &Bitfield,
    rng: &mut Rng,
    allowed: &impl Fn(PieceIndex) -> bool,
) -> Option<PieceIndex> {
    let from = PieceIndex(rng.below(u64::from(peer.len())) as u32);
    let both = || peer.iter_ones_also_in(missing).filter(|piece| allowed(*piece));
    both().find(|piece| *piece >= from).or_else(|| both().next())
}

impl Index {
    /// No piece is at any peer yet.
    fn new(missing: &[Bitfield; PRIORITIES.len()]) -> Self {
        let pieces = missing[0].len() as usize;
        let mut place = vec![NOWHERE; pieces];
        let rows = missing.each_ref().map(|missing| {
            let row: Vec<PieceIndex> = missing.iter_ones().collect();
            (0..).zip(&row).for_each(|(at, piece)| place[piece.0 as usize] = at);
            Row { bucket_end: vec![row.len() as u32], pieces: row }
        });
        Index { availability: vec![0; pieces], place, rows }
    }

    fn remove(&mut self, row: usize, piece: PieceIndex) {
        let (row, a) = (&mut self.rows[row], self.availability[piece.0 as usize]);
        // Walk it to the end of the row, one bucket border at a time.
        for bucket in a as usize..row.bucket_end.len() {
            row.bucket_end[bucket] -= 1;
            row.swap(&mut self.place, piece, row.bucket_end[bucket]);
        }
        row.pieces.pop();
        self.place[piece.0 as usize] = NOWHERE;
    }

    fn insert(&mut self, row: usize, piece: PieceIndex) {
        let (row, a) = (&mut self.rows[row], self.availability[piece.0 as usize]);
        row.reach(a);
        self.place[piece.0 as usize] = row.pieces.len() as u32;
        row.pieces.push(piece);
        for bucket in (a as usize..row.bucket_end.len()).rev() {
            row.swap(&mut self.place, piece, row.bucket_end[bucket]);
            row.bucket_end[bucket] += 1;
        }
    }

    /// One more peer has the piece, which stands in this row if it is missing.
    fn raise(&mut self, row: Option<usize>, piece: PieceIndex) {
        let a = self.availability[piece.0 as usize];
        let Some(more) = a.checked_add(1) else { return };
        if let Some(row) = row {
            let row = &mut self.rows[row];
            row.reach(more);
            row.bucket_end[a as usize] -= 1;
            row.swap(&mut self.place, piece, row.bucket_end[a as usize]);
        }
        self.availability[piece.0 as usize] = more;
    }

    /// One peer less has the piece.
    fn lower(&mut self, row: Option<usize>, piece: PieceIndex) {
        let Some(less) = self.availability[piece.0 as usize].checked_sub(1) else { return };
        if let Some(row) = row {
            let row = &mut self.rows[row];
            row.swap(&mut self.place, piece, row.bucket_end[less as usize]);
            row.bucket_end[less as usize] += 1;
        }
        self.availability[piece.0 as usize] = less;
    }
}

impl Row {
    /// Makes sure that there is a bucket for this availability.
    fn reach(&mut self, availability: u16) {
        let end = self.pieces.len() as u32;
        let count = self.bucket_end.len().max(usize::from(availability) + 1);
        self.bucket_end.resize(count, end);
    }

    /// Lets `piece` and whatever stands at `at` change places.
    fn swap(&mut self, place: &mut [u32], piece: PieceIndex, at: u32) {
        let from = place[piece.0 as usize];
        self.pieces.swap(from as usize, at as usize);
        place[self.pieces[from as usize].0 as usize] = from;
        place[piece.0 as usize] = at;
    }

    fn pick_rarest(
        &self,
        missing: &Bitfield,
        peer: &Bitfield,
        rng: &mut Rng,
        allowed: &impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        // Pieces that no partial peer has stand in bucket 0: a partial peer has none of those.
        let first_bucket = usize::from(!peer.is_full());
        let mut start = if first_bucket == 0 { 0 } else { self.bucket_end[0] as usize };
        let mut looked_at = 0;
        for end in &self.bucket_end[first_bucket.min(self.bucket_end.len())..] {
            let bucket = &self.pieces[start..*end as usize];
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
                    return pick_any(missing, peer, rng, allowed);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
