//! The world: nodes, links, trackers and one heap of what happens later. One step, one event.
//!
//! Everything random follows from the seed; the trace covers every action and every byte that is sent.

use super::checks::{Check, SharedScene, broken};
use super::content::Content;
use super::disk::{Crash, Disk};
use super::faults::{Fault, Faults};
use super::hostile::{Reply, Talk};
use super::host::{Host, TORRENT};
use super::link::{Access, End, LinkId, Partition, Uplink};
use super::trace::Trace;
use super::tracker::Tracker;
use super::wire::Wire;
use sameseed_core::action::{Action, CloseReason, Destination, Fetch, Notice, Operation, Segment, TxBatch};
use sameseed_core::config::Config;
use sameseed_core::event::{Command, Event, FetchReply, Outcome};
use sameseed_core::fault::{DiskFault, DiskFaultKind, LinkFault};
use sameseed_core::id::{ConnId, OpId};
use sameseed_core::metainfo::Metainfo;
use sameseed_core::rng::{Rng, Stream};
use sameseed_core::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

/// A node's place in the world: clients and hostile peers.
pub type NodeIndex = usize;

/// Where every node listens.
const PORT: u16 = 6881;
/// The laws that need a look at everything are checked every so many steps of the world.
const WIDE_CADENCE: u64 = 61;

/// What happens later.
#[derive(Debug)]
pub(super) enum Later {
    Tick { node: NodeIndex, life: u32 },
    Drain { node: NodeIndex, life: u32 },
    /// A dial reaches its target.
    Knock { node: NodeIndex, life: u32, conn: ConnId, to: SocketAddr },
    Dialed { node: NodeIndex, life: u32, conn: ConnId, outcome: Result<SocketAddr, LinkFault> },
    Uplink { node: NodeIndex },
    Flushed { node: NodeIndex, conn: ConnId, bytes: u64 },
    Arrived { link: LinkId, side: usize, bytes: Vec<u8> },
    Closed { link: LinkId, side: usize, fault: LinkFault },
    ServeFailed { node: NodeIndex, conn: ConnId, fault: DiskFault },
    Disk { node: NodeIndex, life: u32, op: OpId, operation: Operation },
    Done { node: NodeIndex, life: u32, op: OpId, outcome: Outcome },
    Datagram { node: NodeIndex, life: u32, from: SocketAddr, bytes: Vec<u8> },
    /// A second has passed for a hostile peer.
    Second { node: NodeIndex },
    Restart { node: NodeIndex },
    /// Something may go wrong.
    Chaos,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Kind {
    Client(Box<Host>),
    Hostile { vice: Fault, talks: BTreeMap<ConnId, Talk> },
}

/// A node of the network.
#[derive(Debug)]
pub(super) struct Node {
    pub addr: SocketAddrV4,
    pub access: Access,
    pub kind: Kind,
    pub conns: BTreeMap<ConnId, (LinkId, usize)>,
    pub dialing: BTreeSet<ConnId>,
    pub uplink: Uplink,
    pub alive: bool,
    pub life: u32,
    accepted: u64,
    dialed: u64,
}

/// The world.
#[derive(Debug)]
pub struct World {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) links: BTreeMap<LinkId, [End; 2]>,
    pub(super) next_link: LinkId,
    later: BTreeMap<(Instant, u64), Later>,
    sequence: u64,
    pub(super) rng: Rng,
    seed: [u8; 32],
    pub(super) metainfo: Metainfo,
    pub(super) content: Rc<Content>,
    pub(super) trackers: Vec<Tracker>,
    /// What goes wrong.
    pub faults: Faults,
    pub(super) partition: Option<Partition>,
    trace: Trace,
    scene: SharedScene,
    /// The recounting laws of an engine are checked after every so many of its events.
    pub cadence: u64,
    steps: u64,
}

