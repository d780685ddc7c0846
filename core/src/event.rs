//! Everything the engine can be told. With `action`, this is the whole vocabulary between the engine and the world.
//!
//! Events are facts: the engine never refuses one. Events for a connection or an operation that is already gone are ignored,
//! but the buffers they carry are taken home.

use crate::action::FileStat;
use crate::block::Block;
use crate::config::{ActiveLimits, RateLimits, SeedingGoals};
use crate::fault::{DiskFault, LinkFault};
use crate::hash::HashState;
use crate::id::{ConnId, Digest, FileIndex, Folder, OpId, ReaderId, TorrentId};
use crate::metainfo::Metainfo;
use crate::selection::Priority;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::Range;

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The time named by `Engine::poll_timeout` has come (early or late ticks do no harm).
    Tick,
    /// The application wants something.
    Command(Command),
    /// A connection came in. `conn` is a fresh [`ConnId::accepted`].
    Accepted {
        /// The connection's number.
        conn: ConnId,
        /// The other side's address.
        from: SocketAddr,
    },
    /// A dial succeeded or failed. After a failure the connection does not exist.
    Dialed {
        /// The number given in `Action::Dial`.
        conn: ConnId,
        /// Our own address on that connection, or why there is none.
        outcome: Result<SocketAddr, LinkFault>,
    },
    /// Bytes arrived. Mutable, because decryption will happen in place.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes; never empty, never more than what `Action::AllowRead` left.
        bytes: &'a mut [u8],
    },
    /// Exactly `bytes` more bytes were handed to the network.
    Flushed {
        /// The connection.
        conn: ConnId,
        /// How many more.
        bytes: u64,
    },
    /// The connection is gone (not sent after `Action::Close`).
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why, for logs and recordings: the engine treats all alike. An orderly end is [`LinkFault::Eof`].
        fault: LinkFault,
    },
    /// A file range that was to be sent could not be read. The driver closes the connection afterwards as with `Closed`.
    ServeFailed {
        /// The connection.
        conn: ConnId,
        /// What the disk said.
        fault: DiskFault,
    },
    /// A datagram arrived on the engine's UDP port.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Its contents.
        bytes: &'a mut [u8],
    },
    /// An operation has ended. Exactly one for each `Action::Submit`, in any order.
    Done {
        /// The operation.
        op: OpId,
        /// How it ended, with everything that it owned.
        outcome: Outcome,
    },
}

