//! What to ask of which peer.
//!
//! In this order: what readers wait for (see `readers`); the piece the peer is at; an open piece that nobody is at; a new piece, the rarest; an open piece that others are at; and when every
//! block that is left was asked for (end game), blocks that others were asked for. A reservation in the pool comes first, always.
//!
//! A fast peer is at several pieces in turns (see `peer::turns`). What it spoils if it lies grows with them: so they are no more than it has given whole and good.

use super::{Shared, Torrent};
use crate::id::{BLOCK_LEN, ConnId, PieceIndex};
use crate::peer::{Peer, Stage};
use crate::picker::Order;
use crate::pieces::OpenPiece;
use crate::selection::Priority;
use crate::time::Instant;
use crate::view::TorrentState;
use crate::wire::{BlockRequest, Message};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Bound::{self, Excluded, Included, Unbounded};

/// A block is asked of so many peers at most, in the end game: one who is slow and one who is not.
pub(super) const END_GAME_COPIES: u8 = 2;
/// Open pieces of a torrent: each costs some bytes a block. The pool empties long before, but for pieces of one block.
pub(super) const MAX_OPEN_PIECES: usize = 4096;
/// Requests that each peer may have under way however many share the pool: fewer would leave it waiting for us.
const MIN_SHARE: usize = 4;
/// Pieces that all peers together are at in turns, beyond one each: they fill the lanes of any hasher, and the pool holds a run of each.
const MAX_TURNS: usize = 16;
/// Pieces that one peer is at in turns: what one liar may spoil.
const MAX_TURNS_OF_PEER: usize = 8;
/// Pieces taken at random before the rarest come first: something complete to trade with, soon.
const RANDOM_PIECES: u32 = 4;

impl Torrent {
    /// Asks every peer for as much as it may be asked for.
    pub(crate) fn fill_all_requests(&mut self, now: Instant, shared: &mut Shared) {
        shared.starved.remove(&self.id);
        if self.state != TorrentState::Downloading || self.pieces.is_finished() {
            return;
        }
        self.open_failed_pieces(now);
        let share = self.share_of_pool(shared);
        // Who keeps us waiting comes last: else a block that was just taken back would go there again.
        for late in [false, true] {
            // Once around, from behind who took the last buffer: of hundreds of peers each has its turn, and few are looked at for one buffer.
            let last = self.asked_last;
            let mut served = last;
            for (mut from, to) in [(Excluded(last), Unbounded), (Unbounded, Included(last))] {
                while let Some(conn) = self.next_hungry((from, to), late, share) {
                    let asked = |torrent: &Torrent| torrent.peers.get(&conn).map_or(0, |peer| peer.requested().len());
                    let before = asked(self);
                    self.fill_requests(now, shared, conn);
                    if asked(self) > before {
                        served = conn;
                    }
                    if shared.starved.contains(&self.id) {
                        self.asked_last = served;
                        return;
                    }
                    from = Excluded(conn);
                }
            }
        }
    }

    /// The first of these peers that may be asked for more. `late`: of those that keep us waiting, else of the others.
    fn next_hungry(&self, conns: (Bound<ConnId>, Bound<ConnId>), late: bool, share: u32) -> Option<ConnId> {
        let mut peers = self.peers.range(conns);
        let found = peers.find(|(_, peer)| may_ask(peer) && peer.room(share) > 0 && peer.pipeline.is_snubbed() == late);
        found.map(|(conn, _)| *conn)
    }

    /// Something changed in who may be asked.
    pub(super) fn recount_sources(&mut self) {
        self.sources = self.peers.values().filter(|peer| may_ask(peer)).count();
    }

    /// Asks one peer for as much as it may be asked for.
    pub(super) fn fill_requests(&mut self, now: Instant, shared: &mut Shared, conn: ConnId) {
        if self.state != TorrentState::Downloading {
            return;
        }
        let Some(peer) = self.peers.get(&conn).filter(|peer| may_ask(peer)) else { return };
        // Who keeps us waiting first finishes what it has begun.
        let late = peer.pipeline.is_snubbed() && !peer.is_idle();
        let room = if late { 0 } else { peer.room(self.share_of_pool(shared)) };
        for _ in 0..room {
            if !shared.pool.reserve() {
                shared.starved.insert(self.id);
                break;
            }
            let Some((piece, block)) = self.pick_block(now, shared, conn) else {
                shared.pool.unreserve();
                break;
            };
            let len = self.metainfo.layout.block_len(piece, block);
            let request = BlockRequest { piece, begin: block * BLOCK_LEN, len };
            self.pieces.update(piece, |open| open.request(block));
            if let Some(peer) = self.peers.get_mut(&conn) {
                peer.note_requested(now, request);
                peer.send(now, &Message::Request(request));
            }
        }
        if let Some(peer) = self.peers.get_mut(&conn) {
            shared.announce_tx(peer);
        }
    }

