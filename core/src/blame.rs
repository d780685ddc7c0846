//! Who is to blame for a piece that fails its hash.
//!
//! Where one address sent all of it, that one is, at once. Where several did, the digest of each block is remembered with its sender's
//! address; when the piece verifies in a later try, the blocks that differ name the liars, also those who left meanwhile, and nobody else.
//!
//! The blocks are on the disk by then, so their digests are read back: first each block, then the whole piece. Only when the whole is still
//! what was hashed as it came are the digests those of what was sent; the same again when it has verified. So a disk that changes
//! bytes unnoticed, or cannot be read, blames nobody. Blocks that were themselves hashed by way of the disk prove nothing.
//!
//! A piece that failed is tried again by one author under a lease, each time a longer one: then a failure has one author, or more evidence.

use crate::id::{Digest, PieceIndex};
use crate::time::{Duration, Instant};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Pieces of which evidence is kept at a time; the oldest makes way. A liar spoils many at once, and one of them is enough to name it.
const MAX_CASES: usize = 8;
/// Blocks of evidence in one case, over all tries: twice a piece of 16 MiB, some 60 KiB.
const MAX_EVIDENCE: usize = 2048;
/// Reading evidence may keep a piece from being asked for again for so long; a disk that is slower than that has other worries.
const MAX_READING: Duration = Duration::from_secs(20);
/// How long the first author has a piece for itself; it doubles with each failure, so that a slow one gets it done at last ...
const FIRST_LEASE: Duration = Duration::from_secs(60);
/// ... up to here, so that one who drips holds up no piece for ever.
const MAX_LEASE: Duration = Duration::from_secs(16 * 60);

/// What is to be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhibit {
    /// One block.
    Block(u32),
    /// The whole piece.
    Whole,
}

/// Which reading an operation belongs to: an answer that comes late belongs to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReadingId(u64);

/// Evidence of one torrent. Grows with pieces that failed and did not verify since; what is kept of each is bounded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blame {
    /// Pieces that failed and were not verified since, and how often.
    failed: BTreeMap<PieceIndex, u32>,
    cases: BTreeMap<PieceIndex, Case>,
    readings: u64,
}

#[derive(Clone, Debug)]
struct Case {
    opened: Instant,
    evidence: Vec<Evidence>,
    reading: Option<Reading>,
}

/// What one address sent for one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Evidence {
    block: u32,
    digest: Digest,
    from: SocketAddr,
}

/// Digests are being read back.
#[derive(Clone, Debug)]
struct Reading {
    id: ReadingId,
    since: Instant,
    /// Which blocks, in order; of a try that failed with who sent them.
    blocks: Vec<(u32, Option<SocketAddr>)>,
    digests: Vec<Digest>,
    /// What the whole piece must come to, or the disk has changed something.
    whole: Digest,
}

impl Blame {
    /// Whether a piece has failed and not verified since: only who is given it may begin it.
    pub(crate) fn has_failed(&self, piece: PieceIndex) -> bool {
        self.failed.contains_key(&piece)
    }

    /// Failed pieces that may be tried again, with the lease of their next author.
    pub(crate) fn retries(&self) -> impl Iterator<Item = (PieceIndex, Duration)> {
        let free = self.failed.iter().filter(|(piece, _)| !self.is_reading(**piece));
        free.map(|(piece, times)| (*piece, (FIRST_LEASE * (1 << (times - 1).min(10))).min(MAX_LEASE)))
    }

    /// A piece failed its hash, which came to `digest`. `sent` tells who sent each block that was hashed as it came; `complete` says that these
    /// are all. Gives who is guilty already: the address that sent everything.
    pub(crate) fn piece_failed(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        digest: Digest,
        sent: &[(u32, SocketAddr)],
        complete: bool,
    ) -> Option<SocketAddr> {
        let times = self.failed.entry(piece).or_default();
        *times = times.saturating_add(1);
        let (_, first) = *sent.first()?;
        if complete && sent.iter().all(|(_, from)| *from == first) {
            return Some(first);
        }
        let blocks: Vec<_> = sent.iter().map(|(block, from)| (*block, Some(*from))).collect();
        let known = self.cases.get(&piece).map_or(0, |case| case.evidence.len());
        if known + blocks.len() <= MAX_EVIDENCE {
            self.begin_reading(now, piece, blocks, digest);
        }
        None
    }

    /// A piece verified, with this digest.
    pub(crate) fn piece_verified(&mut self, now: Instant, piece: PieceIndex, digest: Digest) {
        self.failed.remove(&piece);
        let Some(case) = self.cases.get(&piece) else { return };
        let blocks: BTreeSet<u32> = case.evidence.iter().map(|evidence| evidence.block).collect();
        if blocks.is_empty() {
            self.cases.remove(&piece);
        } else {
            let blocks = blocks.into_iter().map(|block| (block, None)).collect();
            self.begin_reading(now, piece, blocks, digest);
        }
    }

