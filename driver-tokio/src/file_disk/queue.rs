//! What waits for a thread of the disk, and who is done together with whom.
//!
//! Jobs are begun in the order in which they came, but for those that hash: of these a thread takes several pieces at a time, because side by side they take less time than one after the
//! other. What a download brings waits a moment for company, as far as any can come, and of it one thread takes all that waits; the others leave what comes meanwhile to it, until it is as much
//! as is hashed at a time, or has waited long enough. While it waits other jobs go before it, and never longer.

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
use std::time::{Duration, Instant};

/// Runs that are worth while to be hashed together: more lanes gain less, and one peer is asked for no more pieces side by side.
const COMPANY: usize = 8;
/// How long the first run waits for them: of a fast download as many come in that time, and of a slow one nobody notices.
const LINGER: Duration = Duration::from_millis(5);
/// Runs that came last, by whose pieces it is told how much company can come: each piece sends its next run when the last one is done.
const LAST: usize = 2 * COMPANY;
/// How long runs are left to the thread that absorbs: longer than it takes, unless its disk is slow; then another one takes them, which may be for another disk.
const PATIENCE: Duration = Duration::from_millis(20);

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
    linger: Duration,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Threads that have nothing to do.
    idle: usize,
    /// Threads that absorb.
    absorbing: usize,
    /// Jobs that are to be absorbed, and since when the first of them waits.
    absorbs: usize,
    since: Option<Instant>,
    /// The pieces of those that came last.
    last: VecDeque<(TorrentId, PieceIndex)>,
    /// Of the threads that have nothing to do, those that will look when that has been long enough.
    watchers: usize,
    closing: bool,
}

