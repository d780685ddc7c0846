//! Swarms in lock step: engines, links and disks on one heap of events. No tokio, no threads, no real time.
//!
//! The smallest form: hosts that know each other by hand, links with a delay, disks that complete in any order. Everything random follows from
//! one seed, and the trace hash covers every action and every byte that is sent.

mod disk;

use disk::MemoryDisk;
use sameseed_core::action::{Action, Destination, Operation, Segment, TxBatch};
use sameseed_core::config::Config;
use sameseed_core::engine::Engine;
use sameseed_core::event::{AddTorrent, Command, Event, Outcome};
use sameseed_core::fault::LinkFault;
use sameseed_core::id::{ConnId, OpId, TorrentId};
use sameseed_core::metainfo::Metainfo;
use sameseed_core::rng::{Rng, Stream};
use sameseed_core::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// The one torrent of the world.
pub const TORRENT: TorrentId = TorrentId(1);

/// A host's place in the world.
pub type HostIndex = usize;

/// What happens later.
#[derive(Debug)]
enum Later {
    Tick,
    Accepted { conn: ConnId, from: SocketAddr },
    Dialed { conn: ConnId, outcome: Result<SocketAddr, LinkFault> },
    Arrived { conn: ConnId, bytes: Vec<u8> },
    Flushed { conn: ConnId, bytes: u64 },
    Closed { conn: ConnId },
    Done { op: OpId, outcome: Outcome },
}

/// One end of a connection.
#[derive(Debug)]
struct End {
    other: (HostIndex, ConnId),
    inbox: VecDeque<u8>,
    credit: u64,
}

/// A client in the world.
#[derive(Debug)]
pub struct Host {
    engine: Engine,
    disk: MemoryDisk,
    addr: SocketAddr,
    ends: BTreeMap<ConnId, End>,
    accepted: u64,
    dials: u32,
    next_tick: Option<Instant>,
}

impl Host {
    /// Its engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its disk.
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }
}

/// The world.
#[derive(Debug)]
pub struct World {
    now: Instant,
    hosts: Vec<Host>,
    later: BTreeMap<(Instant, u64), (HostIndex, Later)>,
    sequence: u64,
    rng: Rng,
    seed: [u8; 32],
    metainfo: Metainfo,
    trace: sameseed_core::hash::HashState,
    trace_rest: Vec<u8>,
    down: BTreeSet<HostIndex>,
}

