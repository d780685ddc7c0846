//! What handles ask of the driver, through one bounded channel.

use crate::add::AddTorrentOptions;
use crate::explain::Explained;
use crate::filter::PeerFilter;
use crate::torrent::{About, FileView};
use sameseed_core::action::Refusal;
use sameseed_core::bitfield::Bitfield;
use sameseed_core::blocklist::Blocklist;
use sameseed_core::event::Command;
use sameseed_core::id::{FileIndex, TorrentId};
use sameseed_core::view::{PeerView, TorrentView, TrackerView, View};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where an answer goes. Who asked may be gone, which is no fault.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// A request of a handle.
pub(crate) enum Request {
    Add(Box<AddTorrentOptions>, Reply<Result<Arc<About>, Refusal>>),
    AddPeers(TorrentId, Vec<SocketAddr>),
    Tell(Command, Reply<Result<(), Refusal>>),
    View(Reply<View>),
    Peers(TorrentId, Reply<Vec<PeerView>>),
    Trackers(TorrentId, Reply<Vec<TrackerView>>),
    /// Every torrent that is there.
    Torrents(Reply<Vec<Arc<About>>>),
    TorrentView(TorrentId, Reply<Option<TorrentView>>),
    Files(TorrentId, Reply<Option<Vec<FileView>>>),
    Pieces(TorrentId, Reply<Option<Bitfield>>),
    /// The answer comes when nobody is connected any more who is listed.
    SetBlocklist(Option<Arc<Blocklist>>, Reply<()>),
    /// The answer comes when nobody is connected any more whom it forbids.
    SetFilter(Option<Arc<dyn PeerFilter>>, Reply<()>),
    Explain(TorrentId, Reply<Option<Explained>>),
    OpenReader(OpenReader),
    ReadFile(ReadFile),
    Shutdown,
}

/// A reader begins.
pub(crate) struct OpenReader {
    pub(crate) torrent: TorrentId,
    pub(crate) file: FileIndex,
    /// It is there as long as the other end of this.
    pub(crate) alive: Reply<Infallible>,
    /// Its number.
    pub(crate) reply: Reply<Result<u64, Refusal>>,
}

/// A reader wants bytes of its file.
pub(crate) struct ReadFile {
    pub(crate) reader: u64,
    pub(crate) bytes: Range<u64>,
    /// It will want so many behind those that it gets soon.
    pub(crate) ahead: u64,
    /// The first of `bytes`, at least one, as many as lie in one piece.
    pub(crate) reply: Reply<Read>,
}

/// What a reader is answered.
pub(crate) type Read = io::Result<Vec<u8>>;
