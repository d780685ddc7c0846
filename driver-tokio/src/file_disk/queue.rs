//! What waits for a thread of the disk, and who is done together with whom.
//!
//! Jobs are begun in the order in which they came, but for those that hash: of these a thread takes several pieces at a time, because side by side they take less time than one after the
//! other. It never waits for more to come: while the disk keeps up there is nothing to gain, and when it does not, enough wait by themselves.

use super::lock;
use super::stored::Stored;
use crate::burst::let_go;
use crate::disk::ReadRequest;
use sameseed_core::action::Operation;
use sameseed_core::block::Block;
use sameseed_core::hash::HashState;
use sameseed_core::id::{OpId, PieceIndex, TorrentId};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Blocks to be hashed and written.
#[derive(Debug)]
pub(super) struct Absorb {
    pub(super) op: OpId,
    pub(super) torrent: TorrentId,
    pub(super) piece: PieceIndex,
    pub(super) begin: u32,
    pub(super) blocks: Vec<Block>,
    pub(super) hash: Option<HashState>,
    pub(super) last: bool,
}

/// A range to be read and hashed.
#[derive(Debug)]
pub(super) struct HashRange {
    pub(super) op: OpId,
    pub(super) torrent: TorrentId,
    pub(super) piece: PieceIndex,
    pub(super) begin: u32,
    pub(super) len: u32,
    pub(super) hash: HashState,
    pub(super) last: bool,
}

/// One thing that is asked of the disk.
#[derive(Debug)]
pub(super) enum Job {
    Absorb(Absorb),
    Hash(HashRange),
    /// Any other operation on files.
    Operation(OpId, Operation),
    /// Any operation on a storage of somebody's own.
    Stored(OpId, Operation, Arc<Stored>),
    Read(ReadRequest),
}

/// What a thread does next, at a time.
#[derive(Debug)]
pub(super) enum Work {
    Absorb(Vec<Absorb>),
    Hash(Vec<HashRange>),
    Operation(OpId, Operation),
    Stored(OpId, Operation, Arc<Stored>),
    Read(ReadRequest),
}

/// The queue. It has no limit of its own, see the head of `file_disk`.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    work: Condvar,
    /// How many pieces are hashed at a time.
    width: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Threads that have nothing to do.
    idle: usize,
    closing: bool,
}

impl Job {
    pub(super) fn on_files(op: OpId, operation: Operation) -> Self {
        match operation {
            Operation::Absorb { torrent, piece, begin, blocks, hash, last } => {
                Job::Absorb(Absorb { op, torrent, piece, begin, blocks, hash, last })
            }
            Operation::Hash { torrent, piece, begin, len, hash, last } => {
                Job::Hash(HashRange { op, torrent, piece, begin, len, hash, last })
            }
            other => Job::Operation(op, other),
        }
    }
}

impl Queue {
    /// For threads that hash so many pieces at a time.
    pub(super) fn new(width: usize) -> Self {
        Queue { waiting: Mutex::default(), work: Condvar::new(), width }
    }

    pub(super) fn push(&self, job: Job) {
        lock(&self.waiting).jobs.push_back(job);
        self.work.notify_one();
    }

    /// Nothing more comes; what is there is still done.
    pub(super) fn close(&self) {
        lock(&self.waiting).closing = true;
        self.work.notify_all();
    }