/// What the application can ask for. What cannot be done is answered with `Notice::Refused`, and changes nothing.
#[derive(Debug)]
pub enum Command {
    /// Add a torrent and begin: check what is there, download the rest, seed. The storage of `torrent` must be known to the disk
    /// already.
    Add(Box<AddTorrent>),
    /// Peers given by hand; they are tried first.
    AddPeers {
        /// The torrent.
        torrent: TorrentId,
        /// Where they listen.
        peers: Vec<SocketAddr>,
    },
    /// Changes how fast bytes may flow, at once.
    SetLimits {
        /// The torrent; `None` for all together, whose limits are kept as well.
        torrent: Option<TorrentId>,
        /// Its limits from now on.
        limits: RateLimits,
    },
    /// Changes how many torrents may be active, at once: who is beyond becomes [`Queued`](crate::view::TorrentState::Queued), who waits begins.
    SetActiveLimits {
        /// The limits from now on.
        limits: ActiveLimits,
    },
    /// Changes where a torrent stands in the queue; at first torrents stand in the order in which they were added. The first of those that ask for a place
    /// have it, so this may start one torrent and stop another.
    MoveInQueue {
        /// The torrent.
        torrent: TorrentId,
        /// Where to.
        to: QueueMove,
    },
    /// Changes when seeding ends, at once. What was waived by a resume holds again.
    SetGoals {
        /// The torrent; `None` for all that have no goals of their own.
        torrent: Option<TorrentId>,
        /// Its goals from now on. `None` for a torrent: those of all others; for all: none.
        goals: Option<SeedingGoals>,
    },
    /// Be silent: peers are closed, trackers told `stopped`, and nothing is dialled, announced, asked for or let in. What is on its way
    /// to the disk still ends, and resume data is saved. A check stops where it is.
    Pause {
        /// The torrent; `None` means all that are there.
        torrent: Option<TorrentId>,
    },
    /// Go on where it was paused. One torrent, named, that is not paused and has seeded enough seeds on, and no goal ends that until goals are changed.
    Resume {
        /// The torrent; `None` means all that are there.
        torrent: Option<TorrentId>,
    },
    /// Stop, tell the trackers, and forget the torrent and its resume data. Ends with `Notice::Removed`; from then on its info-hash may be
    /// added again.
    Remove {
        /// The torrent.
        torrent: TorrentId,
        /// Also delete its files, and its folders as far as they are empty then. Nothing else is ever touched.
        delete_data: bool,
    },
    /// Believe nothing, resume data neither, and hash everything again, also of a paused torrent. Peers stay out meanwhile. Ends with
    /// `Notice::Checked`.
    Recheck {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Ask the trackers now, or as soon as their minimum interval allows.
    Reannounce {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Somebody wants to see how large the swarm is (BEP 48): each tracker is asked, also of a paused torrent, and answers with `Notice::Scraped`. Those
    /// that were asked less than a minute ago, that want to be left alone or that cannot be asked so are left out. Who announces is told without asking,
    /// as a rule.
    Scrape {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Trackers given by hand: each that is not there yet becomes a tier of its own, after the others, and is asked at once; while others are
    /// being asked, only when those do not answer.
    AddTrackers {
        /// The torrent.
        torrent: TorrentId,
        /// Their URLs.
        urls: Vec<String>,
    },
    /// These trackers and no others. Those that go are told `stopped`.
    ReplaceTrackers {
        /// The torrent.
        torrent: TorrentId,
        /// BEP 12 tiers.
        tiers: Vec<Vec<String>>,
    },
    /// Move the torrent's files to another folder. Peers stay out meanwhile. Ends with `Notice::Moved` or `Notice::NotMoved`.
    Move {
        /// The torrent.
        torrent: TorrentId,
        /// Where to.
        to: Folder,
    },
    /// Rename one file, or the torrent's own folder (of a single-file torrent: its file). Ends with `Notice::Renamed` or `Notice::NotMoved`.
    Rename {
        /// The torrent.
        torrent: TorrentId,
        /// The file; `None` means the torrent's folder.
        file: Option<FileIndex>,
        /// The new name: one path element. It is cleaned as the names in torrents are.
        name: String,
    },
    /// Change how urgently some files are wanted; the others stay as they are. Refused when a file is named that there is none of.
    SetPriorities {
        /// The torrent.
        torrent: TorrentId,
        /// The files, and how urgently each is wanted from now on.
        files: Vec<(FileIndex, Priority)>,
    },
    /// Ask for pieces in the order of the torrent, or (as usual) the rarest first. Priorities go before either.
    SetSequential {
        /// The torrent.
        torrent: TorrentId,
        /// In order.
        sequential: bool,
    },
    /// A reader (a player, a file system) waits for bytes of a file: their pieces come before all others, the nearest first. It is told when all of them are
    /// there ([`Notice::Readable`](crate::action::Notice::Readable)), and no longer waits for what it waited for before. Files that are skipped do not come.
    Await {
        /// The torrent.
        torrent: TorrentId,
        /// The reader's number, chosen by the application.
        reader: ReaderId,
        /// The file.
        file: FileIndex,
        /// In bytes from the file's start; what lies beyond its end is left out.
        bytes: Range<u64>,
    },
    /// A reader waits no longer.
    EndAwait {
        /// The torrent.
        torrent: TorrentId,
        /// The reader's number.
        reader: ReaderId,
    },
    /// Stop everything: trackers are told, connections closed. Ends with `Notice::ShutDown`, at most
    /// `Config::shutdown_timeout` later.
    Shutdown,
}

/// Where to a torrent moves in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueMove {
    /// Before all others.
    Top,
    /// It changes places with the nearest one before it that asks for the same kind of place.
    Up,
    /// It changes places with the nearest one after it that asks for the same kind of place.
    Down,
    /// After all others.
    Bottom,
}

/// A torrent to add.
#[derive(Clone, Debug)]
pub struct AddTorrent {
    /// Its number, chosen by the application; no torrent that is there has it.
    pub torrent: TorrentId,
    /// What it is.
    pub metainfo: Metainfo,
    /// Extra trackers, each a tier of its own, asked after the torrent's.
    pub extra_trackers: Vec<String>,
    /// Peers to try at once.
    pub peers: Vec<SocketAddr>,
    /// Only check what is on disk: no peers, no trackers, nothing is written.
    pub check_only: bool,
    /// A resume file as it was read, from here or from libtorrent and its kin; see `crate::resume`.
    pub resume: Option<Vec<u8>>,
    /// Hash everything, whatever the resume data claims; its totals go on all the same.
    pub force_check: bool,
    /// Begin paused: nothing is looked at until `Command::Resume`.
    pub paused: bool,
    /// How urgently files are wanted; those not named as usual. A torrent that does not have one of them is refused.
    pub priorities: Vec<(FileIndex, Priority)>,
    /// Ask for pieces in the order of the torrent.
    pub sequential: bool,
    /// When it has been seeded enough; `None`: as all others (`Config::goals`).
    pub goals: Option<SeedingGoals>,
}

impl AddTorrent {
    /// A torrent as most are added: all of it is wanted, and nothing is known of it.
    pub fn new(torrent: TorrentId, metainfo: Metainfo) -> Self {
        AddTorrent {
            torrent,
            metainfo,
            extra_trackers: Vec::new(),
            peers: Vec::new(),
            check_only: false,
            resume: None,
            force_check: false,
            paused: false,
            priorities: Vec::new(),
            sequential: false,
            goals: None,
        }
    }
}

/// How an operation ended. Each arm answers the arm of `Operation` with the same name.
#[derive(Debug)]
pub enum Outcome {
    /// One entry per file, in order, and after them one for the part file; `None` for what is not there.
    Stat(Result<Vec<Option<FileStat>>, DiskFault>),
    /// Folders and empty files exist.
    Prepare(Result<(), DiskFault>),
    /// The ranges stand in their files.
    Unpart(Result<(), DiskFault>),
    /// There is no part file.
    DropParts(Result<(), DiskFault>),
    /// The hash (when one was asked for) and the write. The blocks come home either way.
    Absorb {
        /// The buffers of the operation, all of them.
        blocks: Vec<Block>,
        /// What hashing gave; `None` when no hashing was asked for.
        hash: Option<Hashed>,
        /// Whether all bytes were written.
        written: Result<(), DiskFault>,
    },
    /// The range was read and hashed.
    Hash(Result<Hashed, DiskFault>),
    /// Everything written before is on stable storage.
    Sync(Result<(), DiskFault>),
    /// The resume data is on stable storage, and nothing else of the torrent's has taken its place.
    SaveResume(Result<(), DiskFault>),
    /// The file now has the length asked for.
    Truncate(Result<(), DiskFault>),
    /// The files stand at the new place. After a fault all of them are where they were.
    Move(Result<(), DiskFault>),
    /// The entry has its new name. After a fault it has its old one.
    Rename(Result<(), DiskFault>),
    /// The resume data is gone, and so are the files where that was wanted. After a fault some may be left.
    Delete(Result<(), DiskFault>),
    /// The addresses of a name, in the resolver's order; never empty when `Ok`.
    Resolve(Result<Vec<IpAddr>, LinkFault>),
    /// One HTTP exchange.
    Fetch(Result<FetchReply, LinkFault>),
}

/// A hash after some more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// More is to come.
    Running(HashState),
    /// That was the end.
    Finished {
        /// What the bytes hash to.
        digest: Digest,
        /// What the whole piece must hash to (BEP 3, `pieces`). The engine keeps no hashes: whoever hashes knows them, and may have them wherever they
        /// cost least. Where only a part of the piece was hashed, this says nothing.
        expected: Digest,
    },
}

/// An HTTP answer, whatever its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchReply {
    /// The status code.
    pub status: u16,
    /// The `Location` header, when present and printable.
    pub location: Option<String>,
    /// The body was sent with `Content-Encoding: gzip` (or `x-gzip`); it is given here as received.
    pub gzip: bool,
    /// The body as received, at most `Fetch::max_body_bytes`.
    pub body: Vec<u8>,
}
