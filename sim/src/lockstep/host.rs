//! A client in the world: its engine, its disk, its clock, and what is watched about it.

use super::announces::Announces;
use super::books::{Books, judge_rate};
use super::checks::{Check, broken};
use super::disk::Disk;
use super::flow::Flow;
use super::sabotage::Sabotage;
use super::told::Told;
use super::wire::{Breach, Knowledge, Wire};
use sameseed_core::action::{Notice, TxBatch};
use sameseed_core::config::{ActiveLimits, Config, SeedingGoals};
use sameseed_core::engine::Engine;
use sameseed_core::event::{AddTorrent, Command, Event, Outcome};
use sameseed_core::explain::Explanation;
use sameseed_core::id::{ConnId, FileIndex, OpId, PeerId, PieceIndex, TorrentId};
use sameseed_core::layout::Layout;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::selection::Priority;
use sameseed_core::time::{Duration, Instant};
use sameseed_core::view::{PeerView, TorrentState, TrackerView, View};
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
    /// Files that it does not want.
    pub(super) skips: BTreeSet<u32>,
    /// Files that it has wanted at some time, or that were there before it came.
    pub(super) ever_wanted: BTreeSet<u32>,
    /// Its clock is so much ahead of the world's.
    pub(super) skew: Duration,
    /// When its next tick comes, in the world's time.
    pub(super) next_tick: Option<Instant>,
    /// Events were taken in since it was drained.
    pub(super) undrained: bool,
    pub(super) wires: BTreeMap<ConnId, Wire>,
    pub(super) operations: BTreeSet<OpId>,
    /// Those of them that take blocks to the disk, or to stable storage.
    pub(super) writes: BTreeSet<OpId>,
    /// When it was told to stop, by its own clock.
    pub(super) told_to_stop: Option<Instant>,
    /// Network operations that can be given up.
    pub(super) fetches: BTreeSet<OpId>,
    pub(super) disk_busy_until: Instant,
    pub(super) dials: u32,
    pub(super) said_shut_down: bool,
    pub(super) books: Books,
    pub(super) announces: Announces,
    pub(super) flow: Flow,
    pub(super) told: Told,
    /// Connections on which something came or went since it was drained.
    pub(super) touched: BTreeSet<ConnId>,
    /// Events it was told.
    pub(super) events: u64,
    /// Since when nothing goes wrong any more, in the world's time.
    pub(super) calm_since: Instant,
    /// Since when its torrent is to be silent, in the world's time.
    pub(super) paused_since: Option<Instant>,
    /// When somebody last asked how large the swarm is, since it was paused if it is, in the world's time.
    pub(super) scrape_asked: Option<Instant>,
    /// How many torrents it was told may be active, and since when, in the world's time.
    pub(super) active: (ActiveLimits, Instant),
    /// Since when its torrent is silent because it says that it was seeded enough, in the world's time.
    pub(super) enough_since: Option<Instant>,
    /// Its torrent is being removed; whether its files are to go.
    pub(super) removing: Option<bool>,
    /// What is broken on purpose.
    pub(super) sabotage: Option<Sabotage>,
    /// The next start hashes everything.
    pub(super) force_check: bool,
    /// Looks at the files under way, and what had been announced when they began and stood in the files.
    looks: BTreeMap<OpId, BTreeSet<u32>>,
    ticks: (Instant, u32),
}

/// More ticks than this at one moment are a spin.
const MAX_TICKS_AT_ONCE: u32 = 200;
/// Operations beyond those that hold buffers: the check, the announces, the sync.
const OTHER_OPERATIONS: u32 = 40;
/// Addresses that a client remembers: more than it connects to in hours.
const MAX_CANDIDATES: u32 = 3000;
/// How often resume data is saved: after so long, so many bytes, or so long when only totals have changed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);
const CHECKPOINT_BYTES: u64 = 100_000;
const TOTALS_INTERVAL: Duration = Duration::from_secs(20);
/// Requests under way at one peer.
const MAX_WINDOW: u32 = 500;
/// A turn of an upload slot while others wait.
const TURN: Duration = Duration::from_secs(30);
/// What a turn may come late: a slow uplink that finishes other things first.
const LATE_TURN: Duration = Duration::from_secs(120);

