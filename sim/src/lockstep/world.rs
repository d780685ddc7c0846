//! The world: nodes, links, trackers and one heap of what happens later. One step, one event.
//!
//! Everything random follows from the seed; the trace covers every action and every byte that is sent.

use super::agenda::Agenda;
use super::bytes::Bytes;
use super::checks::{Check, SharedScene, broken};
use super::content::Content;
use super::disk::{Crash, Disk};
use super::faults::{Fault, Faults};
use super::host::{Host, TORRENT};
use super::link::{Access, End, LinkId, Partition, Uplink};
use super::node::{Kind, Node, NodeIndex, address};
use super::nth::Nth;
use super::trace::Trace;
use super::tracker::Tracker;
use crate::random;
use sameseed_core::action::Operation;
use sameseed_core::config::{Config, RateLimits};
use sameseed_core::event::{Command, Event, Outcome};
use sameseed_core::fault::{DiskFault, LinkFault};
use sameseed_core::id::{ConnId, OpId, TorrentId};
use sameseed_core::metainfo::Metainfo;
use sameseed_core::rng::{Rng, Seed};
use sameseed_core::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, SocketAddrV4};
use std::rc::Rc;

/// More steps than this are no progress: most scenarios take some twenty thousand.
const MAX_STEPS: u64 = 10_000_000;
/// Whether a run is done is asked every so many steps: it costs a look at every client.
const DONE_CADENCE: u64 = 32;

/// What happens later.
#[derive(Debug)]
pub(super) enum Later {
    Tick {
        node: NodeIndex,
        life: u32,
    },
    Drain {
        node: NodeIndex,
        life: u32,
    },
    /// A dial reaches its target.
    Knock {
        node: NodeIndex,
        life: u32,
        conn: ConnId,
        to: SocketAddr,
    },
    Dialed {
        node: NodeIndex,
        life: u32,
        conn: ConnId,
        outcome: Result<SocketAddr, LinkFault>,
    },
    Uplink {
        node: NodeIndex,
    },
    Flushed {
        node: NodeIndex,
        life: u32,
        conn: ConnId,
        bytes: u64,
    },
    Arrived {
        link: LinkId,
        side: usize,
        bytes: Bytes,
    },
    Closed {
        link: LinkId,
        side: usize,
        fault: LinkFault,
    },
    ServeFailed {
        node: NodeIndex,
        conn: ConnId,
        fault: DiskFault,
    },
    Disk {
        node: NodeIndex,
        life: u32,
        op: OpId,
        operation: Operation,
    },
    Done {
        node: NodeIndex,
        life: u32,
        op: OpId,
        outcome: Outcome,
    },
    Datagram {
        node: NodeIndex,
        life: u32,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    /// A second has passed for a hostile peer.
    Second {
        node: NodeIndex,
    },
    Restart {
        node: NodeIndex,
    },
    /// A program is told to stop.
    Leave {
        node: NodeIndex,
        life: u32,
    },
    /// A torrent that was removed is added again.
    Readd {
        node: NodeIndex,
        life: u32,
    },
    /// A program that was told to stop ends.
    Exit {
        node: NodeIndex,
        life: u32,
    },
    /// A client is given limits for its torrent.
    Limit {
        node: NodeIndex,
        limits: RateLimits,
    },
    /// Something may go wrong.
    Chaos,
}

/// The world.
#[derive(Debug)]
pub struct World {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) links: BTreeMap<LinkId, [End; 2]>,
    pub(super) next_link: LinkId,
    agenda: Agenda,
    pub(super) rng: Rng,
    seed: u64,
    pub(super) metainfo: Metainfo,
    pub(super) content: Rc<Content>,
    pub(super) trackers: Vec<Tracker>,
    /// What goes wrong.
    pub faults: Faults,
    pub(super) partition: Option<Partition>,
    pub(super) trace: Trace,
    pub(super) scene: SharedScene,
    /// The recounting laws of an engine are checked after every so many of its events.
    pub cadence: u64,
    pub(super) steps: u64,
    pub(super) nth: Nth,
}

