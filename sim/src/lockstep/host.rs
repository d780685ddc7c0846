//! A client in the world: its engine, its disk, its clock, and what is watched about it.

use super::checks::{Check, broken};
use super::disk::Disk;
use super::wire::{Knowledge, Wire};
use sameseed_core::config::Config;
use sameseed_core::engine::Engine;
use sameseed_core::event::{AddTorrent, Command, Event};
use sameseed_core::id::{ConnId, OpId, PeerId, PieceIndex, TorrentId};
use sameseed_core::layout::Layout;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::time::{Duration, Instant};
use sameseed_core::view::TorrentState;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// The one torrent of the world.
pub const TORRENT: TorrentId = TorrentId(1);

/// A client.
#[derive(Debug)]
pub struct Host {
    pub(super) engine: Engine,
    pub(super) disk: Disk,
    pub(super) config: Config,
    pub(super) peers: Vec<SocketAddr>,
    /// Its clock is so much ahead of the world's.
    pub(super) skew: Duration,
    /// When its next tick comes, in the world's time.
    pub(super) next_tick: Option<Instant>,
    /// Events were taken in since it was drained.
    pub(super) undrained: bool,
    pub(super) wires: BTreeMap<ConnId, Wire>,
    pub(super) operations: BTreeSet<OpId>,
    /// Network operations that can be given up.
    pub(super) fetches: BTreeSet<OpId>,
    pub(super) disk_busy_until: Instant,
    pub(super) dials: u32,
    pub(super) said_shut_down: bool,
    ticks: (Instant, u32),
}

/// More ticks than this at one moment are a spin.
const MAX_TICKS_AT_ONCE: u32 = 200;
/// Operations beyond those that hold buffers: the check, the announces, the sync.
const OTHER_OPERATIONS: u32 = 40;

impl Host {
    pub(super) fn new(seed: [u8; 32], now: Instant, config: Config, disk: Disk, peers: Vec<SocketAddr>) -> Self {
        Host {
            engine: Engine::new(config.clone(), seed, now, 1_700_000_000),
            disk,
            config,
            peers,
            skew: Duration::ZERO,
            next_tick: None,
            undrained: false,
            wires: BTreeMap::new(),
            operations: BTreeSet::new(),
            fetches: BTreeSet::new(),
            disk_busy_until: Instant::ZERO,
            dials: 0,
            said_shut_down: false,
            ticks: (Instant::ZERO, 0),
        }
    }

    /// The program starts again: only the disk is as it was.
    pub(super) fn restart(&mut self, seed: [u8; 32], now: Instant) {
        self.engine = Engine::new(self.config.clone(), seed, now + self.skew, 1_700_000_000);
        self.next_tick = None;
        self.undrained = false;
        self.said_shut_down = false;
        self.wires.clear();
        self.operations.clear();
        self.fetches.clear();
    }

    pub(super) fn add(&mut self, now: Instant, metainfo: &Metainfo) {
        let add = AddTorrent {
            torrent: TORRENT,
            metainfo: metainfo.clone(),
            extra_trackers: Vec::new(),
            peers: self.peers.clone(),
            check_only: false,
        };
        self.engine.handle(now + self.skew, Event::Command(Command::Add(Box::new(add))));
    }

    /// Its engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Whether it has everything, safe on the disk.
    pub fn is_seeding(&self) -> bool {
        self.engine.view().torrents.iter().all(|torrent| torrent.state == TorrentState::Seeding)
    }

    /// Whether no block buffer is reserved or out.
    pub fn is_home(&self) -> bool {
        let (_, reserved, out) = self.engine.view().pool;
        (reserved, out) == (0, 0)
    }

    /// Whether it has said that everything has stopped.
    pub fn has_said_goodbye(&self) -> bool {
        self.said_shut_down
    }

    pub(super) fn note_tick(&mut self, index: usize, now: Instant) {
        let count = if self.ticks.0 == now { self.ticks.1 + 1 } else { 0 };
        self.ticks = (now, count);
        if count > MAX_TICKS_AT_ONCE {
            broken(Check::Spin, index, &format!("{count} ticks at {now:?}: {:?}", self.engine.poll_timeout()));
        }
    }

    /// The laws of one host that cost a look at everything.
    pub(super) fn check(&self, index: usize, layout: &Layout) {
        let view = self.engine.view();
        let config = &self.config;
        let (capacity, reserved, out) = view.pool;
        let bound = capacity + config.check_parallelism as u32 + OTHER_OPERATIONS;
        if view.connections as usize > config.max_connections + 1
            || view.half_open as usize > config.max_half_open
            || reserved + out > capacity
            || view.operations > bound
        {
            broken(Check::Limits, index, &format!("{view:?}"));
        }
        if !self.undrained && view.operations as usize != self.operations.len() {
            let detail = format!("{} known to the engine, {} to the world", view.operations, self.operations.len());
            broken(Check::DoneOnce, index, &detail);
        }
        for torrent in &view.torrents {
            let right = (0..layout.piece_count()).map(PieceIndex).filter(|piece| self.disk.may_be_claimed(*piece));
            let right = right.count() as u32;
            if torrent.have > right || torrent.have_bytes > u64::from(right) * u64::from(layout.piece_len()) {
                broken(Check::HaveCount, index, &format!("{} claimed, {right} on the disk", torrent.have));
            }
        }
        let mut seen: BTreeSet<PeerId> = [self.engine.peer_id()].into();
        for peer in self.engine.peers(TORRENT) {
            if !seen.insert(peer.peer_id) {
                broken(Check::OneLink, index, &format!("{} at {}", peer.conn, peer.addr));
            }
        }
    }

    pub(super) fn knowledge<'a>(disk: &'a Disk, layout: &'a Layout) -> impl Knowledge + 'a {
        DiskKnowledge { disk, layout }
    }
}

struct DiskKnowledge<'a> {
    disk: &'a Disk,
    layout: &'a Layout,
}

impl Knowledge for DiskKnowledge<'_> {
    fn holds(&self, piece: u32) -> bool {
        self.disk.may_be_claimed(PieceIndex(piece))
    }

    fn piece_len(&self, piece: u32) -> u32 {
        self.layout.len_of(PieceIndex(piece))
    }

    fn pieces(&self) -> u32 {
        self.layout.piece_count()
    }
}