impl World {
    /// A world without hosts; all that is random in it follows from `seed`.
    pub fn new(seed: u64, metainfo: Metainfo) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        World {
            now: Instant::ZERO,
            nodes: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            later: BTreeMap::new(),
            sequence: 0,
            rng: Rng::new(&bytes, Stream::Choker, u32::MAX >> 8),
            seed: bytes,
            content: Rc::new(Content::new(&metainfo)),
            metainfo,
            trackers: Vec::new(),
            faults: Faults::default(),
            partition: None,
            trace: Trace::default(),
            scene: SharedScene::default(),
            cadence: 1,
            steps: 0,
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
        let index = self.nodes.len();
        let disk = Disk::new(self.content.clone(), seeder);
        let peers = peers.iter().map(|peer| SocketAddr::V4(address(*peer))).collect();
        let host = Host::new(self.seed_of(index, 0), self.now, config, disk, peers);
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
            dialing: BTreeSet::new(),
            uplink: Uplink::default(),
            alive: true,
            life: 0,
            accepted: 0,
            dialed: 0,
        });
    }

    fn seed_of(&self, index: NodeIndex, life: u32) -> [u8; 32] {
        let mut seed = self.seed;
        seed[31] = index as u8;
        seed[30] = life as u8;
        seed
    }

    fn start(&mut self, index: NodeIndex) {
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
        self.later.is_empty()
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
        let node = &mut self.nodes[index];
        (node.alive, node.life) = (false, node.life + 1);
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
        while !done(self) {
            if self.later.first_key_value().is_none_or(|((at, _), _)| *at > end) {
                self.now = end;
                return done(self);
            }
            self.step();
        }
        true
    }

    /// Lets the next thing happen; `false` when nothing is left.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), later)) = self.later.pop_first() else { return false };
        self.now = at;
        self.steps += 1;
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
            Later::Flushed { node, conn, bytes } => {
                let Node { kind, conns, .. } = &self.nodes[node];
                if matches!(kind, Kind::Client(_)) && conns.contains_key(&conn) {
                    self.tell(node, Event::Flushed { conn, bytes });
                }
            }
            Later::Arrived { link, side, bytes } => {
                if let Some(ends) = self.links.get_mut(&link) {
                    ends[side].inbox.extend(&bytes);
                    self.deliver(link, side);
                }
            }
            Later::Closed { link, side, fault } => self.closed(link, side, fault),
            Later::ServeFailed { node, conn, fault } => {
                if self.close_end(node, conn) {
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
            Later::Chaos => self.chaos(),
        }
        true
    }

    pub(super) fn push(&mut self, after: Duration, later: Later) {
        self.sequence += 1;
        self.later.insert((self.now + after, self.sequence), later);
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

    // ---- the engine's side ----

    fn tick(&mut self, index: NodeIndex, life: u32) {
        let now = self.now;
        if self.nodes[index].life != life || self.host(index).next_tick != Some(now) {
            return;
        }
        let host = self.host_mut(index);
        host.next_tick = None;
        host.note_tick(index, now + host.skew);
        self.tell(index, Event::Tick);
    }

    /// Hands an event to a client, and does what it then wants.
    pub(super) fn tell(&mut self, index: NodeIndex, event: Event<'_>) {
        self.scene.borrow_mut().host = index;
        self.note(index, || format!("<- {}", brief(&event)));
        let now = self.now;
        let late = !self.host(index).undrained && self.strikes(Fault::LateDrain);
        let host = self.host_mut(index);
        host.engine.handle(now + host.skew, event);
        if late {
            host.undrained = true;
            let life = self.nodes[index].life;
            let after = Duration::from_micros(self.rng.below(500_000));
            self.push(after, Later::Drain { node: index, life });
        } else if !host.undrained {
            self.drain(index);
        }
        let (steps, cadence) = (self.steps, self.cadence);
        let host = self.host(index);
        if steps.is_multiple_of(cadence) {
            host.engine.check_invariants();
        }
        if steps.is_multiple_of(WIDE_CADENCE) && !host.said_shut_down {
            host.check(index, self.content.layout());
        }
    }

    fn drain(&mut self, index: NodeIndex) {
        let late = std::mem::replace(&mut self.host_mut(index).undrained, false);
        while let Some(action) = self.host_mut(index).engine.poll_action() {
            self.trace.number(self.now.as_micros() << 8 | index as u64);
            self.trace.value(&action);
            self.note(index, || format!("-> {action:?}"));
            self.act(index, action, late);
        }
        let mut batch = TxBatch::default();
        let mut sent = Vec::new();
        while let Some(to) = self.host_mut(index).engine.poll_transmit(&mut batch) {
            match to {
                Destination::Conn(conn) => {
                    self.transmit(index, conn, &batch, late);
                    sent.push(conn);
                }
                Destination::Datagram(to) => {
                    self.trace.bytes(&batch.bytes);
                    self.datagram(index, to, &batch.bytes);
                }
            }
        }
        for conn in sent {
            let wire = self.host_mut(index).wires.get_mut(&conn);
            if let Some(Err((check, detail))) = wire.map(Wire::drained) {
                broken(check, index, &format!("{conn}: {detail}"));
            }
        }
        self.set_tick(index);
    }

    fn set_tick(&mut self, index: NodeIndex) {
        let host = self.host(index);
        let Some((at, _)) = host.engine.poll_timeout() else { return };
        let mut at = (at - host.skew).max(self.now);
        if host.next_tick.is_none_or(|next| next > at) {
            if self.strikes(Fault::LateTick) {
                at = at + Duration::from_micros(self.rng.below(5_000_000));
            }
            self.host_mut(index).next_tick = Some(at);
            let life = self.nodes[index].life;
            self.push(at.since(self.now), Later::Tick { node: index, life });
        }
    }

    /// The clock of a host jumps forward, as after a sleep.
    pub(super) fn jump(&mut self, index: NodeIndex, by: Duration) {
        self.note(index, || format!("CLOCK +{by:?}"));
        let host = self.host_mut(index);
        host.skew += by;
        host.next_tick = None;
        if !host.undrained {
            self.set_tick(index);
        }
    }

    fn act(&mut self, index: NodeIndex, action: Action, late: bool) {
        match action {
            Action::Dial { conn, to } => self.dial(index, conn, to),
            Action::Close { conn, reason } => self.close(index, conn, reason, late),
            Action::AllowRead { conn, bytes } => match self.nodes[index].conns.get(&conn).copied() {
                Some((link, side)) => {
                    let Some(ends) = self.links.get_mut(&link) else { return };
                    ends[side].credit += bytes;
                    if !ends[side].inbox.is_empty() {
                        self.push(Duration::ZERO, Later::Arrived { link, side, bytes: Vec::new() });
                    }
                }
                None if late => {}
                None => broken(Check::AfterClose, index, &format!("AllowRead on {conn}")),
            },
            Action::Submit { op, operation } => self.submit(index, op, operation),
            Action::Abort { op } => {
                if self.host_mut(index).fetches.contains(&op) {
                    let life = self.nodes[index].life;
                    let outcome = Outcome::Fetch(Err(LinkFault::Aborted));
                    self.push(Duration::from_millis(1), Later::Done { node: index, life, op, outcome });
                }
            }
            Action::Notify(Notice::Banned { addr, .. }) => {
                let liar = self.nodes.iter().filter(|node| IpAddr::V4(*node.addr.ip()) == addr.ip()).any(is_liar);
                if !liar {
                    broken(Check::HonestBan, index, &format!("{addr}"));
                }
            }
            Action::Notify(Notice::ShutDown) => self.host_mut(index).said_shut_down = true,
            Action::Notify(_) => {}
        }
    }

    fn close(&mut self, index: NodeIndex, conn: ConnId, reason: CloseReason, late: bool) {
        self.host_mut(index).wires.remove(&conn);
        if !self.close_end(index, conn) && !self.nodes[index].dialing.remove(&conn) && !late {
            broken(Check::AfterClose, index, &format!("Close of {conn}: {reason}"));
        }
    }

    fn dial(&mut self, index: NodeIndex, conn: ConnId, to: SocketAddr) {
        self.host_mut(index).dials += 1;
        self.start_dial(index, conn, to);
    }

    fn start_dial(&mut self, index: NodeIndex, conn: ConnId, to: SocketAddr) {
        self.nodes[index].dialing.insert(conn);
        let life = self.nodes[index].life;
        if self.strikes(Fault::HangingDial) {
            return;
        }
        if self.strikes(Fault::RefusedDial) {
            let outcome = Err(LinkFault::Refused);
            self.push(Duration::from_millis(20), Later::Dialed { node: index, life, conn, outcome });
            return;
        }
        let target = self.nodes.iter().position(|node| SocketAddr::V4(node.addr) == to);
        let latency = target.map_or(Duration::from_millis(30), |target| self.latency(index, target));
        self.push(latency, Later::Knock { node: index, life, conn, to });
    }

    fn knock(&mut self, index: NodeIndex, life: u32, conn: ConnId, to: SocketAddr) {
        let target = self.nodes.iter().position(|node| SocketAddr::V4(node.addr) == to);
        let latency = Duration::from_millis(5);
        // A node that was taken off the network keeps its program, but reaches nobody.
        let reachable = target.filter(|target| self.nodes[*target].alive && self.nodes[index].alive);
        if let Some(target) = target {
            if self.parted_until(index, target).is_some() {
                return;
            }
            if self.nodes[target].access.nat && target != index {
                self.faults.count(Fault::Nat);
                return;
            }
        }
        let Some(target) = reachable else {
            self.push(latency, Later::Dialed { node: index, life, conn, outcome: Err(LinkFault::Refused) });
            return;
        };
        if self.nodes[index].life != life {
            return;
        }
        let there = ConnId::accepted(self.nodes[target].accepted);
        self.nodes[target].accepted += 1;
        let from = SocketAddr::new(IpAddr::V4(*self.nodes[index].addr.ip()), 40_000 + (self.next_link % 20_000) as u16);
        self.connect(index, conn, target, there);
        let back = self.latency(target, index);
        self.push(back, Later::Dialed { node: index, life, conn, outcome: Ok(from) });
        let honest = [index, target].map(|node| matches!(self.nodes[node].kind, Kind::Client(_)));
        self.open_wire(index, conn, honest[1]);
        self.open_wire(target, there, honest[0]);
        match &mut self.nodes[target].kind {
            Kind::Client(_) => self.tell(target, Event::Accepted { conn: there, from }),
            Kind::Hostile { .. } => self.begin_talk(target, there, false),
        }
    }

    fn open_wire(&mut self, index: NodeIndex, conn: ConnId, honest: bool) {
        if let Kind::Client(host) = &mut self.nodes[index].kind {
            host.wires.insert(conn, Wire::new(honest));
        }
    }

    fn dialed(&mut self, index: NodeIndex, life: u32, conn: ConnId, outcome: Result<SocketAddr, LinkFault>) {
        if self.nodes[index].life != life {
            return;
        }
        if !self.nodes[index].dialing.remove(&conn) {
            // Given up in the meantime: the other side finds a dead connection.
            self.close_end(index, conn);
            return;
        }
        match &self.nodes[index].kind {
            Kind::Client(_) => self.tell(index, Event::Dialed { conn, outcome }),
            Kind::Hostile { .. } if outcome.is_ok() => self.begin_talk(index, conn, true),
            Kind::Hostile { .. } => {}
        }
    }

    fn closed(&mut self, link: LinkId, side: usize, fault: LinkFault) {
        let Some(ends) = self.links.get_mut(&link) else { return };
        let end = &mut ends[side];
        if !end.open {
            return;
        }
        let (node, conn) = (end.node, end.conn);
        if self.nodes[node].dialing.contains(&conn) {
            // Not yet known to be connected: that comes first.
            self.push(Duration::from_millis(100), Later::Closed { link, side, fault });
            return;
        }
        end.open = false;
        self.nodes[node].conns.remove(&conn);
        self.tidy(link);
        match &mut self.nodes[node].kind {
            Kind::Client(host) => {
                host.wires.remove(&conn);
                self.tell(node, Event::Closed { conn, fault });
            }
            Kind::Hostile { talks, .. } => _ = talks.remove(&conn),
        }
    }

    fn deliver(&mut self, link: LinkId, side: usize) {
        loop {
            let Some(ends) = self.links.get(&link) else { return };
            let (node, conn) = (ends[side].node, ends[side].conn);
            if self.nodes[node].dialing.contains(&conn) {
                self.push(Duration::from_millis(50), Later::Arrived { link, side, bytes: Vec::new() });
                return;
            }
            if matches!(self.nodes[node].kind, Kind::Hostile { .. }) {
                return self.deliver_hostile(link, side);
            }
            if ends[side].inbox.is_empty() {
                return;
            }
            let short = self.strikes(Fault::ShortRead);
            let Some((node, conn, mut bytes)) = self.read_end(link, side, short) else { return };
            if let Some(wire) = self.host_mut(node).wires.get_mut(&conn) {
                wire.received(&bytes);
            }
            self.tell(node, Event::Received { conn, bytes: &mut bytes });
        }
    }

    fn transmit(&mut self, index: NodeIndex, conn: ConnId, batch: &TxBatch, late: bool) {
        let Some(place) = self.nodes[index].conns.get(&conn).copied() else {
            broken(Check::AfterClose, index, &format!("{} bytes on {conn}", batch.len_bytes()));
        };
        self.note(index, || format!("-> {conn} {} bytes", batch.len_bytes()));
        let mut bytes = Vec::with_capacity(batch.len_bytes() as usize);
        let host = self.host(index);
        for segment in &batch.segments {
            match segment {
                Segment::Bytes(range) => bytes.extend_from_slice(&batch.bytes[range.clone()]),
                Segment::File { piece, begin, len, .. } => {
                    if !host.disk.is_piece_right(*piece) {
                        broken(Check::UploadIsTrue, index, &format!("{piece:?}"));
                    }
                    match host.disk.read(*piece, *begin, *len) {
                        Ok(block) => bytes.extend(block),
                        Err(fault) => {
                            self.push(Duration::ZERO, Later::ServeFailed { node: index, conn, fault });
                            return;
                        }
                    }
                }
            }
        }
        self.trace.bytes(&bytes);
        let content = self.content.clone();
        let Host { wires, disk, .. } = self.host_mut(index);
        let knowledge = Host::knowledge(disk, content.layout());
        if let Some(Err((check, detail))) = wires.get_mut(&conn).map(|wire| wire.sent(&bytes, late, &knowledge)) {
            drop(knowledge);
            broken(check, index, &format!("{conn}: {detail}"));
        }
        drop(knowledge);
        self.put(place, &bytes);
    }

    // ---- operations ----

    fn submit(&mut self, index: NodeIndex, op: OpId, operation: Operation) {
        if !self.host_mut(index).operations.insert(op) {
            broken(Check::DoneOnce, index, &format!("{op:?} is submitted twice"));
        }
        let life = self.nodes[index].life;
        match operation {
            Operation::Resolve { host } => {
                let n = host.strip_prefix("tracker-").and_then(|rest| rest.strip_suffix(".example"));
                let n = n.and_then(|n| n.parse::<usize>().ok());
                let found = n.and_then(|n| self.trackers.get(n)).map(|tracker| vec![IpAddr::V4(tracker.ip)]);
                let outcome = Outcome::Resolve(found.ok_or(LinkFault::NameNotFound));
                self.push(Duration::from_millis(15), Later::Done { node: index, life, op, outcome });
            }
            Operation::Fetch(fetch) => self.fetch(index, op, &fetch),
            operation => {
                let slow = if self.strikes(Fault::SlowDisk) { self.rng.below(8_000_000) } else { 0 };
                let mut at = self.now + Duration::from_micros(50 + self.rng.below(3000) + slow);
                if self.faults.on && !self.faults.is_drawn(Fault::DiskReorder) {
                    at = at.max(self.host(index).disk_busy_until);
                }
                self.host_mut(index).disk_busy_until = at;
                self.push(at.since(self.now), Later::Disk { node: index, life, op, operation });
            }
        }
    }

    fn run_disk(&mut self, index: NodeIndex, life: u32, op: OpId, operation: Operation) {
        if self.nodes[index].life != life {
            return;
        }
        let error = self.strikes(Fault::DiskError).then_some(DiskFaultKind::Io);
        let Kind::Client(host) = &mut self.nodes[index].kind else { return };
        let outcome = host.disk.run(operation, error, &mut self.rng);
        let more = if self.strikes(Fault::DiskReorder) { self.rng.below(300_000) } else { 0 };
        self.push(Duration::from_micros(20 + more), Later::Done { node: index, life, op, outcome });
    }

    fn done(&mut self, index: NodeIndex, life: u32, op: OpId, outcome: Outcome) {
        if self.nodes[index].life != life {
            return;
        }
        // An answer that an abort has overtaken, or the other way round.
        if !self.host_mut(index).operations.remove(&op) {
            return;
        }
        self.host_mut(index).fetches.remove(&op);
        self.tell(index, Event::Done { op, outcome });
    }

    fn tracker_fault(&mut self, n: usize) -> Option<Fault> {
        let fault = self.trackers[n].fault.filter(|_| self.faults.on)?;
        // Now and then even a bad tracker answers.
        if self.rng.below(4) == 0 {
            return None;
        }
        self.faults.count(fault);
        Some(fault)
    }

    fn fetch(&mut self, index: NodeIndex, op: OpId, fetch: &Fetch) {
        self.host_mut(index).fetches.insert(op);
        let life = self.nodes[index].life;
        let known = self.trackers.iter().position(|tracker| IpAddr::V4(tracker.ip) == fetch.addr.ip());
        let after = Duration::from_micros(20_000 + self.rng.below(100_000));
        let Some(n) = known.filter(|_| self.nodes[index].alive) else {
            let outcome = Outcome::Fetch(Err(LinkFault::Unreachable));
            return self.push(after, Later::Done { node: index, life, op, outcome });
        };
        let (fault, mood, from) = (self.tracker_fault(n), self.rng.next_u64(), *self.nodes[index].addr.ip());
        if let Some((status, body)) = self.trackers[n].answer_http(from, &fetch.target, fault, mood) {
            let outcome = Outcome::Fetch(Ok(FetchReply { status, body, ..FetchReply::default() }));
            self.push(after, Later::Done { node: index, life, op, outcome });
        }
    }

    fn datagram(&mut self, index: NodeIndex, to: SocketAddr, bytes: &[u8]) {
        let known = self.trackers.iter().position(|tracker| IpAddr::V4(tracker.ip) == to.ip());
        let Some(n) = known.filter(|_| self.nodes[index].alive) else { return };
        let (fault, mood, from) = (self.tracker_fault(n), self.rng.next_u64(), self.nodes[index].addr);
        if let Some(bytes) = self.trackers[n].answer_udp(from, bytes, fault, mood) {
            let after = Duration::from_micros(20_000 + self.rng.below(100_000));
            let life = self.nodes[index].life;
            self.push(after, Later::Datagram { node: index, life, from: to, bytes });
        }
    }

    // ---- hostile peers ----

    fn begin_talk(&mut self, index: NodeIndex, conn: ConnId, dialed: bool) {
        let info_hash = *self.metainfo.info_hash.wire_bytes();
        let Kind::Hostile { vice, talks } = &mut self.nodes[index].kind else { return };
        let mut peer_id = *b"-XX0001-hostile-0000";
        peer_id[19] = index as u8;
        let mut talk = Talk::new(*vice, peer_id, info_hash, dialed);
        let reply = talk.connected();
        talks.insert(conn, talk);
        self.reply(index, conn, reply);
    }

    fn deliver_hostile(&mut self, link: LinkId, side: usize) {
        let Some(ends) = self.links.get_mut(&link) else { return };
        let (node, conn) = (ends[side].node, ends[side].conn);
        let content = self.content.clone();
        let Kind::Hostile { talks, .. } = &self.nodes[node].kind else { return };
        if !talks.get(&conn).is_some_and(Talk::reads) {
            return;
        }
        ends[side].credit = u64::MAX;
        while let Some((_, _, bytes)) = self.read_end(link, side, false) {
            let Kind::Hostile { talks, .. } = &mut self.nodes[node].kind else { return };
            let Some(talk) = talks.get_mut(&conn) else { return };
            let reply = talk.received(&bytes, &content, &mut self.rng);
            self.reply(node, conn, reply);
        }
    }

    fn reply(&mut self, index: NodeIndex, conn: ConnId, reply: Reply) {
        let Kind::Hostile { vice, talks } = &mut self.nodes[index].kind else { return };
        self.faults.counts[*vice as usize] += reply.vices;
        if reply.close {
            talks.remove(&conn);
        }
        if let Some(place) = self.nodes[index].conns.get(&conn).copied() {
            self.put(place, &reply.bytes);
            if reply.close {
                let link = place.0;
                self.push(Duration::from_millis(200), Later::Closed { link, side: 0, fault: LinkFault::Eof });
                self.push(Duration::from_millis(200), Later::Closed { link, side: 1, fault: LinkFault::Eof });
            }
        }
    }

    fn second(&mut self, index: NodeIndex) {
        self.push(Duration::from_secs(1), Later::Second { node: index });
        if !self.nodes[index].alive {
            return;
        }
        let content = self.content.clone();
        let Kind::Hostile { vice, talks } = &mut self.nodes[index].kind else { return };
        let vice = *vice;
        let conns: Vec<ConnId> = talks.keys().copied().collect();
        for conn in &conns {
            let Kind::Hostile { talks, .. } = &mut self.nodes[index].kind else { return };
            let Some(talk) = talks.get_mut(conn) else { continue };
            let reply = talk.second(&content, &mut self.rng);
            self.reply(index, *conn, reply);
        }
        let count = match vice {
            Fault::Flood if self.faults.on && self.rng.below(10) == 0 => 60,
            Fault::Flood => 0,
            _ if conns.len() < 6 && self.rng.below(4) == 0 => 1,
            _ => 0,
        };
        let clients = self.clients();
        for _ in 0..count {
            let target = clients[self.rng.below(clients.len() as u64) as usize];
            let conn = ConnId::dialed(self.nodes[index].dialed);
            self.nodes[index].dialed += 1;
            let to = SocketAddr::V4(self.nodes[target].addr);
            self.start_dial(index, conn, to);
        }
    }
}

/// Whether a node may send wrong data.
fn is_liar(node: &Node) -> bool {
    match &node.kind {
        Kind::Client(host) => host.disk.lie_about_pieces > 0,
        Kind::Hostile { .. } => true,
    }
}

fn address(index: NodeIndex) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(80, 0, (index / 250) as u8, (index % 250) as u8 + 1), PORT)
}

/// An event in one line.
fn brief(event: &Event<'_>) -> String {
    match event {
        Event::Received { conn, bytes } => format!("Received {conn} {} bytes", bytes.len()),
        Event::Datagram { from, bytes } => format!("Datagram {from} {} bytes", bytes.len()),
        Event::Command(Command::Add(_)) => String::from("Add"),
        event => format!("{event:?}"),
    }
}

impl World {
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
