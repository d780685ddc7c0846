//! The real disk: a bounded pool of plain threads that hash, write and read, in files or in storages of somebody's own.
//!
//! The queues have no limit of their own, because the engine bounds what is under way: blocks by its pool, checks by
//! `Config::check_parallelism`, reads by what it lets be unflushed. So a thread never waits for the engine, nor the engine for a thread.

mod files;
mod hashing;
mod memory;
mod queue;
mod relocate;
mod stored;
#[cfg(test)]
mod tests;
mod work;

use crate::burst::let_go_list;
use crate::disk::{Disk, DiskDone, FileRange, Location, ReadRequest};
use crate::storage::Home;
use files::{Files, Site};
use queue::{Job, Queue, Work};
use sameseed_core::action::Operation;
use sameseed_core::id::{OpId, PieceIndex, TorrentId};
use sha_lanes::{Backend as HashBackend, Lanes};
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use stored::{Stored, torrent_of};
use work::Worker;

/// Below this many threads one slow write would hold up all reads.
const MIN_THREADS: usize = 2;

/// Files in folders, served by threads.
#[derive(Debug)]
pub struct FileDisk {
    pool: Arc<Pool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Pool {
    queue: Queue,
    lanes: Lanes,
    done: Mutex<Done>,
    files: Files,
    /// Torrents that do not stand in files.
    stored: Mutex<BTreeMap<TorrentId, Arc<Stored>>>,
}

#[derive(Debug, Default)]
struct Done {
    list: Vec<DiskDone>,
    panic: Option<Box<dyn Any + Send>>,
    waker: Option<Waker>,
}

impl FileDisk {
    /// A disk with one thread per core.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new() -> io::Result<Self> {
        FileDisk::with_threads(std::thread::available_parallelism().map_or(MIN_THREADS, usize::from))
    }

    /// A disk with so many threads, but at least two.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn with_threads(threads: usize) -> io::Result<Self> {
        FileDisk::with_hashing(threads, HashBackend::Avx512)
    }

    /// A disk that hashes by nothing wider than `widest`, whatever the processor has: to measure what lanes gain.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn with_hashing(threads: usize, widest: HashBackend) -> io::Result<Self> {
        let (threads, lanes) = (threads.max(MIN_THREADS), Lanes::up_to(widest));
        let queue = Queue::new(lanes.width());
        let pool = Pool { queue, lanes, done: Mutex::default(), files: Files::default(), stored: Mutex::default() };
        let mut disk = FileDisk { pool: Arc::new(pool), threads: Vec::new() };
        for n in 0..threads {
            let pool = disk.pool.clone();
            let thread = std::thread::Builder::new().name(format!("sameseed-disk-{n}"));
            disk.threads.push(thread.spawn(move || pool.serve())?);
        }
        Ok(disk)
    }

    /// How many pieces should be under way while torrents are checked (`Config::check_parallelism`): each thread hashes several side by side, and has as many
    /// waiting.
    pub fn check_parallelism(&self) -> usize {
        2 * self.threads.len() * self.pool.lanes.width()
    }
}

impl Disk for FileDisk {
    fn register(&mut self, torrent: TorrentId, location: Location) {
        let (root, read_only) = match &location.home {
            Home::Folder(root) => (root.clone(), false),
            Home::ReadOnly(root) => (root.clone(), true),
            Home::Storage(storage) => {
                let stored = Stored::new(storage.clone(), location);
                lock(&self.pool.stored).insert(torrent, Arc::new(stored));
                return;
            }
        };
        let Location { layout, hashes, parts_name, resume, .. } = location;
        self.pool.files.register(torrent, Site { root, layout, hashes, parts_name, resume, read_only });
    }

    fn forget(&mut self, torrent: TorrentId) {
        self.pool.files.forget(torrent);
        lock(&self.pool.stored).remove(&torrent);
    }

    fn place(&mut self, torrent: TorrentId, piece: PieceIndex, in_parts: Vec<Range<u32>>) {
        match self.pool.stored(Some(torrent)) {
            Some(stored) => stored.set_parts(piece, in_parts),
            None => self.pool.files.set_parts(torrent, piece, in_parts),
        }
    }

    fn submit(&mut self, op: OpId, operation: Operation) {
        self.pool.queue.push(match self.pool.stored(torrent_of(&operation)) {
            Some(stored) => Job::Stored(op, operation, stored),
            None => Job::on_files(op, operation),
        });
    }

    fn read(&mut self, request: ReadRequest) {
        self.pool.queue.push(Job::Read(request));
    }

    fn at_hand(&mut self, torrent: TorrentId, piece: PieceIndex, begin: u32, len: u32) -> Option<FileRange> {
        match self.pool.stored(Some(torrent)) {
            Some(_) => None,
            None => self.pool.files.at_hand(torrent, piece, begin, len),
        }
    }

    /// # Panics
    /// When a thread has panicked: its panic is passed on.
    fn poll_done(&mut self, cx: &mut Context<'_>, out: &mut Vec<DiskDone>) -> Poll<()> {
        let mut done = lock(&self.pool.done);
        if let Some(panic) = done.panic.take() {
            drop(done);
            resume_unwind(panic);
        }
        if done.list.is_empty() {
            done.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        out.append(&mut done.list);
        let_go_list(&mut done.list);
        Poll::Ready(())
    }
}

impl Drop for FileDisk {
    /// Finishes what was begun.
    fn drop(&mut self) {
        self.pool.files.closing.store(true, Ordering::Relaxed);
        self.pool.queue.close();
        for thread in self.threads.drain(..) {
            // Panics inside jobs were caught and passed on already.
            let _ = thread.join();
        }
    }
}

impl Pool {
    /// The life of one thread.
    fn serve(&self) {
        let mut worker = Worker::new(&self.files, self.lanes);
        let mut has_absorbed = false;
        while let Some(work) = self.queue.next(has_absorbed) {
            has_absorbed = matches!(work, Work::Absorb(_));
            let end = |(op, outcome)| DiskDone::Operation { op, outcome };
            let ended = catch_unwind(AssertUnwindSafe(|| match work {
                Work::Absorb(absorbs) => worker.absorb(absorbs).into_iter().map(end).collect(),
                Work::Hash(ranges) => worker.hash(ranges).into_iter().map(end).collect(),
                Work::Operation(op, operation) => vec![end((op, worker.perform(operation)))],
                Work::Stored(op, operation, stored) => vec![end((op, stored.perform(operation)))],
                Work::Read(request) => {
                    let reader = request.reader;
                    let outcome = match self.stored(Some(request.torrent)) {
                        Some(stored) => stored.read(request),
                        None => worker.read(request),
                    };
                    vec![DiskDone::Read { reader, outcome }]
                }
            }));
            let mut done = lock(&self.done);
            match ended {
                Ok(mut ended) => done.list.append(&mut ended),
                Err(panic) => done.panic = Some(panic),
            }
            // One wake-up for all that ends before the engine looks.
            if let Some(waker) = done.waker.take() {
                drop(done);
                waker.wake();
            }
        }
    }

    fn stored(&self, torrent: Option<TorrentId>) -> Option<Arc<Stored>> {
        lock(&self.stored).get(&torrent?).cloned()
    }
}

/// Nothing in here can be left half done by a panic, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