    /// Waits for something to do; `None` when the queue is closed and empty.
    pub(super) fn next(&self) -> Option<Work> {
        let mut waiting = lock(&self.waiting);
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                let_go(&mut waiting.jobs);
                return Some(self.with_its_like(job, &mut waiting));
            }
            if waiting.closing {
                return None;
            }
            waiting.idle += 1;
            waiting = self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }

    /// Takes beside the first job as many as go well together with it.
    fn with_its_like(&self, first: Job, waiting: &mut Waiting) -> Work {
        match first {
            Job::Operation(op, operation) => Work::Operation(op, operation),
            Job::Stored(op, operation, stored) => Work::Stored(op, operation, stored),
            Job::Read(request) => Work::Read(request),
            Job::Absorb(first) => {
                let more = self.share(waiting, |job| matches!(job, Job::Absorb(_)));
                let more =
                    more.into_iter().filter_map(|job| if let Job::Absorb(more) = job { Some(more) } else { None });
                Work::Absorb([first].into_iter().chain(more).collect())
            }
            Job::Hash(first) => {
                let more = self.share(waiting, |job| matches!(job, Job::Hash(_)));
                let more = more.into_iter().filter_map(|job| if let Job::Hash(more) = job { Some(more) } else { None });
                Work::Hash([first].into_iter().chain(more).collect())
            }
        }
    }

    /// What goes together with a first one of its kind: as many as are hashed at a time, but no more than a fair share, so that no thread is idle while another one
    /// has all of them.
    fn share(&self, waiting: &mut Waiting, is_alike: impl Fn(&Job) -> bool) -> Vec<Job> {
        let all = 1 + waiting.jobs.iter().filter(|job| is_alike(job)).count();
        let share = all.div_ceil(1 + waiting.idle).min(self.width);
        let mut more = Vec::new();
        while more.len() + 1 < share
            && let Some(at) = waiting.jobs.iter().position(&is_alike)
        {
            more.extend(waiting.jobs.remove(at));
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn absorb(op: u64) -> Job {
        let (torrent, piece, blocks) = (TorrentId(1), PieceIndex(op as u32), Vec::new());
        Job::on_files(OpId(op), Operation::Absorb { torrent, piece, begin: 0, blocks, hash: None, last: true })
    }

    fn hash(op: u64) -> Job {
        let (torrent, piece, hash) = (TorrentId(1), PieceIndex(op as u32), HashState::default());
        Job::on_files(OpId(op), Operation::Hash { torrent, piece, begin: 0, len: 1, hash, last: true })
    }

    fn sync(op: u64) -> Job {
        Job::on_files(OpId(op), Operation::Sync { torrent: TorrentId(1) })
    }

    fn numbers(work: Option<Work>) -> Vec<u64> {
        match work {
            None => Vec::new(),
            Some(Work::Absorb(absorbs)) => absorbs.iter().map(|absorb| absorb.op.0).collect(),
            Some(Work::Hash(ranges)) => ranges.iter().map(|range| range.op.0).collect(),
            Some(Work::Operation(op, _)) => vec![op.0],
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_hashes_goes_together_with_its_like_and_everything_else_alone_in_order() {
        let queue = Queue::new(4);
        [absorb(0), hash(1), sync(2), absorb(3), hash(4), sync(5), absorb(6)]
            .into_iter()
            .for_each(|job| queue.push(job));
        (7..12).for_each(|op| queue.push(hash(op)));
        assert_eq!(numbers(queue.next()), [0, 3, 6]);
        assert_eq!(numbers(queue.next()), [1, 4, 7, 8], "no more than are hashed at a time");
        assert_eq!(numbers(queue.next()), [2]);
        assert_eq!(numbers(queue.next()), [5]);
        assert_eq!(numbers(queue.next()), [9, 10, 11]);
    }

    #[test]
    fn what_hashes_is_shared_fairly_with_threads_that_are_idle() {
        let queue = Queue::new(8);
        (0..10).for_each(|op| queue.push(hash(op)));
        lock(&queue.waiting).idle = 1;
        assert_eq!(numbers(queue.next()), [0, 1, 2, 3, 4]);
        lock(&queue.waiting).idle = 0;
        assert_eq!(numbers(queue.next()), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn everything_comes_out_once_and_a_closed_queue_is_emptied() {
        let queue = Queue::new(4);
        let all: BTreeSet<u64> = (0..3000).collect();
        let taken = std::thread::scope(|scope| {
            let take = || {
                let works = std::iter::from_fn(|| Some(numbers(queue.next())).filter(|numbers| !numbers.is_empty()));
                works.flatten().collect::<Vec<u64>>()
            };
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(take)).collect();
            for op in &all {
                queue.push(match op % 7 {
                    0..3 => hash(*op),
                    3 => sync(*op),
                    _ => absorb(*op),
                });
                if op % 50 == 0 {
                    std::thread::yield_now();
                }
            }
            queue.close();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<u64>>()
        });
        assert_eq!(taken.len(), all.len());
        assert_eq!(taken.into_iter().collect::<BTreeSet<u64>>(), all);
    }
}
