//! A node of the network: a client, or a hostile peer.

use super::faults::Fault;
use super::host::Host;
use super::hostile::Talk;
use super::link::{Access, LinkId, Uplink};
use sameseed_core::id::ConnId;
use sameseed_core::time::Instant;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// A node's place in the world: clients and hostile peers.
pub type NodeIndex = usize;

/// Where every node listens.
const PORT: u16 = 6881;
/// Vices of which wrong bytes for a block that was asked for may come: on purpose, or because a block that nobody asked for has the place of one.
const SEND_WRONG_BYTES: &[Fault] = &[Fault::CorruptBlock, Fault::FalseHave, Fault::Unrequested];

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
    /// Dials under way, and where to.
    pub dialing: BTreeMap<ConnId, SocketAddr>,
    pub uplink: Uplink,
    pub alive: bool,
    pub life: u32,
    pub accepted: u64,
    pub dialed: u64,
    /// Addresses that it had before.
    pub former: Vec<Ipv4Addr>,
    /// What its network is like when nothing is wrong, and until when something is.
    pub squeezed: Option<(Access, Instant)>,
    /// Its program was told to stop and will end soon.
    pub leaving: bool,
}

impl Node {
    /// Whether it has or had this address.
    pub(super) fn lived_at(&self, ip: IpAddr) -> bool {
        let own = std::iter::once(self.addr.ip()).chain(&self.former);
        own.into_iter().any(|own| IpAddr::V4(*own) == ip)
    }
}

/// Whether a node may send wrong data.
pub(super) fn is_liar(node: &Node) -> bool {
    match &node.kind {
        Kind::Client(host) => host.disk.lie_about_pieces > 0 || host.disk.damage.ever,
        Kind::Hostile { vice, .. } => SEND_WRONG_BYTES.contains(vice),
    }
}

pub(super) fn address(index: NodeIndex) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(80, 0, (index / 250) as u8, (index % 250) as u8 + 1), PORT)
}

/// An address that nobody has had: the `nth` of this node, after its first.
pub(super) fn new_address(index: NodeIndex, nth: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(81, nth as u8, (index / 250) as u8, (index % 250) as u8 + 1), PORT)
}
