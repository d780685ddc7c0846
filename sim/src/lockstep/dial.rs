//! Connections begin, deliver and end.

use super::bytes::Bytes;
use super::faults::Fault;
use super::link::LinkId;
use super::node::{Kind, NodeIndex};
use super::wire::Wire;
use super::world::{Later, World};
use sameseed_core::event::Event;
use sameseed_core::fault::LinkFault;
use sameseed_core::id::ConnId;
use sameseed_core::time::Duration;
use std::net::{IpAddr, SocketAddr};

impl World {
    pub(super) fn dial(&mut self, index: NodeIndex, conn: ConnId, to: SocketAddr) {
        self.host_mut(index).dials += 1;
        self.start_dial(index, conn, to);
    }

    pub(super) fn start_dial(&mut self, index: NodeIndex, conn: ConnId, to: SocketAddr) {
        self.nodes[index].dialing.insert(conn, to);
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

    pub(super) fn knock(&mut self, index: NodeIndex, life: u32, conn: ConnId, to: SocketAddr) {
        let target = self.nodes.iter().position(|node| SocketAddr::V4(node.addr) == to);
        let latency = Duration::from_millis(5);
        // A node that was taken off the network keeps its program, but reaches nobody.
        let reachable = target.filter(|target| self.nodes[*target].alive && self.nodes[index].alive);
        if let Some(target) = target {
            if self.parted_until(index, target).or(self.parted_until(target, index)).is_some() {
                return;
            }
            let here = SocketAddr::V4(self.nodes[index].addr);
            if target != index && self.nodes[target].dialing.values().any(|to| *to == here) {
                self.faults.count(Fault::CrossDial);
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
        let layout = self.content.layout();
        if let Kind::Client(host) = &mut self.nodes[index].kind {
            let mut wire = Wire::new(honest);
            wire.set_unwanted(host.unwanted(layout));
            host.wires.insert(conn, wire);
        }
    }

    pub(super) fn dialed(&mut self, index: NodeIndex, life: u32, conn: ConnId, outcome: Result<SocketAddr, LinkFault>) {
        if self.nodes[index].life != life {
            return;
        }
        if self.nodes[index].dialing.remove(&conn).is_none() {
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

    pub(super) fn closed(&mut self, link: LinkId, side: usize, fault: LinkFault) {
        let Some(ends) = self.links.get_mut(&link) else { return };
        let end = &mut ends[side];
        if !end.open {
            return;
        }
        let (node, conn) = (end.node, end.conn);
        if self.nodes[node].dialing.contains_key(&conn) {
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

    pub(super) fn deliver(&mut self, link: LinkId, side: usize) {
        loop {
            let Some(ends) = self.links.get(&link) else { return };
            let (node, conn) = (ends[side].node, ends[side].conn);
            if self.nodes[node].dialing.contains_key(&conn) {
                self.push(Duration::from_millis(50), Later::Arrived { link, side, bytes: Bytes::default() });
                return;
            }
            if matches!(self.nodes[node].kind, Kind::Hostile { .. }) {
                return self.deliver_hostile(link, side);
            }
            if ends[side].inbox.is_empty() {
                return;
            }
            let content = self.content.clone();
            let short = self.strikes(Fault::ShortRead);
            let Some((node, conn, bytes)) = self.read_end(link, side, short) else { return };
            if let Some(wire) = self.host(node).wires.get(&conn) {
                self.note(node, || format!("<- {conn} {}", wire.words(&bytes.in_world(&content), false)));
            }
            if let Some(wire) = self.host_mut(node).wires.get_mut(&conn) {
                wire.received(&bytes.in_world(&content));
            }
            let mut bytes = bytes.copied(&content);
            self.tell(node, Event::Received { conn, bytes: &mut bytes });
        }
    }
}
