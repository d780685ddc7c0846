//! A simulated disk: a platter that outlives the host's crash, and operations that are done after a random delay, in any order.
//!
//! An operation takes effect when it is done; what a crash overtakes never happened.

use crate::content;
use driver_tokio::{Disk, DiskDone, ReadRequest, Storage};
use sameseed_core::action::{FileStat, Operation};
use sameseed_core::event::{Hashed, Outcome};
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::hash::HashState;
use sameseed_core::id::{OpId, PieceIndex, TorrentId};
use sameseed_core::layout::Layout;
use sameseed_core::rng::{Rng, Stream};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

/// The longest that an operation takes.
const MAX_DELAY_MICROS: u64 = 8_000;

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
}

impl Platter {
    /// An empty platter, or one that holds the torrent by formula.
    pub fn new(layout: &Layout, full: bool) -> Self {
        let bytes =
            if full { content::bytes(0, layout.total_len() as usize) } else { vec![0; layout.total_len() as usize] };
        let lens = layout.files().iter().map(|file| full.then_some(file.len)).collect();
        Platter(Rc::new(RefCell::new(Stored { layout: layout.clone(), bytes, lens })))
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
        self.bytes[start..start + data.len()].copy_from_slice(data);
        for span in self.layout.spans(piece, begin, data.len() as u32) {
            let len = &mut self.lens[span.file.0 as usize];
            *len = (*len).max(Some(span.offset + span.len));
        }
    }

    fn perform(&mut self, operation: Operation) -> Outcome {
        match operation {
            Operation::Stat { .. } => {
                let stat = |len: &Option<u64>| len.map(|len| FileStat { len, mtime_unix_s: 0 });
                Outcome::Stat(Ok(self.lens.iter().map(stat).collect()))
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
                Outcome::Absorb { blocks, hash: hash.map(|state| hashed(state, &data, last)), written: Ok(()) }
            }
            Operation::Hash { piece, begin, len, hash, last, .. } => {
                Outcome::Hash(self.read(piece, begin, len).map(|data| hashed(hash, data, last)))
            }
            Operation::Sync { .. } => Outcome::Sync(Ok(())),
            Operation::Truncate { file, len, .. } => {
                self.lens[file.0 as usize] = Some(len);
                Outcome::Truncate(Ok(()))
            }
            Operation::Resolve { .. } | Operation::Fetch(_) => unreachable!("the driver keeps these to itself"),
        }
    }
}

fn hashed(mut state: HashState, data: &[u8], last: bool) -> Hashed {
    if last {
        return Hashed::Finished(state.finish(data));
    }
    state.absorb(data);
    Hashed::Running(state)
}

#[derive(Debug)]
enum Job {
    Operation(OpId, Operation),
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
}

impl SimDisk {
    /// A disk over `platter` whose delays follow from `seed` and `host`.
    pub fn new(platter: Platter, seed: u64, host: u32) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..12].copy_from_slice(&host.to_le_bytes());
        let rng = Rng::new(&bytes, Stream::Candidates, 0);
        SimDisk { platter, rng, jobs: BTreeMap::new(), submitted: 0, timer: None, waker: None }
    }

    fn push(&mut self, job: Job) {
        let delay = Duration::from_micros(50 + self.rng.below(MAX_DELAY_MICROS));
        self.submitted += 1;
        self.jobs.insert((now() + delay, self.submitted), job);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Disk for SimDisk {
    fn register(&mut self, _: TorrentId, _: Storage) {}

    fn submit(&mut self, op: OpId, operation: Operation) {
        self.push(Job::Operation(op, operation));
    }

    fn read(&mut self, request: ReadRequest) {
        self.push(Job::Read(request));
    }

    fn poll_done(&mut self, cx: &mut Context<'_>, done: &mut Vec<DiskDone>) -> Poll<()> {
        self.waker = Some(cx.waker().clone());
        let mut stored = self.platter.0.borrow_mut();
        while let Some(entry) = self.jobs.first_entry() {
            if entry.key().0 > now() {
                break;
            }
            done.push(match entry.remove() {
                Job::Operation(op, operation) => DiskDone::Operation { op, outcome: stored.perform(operation) },
                Job::Read(read) => {
                    let data = stored.read(read.piece, read.begin, read.len).map(<[u8]>::to_vec);
                    DiskDone::Read { conn: read.conn, outcome: data }
                }
            });
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

#[expect(clippy::disallowed_methods, reason = "the simulator's clock")]
fn now() -> Instant {
    Instant::now()
}
