//! A BitTorrent client as a library: sessions, torrents, events, storages and readers, on tokio.
//!
//! The protocol is `sameseed_core`, a pure state machine (re-exported as [`core`]); this crate is the thin adapter between it and the world: sockets, files, HTTP and the clock.
//!
//! # A download in ten lines
//!
//! ```no_run
//! use driver_tokio::{AddTorrentOptions, Session};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let session = Session::builder().home("downloads").start().await?;
//! let torrent = session.add(AddTorrentOptions::from_file("debian.torrent")?).await?;
//! torrent.wait_complete().await?;
//! println!("{} is complete", torrent.name());
//! session.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! The folder `examples/` has it as a program (`download`), and three more: `embed` (several torrents, events, limits), `stream` (a file that is read while it is
//! downloaded) and `custom_storage`.
//!
//! # The pieces
//!
//! | what | for what |
//! |---|---|
//! | [`Session`] | everything together: [`builder`](Session::builder), [`add`](Session::add), limits, rules about peers, [`view`](Session::view), [`shutdown`](Session::shutdown) |
//! | [`SessionBuilder`] | the settings of a start, with their defaults |
//! | [`AddTorrentOptions`] | a torrent to add: from a file, from bytes or parsed; where it goes, and how it begins |
//! | [`Torrent`] | a handle on one torrent: pause, select, limit, move, remove, look, wait, read; [`explain`](Torrent::explain) says why it is not faster |
//! | [`Events`] | what happens, as a stream: of a session or of one torrent |
//! | [`FileReader`] | a file as `AsyncRead` and `AsyncSeek` while it is downloaded |
//! | [`Home`], [`Storage`], [`MemoryStorage`] | where bytes stand: a folder, a folder that is never written to, memory, or a storage of your own |
//! | [`PeerFilter`], [`Blocklist`] | who may connect and be dialled |
//!
//! A session has a thread of its own for the engine and all sockets, and some for the disk. Handles ([`Session`], [`Torrent`]) are cheap to clone, and may be used from any thread and any
//! runtime, or none: their futures only wait for answers. **Nothing of yours ever runs on the engine's thread**: storages are called by the disk's threads, a peer filter by
//! a thread of its own, and events wait in queues of your side. So what you do may block, and slows only what waits for it.
//!
//! # From start to end
//!
//! A torrent that is added is checked first: what is there is hashed, or believed when resume data knows it and sizes and mtimes have not changed ([`SessionBuilder::resume_dir`]). Then it is
//! downloaded, then seeded, until it is paused or removed. Trouble with the disk stops it and is tried again every few seconds; it is told by
//! [`DiskTrouble`](core::action::Notice::DiskTrouble) and stands in [`TorrentView::trouble`](core::view::TorrentView::trouble) as one sentence for people. Nothing that was verified is lost by it.
//!
//! [`Session::shutdown`] says goodbye to trackers and peers, saves resume data, and returns when every socket is closed and every write done. When all handles are dropped the same happens
//! without anybody waiting for it.
//!
//! # Units and numbers
//!
//! Lengths are bytes; rates and limits bytes per second, of which 0 is no limit; times durations. Files and pieces are counted from 0 ([`FileIndex`](core::id::FileIndex),
//! [`PieceIndex`](core::id::PieceIndex)); pad files have numbers too. A torrent's number ([`TorrentId`](core::id::TorrentId)) is never used twice in a session.
//!
//! # Errors
//!
//! | error | when |
//! |---|---|
//! | [`StartError`] | the port is taken, an address is not ours, no threads |
//! | [`TorrentFileError`] | a torrent file cannot be read, or is none: the path and the key are named |
//! | [`TorrentError`] | the torrent was removed, refuses, or the disk does; or the session has ended |
//! | [`Ended`], [`CommandError`] | the session has ended; the engine refuses |
//! | [`BlocklistError`] | a line of a list makes no sense: its number is named |
//!
//! All say in one sentence what is wrong. Peers, trackers and torrent files can cause no panic; a panic of the engine is a broken law, and is raised again by [`Session::shutdown`].
//!
//! # Beneath
//!
//! [`Session::start`] gives the [`Driver`] itself, generic over [`Net`] and [`Disk`]: the same code runs in production ([`TokioNet`], [`FileDisk`]) and in simulation, where time is
//! tokio's. To read the source begin with `session`, then `driver` (the engine's thread, turn by turn), then `link` (one connection).
#![forbid(unsafe_code)]

mod add;
mod builder;
mod burst;
mod clock;
mod disk;
mod driver;
mod events;
mod explain;
mod fault;
mod file_disk;
mod filter;
mod folder;
mod gate;
mod gauge;
mod http;
mod known;
mod link;
mod net;
mod outgoing;
mod piece_hashes;
mod reader;
mod reading;
mod request;
mod resume_file;
mod session;
mod shared;
mod storage;
mod tokio_net;
mod torrent;

pub use add::{AddTorrentOptions, TorrentFileError};
pub use builder::{SessionBuilder, SessionConfig, StartError};
pub use disk::{Disk, DiskDone, FileRange, Location, ReadFor, ReadRequest};
pub use driver::{Driver, Observer};
pub use events::{Event, Events, Notices};
pub use explain::{Explained, ExplainedPeer};
pub use file_disk::FileDisk;
pub use filter::PeerFilter;
pub use folder::{make as make_folder, sync as sync_folder};
pub use gauge::TaskGauge;
pub use net::{Listener, Net, Stream, Udp};
pub use piece_hashes::{HashStore, PieceHashes};
pub use reader::FileReader;
/// The engine's own words: what events, views, limits and numbers are made of.
pub use sameseed_core as core;
pub use sameseed_core::blocklist::{Blocklist, BlocklistError};
pub use session::{CommandError, Ended, Session};
pub use sha_lanes::{Backend as HashBackend, PageBuffer};
pub use storage::{Home, MemoryStorage, PART_FILE, Storage, StoredFile};
pub use tokio_net::TokioNet;
pub use torrent::{FileView, Torrent, TorrentError};
