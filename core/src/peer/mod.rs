//! One connection to a peer: handshake, flags, requests both ways. It does not know its transport: bytes come in, the send queue goes out.
//!
//! A peer checks what one connection alone can know (order, ranges, redundancy) and tells the torrent the rest as [`News`]. It never touches pieces.

mod messages;
mod requests;
mod turns;

pub(crate) use messages::{LT_DONTHAVE_ID, News};
pub(crate) use requests::{Arrival, Incoming, Outstanding};

use crate::bitfield::Bitfield;
use crate::block::BlockPool;
use crate::choker::Slot;
use crate::id::{ConnId, PeerId, PieceIndex, TorrentId};
use crate::ledger::Ledger;
use crate::limiter::LEAST_BYTES;
use crate::pipeline::{MAX_WINDOW, Pipeline};
use crate::rate::{LumpRate, Rate};
use crate::time::Instant;
use crate::tx::TxQueue;
use crate::view::PeerView;
use crate::wire::{BlockRequest, Decoder, ExtensionIds, Handshake, Message};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use core::net::SocketAddr;
use requests::MAX_FORGOTTEN;
use turns::Turns;

/// What a peer may always send when a limit holds back what is received: so that it can be heard, a message or a handshake at a time.
pub(crate) const IDLE_CREDIT_BYTES: u64 = 64;
/// What a fresh connection may send before its turn comes: a handshake (BEP 3), so that nobody is late for want of a turn.
pub(crate) const FIRST_CREDIT_BYTES: u64 = 128;
/// Bytes the driver may read ahead of us: a few of its reads, so that a fast link never waits for a grant.
pub(crate) const READ_GRANT_BYTES: u64 = 1024 * 1024;
/// A peer that lets this much pile up does not read; every `have` to it would add to the pile.
pub(crate) const MAX_UNREAD_BYTES: u64 = 4 * 1024 * 1024;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// We dialled and wait for an answer.
    Dialing,
    /// Connected; their handshake is awaited.
    Handshaking,
    /// Both handshakes are done.
    Live,
}

/// How a peer stands in the rarity index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Not at all: nothing known of its pieces.
    No,
    /// As one that has everything.
    Complete,
    /// Piece by piece.
    Partial,
}

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its number.
    pub conn: ConnId,
    /// The other side's address: where we dialled, or where it came from.
    pub addr: SocketAddr,
    /// Where it listens, as far as known.
    pub listen_addr: Option<SocketAddr>,
    /// How far it is.
    pub stage: Stage,
    /// Since when it is that far.
    pub stage_since: Instant,
    /// The receiving half.
    pub decoder: Decoder,
    /// The sending half.
    pub tx: TxQueue,
    /// Whether the engine already knows that `tx` has something.
    pub tx_announced: bool,
    /// When the network last took something of `tx`, or nothing waited for it.
    pub tx_moved: Instant,
    /// What the driver may still read.
    pub read_credit: u64,
    /// Since when it waits for its turn to send, under a limit of ours: its clocks stand still meanwhile.
    pub in_line_since: Option<Instant>,
    /// When it was last allowed to send something under a limit, and how much at a time it makes good use of.
    pub granted: Instant,
    /// See `granted`.
    pub grant_bytes: u64,
    /// Control bytes to it that no limit of its torrent has counted yet.
    pub control_bytes: u64,
    /// Payload let go to it in this turn of the line of those who receive from us.
    pub turn_bytes: u64,
    /// What it calls itself; zeros before its handshake.
    pub peer_id: PeerId,
    /// BEP 6 was agreed.
    pub fast: bool,
    /// BEP 10 was agreed.
    pub extended: bool,
    /// The extensions that it takes messages of.
    pub takes: ExtensionIds,
    /// Its client, from BEP 10.
    pub client: String,
    /// It said that it will not download (BEP 21).
    pub upload_only: bool,
    /// Its pieces.
    pub has: Bitfield,
    /// How many of them we lack.
    pub wanted: u32,
    /// How it stands in the rarity index.
    pub counted: Counted,
    /// Its upload slot; without one we choke it.
    pub slot: Slot,
    /// It was unchoked at some time.
    pub was_served: bool,
    /// We want something.
    pub am_interested: bool,
    /// It chokes us.
    pub peer_choking: bool,
    /// It wants something.
    pub peer_interested: bool,
    /// Since when we choke it, or do not.
    pub choke_since: Instant,
    /// The pieces whose blocks it is being asked for.
    pub turns: Turns,
    /// How many requests to keep under way.
    pub pipeline: Pipeline,
    /// Blocks on the way that the pool is larger by, because it is distant.
    pub far_blocks: u32,
    /// Payload from it that was worth keeping when it came.
    pub down: Rate,
    /// Payload to it.
    pub up: Rate,
    /// What became of all payload from it.
    pub ledger: Ledger,
    /// Verified payload from it.
    pub useful: LumpRate,
    /// Since when it has sent what has no verdict yet, or when a piece with blocks of it was last verified.
    pub collecting_since: Instant,
    /// Payload of this second from it.
    pub down_this_second: u64,
    /// It sent blocks of pieces that were verified.
    pub sent_good_pieces: bool,
    /// When it last said anything.
    pub last_heard: Instant,
    /// When we last said anything.
    pub last_sent: Instant,
    /// When it last completed a block, or, with nothing under way before, was asked for one.
    pub last_progress: Instant,
    /// When it last asked for a block that it got in line for.
    pub last_asked: Instant,
    /// Its requests, waiting for the send queue to drain.
    pub uploads: VecDeque<BlockRequest>,
    requested: VecDeque<Outstanding>,
    forgotten: VecDeque<BlockRequest>,
    incoming: Option<Incoming>,
    unrequested_blocks: u32,
    first_message_seen: bool,
    /// Pieces that it took back (BEP 54), each time counted.
    taken_back: u32,
    patience: u32,
}

