//! What only a test asks of a torrent, and each of its laws broken by hand.

use super::*;
use crate::id::PieceIndex;

impl Torrent {
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
