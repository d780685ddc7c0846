//! What all torrents of an engine share: settings, the block pool, limits, and the queues of actions and operations.

use super::Step;
use crate::action::{Action, CloseReason, Notice, Operation};
use crate::announce::RequestId;
use crate::bans::Bans;
use crate::blame::ReadingId;
use crate::block::BlockPool;
use crate::config::Config;
use crate::external::{External, Witness};
use crate::id::{ConnId, OpId, PeerId, PieceIndex, TorrentId};
use crate::limiter::Lines;
use crate::peer::{FIRST_CREDIT_BYTES, Peer, READ_GRANT_BYTES};
use crate::priority::Own;
use crate::queue::Queue;
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Whose operation it is, and what to do with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// What is on disk?
    Stat,
    /// Which pieces are gone?
    Losses,
    /// Is this piece on disk?
    Check(PieceIndex),
    /// Cut a file that is too long.
    Truncate,
    /// Make folders and empty files.
    Prepare,
    /// Blocks on their way to the disk.
    Absorb {
        /// The piece.
        piece: PieceIndex,
        /// The first block.
        first: u32,
        /// They are being hashed.
        hashing: bool,
    },
    /// Blocks on their way back from the disk.
    ReadBack {
        /// The piece.
        piece: PieceIndex,
    },
    /// A piece under investigation: one of its blocks, or all of it.
    Evidence {
        /// The piece.
        piece: PieceIndex,
        /// Which reading it is part of.
        id: ReadingId,
    },
    /// Ranges of this piece on their way from the part file to their files.
    Unpart(PieceIndex),
    /// The part file is of no use any more.
    DropParts,
    /// The whole torrent to stable storage.
    Sync,
    /// Resume data.
    Checkpoint(Step),
    /// The files are moved, renamed or deleted.
    Errand,
    /// The announcer's.
    Announce(RequestId),
}

impl Purpose {
    /// Whether an end must wait for it: it makes what was written safe, or puts it in its place.
    fn settles(&self) -> bool {
        matches!(self, Purpose::Sync | Purpose::Unpart(_) | Purpose::DropParts)
    }
}

/// What all torrents share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// The settings.
    pub config: Config,
    /// Our peer id.
    pub peer_id: PeerId,
    /// Block buffers.
    pub pool: BlockPool,
    /// What the driver must do.
    pub actions: VecDeque<Action>,
    /// Connections with something to send, in order.
    pub tx_ready: VecDeque<ConnId>,
    /// Datagrams to send.
    pub datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Which torrent each connection belongs to.
    pub conns: BTreeMap<ConnId, TorrentId>,
    /// Connections that came in and have not yet named their torrent.
    pub unnamed: usize,
    /// Dials under way.
    pub half_open: usize,
    /// Whose connections are refused.
    pub bans: Bans,
    /// What others say our addresses are.
    pub external: External,
    /// Our addresses: those that are believed, and those that are known.
    pub own: Own,
    /// How fast bytes may flow, and which torrents wait for a share.
    pub lines: Lines<TorrentId>,
    /// Which torrents may be active.
    pub queue: Queue,
    /// Torrents that could not make a request because the pool was empty.
    pub starved: BTreeSet<TorrentId>,
    operations: BTreeMap<OpId, (TorrentId, Purpose)>,
    /// Operations that take blocks to the disk, and those that settle what was written.
    absorbing: u32,
    settling: u32,
    /// Operations of announcers.
    announcing: usize,
    next_op: u64,
    next_conn: u64,
    /// The wall clock at a moment of ours.
    clock: (Instant, u64),
}

impl Shared {
    /// Nothing under way.
    pub(crate) fn new(config: Config, peer_id: PeerId, clock: (Instant, u64)) -> Self {
        let pool = BlockPool::new(config.pool_blocks, config.near_blocks.max(1));
        let mut lines = Lines::default();
        lines.down.bucket.set_rate(Instant::ZERO, config.limits.down);
        lines.up.bucket.set_rate(Instant::ZERO, config.limits.up);
        let own = Own { ips: config.own_ips.clone(), port: config.listen_port };
        Shared {
            queue: Queue::new(config.active),
            config,
            peer_id,
            pool,
            actions: VecDeque::new(),
            tx_ready: VecDeque::new(),
            datagrams: VecDeque::new(),
            conns: BTreeMap::new(),
            unnamed: 0,
            half_open: 0,
            bans: Bans::default(),
            external: External::default(),
            own,
            lines,
            starved: BTreeSet::new(),
            operations: BTreeMap::new(),
            absorbing: 0,
            settling: 0,
            announcing: 0,
            next_op: 0,
            next_conn: 0,
            clock,
        }
    }

    /// Seconds since 1970.
    pub(crate) fn unix_s(&self, now: Instant) -> u64 {
        let (start, unix_s) = self.clock;
        unix_s.saturating_add(now.since(start).as_secs())
    }

    /// Somebody at `from` says that our address is `said`.
    pub(crate) fn hear_own_ip(&mut self, from: IpAddr, said: IpAddr, witness: Witness) {
        if self.external.hear(from, said, witness) {
            self.own.ips = [self.external.believed(), &self.config.own_ips].concat();
        }
    }

    /// Begins an operation.
    pub(crate) fn submit(&mut self, torrent: TorrentId, purpose: Purpose, operation: Operation) {
        let op = OpId(self.next_op);
        self.next_op += 1;
        match purpose {
            Purpose::Absorb { .. } => self.absorbing += 1,
            Purpose::Announce(_) => self.announcing += 1,
            purpose if purpose.settles() => self.settling += 1,
            _ => {}
        }
        self.operations.insert(op, (torrent, purpose));
        self.actions.push_back(Action::Submit { op, operation });
    }

