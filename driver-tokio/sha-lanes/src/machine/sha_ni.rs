//! Two streams interleaved over SHA-NI: each waits for its own last instruction, and the other fills the wait.
//!
//! Unsafe, and why it is sound: a [`ShaNi`] is made by [`ShaNi::detect`] alone, which asks the processor; so wherever there is one, its instructions exist. Memory
//! is touched through references to arrays only, at places that lie inside them, by instructions that ask for no alignment.

use crate::Block;
use std::arch::x86_64::*;

/// The proof that the processor has SHA-NI and what it is used with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShaNi(());

/// One stream's state in registers: a to d, and e in the highest word.
type State = (__m128i, __m128i);

impl ShaNi {
    /// Asks the processor.
    pub(crate) fn detect() -> Option<Self> {
        let found =
            is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1");
        found.then_some(ShaNi(()))
    }

    /// Feeds both streams' blocks, as many as the shorter has.
    pub(crate) fn compress(self, words: [&mut [u32; 5]; 2], blocks: [&[Block]; 2]) {
        // SAFETY: `self` is the proof that SHA-NI is there.
        unsafe { compress(words, blocks) }
    }
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn compress(words: [&mut [u32; 5]; 2], blocks: [&[Block]; 2]) {
    let [first, second] = words;
    let mut state = [unpack(first), unpack(second)];
    for (one, other) in blocks[0].iter().zip(blocks[1]) {
        state = one_block(state, [one, other]);
    }
    pack(state[0], first);
    pack(state[1], second);
}

#[target_feature(enable = "sse2")]
fn unpack(words: &[u32; 5]) -> State {
    let word = |n: usize| words[n].cast_signed();
    (_mm_set_epi32(word(0), word(1), word(2), word(3)), _mm_set_epi32(word(4), 0, 0, 0))
}

#[target_feature(enable = "sse4.1")]
fn pack((abcd, e): State, words: &mut [u32; 5]) {
    *words = [
        _mm_extract_epi32::<3>(abcd),
        _mm_extract_epi32::<2>(abcd),
        _mm_extract_epi32::<1>(abcd),
        _mm_extract_epi32::<0>(abcd),
        _mm_extract_epi32::<3>(e),
    ]
    .map(i32::cast_unsigned);
}

/// Four words of a block, the first in the highest place.
#[target_feature(enable = "ssse3")]
fn load(block: &Block, quarter: usize) -> __m128i {
    let swap = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let bytes: &[u8; 16] = &block.as_chunks::<16>().0[quarter];
    // SAFETY: sixteen bytes are read from an array of sixteen.
    _mm_shuffle_epi8(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }, swap)
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn one_block(before: [State; 2], blocks: [&Block; 2]) -> [State; 2] {
    let mut w = [[_mm_setzero_si128(); 2]; 4];
    for (quarter, w) in w.iter_mut().enumerate() {
        *w = [load(blocks[0], quarter), load(blocks[1], quarter)];
    }
    let mut abcd = [before[0].0, before[1].0];
    // What the next four rounds add e to.
    let mut e = [before[0].1, before[1].1];
    // Four rounds of both streams, with the schedule kept in a ring of four vectors.
    macro_rules! four_rounds {
        ($t:expr, $k:expr) => {
            for s in 0..2 {
                if $t >= 4 {
                    let mixed = _mm_xor_si128(_mm_sha1msg1_epu32(w[$t & 3][s], w[($t + 1) & 3][s]), w[($t + 2) & 3][s]);
                    w[$t & 3][s] = _mm_sha1msg2_epu32(mixed, w[($t + 3) & 3][s]);
                }
                let fed = if $t == 0 { _mm_add_epi32(e[s], w[0][s]) } else { _mm_sha1nexte_epu32(e[s], w[$t & 3][s]) };
                e[s] = abcd[s];
                abcd[s] = _mm_sha1rnds4_epu32::<$k>(abcd[s], fed);
            }
        };
    }
    macro_rules! twenty_rounds {
        ($t:expr, $k:expr) => {
            four_rounds!($t, $k);
            four_rounds!($t + 1, $k);
            four_rounds!($t + 2, $k);
            four_rounds!($t + 3, $k);
            four_rounds!($t + 4, $k);
        };
    }
    twenty_rounds!(0, 0);
    twenty_rounds!(5, 1);
    twenty_rounds!(10, 2);
    twenty_rounds!(15, 3);
    [0, 1].map(|s| (_mm_add_epi32(abcd[s], before[s].0), _mm_sha1nexte_epu32(e[s], before[s].1)))
}
