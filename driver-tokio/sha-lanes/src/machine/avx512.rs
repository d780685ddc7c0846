//! Sixteen lanes of AVX-512 (F and BW). It differs from AVX2 by its width, a rotation in one instruction, and functions of three words in one.
//!
//! Unsafe, and why it is sound: an [`Avx512`] is made by [`Avx512::detect`] alone, which asks the processor; so wherever there is one, its instructions exist.
//! Memory is touched through references to arrays only, at places that lie inside them, by instructions that ask for no alignment.

use crate::kernel::{Machine, Rows};
use crate::{Algorithm, Block};
use std::arch::x86_64::*;

/// Lanes of one vector.
pub(crate) const LANES: usize = 16;

/// Truth tables of functions of three bits, for `vpternlog`: bit `4a + 2b + c` is the result.
mod table {
    pub(super) const XOR3: i32 = 0b1001_0110;
    pub(super) const CHOOSE: i32 = 0b1100_1010;
    pub(super) const MAJORITY: i32 = 0b1110_1000;
}

/// The proof that the processor has AVX-512 F and BW.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// Asks the processor.
    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        found.then_some(Avx512(()))
    }

    /// Every lane's blocks, as many as the shortest has.
    pub(crate) fn compress<A: Algorithm>(self, rows: &mut Rows<LANES>, blocks: &[&[Block]; LANES]) {
        #[target_feature(enable = "avx512f,avx512bw")]
        fn with_avx512<A: Algorithm>(m: Avx512, rows: &mut Rows<LANES>, blocks: &[&[Block]; LANES]) {
            A::side_by_side(m, rows, blocks);
        }
        // SAFETY: `self` is the proof that AVX-512 is there.
        unsafe { with_avx512::<A>(self, rows, blocks) }
    }
}

/// The shuffles of a transposition; apart, so that the way they are put together can be proven on any processor. A quarter of a vector is four words.
trait Shuffle: Copy {
    type Vector: Copy;

    /// In each quarter: the first word of `a`, that of `b`, the second of `a`, that of `b`.
    fn low_words(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The same of the third and the fourth word.
    fn high_words(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// In each quarter: the first two words of `a`, those of `b`.
    fn low_pairs(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The same of the last two words.
    fn high_pairs(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The first and the third quarter of `a`, those of `b`.
    fn even_quarters(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The second and the fourth quarter of `a`, those of `b`.
    fn odd_quarters(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
}

/// Four lanes: vector `n` holds words n, n + 4, n + 8 and n + 12 of each, one in each quarter.
#[inline(always)]
fn mix_words<S: Shuffle>(s: S, [r0, r1, r2, r3]: [S::Vector; 4]) -> [S::Vector; 4] {
    let (low01, high01) = (s.low_words(r0, r1), s.high_words(r0, r1));
    let (low23, high23) = (s.low_words(r2, r3), s.high_words(r2, r3));
    [s.low_pairs(low01, low23), s.high_pairs(low01, low23), s.low_pairs(high01, high23), s.high_pairs(high01, high23)]
}

/// Quarter `n` of the four becomes vector `n`.
#[inline(always)]
fn mix_quarters<S: Shuffle>(s: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 4] {
    let (ab02, ab13) = (s.even_quarters(a, b), s.odd_quarters(a, b));
    let (cd02, cd13) = (s.even_quarters(c, d), s.odd_quarters(c, d));
    [s.even_quarters(ab02, cd02), s.even_quarters(ab13, cd13), s.odd_quarters(ab02, cd02), s.odd_quarters(ab13, cd13)]
}

/// Word `n` of row `lane` becomes word `lane` of row `n`.
#[inline(always)]
fn transpose<S: Shuffle>(s: S, rows: [S::Vector; 16]) -> [S::Vector; 16] {
    let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15] = rows;
    let [a0, a1, a2, a3] = mix_words(s, [r0, r1, r2, r3]);
    let [b0, b1, b2, b3] = mix_words(s, [r4, r5, r6, r7]);
    let [c0, c1, c2, c3] = mix_words(s, [r8, r9, r10, r11]);
    let [d0, d1, d2, d3] = mix_words(s, [r12, r13, r14, r15]);
    let [w0, w4, w8, w12] = mix_quarters(s, [a0, b0, c0, d0]);
    let [w1, w5, w9, w13] = mix_quarters(s, [a1, b1, c1, d1]);
    let [w2, w6, w10, w14] = mix_quarters(s, [a2, b2, c2, d2]);
    let [w3, w7, w11, w15] = mix_quarters(s, [a3, b3, c3, d3]);
    [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
}

// SAFETY of each block below: `self` is the proof that AVX-512 F is there.
impl Shuffle for Avx512 {
    type Vector = __m512i;

    #[inline(always)]
    fn low_words(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_unpacklo_epi32(a, b) }
    }

    #[inline(always)]
    fn high_words(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_unpackhi_epi32(a, b) }
    }

    #[inline(always)]
    fn low_pairs(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_unpacklo_epi64(a, b) }
    }

    #[inline(always)]
    fn high_pairs(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_unpackhi_epi64(a, b) }
    }

    #[inline(always)]
    fn even_quarters(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b) }
    }

