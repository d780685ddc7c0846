//! Streams that are read while they are hashed, each a chunk at a time, so that none has to be in memory.

use crate::{Algorithm, BLOCK_BYTES, Block, Job, Lanes, PageBuffer, Sha1, Stream};

/// What one range that is read alone is given: few system calls.
const ALONE_BYTES: usize = 256 << 10;
/// What each of a full set of lanes is given: all of it stays in the second-level cache until it is hashed.
const LANE_BYTES: usize = 64 << 10;

/// A range of bytes that a stream is to absorb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading<A: Algorithm = Sha1> {
    /// Where the stream stands.
    pub stream: Stream<A>,
    /// How many bytes come.
    pub len_bytes: u64,
    /// Whether the stream ends with them. If not, they must be whole blocks.
    pub last: bool,
}

/// A stream after a [`Reading`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absorbed<A: Algorithm = Sha1> {
    /// More is to come.
    Running(Stream<A>),
    /// The digest of the whole stream.
    Finished(A::Digest),
}

impl<A: Algorithm> Lanes<A> {
    /// Memory for [`Lanes::read`], of the size that suits: 256 KiB, or 64 KiB for each lane.
    pub fn scratch(&self) -> PageBuffer {
        PageBuffer::new(ALONE_BYTES.max(self.width() * LANE_BYTES))
    }

    /// Reads ranges in turns and hashes them side by side. The results stand in the order of the ranges; one that cannot be read ends, and the others go on.
    ///
    /// `read` is told which range, how many bytes of it came before, and where the next ones belong: all of that is to be filled. The ranges share `scratch`
    /// (see [`Lanes::scratch`]).
    ///
    /// # Panics
    /// When `scratch` has not even a block for each range, and when a range that is not the last of its stream ends within a block.
    pub fn read<E>(
        &self,
        scratch: &mut [u8],
        ranges: &[Reading<A>],
        mut read: impl FnMut(usize, u64, &mut [u8]) -> Result<(), E>,
    ) -> Vec<Result<Absorbed<A>, E>> {
        let room = (scratch.len() / ranges.len().max(1)) / BLOCK_BYTES * BLOCK_BYTES;
        assert!(room > 0, "there is room for a block of each range");
        let mut running: Vec<(usize, Stream<A>)> = ranges.iter().map(|range| range.stream).enumerate().collect();
        let mut results: Vec<Option<Result<Absorbed<A>, E>>> = ranges.iter().map(|_| None).collect();
        let mut at = 0;
        while !running.is_empty() {
            // Read ...
            let mut rest = &mut *scratch;
            let mut chunks: Vec<&[u8]> = Vec::with_capacity(running.len());
            running.retain(|(which, _)| {
                let len = (ranges[*which].len_bytes - at).min(room as u64) as usize;
                let (chunk, after) = std::mem::take(&mut rest).split_at_mut(len);
                rest = after;
                match read(*which, at, chunk) {
                    Ok(()) => chunks.push(chunk),
                    Err(error) => results[*which] = Some(Err(error)),
                }
                results[*which].is_none()
            });
            // ... hash ...
            let slices: Vec<[&[Block]; 1]> = chunks.iter().map(|chunk| [chunk.as_chunks().0]).collect();
            let both = running.iter().zip(&slices);
            let mut jobs: Vec<Job<'_, A>> = both.map(|((_, stream), slices)| Job { stream: *stream, slices }).collect();
            self.absorb(&mut jobs);
            running.iter_mut().zip(&jobs).for_each(|((_, stream), job)| *stream = job.stream);
            // ... and see who is done.
            at += room as u64;
            let mut chunks = chunks.into_iter();
            running.retain(|(which, stream)| {
                let (range, ragged) = (&ranges[*which], chunks.next().unwrap_or_default().as_chunks::<BLOCK_BYTES>().1);
                if range.len_bytes <= at {
                    assert!(range.last || ragged.is_empty(), "only the end of a stream may be ragged");
                    let result =
                        if range.last { Absorbed::Finished(stream.finish(ragged)) } else { Absorbed::Running(*stream) };
                    results[*which] = Some(Ok(result));
                }
                range.len_bytes > at
            });
        }
        results.into_iter().flatten().collect()
    }
}