impl Host {
    pub(super) fn new(seed: [u8; 32], now: Instant, mut config: Config, disk: Disk, peers: Vec<SocketAddr>) -> Self {
        // Small torrents that are soon complete have their checkpoints too.
        config.keep_resume = true;
        config.checkpoint_interval = CHECKPOINT_INTERVAL;
        config.checkpoint_bytes = CHECKPOINT_BYTES;
        config.totals_interval = TOTALS_INTERVAL;
        let limits = config.limits;
        Host {
            engine: Engine::new(config.clone(), seed, now, 1_700_000_000),
            disk,
            config,
            peers,
            skips: BTreeSet::new(),
            ever_wanted: BTreeSet::new(),
            skew: Duration::ZERO,
            next_tick: None,
            undrained: false,
            wires: BTreeMap::new(),
            operations: BTreeSet::new(),
            writes: BTreeSet::new(),
            told_to_stop: None,
            fetches: BTreeSet::new(),
            disk_busy_until: Instant::ZERO,
            dials: 0,
            said_shut_down: false,
            books: Books::default(),
            announces: Announces::default(),
            flow: Flow::new(now, limits),
            told: Told::default(),
            touched: BTreeSet::new(),
            events: 0,
            calm_since: now,
            paused_since: None,
            scrape_asked: None,
            active: (ActiveLimits::default(), now),
            enough_since: None,
            removing: None,
            sabotage: None,
            force_check: false,
            looks: BTreeMap::new(),
            ticks: (Instant::ZERO, 0),
        }
    }

    /// The program starts again: only the disk is as it was.
    pub(super) fn restart(&mut self, seed: [u8; 32], now: Instant) {
        self.disk.parts.forget_places();
        self.engine = Engine::new(self.config.clone(), seed, now + self.skew, 1_700_000_000);
        self.next_tick = None;
        self.undrained = false;
        self.said_shut_down = false;
        self.wires.clear();
        self.operations.clear();
        self.looks.clear();
        self.writes.clear();
        self.told_to_stop = None;
        self.fetches.clear();
        self.books = Books::default();
        self.announces = Announces::default();
        (self.told, self.scrape_asked) = (Told::default(), None);
        self.flow = Flow::new(now + self.skew, self.config.limits);
        (self.paused_since, self.removing, self.disk.damage.doubted) = (None, None, None);
        (self.active, self.enough_since) = ((ActiveLimits::default(), now), None);
        self.touched.clear();
    }

    /// Since when nothing of its torrent may be on the network, paused or not: no place can be its own, or it has said that it was seeded enough.
    pub(super) fn inactive_since(&self, layout: &Layout) -> Option<Instant> {
        let (ActiveLimits { downloads, seeds }, since) = self.active;
        // Who lacks something downloads; but what is broken unnoticed is seeded as if it were there.
        let lacks = || {
            let mut wanted = (0..layout.piece_count()).map(PieceIndex).filter(|piece| self.wants(*piece, layout));
            !self.disk.damage.ever && wanted.any(|piece| !self.disk.is_piece_right(piece))
        };
        let has_no_place = downloads == Some(0) && (seeds == Some(0) || lacks());
        has_no_place.then_some(since).into_iter().chain(self.enough_since).min()
    }

    /// It has limits on active torrents, or goals: what it is told may end in silence at any time.
    pub(super) fn may_rest(&self) -> bool {
        self.active.0 != ActiveLimits::default() || self.config.goals != SeedingGoals::default()
    }

    pub(super) fn add(&mut self, now: Instant, metainfo: &Metainfo) {
        let add = AddTorrent {
            peers: self.peers.clone(),
            resume: self.disk.resume.clone(),
            force_check: std::mem::take(&mut self.force_check),
            priorities: self.skips.iter().map(|file| (FileIndex(*file), Priority::Skip)).collect(),
            ..AddTorrent::new(TORRENT, metainfo.clone())
        };
        // Its resume data may be another than at the crash.
        self.disk.forget_what_shows();
        if add.force_check {
            self.disk.damage.unnoticed.clear();
        }
        self.engine.handle(now + self.skew, Event::Command(Command::Add(Box::new(add))));
    }

    /// A look at its files begins.
    pub(super) fn note_look(&mut self, op: OpId) {
        let announced = self.wires.values().flat_map(Wire::announced);
        let in_files = |piece: &u32| self.disk.parts.of(PieceIndex(*piece)).is_empty();
        self.looks.insert(op, announced.filter(in_files).collect());
    }

