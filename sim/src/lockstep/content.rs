//! The torrent of a world: its bytes, and its hash at every block, so that hashing what is right costs a comparison.

use crate::content;
use sameseed_core::event::Hashed;
use sameseed_core::hash::HashState;
use sameseed_core::id::{BLOCK_LEN, Digest, PieceIndex};
use sameseed_core::layout::Layout;
use sameseed_core::metainfo::Metainfo;

/// What every disk of a world should hold in the end.
#[derive(Debug)]
pub(super) struct Content {
    layout: Layout,
    bytes: Vec<u8>,
    /// For each piece, the hash before each of its blocks, and its digest.
    states: Vec<(Vec<HashState>, Digest)>,
}

impl Content {
    /// The content of a torrent made by [`content::torrent`].
    pub(super) fn new(metainfo: &Metainfo) -> Self {
        let layout = metainfo.layout.clone();
        let bytes = content::bytes(0, layout.total_len() as usize);
        let states = (0..layout.piece_count()).map(PieceIndex).map(|piece| {
            let start = layout.start_of(piece) as usize;
            let data = &bytes[start..start + layout.len_of(piece) as usize];
            let mut states = vec![HashState::default()];
            for block in data.as_chunks::<{ BLOCK_LEN as usize }>().0 {
                let mut state = states[states.len() - 1];
                state.absorb(block);
                states.push(state);
            }
            (states, metainfo.digest_of(piece))
        });
        Content { states: states.collect(), layout, bytes }
    }

    /// The cut into pieces and files.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The right bytes of a range.
    pub(super) fn range(&self, from: u64, len: u64) -> &[u8] {
        &self.bytes[from as usize..(from + len) as usize]
    }

    /// Hashes `data`, which stands at `begin` of `piece`, onto `hash`.
    pub(super) fn hash(&self, piece: PieceIndex, begin: u32, data: &[u8], mut hash: HashState, last: bool) -> Hashed {
        let (states, digest) = &self.states[piece.0 as usize];
        let known = begin.is_multiple_of(BLOCK_LEN) && states.get((begin / BLOCK_LEN) as usize) == Some(&hash);
        let right = || data == self.range(self.layout.start_of(piece) + u64::from(begin), data.len() as u64);
        let end = begin as usize + data.len();
        if known && right() {
            if last && end == self.layout.len_of(piece) as usize {
                return Hashed::Finished(*digest);
            }
            if let Some(state) =
                states.get(end / BLOCK_LEN as usize).filter(|_| !last && end.is_multiple_of(BLOCK_LEN as usize))
            {
                return Hashed::Running(*state);
            }
        }
        if last {
            return Hashed::Finished(hash.finish(data));
        }
        hash.absorb(data);
        Hashed::Running(hash)
    }
}
