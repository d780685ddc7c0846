//! Who is to blame for a piece that fails its hash.
//!
//! A peer that alone sent the whole piece is. Where several sent blocks nobody is blamed, but all of them become suspects: from then on
//! a suspect gets pieces of its own (a lease), so that the next failure has one author, and the next success clears it. (Blame by block
//! will shorten this.)

use crate::id::{ConnId, PieceIndex};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Suspicions of one torrent. Grows with live connections and failed pieces only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blame {
    suspects: BTreeSet<ConnId>,
    /// Pieces that failed, and who had sent parts of them.
    failed: BTreeMap<PieceIndex, Vec<ConnId>>,
}

impl Blame {
    /// Whether a peer must fill its pieces alone.
    pub(crate) fn is_suspect(&self, conn: ConnId) -> bool {
        self.suspects.contains(&conn)
    }

    /// Whether a piece has failed before.
    pub(crate) fn has_failed(&self, piece: PieceIndex) -> bool {
        self.failed.contains_key(&piece)
    }

    /// Whether a peer sent part of a piece that failed: others are asked first.
    pub(crate) fn took_part(&self, piece: PieceIndex, conn: ConnId) -> bool {
        self.failed.get(&piece).is_some_and(|conns| conns.contains(&conn))
    }

    /// A piece failed its hash; gives the one connection that is to blame, when there is one.
    /// What was read back from the disk before it was hashed may have been changed there: then nobody is.
    pub(crate) fn piece_failed(&mut self, piece: PieceIndex, senders: &[ConnId], read_back: bool) -> Option<ConnId> {
        let guilty = match senders {
            [alone] if !read_back => Some(*alone),
            _ => None,
        };
        self.suspects.extend(senders);
        let list = self.failed.entry(piece).or_default();
        list.extend(senders);
        list.sort_unstable();
        list.dedup();
        guilty
    }

    /// A piece was verified: whoever filled it alone is cleared.
    pub(crate) fn piece_verified(&mut self, piece: PieceIndex, senders: &[ConnId]) {
        self.failed.remove(&piece);
        if let [alone] = senders {
            self.suspects.remove(alone);
        }
    }

    /// Everyone who is named here.
    pub(crate) fn conns(&self) -> impl Iterator<Item = ConnId> {
        self.suspects.iter().chain(self.failed.values().flatten()).copied()
    }

    /// Pieces that failed and were not verified since.
    pub(crate) fn failed(&self) -> impl Iterator<Item = PieceIndex> {
        self.failed.keys().copied()
    }

    /// A connection is gone.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.suspects.remove(&conn);
        for conns in self.failed.values_mut() {
            conns.retain(|c| *c != conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId::dialed(0);
    const B: ConnId = ConnId::dialed(1);
    const PIECE: PieceIndex = PieceIndex(3);

    #[test]
    fn who_alone_sent_a_bad_piece_is_to_blame() {
        assert_eq!(Blame::default().piece_failed(PIECE, &[A], false), Some(A));
    }

    #[test]
    fn a_shared_or_re_read_piece_makes_suspects_and_no_culprit() {
        let mut blame = Blame::default();
        assert_eq!(blame.piece_failed(PIECE, &[A, B], false), None);
        assert!(blame.is_suspect(A) && blame.is_suspect(B) && blame.took_part(PIECE, A));
        blame.piece_verified(PieceIndex(4), &[A]);
        assert!(!blame.is_suspect(A) && blame.is_suspect(B));
        blame.forget(B);
        assert!(!blame.is_suspect(B) && !blame.took_part(PIECE, B));
        assert_eq!(Blame::default().piece_failed(PIECE, &[A], true), None);
    }
}
