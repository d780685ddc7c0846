//! A simulated disk: a platter that outlives the host's crash, and operations that are done after a random delay, in any order.
//!
//! An operation takes effect when it is done; what a crash overtakes never happened, and of what was not yet brought to stable storage
//! a hard crash keeps any part. An orderly end finishes what was begun.

use super::account::{Account, Counted};
use crate::content;
use driver_tokio::{Disk, DiskDone, Location, PageBuffer, PieceHashes, ReadRequest};
use sameseed_core::action::{FileStat, Operation};
use sameseed_core::event::{Hashed, Outcome};
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::hash::HashState;
use sameseed_core::id::{OpId, PieceIndex, TorrentId};
use sameseed_core::layout::Layout;
use sameseed_core::rng::{Rng, Stream};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

/// The longest that an operation takes on a disk that is well.
const MAX_DELAY: Duration = Duration::from_millis(8);
/// The shortest.
const MIN_DELAY: Duration = Duration::from_micros(50);
/// What a disk writes at once: a torn write ends at a multiple of it.
const SECTOR_BYTES: u64 = 512;

/// How a disk is.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// The longest that an operation takes. Each draws its own time, so that they end in any order.
    pub max_delay: Duration,
    /// What goes wrong.
    pub trouble: Trouble,
}

impl Default for Health {
    fn default() -> Self {
        Health { max_delay: MAX_DELAY, trouble: Trouble::None }
    }
}

/// What goes wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// There is no space: each write fails.
    Full,
    /// One operation in so many fails, of whatever kind.
    OneIn(u64),
}

/// What is stored: the files of one torrent. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Platter(Rc<RefCell<Stored>>);

#[derive(Debug)]
struct Stored {
    layout: Layout,
    /// All files in a row.
    bytes: Vec<u8>,
    /// Each file's length; `None` while it is not there.
    lens: Vec<Option<u64>>,
    /// When each was changed last: the number of that change.
    mtimes: Vec<i64>,
    /// What the pieces must hash to, once a client has said so.
    hashes: Option<PieceHashes>,
    resume: Option<Vec<u8>>,
    /// What stood where something was written since the last sync, oldest first.
    unsynced: Vec<(usize, Vec<u8>)>,
    health: Health,
    /// There was no crash since the last start.
    powered: bool,
}

impl Platter {
    /// An empty platter, or one that holds the torrent by formula.
    pub fn new(layout: &Layout, full: bool) -> Self {
        let bytes =
            if full { content::bytes(0, layout.total_len() as usize) } else { vec![0; layout.total_len() as usize] };
        let lens: Vec<_> = layout.files().iter().map(|file| full.then_some(file.len)).collect();
        Platter(Rc::new(RefCell::new(Stored {
            layout: layout.clone(),
            bytes,
            mtimes: lens.iter().map(|_| 0).collect(),
            hashes: None,
            resume: None,
            lens,
            unsynced: Vec::new(),
            health: Health::default(),
            powered: true,
        })))
    }

    /// The resume data that was saved last.
    pub fn resume(&self) -> Option<Vec<u8>> {
        self.0.borrow().resume.clone()
    }

    /// How the disk is from now on.
    pub fn set_health(&self, health: Health) {
        self.0.borrow_mut().health = health;
    }

    /// The power fails: what is under way never happens.
    pub fn power_off(&self) {
        self.0.borrow_mut().powered = false;
    }

    /// The power fails, and of each write since the last sync all, nothing or its first sectors are kept.
    pub fn power_off_hard(&self, rng: &mut Rng) {
        self.power_off();
        let stored = &mut *self.0.borrow_mut();
        for (start, old) in stored.unsynced.drain(..).rev() {
            let kept = match rng.below(3) {
                0 => old.len(),
                1 => 0,
                _ => (rng.below(old.len() as u64 / SECTOR_BYTES + 1) * SECTOR_BYTES) as usize,
            };
            stored.bytes[start + kept..start + old.len()].copy_from_slice(&old[kept..]);
        }
    }

    /// Whether the files equal the formula.
    pub fn is_complete(&self) -> bool {
        let stored = self.0.borrow();
        let lens = stored.layout.files().iter().map(|file| Some(file.len));
        stored.lens.iter().copied().eq(lens) && stored.bytes == content::bytes(0, stored.bytes.len())
    }
}

impl Stored {
    fn fault(kind: DiskFaultKind) -> DiskFault {
        DiskFault { kind, path: "platter".into(), detail: "simulated".into() }
    }

