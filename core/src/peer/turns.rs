//! The pieces whose blocks a peer is being asked for: one after the other, or several in turns.
//!
//! Hashing goes several times as fast with the next runs of several pieces side by side as with one run after the other, and a single fast peer that
//! sends one piece after the other gives only the latter. So it is asked for a run of each of its pieces in turn.

use crate::id::PieceIndex;
use alloc::collections::VecDeque;

/// Pieces of one peer, the one that is being asked for in front.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    pieces: VecDeque<PieceIndex>,
    /// Blocks asked for in this turn of the first.
    asked: u32,
}

impl Turns {
    /// The piece whose turn it is.
    pub(crate) fn current(&self) -> Option<PieceIndex> {
        self.pieces.front().copied()
    }

    /// How many pieces take turns.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether this piece is among them.
    pub(crate) fn contains(&self, piece: PieceIndex) -> bool {
        self.pieces.contains(&piece)
    }

    /// Whether one turn has ended and the next has not begun.
    pub(crate) fn is_between(&self) -> bool {
        self.asked == 0
    }

    /// One more piece, whose turn it is at once.
    pub(crate) fn begin(&mut self, piece: PieceIndex) {
        self.pieces.push_front(piece);
        self.asked = 0;
    }

    /// A block of the current piece was asked for; after so many it is the next one's turn.
    pub(crate) fn note_asked(&mut self, turn_blocks: u32) {
        self.asked += 1;
        if self.asked >= turn_blocks {
            self.asked = 0;
            if let Some(first) = self.pieces.pop_front() {
                self.pieces.push_back(first);
            }
        }
    }

    /// A piece takes no more turns.
    pub(crate) fn leave(&mut self, piece: PieceIndex) {
        if self.current() == Some(piece) {
            self.asked = 0;
        }
        self.pieces.retain(|other| *other != piece);
    }

    /// None takes turns any more.
    pub(crate) fn clear(&mut self) {
        *self = Turns::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn each_piece_has_its_turn_and_who_leaves_takes_none() {
        let mut turns = Turns::default();
        (0..3).map(PieceIndex).for_each(|piece| turns.begin(piece));
        let ask = |turns: &mut Turns, blocks: u32| -> Vec<u32> {
            let ask = |_| {
                let piece = turns.current().map_or(u32::MAX, |piece| piece.0);
                turns.note_asked(2);
                piece
            };
            (0..blocks).map(ask).collect()
        };
        assert_eq!(ask(&mut turns, 7), [2, 2, 1, 1, 0, 0, 2]);
        assert!(!turns.is_between() && turns.contains(PieceIndex(1)));
        turns.leave(PieceIndex(1));
        assert_eq!(ask(&mut turns, 5), [2, 0, 0, 2, 2], "a turn goes on when another leaves");
        turns.leave(PieceIndex(0));
        assert!(turns.is_between());
        assert_eq!(ask(&mut turns, 3), [2, 2, 2]);
        turns.clear();
        assert_eq!((turns.current(), turns.len()), (None, 0));
    }
}
