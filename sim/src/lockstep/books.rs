//! A client's books, kept from outside by watching its wires, actions and notices: what it should have counted, whom it should have banned, which
//! blocks it asks of whom. The laws that look at several connections of one host stand here.
//!
//! They begin anew with each life of the client. They never look into the engine, except for what it shows in its views.

use super::checks::Check;
use super::wire::{Asked, Breach, Range, Wire};
use sameseed_core::action::{Notice, Operation};
use sameseed_core::id::{ConnId, PieceIndex};
use sameseed_core::layout::Layout;
use sameseed_core::view::{PeerView, TorrentView};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A block is asked of so many peers at most.
const MAX_COPIES: usize = 2;
/// Bad pieces in which one connection of a liar may have had a part, before it must be gone: those that it shared before the first of them verified.
const MAX_BAD_PIECES: u32 = 12;
/// Blocks as BEP 3's peers cut them.
const BLOCK_LEN: u32 = 16_384;

/// What came and went on one connection since the engine was last drained: received, and taken by the network.
type Moved = [u64; 2];

/// What one connection did, and what it should be credited with.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Payload received, and payload taken by the network.
    moved: Moved,
    /// Whole blocks received that were surely not asked for, and those of which it is not known.
    unasked: u64,
    perhaps_unasked: u64,
    /// Verified payload that came from it: surely, and at most.
    credit: [u64; 2],
}

/// The books of one life.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// What was there when the last check had ended, in bytes, and what had been verified by then.
    found: Option<[u64; 2]>,
    /// A check was asked for: what came of open pieces was lost.
    rechecked: bool,
    /// The disk refused something, or other files were selected: pieces may have been lost without a word.
    troubled: bool,
    /// Payload received, and payload taken by the network.
    moved: Moved,
    /// Of those, what came in the same breath as the end of its connection: perhaps not counted.
    doubtful: Moved,
    fresh: BTreeMap<ConnId, Moved>,
    accounts: BTreeMap<ConnId, Account>,
    /// Of all connections: blocks that nobody had asked for; blocks that were here already, at most.
    unasked: u64,
    twice: u64,
    /// Bytes of the pieces that were verified, and of those that failed.
    verified: u64,
    corrupt: u64,
    /// Bytes of the pieces that were gone from the disk, since the check.
    lost: u64,
    done: BTreeSet<u32>,
    /// Who sent the blocks of pieces that are not verified, and whether each was surely asked for it.
    senders: BTreeMap<(u32, u32), BTreeMap<ConnId, bool>>,
    /// Pieces of which some went over the disk before they were hashed.
    read_back: BTreeSet<u32>,
    /// Pieces that failed.
    failed: BTreeSet<u32>,
    /// Bad pieces in which a connection had a part.
    bad_pieces: BTreeMap<ConnId, u32>,
    /// Connections and dials that the client should know of.
    sockets: BTreeSet<ConnId>,
    /// Who must be gone when the engine is drained.
    guilty: BTreeSet<ConnId>,
    banned: BTreeSet<SocketAddr>,
}

impl Books {
    /// The client was told to want other files: pieces may be given up without a word.
    pub(super) fn reselected(&mut self) {
        self.troubled = true;
    }

    /// A dial has begun, or a connection came in.
    pub(super) fn opened(&mut self, conn: ConnId) {
        self.sockets.insert(conn);
    }

    /// Connections and dials that the client should know of.
    pub(super) fn sockets(&self) -> &BTreeSet<ConnId> {
        &self.sockets
    }

    /// Payload came, and with it the ends of these blocks, asked for or not; `late`: what was asked for is not known to the last.
    pub(super) fn received(&mut self, conn: ConnId, payload: u64, blocks: &[(Range, Asked)], late: bool) {
        self.add(conn, 0, payload - self.accounts.get(&conn).map_or(0, |account| account.moved[0]));
        for ((piece, begin, len), asked) in blocks {
            let (at, len) = ((*piece, *begin), u64::from(*len));
            let account = self.accounts.entry(conn).or_default();
            match (asked, late) {
                (Asked::Yes, _) => {}
                (Asked::Perhaps, _) | (Asked::No, true) => account.perhaps_unasked += len,
                (Asked::No, false) => {
                    account.unasked += len;
                    self.unasked += len;
                    continue;
                }
            }
            if self.done.contains(piece) || self.failed.contains(piece) || self.senders.contains_key(&at) {
                self.twice += len;
            }
            *self.senders.entry(at).or_default().entry(conn).or_default() |= *asked == Asked::Yes;
        }
    }