    /// It is told how the files look: a piece that is not right, and of which a file ends too early, it must take back.
    pub(super) fn note_looked(&mut self, op: OpId, outcome: &Outcome, layout: &Layout) {
        let (Some(announced), Outcome::Stat(Ok(files))) = (self.looks.remove(&op), outcome) else { return };
        for piece in announced {
            let piece = PieceIndex(piece);
            let len = |file: FileIndex| files.get(file.0 as usize).copied().flatten().map_or(0, |stat| stat.len);
            let mut spans = layout.spans(piece, 0, layout.len_of(piece)).filter(|span| !span.pad);
            if spans.any(|span| len(span.file) < span.offset + span.len) && !self.disk.is_piece_right(piece) {
                self.wires.values_mut().for_each(|wire| wire.found_gone(piece.0));
                self.touched.extend(self.wires.keys());
            }
        }
    }

    /// Whoever is connected is to hear of pieces that have come.
    pub(super) fn note_pieces(&mut self, now: Instant, notice: &Notice) {
        match notice {
            Notice::PieceVerified { piece, .. } => self.wires.values_mut().for_each(|wire| wire.verified(now, piece.0)),
            Notice::PiecesLost { pieces, .. } => {
                let wires = self.wires.values_mut();
                wires.for_each(|wire| pieces.iter().for_each(|piece| wire.settle_unsaid(piece.0)));
            }
            _ => {}
        }
    }

    /// Whether everybody has heard of all pieces in time.
    ///
    /// # Errors
    /// When somebody has not.
    pub(super) fn judge_unsaid(&self, now: Instant) -> Result<(), Breach> {
        let limited = self.flow.is_up_limited();
        self.wires.iter().try_for_each(|(conn, wire)| {
            wire.judge_unsaid(now, limited).map_err(|(check, detail)| (check, format!("{conn}: {detail}")))
        })
    }

    /// It was told to check everything again.
    pub(super) fn note_recheck(&mut self) {
        // Of a check whose end is not yet told it cannot be said what it has found out.
        let damage = &mut self.disk.damage;
        if !self.undrained && damage.doubted.is_none() {
            damage.doubted = Some(damage.unnoticed.clone());
        }
    }

    /// A check has ended.
    pub(super) fn note_checked(&mut self) {
        let doubted = self.disk.damage.doubted.take().unwrap_or_default();
        self.disk.damage.unnoticed.retain(|piece| !doubted.contains(piece));
    }

    /// It wants all files but these.
    pub(super) fn set_skips(&mut self, skips: BTreeSet<u32>, layout: &Layout) {
        let files = layout.files().len() as u32;
        self.ever_wanted.extend((0..files).filter(|file| !skips.contains(file)));
        self.skips = skips;
    }

    /// Whether it wants a piece.
    pub(super) fn wants(&self, piece: PieceIndex, layout: &Layout) -> bool {
        self.skips.is_empty()
            || layout.spans(piece, 0, layout.len_of(piece)).any(|span| !self.skips.contains(&span.file.0))
    }

    /// Pieces that touch no file that it wants.
    pub(super) fn unwanted(&self, layout: &Layout) -> BTreeSet<u32> {
        (0..layout.piece_count()).filter(|piece| !self.wants(PieceIndex(*piece), layout)).collect()
    }

    /// Its engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What its engine shows.
    pub fn view(&self) -> View {
        let mut view = self.engine.view();
        if let Some(sabotage) = self.sabotage {
            sabotage.view(&mut view);
        }
        view
    }

    /// What its engine shows of its peers.
    pub fn peers(&self) -> Vec<PeerView> {
        let mut peers = self.engine.peers(TORRENT);
        if let Some(sabotage) = self.sabotage {
            sabotage.peers(&mut peers);
        }
        peers
    }

    /// What its engine shows of its trackers.
    pub fn trackers(&self) -> Vec<TrackerView> {
        let mut trackers = self.engine.trackers(TORRENT);
        if let Some(sabotage) = self.sabotage {
            sabotage.trackers(&mut trackers);
        }
        trackers
    }

