//! Evidence on its way from the disk, and what comes of it: who sent wrong bytes is banned.
//!
//! What is read when, and what it proves, is `blame`'s matter.

use super::{Purpose, Shared, Torrent};
use crate::action::{CloseReason, Notice, Operation};
use crate::blame::{Exhibit, ReadingId};
use crate::event::Hashed;
use crate::fault::{DiskFault, PeerFault};
use crate::hash::HashState;
use crate::id::{BLOCK_LEN, ConnId, Digest, PieceIndex};
use crate::pieces::OpenPiece;
use crate::time::Instant;
use alloc::vec::Vec;
use core::net::SocketAddr;

impl Torrent {
    /// A piece failed its hash, which came to `digest`: who sent it?
    pub(super) fn investigate(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        (piece, digest): (PieceIndex, Digest),
        open: &OpenPiece,
    ) {
        let proven: Vec<_> = open.sent().filter(|sent| !sent.reread).map(|sent| (sent.block, sent.from.addr)).collect();
        let complete = proven.len() as u32 == self.metainfo.layout.blocks_of(piece);
        match self.blame.piece_failed(now, piece, digest, &proven, complete) {
            Some(guilty) => self.ban(now, shared, guilty),
            None => self.read_evidence(shared, piece),
        }
    }

    /// Reads what is due of a piece under investigation.
    pub(super) fn read_evidence(&mut self, shared: &mut Shared, piece: PieceIndex) {
        if !self.is_running() {
            self.blame.stop();
        }
        let Some((id, exhibit)) = self.blame.next_exhibit(piece) else { return };
        let layout = &self.metainfo.layout;
        let (begin, len) = match exhibit {
            Exhibit::Block(block) => (block * BLOCK_LEN, layout.block_len(piece, block)),
            Exhibit::Whole => (0, layout.len_of(piece)),
        };
        let (torrent, hash) = (self.id, HashState::default());
        let operation = Operation::Hash { torrent, piece, begin, len, hash, last: true };
        shared.submit(torrent, Purpose::Evidence { piece, id }, operation);
    }

    pub(super) fn handle_evidence(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        (piece, id): (PieceIndex, ReadingId),
        hash: Result<Hashed, DiskFault>,
    ) {
        // A disk that cannot be read blames nobody. Nor is it trouble: nothing that is wanted depends on it.
        let digest = match hash {
            Ok(Hashed::Finished { digest, .. }) => Some(digest),
            Ok(Hashed::Running(_)) | Err(_) => None,
        };
        if !self.blame.readings().any(|reading| reading == (piece, id)) {
            return;
        }
        for guilty in self.blame.exhibit_read(piece, id, digest) {
            self.ban(now, shared, guilty);
        }
        self.read_evidence(shared, piece);
    }

    /// Whoever is at `addr` sent wrong bytes: it is closed and refused, and with it whom its ban covers, unless they proved honest themselves.
    fn ban(&mut self, now: Instant, shared: &mut Shared, addr: SocketAddr) {
        if !shared.bans.contains(addr) {
            shared.bans.add(addr);
            shared.notify(Notice::Banned { torrent: self.id, addr });
            self.candidates.forget(|addr| shared.bans.contains(addr));
        }
        let covered = self.peers.values().filter(|peer| shared.bans.contains(peer.addr));
        let covered: Vec<(ConnId, CloseReason)> = covered
            .filter(|peer| peer.addr == addr || !peer.sent_good_pieces)
            .map(|peer| {
                let guilty = peer.addr == addr;
                (peer.conn, if guilty { PeerFault::CorruptPiece.into() } else { CloseReason::Banned })
            })
            .collect();
        for (conn, reason) in covered {
            self.close(now, shared, conn, reason);
        }
    }
}