    /// The network took payload.
    pub(super) fn flushed(&mut self, conn: ConnId, payload: u64) {
        self.add(conn, 1, payload);
    }

    fn add(&mut self, conn: ConnId, what: usize, bytes: u64) {
        self.moved[what] += bytes;
        self.fresh.entry(conn).or_default()[what] += bytes;
        self.accounts.entry(conn).or_default().moved[what] += bytes;
    }

    /// A connection is gone, or a dial failed. What came since the engine was drained last it may or may not have counted: perhaps it had closed it before.
    pub(super) fn closed(&mut self, conn: ConnId) {
        self.sockets.remove(&conn);
        self.accounts.remove(&conn);
        let fresh = self.fresh.remove(&conn).unwrap_or_default();
        self.doubtful = [0, 1].map(|i| self.doubtful[i] + fresh[i]);
    }

    /// The engine began an operation.
    pub(super) fn submitted(&mut self, operation: &Operation) {
        if let (Operation::Hash { piece, .. }, Some(_)) = (operation, self.found) {
            // With nothing of it here, it is evidence of an earlier try that is read.
            let here = self.senders.range((piece.0, 0)..=(piece.0, u32::MAX)).next().is_some();
            self.read_back.extend(here.then_some(piece.0));
        }
    }

    /// The torrent is checked anew: what came of pieces that are not verified is lost, and what was verified counts no more than what was there.
    pub(super) fn rechecked(&mut self) {
        (self.found, self.rechecked) = (None, true);
        self.senders.clear();
        self.read_back.clear();
        self.done.clear();
    }

    /// The torrent is gone: what comes next begins from nothing. Connections that have not named a torrent stay.
    pub(super) fn begin_anew(&mut self) {
        let (sockets, banned) = (std::mem::take(&mut self.sockets), std::mem::take(&mut self.banned));
        *self = Books { sockets, banned, ..Books::default() };
    }

    /// The engine told something; `have_bytes` is what it now claims to have.
    pub(super) fn notice(&mut self, notice: &Notice, layout: &Layout, have_bytes: impl Fn() -> u64) {
        match notice {
            Notice::Checked { .. } => {
                let verified_before = self.found.map_or(self.verified, |[_, before]| before);
                self.found = Some([have_bytes(), verified_before]);
                self.lost = 0;
            }
            Notice::DiskTrouble { .. } => self.troubled = true,
            Notice::PieceVerified { piece, .. } => self.verified(*piece, layout),
            Notice::PiecesLost { pieces, .. } => {
                // From now on it is not known here what is still to be asked for.
                self.troubled = true;
                for piece in pieces {
                    self.lost += u64::from(layout.len_of(*piece));
                    self.done.remove(&piece.0);
                }
            }
            Notice::PieceFailed { piece, .. } => {
                self.corrupt += u64::from(layout.len_of(*piece));
                self.failed(piece.0);
            }
            Notice::Banned { addr, .. } => _ = self.banned.insert(*addr),
            _ => {}
        }
    }

    fn verified(&mut self, piece: PieceIndex, layout: &Layout) {
        let whole = u64::from(layout.len_of(piece));
        self.verified += whole;
        self.done.insert(piece.0);
        // A block may have come before the failure was told, and belong to the next try: then it is not among these.
        let has_failed = self.failed.contains(&piece.0);
        for (at, senders) in self.senders.range((piece.0, 0)..=(piece.0, u32::MAX)) {
            let len = u64::from(layout.block_len(piece, at.1 / BLOCK_LEN));
            for (conn, asked) in senders {
                let Some(account) = self.accounts.get_mut(conn) else { continue };
                // Sent by several: one of them is credited. Perhaps not asked for: perhaps thrown away.
                account.credit[0] += if *asked && senders.len() == 1 && !has_failed { len } else { 0 };
                account.credit[1] += len;
            }
        }
        if has_failed {
            self.accounts.values_mut().for_each(|account| account.credit[1] += whole);
        }
        self.take_senders(piece.0);
    }