impl World {
    /// A world without hosts; all that is random in it follows from `seed`.
    pub fn new(seed: u64, metainfo: Metainfo) -> Self {
        World {
            now: Instant::ZERO,
            nodes: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            agenda: Agenda::default(),
            rng: random::rng("world", &[seed]),
            seed,
            content: Rc::new(Content::new(&metainfo)),
            metainfo,
            trackers: Vec::new(),
            faults: Faults::default(),
            partition: None,
            trace: Trace::default(),
            scene: SharedScene::default(),
            cadence: 1,
            steps: 0,
            nth: Nth::default(),
        }
    }

    /// Writes what happens into `scene`.
    pub fn watch(&mut self, scene: SharedScene) {
        self.scene = scene;
    }

    /// Adds a tracker; hosts added later know it.
    pub fn add_tracker(&mut self, udp: bool, fault: Option<Fault>) {
        let n = self.trackers.len();
        let tracker = Tracker::new(n, udp, fault);
        self.metainfo.trackers.push(vec![tracker.url(n)]);
        self.trackers.push(tracker);
    }

    /// Adds a host that knows `peers`; a `seeder` has everything on its disk.
    pub fn add_host(&mut self, seeder: bool, config: Config, peers: &[NodeIndex]) -> NodeIndex {
        self.add_host_at(Access::default(), seeder, config, peers)
    }

    /// Adds a host with a network of its own kind.
    pub fn add_host_at(&mut self, access: Access, seeder: bool, config: Config, peers: &[NodeIndex]) -> NodeIndex {
        self.add_selective_host(access, seeder, config, peers, &[])
    }

    /// Adds a host that does not want these files.
    pub fn add_selective_host(
        &mut self,
        access: Access,
        seeder: bool,
        config: Config,
        peers: &[NodeIndex],
        skips: &[u32],
    ) -> NodeIndex {
        let index = self.nodes.len();
        let disk = Disk::new(self.content.clone(), seeder);
        let peers = peers.iter().map(|peer| SocketAddr::V4(address(*peer))).collect();
        let mut host = Host::new(self.seed_of(index, 0), self.now, config, disk, peers);
        if seeder {
            host.set_skips(BTreeSet::new(), self.content.layout());
        }
        let files = self.content.layout().files().len() as u32;
        host.set_skips(skips.iter().copied().filter(|file| *file < files).collect(), self.content.layout());
        self.add_node(access, Kind::Client(Box::new(host)));
        self.start(index);
        index
    }

    /// Adds a peer with this vice.
    pub fn add_hostile(&mut self, vice: Fault) -> NodeIndex {
        let index = self.nodes.len();
        self.add_node(Access::default(), Kind::Hostile { vice, talks: BTreeMap::new() });
        self.push(Duration::from_millis(500), Later::Second { node: index });
        index
    }

    fn add_node(&mut self, access: Access, kind: Kind) {
        self.nodes.push(Node {
            addr: address(self.nodes.len()),
            access,
            kind,
            conns: BTreeMap::new(),
            dialing: BTreeMap::new(),
            uplink: Uplink::default(),
            alive: true,
            life: 0,
            accepted: 0,
            dialed: 0,
            former: Vec::new(),
            squeezed: None,
            leaving: false,
        });
    }

    fn seed_of(&self, index: NodeIndex, life: u32) -> Seed {
        random::seed("client", &[self.seed, index as u64, u64::from(life)])
    }

    pub(super) fn start(&mut self, index: NodeIndex) {
        let (now, metainfo) = (self.now, self.metainfo.clone());
        if let Kind::Client(host) = &mut self.nodes[index].kind {
            host.add(now, &metainfo);
        }
        self.drain(index);
    }

    /// A client.
    ///
    /// # Panics
    /// When the node is hostile.
    pub fn host(&self, index: NodeIndex) -> &Host {
        match &self.nodes[index].kind {
            Kind::Client(host) => host,
            Kind::Hostile { .. } => panic!("node {index} is no client"),
        }
    }

