//! Eight lanes of AVX2.
//!
//! Unsafe, and why it is sound: an [`Avx2`] is made by [`Avx2::detect`] alone, which asks the processor; so wherever there is one, its instructions exist. Memory
//! is touched through references to arrays only, at places that lie inside them, by instructions that ask for no alignment.

use crate::kernel::{Machine, Rows};
use crate::{Algorithm, Block};
use std::arch::x86_64::*;

/// Lanes of one vector.
pub(crate) const LANES: usize = 8;

/// The proof that the processor has AVX2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// Asks the processor.
    pub(crate) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Avx2(()))
    }

    /// Every lane's blocks, as many as the shortest has.
    pub(crate) fn compress<A: Algorithm>(self, rows: &mut Rows<LANES>, blocks: &[&[Block]; LANES]) {
        #[target_feature(enable = "avx2")]
        fn with_avx2<A: Algorithm>(m: Avx2, rows: &mut Rows<LANES>, blocks: &[&[Block]; LANES]) {
            A::side_by_side(m, rows, blocks);
        }
        // SAFETY: `self` is the proof that AVX2 is there.
        unsafe { with_avx2::<A>(self, rows, blocks) }
    }
}

/// Half of each lane's block as eight transposed vectors.
#[inline(always)]
fn load_half(blocks: &[&Block; LANES], half: usize) -> [__m256i; 8] {
    // SAFETY: AVX2 is there, or there would be no machine to call this. 32 bytes from 0 or 32 lie inside a block's 64.
    unsafe {
        let swap = _mm256_setr_epi8(
            3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, //
            3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12,
        );
        macro_rules! row {
            ($lane:expr) => {
                _mm256_shuffle_epi8(_mm256_loadu_si256(blocks[$lane].as_chunks::<32>().0[half].as_ptr().cast()), swap)
            };
        }
        let (r0, r1, r2, r3) = (row!(0), row!(1), row!(2), row!(3));
        let (r4, r5, r6, r7) = (row!(4), row!(5), row!(6), row!(7));
        // Words of two lanes side by side ...
        let (a0, a1) = (_mm256_unpacklo_epi32(r0, r1), _mm256_unpackhi_epi32(r0, r1));
        let (a2, a3) = (_mm256_unpacklo_epi32(r2, r3), _mm256_unpackhi_epi32(r2, r3));
        let (a4, a5) = (_mm256_unpacklo_epi32(r4, r5), _mm256_unpackhi_epi32(r4, r5));
        let (a6, a7) = (_mm256_unpacklo_epi32(r6, r7), _mm256_unpackhi_epi32(r6, r7));
        // ... of four ...
        let (b0, b1) = (_mm256_unpacklo_epi64(a0, a2), _mm256_unpackhi_epi64(a0, a2));
        let (b2, b3) = (_mm256_unpacklo_epi64(a1, a3), _mm256_unpackhi_epi64(a1, a3));
        let (b4, b5) = (_mm256_unpacklo_epi64(a4, a6), _mm256_unpackhi_epi64(a4, a6));
        let (b6, b7) = (_mm256_unpacklo_epi64(a5, a7), _mm256_unpackhi_epi64(a5, a7));
        // ... of all eight.
        [
            _mm256_permute2x128_si256::<0x20>(b0, b4),
            _mm256_permute2x128_si256::<0x20>(b1, b5),
            _mm256_permute2x128_si256::<0x20>(b2, b6),
            _mm256_permute2x128_si256::<0x20>(b3, b7),
            _mm256_permute2x128_si256::<0x31>(b0, b4),
            _mm256_permute2x128_si256::<0x31>(b1, b5),
            _mm256_permute2x128_si256::<0x31>(b2, b6),
            _mm256_permute2x128_si256::<0x31>(b3, b7),
        ]
    }
}

// SAFETY of each block below: `self` is the proof that AVX2 is there.
impl Machine<LANES> for Avx2 {
    type Vector = __m256i;

    #[inline(always)]
    fn splat(self, word: u32) -> __m256i {
        unsafe { _mm256_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn gather(self, words: &[u32; LANES]) -> __m256i {
        // SAFETY: also, eight words are 32 bytes.
        unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
    }

    #[inline(always)]
    fn scatter(self, vector: __m256i, words: &mut [u32; LANES]) {
        // SAFETY: also, eight words are 32 bytes.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn load(self, blocks: &[&Block; LANES]) -> [__m256i; 16] {
        let [w0, w1, w2, w3, w4, w5, w6, w7] = load_half(blocks, 0);
        let [w8, w9, w10, w11, w12, w13, w14, w15] = load_half(blocks, 1);
        [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32, const BACK: i32>(self, a: __m256i) -> __m256i {
        unsafe { _mm256_or_si256(_mm256_slli_epi32::<BITS>(a), _mm256_srli_epi32::<BACK>(a)) }
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: __m256i) -> __m256i {
        unsafe { _mm256_srli_epi32::<BITS>(a) }
    }
}
