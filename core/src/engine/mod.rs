//! All torrents, the demultiplexing of connections, shared limits and queues: the face of this crate.
//!
//! The engine decides which torrent an event is for; what the event means is the torrent's business.

mod commands;
mod explain;
mod incoming;
mod limits;
mod look;
#[cfg(test)]
pub(crate) mod tests;

use crate::action::{Action, Destination, Notice, Segment, TxBatch};
use crate::block::BlockPool;
use crate::config::Config;
use crate::event::{Event, Outcome};
use crate::id::{ConnId, InfoHash, OpId, PeerId, TorrentId};
use crate::rng::{Rng, Seed, Stream};
use crate::time::Instant;
use crate::timers::Timers;
use crate::torrent::{Shared, Torrent};
use crate::view::{PeerView, TrackerView, View};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Bound;
use incoming::Incoming;

/// What the engine is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerKind {
    /// The once-a-second look at peers: rates, time-outs, keep-alives, choking.
    Torrent(TorrentId),
    /// A tracker is due, or late.
    Announce(TorrentId),
    /// Somebody waits for a share of a limit of rate.
    Limits,
    /// Connections that came in and have not named their torrent.
    Incoming,
    /// The end of a shutdown that takes too long.
    Shutdown,
}

/// Every torrent of one process.
///
/// # The contract
/// After any `&mut` call drain [`Engine::poll_action`], then [`Engine::poll_transmit`], then read [`Engine::poll_timeout`]. Draining late
/// is legal. `now` never goes back.
///
/// ```
/// use sameseed_core::{config::Config, engine::Engine, event::Event, time::Instant};
///
/// let mut engine = Engine::new(Config::default(), [7; 32], Instant::ZERO, 1_700_000_000);
/// engine.handle(Instant::from_secs(1), Event::Tick);
/// assert!(engine.poll_action().is_none(), "an engine without torrents has nothing to do");
/// assert!(engine.poll_timeout().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    seed: Seed,
    shared: Shared,
    /// Boxed: a node of the map holds room for eleven, and every other place stays empty.
    torrents: BTreeMap<TorrentId, Box<Torrent>>,
    by_hash: BTreeMap<InfoHash, TorrentId>,
    /// Torrents that are being removed.
    leaving: BTreeSet<TorrentId>,
    /// Who had the last turn among torrents that wait for buffers.
    fed_last: TorrentId,
    incoming: Incoming,
    timers: Timers<TimerKind>,
    stopping: bool,
    stopped: bool,
}

impl Engine {
    /// An engine without torrents. All its randomness follows from `seed`; `unix_time_s` is the wall clock at `now`.
    pub fn new(config: Config, seed: Seed, now: Instant, unix_time_s: u64) -> Self {
        let mut id = [0; 20];
        Rng::new(&seed, Stream::PeerId, 0).fill(&mut id);
        id[..8].copy_from_slice(&config.peer_id_prefix);
        Engine {
            seed,
            shared: Shared::new(config, PeerId(id), (now, unix_time_s)),
            torrents: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            leaving: BTreeSet::new(),
            fed_last: TorrentId(0),
            incoming: Incoming::default(),
            timers: Timers::default(),
            stopping: false,
            stopped: false,
        }
    }

    /// Our peer id.
    pub fn peer_id(&self) -> PeerId {
        self.shared.peer_id
    }

