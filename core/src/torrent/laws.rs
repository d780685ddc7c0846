//! What holds of a torrent between any two events, by recount.
//!
//! For tests, simulators and fuzzers: it looks at everything, changes nothing, and decides nothing.

use super::limits::{LOW_CREDIT_BYTES, MAX_AT_DRIVER_BYTES};
use super::readers::MAX_READERS;
use super::request::{END_GAME_COPIES, MAX_OPEN_PIECES, may_ask};
use super::upload::MAX_REQUESTS_BORNE;
use super::{Purpose, Shared, Torrent};
use crate::id::{BLOCK_LEN, ConnId, PieceIndex};
use crate::ledger::Ledger;
use crate::limiter::Turns;
use crate::peer::{Counted, Incoming, MAX_UNREAD_BYTES, Peer, READ_GRANT_BYTES, Stage};
use crate::pieces::Sent;
use crate::selection::Priority;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// What may wait for one peer at the end of an event: its end is decided between events, and one event answers one grant of its bytes.
const MOST_UNFLUSHED_BYTES: u64 = MAX_UNREAD_BYTES + READ_GRANT_BYTES;

impl Torrent {
    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self, shared: &Shared) {
        self.pieces.check_invariants();
        self.picker.check_invariants();
        self.candidates.check_invariants();
        self.announcer.check_invariants();
        self.blame.check_invariants();
        self.peers.values().for_each(Peer::check_invariants);
        self.check_pieces();
        self.check_peers(shared);
        self.check_requests();
        self.check_ledger();
        self.check_operations(shared);
        self.check_lines(shared);
        assert!(self.buffers() == 0 || !self.check_only, "who only checks holds no buffers");
        assert!(self.goals.reached().is_none() || self.pieces.is_finished(), "who has given enough has everything");
        assert!(self.is_running() || self.peers.is_empty(), "only who runs has peers");
        assert_eq!(self.state, self.wanted_state(shared), "the state follows from what was told");
        assert_eq!(shared.queue.asks(self.id), self.needed_place(), "it asks for the place that it needs");
    }

    fn check_pieces(&self) {
        let layout = &self.metainfo.layout;
        let total = layout.piece_count();
        for piece in (0..total).map(PieceIndex) {
            let priority = Some(self.selection.of_piece(piece)).filter(|priority| *priority != Priority::Skip);
            let missing = !self.pieces.have().get(piece) && self.pieces.get(piece).is_none();
            let pickable = priority.filter(|_| missing);
            assert_eq!(
                self.picker.priority_of(piece),
                pickable,
                "a piece that is missing and wanted, no other, can be picked"
            );
            let settled = self.pieces.have().get(piece) || priority.is_none();
            assert_eq!(
                self.pieces.settled().get(piece),
                settled,
                "nothing more is wanted of what is had or not selected"
            );
        }
        assert!(self.readers.len() <= MAX_READERS, "readers are bounded");
        assert!(self.pieces.open_count() <= MAX_OPEN_PIECES, "open pieces are bounded");
        let leases = self.pieces.iter_open().filter_map(|(_, open)| open.lease);
        assert!(leases.map(|(conn, _)| conn).all(|conn| self.peers.contains_key(&conn)), "a lease has a living holder");
        let failed = |piece| !self.pieces.have().get(piece);
        assert!(self.blame.failed().all(failed), "what failed and was mended is forgiven");
        let free = |(piece, _)| self.pieces.get(piece).is_none();
        let mut readings = self.blame.readings();
        assert!(readings.all(free), "what is under investigation is not asked for");
        let is_of_use = !self.picker.is_indexed() || self.is_anyone_counted();
        assert!(is_of_use, "the rarity index is there only while somebody has pieces");
        let mut having = vec![0; total as usize];
        for peer in self.peers.values() {
            match peer.counted {
                Counted::No => assert!(peer.has.is_empty_set(), "who has pieces stands in the rarity index"),
                Counted::Complete => having.iter_mut().for_each(|peers| *peers += 1),
                Counted::Partial => peer.has.iter_ones().for_each(|piece| having[piece.0 as usize] += 1),
            }
        }
        let told = (0..total).map(|piece| self.picker.availability(PieceIndex(piece)));
        assert!(told.eq(having.iter().copied()), "how many peers have a piece equals a recount");
    }

    fn check_peers(&self, shared: &Shared) {
        let config = &shared.config;
        assert!(self.peers.len() <= config.max_connections_per_torrent, "connections of a torrent are bounded");
        assert_eq!(self.sources, self.peers.values().filter(|p| may_ask(p)).count(), "sources equal a recount");
        let unchoked = self.peers.values().filter(|peer| !peer.am_choking()).count();
        assert!(
            unchoked <= self.upload_slots && self.upload_slots <= config.upload_slots,
            "no more peers are unchoked than there are slots"
        );
        let is_linked = |conn| self.peers.contains_key(&conn);
        assert!(self.candidates.links().all(is_linked), "an address in use has a link");
        for peer in self.peers.values() {
            let wanted = peer.has.iter_ones_not_in(self.pieces.settled()).count() as u32;
            assert_eq!(peer.wanted, wanted, "pieces wanted of a peer equal a recount");
            assert_eq!(peer.am_interested, wanted > 0, "interested exactly when there is something to want");
            assert!(peer.tx.unflushed_bytes() <= MOST_UNFLUSHED_BYTES, "what waits for one peer is bounded");
            assert!(peer.uploads.len() <= MAX_REQUESTS_BORNE, "what one peer asks for is bounded");
            assert!(peer.uploads.iter().all(|r| self.pieces.have().get(r.piece)), "only what is verified is given");
        }
    }

    /// How many peers are asked for each block, and from how many it is just coming.
    fn check_requests(&self) {
        let mut asked: BTreeMap<(PieceIndex, u32), (u32, u32)> = BTreeMap::new();
        for peer in self.peers.values() {
            for request in peer.requested().map(|outstanding| outstanding.request) {
                asked.entry((request.piece, request.begin / BLOCK_LEN)).or_default().0 += 1;
            }
            if let Some(Incoming { request, counted: true, .. }) = peer.incoming() {
                asked.entry((request.piece, request.begin / BLOCK_LEN)).or_default().1 += 1;
            }
        }
        assert!(asked.values().all(|(n, _)| *n <= u32::from(END_GAME_COPIES)), "a block is asked of two peers at most");
        for (piece, open) in self.pieces.iter_open() {
            for block in 0..self.metainfo.layout.blocks_of(piece) {
                let (requested, arriving) = asked.remove(&(piece, block)).unwrap_or_default();
                match open.asked(block) {
                    Some(n) => assert_eq!(n, requested + arriving, "requests under way equal a recount"),
                    // A block that came from one peer may still be arriving from another.
                    None => assert_eq!(requested, 0, "what is here is not asked for"),
                }
            }
        }
        let is_here = |piece: &PieceIndex| self.pieces.have().get(*piece);
        assert!(asked.iter().all(|((piece, _), (n, _))| *n == 0 && is_here(piece)), "only open pieces are asked for");
    }

    /// Payload without a fate is in open pieces, or just arriving; and what each peer sent is part of what the torrent received.
    fn check_ledger(&self) {
        let (mut undecided, mut known) = (BTreeMap::new(), Ledger::default());
        for (piece, open) in self.pieces.iter_open() {
            for Sent { block, from, .. } in open.sent() {
                *undecided.entry(from.conn).or_default() += u64::from(self.metainfo.layout.block_len(piece, block));
            }
        }
        for peer in self.peers.values() {
            if let Some(incoming) = peer.incoming() {
                *undecided.entry(peer.conn).or_default() += incoming.filled as u64;
            }
            let wanted = undecided.get(&peer.conn).copied().unwrap_or_default();
            assert_eq!(peer.ledger.undecided, wanted, "what a peer sent and nobody judged equals a recount");
            known.verified += peer.ledger.verified;
            known.corrupt += peer.ledger.corrupt;
            known.late += peer.ledger.wasted() - peer.ledger.corrupt;
        }
        let Ledger { verified, corrupt, .. } = self.ledger;
        assert_eq!(self.ledger.undecided, undecided.values().sum::<u64>(), "what nobody judged equals a recount");
        assert_eq!(self.ledger.total(), self.downloaded.total(), "each byte received has one fate");
        let other = self.ledger.wasted() - corrupt;
        let covered = known.verified <= verified && known.corrupt <= corrupt && known.late <= other;
        assert!(covered, "what a peer sent is part of what came");
    }

    fn check_operations(&self, shared: &Shared) {
        let mut stores: BTreeMap<PieceIndex, (u32, u32)> = BTreeMap::new();
        let (mut checks, mut preparing, mut errands, mut syncs, mut others, mut looks) = (0, 0, 0, 0, 0, 0);
        let mut evidence = Vec::new();
        let mut steps = vec![];
        let mut moving = BTreeSet::new();
        let mut awaited = self.announcer.requests();
        for purpose in shared.purposes_of(self.id) {
            match purpose {
                Purpose::Absorb { piece, hashing, .. } => {
                    let (operations, hashes) = stores.entry(piece).or_default();
                    (*operations, *hashes) = (*operations + 1, *hashes + u32::from(hashing));
                }
                Purpose::ReadBack { piece } => {
                    let (operations, hashes) = stores.entry(piece).or_default();
                    (*operations, *hashes) = (*operations + 1, *hashes + 1);
                }
                Purpose::Check(_) => checks += 1,
                Purpose::Truncate | Purpose::Prepare | Purpose::DropParts => preparing += 1,
                // An answer that comes too late belongs to no reading.
                Purpose::Evidence { piece, id } => evidence.push((piece, id)),
                Purpose::Checkpoint(step) => steps.push(step),
                Purpose::Errand => errands += 1,
                Purpose::Sync => syncs += 1,
                Purpose::Unpart(piece) => _ = moving.insert(piece),
                Purpose::Stat => others += 1,
                Purpose::Losses => looks += 1,
                Purpose::Announce(_) => {}
            }
        }
        assert_eq!(u32::from(self.life.is_on_errand()), errands, "errands under way equal a recount");
        let beside = stores.len() + evidence.len() + steps.len() + moving.len();
        let beside = beside + (checks + preparing + syncs + others + looks) as usize;
        assert!(errands == 0 || beside == 0, "an errand has the disk for itself");
        assert!(self.parts.moving().eq(moving), "what is moved from the part file equals a recount");
        assert_eq!(u32::from(self.losses.is_looking()), looks, "one look at a time finds out what is gone");
        assert_eq!(self.syncs, syncs, "syncs of a torrent equal a recount");
        for (piece, open) in self.pieces.iter_open() {
            let (operations, hashes) = stores.remove(&piece).unwrap_or_default();
            assert_eq!(open.operations(), operations, "disk operations of a piece equal a recount");
            assert_eq!(u32::from(open.is_hashing()), hashes, "one operation at a time hashes a piece");
        }
        assert!(stores.is_empty(), "a disk operation on blocks has an open piece");
        assert_eq!(self.check.under_way(), (checks, preparing), "operations of the check equal a recount");
        let exhibits = |reading| evidence.iter().filter(|exhibit| **exhibit == reading).count();
        assert!(self.blame.readings().all(|reading| exhibits(reading) == 1), "evidence is read one exhibit at a time");
        assert_eq!(steps, Vec::from_iter(self.checkpoints.step()), "a checkpoint has one operation under way");
        let is_under_way = |request| shared.purposes_of(self.id).any(|purpose| purpose == Purpose::Announce(request));
        assert!(awaited.all(is_under_way), "an announce waits for what is under way");
    }

    fn check_lines(&self, shared: &Shared) {
        let promised = self.lines.down.bucket.promised();
        assert_eq!(promised, self.promised_bytes(shared), "what may still be received equals a recount");
        let up = self.is_up_limited(shared);
        for peer in self.peers.values() {
            assert!(up || peer.tx.held_bytes() == 0, "without a limit nothing is held back");
            let low = peer.stage != Stage::Dialing && peer.read_credit < LOW_CREDIT_BYTES;
            assert!(
                !low || self.lines.down.turns.contains(peer.conn),
                "who may send next to nothing waits for its turn"
            );
            let in_line = self.lines.down.turns.contains(peer.conn);
            assert_eq!(in_line, peer.in_line_since.is_some(), "whose clocks stand still is in line");
            let wants = up && (peer.tx.held_bytes() > 0 || !peer.uploads.is_empty());
            let waits = self.lines.up.turns.contains(peer.conn);
            let slow = peer.tx.bytes_at_driver() >= MAX_AT_DRIVER_BYTES;
            assert!(!wants || waits || slow, "who is to be sent something waits for its turn");
        }
        let in_line = |line: &Turns<ConnId>| line.iter().all(|conn| self.peers.contains_key(&conn));
        assert!(in_line(&self.lines.down.turns) && in_line(&self.lines.up.turns), "only who is connected waits");
        assert!(!self.waits(true) || shared.lines.down.turns.contains(self.id), "a torrent waits with its peers");
        assert!(!self.waits(false) || shared.lines.up.turns.contains(self.id), "a torrent waits with its peers");
    }
}
