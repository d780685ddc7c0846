//! A node of the network: a client, or a hostile peer.

use super::faults::Fault;
use super::host::Host;
use super::hostile::Talk;
use super::link::{Access, LinkId, Uplink};
use sameseed_core::id::ConnId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

/// A node's place in the world: clients and hostile peers.
pub type NodeIndex = usize;

/// Where every node listens.
const PORT: u16 = 6881;
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
    pub accepted: u64,
    pub dialed: u64,
}

/// Whether a node may send wrong data.
pub(super) fn is_liar(node: &Node) -> bool {
    match &node.kind {
        Kind::Client(host) => host.disk.lie_about_pieces > 0,
        Kind::Hostile { .. } => true,
    }
}

pub(super) fn address(index: NodeIndex) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(80, 0, (index / 250) as u8, (index % 250) as u8 + 1), PORT)
}