    /// An operation has ended: whose was it?
    pub(crate) fn finish(&mut self, op: OpId) -> Option<(TorrentId, Purpose)> {
        let owner = self.operations.remove(&op);
        match owner {
            Some((_, Purpose::Absorb { .. })) => self.absorbing -= 1,
            Some((_, Purpose::Announce(_))) => self.announcing -= 1,
            Some((_, purpose)) if purpose.settles() => self.settling -= 1,
            _ => {}
        }
        owner
    }

    /// Whether one more tracker may be asked: all torrents together ask so many at a time.
    pub(crate) fn has_room_for_announce(&self) -> bool {
        self.announcing < self.config.max_announces
    }

    /// Gives an announcer's operation up.
    pub(crate) fn abort(&mut self, torrent: TorrentId, request: RequestId) {
        let wanted = (torrent, Purpose::Announce(request));
        if let Some((op, _)) = self.operations.iter().find(|(_, owner)| **owner == wanted) {
            self.actions.push_back(Action::Abort { op: *op });
        }
    }

    /// How many operations are under way.
    pub(crate) fn operations(&self) -> usize {
        self.operations.len()
    }

    /// What the operations of one torrent are for.
    pub(crate) fn purposes_of(&self, torrent: TorrentId) -> impl Iterator<Item = Purpose> {
        self.operations.values().filter(move |(owner, _)| *owner == torrent).map(|(_, purpose)| *purpose)
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        self.pool.check_invariants();
        self.bans.check_invariants();
        self.external.check_invariants();
        self.queue.check_invariants();
        let count = |is: fn(&Purpose) -> bool| self.operations.values().filter(|(_, purpose)| is(purpose)).count();
        let absorbing = count(|purpose| matches!(purpose, Purpose::Absorb { .. }));
        assert_eq!(self.absorbing as usize, absorbing, "writes under way equal a recount");
        assert_eq!(self.settling as usize, count(Purpose::settles), "what settles on disk equals a recount");
        let announcing = count(|purpose| matches!(purpose, Purpose::Announce(_)));
        assert_eq!(self.announcing, announcing, "operations of announcers equal a recount");
        assert!(self.half_open <= self.config.max_half_open, "dials under way are bounded");
        assert!(self.connections() <= self.config.max_connections, "connections are bounded");
    }

    /// Whether blocks are on their way to the disk: their buffers will come home.
    pub(crate) fn is_absorbing(&self) -> bool {
        self.absorbing > 0
    }

    /// Whether something written is not yet safe.
    pub(crate) fn is_writing(&self) -> bool {
        self.absorbing + self.settling > 0
    }

    /// How many connections there are, of whatever stage.
    pub(crate) fn connections(&self) -> usize {
        self.conns.len() + self.unnamed
    }

    /// A fresh number for a dial.
    pub(crate) fn next_conn(&mut self) -> ConnId {
        let conn = ConnId::dialed(self.next_conn);
        self.next_conn += 1;
        conn
    }

    /// Tells the application.
    pub(crate) fn notify(&mut self, notice: Notice) {
        self.actions.push_back(Action::Notify(notice));
    }

    /// Closes a connection at the driver.
    pub(crate) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.conns.remove(&conn);
        self.actions.push_back(Action::Close { conn, reason });
    }

    /// Lets the driver read the first bytes: no more than a handshake, limit or not, for which torrent is meant is not known before it.
    pub(crate) fn grant_first_read(&mut self, peer: &mut Peer) {
        self.grant_read(peer, FIRST_CREDIT_BYTES);
    }

    /// Lets the driver read `bytes` more.
    pub(crate) fn grant_read(&mut self, peer: &mut Peer, bytes: u64) {
        peer.read_credit += bytes;
        self.actions.push_back(Action::AllowRead { conn: peer.conn, bytes });
    }

    /// Lets the driver read ahead as far as it may without a limit.
    pub(crate) fn grant_read_ahead(&mut self, peer: &mut Peer) {
        self.grant_read(peer, READ_GRANT_BYTES - peer.read_credit);
    }

    /// Takes back what a peer may send beyond `left`.
    pub(crate) fn revoke_read(&mut self, peer: &mut Peer, left: u64) {
        if peer.read_credit > left {
            self.actions.push_back(Action::RevokeRead { conn: peer.conn, bytes: peer.read_credit - left });
            peer.read_credit = left;
        }
    }

    /// Puts a peer that has something to send on the list.
    pub(crate) fn announce_tx(&mut self, peer: &mut Peer) {
        let control = peer.tx.take_control_bytes();
        self.lines.up.bucket.refill(peer.last_sent);
        self.lines.up.bucket.take(control);
        peer.control_bytes += control;
        if !peer.tx_announced && peer.tx.is_ready() {
            peer.tx_announced = true;
            self.tx_ready.push_back(peer.conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::breaches::check_breaches;

    #[test]
    fn each_law_is_seen_to_be_broken() {
        let intact = || {
            let mut shared = Shared::new(Config::default(), PeerId([0; 20]), (Instant::ZERO, 0));
            let torrent = TorrentId(1);
            shared.submit(torrent, Purpose::Sync, Operation::Sync { torrent });
            shared
        };
        check_breaches(
            include_str!("shared.rs"),
            intact,
            Shared::check_invariants,
            &[
                ("writes under way equal a recount", |shared| shared.absorbing += 1),
                ("what settles on disk equals a recount", |shared| shared.settling = 0),
                ("operations of announcers equal a recount", |shared| shared.announcing += 1),
                ("dials under way are bounded", |shared| shared.half_open = shared.config.max_half_open + 1),
                ("connections are bounded", |shared| shared.unnamed = shared.config.max_connections + 1),
            ],
        );
    }
}