    /// How many requests one peer may have under way, however wide its window: none may hold so much of the pool that others cannot be asked.
    pub(super) fn share_of_pool(&self, shared: &Shared) -> u32 {
        let share = (shared.pool.size() / self.sources.max(1)).max(MIN_SHARE) as u32;
        share.min(self.window_under_limits(shared))
    }

    fn pick_block(&mut self, now: Instant, shared: &Shared, conn: ConnId) -> Option<(PieceIndex, u32)> {
        if let Some(awaited) = self.pick_awaited(now, conn) {
            return Some(awaited);
        }
        let width = self.turns_of(shared, self.peers.get(&conn)?);
        loop {
            let turns = &self.peers.get(&conn)?.turns;
            let one_more = match turns.len() {
                0 => self.pick_piece(now, conn).or_else(|| self.pick_open_piece(now, conn, false)),
                count if count < width && turns.is_between() => self.pick_piece(now, conn),
                _ => None,
            };
            let turns = &mut self.peers.get_mut(&conn)?.turns;
            one_more.into_iter().for_each(|piece| turns.begin(piece));
            let Some(piece) = turns.current() else { return self.pick_end_game(now, conn) };
            if let Some(block) = self.first_missing(now, conn, piece) {
                self.peers.get_mut(&conn)?.turns.note_asked(shared.config.turns.blocks);
                return Some((piece, block));
            }
            self.peers.get_mut(&conn)?.turns.leave(piece);
        }
    }

    /// How many pieces a peer may be at.
    fn turns_of(&self, shared: &Shared, peer: &Peer) -> usize {
        if self.sequential || peer.ledger.corrupt > 0 {
            return 1;
        }
        // Who has sent so much in a part of a second is that fast at least.
        let rate = peer.down.per_second().max(peer.down_this_second);
        let by_rate = rate / shared.config.turns.rate_per_piece.max(1);
        let given = peer.ledger.verified / u64::from(self.metainfo.layout.piece_len().max(1));
        let share = MAX_TURNS_OF_PEER.min(MAX_TURNS / self.sources.max(1));
        usize::try_from(by_rate.min(given)).unwrap_or(usize::MAX).min(share).max(1)
    }

    /// A piece that nobody is at: what is begun comes first, but for what is more urgent.
    fn pick_piece(&mut self, now: Instant, conn: ConnId) -> Option<PieceIndex> {
        let orphan = self.pick_open_piece(now, conn, true);
        let above = orphan.map(|piece| self.selection.of_piece(piece));
        self.open_new_piece(conn, above).or(orphan)
    }

    pub(super) fn first_missing(&mut self, now: Instant, conn: ConnId, piece: PieceIndex) -> Option<u32> {
        let open = self.pieces.get(piece)?;
        if is_leased_to_other(open.lease, now, conn) || self.peers.get(&conn)?.is_swallowing(piece) {
            return None;
        }
        self.pieces.update(piece, OpenPiece::first_missing)?
    }

    /// An open piece with blocks that nobody was asked for, the most urgent. `orphan`: only one that nobody is at.
    fn pick_open_piece(&self, now: Instant, conn: ConnId, orphan: bool) -> Option<PieceIndex> {
        let peer = self.peers.get(&conn)?;
        let candidates = self.pieces.iter_wanting().filter(|(piece, open)| {
            peer.has.get(*piece) && !peer.is_swallowing(*piece) && !is_leased_to_other(open.lease, now, conn)
        });
        let fitting = candidates.map(|(piece, _)| piece).filter(|piece| {
            !orphan || !self.peers.values().any(|p| p.turns.contains(*piece) && (p.conn == conn || may_ask(p)))
        });
        self.most_urgent(fitting)
    }

    /// Of these pieces the first of the highest priority.
    fn most_urgent(&self, mut pieces: impl Iterator<Item = PieceIndex>) -> Option<PieceIndex> {
        if self.selection.is_usual() {
            return pieces.next();
        }
        pieces.min_by_key(|piece| Reverse(self.selection.of_piece(*piece)))
    }

    /// Begins a missing piece; with `above`, only one that is more urgent than that.
    fn open_new_piece(&mut self, conn: ConnId, above: Option<Priority>) -> Option<PieceIndex> {
        if self.pieces.open_count() >= MAX_OPEN_PIECES || self.picker.missing_count() == 0 {
            return None;
        }
        let peer = self.peers.get(&conn)?;
        let allowed = |piece| !peer.is_swallowing(piece) && !self.blame.has_failed(piece);
        let order = match () {
            () if self.sequential => Order::Sequential,
            () if self.pieces.have().count() < RANDOM_PIECES => Order::Any,
            () => Order::Rarest,
        };
        let piece = self.picker.pick(&peer.has, order, above, &mut self.picker_rng, allowed)?;
        self.begin_piece(piece);
        Some(piece)
    }