impl Peer {
    /// A connection at its beginning.
    pub(crate) fn new(conn: ConnId, addr: SocketAddr, now: Instant, stage: Stage) -> Self {
        Peer {
            conn,
            addr,
            listen_addr: conn.is_dialed().then_some(addr),
            stage,
            stage_since: now,
            decoder: Decoder::default(),
            tx: TxQueue::default(),
            tx_announced: false,
            tx_moved: now,
            read_credit: 0,
            in_line_since: None,
            granted: Instant::ZERO,
            grant_bytes: LEAST_BYTES,
            control_bytes: 0,
            turn_bytes: 0,
            peer_id: PeerId([0; 20]),
            fast: false,
            extended: false,
            takes: ExtensionIds::default(),
            client: String::new(),
            upload_only: false,
            has: Bitfield::empty(0),
            wanted: 0,
            counted: Counted::No,
            slot: Slot::None,
            was_served: false,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            choke_since: now,
            turns: Turns::default(),
            pipeline: Pipeline::default(),
            far_blocks: 0,
            down: Rate::default(),
            up: Rate::default(),
            ledger: Ledger::default(),
            useful: LumpRate::default(),
            collecting_since: now,
            down_this_second: 0,
            sent_good_pieces: false,
            last_heard: now,
            last_sent: now,
            last_progress: now,
            last_asked: now,
            uploads: VecDeque::new(),
            requested: VecDeque::new(),
            forgotten: VecDeque::new(),
            incoming: None,
            unrequested_blocks: 0,
            first_message_seen: false,
            taken_back: 0,
            patience: messages::PATIENCE,
        }
    }

    /// Their handshake was accepted.
    pub(crate) fn go_live(&mut self, now: Instant, theirs: &Handshake, ours: &Handshake, pieces: u32) {
        self.stage = Stage::Live;
        self.stage_since = now;
        self.peer_id = theirs.peer_id;
        self.fast = theirs.supports_fast() && ours.supports_fast();
        self.extended = theirs.supports_extended() && ours.supports_extended();
        self.has = Bitfield::empty(pieces);
        self.decoder.set_piece_count(pieces);
    }

    /// Queues a message.
    pub(crate) fn send(&mut self, now: Instant, message: &Message<'_>) {
        self.last_sent = now;
        self.tx.push(message);
    }