    pub(super) fn host_mut(&mut self, index: NodeIndex) -> &mut Host {
        match &mut self.nodes[index].kind {
            Kind::Client(host) => host,
            Kind::Hostile { .. } => panic!("node {index} is no client"),
        }
    }

    /// A host's disk, to break it.
    pub fn disk_mut(&mut self, index: NodeIndex) -> &mut Disk {
        &mut self.host_mut(index).disk
    }

    /// Every client.
    pub fn clients(&self) -> Vec<NodeIndex> {
        (0..self.nodes.len()).filter(|node| matches!(self.nodes[*node].kind, Kind::Client(_))).collect()
    }

    /// Whether nothing more will happen.
    pub fn is_quiet(&self) -> bool {
        self.agenda.next_at().is_none()
    }

    /// How often a host has dialled.
    pub fn dials(&self, index: NodeIndex) -> u32 {
        self.host(index).dials
    }

    /// The simulated time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The hash of everything that was done so far.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Takes a node off the network: all its connections break, dials to it are refused.
    pub fn take_down(&mut self, index: NodeIndex) {
        self.nodes[index].alive = false;
        let links: Vec<LinkId> = self.nodes[index].conns.values().map(|(link, _)| *link).collect();
        links.into_iter().for_each(|link| self.cut(link));
    }

    /// Brings a node back onto the network.
    pub fn bring_back(&mut self, index: NodeIndex) {
        self.nodes[index].alive = true;
    }

    /// Cuts one of the connections that exist; both ends notice.
    pub fn cut_one(&mut self, index: NodeIndex, which: u64) {
        let conns = &self.nodes[index].conns;
        if let Some((link, _)) = conns.values().nth(which as usize % conns.len().max(1)).copied() {
            self.cut(link);
        }
    }

    /// Gives an application's command.
    pub fn command(&mut self, index: NodeIndex, command: Command) {
        self.tell(index, Event::Command(command));
    }

    /// Gives limits: to the torrent, or to all together.
    pub fn limit(&mut self, index: NodeIndex, torrent: Option<TorrentId>, limits: RateLimits) {
        self.command(index, Command::SetLimits { torrent, limits });
    }

    /// The program of a host dies; with `silence` the others are not told. It starts again after `after`.
    pub fn crash(&mut self, index: NodeIndex, crash: Crash, silence: bool, after: Duration) {
        self.note(index, || format!("CRASH {crash:?}, silence {silence}, back in {after:?}"));
        let conns: Vec<ConnId> = self.nodes[index].conns.keys().copied().collect();
        for conn in conns {
            if silence {
                if let Some((link, side)) = self.nodes[index].conns.remove(&conn)
                    && let Some(ends) = self.links.get_mut(&link)
                {
                    ends[side].open = false;
                    self.tidy(link);
                }
            } else {
                self.close_end(index, conn);
            }
        }
        self.spoil_resume(index);
        let node = &mut self.nodes[index];
        (node.alive, node.life, node.leaving) = (false, node.life + 1, false);
        node.dialing.clear();
        node.uplink.ready.clear();
        if let Kind::Client(host) = &mut node.kind {
            host.disk.crash(crash, &mut self.rng);
        }
        self.push(after, Later::Restart { node: index });
    }

    pub(super) fn restart(&mut self, index: NodeIndex) {
        if self.nodes[index].alive {
            return;
        }
        self.nodes[index].alive = true;
        let (seed, now) = (self.seed_of(index, self.nodes[index].life), self.now);
        if let Kind::Client(host) = &mut self.nodes[index].kind {
            host.restart(seed, now);
            self.note(index, || String::from("RESTART"));
            self.start(index);
        }
    }