impl World {
    /// A world without hosts; all that is random in it follows from `seed`.
    pub fn new(seed: u64, metainfo: Metainfo) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        World {
            now: Instant::ZERO,
            hosts: Vec::new(),
            later: BTreeMap::new(),
            sequence: 0,
            rng: Rng::new(&bytes, Stream::Choker, u32::MAX >> 8),
            seed: bytes,
            metainfo,
            trace: sameseed_core::hash::HashState::default(),
            trace_rest: Vec::new(),
            down: BTreeSet::new(),
        }
    }

    /// Adds a host that knows `peers`; a `seeder` has everything on its disk.
    pub fn add_host(&mut self, seeder: bool, config: Config, peers: &[HostIndex]) -> HostIndex {
        let index = self.hosts.len();
        let addr = address(index);
        let mut seed = self.seed;
        seed[31] = index as u8;
        let mut engine = Engine::new(config, seed, self.now, 1_700_000_000);
        let add = AddTorrent {
            torrent: TORRENT,
            metainfo: self.metainfo.clone(),
            extra_trackers: Vec::new(),
            peers: peers.iter().map(|peer| address(*peer)).collect(),
            check_only: false,
        };
        engine.handle(self.now, Event::Command(Command::Add(Box::new(add))));
        let disk = MemoryDisk::new(self.metainfo.layout.clone(), seeder);
        self.hosts.push(Host { engine, disk, addr, ends: BTreeMap::new(), accepted: 0, dials: 0, next_tick: None });
        self.drain(index);
        index
    }

    /// A host.
    pub fn host(&self, host: HostIndex) -> &Host {
        &self.hosts[host]
    }

    /// A host's disk, to break it.
    pub fn disk_mut(&mut self, host: HostIndex) -> &mut MemoryDisk {
        &mut self.hosts[host].disk
    }

    /// Whether nothing more will happen.
    pub fn is_quiet(&self) -> bool {
        self.later.is_empty()
    }

    /// How often a host has dialled.
    pub fn dials(&self, host: HostIndex) -> u32 {
        self.hosts[host].dials
    }

    /// The simulated time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Takes a host off the network: all its connections break, dials to it are refused.
    pub fn take_down(&mut self, host: HostIndex) {
        self.down.insert(host);
        let conns: Vec<ConnId> = self.hosts[host].ends.keys().copied().collect();
        for conn in conns {
            self.cut(host, conn);
            self.push(Duration::from_millis(1), host, Later::Closed { conn });
        }
    }

    /// Brings a host back onto the network.
    pub fn bring_back(&mut self, host: HostIndex) {
        self.down.remove(&host);
    }

    /// Cuts one of the connections that exist; both ends notice.
    pub fn cut_one(&mut self, host: HostIndex, which: u64) {
        let ends = &self.hosts[host].ends;
        if let Some(conn) = ends.keys().nth(which as usize % ends.len().max(1)).copied() {
            self.cut(host, conn);
            self.push(Duration::from_millis(1), host, Later::Closed { conn });
        }
    }

    /// Lets the next thing happen; `false` when nothing is left.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), (host, later))) = self.later.pop_first() else { return false };
        self.now = at;
        let engine = &mut self.hosts[host].engine;
        match later {
            Later::Tick => {
                if self.hosts[host].next_tick != Some(at) {
                    return true;
                }
                self.hosts[host].next_tick = None;
                self.hosts[host].engine.handle(at, Event::Tick);
            }
            Later::Accepted { conn, from } => engine.handle(at, Event::Accepted { conn, from }),
            Later::Dialed { conn, outcome } => engine.handle(at, Event::Dialed { conn, outcome }),
            Later::Flushed { conn, bytes } => engine.handle(at, Event::Flushed { conn, bytes }),
            Later::Closed { conn } => {
                self.hosts[host].ends.remove(&conn);
                self.hosts[host].engine.handle(at, Event::Closed { conn, fault: LinkFault::Eof });
            }
            Later::Done { op, outcome } => engine.handle(at, Event::Done { op, outcome }),
            Later::Arrived { conn, bytes } => {
                if let Some(end) = self.hosts[host].ends.get_mut(&conn) {
                    end.inbox.extend(bytes);
                }
                self.deliver(host, conn);
            }
        }
        self.drain(host);
        self.hosts[host].engine.check_invariants();
        true
    }

    /// Runs until `done`, at most for `limit` of simulated time; whether it came to be.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.now > end || !self.step() {
                return false;
            }
        }
        true
    }

    /// The hash of everything that was done so far.
    pub fn trace_hash(&self) -> [u8; 20] {
        let sameseed_core::id::Digest::Sha1(digest) = self.trace.finish(&self.trace_rest);
        digest
    }

    /// Hands over what has arrived, in random portions, as far as the engine allows.
    fn deliver(&mut self, host: HostIndex, conn: ConnId) {
        while let Some(end) = self.hosts[host].ends.get_mut(&conn) {
            let most = end.credit.min(end.inbox.len() as u64);
            if most == 0 {
                return;
            }
            let portion = 1 + self.rng.below(most);
            end.credit -= portion;
            let mut bytes: Vec<u8> = end.inbox.drain(..portion as usize).collect();
            self.hosts[host].engine.handle(self.now, Event::Received { conn, bytes: &mut bytes });
            self.drain(host);
        }
    }

    fn drain(&mut self, host: HostIndex) {
        while let Some(action) = self.hosts[host].engine.poll_action() {
            self.record(format!("{:?} {host} {action:?}", self.now).as_bytes());
            self.act(host, action);
        }
        let mut batch = TxBatch::default();
        while let Some(to) = self.hosts[host].engine.poll_transmit(&mut batch) {
            if let Destination::Conn(conn) = to {
                self.send(host, conn, &batch);
            }
        }
        if let Some((at, _)) = self.hosts[host].engine.poll_timeout()
            && self.hosts[host].next_tick.is_none_or(|next| next > at)
        {
            let at = at.max(self.now);
            self.hosts[host].next_tick = Some(at);
            self.push(at.since(self.now), host, Later::Tick);
        }
    }

    fn act(&mut self, host: HostIndex, action: Action) {
        match action {
            Action::Dial { conn, to } => self.dial(host, conn, to),
            Action::Close { conn, .. } => {
                self.cut(host, conn);
                self.hosts[host].ends.remove(&conn);
            }
            Action::AllowRead { conn, bytes } => {
                if let Some(end) = self.hosts[host].ends.get_mut(&conn) {
                    end.credit += bytes;
                }
                let delay = self.delay();
                self.push(delay, host, Later::Arrived { conn, bytes: Vec::new() });
            }
            Action::Submit { op, operation } => {
                let outcome = match operation {
                    Operation::Resolve { .. } => Outcome::Resolve(Err(LinkFault::NameNotFound)),
                    Operation::Fetch(_) => Outcome::Fetch(Err(LinkFault::Unreachable)),
                    operation => self.hosts[host].disk.run(operation),
                };
                let delay = self.delay();
                self.push(delay, host, Later::Done { op, outcome });
            }
            Action::Abort { .. } | Action::Notify(_) => {}
        }
    }

    fn dial(&mut self, host: HostIndex, conn: ConnId, to: SocketAddr) {
        self.hosts[host].dials += 1;
        let delay = self.delay();
        let target = self.hosts.iter().position(|other| other.addr == to).filter(|t| !self.down.contains(t));
        let target = target.filter(|_| !self.down.contains(&host));
        let Some(target) = target else {
            self.push(delay, host, Later::Dialed { conn, outcome: Err(LinkFault::Refused) });
            return;
        };
        let there = ConnId::accepted(self.hosts[target].accepted);
        self.hosts[target].accepted += 1;
        let from = SocketAddr::new(self.hosts[host].addr.ip(), 40_000 + self.hosts[target].accepted as u16);
        let end = |other| End { other, inbox: VecDeque::new(), credit: 0 };
        self.hosts[host].ends.insert(conn, end((target, there)));
        self.hosts[target].ends.insert(there, end((host, conn)));
        self.push(delay, target, Later::Accepted { conn: there, from });
        let local = from;
        self.push(delay, host, Later::Dialed { conn, outcome: Ok(local) });
    }

    fn cut(&mut self, host: HostIndex, conn: ConnId) {
        if let Some(End { other: (other, there), .. }) = self.hosts[host].ends.get(&conn) {
            let (other, conn) = (*other, *there);
            // After everything that is on the way.
            self.push(Duration::from_millis(60), other, Later::Closed { conn });
        }
    }

    fn send(&mut self, host: HostIndex, conn: ConnId, batch: &TxBatch) {
        let mut bytes = Vec::new();
        for segment in &batch.segments {
            match segment {
                Segment::Bytes(range) => bytes.extend_from_slice(&batch.bytes[range.clone()]),
                Segment::File { piece, begin, len, .. } => {
                    bytes.extend(self.hosts[host].disk.read(*piece, *begin, *len));
                }
            }
        }
        self.record(&bytes);
        self.push(Duration::from_millis(1), host, Later::Flushed { conn, bytes: bytes.len() as u64 });
        if let Some(end) = self.hosts[host].ends.get(&conn) {
            let (other, conn) = end.other;
            // One delay for all, so that bytes stay in order.
            self.push(Duration::from_millis(20), other, Later::Arrived { conn, bytes });
        }
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(100 + self.rng.below(20_000))
    }

    fn push(&mut self, after: Duration, host: HostIndex, later: Later) {
        self.sequence += 1;
        self.later.insert((self.now + after, self.sequence), (host, later));
    }

    fn record(&mut self, bytes: &[u8]) {
        self.trace_rest.extend_from_slice(bytes);
        let whole = self.trace_rest.len() & !63;
        self.trace.absorb(&self.trace_rest[..whole]);
        self.trace_rest.drain(..whole);
    }
}

fn address(host: HostIndex) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host as u8 + 1], 6881))
}
