//! All torrents, the demultiplexing of connections, shared limits and queues: the face of this crate.

use crate::action::{Action, Destination, TxBatch};
use crate::config::Config;
use crate::event::Event;
use crate::id::{PeerId, TorrentId};
use crate::rng::{Rng, Seed, Stream};
use crate::time::Instant;
use crate::view::{PeerView, View};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What the engine is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerKind {
    /// The once-a-second look at peers: rates, time-outs, keep-alives, choking.
    Torrent(TorrentId),
    /// A tracker is due, or late.
    Announce(TorrentId),
    /// Half-open connections and handshakes.
    Connections,
}

/// Every torrent of one process.
#[derive(Debug)]
pub struct Engine {
    peer_id: PeerId,
    actions: VecDeque<Action>,
}

impl Engine {
    /// An engine without torrents. All its randomness follows from `seed`; `unix_time_s` is the wall clock at `now`.
    pub fn new(config: Config, seed: Seed, now: Instant, unix_time_s: u64) -> Self {
        let _ = (now, unix_time_s);
        let mut id = [0; 20];
        Rng::new(&seed, Stream::PeerId, 0).fill(&mut id);
        id[..8].copy_from_slice(&config.peer_id_prefix);
        Engine { peer_id: PeerId(id), actions: VecDeque::new() }
    }

    /// Our peer id.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Takes in what happened. Never fails: bad input from outside is an outcome, not an error.
    ///
    /// Afterwards drain [`Engine::poll_action`], then [`Engine::poll_transmit`], then read [`Engine::poll_timeout`]. Draining late is
    /// legal.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        let _ = (now, event);
    }

    /// The next thing to do. Only pops: everything was decided in [`Engine::handle`].
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Fills `batch` (cleared first) with what goes to one destination. Only pops.
    pub fn poll_transmit(&mut self, batch: &mut TxBatch) -> Option<Destination> {
        batch.clear();
        None
    }

    /// When the engine next wants an [`Event::Tick`], and why: the earliest only.
    pub fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        None
    }

    /// A picture of all torrents.
    pub fn view(&self) -> View {
        View { torrents: Vec::new(), connections: 0, half_open: 0, pool: (0, 0, 0), operations: 0 }
    }

    /// A picture of the peers of one torrent.
    pub fn peers(&self, torrent: TorrentId) -> Vec<PeerView> {
        let _ = torrent;
        Vec::new()
    }
}
