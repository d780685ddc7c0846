//! What can be seen of one torrent alone. Looking changes nothing.

use super::Engine;
use crate::bitfield::Bitfield;
use crate::id::{FileIndex, TorrentId};
use crate::selection::Priority;
use crate::view::TorrentView;

impl Engine {
    /// A picture of one torrent; `None` when there is none of that number.
    pub fn torrent_view(&self, torrent: TorrentId) -> Option<TorrentView> {
        Some(self.torrents.get(&torrent)?.view(&self.shared))
    }

    /// The pieces of a torrent that are verified and written.
    pub fn have(&self, torrent: TorrentId) -> Option<&Bitfield> {
        Some(self.torrents.get(&torrent)?.have())
    }

    /// How urgently a file is wanted; `None` when there is no such torrent.
    pub fn priority_of(&self, torrent: TorrentId, file: FileIndex) -> Option<Priority> {
        Some(self.torrents.get(&torrent)?.priority_of(file))
    }
}
