//! Everything the engine can ask of the world. With `event`, this is the whole vocabulary between the engine and the world.
//!
//! Bytes for the network do not stand here: they leave by `Engine::poll_transmit`.

use crate::block::Block;
use crate::config::Goal;
use crate::fault::{DiskFault, LinkFault, PeerFault};
use crate::hash::HashState;
use crate::id::{ConnId, FileIndex, Folder, OpId, PeerId, PieceIndex, ReaderId, TorrentId};
pub use crate::layout::FileStat;
use crate::resume::ResumeError;
use crate::time::Duration;
use crate::tracker::Swarm;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

/// Something the driver must do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Open a connection; answer with `Event::Dialed`.
    Dial {
        /// Its number from now on.
        conn: ConnId,
        /// Where to.
        to: SocketAddr,
    },
    /// Close a connection at once and forget it; unsent bytes are dropped. A dial under way is given up.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// The driver may read `bytes` more bytes from this connection. Grants add up. Before the first one nothing may be read.
    AllowRead {
        /// The connection.
        conn: ConnId,
        /// How many more.
        bytes: u64,
    },
    /// Of what was allowed `bytes` fewer may be read. Whoever has read more by then, because it drained late, has a debt that later grants pay first.
    RevokeRead {
        /// The connection.
        conn: ConnId,
        /// How many fewer.
        bytes: u64,
    },
    /// From now on these ranges of a piece (bytes from its start) stand in the torrent's part file, at their place in the torrent's bytes; the rest stands in
    /// the files. Before the first one for a piece everything stands in the files. It comes while nothing that writes to the piece is under way, or
    /// when both places hold the same, so operations in flight may see it or not.
    Place {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// What stands in the part file; each range lies within one file.
        in_parts: Vec<Range<u32>>,
    },
    /// Begin an operation; answer with `Event::Done`, exactly once, whatever happens.
    Submit {
        /// Its number.
        op: OpId,
        /// What to do, with everything it needs.
        operation: Operation,
    },
    /// Give a network operation up. It still ends with `Event::Done` (with [`LinkFault::Aborted`], or the answer that overtook).
    Abort {
        /// The operation.
        op: OpId,
    },
    /// Something the application may want to know.
    Notify(Notice),
}

/// Why the engine closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CloseReason {
    /// They broke the protocol.
    #[error(transparent)]
    Fault(#[from] PeerFault),
    /// No answer to our dial in time.
    #[error("no answer to the dial in time")]
    DialTimeout,
    /// Nothing heard for too long.
    #[error("nothing heard for too long")]
    Idle,
    /// It is ourselves.
    #[error("it is ourselves")]
    Ourselves,
    /// There is already a connection to this peer.
    #[error("already connected to this peer")]
    Duplicate,
    /// All places are taken.
    #[error("all places are taken")]
    Full,
    /// The address is banned.
    #[error("the address is banned")]
    Banned,
    /// Neither side wants anything from the other.
    #[error("neither side wants anything")]
    BothComplete,
    /// It does not read what we send.
    #[error("it does not read what we send")]
    NotReading,
    /// A piece that it was told of is gone from our disk, and it does not understand `lt_donthave` (BEP 54).
    #[error("a piece that was announced is gone")]
    PieceLost,
    /// What is on disk is still being checked: there is nothing to offer yet.
    #[error("the torrent is not ready yet")]
    NotReady,
    /// The torrent stops.
    #[error("the torrent stops")]
    Stopped,
    /// The torrent is paused.
    #[error("the torrent is paused")]
    Paused,
    /// The torrent waits for a place among the active ones.
    #[error("the torrent waits for its turn")]
    Queued,
    /// The torrent has been seeded enough.
    #[error("the torrent has been seeded enough")]
    SeededEnough,
}