    fn read(&self, piece: PieceIndex, begin: u32, len: u32) -> Result<&[u8], DiskFault> {
        for span in self.layout.spans(piece, begin, len) {
            match self.lens[span.file.0 as usize] {
                None => return Err(Stored::fault(DiskFaultKind::NotFound)),
                Some(len) if len < span.offset + span.len => return Err(Stored::fault(DiskFaultKind::Short)),
                Some(_) => {}
            }
        }
        let start = (self.layout.start_of(piece) + u64::from(begin)) as usize;
        Ok(&self.bytes[start..start + len as usize])
    }

    fn write(&mut self, piece: PieceIndex, begin: u32, data: &[u8]) {
        let start = (self.layout.start_of(piece) + u64::from(begin)) as usize;
        let place = &mut self.bytes[start..start + data.len()];
        self.unsynced.push((start, place.to_vec()));
        place.copy_from_slice(data);
        for span in self.layout.spans(piece, begin, data.len() as u32) {
            let len = &mut self.lens[span.file.0 as usize];
            *len = (*len).max(Some(span.offset + span.len));
            self.mtimes[span.file.0 as usize] += 1;
        }
    }

    fn perform(&mut self, operation: Operation) -> Outcome {
        match operation {
            Operation::Stat { .. } => {
                let stat = |(len, mtime): (&Option<u64>, &i64)| len.map(|len| FileStat { len, mtime_unix_ns: *mtime });
                Outcome::Stat(Ok(self.lens.iter().zip(&self.mtimes).map(stat).chain([None]).collect()))
            }
            Operation::Prepare { .. } => {
                for (len, file) in self.lens.iter_mut().zip(self.layout.files()).filter(|(_, file)| file.len == 0) {
                    *len = Some(file.len);
                }
                Outcome::Prepare(Ok(()))
            }
            Operation::Absorb { piece, begin, blocks, hash, last, .. } => {
                let data: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
                self.write(piece, begin, &data);
                let hash = hash.map(|state| self.hashed(piece, state, &data, last));
                Outcome::Absorb { blocks, hash, written: Ok(()) }
            }
            Operation::Hash { piece, begin, len, hash, last, .. } => {
                Outcome::Hash(self.read(piece, begin, len).map(|data| self.hashed(piece, hash, data, last)))
            }
            // These clients want everything: nothing was put aside.
            Operation::Unpart { .. } => Outcome::Unpart(Ok(())),
            Operation::DropParts { .. } => Outcome::DropParts(Ok(())),
            Operation::Sync { .. } => {
                self.unsynced.clear();
                Outcome::Sync(Ok(()))
            }
            Operation::SaveResume { bytes, .. } => {
                self.resume = Some(bytes);
                Outcome::SaveResume(Ok(()))
            }
            Operation::Truncate { file, len, .. } => {
                self.mtimes[file.0 as usize] += 1;
                self.lens[file.0 as usize] = Some(len);
                Outcome::Truncate(Ok(()))
            }
            // One platter, wherever its files are said to be and whatever they are called.
            Operation::Move { .. } => Outcome::Move(Ok(())),
            Operation::Rename { .. } => Outcome::Rename(Ok(())),
            Operation::Delete { files, .. } => {
                self.resume = None;
                if files {
                    self.lens.fill(None);
                }
                Outcome::Delete(Ok(()))
            }
            Operation::Resolve { .. } | Operation::Fetch(_) => unreachable!("the driver keeps these to itself"),
        }
    }

    /// An operation that fails. Of a write, the first `kept` bytes are on the disk all the same.
    fn fail(&mut self, operation: Operation, fault: DiskFault, kept: impl FnOnce(usize) -> usize) -> Outcome {
        match operation {
            Operation::Stat { .. } => Outcome::Stat(Err(fault)),
            Operation::Prepare { .. } => Outcome::Prepare(Err(fault)),
            Operation::Absorb { piece, begin, blocks, hash, last, .. } => {
                let data: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
                let kept = kept(data.len());
                if kept > 0 {
                    self.write(piece, begin, &data[..kept]);
                }
                let hash = hash.map(|state| self.hashed(piece, state, &data, last));
                Outcome::Absorb { blocks, hash, written: Err(fault) }
            }
            Operation::Hash { .. } => Outcome::Hash(Err(fault)),
            Operation::Unpart { .. } => Outcome::Unpart(Err(fault)),
            Operation::DropParts { .. } => Outcome::DropParts(Err(fault)),
            Operation::Sync { .. } => Outcome::Sync(Err(fault)),
            Operation::SaveResume { .. } => Outcome::SaveResume(Err(fault)),
            Operation::Truncate { .. } => Outcome::Truncate(Err(fault)),
            Operation::Move { .. } => Outcome::Move(Err(fault)),
            Operation::Rename { .. } => Outcome::Rename(Err(fault)),
            Operation::Delete { .. } => Outcome::Delete(Err(fault)),
            Operation::Resolve { .. } | Operation::Fetch(_) => unreachable!("the driver keeps these to itself"),
        }
    }

