//! What only a test asks of a torrent, and each of its laws broken by hand.

use super::*;
use crate::action::{Operation, TxBatch};
use crate::choker::Slot;
use crate::event::Hashed;
use crate::id::{BLOCK_LEN, Digest, OpId, PieceIndex, ReaderId};
use crate::layout::Layout;
use crate::selection::Priority;
use crate::view::Place;
use crate::wire::BlockRequest;
use alloc::string::String;
use alloc::vec;

/// Nobody has this number.
const NOBODY: ConnId = ConnId::dialed(99);
/// The peers of the busy torrent, by how they came.
const GIVER: ConnId = ConnId::accepted(0);
const TAKER: ConnId = ConnId::accepted(1);
const OTHER: ConnId = ConnId::accepted(2);

/// A law, and what breaks it in the busy torrent of the engine's tests.
type Breach = (&'static str, fn(&mut Torrent, &mut Shared));

fn request(piece: u32) -> BlockRequest {
    BlockRequest { piece: PieceIndex(piece), begin: 0, len: BLOCK_LEN }
}

fn peer(torrent: &mut Torrent, conn: ConnId) -> &mut Peer {
    torrent.peers.get_mut(&conn).unwrap()
}

/// Ends every operation without a word to the torrent, and begins those anew whose purpose is kept.
fn replace_operations(torrent: &Torrent, shared: &mut Shared, keep: impl Fn(Purpose) -> Option<Purpose>) {
    let purposes: Vec<Purpose> =
        (0..100).filter_map(|op| shared.finish(OpId(op))).map(|(_, purpose)| purpose).collect();
    for purpose in purposes.into_iter().filter_map(keep) {
        shared.submit(torrent.id, purpose, Operation::Sync { torrent: torrent.id });
    }
}

const DIGEST: Digest = Digest::Sha1([0; 20]);

/// As if two had sent a piece that failed.
fn investigate(torrent: &mut Torrent, piece: u32) {
    let sent = [(0, SocketAddr::from(([10, 0, 3, 1], 6881))), (1, SocketAddr::from(([10, 0, 3, 2], 6881)))];
    torrent.blame.piece_failed(Instant::ZERO, PieceIndex(piece), DIGEST, &sent, true);
}

pub(crate) const BREACHES: &[Breach] = &[
    ("a piece that is missing and wanted, no other, can be picked", |torrent, _| {
        torrent.picker.insert(PieceIndex(1), Priority::Normal);
    }),
    ("nothing more is wanted of what is had or not selected", |torrent, _| {
        torrent.pieces.set_wanted(PieceIndex(1), false);
    }),
    ("readers are bounded", |torrent, _| {
        torrent
            .readers
            .extend((0..=readers::MAX_READERS as u64).map(|reader| (ReaderId(reader), readers::Wait::new(0..1))));
    }),
    ("open pieces are bounded", |torrent, _| {
        let count = request::MAX_OPEN_PIECES as u32 + 1;
        let file = (vec![String::from("file")], u64::from(count), false);
        torrent.metainfo.layout = Layout::new(vec![file], 1).unwrap();
        torrent.selection = Selection::new(torrent.metainfo.layout.clone());
        torrent.pieces = Pieces::new(torrent.metainfo.layout.clone());
        torrent.picker = Picker::new(count);
        for piece in (0..count).map(PieceIndex) {
            torrent.picker.remove(piece);
            torrent.pieces.open(piece, None);
        }
    }),
    ("a lease has a living holder", |torrent, _| {
        torrent.pieces.update(PieceIndex(3), |open| open.lease = Some((NOBODY, Instant::ZERO)));
    }),
    ("what failed and was mended is forgiven", |torrent, _| {
        torrent.blame.piece_failed(Instant::ZERO, PieceIndex(0), DIGEST, &[], false);
    }),
    ("what is under investigation is not asked for", |torrent, _| investigate(torrent, 3)),
    ("evidence is read one exhibit at a time", |torrent, _| {
        // The first piece had failed, and has verified since.
        investigate(torrent, 0);
        while let Some((id, _)) = torrent.blame.next_exhibit(PieceIndex(0)) {
            torrent.blame.exhibit_read(PieceIndex(0), id, Some(DIGEST));
        }
        torrent.blame.piece_verified(Instant::ZERO, PieceIndex(0), DIGEST);
    }),
    ("the rarity index is there only while somebody has pieces", |torrent, _| {
        torrent.peers.values_mut().for_each(|peer| peer.counted = crate::peer::Counted::No);
    }),
    ("who has pieces stands in the rarity index", |torrent, _| peer(torrent, GIVER).counted = crate::peer::Counted::No),
    ("how many peers have a piece equals a recount", |torrent, _| torrent.picker.peer_has(PieceIndex(3))),
    ("connections of a torrent are bounded", |torrent, shared| {
        let addr = SocketAddr::from(([10, 0, 3, 1], 6881));
        for conn in (1000..).map(ConnId::dialed).take(shared.config.max_connections_per_torrent) {
            torrent.peers.insert(conn, Peer::new(conn, addr, Instant::ZERO, Stage::Dialing));
        }
    }),
    ("sources equal a recount", |torrent, _| torrent.sources += 1),
    ("no more peers are unchoked than there are slots", |torrent, _| peer(torrent, GIVER).slot = Slot::Turn),
    ("an address in use has a link", |torrent, _| {
        torrent.candidates.linked(Instant::ZERO, SocketAddr::from(([10, 0, 3, 1], 6881)), NOBODY);
    }),
    ("pieces wanted of a peer equal a recount", |torrent, _| peer(torrent, GIVER).wanted += 1),
    ("interested exactly when there is something to want", |torrent, _| peer(torrent, TAKER).am_interested = false),
    ("what waits for one peer is bounded", |torrent, _| {
        let (id, tx) = (torrent.id, &mut peer(torrent, TAKER).tx);
        (0..400).for_each(|_| tx.push_block(id, request(0)));
        tx.take(&mut TxBatch::default());
    }),
    ("what one peer asks for is bounded", |torrent, _| {
        let most = upload::MAX_REQUESTS_BORNE;
        peer(torrent, TAKER).uploads.extend((0..=most).map(|_| request(0)));
    }),
    ("only what is verified is given", |torrent, _| peer(torrent, TAKER).uploads.push_back(request(3))),
    ("a block is asked of two peers at most", |torrent, _| {
        [TAKER, OTHER].iter().for_each(|conn| peer(torrent, *conn).note_requested(Instant::ZERO, request(3)));
    }),
    ("requests under way equal a recount", |torrent, _| {
        torrent.pieces.update(PieceIndex(3), |open| open.request(0));
    }),
    ("what is here is not asked for", |torrent, _| peer(torrent, OTHER).note_requested(Instant::ZERO, request(1))),
    ("only open pieces are asked for", |torrent, _| peer(torrent, OTHER).note_requested(Instant::ZERO, request(0))),
    ("what a peer sent and nobody judged equals a recount", |torrent, _| peer(torrent, GIVER).ledger.arrive(1)),
    ("what nobody judged equals a recount", |torrent, _| torrent.ledger.arrive(1)),
    ("each byte received has one fate", |torrent, _| torrent.ledger.late += 1),
    ("what a peer sent is part of what came", |torrent, _| peer(torrent, TAKER).ledger.verified += 1 << 40),
    ("disk operations of a piece equal a recount", |torrent, _| {
        let digest = Digest::Sha1([0; 20]);
        let digest = Hashed::Finished { digest, expected: digest };
        torrent.pieces.update(PieceIndex(1), |open| open.absorbed(0, 1, Some(digest), true, true));
    }),
    ("one operation at a time hashes a piece", |torrent, shared| {
        replace_operations(torrent, shared, |purpose| match purpose {
            Purpose::Absorb { piece, first, .. } => Some(Purpose::Absorb { piece, first, hashing: false }),
            other => Some(other),
        });
    }),
    ("a disk operation on blocks has an open piece", |torrent, shared| {
        let purpose = Purpose::ReadBack { piece: PieceIndex(0) };
        shared.submit(torrent.id, purpose, Operation::Sync { torrent: torrent.id });
    }),
    ("operations of the check equal a recount", |torrent, shared| {
        shared.submit(torrent.id, Purpose::Prepare, Operation::Sync { torrent: torrent.id });
    }),
    ("a checkpoint has one operation under way", |torrent, shared| {
        let purpose = Purpose::Checkpoint(Step::Sync);
        shared.submit(torrent.id, purpose, Operation::Sync { torrent: torrent.id });
    }),
    ("what is moved from the part file equals a recount", |torrent, shared| {
        let purpose = Purpose::Unpart(PieceIndex(0));
        shared.submit(torrent.id, purpose, Operation::Sync { torrent: torrent.id });
    }),
    ("one look at a time finds out what is gone", |torrent, shared| {
        shared.submit(torrent.id, Purpose::Losses, Operation::Sync { torrent: torrent.id });
    }),
    ("syncs of a torrent equal a recount", |torrent, _| torrent.syncs += 1),
    ("an announce waits for what is under way", |torrent, shared| {
        replace_operations(torrent, shared, |purpose| Some(purpose).filter(|p| !matches!(p, Purpose::Announce(_))));
    }),
    ("what may still be received equals a recount", |torrent, _| torrent.lines.down.bucket.promise(1)),
    ("without a limit nothing is held back", |torrent, _| {
        let (id, tx) = (torrent.id, &mut peer(torrent, TAKER).tx);
        tx.set_limited(true);
        tx.push_block(id, request(0));
        tx.take(&mut TxBatch::default());
    }),
    ("who may send next to nothing waits for its turn", |torrent, _| peer(torrent, GIVER).read_credit = 0),
    ("whose clocks stand still is in line", |torrent, _| peer(torrent, GIVER).in_line_since = Some(Instant::ZERO)),
    ("who is to be sent something waits for its turn", |torrent, _| {
        torrent.lines.up.bucket.set_rate(Instant::ZERO, 1000);
        peer(torrent, TAKER).uploads.push_back(request(0));
    }),
    ("only who is connected waits", |torrent, _| torrent.lines.down.turns.join(NOBODY)),
    ("a torrent waits with its peers", |torrent, _| torrent.lines.up.turns.join(TAKER)),
    ("only who runs has peers", |torrent, _| torrent.state = TorrentState::Paused),
    ("the state follows from what was told", |torrent, _| torrent.state = TorrentState::Seeding),
    ("it asks for the place that it needs", |torrent, shared| _ = shared.queue.ask(torrent.id, Some(Place::Seed))),
    ("who has given enough has everything", |torrent, _| torrent.goals.set_reached()),
    ("errands under way equal a recount", |torrent, shared| {
        shared.submit(torrent.id, Purpose::Errand, Operation::Delete { torrent: torrent.id, files: true });
    }),
    ("an errand has the disk for itself", |torrent, shared| {
        torrent.life.set_on_errand();
        shared.submit(torrent.id, Purpose::Errand, Operation::Delete { torrent: torrent.id, files: true });
    }),
    ("who only checks holds no buffers", |torrent, _| torrent.check_only = true),
];

impl Torrent {
    /// A checkpoint is wanted, although nothing was verified.
    pub(crate) fn touch_checkpoint(&mut self, now: Instant) {
        self.checkpoints.verified(now, 0);
    }

    /// A block that some peer has, that is not here and that nobody was asked for.
    pub(crate) fn find_unasked(&self) -> Option<(PieceIndex, u32)> {
        let lacking = (0..self.metainfo.layout.piece_count()).map(PieceIndex).filter(|p| !self.pieces.have().get(*p));
        let reachable = |piece: &PieceIndex| self.peers.values().any(|peer| peer.has.get(*piece));
        lacking.filter(reachable).find_map(|piece| {
            let Some(open) = self.pieces.get(piece) else { return Some((piece, 0)) };
            let unasked = |block: &u32| open.missing() > 0 && open.asked(*block) == Some(0);
            (0..self.metainfo.layout.blocks_of(piece)).find(unasked).map(|block| (piece, block))
        })
    }
}