    fn failed(&mut self, piece: u32) {
        let first = self.failed.insert(piece);
        let read_back = self.read_back.contains(&piece);
        let senders = self.take_senders(piece);
        // What went over the disk, or was lost there, is not blamed on anybody.
        if read_back || self.troubled {
            return;
        }
        senders.iter().for_each(|conn| *self.bad_pieces.entry(*conn).or_default() += 1);
        // Later, a block may have come before the last failure was told, and belong to this try.
        if senders.len() == 1 && first {
            self.guilty.extend(senders);
        }
    }

    fn take_senders(&mut self, piece: u32) -> BTreeSet<ConnId> {
        self.read_back.remove(&piece);
        let blocks: Vec<(u32, u32)> = self.senders.range((piece, 0)..=(piece, u32::MAX)).map(|(at, _)| *at).collect();
        blocks.into_iter().filter_map(|at| self.senders.remove(&at)).flat_map(BTreeMap::into_keys).collect()
    }

    /// Whether a dial goes where it must not.
    ///
    /// # Errors
    /// When the address is banned.
    pub(super) fn dialed(&self, to: SocketAddr) -> Result<(), Breach> {
        if self.banned.contains(&to) {
            return Err((Check::LiarBan, format!("{to} is dialled again")));
        }
        Ok(())
    }

    /// Everything the engine had to say so far was carried out; `is_liar` tells of a connection whether its other side sends bad data.
    ///
    /// # Errors
    /// When somebody is still there who should not be.
    pub(super) fn drained(
        &mut self,
        wires: &BTreeMap<ConnId, Wire>,
        is_liar: impl Fn(ConnId) -> bool,
    ) -> Result<(), Breach> {
        self.fresh.clear();
        if let Some(conn) = std::mem::take(&mut self.guilty).into_iter().find(|conn| wires.contains_key(conn)) {
            return Err((Check::LiarBan, format!("{conn} alone sent a bad piece and is still there")));
        }
        let spoilt = |(conn, bad): &(&ConnId, &u32)| **bad > MAX_BAD_PIECES && wires.contains_key(conn);
        if let Some((conn, bad)) = self.bad_pieces.iter().filter(spoilt).find(|(conn, _)| is_liar(**conn)) {
            return Err((Check::LiarBan, format!("{conn} lies, had a part in {bad} bad pieces and is still there")));
        }
        Ok(())
    }

    /// The engine has just asked `conn` for blocks: is any of them asked of somebody else?
    ///
    /// # Errors
    /// When it is, and should not be.
    pub(super) fn judge_asks(
        &self,
        wires: &BTreeMap<ConnId, Wire>,
        (conn, asks): (ConnId, &[Range]),
        layout: &Layout,
        is_snubbed: impl Fn(ConnId) -> bool,
    ) -> Result<(), Breach> {
        let Some(wire) = wires.get(&conn) else { return Ok(()) };
        for range in asks.iter().filter(|range| wire.asked().contains(range)) {
            let others = wires.iter().filter(|(other, wire)| **other != conn && wire.asked().contains(range));
            // What is just arriving from a peer that is too slow, or of a piece that was given up, is asked for anew.
            let given_up = self.failed.contains(&range.0) || self.troubled;
            let others = others.filter(|(other, wire)| !wire.is_arriving(*range) || !(given_up || is_snubbed(**other)));
            let others: Vec<ConnId> = others.map(|(other, _)| *other).collect();
            if others.len() >= MAX_COPIES {
                return Err((Check::EndGameOnly, format!("{range:?} of {conn} and {others:?}")));
            }
            // After trouble pieces are lost without a word: what is still to be asked for is not known here.
            if !others.is_empty() && !self.troubled {
                let free = self.find_free_block(wires, wire, layout);
                if let Some(free) = free {
                    let detail = format!("{range:?} of {conn} and {others:?}, while {free:?} is asked of nobody");
                    return Err((Check::EndGameOnly, detail));
                }
            }
        }
        Ok(())
    }

