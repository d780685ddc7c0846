//! Jobs into lanes: who is hashed beside whom, and by what. Knows nothing of how a block is hashed.

use crate::kernel::Rows;
use crate::machine::ShaNi;
use crate::{Algorithm, Block, Job};
use std::slice::Iter;

/// What is done with few ready lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Narrow {
    /// Fewer ready lanes than this are hashed by the means below: empty lanes cost as much as full ones.
    pub(crate) below: usize,
    /// Two at a time, where that can be.
    pub(crate) pair: Option<ShaNi>,
}

/// A job in a lane.
struct Lane<'a, A: Algorithm> {
    words: &'a mut A::Words,
    /// What comes next; empty only when nothing comes any more.
    blocks: &'a [Block],
    slices: Iter<'a, &'a [Block]>,
    /// Blocks in all.
    left: usize,
}

impl<'a, A: Algorithm> Lane<'a, A> {
    /// `None` when there is nothing to do.
    fn new<'b: 'a>(job: &'a mut Job<'b, A>) -> Option<Self> {
        let left = job.slices.iter().map(|slice| slice.len()).sum();
        let mut lane = Lane { words: &mut job.stream.words, blocks: &[], slices: job.slices.iter(), left };
        job.stream.len_bytes += left as u64 * size_of::<Block>() as u64;
        lane.skip(0);
        (left > 0).then_some(lane)
    }

    fn skip(&mut self, blocks: usize) {
        self.left -= blocks;
        self.blocks = &self.blocks[blocks..];
        while self.blocks.is_empty() {
            let Some(next) = self.slices.next() else { return };
            self.blocks = next;
        }
    }
}

/// Hashes all jobs, in up to `LANES` lanes; one that becomes empty gets the next job.
pub(crate) fn feed<A: Algorithm, const LANES: usize>(
    jobs: &mut [Job<'_, A>],
    narrow: Narrow,
    compress: impl Fn(&mut Rows<LANES>, &[&[Block]; LANES]),
) {
    let mut waiting = jobs.iter_mut().filter_map(Lane::new);
    let mut lanes: [Option<Lane<'_, A>>; LANES] = [const { None }; LANES];
    loop {
        for lane in lanes.iter_mut().filter(|lane| lane.as_ref().is_none_or(|lane| lane.left == 0)) {
            *lane = waiting.next();
        }
        let ready = lanes.iter().flatten().count();
        if ready == 0 {
            return;
        } else if ready >= narrow.below {
            side_by_side(&mut lanes, &compress);
        } else {
            a_few(&mut lanes, narrow.pair);
        }
    }
}

/// The longest, with the next longest beside it where there can be a pair: so none is left alone in the end.
fn a_few<A: Algorithm>(lanes: &mut [Option<Lane<'_, A>>], pair: Option<ShaNi>) {
    let left = |n: &usize| lanes[*n].as_ref().map_or(0, |lane| lane.left);
    let Some(longest) = (0..lanes.len()).max_by_key(left) else { return };
    let next = (0..lanes.len()).filter(|n| *n != longest && left(n) > 0).max_by_key(left);
    if let (Some(pair), Some(next)) = (pair, next)
        && let Ok([Some(a), Some(b)]) = lanes.get_disjoint_mut([longest, next])
    {
        let count = a.blocks.len().min(b.blocks.len());
        A::pair(pair, [a.words, b.words], [&a.blocks[..count], &b.blocks[..count]]);
        a.skip(count);
        b.skip(count);
    } else if let Some(lane) = &mut lanes[longest] {
        A::one(lane.words, lane.blocks);
        lane.skip(lane.blocks.len());
    }
}

/// As far as the shortest lane goes. An empty lane hashes the blocks of another one, and nobody looks at what comes of it.
fn side_by_side<A: Algorithm, const LANES: usize>(
    lanes: &mut [Option<Lane<'_, A>>; LANES],
    compress: impl Fn(&mut Rows<LANES>, &[&[Block]; LANES]),
) {
    let Some(shortest) = lanes.iter().flatten().map(|lane| lane.blocks).min_by_key(|blocks| blocks.len()) else {
        return;
    };
    let mut rows: Rows<LANES> = [[0; LANES]; _];
    let mut blocks = [shortest; LANES];
    for (n, lane) in lanes.iter().enumerate() {
        if let Some(lane) = lane {
            blocks[n] = lane.blocks;
            rows.iter_mut().zip(lane.words.as_ref()).for_each(|(row, word)| row[n] = *word);
        }
    }
    compress(&mut rows, &blocks);
    for (n, lane) in lanes.iter_mut().enumerate() {
        if let Some(lane) = lane {
            lane.words.as_mut().iter_mut().zip(&rows).for_each(|(word, row)| *word = row[n]);
            lane.skip(shortest.len());
        }
    }
}
