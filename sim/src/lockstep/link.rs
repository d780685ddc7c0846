//! Links between nodes: latency, jitter, bandwidth shared by turns, and what goes wrong with them.
//!
//! A connection is two directions. A sender puts bytes into its outbox; the uplink of its node sends a chunk of each connection in turn; they arrive after
//! the latency, in order; the receiver takes as much as it was allowed to read. What is sent and not read is bounded, like a TCP window.

use super::bytes::Bytes;
use super::faults::Fault;
use super::node::NodeIndex;
use super::world::{Later, World};
use sameseed_core::fault::LinkFault;
use sameseed_core::id::ConnId;
use sameseed_core::time::{Duration, Instant};
use std::collections::VecDeque;

/// A connection's number in the world.
pub(super) type LinkId = u64;

/// The most bytes of one turn of an uplink.
const CHUNK: usize = 32 * 1024;
/// Bytes on the way and not read: the windows of both sockets.
const WINDOW: usize = 256 * 1024;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub node: NodeIndex,
    pub conn: ConnId,
    pub open: bool,
    pub outbox: Bytes,
    pub queued: bool,
    /// Sent from here and not yet read there.
    pub under_way: usize,
    pub inbox: Bytes,
    /// What may still be read here; below zero when more was read than a late revocation leaves.
    pub credit: i64,
    /// When the last bytes sent from here arrive.
    pub last_arrival: Instant,
    pub stalled_until: Instant,
    pub cut_after: Option<u64>,
}

impl End {
    pub(super) fn new(node: NodeIndex, conn: ConnId) -> Self {
        End {
            node,
            conn,
            open: true,
            outbox: Bytes::default(),
            queued: false,
            under_way: 0,
            inbox: Bytes::default(),
            credit: 0,
            last_arrival: Instant::ZERO,
            stalled_until: Instant::ZERO,
            cut_after: None,
        }
    }
}

/// What a node's connection to the world is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// One way to the middle of the network.
    pub latency: Duration,
    /// At most so much more, at random.
    pub jitter: Duration,
    /// Bytes per second from the node.
    pub up_per_s: u64,
    /// Bytes per second to the node.
    pub down_per_s: u64,
    /// Incoming connections do not get through.
    pub nat: bool,
}

impl Default for Access {
    fn default() -> Self {
        Access {
            latency: Duration::from_millis(10),
            jitter: Duration::from_millis(5),
            up_per_s: 12_500_000,
            down_per_s: 12_500_000,
            nat: false,
        }
    }
}

/// The sending side of a node.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    pub ready: VecDeque<(LinkId, usize)>,
    pub running: bool,
    pub down_busy: Instant,
}

/// Until when which nodes cannot reach the others.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub until: Instant,
    pub inside: Vec<NodeIndex>,
    /// Only what goes out is held up.
    pub one_way: bool,
}

impl World {
    pub(super) fn connect(&mut self, dialer: NodeIndex, dialer_conn: ConnId, target: NodeIndex, target_conn: ConnId) {
        let id = self.next_link;
        self.next_link += 1;
        let mut ends = [End::new(dialer, dialer_conn), End::new(target, target_conn)];
        for (end, cut_after) in ends.iter_mut().zip(self.nth.connected()) {
            end.cut_after = cut_after;
        }
        self.links.insert(id, ends);
        self.nodes[dialer].conns.insert(dialer_conn, (id, 0));
        self.nodes[target].conns.insert(target_conn, (id, 1));
    }

    /// One way between two nodes, as long as nothing is wrong.
    pub(super) fn latency(&mut self, from: NodeIndex, to: NodeIndex) -> Duration {
        let (a, b) = (self.nodes[from].access, self.nodes[to].access);
        let jitter = (a.jitter + b.jitter).as_micros() as u64;
        let spike = if self.strikes(Fault::DelaySpike) { 200_000 + self.rng.below(5_000_000) } else { 0 };
        a.latency + b.latency + Duration::from_micros(self.rng.below(jitter + 1) + spike)
    }

    pub(super) fn parted_until(&self, a: NodeIndex, b: NodeIndex) -> Option<Instant> {
        let partition = self.partition.as_ref().filter(|partition| partition.until > self.now)?;
        let [from, to] = [a, b].map(|node| partition.inside.contains(&node));
        (from != to && (from || !partition.one_way)).then_some(partition.until)
    }

    /// Hands bytes over for sending.
    pub(super) fn put(&mut self, (id, side): (LinkId, usize), bytes: Bytes) {
        let Some(ends) = self.links.get_mut(&id) else { return };
        ends[side].outbox.append(bytes);
        self.queue(id, side);
    }

    fn queue(&mut self, id: LinkId, side: usize) {
        let Some(ends) = self.links.get_mut(&id) else { return };
        let end = &mut ends[side];
        if end.queued || !end.open || end.outbox.is_empty() || end.under_way >= WINDOW {
            return;
        }
        end.queued = true;
        let node = end.node;
        let uplink = &mut self.nodes[node].uplink;
        uplink.ready.push_back((id, side));
        if !uplink.running {
            uplink.running = true;
            self.push(Duration::ZERO, Later::Uplink { node });
        }
    }

