//! Whether a swarm can recover at all: which pieces no client holds that a host could ever reach, over others or directly.

use super::node::{Node, NodeIndex, address};
use super::world::World;
use sameseed_core::id::PieceIndex;
use std::collections::BTreeSet;
use std::net::SocketAddr;

impl World {
    /// Whether `from` can open a connection to `to`: it must know the address, and connections must get through.
    fn can_dial(&self, from: NodeIndex, to: NodeIndex) -> bool {
        let Node { access, alive, .. } = &self.nodes[to];
        // A tracker tells everybody of everybody.
        let knows = !self.trackers.is_empty() || self.host(from).peers.contains(&SocketAddr::V4(address(to)));
        knows && *alive && !access.nat
    }

    /// The clients that a client can be connected to, directly or over others that `relay`, itself among them.
    pub(super) fn within_reach(&self, of: NodeIndex, relays: impl Fn(NodeIndex) -> bool) -> BTreeSet<NodeIndex> {
        let clients: Vec<NodeIndex> = self.clients().into_iter().filter(|node| self.nodes[*node].alive).collect();
        let mut reached: BTreeSet<NodeIndex> = [of].into();
        let mut at = vec![of];
        while let Some(a) = at.pop() {
            if a != of && !relays(a) {
                continue;
            }
            for b in &clients {
                if !reached.contains(b) && (self.can_dial(a, *b) || self.can_dial(*b, a)) {
                    reached.insert(*b);
                    at.push(*b);
                }
            }
        }
        reached
    }

    /// Pieces that a client wants and cannot get: nobody within its reach holds them and serves them honestly.
    pub fn out_of_reach(&self, of: NodeIndex) -> Vec<PieceIndex> {
        let layout = self.content.layout();
        let all_want_all = self.clients().into_iter().all(|node| self.host(node).skips.is_empty());
        let all_reached = self.within_reach(of, |_| true);
        let holds = |node: NodeIndex, piece| {
            let disk = &self.host(node).disk;
            disk.is_piece_right(piece) && (node == of || piece.0 >= disk.lie_about_pieces)
        };
        let wanted = (0..layout.piece_count()).map(PieceIndex).filter(|piece| self.host(of).wants(*piece, layout));
        let is_held = |piece: &PieceIndex| {
            if all_want_all {
                return all_reached.iter().any(|node| holds(*node, *piece));
            }
            // Who does not want a piece does not fetch it for others.
            let reached = self.within_reach(of, |node| self.host(node).wants(*piece, layout));
            reached.into_iter().any(|node| holds(node, *piece))
        };
        wanted.filter(|piece| !is_held(piece)).collect()
    }
}
