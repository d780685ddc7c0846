//! The disk as the driver needs it: a trait for real files, for a simulated disk, and for tests.
//!
//! Operations own all that they need and may end in any order; what they own comes home in every outcome. A disk never waits for the
//! engine: its queue of completions holds every operation in flight.

use crate::piece_hashes::PieceHashes;
use crate::storage::Home;
use sameseed_core::action::Operation;
use sameseed_core::event::Outcome;
use sameseed_core::fault::DiskFault;
use sameseed_core::id::{ConnId, InfoHash, OpId, PieceIndex, TorrentId};
use sameseed_core::layout::Layout;
use sha_lanes::PageBuffer;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A disk. All calls come from the thread of the engine and return at once.
pub trait Disk: 'static {
    /// Makes known where a torrent is. It precedes every operation of that torrent; nothing is opened or made yet.
    fn register(&mut self, torrent: TorrentId, location: Location);

    /// The torrent is gone: nothing of it will be asked for any more.
    fn forget(&mut self, torrent: TorrentId);

    /// From now on these ranges of a piece stand in the torrent's part file, the rest in its files (see `Action::Place`).
    fn place(&mut self, torrent: TorrentId, piece: PieceIndex, in_parts: Vec<Range<u32>>);

    /// Begins one of the file operations (never `Resolve` or `Fetch`, which are the network's).
    fn submit(&mut self, op: OpId, operation: Operation);

    /// Begins to read a range for sending, or for a reader.
    fn read(&mut self, request: ReadRequest);

    /// Where a range stands as a whole, when it can be sent from there without waiting for a device: in one file that is open, and in memory. `None` when that is
    /// not so, or not known: then it is read.
    fn at_hand(&mut self, _torrent: TorrentId, _piece: PieceIndex, _begin: u32, _len: u32) -> Option<FileRange> {
        None
    }

    /// Appends everything that has ended to `done` and is ready when there was anything; else wakes the task when there is.
    fn poll_done(&mut self, cx: &mut Context<'_>, done: &mut Vec<DiskDone>) -> Poll<()>;
}

/// Where a torrent is.
#[derive(Clone, Debug)]
pub struct Location {
    /// Which torrent it is.
    pub info_hash: InfoHash,
    /// Where its bytes stand.
    pub home: Home,
    /// Which files there are.
    pub layout: Arc<Layout>,
    /// What its pieces must hash to.
    pub hashes: PieceHashes,
    /// The name of the part file, beside the torrent's own file or folder.
    pub parts_name: String,
    /// The file that its resume data goes to, where it has one.
    pub resume: Option<PathBuf>,
}

/// Who wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFor {
    /// A peer: the bytes are to be sent on this connection.
    Peer(ConnId),
    /// A reader of the application's, by the driver's number.
    Reader(u64),
}

/// A range of a piece to be read.
#[derive(Debug)]
pub struct ReadRequest {
    /// Who it is for.
    pub reader: ReadFor,
    /// The torrent.
    pub torrent: TorrentId,
    /// The piece.
    pub piece: PieceIndex,
    /// Bytes from the start of the piece.
    pub begin: u32,
    /// Length in bytes.
    pub len: u32,
    /// A used buffer whose memory may serve again.
    pub buffer: PageBuffer,
}

/// A range of one file, to be sent from there by the system.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// From where on, in bytes from its start.
    pub offset: u64,
    /// Length in bytes.
    pub len: u32,
    /// What the file is called, for people.
    pub path: PathBuf,
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
        /// Who it was for.
        reader: ReadFor,
        /// All the bytes asked for, never fewer.
        outcome: Result<PageBuffer, DiskFault>,
    },
}