    /// A block within reach that nobody was asked for and nobody sent.
    fn find_free_block(&self, wires: &BTreeMap<ConnId, Wire>, ours: &Wire, layout: &Layout) -> Option<(u32, u32)> {
        // A block that was called off and comes all the same is welcome.
        let coming = wires.values().flat_map(Wire::coming);
        let asked: BTreeSet<(u32, u32)> = coming.map(|(piece, begin, _)| (piece, begin)).collect();
        // Of a piece that failed, a block may have come before or after its failure was told.
        let lacking = (0..layout.piece_count())
            .filter(|piece| !ours.has_said(*piece) && ours.wants(*piece) && !self.failed.contains(piece));
        let mut reachable = lacking.filter(|piece| wires.values().any(|wire| wire.is_live() && wire.has_told(*piece)));
        reachable.find_map(|piece| {
            let blocks = layout.blocks_of(PieceIndex(piece));
            let mut blocks = (0..blocks).map(|block| (piece, block * BLOCK_LEN));
            blocks.find(|at| !asked.contains(at) && !self.senders.contains_key(at))
        })
    }

    /// The counters of the engine.
    ///
    /// # Errors
    /// When they differ from ours.
    pub(super) fn check(&self, view: &TorrentView) -> Result<(), Breach> {
        let shown = [view.downloaded_bytes, view.uploaded_bytes];
        for (i, what) in ["received", "uploaded"].into_iter().enumerate() {
            let (most, least) = (self.moved[i], self.moved[i] - self.doubtful[i]);
            if !(least..=most).contains(&shown[i]) {
                let detail = format!("{} bytes {what} by its count, {least} to {most} by ours", shown[i]);
                return Err((Check::Counted, detail));
            }
        }
        let ledger = &view.ledger;
        let sums = [(view.downloaded_bytes, ledger.total()), (view.wasted_bytes, ledger.wasted())];
        let pieces = [(ledger.verified, self.verified), (ledger.corrupt, self.corrupt)];
        let differ = |(shown, ours): &(u64, u64)| shown != ours;
        let unasked = self.unasked.saturating_sub(self.doubtful[0]);
        if sums.iter().chain(&pieces).any(differ) || ledger.unrequested < unasked || ledger.duplicate > self.twice {
            let Books { verified, corrupt, twice, .. } = self;
            let ours =
                format!("{verified} verified, {corrupt} corrupt, {unasked} not asked for, {twice} twice at most");
            return Err((Check::Counted, format!("{ledger:?}; by our books {ours}")));
        }
        Ok(())
    }

    /// The counters of one connection.
    ///
    /// # Errors
    /// When they differ from ours.
    pub(super) fn check_peer(&self, peer: &PeerView) -> Result<(), Breach> {
        let account = self.accounts.get(&peer.conn).copied().unwrap_or_default();
        let Account { moved, unasked, perhaps_unasked, credit: [least, most] } = account;
        let ledger = &peer.ledger;
        if [ledger.total(), peer.uploaded_bytes] != moved
            || !(least..=most).contains(&ledger.verified)
            || !(unasked..=unasked + perhaps_unasked).contains(&ledger.unrequested)
        {
            let detail = format!("{}: {ledger:?}, {} sent; by our books {account:?}", peer.conn, peer.uploaded_bytes);
            return Err((Check::Counted, detail));
        }
        if peer.useful_rate > 0 && most == 0 {
            return Err((Check::Junk, format!("{} is good for {} bytes a second", peer.conn, peer.useful_rate)));
        }
        Ok(())
    }

    /// The counters of an engine that has everything.
    ///
    /// # Errors
    /// When more or less was of use than what was missing.
    pub(super) fn check_useful(&self, view: &TorrentView) -> Result<(), Breach> {
        let Some([found, verified_before]) = self.found else { return Ok(()) };
        let (missing, useful) = (view.have_bytes + self.lost - found, view.ledger.verified - verified_before);
        if useful != missing {
            return Err((Check::Useful, format!("{useful} bytes were of use, {missing} were missing")));
        }
        // Only a failing disk loses something, and who believes nothing any more.
        if view.ledger.lost > 0 && !self.troubled && !self.rechecked {
            return Err((Check::Counted, format!("{:?}", view.ledger)));
        }
        Ok(())
    }
}

/// Whether a peer is rated for what nobody asked of it.
///
/// # Errors
/// When it is.
pub(super) fn judge_rate(wire: &Wire, peer: &PeerView) -> Result<(), Breach> {
    if peer.down_rate > 0 && !wire.has_delivered() {
        return Err((Check::Junk, format!("{} at {} bytes a second", peer.conn, peer.down_rate)));
    }
    Ok(())
}
