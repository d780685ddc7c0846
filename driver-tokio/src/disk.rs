//! The disk as the driver needs it: a trait for real files, for a simulated disk, and for tests.
//!
//! Operations own all that they need and may end in any order; what they own comes home in every outcome. A disk never waits for the
//! engine: its queue of completions holds every operation in flight.

use sameseed_core::action::Operation;
use sameseed_core::event::Outcome;
use sameseed_core::fault::DiskFault;
use sameseed_core::id::{ConnId, OpId, PieceIndex, TorrentId};
use sameseed_core::layout::Layout;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A disk. All calls come from the thread of the engine and return at once.
pub trait Disk: 'static {
    /// Makes a torrent's storage known. It precedes every operation of that torrent; nothing is opened or made yet.
    fn register(&mut self, torrent: TorrentId, storage: Storage);

    /// The torrent is gone: nothing of it will be asked for any more.
    fn forget(&mut self, torrent: TorrentId);

    /// From now on these ranges of a piece stand in the torrent's part file, the rest in its files (see `Action::Place`).
    fn place(&mut self, torrent: TorrentId, piece: PieceIndex, in_parts: Vec<Range<u32>>);

    /// Begins one of the file operations (never `Resolve` or `Fetch`, which are the network's).
    fn submit(&mut self, op: OpId, operation: Operation);

    /// Begins to read a range for sending.
    fn read(&mut self, request: ReadRequest);

    /// Appends everything that has ended to `done` and is ready when there was anything; else wakes the task when there is.
    fn poll_done(&mut self, cx: &mut Context<'_>, done: &mut Vec<DiskDone>) -> Poll<()>;
}

/// Where a torrent's files are.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The download folder; it may itself lie behind links.
    pub root: PathBuf,
    /// Which files there are below it.
    pub layout: Arc<Layout>,
    /// The name of the part file, below the root too.
    pub parts_name: String,
    /// The file that its resume data goes to, where it has one.
    pub resume: Option<PathBuf>,
}

/// A range of a piece to be read for sending.
#[derive(Debug)]
pub struct ReadRequest {
    /// The connection it is for.
    pub conn: ConnId,
    /// The torrent.
    pub torrent: TorrentId,
    /// The piece.
    pub piece: PieceIndex,
    /// Bytes from the start of the piece.
    pub begin: u32,
    /// Length in bytes.
    pub len: u32,
    /// A used buffer whose memory may serve again.
    pub buffer: Vec<u8>,
}

/// Something the disk has ended.
#[derive(Debug)]
pub enum DiskDone {
    /// An operation; exactly one for each `submit`.
    Operation {
        /// Its number.
        op: OpId,
        /// How it ended.
        outcome: Outcome,
    },
    /// A read; exactly one for each `read`.
    Read {
        /// The connection it was for.
        conn: ConnId,
        /// All the bytes asked for, never fewer.
        outcome: Result<Vec<u8>, DiskFault>,
    },
}
