//! Why a torrent, or a connection, is not faster. Read-only, and nothing is kept or computed for it until somebody asks.

use super::Engine;
use crate::explain::Explanation;
use crate::id::{ConnId, TorrentId};
use crate::time::Instant;
use crate::torrent::{Torrent, why_not_live};
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

impl Engine {
    /// Why a torrent is not faster; `None` when there is no such torrent. It looks at every piece that is lacking and every connection.
    pub fn explain_torrent(&self, now: Instant, torrent: TorrentId) -> Option<Explanation> {
        self.torrents.get(&torrent).map(|torrent| torrent.explain(now, &self.shared))
    }

    /// Why a connection is not faster, also one that is still being made; `None` when there is no such connection.
    pub fn explain_peer(&self, now: Instant, conn: ConnId) -> Option<Explanation> {
        if let Some(peer) = self.incoming.get(conn) {
            let cause = why_not_live(now, &self.shared, peer)?;
            return Some(Explanation { down: vec![cause], up: Vec::new() });
        }
        let torrent = self.torrents.get(self.shared.conns.get(&conn)?)?;
        torrent.explain_peer(now, &self.shared, conn)
    }

    /// The connections of a torrent, also those that are being made, with the other side's addresses. `Engine::peers` has those that have shaken hands.
    pub fn connections(&self, torrent: TorrentId) -> Vec<(ConnId, SocketAddr)> {
        self.torrents.get(&torrent).map(|torrent| Torrent::connections(torrent).collect()).unwrap_or_default()
    }
}
