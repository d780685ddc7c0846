//! Readers that wait for bytes (a player, a file system): their pieces come first, the nearest first.
//!
//! A reader names the bytes that it will need; nearest is the first piece of them that is not there. That one is left to peers that are fast, and
//! only of that one a block may be asked of a second peer while there is other work: so a reader wastes at most one piece.

use super::request::{END_GAME_COPIES, MAX_OPEN_PIECES, is_leased_to_other, may_ask};
use super::{Shared, Torrent};
use crate::action::{Notice, Refusal};
use crate::id::{BLOCK_LEN, ConnId, FileIndex, PieceIndex, ReaderId};
use crate::time::{Duration, Instant};
use crate::wire::BlockRequest;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// Readers of one torrent at a time: each costs a look at its pieces for every request.
pub(super) const MAX_READERS: usize = 64;
/// Pieces from the nearest on that are asked for out of turn: enough for any player, few enough that the swarm gets rare pieces too.
const READ_AHEAD_PIECES: u32 = 16;
/// A block that a reader waits for is asked of a second peer when the first has not sent it for so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who is slower than the fastest by this factor leaves the nearest piece to others.
const SLOW: u64 = 4;

/// The pieces that each reader waits for.
pub(super) type Readers = BTreeMap<ReaderId, Wait>;

/// What one reader waits for.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    /// The first piece that it asked for.
    first: u32,
    /// From the nearest that is not there to the end.
    pieces: Range<u32>,
}

impl Wait {
    pub(super) fn new(pieces: Range<u32>) -> Self {
        Wait { first: pieces.start, pieces }
    }
}

impl Torrent {
    /// A reader waits for these bytes of a file, and no longer for what it waited for before.
    ///
    /// # Errors
    /// When there is no such file.
    pub(crate) fn await_bytes(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        reader: ReaderId,
        file: FileIndex,
        bytes: Range<u64>,
    ) -> Result<(), Refusal> {
        self.readers.remove(&reader);
        let entry = self.metainfo.layout.files().get(file.0 as usize).ok_or(Refusal::NoSuchFile)?;
        if self.readers.len() >= MAX_READERS {
            shared.notify(Notice::TooManyReaders { torrent: self.id, reader });
            return Ok(());
        }
        let piece_len = u64::from(self.metainfo.layout.piece_len());
        let (start, end) = (bytes.start.min(entry.len), bytes.end.min(entry.len));
        let (first, last) = ((entry.offset + start) / piece_len, (entry.offset + end).div_ceil(piece_len));
        let pieces = if start < end { first as u32..last as u32 } else { 0..0 };
        self.readers.insert(reader, Wait::new(pieces));
        self.serve_readers(shared);
        self.fill_all_requests(now, shared);
        Ok(())
    }

    /// A reader waits no longer.
    pub(crate) fn end_await(&mut self, reader: ReaderId) {
        self.readers.remove(&reader);
    }

    /// Who has all that it waited for hears so.
    pub(super) fn serve_readers(&mut self, shared: &mut Shared) {
        for (reader, Wait { pieces, .. }) in &mut self.readers {
            while pieces.start < pieces.end && self.pieces.have().get(PieceIndex(pieces.start)) {
                pieces.start += 1;
            }
            if pieces.start >= pieces.end {
                shared.notify(Notice::Readable { torrent: self.id, reader: *reader });
            }
        }
        self.readers.retain(|_, wait| !wait.pieces.is_empty());
    }

    /// Nothing is known to be there any more: who waits for much waits for all of it again.
    pub(super) fn forget_served(&mut self) {
        self.readers.values_mut().for_each(|wait| wait.pieces.start = wait.first);
    }

    /// Pieces that readers wait for and that are not there, the nearest of each first.
    fn awaited(&self) -> Vec<(u32, PieceIndex)> {
        let near = |pieces: &Range<u32>| pieces.clone().take(READ_AHEAD_PIECES as usize);
        let waits = self.readers.values().map(|wait| &wait.pieces);
        let all = waits.flat_map(|pieces| near(pieces).map(|p| (p - pieces.start, PieceIndex(p))));
        let mut all: Vec<_> = all.filter(|(_, piece)| !self.pieces.have().get(*piece)).collect();
        all.sort_unstable();
        all
    }

    /// A block that a reader waits for, of which this peer may be asked. A piece that must be begun for it is begun.
    pub(super) fn pick_awaited(&mut self, now: Instant, conn: ConnId) -> Option<(PieceIndex, u32)> {
        if self.readers.is_empty() || self.peers.get(&conn)?.pipeline.is_snubbed() {
            return None;
        }
        for (distance, piece) in self.awaited() {
            if !self.peers.get(&conn)?.has.get(piece) || (distance == 0 && self.is_slow_for(conn, piece)) {
                continue;
            }
            if self.picker.priority_of(piece).is_some()
                && self.pieces.open_count() < MAX_OPEN_PIECES
                && !self.peers.get(&conn)?.is_swallowing(piece)
                && !self.blame.has_failed(piece)
            {
                self.begin_piece(piece);
            }
            if let Some(block) = self.first_missing(now, conn, piece) {
                return Some((piece, block));
            }
        }
        self.pick_late(now, conn)
    }

    /// Whether others that have the piece are so much faster that this peer would only be in the way.
    fn is_slow_for(&self, conn: ConnId, piece: PieceIndex) -> bool {
        let rate = |p: &crate::peer::Peer| p.down.per_second();
        let able = self.peers.values().filter(|p| may_ask(p) && !p.pipeline.is_snubbed() && p.has.get(piece));
        let fastest = able.map(rate).max().unwrap_or(0);
        self.peers.get(&conn).is_some_and(|peer| rate(peer).saturating_mul(SLOW) < fastest)
    }

    /// A block of a nearest piece that another peer has kept back for too long.
    fn pick_late(&self, now: Instant, conn: ConnId) -> Option<(PieceIndex, u32)> {
        let peer = self.peers.get(&conn)?;
        let nearest = self.readers.values().map(|wait| PieceIndex(wait.pieces.start));
        let nearest = nearest.filter(|piece| peer.has.get(*piece) && !peer.is_swallowing(*piece));
        for piece in nearest {
            let Some(open) = self.pieces.get(piece).filter(|open| !is_leased_to_other(open.lease, now, conn)) else {
                continue;
            };
            let late = open.awaited(END_GAME_COPIES).map(|(block, _)| block).find(|block| {
                let len = self.metainfo.layout.block_len(piece, *block);
                let request = BlockRequest { piece, begin: block * BLOCK_LEN, len };
                let sent = self.peers.values().flat_map(|p| p.requested()).filter(|o| o.request == request);
                !peer.is_asked_for(request) && sent.map(|o| o.sent).min().is_some_and(|at| now.since(at) >= PATIENCE)
            });
            if let Some(block) = late {
                return Some((piece, block));
            }
        }
        None
    }
}