    /// Why its torrent is not faster, at this time of the world; `None` when it has none.
    pub fn explain(&self, now: Instant) -> Option<Explanation> {
        let mut explanation = self.engine.explain_torrent(now + self.skew, TORRENT)?;
        if let Some(sabotage) = self.sabotage {
            sabotage.explanation(&mut explanation);
        }
        Some(explanation)
    }

    /// Why a connection is not faster.
    pub fn explain_peer(&self, now: Instant, conn: ConnId) -> Option<Explanation> {
        self.engine.explain_peer(now + self.skew, conn)
    }

    /// Whether it has everything, safe on the disk.
    pub fn is_seeding(&self) -> bool {
        let torrents = self.engine.view().torrents;
        !torrents.is_empty() && torrents.iter().all(|torrent| torrent.state == TorrentState::Seeding)
    }

    /// Bytes that came in and went out over its sockets in this life.
    pub fn bytes(&self) -> [u64; 2] {
        self.flow.totals()
    }

    /// Whether no block buffer is reserved or out.
    pub fn is_home(&self) -> bool {
        let (_, reserved, out) = self.view().pool;
        (reserved, out) == (0, 0)
    }

    /// A request of an honest peer that has not been answered.
    pub(super) fn owes(&self) -> Option<String> {
        self.wires.iter().find_map(|(conn, wire)| Some(format!("{conn}: {:?}", wire.owes()?)))
    }

    /// Whether it has said that everything has stopped.
    pub fn has_said_goodbye(&self) -> bool {
        self.said_shut_down
    }

    /// Whether it may say now that it has stopped.
    /// The first piece of the files that it wants, and of no others, that is not right on stable storage.
    pub(super) fn first_unsafe(&self, layout: &Layout) -> Option<PieceIndex> {
        let is_all_wanted = |piece: &PieceIndex| {
            layout.spans(*piece, 0, layout.len_of(*piece)).all(|span| !self.skips.contains(&span.file.0))
        };
        let mut wanted = (0..layout.piece_count()).map(PieceIndex).filter(is_all_wanted);
        wanted.find(|piece| !self.disk.may_be_saved(*piece))
    }

    /// What its torrent lacks of the whole.
    pub(super) fn lacks_bytes(&self, layout: &Layout) -> Option<u64> {
        let view = self.engine.view();
        view.torrents.first().map(|torrent| layout.total_len() - torrent.have_bytes)
    }

    pub(super) fn judge_goodbye(&self, now: Instant) -> Result<(), Breach> {
        let in_time = |told: Instant| (now + self.skew).since(told) < self.config.shutdown_timeout;
        if !self.told_to_stop.is_none_or(in_time) {
            return Ok(());
        }
        match self.writes.first() {
            Some(op) => Err((Check::WritesFirst, format!("{op:?} is under way"))),
            None => self.announces.judge_goodbye(),
        }
    }

    pub(super) fn note_tick(&mut self, index: usize, now: Instant) {
        let count = if self.ticks.0 == now { self.ticks.1 + 1 } else { 0 };
        self.ticks = (now, count);
        if count > MAX_TICKS_AT_ONCE {
            broken(Check::Spin, index, &format!("{count} ticks at {now:?}: {:?}", self.engine.poll_timeout()));
        }
    }

    /// The laws of one host that cost a look at everything.
    pub(super) fn check(&self, index: usize, now: Instant, layout: &Layout) {
        let view = self.view();
        let peers = self.peers();
        let results = [
            self.check_limits(&view, &peers),
            self.check_counts(&view, layout),
            self.check_peers(&peers),
            self.check_hunger(now),
            self.check_explained(now),
            self.told.judge(&self.trackers()),
            self.check_files(),
        ];
        if let Some((check, detail)) = results.into_iter().find_map(Result::err) {
            broken(check, index, &detail);
        }
    }

    fn check_limits(&self, view: &View, peers: &[PeerView]) -> Result<(), Breach> {
        let config = &self.config;
        let (capacity, reserved, out) = view.pool;
        let bound = capacity + config.check_parallelism as u32 + OTHER_OPERATIONS;
        if view.connections as usize > config.max_connections + 1
            || view.half_open as usize > config.max_half_open
            || reserved + out > capacity
            || view.operations > bound
            || view.torrents.iter().any(|torrent| torrent.candidates > MAX_CANDIDATES)
        {
            return Err((Check::Limits, format!("{view:?}")));
        }
        match peers.iter().find(|peer| peer.requested > MAX_WINDOW || peer.window > MAX_WINDOW) {
            Some(peer) => Err((Check::Limits, format!("{peer:?}"))),
            None => Ok(()),
        }
    }

