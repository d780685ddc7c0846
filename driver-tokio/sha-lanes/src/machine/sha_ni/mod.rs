//! Two streams interleaved over SHA-NI: each waits for its own last instruction, and the other fills the wait.
//!
//! Unsafe, and why it is sound: a [`ShaNi`] is made by [`ShaNi::detect`] alone, which asks the processor; so wherever there is one, its instructions exist. Memory
//! is touched through references to arrays only, at places that lie inside them, by instructions that ask for no alignment. The rounds, in the modules below, are safe code.

mod sha1;
mod sha256;

use crate::Block;
use std::arch::x86_64::*;

/// The proof that the processor has SHA-NI and what it is used with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShaNi(());

impl ShaNi {
    /// Asks the processor.
    pub(crate) fn detect() -> Option<Self> {
        let found =
            is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1");
        found.then_some(ShaNi(()))
    }

    /// Feeds both streams' blocks, as many as the shorter has.
    pub(crate) fn sha1(self, words: [&mut [u32; 5]; 2], blocks: [&[Block]; 2]) {
        // SAFETY: `self` is the proof that SHA-NI is there.
        unsafe { sha1::compress(words, blocks) }
    }

    /// Feeds both streams' blocks, as many as the shorter has.
    pub(crate) fn sha256(self, words: [&mut [u32; 8]; 2], blocks: [&[Block]; 2]) {
        // SAFETY: `self` is the proof that SHA-NI is there.
        unsafe { sha256::compress(words, blocks) }
    }
}

/// A quarter of a block, its bytes moved to where `order` says.
#[inline]
#[target_feature(enable = "ssse3")]
fn load(block: &Block, quarter: usize, order: __m128i) -> __m128i {
    let bytes: &[u8; 16] = &block.as_chunks::<16>().0[quarter];
    // SAFETY: sixteen bytes are read from an array of sixteen.
    _mm_shuffle_epi8(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }, order)
}