    /// The uplink of a node is free: the next chunk.
    pub(super) fn uplink(&mut self, node: NodeIndex) {
        let mut busy = Duration::ZERO;
        if let Some((id, side)) = self.nodes[node].uplink.ready.pop_front()
            && let Some(ends) = self.links.get_mut(&id)
        {
            ends[side].queued = false;
            if ends[side].open {
                busy = self.send_chunk(id, side);
            }
            self.queue(id, side);
        }
        let uplink = &mut self.nodes[node].uplink;
        uplink.running = !uplink.ready.is_empty() || busy > Duration::ZERO;
        if uplink.running {
            self.push(busy, Later::Uplink { node });
        }
    }

    fn send_chunk(&mut self, id: LinkId, side: usize) -> Duration {
        let (from, to) = (self.links[&id][side].node, self.links[&id][1 - side].node);
        let latency = self.latency(from, to);
        let parted = self.parted_until(from, to);
        let most = if self.strikes(Fault::ShortWrite) { 1 + self.rng.below(CHUNK as u64) as usize } else { CHUNK };
        let Some(ends) = self.links.get_mut(&id) else { return Duration::ZERO };
        let other_open = ends[1 - side].open;
        let end = &mut ends[side];
        let mut count = end.outbox.len().min(most).min(WINDOW.saturating_sub(end.under_way));
        let mut cut = false;
        if let Some(left) = &mut end.cut_after {
            cut = *left <= count as u64;
            count = count.min(*left as usize);
            *left -= count as u64;
            if cut {
                // Nothing more gets through: a gap would look like a lie.
                end.under_way += WINDOW;
            }
        }
        let bytes = end.outbox.take(count);
        end.under_way += count;
        self.nth.sent(id, side, count as u64);
        let conn = end.conn;
        let busy = duration(count, self.nodes[from].access.up_per_s);
        let mut at = (self.now + busy + latency).max(end.last_arrival).max(end.stalled_until);
        if let Some(until) = parted {
            at = at.max(until + latency);
        }
        let down = duration(count, self.nodes[to].access.down_per_s);
        at = at.max(self.nodes[to].uplink.down_busy) + down;
        if parted.is_none() && end.stalled_until <= self.now {
            self.nodes[to].uplink.down_busy = at.max(self.now).min(self.now + Duration::from_secs(5));
        }
        end.last_arrival = at;
        let after = at.since(self.now);
        if count > 0 {
            let life = self.nodes[from].life;
            self.push(busy, Later::Flushed { node: from, life, conn, bytes: count as u64 });
        }
        if other_open {
            if count > 0 {
                self.push(after, Later::Arrived { link: id, side: 1 - side, bytes });
            }
        } else if self.nodes[to].alive {
            // Whoever lives there now knows nothing of this connection.
            self.push(after + latency, Later::Closed { link: id, side, fault: LinkFault::Reset });
        }
        if cut {
            self.faults.count(Fault::CutAtByte);
            self.cut(id);
        }
        busy
    }

    /// Both ends find the connection broken.
    pub(super) fn cut(&mut self, id: LinkId) {
        for side in [0, 1] {
            let after = Duration::from_micros(1000 + self.rng.below(100_000));
            self.push(after, Later::Closed { link: id, side, fault: LinkFault::Reset });
        }
    }

    /// One side closes; the other hears of it after all that is on the way.
    pub(super) fn close_end(&mut self, node: NodeIndex, conn: ConnId) -> bool {
        let Some((id, side)) = self.nodes[node].conns.remove(&conn) else { return false };
        let to = self.links[&id][1 - side].node;
        let latency = self.latency(node, to);
        let parted = self.parted_until(node, to).map_or(Duration::ZERO, |until| until.since(self.now));
        let Some(ends) = self.links.get_mut(&id) else { return true };
        ends[side].open = false;
        let after = latency.max(ends[side].last_arrival.since(self.now)).max(parted);
        self.push(after, Later::Closed { link: id, side: 1 - side, fault: LinkFault::Eof });
        self.tidy(id);
        true
    }

    /// Forgets a connection that is closed on both sides.
    pub(super) fn tidy(&mut self, id: LinkId) {
        if self.links.get(&id).is_some_and(|ends| !ends[0].open && !ends[1].open) {
            self.links.remove(&id);
        }
    }

    /// What may be read at an end, and is: at most `most` bytes.
    pub(super) fn read_end(&mut self, id: LinkId, side: usize, short: bool) -> Option<(NodeIndex, ConnId, Bytes)> {
        let ends = self.links.get_mut(&id)?;
        let end = &mut ends[side];
        let most = (end.credit.max(0) as u64).min(end.inbox.len() as u64).min(64 * 1024);
        if most == 0 || !end.open {
            return None;
        }
        let count = if short { 1 + self.rng.below(most) } else { most };
        let bytes = end.inbox.take(count as usize);
        end.credit -= count as i64;
        let (node, conn) = (end.node, end.conn);
        ends[1 - side].under_way -= count as usize;
        self.queue(id, 1 - side);
        Some((node, conn, bytes))
    }
}

fn duration(bytes: usize, per_s: u64) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / per_s)
}