    fn check_counts(&self, view: &View, layout: &Layout) -> Result<(), Breach> {
        if !self.undrained && view.operations as usize != self.operations.len() {
            let detail = format!("{} known to the engine, {} to the world", view.operations, self.operations.len());
            return Err((Check::DoneOnce, detail));
        }
        for torrent in &view.torrents {
            let right = (0..layout.piece_count()).map(PieceIndex).filter(|piece| self.disk.may_be_claimed(*piece));
            let right = right.count() as u32;
            if torrent.have > right || torrent.have_bytes > u64::from(right) * u64::from(layout.piece_len()) {
                return Err((Check::HaveCount, format!("{} claimed, {right} on the disk", torrent.have)));
            }
            if !self.undrained {
                self.books.check(torrent)?;
            }
        }
        Ok(())
    }

    fn check_files(&self) -> Result<(), Breach> {
        let lens = self.disk.now.lens.iter().zip(0..);
        let made =
            lens.filter(|(len, _)| len.is_some()).map(|(_, file)| file).find(|file| !self.ever_wanted.contains(file));
        made.map_or(Ok(()), |file| Err((Check::LeftAlone, format!("file {file}"))))
    }

    fn check_peers(&self, peers: &[PeerView]) -> Result<(), Breach> {
        let mut seen: BTreeSet<PeerId> = [self.engine.peer_id()].into();
        for peer in peers {
            if !seen.insert(peer.peer_id) {
                return Err((Check::OneLink, format!("{} at {}", peer.conn, peer.addr)));
            }
            if let Some(wire) = self.wires.get(&peer.conn) {
                judge_rate(wire, peer)?;
                if !self.undrained {
                    self.books.check_peer(peer)?;
                }
            }
        }
        Ok(())
    }

    fn check_hunger(&self, now: Instant) -> Result<(), Breach> {
        if self.config.upload_slots == 0 {
            // It is to give nothing.
            return Ok(());
        }
        let patience = TURN * self.wires.len() as u32 + LATE_TURN;
        for (conn, wire) in &self.wires {
            let waits = wire.hungry_since().map(|since| now.since(since.max(self.calm_since)));
            if waits.is_some_and(|waits| waits > patience) {
                return Err((Check::Starving, format!("{conn} waits for {waits:?}")));
            }
        }
        Ok(())
    }

    fn check_explained(&self, now: Instant) -> Result<(), Breach> {
        let Some(explanation) = self.explain(now) else { return Ok(()) };
        if explanation.top().is_none() || explanation.down.is_empty() {
            let conns = self.engine.connections(TORRENT).into_iter();
            let peers: Vec<_> = conns.map(|(conn, _)| (conn, self.explain_peer(now, conn))).collect();
            return Err((Check::Explained, format!("{:?}; {peers:?}", self.view())));
        }
        for (conn, _) in self.engine.connections(TORRENT) {
            let explanation = self.explain_peer(now, conn).filter(|explanation| !explanation.down.is_empty());
            if explanation.is_none() {
                return Err((Check::Explained, format!("{conn} of {:?}", self.view())));
            }
        }
        Ok(())
    }

    /// A tick before its time, given to a copy of the engine, must change nothing.
    pub(super) fn check_idle(&self, index: usize, now: Instant) {
        let now = now + self.skew;
        if self.undrained || self.engine.poll_timeout().is_none_or(|(at, _)| at <= now) {
            return;
        }
        let mut twin = self.engine.clone();
        twin.handle(now + self.sabotage.map(Sabotage::early).unwrap_or_default(), Event::Tick);
        let mut batch = TxBatch::default();
        let action = twin.poll_action().map(|action| format!("{action:?}"));
        let said = twin.poll_transmit(&mut batch).map(|to| format!("{} bytes to {to:?}", batch.len_bytes()));
        let moved = (twin.view() != self.engine.view()).then(|| String::from("the view changes"));
        let timer = (twin.poll_timeout() != self.engine.poll_timeout()).then(|| String::from("the timer moves"));
        if let Some(detail) = action.or(said).or(moved).or(timer) {
            broken(Check::IdleTick, index, &detail);
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