    fn begin_reading(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        blocks: Vec<(u32, Option<SocketAddr>)>,
        whole: Digest,
    ) {
        if self.cases.len() >= MAX_CASES && !self.cases.contains_key(&piece) {
            let oldest = self.cases.iter().min_by_key(|(piece, case)| (case.opened, **piece)).map(|(piece, _)| *piece);
            oldest.into_iter().for_each(|piece| _ = self.cases.remove(&piece));
        }
        self.readings += 1;
        let id = ReadingId(self.readings);
        let case = Case { opened: now, evidence: Vec::new(), reading: None };
        let case = self.cases.entry(piece).or_insert(case);
        case.reading = Some(Reading { id, since: now, blocks, digests: Vec::new(), whole });
    }

    /// What is to be read next of a piece, if anything.
    pub(crate) fn next_exhibit(&self, piece: PieceIndex) -> Option<(ReadingId, Exhibit)> {
        let reading = self.cases.get(&piece)?.reading.as_ref()?;
        let next = reading.blocks.get(reading.digests.len());
        Some((reading.id, next.map_or(Exhibit::Whole, |(block, _)| Exhibit::Block(*block))))
    }

    /// The digest of what [`Blame::next_exhibit`] named, or `None` when it could not be read. Gives who is guilty.
    pub(crate) fn exhibit_read(
        &mut self,
        piece: PieceIndex,
        id: ReadingId,
        digest: Option<Digest>,
    ) -> BTreeSet<SocketAddr> {
        let nobody = BTreeSet::new();
        let Some(case) = self.cases.get_mut(&piece) else { return nobody };
        let Some(mut reading) = case.reading.take_if(|reading| reading.id == id) else { return nobody };
        let verified = !self.failed.contains_key(&piece);
        let Some(digest) = digest else {
            return self.end_reading(piece);
        };
        if reading.digests.len() < reading.blocks.len() {
            reading.digests.push(digest);
            case.reading = Some(reading);
            return nobody;
        }
        // What the disk gives now is not what was hashed as it came: its digests say nothing of who sent what.
        if digest != reading.whole {
            return self.end_reading(piece);
        }
        let read = reading.blocks.iter().zip(&reading.digests);
        if verified {
            let right: BTreeMap<u32, &Digest> = read.map(|((block, _), digest)| (*block, digest)).collect();
            let wrong = |e: &&Evidence| right.get(&e.block).is_some_and(|digest| **digest != e.digest);
            let guilty = case.evidence.iter().filter(wrong).map(|evidence| evidence.from).collect();
            self.cases.remove(&piece);
            return guilty;
        }
        let new = read
            .filter_map(|((block, from), digest)| Some(Evidence { block: *block, digest: *digest, from: (*from)? }));
        case.evidence.extend(new);
        nobody
    }

    /// A reading came to nothing. What other tries have shown is kept, unless there is no later one to compare with.
    fn end_reading(&mut self, piece: PieceIndex) -> BTreeSet<SocketAddr> {
        let useless = |case: &Case| case.evidence.is_empty() || !self.failed.contains_key(&piece);
        if self.cases.get(&piece).is_some_and(useless) {
            self.cases.remove(&piece);
        }
        BTreeSet::new()
    }

    /// Gives readings up that take too long: their pieces may be asked for again.
    pub(crate) fn give_up_late(&mut self, now: Instant) {
        let is_late = |reading: &mut Reading| now.since(reading.since) >= MAX_READING;
        let late: Vec<PieceIndex> =
            self.cases.iter_mut().filter_map(|(piece, case)| case.reading.take_if(is_late).map(|_| *piece)).collect();
        late.into_iter().for_each(|piece| _ = self.end_reading(piece));
    }

    /// The torrent falls silent: nothing is read any more, and of what was sent nothing is remembered.
    pub(crate) fn stop(&mut self) {
        self.cases.clear();
    }

    /// Pieces that failed and were not verified since.
    pub(crate) fn failed(&self) -> impl Iterator<Item = PieceIndex> {
        self.failed.keys().copied()
    }

    /// Whether evidence of a piece is being read.
    pub(crate) fn is_reading(&self, piece: PieceIndex) -> bool {
        self.cases.get(&piece).is_some_and(|case| case.reading.is_some())
    }

    /// Readings under way.
    pub(crate) fn readings(&self) -> impl Iterator<Item = (PieceIndex, ReadingId)> {
        self.cases.iter().filter_map(|(piece, case)| Some((*piece, case.reading.as_ref()?.id)))
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        assert!(self.cases.len() <= MAX_CASES, "pieces under investigation are bounded");
        let bounded = |case: &Case| case.evidence.len() <= MAX_EVIDENCE;
        assert!(self.cases.values().all(bounded), "evidence is bounded");
        let open = |(piece, case): (&PieceIndex, &Case)| case.reading.is_some() || self.failed.contains_key(piece);
        assert!(self.cases.iter().all(open), "a case ends with its piece");
    }
}

#[cfg(test)]
mod tests;