    fn hashed(&self, piece: PieceIndex, mut state: HashState, data: &[u8], last: bool) -> Hashed {
        if last {
            let hashes = self.hashes.as_ref().expect("a torrent is registered first");
            let expected = hashes.digest_of(piece).expect("each piece has a hash");
            return Hashed::Finished { digest: state.finish(data), expected };
        }
        state.absorb(data);
        Hashed::Running(state)
    }
}

#[derive(Debug)]
enum Job {
    Operation(OpId, Operation, Counted),
    Read(ReadRequest),
}

/// One life of a host's disk.
#[derive(Debug)]
pub struct SimDisk {
    platter: Platter,
    rng: Rng,
    jobs: BTreeMap<(Instant, u64), Job>,
    submitted: u64,
    timer: Option<Pin<Box<Sleep>>>,
    waker: Option<Waker>,
    account: Account,
}

impl SimDisk {
    /// A disk over `platter` whose delays and faults follow from `seed` and `host`.
    pub fn new(platter: Platter, seed: u64, host: u32, account: &Account) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..12].copy_from_slice(&host.to_le_bytes());
        let rng = Rng::new(&bytes, Stream::Candidates, 0);
        platter.0.borrow_mut().powered = true;
        let account = account.clone();
        SimDisk { platter, rng, jobs: BTreeMap::new(), submitted: 0, timer: None, waker: None, account }
    }

    fn push(&mut self, job: Job) {
        let longest = self.platter.0.borrow().health.max_delay.as_micros() as u64;
        let delay = MIN_DELAY + Duration::from_micros(self.rng.below(longest));
        self.submitted += 1;
        self.jobs.insert((now() + delay, self.submitted), job);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn perform(&mut self, job: Job) -> DiskDone {
        let stored = &mut *self.platter.0.borrow_mut();
        let writes = matches!(&job, Job::Operation(_, Operation::Absorb { .. }, _));
        let fault = match stored.health.trouble {
            Trouble::None => None,
            Trouble::Full => writes.then(|| Stored::fault(DiskFaultKind::Full)),
            Trouble::OneIn(n) => (self.rng.below(n) == 0).then(|| Stored::fault(DiskFaultKind::Io)),
        };
        match (job, fault) {
            (Job::Operation(op, operation, counted), fault) => {
                drop(counted);
                let outcome = match fault {
                    None => stored.perform(operation),
                    Some(fault) => stored.fail(operation, fault, |len| self.rng.below(len as u64) as usize),
                };
                DiskDone::Operation { op, outcome }
            }
            (Job::Read(read), fault) => {
                let data = stored.read(read.piece, read.begin, read.len).map(PageBuffer::from);
                DiskDone::Read { reader: read.reader, outcome: fault.map_or(data, Err) }
            }
        }
    }
}

impl Disk for SimDisk {
    fn register(&mut self, _: TorrentId, location: Location) {
        self.platter.0.borrow_mut().hashes = Some(location.hashes);
    }

    fn forget(&mut self, _: TorrentId) {}

    fn place(&mut self, _: TorrentId, piece: PieceIndex, in_parts: Vec<Range<u32>>) {
        assert!(in_parts.is_empty(), "these clients want everything, {piece:?} too");
    }

    fn submit(&mut self, op: OpId, operation: Operation) {
        self.push(Job::Operation(op, operation, self.account.disk_operations.count()));
    }

    fn read(&mut self, request: ReadRequest) {
        self.push(Job::Read(request));
    }

    fn poll_done(&mut self, cx: &mut Context<'_>, done: &mut Vec<DiskDone>) -> Poll<()> {
        self.waker = Some(cx.waker().clone());
        while let Some(entry) = self.jobs.first_entry() {
            if entry.key().0 > now() {
                break;
            }
            let job = entry.remove();
            done.push(self.perform(job));
        }
        if !done.is_empty() {
            return Poll::Ready(());
        }
        if let Some(((at, _), _)) = self.jobs.first_key_value() {
            let mut timer = Box::pin(sleep_until(*at));
            if timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.timer = Some(timer);
        }
        Poll::Pending
    }
}

impl Drop for SimDisk {
    /// An orderly end finishes what was begun, as real disks do.
    fn drop(&mut self) {
        while self.platter.0.borrow().powered
            && let Some((_, job)) = self.jobs.pop_first()
        {
            self.perform(job);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the simulator's clock")]
fn now() -> Instant {
    Instant::now()
}