/// An operation on files or the network. It owns all that it needs; buffers come home with the outcome.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Look at each file of the torrent, and at its part file.
    Stat {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Make the folders of some files, and those of the files that are empty. Files with contents are made by the first write.
    Prepare {
        /// The torrent.
        torrent: TorrentId,
        /// The files.
        files: Vec<FileIndex>,
    },
    /// Copy ranges of a piece from the part file to the files that they belong to.
    Unpart {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// In bytes from the start of the piece.
        ranges: Vec<Range<u32>>,
    },
    /// Remove the part file; that there is none is no fault.
    DropParts {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Hash blocks onto a piece's state and write them. `blocks` are neighbours, the first of them at `begin`.
    Absorb {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Where the first block begins, in bytes from the start of the piece.
        begin: u32,
        /// Neighbouring blocks, in order.
        blocks: Vec<Block>,
        /// The piece's hash so far, when these blocks are next in order; `None` to write only.
        hash: Option<HashState>,
        /// Whether these blocks end the piece: then the digest is wanted.
        last: bool,
    },
    /// Read a range of a piece back and hash it. A missing file or a short one is a fault.
    Hash {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Where the range begins, in bytes from the start of the piece.
        begin: u32,
        /// Its length in bytes.
        len: u32,
        /// The piece's hash so far.
        hash: HashState,
        /// Whether the range ends the piece.
        last: bool,
    },
    /// Bring everything written so far to stable storage.
    Sync {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Put `bytes` in the place of the torrent's resume data: whoever reads it later, also after a crash, finds these or the former, whole.
    SaveResume {
        /// The torrent.
        torrent: TorrentId,
        /// A whole resume file, as `ResumeData::encode` makes it.
        bytes: Vec<u8>,
    },
    /// Set a file's length.
    Truncate {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// The length in bytes.
        len: u64,
    },
    /// Move the torrent's files to another folder, which may lie on another file system, and keep them there from now on. What is not
    /// there need not be moved. Nothing at the new place is overwritten. A crash in the middle loses nothing.
    Move {
        /// The torrent.
        torrent: TorrentId,
        /// Where to.
        to: Folder,
    },
    /// Give a file or a folder another name, within its folder, and use that from now on. What is not there need not be renamed. Nothing is
    /// overwritten.
    Rename {
        /// The torrent.
        torrent: TorrentId,
        /// Its path elements below the download folder.
        from: Vec<String>,
        /// The same with another last element.
        to: Vec<String>,
    },
    /// Delete the torrent's resume data, and with `files` its files, then those of its folders that are empty. Whatever else stands there
    /// stays, and links are not followed.
    Delete {
        /// The torrent.
        torrent: TorrentId,
        /// Also its files.
        files: bool,
    },
    /// Find the addresses of a host name.
    Resolve {
        /// The name; never an address literal.
        host: String,
    },
    /// One HTTP GET. No redirect is followed and no connection reused.
    Fetch(Box<Fetch>),
}

/// One HTTP/1.1 exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Where to connect.
    pub addr: SocketAddr,
    /// Speak TLS, and verify the certificate for this name.
    pub tls_name: Option<String>,
    /// The `Host` header.
    pub host: String,
    /// Path and query, percent-encoded.
    pub target: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// More body than this is [`LinkFault::TooLarge`].
    pub max_body_bytes: usize,
}

/// Where a [`TxBatch`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To a connection, after everything given before.
    Conn(ConnId),
    /// As one datagram, from the engine's UDP port.
    Datagram(SocketAddr),
}

/// What to send, in order. The caller keeps one and hands it to each `Engine::poll_transmit`, so that its memory is reused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxBatch {
    /// The bytes that [`Segment::Bytes`] points into.
    pub bytes: Vec<u8>,
    /// What to send.
    pub segments: Vec<Segment>,
}

impl TxBatch {
    /// Empties the batch, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.segments.clear();
    }

    /// How many bytes go to the network.
    pub fn len_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::len_bytes).sum()
    }
}

/// One stretch of a [`TxBatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes of [`TxBatch::bytes`].
    Bytes(Range<usize>),
    /// A verified range of the torrent's files, to be read by the driver when its turn comes.
    File {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Bytes from the start of the piece.
        begin: u32,
        /// Length in bytes.
        len: u32,
    },
}

impl Segment {
    /// How many bytes go to the network.
    pub fn len_bytes(&self) -> u64 {
        match self {
            Segment::Bytes(range) => range.len() as u64,
            Segment::File { len, .. } => u64::from(*len),
        }
    }
}

