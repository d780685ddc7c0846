//! The rounds of SHA-256 over SHA-NI, two at a time.

use super::load;
use crate::Block;
use crate::kernel::sha256::K;
use std::arch::x86_64::*;

/// One stream's state in registers, from the highest word down: a, b, e, f, and c, d, g, h.
type State = (__m128i, __m128i);

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn compress(words: [&mut [u32; 8]; 2], blocks: [&[Block]; 2]) {
    let [first, second] = words;
    let mut state = [unpack(first), unpack(second)];
    for (one, other) in blocks[0].iter().zip(blocks[1]) {
        state = one_block(state, [one, other]);
    }
    pack(state[0], first);
    pack(state[1], second);
}

/// Four words, the first in the highest place.
#[target_feature(enable = "sse2")]
fn four(words: [u32; 4]) -> __m128i {
    let [a, b, c, d] = words.map(u32::cast_signed);
    _mm_set_epi32(a, b, c, d)
}

#[target_feature(enable = "sse2")]
fn unpack(words: &[u32; 8]) -> State {
    let [a, b, c, d, e, f, g, h] = *words;
    (four([a, b, e, f]), four([c, d, g, h]))
}

#[target_feature(enable = "sse4.1")]
fn pack((abef, cdgh): State, words: &mut [u32; 8]) {
    *words = [
        _mm_extract_epi32::<3>(abef),
        _mm_extract_epi32::<2>(abef),
        _mm_extract_epi32::<3>(cdgh),
        _mm_extract_epi32::<2>(cdgh),
        _mm_extract_epi32::<1>(abef),
        _mm_extract_epi32::<0>(abef),
        _mm_extract_epi32::<1>(cdgh),
        _mm_extract_epi32::<0>(cdgh),
    ]
    .map(i32::cast_unsigned);
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn one_block(before: [State; 2], blocks: [&Block; 2]) -> [State; 2] {
    // Four words of a block, the first in the lowest place.
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut w = [[order; 2]; 4];
    for (quarter, w) in w.iter_mut().enumerate() {
        *w = [load(blocks[0], quarter, order), load(blocks[1], quarter, order)];
    }
    let mut abef = [before[0].0, before[1].0];
    let mut cdgh = [before[0].1, before[1].1];
    // Four rounds of both streams, with the schedule kept in a ring of four vectors. What was a, b, e, f is c, d, g, h two rounds later: so the two change their roles twice.
    macro_rules! four_rounds {
        ($t:expr) => {
            let k = four([K[4 * $t + 3], K[4 * $t + 2], K[4 * $t + 1], K[4 * $t]]);
            for s in 0..2 {
                if $t >= 4 {
                    let fourth = _mm_alignr_epi8::<4>(w[($t + 3) & 3][s], w[($t + 2) & 3][s]);
                    let mixed = _mm_add_epi32(_mm_sha256msg1_epu32(w[$t & 3][s], w[($t + 1) & 3][s]), fourth);
                    w[$t & 3][s] = _mm_sha256msg2_epu32(mixed, w[($t + 3) & 3][s]);
                }
                let fed = _mm_add_epi32(w[$t & 3][s], k);
                cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], fed);
                abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], _mm_shuffle_epi32::<0b11_10>(fed));
            }
        };
    }
    macro_rules! sixteen_rounds {
        ($t:expr) => {
            four_rounds!($t);
            four_rounds!($t + 1);
            four_rounds!($t + 2);
            four_rounds!($t + 3);
        };
    }
    sixteen_rounds!(0);
    sixteen_rounds!(4);
    sixteen_rounds!(8);
    sixteen_rounds!(12);
    [0, 1].map(|s| (_mm_add_epi32(abef[s], before[s].0), _mm_add_epi32(cdgh[s], before[s].1)))
}
