//! Why a torrent and its connections are not faster: the engine's answers at one moment, together, and what its trackers say.

use sameseed_core::engine::Engine;
use sameseed_core::explain::Explanation;
use sameseed_core::id::{ConnId, TorrentId};
use sameseed_core::time::Instant;
use sameseed_core::view::TrackerView;
use std::net::SocketAddr;

/// Why a torrent is not faster. `explanation.top()` is the cause that matters most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Of the torrent.
    pub explanation: Explanation,
    /// Of each connection, also those that are still being made.
    pub peers: Vec<ExplainedPeer>,
    /// Its trackers, and how large they say the swarm is.
    pub trackers: Vec<TrackerView>,
}

/// Why a connection is not faster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedPeer {
    /// The connection.
    pub conn: ConnId,
    /// The other side's address.
    pub addr: SocketAddr,
    /// Why.
    pub explanation: Explanation,
}

/// Asks the engine; `None` when there is no such torrent.
pub(crate) fn explain(engine: &Engine, now: Instant, torrent: TorrentId) -> Option<Explained> {
    let explanation = engine.explain_torrent(now, torrent)?;
    let peers = engine
        .connections(torrent)
        .into_iter()
        .filter_map(|(conn, addr)| Some(ExplainedPeer { conn, addr, explanation: engine.explain_peer(now, conn)? }));
    Some(Explained { explanation, peers: peers.collect(), trackers: engine.trackers(torrent) })
}