/// News for the application. Nothing depends on their being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The check of what is on disk has ended; downloading or seeding begins.
    Checked {
        /// The torrent.
        torrent: TorrentId,
        /// Verified pieces.
        have: u32,
    },
    /// A piece was verified and written.
    PieceVerified {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// A piece failed its hash and will be fetched again.
    PieceFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// Pieces that were verified are gone: their files were deleted or cut by somebody else. Those that are wanted are fetched again.
    PiecesLost {
        /// The torrent.
        torrent: TorrentId,
        /// The pieces, in ascending order; at least one.
        pieces: Vec<PieceIndex>,
    },
    /// Every piece that is wanted is verified and on stable storage. Sent once after each check, also when that found it so; and once more each time that
    /// it comes true again after more was selected, or something was lost.
    Complete {
        /// The torrent.
        torrent: TorrentId,
        /// Whether anything had to be downloaded.
        downloaded: bool,
    },
    /// A seeding goal is reached: the torrent is silent from now on.
    SeededEnough {
        /// The torrent.
        torrent: TorrentId,
        /// Which goal.
        goal: Goal,
    },
    /// A peer shook hands.
    PeerConnected {
        /// The torrent.
        torrent: TorrentId,
        /// The connection.
        conn: ConnId,
        /// Its address.
        addr: SocketAddr,
        /// What it calls itself.
        peer_id: PeerId,
    },
    /// A peer that had shaken hands is gone.
    PeerGone {
        /// The torrent.
        torrent: TorrentId,
        /// The connection.
        conn: ConnId,
        /// Why, when it was our decision.
        closed: Option<CloseReason>,
    },
    /// An address is banned: it sent wrong bytes, a whole piece that failed its hash or a block that differs from the right one.
    Banned {
        /// The torrent.
        torrent: TorrentId,
        /// The address.
        addr: SocketAddr,
    },
    /// A tracker answered.
    TrackerAnswered {
        /// The torrent.
        torrent: TorrentId,
        /// Its URL, without query.
        url: String,
        /// How many usable peers it named.
        peers: u32,
        /// When it will be asked again.
        next_in: Duration,
        /// Its `warning message`, cleaned and cut.
        warning: Option<String>,
    },
    /// A tracker could not be asked, or refused.
    TrackerFailed {
        /// The torrent.
        torrent: TorrentId,
        /// Its URL, without query.
        url: String,
        /// Why, for people.
        reason: TrackerFailure,
    },
    /// A tracker was asked how large the swarm is (BEP 48). What all of them said last stands in `TorrentView::swarm`.
    Scraped {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker's URL, without query.
        url: String,
        /// What it said: nothing, when it does not know the torrent.
        result: Result<Swarm, TrackerFailure>,
    },
    /// The disk refused. The torrent stops asking for pieces and tries again after a while.
    DiskTrouble {
        /// The torrent.
        torrent: TorrentId,
        /// What the disk said.
        fault: DiskFault,
    },
    /// The resume data given with a torrent is of no use: everything is checked.
    ResumeRefused {
        /// The torrent.
        torrent: TorrentId,
        /// What is wrong with it.
        error: ResumeError,
    },
    /// Resume data cannot be saved. Told once; it is tried again and again, and the torrent goes on.
    ResumeTrouble {
        /// The torrent.
        torrent: TorrentId,
        /// What the disk said.
        fault: DiskFault,
    },
    /// All bytes that this reader waits for are verified and can be read. It waits for nothing any more.
    Readable {
        /// The torrent.
        torrent: TorrentId,
        /// The reader.
        reader: ReaderId,
    },
    /// So many readers wait already that this one is not heard.
    TooManyReaders {
        /// The torrent.
        torrent: TorrentId,
        /// The reader.
        reader: ReaderId,
    },
    /// A command was not carried out, and changed nothing.
    Refused {
        /// The torrent that it was for.
        torrent: TorrentId,
        /// Why.
        why: Refusal,
    },
    /// A torrent was removed: nothing of it is left in the engine.
    Removed {
        /// The torrent.
        torrent: TorrentId,
        /// Why its resume data, or its files, could not be deleted.
        fault: Option<DiskFault>,
    },
    /// A torrent's files were moved.
    Moved {
        /// The torrent.
        torrent: TorrentId,
        /// Where they are now.
        to: Folder,
    },
    /// A file or folder of a torrent was renamed.
    Renamed {
        /// The torrent.
        torrent: TorrentId,
        /// Its former path elements below the download folder.
        from: Vec<String>,
        /// Its path elements now.
        to: Vec<String>,
    },
    /// A torrent's files could not be moved or renamed: they are where they were.
    NotMoved {
        /// The torrent.
        torrent: TorrentId,
        /// What the disk said.
        fault: DiskFault,
    },
    /// Everything has stopped after `Command::Shutdown`. The engine emits nothing more.
    ShutDown,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The info-hash is there already, under this number.
    #[error("this torrent is there already; it can be added again when it was removed")]
    AlreadyThere(TorrentId),
    /// `Command::Shutdown` was given.
    #[error("everything is being shut down")]
    Stopping,
    /// No torrent has this number.
    #[error("there is no such torrent; perhaps it was removed")]
    Unknown,
    /// The torrent is being removed.
    #[error("the torrent is being removed")]
    Leaving,
    /// Its files are being moved or renamed already.
    #[error("its files are being moved or renamed already; wait until that has ended")]
    Moving,
    /// The torrent has no file of this number.
    #[error("the torrent has no such file")]
    NoSuchFile,
    /// Nothing is left of the name when it is cleaned.
    #[error("this name cannot be used for a file")]
    BadName,
    /// It is given by a function of its own, because it needs more than the engine.
    #[error("this command is given by a function of its own")]
    NotByItself,
    /// Another file or folder of the torrent has this name.
    #[error("another file or folder of the torrent has this name")]
    NameTaken,
}

/// Why an announce failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrackerFailure {
    /// The network.
    #[error(transparent)]
    Link(#[from] LinkFault),
    /// An HTTP status that is not a success.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The tracker's own words, cleaned and cut.
    #[error("the tracker says: {0}")]
    Refused(String),
    /// The answer makes no sense.
    #[error("the answer makes no sense: {0}")]
    Malformed(&'static str),
    /// Too many redirects, or one to where we do not go.
    #[error("redirected to where we do not go")]
    Redirect,
    /// An address that this tracker's URL must not reach (a name in the world that resolves to this machine or network).
    #[error("its address is not one that this URL may reach")]
    ForbiddenAddress,
    /// The URL cannot be used.
    #[error("the URL cannot be used: {0}")]
    BadUrl(&'static str),
}
