//! The torrent of a world: its bytes, and its hash at every block, so that hashing what is right costs a comparison.

use crate::content;
use sameseed_core::event::Hashed;
use sameseed_core::hash::HashState;
use sameseed_core::id::{BLOCK_LEN, Digest, InfoHash, PieceIndex};
use sameseed_core::layout::Layout;
use sameseed_core::metainfo::Metainfo;

/// What every disk of a world should hold in the end.
#[derive(Debug)]
pub(super) struct Content {
    info_hash: InfoHash,
    layout: Layout,
    bytes: &'static [u8],
    /// For each piece, the hash before each of its blocks, and its digest.
    states: Vec<(Vec<HashState>, Digest)>,
}

impl Content {
    /// The content of a torrent made by [`content::torrent`].
    pub(super) fn new(metainfo: &Metainfo) -> Self {
        let layout = metainfo.layout.clone();
        let bytes = content::shared(layout.total_len() as usize);
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
        Content { info_hash: metainfo.info_hash, states: states.collect(), layout, bytes }
    }

    /// Which torrent it is.
    pub(super) fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// The cut into pieces and files.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The right bytes of a range.
    pub(super) fn range(&self, from: u64, len: u64) -> &[u8] {
        &self.bytes[from as usize..(from + len) as usize]
    }

    /// What hashing the formula's bytes at `begin` of `piece` onto `hash` gives, when that is known without hashing.
    pub(super) fn known_hash(
        &self,
        piece: PieceIndex,
        begin: u32,
        len: u32,
        hash: HashState,
        last: bool,
    ) -> Option<Hashed> {
        let (states, digest) = &self.states[piece.0 as usize];
        let state_at =
            |offset: u32| states.get((offset / BLOCK_LEN) as usize).filter(|_| offset.is_multiple_of(BLOCK_LEN));
        let end = begin + len;
        match state_at(begin)? == &hash {
            true if last && end == self.layout.len_of(piece) => {
                Some(Hashed::Finished { digest: *digest, expected: *digest })
            }
            true if !last => state_at(end).copied().map(Hashed::Running),
            _ => None,
        }
    }

    /// Hashes `data`, which stands at `begin` of `piece`, onto `hash`.
    pub(super) fn hash(&self, piece: PieceIndex, begin: u32, data: &[u8], mut hash: HashState, last: bool) -> Hashed {
        let right = || equal(data, self.range(self.layout.start_of(piece) + u64::from(begin), data.len() as u64));
        if let Some(known) = self.known_hash(piece, begin, data.len() as u32, hash, last).filter(|_| right()) {
            return known;
        }
        if last {
            let (_, expected) = self.states[piece.0 as usize];
            return Hashed::Finished { digest: hash.finish(data), expected };
        }
        hash.absorb(data);
        Hashed::Running(hash)
    }
}

/// Whether two runs of bytes are the same; quick when they are one.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    std::ptr::eq(a, b) || a == b
}
