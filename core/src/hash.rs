//! A piece's hash as plain data: five words and a length.
//!
//! The state travels with the operation that feeds it and comes home with its completion, so hashing needs no
//! locks and may happen on any thread. Blocks are fed in order; only the last may have a length that is not a multiple of 64.

use crate::id::Digest;

/// SHA-1 in mid-piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashState {
    words: [u32; 5],
    len_bytes: u64,
}

impl Default for HashState {
    fn default() -> Self {
        HashState { words: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0], len_bytes: 0 }
    }
}

impl HashState {
    /// How many bytes have been absorbed.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The five words (FIPS 180-4, section 6.1): who hashes by other means than [`HashState::absorb`] goes on from them.
    pub fn words(&self) -> [u32; 5] {
        self.words
    }

    /// A state that came to stand here by other means. `len_bytes` is what was absorbed since the beginning of the piece.
    ///
    /// # Panics
    /// When the length is not a multiple of 64: such a state has no words of its own.
    pub fn from_words(words: [u32; 5], len_bytes: u64) -> Self {
        assert!(len_bytes.is_multiple_of(64), "only the end of a piece may be ragged");
        HashState { words, len_bytes }
    }

    /// Absorbs `bytes`, whose length must be a multiple of 64.
    ///
    /// # Panics
    /// When the length is not a multiple of 64: the rest belongs to [`HashState::finish`].
    pub fn absorb(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<64>();
        assert!(rest.is_empty(), "only the end of a piece may be ragged");
        sha1::block_api::compress(&mut self.words, blocks);
        self.len_bytes += bytes.len() as u64;
    }

    /// Absorbs the ragged end (fewer than 64 bytes, perhaps none) and gives the digest (RFC 3174, section 4).
    pub fn finish(mut self, tail: &[u8]) -> Digest {
        let len_bits = (self.len_bytes + tail.len() as u64) * 8;
        let (whole, ragged) = tail.split_at(tail.len() & !63);
        self.absorb(whole);
        let mut padded = [[0u8; 64]; 2];
        let flat = padded.as_flattened_mut();
        flat[..ragged.len()].copy_from_slice(ragged);
        flat[ragged.len()] = 0x80;
        let used = if ragged.len() < 56 { 1 } else { 2 };
        flat[used * 64 - 8..used * 64].copy_from_slice(&len_bits.to_be_bytes());
        sha1::block_api::compress(&mut self.words, &padded[..used]);
        let mut digest = [0; 20];
        for (out, word) in digest.chunks_exact_mut(4).zip(self.words) {
            out.copy_from_slice(&word.to_be_bytes());
        }
        Digest::Sha1(digest)
    }
}

/// SHA-1 of `bytes` in one go.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let Digest::Sha1(digest) = HashState::default().finish(bytes);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use sha1::Digest as _;

    proptest! {
        #[test]
        fn equals_the_sha1_crate_for_any_cut(data in proptest::collection::vec(any::<u8>(), 0..500), cut in 0usize..8) {
            let expected: Vec<u8> = ::sha1::Sha1::digest(&data).to_vec();
            let at = (cut * 64).min(data.len() & !63);
            let mut state = HashState::default();
            state.absorb(&data[..at]);
            let state = HashState::from_words(state.words(), state.len_bytes());
            prop_assert_eq!(state.finish(&data[at..]), Digest::Sha1(expected.try_into().unwrap()));
        }
    }
}
