//! Hostile peers at work: their scripts are given what comes, and told when a second has passed.

use super::bytes::Bytes;
use super::faults::Fault;
use super::hostile::{Reply, Talk};
use super::link::LinkId;
use super::node::{Kind, NodeIndex};
use super::world::{Later, World};
use sameseed_core::fault::LinkFault;
use sameseed_core::id::ConnId;
use sameseed_core::time::Duration;
use std::net::SocketAddr;

impl World {
    pub(super) fn begin_talk(&mut self, index: NodeIndex, conn: ConnId, dialed: bool) {
        let info_hash = *self.metainfo.info_hash.wire_bytes();
        let stolen = self.steal_id(index, conn);
        let Kind::Hostile { vice, talks } = &mut self.nodes[index].kind else { return };
        let mut peer_id = *b"-XX0001-hostile-0000";
        peer_id[19] = index as u8;
        if *vice == Fault::CopiedId {
            peer_id = stolen;
        }
        let mut talk = Talk::new(*vice, peer_id, info_hash, dialed);
        let reply = talk.connected();
        talks.insert(conn, talk);
        self.reply(index, conn, reply);
    }

    /// The peer id of whoever is at the other end, or of any client.
    fn steal_id(&mut self, index: NodeIndex, conn: ConnId) -> [u8; 20] {
        let clients = self.clients();
        let (own, any) = (self.rng.below(3) == 0, clients[self.rng.below(clients.len() as u64) as usize]);
        let (link, side) = self.nodes[index].conns[&conn];
        let other = self.links[&link][1 - side].node;
        let from = if own && clients.contains(&other) { other } else { any };
        self.host(from).engine.peer_id().0
    }

    pub(super) fn deliver_hostile(&mut self, link: LinkId, side: usize) {
        let Some(ends) = self.links.get_mut(&link) else { return };
        let (node, conn) = (ends[side].node, ends[side].conn);
        let content = self.content.clone();
        let Kind::Hostile { talks, .. } = &self.nodes[node].kind else { return };
        if !talks.get(&conn).is_some_and(Talk::reads) {
            return;
        }
        ends[side].credit = i64::MAX;
        while let Some((_, _, bytes)) = self.read_end(link, side, false) {
            let Kind::Hostile { talks, .. } = &mut self.nodes[node].kind else { return };
            let Some(talk) = talks.get_mut(&conn) else { return };
            let reply = talk.received(&bytes.copied(&content), &content, &mut self.rng);
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
            self.put(place, Bytes::plain(&reply.bytes));
            if reply.close {
                let link = place.0;
                self.push(Duration::from_millis(200), Later::Closed { link, side: 0, fault: LinkFault::Eof });
                self.push(Duration::from_millis(200), Later::Closed { link, side: 1, fault: LinkFault::Eof });
            }
        }
    }

    pub(super) fn second(&mut self, index: NodeIndex) {
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