    /// Opens a missing piece.
    pub(super) fn begin_piece(&mut self, piece: PieceIndex) {
        self.picker.remove(piece);
        self.pieces.open(piece, None);
    }

    /// A piece that failed is begun by one author, drawn among all who could send it: else whoever is first to ask might be the liar each time.
    fn open_failed_pieces(&mut self, now: Instant) {
        let retries: Vec<_> =
            self.blame.retries().filter(|(piece, _)| self.picker.priority_of(*piece).is_some()).collect();
        for (piece, lease) in retries {
            let able = self.peers.values().filter(|p| may_ask(p) && p.has.get(piece) && !p.is_swallowing(piece));
            // Who keeps us waiting would only keep the piece waiting.
            let late = able.clone().all(|peer| peer.pipeline.is_snubbed());
            let able: Vec<ConnId> =
                able.filter(|peer| late || !peer.pipeline.is_snubbed()).map(|peer| peer.conn).collect();
            let author = able.get(self.picker_rng.below(able.len().max(1) as u64) as usize);
            if let Some(author) = author.filter(|_| self.pieces.open_count() < MAX_OPEN_PIECES) {
                self.picker.remove(piece);
                self.pieces.open(piece, Some((*author, now + lease)));
            }
        }
    }

    fn pick_end_game(&self, now: Instant, conn: ConnId) -> Option<(PieceIndex, u32)> {
        // Pieces that nobody here has are not waited for.
        let reachable = |(piece, _)| self.picker.availability(piece) > 0;
        if self.picker.reachable_count() > 0 || self.pieces.iter_wanting().any(reachable) {
            return None;
        }
        // Who keeps us waiting would only take up the place of one who does not.
        let peer = self.peers.get(&conn).filter(|peer| !peer.pipeline.is_snubbed())?;
        let open = self.pieces.iter_open().filter(|(piece, _)| peer.has.get(*piece) && !peer.is_swallowing(*piece));
        open.filter(|(_, open)| !is_leased_to_other(open.lease, now, conn))
            .flat_map(|(piece, open)| open.awaited(END_GAME_COPIES).map(move |(block, asked)| (asked, piece, block)))
            .filter(|(_, piece, block)| {
                let len = self.metainfo.layout.block_len(*piece, *block);
                !peer.is_asked_for(BlockRequest { piece: *piece, begin: block * BLOCK_LEN, len })
            })
            .min()
            .map(|(_, piece, block)| (piece, block))
    }

    /// A peer is too slow: others are asked for what it was asked for, also for the block that is just arriving.
    pub(super) fn snub(&mut self, now: Instant, shared: &mut Shared, conn: ConnId) {
        self.take_requests_back(now, shared, conn);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.pipeline.snub();
        peer.last_progress = now;
        if let Some(incoming) = peer.incoming_mut().filter(|incoming| incoming.counted) {
            incoming.counted = false;
            let request = incoming.request;
            self.unrequest(&[request]);
        }
    }

    /// Takes all requests of one peer back: it choked us, or is too slow.
    pub(super) fn take_requests_back(&mut self, now: Instant, shared: &mut Shared, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.turns.clear();
        let given_up = peer.forget_requests();
        // Without BEP 6 a choke has made them void already.
        let void = peer.peer_choking && !peer.fast;
        for request in &given_up {
            shared.pool.unreserve();
            if !void {
                peer.send(now, &Message::Cancel(*request));
            }
        }
        shared.announce_tx(peer);
        self.unrequest(&given_up);
    }

    /// These blocks will not come from where they were asked.
    pub(super) fn unrequest(&mut self, requests: &[BlockRequest]) {
        for request in requests {
            self.pieces.update(request.piece, |open| {
                open.unrequest(request.begin / BLOCK_LEN);
                open.lease = None;
            });
        }
    }

    /// The disk refuses: nothing more is wanted for now.
    pub(super) fn drop_all_requests(&mut self, now: Instant, shared: &mut Shared) {
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            self.take_requests_back(now, shared, conn);
        }
    }

    /// Others were asked for this block too: call them off.
    pub(super) fn cancel_elsewhere(&mut self, now: Instant, shared: &mut Shared, request: BlockRequest) {
        for peer in self.peers.values_mut() {
            if peer.forget_request(request) {
                shared.pool.unreserve();
                peer.send(now, &Message::Cancel(request));
                shared.announce_tx(peer);
            }
        }
    }
}

pub(super) fn may_ask(peer: &Peer) -> bool {
    peer.stage == Stage::Live && !peer.peer_choking && peer.am_interested
}

pub(super) fn is_leased_to_other(lease: Option<(ConnId, Instant)>, now: Instant, conn: ConnId) -> bool {
    lease.is_some_and(|(holder, until)| holder != conn && until > now)
}