    #[inline(always)]
    fn odd_quarters(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b) }
    }
}

// SAFETY of each block below: `self` is the proof that AVX-512 F and BW are there.
impl Machine<LANES> for Avx512 {
    type Vector = __m512i;

    #[inline(always)]
    fn splat(self, word: u32) -> __m512i {
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn gather(self, words: &[u32; LANES]) -> __m512i {
        // SAFETY: also, sixteen words are 64 bytes.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    }

    #[inline(always)]
    fn scatter(self, vector: __m512i, words: &mut [u32; LANES]) {
        // SAFETY: also, sixteen words are 64 bytes.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn load(self, blocks: &[&Block; LANES]) -> [__m512i; 16] {
        // SAFETY: also, a block is 64 bytes.
        unsafe {
            let swap = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
            let mut rows = [swap; LANES];
            for (row, block) in rows.iter_mut().zip(blocks) {
                *row = _mm512_shuffle_epi8(_mm512_loadu_si512(block.as_ptr().cast()), swap);
            }
            transpose(self, rows)
        }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32, const BACK: i32>(self, a: __m512i) -> __m512i {
        unsafe { _mm512_rol_epi32::<BITS>(a) }
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: __m512i) -> __m512i {
        // `_mm512_srli_epi32` wants its constant unsigned, and constants cannot be converted yet; the compiler makes the same of this.
        unsafe { _mm512_srlv_epi32(a, _mm512_set1_epi32(BITS)) }
    }

    #[inline(always)]
    fn xor3(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        unsafe { _mm512_ternarylogic_epi32::<{ table::XOR3 }>(a, b, c) }
    }

    #[inline(always)]
    fn choose(self, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        unsafe { _mm512_ternarylogic_epi32::<{ table::CHOOSE }>(b, c, d) }
    }

    #[inline(always)]
    fn majority(self, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        unsafe { _mm512_ternarylogic_epi32::<{ table::MAJORITY }>(b, c, d) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shuffles as Intel's manual describes them, on arrays.
    #[derive(Clone, Copy)]
    struct Model;

    type Quarters = [[u32; 4]; 4];

    fn each(a: Quarters, b: Quarters, f: impl Fn([u32; 4], [u32; 4]) -> [u32; 4]) -> Quarters {
        std::array::from_fn(|n| f(a[n], b[n]))
    }

    impl Shuffle for Model {
        type Vector = Quarters;

        fn low_words(self, a: Quarters, b: Quarters) -> Quarters {
            each(a, b, |a, b| [a[0], b[0], a[1], b[1]])
        }

        fn high_words(self, a: Quarters, b: Quarters) -> Quarters {
            each(a, b, |a, b| [a[2], b[2], a[3], b[3]])
        }

        fn low_pairs(self, a: Quarters, b: Quarters) -> Quarters {
            each(a, b, |a, b| [a[0], a[1], b[0], b[1]])
        }

        fn high_pairs(self, a: Quarters, b: Quarters) -> Quarters {
            each(a, b, |a, b| [a[2], a[3], b[2], b[3]])
        }

        fn even_quarters(self, a: Quarters, b: Quarters) -> Quarters {
            [a[0], a[2], b[0], b[2]]
        }

        fn odd_quarters(self, a: Quarters, b: Quarters) -> Quarters {
            [a[1], a[3], b[1], b[3]]
        }
    }

    #[test]
    fn the_shuffles_transpose_sixteen_rows() {
        let word = |row: usize, n: usize| (100 * row + n) as u32;
        let quarters = |word: &dyn Fn(usize) -> u32| std::array::from_fn(|q| std::array::from_fn(|n| word(4 * q + n)));
        let rows: [Quarters; 16] = std::array::from_fn(|row| quarters(&|n| word(row, n)));
        let expected: [Quarters; 16] = std::array::from_fn(|n| quarters(&|row| word(row, n)));
        assert_eq!(transpose(Model, rows), expected);
    }

    #[test]
    fn the_truth_tables_are_those_of_the_functions() {
        for at in 0..8 {
            let (a, b, c) = ((at >> 2) & 1, (at >> 1) & 1, at & 1);
            let says = |table: i32| (table >> at) & 1;
            assert_eq!(says(table::XOR3), a ^ b ^ c);
            assert_eq!(says(table::CHOOSE), if a == 1 { b } else { c });
            assert_eq!(says(table::MAJORITY), i32::from(a + b + c >= 2));
        }
    }
}