impl Waiting {
    /// How many pieces those that came last belong to.
    fn pieces(&self) -> usize {
        let is_first =
            |(at, piece): &(usize, &(TorrentId, PieceIndex))| !self.last.range(..at).any(|other| other == *piece);
        self.last.iter().enumerate().filter(is_first).count()
    }
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
        Queue { waiting: Mutex::default(), work: Condvar::new(), width, linger: LINGER, patience: PATIENCE }
    }

    pub(super) fn push(&self, job: Job) {
        let mut waiting = lock(&self.waiting);
        if let Job::Absorb(absorb) = &job {
            waiting.absorbs += 1;
            waiting.since.get_or_insert_with(now);
            waiting.last.truncate(LAST - 1);
            waiting.last.push_front((absorb.torrent, absorb.piece));
        }
        waiting.jobs.push_back(job);
        self.wake_one(&waiting);
    }

    /// Nothing more comes; what is there is still done.
    pub(super) fn close(&self) {
        lock(&self.waiting).closing = true;
        self.work.notify_all();
    }

    /// Wakes a thread when there is something to do, or when nobody watches what waits for company.
    fn wake_one(&self, waiting: &Waiting) {
        let has_work = || self.first(waiting, now()).is_some();
        if waiting.idle > 0 && ((waiting.since.is_some() && waiting.watchers == 0) || has_work()) {
            self.work.notify_one();
        }
    }

    /// Waits for something to do; `None` when the queue is closed and empty. `has_absorbed`: the thread comes from that.
    pub(super) fn next(&self, has_absorbed: bool) -> Option<Work> {
        let mut waiting = lock(&self.waiting);
        waiting.absorbing -= usize::from(has_absorbed);
        loop {
            let now = now();
            if let Some(job) = self.first(&waiting, now).and_then(|at| waiting.jobs.remove(at)) {
                let work = self.with_its_like(job, &mut waiting);
                let_go(&mut waiting.jobs);
                if let Work::Absorb(absorbs) = &work {
                    waiting.absorbing += 1;
                    waiting.absorbs -= absorbs.len();
                    // The others have not been passed over: they came after these.
                    waiting.since = (waiting.absorbs > 0).then_some(now);
                }
                // What was left to this thread, and is not what it does now.
                self.wake_one(&waiting);
                return Some(work);
            }
            if waiting.closing {
                return None;
            }
            waiting.idle += 1;
            match self.company_until(&waiting) {
                Some(until) => {
                    waiting.watchers += 1;
                    let time = until.saturating_duration_since(now);
                    waiting = self.work.wait_timeout(waiting, time).unwrap_or_else(PoisonError::into_inner).0;
                    waiting.watchers -= 1;
                }
                None => waiting = self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
            waiting.idle -= 1;
        }
    }

    /// Where the first job stands that does not wait for company.
    fn first(&self, waiting: &Waiting, now: Instant) -> Option<usize> {
        let is_absorb = |job: &Job| matches!(job, Job::Absorb(_));
        let waits = self.company_until(waiting).is_some_and(|until| now < until);
        match waiting.jobs.front() {
            Some(job) if waits && is_absorb(job) => waiting.jobs.iter().position(|job| !is_absorb(job)),
            front => front.map(|_| 0),
        }
    }

    /// Until when what is to be absorbed waits for company, or for the thread that absorbs.
    fn company_until(&self, waiting: &Waiting) -> Option<Instant> {
        let (enough, time) = match waiting.absorbing {
            0 => (self.width.min(COMPANY).min(waiting.pieces()), self.linger),
            _ => (self.width, self.patience),
        };
        waiting.since.filter(|_| waiting.absorbs < enough && !waiting.closing).map(|since| since + time)
    }

    /// Takes beside the first job as many as go well together with it.
    fn with_its_like(&self, first: Job, waiting: &mut Waiting) -> Work {
        match first {
            Job::Operation(op, operation) => Work::Operation(op, operation),
            Job::Stored(op, operation, stored) => Work::Stored(op, operation, stored),
            Job::Read(request) => Work::Read(request),
            Job::Absorb(first) => {
                let more = take(waiting, self.width - 1, |job| matches!(job, Job::Absorb(_)));
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
        take(waiting, share - 1, is_alike)
    }
}

#[expect(clippy::disallowed_methods, reason = "threads wait by the system's clock; the engine never learns of it")]
fn now() -> Instant {
    Instant::now()
}

/// The first ones of a kind.
fn take(waiting: &mut Waiting, most: usize, is_alike: impl Fn(&Job) -> bool) -> Vec<Job> {
    let mut taken = Vec::new();
    while taken.len() < most
        && let Some(at) = waiting.jobs.iter().position(&is_alike)
    {
        taken.extend(waiting.jobs.remove(at));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LONG: Duration = Duration::from_secs(3600);

    /// One in which nothing waits for company, and for a thread that absorbs very long.
    fn hasty(width: usize) -> Queue {
        Queue { linger: Duration::ZERO, patience: LONG, ..Queue::new(width) }
    }

    /// One into which eight pieces have come side by side.
    fn wide(queue: Queue) -> Queue {
        (100..108).for_each(|op| queue.push(absorb(op)));
        assert_eq!(numbers(queue.next(false)).len(), 8);
        lock(&queue.waiting).absorbing = 0;
        queue
    }

    fn absorb(op: u64) -> Job {
        absorb_of(op as u32, op)
    }

    fn absorb_of(piece: u32, op: u64) -> Job {
        let (torrent, piece, blocks) = (TorrentId(1), PieceIndex(piece), Vec::new());
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
        let queue = hasty(4);
        [absorb(0), hash(1), sync(2), absorb(3), hash(4), sync(5), absorb(6)]
            .into_iter()
            .for_each(|job| queue.push(job));
        (7..12).for_each(|op| queue.push(hash(op)));
        assert_eq!(numbers(queue.next(false)), [0, 3, 6]);
        assert_eq!(numbers(queue.next(false)), [1, 4, 7, 8], "no more than are hashed at a time");
        assert_eq!(numbers(queue.next(false)), [2]);
        assert_eq!(numbers(queue.next(false)), [5]);
        assert_eq!(numbers(queue.next(false)), [9, 10, 11]);
    }

    #[test]
    fn what_comes_while_one_thread_absorbs_is_left_to_it_until_it_is_enough_for_another() {
        let queue = hasty(3);
        queue.push(absorb(0));
        assert_eq!(numbers(queue.next(false)), [0]);
        [absorb(1), sync(2), absorb(3), sync(4)].into_iter().for_each(|job| queue.push(job));
        assert_eq!(numbers(queue.next(false)), [2], "another thread leaves the others");
        assert_eq!(numbers(queue.next(true)), [1, 3], "they have gathered");
        [absorb(5), absorb(6), absorb(7), absorb(8)].into_iter().for_each(|job| queue.push(job));
        assert_eq!(numbers(queue.next(false)), [4]);
        assert_eq!(numbers(queue.next(false)), [5, 6, 7], "as many as are hashed at a time");
        queue.close();
        assert_eq!(numbers(queue.next(false)), [8], "nothing waits in a closed queue");
        assert_eq!(numbers(queue.next(false)), [0; 0]);
    }

    #[test]
    fn what_is_to_be_absorbed_waits_for_company_while_all_else_goes_on() {
        let queue = wide(Queue { linger: LONG, ..Queue::new(16) });
        [absorb(0), sync(1)].into_iter().for_each(|job| queue.push(job));
        assert_eq!(numbers(queue.next(false)), [1]);
        (2..9).for_each(|op| queue.push(absorb(op)));
        assert_eq!(numbers(queue.next(false)), [0, 2, 3, 4, 5, 6, 7, 8], "enough have come");
        queue.push(absorb(9));
        queue.close();
        assert_eq!(numbers(queue.next(true)), [9], "nothing more comes");
        let queue = wide(Queue::new(16));
        queue.push(absorb(0));
        assert_eq!(numbers(queue.next(false)), [0], "its time is over");
    }

    #[test]
    fn nothing_waits_for_more_company_than_can_come() {
        let queue = Queue { linger: LONG, ..Queue::new(16) };
        for op in 0..20 {
            queue.push(absorb_of(7, op));
            assert_eq!(numbers(queue.next(op > 0)), [op], "it is the only piece");
        }
        queue.push(absorb_of(8, 20));
        queue.push(sync(21));
        assert_eq!(numbers(queue.next(true)), [21], "there are two");
        queue.push(absorb_of(7, 22));
        assert_eq!(numbers(queue.next(false)), [20, 22]);
    }

    #[test]
    fn what_has_waited_long_enough_goes_although_there_is_always_something_else() {
        let queue = wide(Queue::new(16));
        queue.push(absorb(0));
        for op in 1..1_000_000 {
            queue.push(hash(op));
            if numbers(queue.next(false)) == [0] {
                return;
            }
        }
        panic!("other jobs go before it for ever");
    }

    #[test]
    fn what_is_left_to_a_thread_whose_disk_hangs_is_taken_by_another() {
        let queue = Queue::new(16);
        queue.push(absorb(0));
        assert_eq!(numbers(queue.next(false)), [0]);
        queue.push(absorb(1));
        let taken = std::thread::scope(|scope| {
            let idle = scope.spawn(|| numbers(queue.next(false)));
            idle.join().unwrap()
        });
        assert_eq!(taken, [1], "the first thread has never come back");
    }

    #[test]
    fn what_hashes_is_shared_fairly_with_threads_that_are_idle() {
        let queue = hasty(8);
        (0..10).for_each(|op| queue.push(hash(op)));
        lock(&queue.waiting).idle = 1;
        assert_eq!(numbers(queue.next(false)), [0, 1, 2, 3, 4]);
        lock(&queue.waiting).idle = 0;
        assert_eq!(numbers(queue.next(false)), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn everything_comes_out_once_and_a_closed_queue_is_emptied() {
        let queue = hasty(4);
        let all: BTreeSet<u64> = (0..3000).collect();
        let taken = std::thread::scope(|scope| {
            let take = || {
                let (mut taken, mut has_absorbed) = (Vec::new(), false);
                while let Some(work) = queue.next(has_absorbed) {
                    has_absorbed = matches!(work, Work::Absorb(_));
                    taken.extend(numbers(Some(work)));
                }
                taken
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