    /// Takes in what happened. Never fails: bad input from outside is an outcome, not an error.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        if self.stopped {
            // Nothing is begun any more; but buffers come home.
            if let Event::Done { op, outcome } = event {
                self.shared.finish(op);
                take_home(&mut self.shared.pool, outcome);
            }
            return;
        }
        match event {
            Event::Tick => {}
            Event::Command(command) => self.handle_command(now, command),
            Event::Accepted { conn, from } => self.handle_accepted(now, conn, from),
            Event::Dialed { conn, outcome } => {
                self.with_torrent_of(conn, |torrent, shared| torrent.handle_dialed(now, shared, conn, outcome));
            }
            Event::Received { conn, bytes } => self.handle_received(now, conn, bytes),
            Event::Flushed { conn, bytes } => {
                self.with_torrent_of(conn, |torrent, shared| torrent.handle_flushed(now, shared, conn, bytes));
            }
            Event::Closed { conn, fault: _ } => {
                self.incoming.take(&mut self.shared, conn);
                self.with_torrent_of(conn, |torrent, shared| torrent.handle_closed(now, shared, conn));
            }
            Event::ServeFailed { conn, fault } => {
                self.with_torrent_of(conn, |torrent, shared| torrent.handle_serve_failed(now, shared, conn, fault));
            }
            Event::Datagram { from, bytes } => self.handle_datagram(now, from, bytes),
            Event::Done { op, outcome } => self.handle_done(now, op, outcome),
        }
        self.handle_due(now);
        self.start_and_stop(now);
        self.feed_the_starved(now);
        self.finish_removals();
        self.share_limits(now);
        self.finish_shutdown();
    }

    /// The next thing to do. Only pops: everything was decided in [`Engine::handle`].
    pub fn poll_action(&mut self) -> Option<Action> {
        self.shared.actions.pop_front()
    }

    /// Fills `batch` (cleared first) with what goes to one destination. Only pops.
    pub fn poll_transmit(&mut self, batch: &mut TxBatch) -> Option<Destination> {
        batch.clear();
        if let Some((to, bytes)) = self.shared.datagrams.pop_front() {
            batch.segments.push(Segment::Bytes(0..bytes.len()));
            batch.bytes = bytes;
            return Some(Destination::Datagram(to));
        }
        while let Some(conn) = self.shared.tx_ready.pop_front() {
            let torrent = self.shared.conns.get(&conn).and_then(|id| self.torrents.get_mut(id));
            if let Some(peer) = torrent.and_then(|torrent| torrent.peer_mut(conn)) {
                peer.tx_announced = false;
                peer.tx.take(batch);
                return Some(Destination::Conn(conn));
            }
        }
        None
    }

    /// When the engine next wants an [`Event::Tick`], and why: the earliest only.
    pub fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        self.timers.next()
    }

    /// A picture of all torrents.
    pub fn view(&self) -> View {
        let pool = &self.shared.pool;
        View {
            torrents: self.torrents.values().map(|torrent| torrent.view(&self.shared)).collect(),
            connections: self.shared.connections() as u32,
            half_open: self.shared.half_open as u32,
            pool: (pool.capacity() as u32, pool.reserved() as u32, pool.out() as u32),
            operations: self.shared.operations() as u32,
            banned: self.shared.bans.len() as u32,
            external_ips: self.shared.external.believed().to_vec(),
            limits: self.limits(),
            queue: self.shared.queue.view(),
        }
    }

    /// A picture of the peers of one torrent.
    pub fn peers(&self, torrent: TorrentId) -> Vec<PeerView> {
        self.torrents.get(&torrent).map(|torrent| torrent.peer_views()).unwrap_or_default()
    }

    /// A picture of the trackers of one torrent, in the order in which they are asked.
    pub fn trackers(&self, torrent: TorrentId) -> Vec<TrackerView> {
        self.torrents.get(&torrent).map(|torrent| torrent.tracker_views()).unwrap_or_default()
    }

    /// Checks the laws that hold between any two events, by recount. For tests, simulators and fuzzers: it looks at everything.
    ///
    /// # Panics
    /// With the law that is broken.
    pub fn check_invariants(&self) {
        if self.stopped {
            return;
        }
        self.shared.check_invariants();
        self.timers.check_invariants();
        self.incoming.check_invariants(&self.shared);
        let (mut half_open, mut reserved, mut out) = (0, 0, 0);
        for (id, torrent) in &self.torrents {
            torrent.check_invariants(&self.shared);
            let census = torrent.census();
            (half_open, reserved, out) = (half_open + census.0, reserved + census.1, out + census.2);
            assert!(torrent.conns().all(|conn| self.shared.conns.get(&conn) == Some(id)), "a link has one torrent");
        }
        let linked: usize = self.torrents.values().map(|torrent| torrent.conns().count()).sum();
        assert_eq!(linked, self.shared.conns.len(), "links equal a recount");
        assert_eq!(half_open, self.shared.half_open, "dials under way equal a recount");
        assert_eq!(reserved, self.shared.pool.reserved(), "a request has one reservation");
        assert_eq!(out, self.shared.pool.out(), "buffers are conserved");
        let far: usize = self.torrents.values().map(|torrent| torrent.far_blocks()).sum();
        assert_eq!(far, self.shared.pool.far(), "what is on the way from afar equals a recount");
        let promised: u64 = self.torrents.values().map(|torrent| torrent.promised_bytes(&self.shared)).sum();
        assert_eq!(promised, self.shared.lines.down.bucket.promised(), "what all may still receive equals a recount");
        self.check_timers();
        self.check_sending();
    }

    fn check_timers(&self) {
        // One that fires too early finds nothing to do; one that fires too late, or never, is a stall.
        let fires =
            |kind, wanted: Option<Instant>| wanted.is_none_or(|at| self.timers.get(kind).is_some_and(|t| t <= at));
        for (id, torrent) in &self.torrents {
            assert!(fires(TimerKind::Torrent(*id), torrent.next_tick(&self.shared)), "peers are looked at in time");
            assert!(fires(TimerKind::Announce(*id), torrent.next_announce()), "trackers are looked at in time");
        }
        assert!(fires(TimerKind::Limits, self.next_share()), "who waits for a limit has its turn in time");
        let deadline = self.incoming.next_deadline(&self.shared.config);
        assert!(fires(TimerKind::Incoming, deadline), "who says nothing is closed in time");
        assert_eq!(self.timers.get(TimerKind::Shutdown).is_some(), self.stopping, "only a shutdown has a deadline");
        let alive = |kind| match kind {
            TimerKind::Torrent(id) | TimerKind::Announce(id) => self.torrents.contains_key(&id),
            TimerKind::Limits | TimerKind::Incoming | TimerKind::Shutdown => true,
        };
        assert!(self.timers.keys().all(alive), "a timer belongs to something alive");
        let leaves = |id: &TorrentId| self.torrents.get(id).is_some_and(|torrent| torrent.is_leaving());
        assert!(self.leaving.iter().all(leaves), "who is awaited to be gone leaves");
        let is_there = |id| self.torrents.contains_key(id);
        assert!(self.shared.starved.iter().all(is_there), "who waits for a buffer is there");
        assert_eq!(self.shared.queue.len(), self.torrents.len(), "each torrent stands in the queue, and nobody else");
        assert_eq!(self.by_hash.len(), self.torrents.len(), "each torrent is found by its info-hash");
    }

    fn check_sending(&self) {
        let ready = self.shared.tx_ready.iter().copied().filter(|conn| self.shared.conns.contains_key(conn));
        let mut ready: Vec<ConnId> = ready.collect();
        ready.sort_unstable();
        let mut announced: Vec<ConnId> = self.torrents.values().flat_map(|torrent| torrent.sending()).collect();
        announced.sort_unstable();
        assert_eq!(ready, announced, "who has something to send is on the list once");
    }

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some((id, torrent)) = self.torrents.iter_mut().find(|(_, t)| t.expects_datagram(from, bytes)) else {
            return;
        };
        let id = *id;
        torrent.handle_datagram(now, &mut self.shared, from, bytes);
        self.reset_timers(id);
    }

    fn handle_done(&mut self, now: Instant, op: OpId, outcome: Outcome) {
        let owner = self.shared.finish(op);
        let torrent = owner.and_then(|(id, purpose)| Some((id, self.torrents.get_mut(&id)?, purpose)));
        match torrent {
            Some((id, torrent, purpose)) => {
                torrent.handle_done(now, &mut self.shared, purpose, outcome);
                self.reset_timers(id);
            }
            // Of no interest any more; but its buffers come home.
            None => take_home(&mut self.shared.pool, outcome),
        }
    }

    fn handle_due(&mut self, now: Instant) {
        while let Some(kind) = self.timers.pop_due(now) {
            match kind {
                TimerKind::Torrent(id) => {
                    if let Some(torrent) = self.torrents.get_mut(&id) {
                        torrent.handle_tick(now, &mut self.shared);
                    }
                    self.reset_timers(id);
                }
                TimerKind::Announce(id) => {
                    if let Some(torrent) = self.torrents.get_mut(&id) {
                        torrent.handle_announce_timeout(now, &mut self.shared);
                    }
                    self.reset_timers(id);
                }
                TimerKind::Incoming => {
                    self.incoming.close_late(now, &mut self.shared);
                    self.timers.set(TimerKind::Incoming, self.incoming.next_deadline(&self.shared.config));
                }
                // Shared out after each event.
                TimerKind::Limits => {}
                TimerKind::Shutdown => {
                    // Who has just gone is still told of; afterwards nothing is.
                    self.finish_removals();
                    self.declare_stopped();
                }
            }
        }
    }

    /// Torrents that were given a place in the queue begin, those that lost theirs fall silent.
    fn start_and_stop(&mut self, now: Instant) {
        while let Some(id) = self.shared.queue.pop_changed() {
            if let Some(torrent) = self.torrents.get_mut(&id) {
                torrent.settle(now, &mut self.shared);
            }
            self.reset_timers(id);
        }
    }

    /// Torrents that could not ask for want of a buffer ask as soon as one is free. When none is left and none will come home by
    /// itself, blocks that wait for their neighbours go to the disk as they are.
    fn feed_the_starved(&mut self, now: Instant) {
        // Once around, from behind who was fed last, so that none takes them all.
        for _ in 0..self.shared.starved.len() {
            let starved = &self.shared.starved;
            let behind = starved.range((Bound::Excluded(self.fed_last), Bound::Unbounded)).next();
            let Some(id) = behind.or(starved.first()).copied().filter(|_| self.shared.pool.free() > 0) else { break };
            self.fed_last = id;
            if let Some(torrent) = self.torrents.get_mut(&id) {
                torrent.fill_all_requests(now, &mut self.shared);
            }
        }
        let (is_empty, holds_blocks) = (self.shared.pool.free() == 0, self.shared.pool.out() > 0);
        if !self.shared.starved.is_empty() && is_empty && holds_blocks && !self.shared.is_absorbing() {
            self.torrents.values_mut().for_each(|torrent| torrent.store_all(&mut self.shared, true));
        }
    }

    fn finish_shutdown(&mut self) {
        let said = || self.torrents.values().all(|torrent| torrent.is_goodbye_said() && torrent.is_saved());
        let errands = || self.torrents.values().any(|torrent| torrent.is_on_errand());
        let quiet = || said() && !self.shared.is_writing() && self.leaving.is_empty() && !errands();
        if self.stopping && !self.stopped && quiet() {
            self.declare_stopped();
        }
    }

    fn declare_stopped(&mut self) {
        if !self.stopped {
            self.stopped = true;
            self.timers = Timers::default();
            self.shared.notify(Notice::ShutDown);
        }
    }

    fn with_torrent_of(&mut self, conn: ConnId, act: impl FnOnce(&mut Torrent, &mut Shared)) {
        let Some(id) = self.shared.conns.get(&conn).copied() else { return };
        if let Some(torrent) = self.torrents.get_mut(&id) {
            act(torrent, &mut self.shared);
        }
        self.reset_timers(id);
    }

    fn reset_timers(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get(&id).filter(|_| !self.stopped) else { return };
        self.timers.set(TimerKind::Torrent(id), torrent.next_tick(&self.shared));
        self.timers.set(TimerKind::Announce(id), torrent.next_announce());
    }
}

fn take_home(pool: &mut BlockPool, outcome: Outcome) {
    if let Outcome::Absorb { blocks, .. } = outcome {
        blocks.into_iter().for_each(|block| pool.give_back(block));
    }
}