    /// Tells it that we have a piece. It can wait for the next message, or for the second to end, when it changes nothing now: when the peer is interested
    /// already and may not ask, or has the piece too and we want others of it (else it would wonder why not this one). A `have` alone costs a system call
    /// and wakes the other side, hundreds of times a second among many.
    pub(crate) fn tell_have(&mut self, now: Instant, piece: PieceIndex) {
        let have = Message::Have(piece);
        let changes_nothing =
            if self.has.get(piece) { self.am_interested } else { self.peer_interested && self.am_choking() };
        if changes_nothing {
            self.tx.push_patiently(&have);
        } else {
            self.send(now, &have);
        }
    }

    /// Whatever can wait waits no longer. To be announced by the caller.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if self.tx.hurry() {
            self.last_sent = now;
        }
    }

    /// Tells the peer whether we want something, when that changed.
    pub(crate) fn set_interested(&mut self, now: Instant, interested: bool) {
        if self.am_interested != interested {
            self.am_interested = interested;
            self.send(now, if interested { &Message::Interested } else { &Message::NotInterested });
        }
    }

    /// A second has passed.
    pub(crate) fn tick(&mut self, pool: &mut BlockPool) {
        self.patience = (self.patience + messages::PATIENCE_PER_SECOND).min(messages::PATIENCE);
        let busy = !self.requested.is_empty();
        self.pipeline.tick(self.down_this_second, busy);
        self.tell_far(pool, if busy { self.pipeline.far_blocks() } else { 0 });
        self.down_this_second = 0;
        self.down.tick();
        self.up.tick();
        self.useful.tick();
    }

    /// Whether it has every piece, or never wants one.
    pub(crate) fn is_seed(&self) -> bool {
        self.upload_only || (self.has.is_full() && self.counted != Counted::No)
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        self.tx.check_invariants();
        assert!(self.requested.len() <= MAX_WINDOW as usize, "no more requests than the window");
        assert!(self.forgotten.len() <= MAX_FORGOTTEN, "requests given up are remembered for a while only");
        let arriving = self.incoming.iter().filter(|incoming| incoming.counted).map(|incoming| incoming.request);
        let mut asked = BTreeSet::new();
        for request in self.requested.iter().map(|outstanding| outstanding.request).chain(arriving) {
            assert!(asked.insert(request), "a peer is asked for a block once");
        }
        let mut requested = self.requested.iter().map(|outstanding| outstanding.request.piece);
        assert!(requested.all(|piece| self.has.get(piece)), "a peer is asked for what it has");
        if let Some(Incoming { request, block: Some(block), filled, counted, .. }) = &self.incoming {
            assert!(block.len() == request.len as usize && *filled <= block.len(), "a block fits its buffer");
            assert!(*counted || self.pipeline.is_snubbed(), "a block that is kept is counted, unless it is too slow");
        }
        assert!(!self.am_choking() || self.uploads.is_empty(), "nothing waits for a peer that is choked");
        assert!(
            self.stage == Stage::Live || (self.requested.is_empty() && self.am_choking()),
            "nothing before handshakes"
        );
        assert_eq!(self.tx_announced, self.tx.is_ready(), "who has something to send has said so");
    }

    /// Whether we choke it.
    pub(crate) fn am_choking(&self) -> bool {
        self.slot == Slot::None
    }

    /// What it was allowed to send under a limit beyond what everybody always may.
    pub(crate) fn promised_bytes(&self) -> u64 {
        self.read_credit.saturating_sub(IDLE_CREDIT_BYTES)
    }

    /// A picture of it.
    pub(crate) fn view(&self, torrent: TorrentId, held_back: bool) -> PeerView {
        PeerView {
            conn: self.conn,
            torrent,
            addr: self.addr,
            peer_id: self.peer_id,
            client: self.client.clone(),
            am_choking: self.am_choking(),
            has_earned_slot: self.slot == Slot::Earned,
            peer_choking: self.peer_choking,
            am_interested: self.am_interested,
            peer_interested: self.peer_interested,
            pieces: self.has.count(),
            taken_back: self.taken_back,
            requested: self.requested.len() as u32,
            window: self.pipeline.window(),
            down_rate: self.down.per_second(),
            up_rate: self.up.per_second(),
            useful_rate: self.useful.per_second(),
            ledger: self.ledger,
            uploaded_bytes: self.up.total(),
            snubbed: self.pipeline.is_snubbed(),
            held_back,
        }
    }
}

#[cfg(test)]
mod tests;
