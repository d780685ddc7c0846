//! Pieces hashed side by side: blocks that are in memory, and ranges that are read. One [`Hasher`] for each thread.
//!
//! Stands between the engine's words (blocks, hash states) and those of `sha-lanes`.

use super::queue::{Absorb, HashRange};
use sameseed_core::event::Hashed;
use sameseed_core::fault::DiskFault;
use sameseed_core::hash::HashState;
use sameseed_core::id::Digest;
use sha_lanes::{Absorbed, Job, Lanes, PageBuffer, Reading, Stream};

/// One thread's way to hash.
#[derive(Debug)]
pub(super) struct Hasher {
    lanes: Lanes,
    scratch: PageBuffer,
}

impl Hasher {
    pub(super) fn new(lanes: Lanes) -> Self {
        Hasher { lanes, scratch: lanes.scratch() }
    }

    /// Memory for short-lived copies.
    pub(super) fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }

    /// What becomes of each piece's hash; `None` where none was asked for. `expected` is asked for what a piece that is finished must hash to.
    pub(super) fn absorb(
        &self,
        absorbs: &[Absorb],
        expected: impl Fn(&Absorb) -> Result<Digest, DiskFault>,
    ) -> Vec<Option<Result<Hashed, DiskFault>>> {
        let hashed = || absorbs.iter().filter_map(|absorb| Some((absorb, stream_of(absorb.hash?))));
        let slices: Vec<&[[u8; 64]]> =
            hashed().flat_map(|(absorb, _)| &absorb.blocks).map(|block| block.as_chunks().0).collect();
        let mut rest = &slices[..];
        let mut jobs: Vec<Job<'_>> = hashed()
            .map(|(absorb, stream)| {
                let (slices, after) = rest.split_at(absorb.blocks.len());
                rest = after;
                Job { stream, slices }
            })
            .collect();
        self.lanes.absorb(&mut jobs);
        let mut jobs = jobs.into_iter();
        let end = |absorb: &Absorb| {
            absorb.hash?;
            let stream = jobs.next()?.stream;
            let ragged = absorb.blocks.last().map_or(&[][..], |end| end.as_chunks::<64>().1);
            Some(match absorb.last {
                true => finished(stream.finish(ragged), expected(absorb)),
                false => Ok(running(stream)),
            })
        };
        absorbs.iter().map(end).collect()
    }

    /// Reads ranges in turns and hashes them. `read` is told which range, and from where on in its piece; `expected` as above.
    pub(super) fn hash(
        &mut self,
        ranges: &[HashRange],
        mut read: impl FnMut(usize, u32, &mut [u8]) -> Result<(), DiskFault>,
        expected: impl Fn(usize) -> Result<Digest, DiskFault>,
    ) -> Vec<Result<Hashed, DiskFault>> {
        let reading = |range: &HashRange| Reading {
            stream: stream_of(range.hash),
            len_bytes: range.len.into(),
            last: range.last,
        };
        let readings: Vec<Reading> = ranges.iter().map(reading).collect();
        let results = self.lanes.read(&mut self.scratch, &readings, |which, at, chunk| {
            read(which, ranges[which].begin.saturating_add(at as u32), chunk)
        });
        let hashed = |(which, result): (usize, Result<Absorbed, DiskFault>)| match result? {
            Absorbed::Running(stream) => Ok(running(stream)),
            Absorbed::Finished(digest) => finished(digest, expected(which)),
        };
        results.into_iter().enumerate().map(hashed).collect()
    }
}

fn running(stream: Stream) -> Hashed {
    Hashed::Running(HashState::from_words(stream.words, stream.len_bytes))
}

fn finished(digest: [u8; 20], expected: Result<Digest, DiskFault>) -> Result<Hashed, DiskFault> {
    Ok(Hashed::Finished { digest: Digest::Sha1(digest), expected: expected? })
}

fn stream_of(state: HashState) -> Stream {
    Stream { words: state.words(), len_bytes: state.len_bytes() }
}