    /// Runs until `done`, at most for `limit` of simulated time; whether it came to be.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + limit;
        // Asking costs more than a step.
        while !self.steps.is_multiple_of(DONE_CADENCE) || !done(self) {
            if self.agenda.next_at().is_none_or(|at| at > end) {
                self.now = end;
                return done(self);
            }
            self.step();
        }
        true
    }

    /// Lets the next thing happen; `false` when nothing is left.
    pub fn step(&mut self) -> bool {
        let Some((at, later)) = self.agenda.pop() else { return false };
        self.now = at;
        self.steps += 1;
        if self.steps > MAX_STEPS {
            let host = self.scene.borrow().host;
            broken(Check::Spin, host, &format!("{MAX_STEPS} steps, and no end"));
        }
        {
            let mut scene = self.scene.borrow_mut();
            (scene.now, scene.steps) = (at, self.steps);
        }
        match later {
            Later::Tick { node, life } => self.tick(node, life),
            Later::Drain { node, life } => {
                if self.nodes[node].life == life {
                    self.drain(node);
                }
            }
            Later::Knock { node, life, conn, to } => self.knock(node, life, conn, to),
            Later::Dialed { node, life, conn, outcome } => self.dialed(node, life, conn, outcome),
            Later::Uplink { node } => self.uplink(node),
            // A client that has started again gives the same numbers to other connections.
            Later::Flushed { node, life, conn, bytes } => {
                let Node { kind, conns, .. } = &self.nodes[node];
                if matches!(kind, Kind::Client(_)) && self.is_life(node, life) && conns.contains_key(&conn) {
                    self.tell(node, Event::Flushed { conn, bytes });
                }
            }
            Later::Arrived { link, side, bytes } => {
                if let Some(ends) = self.links.get_mut(&link) {
                    ends[side].inbox.append(bytes);
                    self.deliver(link, side);
                }
            }
            Later::Closed { link, side, fault } => self.closed(link, side, fault),
            Later::ServeFailed { node, conn, fault } => {
                if self.close_end(node, conn) {
                    self.faults.count(Fault::ReadFails);
                    self.tell(node, Event::ServeFailed { conn, fault });
                }
            }
            Later::Disk { node, life, op, operation } => self.run_disk(node, life, op, operation),
            Later::Done { node, life, op, outcome } => self.done(node, life, op, outcome),
            Later::Datagram { node, life, from, mut bytes } => {
                if self.is_life(node, life) {
                    self.tell(node, Event::Datagram { from, bytes: &mut bytes });
                }
            }
            Later::Second { node } => self.second(node),
            Later::Restart { node } => self.restart(node),
            Later::Leave { node, life } if self.nodes[node].life == life => self.leave(node),
            Later::Leave { .. } => {}
            Later::Readd { node, life } => self.readd(node, life),
            Later::Exit { node, life } => self.exit(node, life),
            Later::Limit { node, limits } => {
                if self.nodes[node].alive {
                    self.limit(node, Some(TORRENT), limits);
                }
            }
            Later::Chaos => self.chaos(),
        }
        true
    }

    pub(super) fn push(&mut self, after: Duration, later: Later) {
        self.agenda.push(self.now + after, later);
    }

    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        self.faults.strike(&mut self.rng, fault)
    }

    pub(super) fn note(&self, index: NodeIndex, line: impl FnOnce() -> String) {
        self.scene.borrow_mut().note(index, line);
    }

    fn is_life(&self, index: NodeIndex, life: u32) -> bool {
        self.nodes[index].alive && self.nodes[index].life == life
    }

    /// The address of a node.
    pub fn addr(&self, index: NodeIndex) -> SocketAddrV4 {
        self.nodes[index].addr
    }

    /// Peers that a client has, for a message.
    pub fn peers_of(&self, index: NodeIndex) -> Vec<String> {
        let peers = self.host(index).engine.peers(TORRENT);
        peers.into_iter().map(|peer| format!("{peer:?}")).collect()
    }
}

/// At its end, also by a panic, a world leaves behind what a report needs.
impl Drop for World {
    fn drop(&mut self) {
        let Ok(mut scene) = self.scene.try_borrow_mut() else { return };
        scene.counts = std::mem::take(&mut self.faults.counts);
        let both = self.links.values().flat_map(|[a, b]| [(a, b), (b, a)]);
        scene.neighbours = both.map(|(here, there)| (here.node, here.conn, there.node)).collect();
    }
}
