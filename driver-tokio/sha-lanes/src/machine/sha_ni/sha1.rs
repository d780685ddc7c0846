//! The rounds of SHA-1 over SHA-NI, four at a time.

use super::load;
use crate::Block;
use std::arch::x86_64::*;

/// One stream's state in registers: a to d, and e in the highest word.
type State = (__m128i, __m128i);

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn compress(words: [&mut [u32; 5]; 2], blocks: [&[Block]; 2]) {
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

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn one_block(before: [State; 2], blocks: [&Block; 2]) -> [State; 2] {
    // Four words of a block, the first in the highest place.
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let mut w = [[order; 2]; 4];
    for (quarter, w) in w.iter_mut().enumerate() {
        *w = [load(blocks[0], quarter, order), load(blocks[1], quarter, order)];
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
