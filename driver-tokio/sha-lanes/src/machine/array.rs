//! Lanes in plain arrays: for processors without vectors of ours, and the kernel's proof at any width.

use crate::kernel::{Machine, Rows};
use crate::{Algorithm, Block};

/// Needs nothing of the processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array;

/// Lanes that most processors' vectors hold, whatever they are called.
pub(crate) const LANES: usize = 4;

impl Array {
    /// Every lane's blocks, as many as the shortest has.
    pub(crate) fn compress<A: Algorithm>(self, rows: &mut Rows<LANES>, blocks: &[&[Block]; LANES]) {
        A::side_by_side(self, rows, blocks);
    }
}

/// Applies `f` lane by lane.
#[inline(always)]
fn each<const LANES: usize>(a: [u32; LANES], b: [u32; LANES], f: impl Fn(u32, u32) -> u32) -> [u32; LANES] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl<const LANES: usize> Machine<LANES> for Array {
    type Vector = [u32; LANES];

    #[inline(always)]
    fn splat(self, word: u32) -> Self::Vector {
        [word; LANES]
    }

    #[inline(always)]
    fn gather(self, words: &[u32; LANES]) -> Self::Vector {
        *words
    }

    #[inline(always)]
    fn scatter(self, vector: Self::Vector, words: &mut [u32; LANES]) {
        *words = vector;
    }

    #[inline(always)]
    fn load(self, blocks: &[&Block; LANES]) -> [Self::Vector; 16] {
        let word = |lane: usize, n: usize| u32::from_be_bytes(blocks[lane].as_chunks::<4>().0[n]);
        std::array::from_fn(|n| std::array::from_fn(|lane| word(lane, n)))
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        each(a, b, u32::wrapping_add)
    }

    #[inline(always)]
    fn and(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        each(a, b, |a, b| a & b)
    }

    #[inline(always)]
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        each(a, b, |a, b| a ^ b)
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32, const BACK: i32>(self, a: Self::Vector) -> Self::Vector {
        a.map(|word| (word << BITS) | (word >> BACK))
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: Self::Vector) -> Self::Vector {
        a.map(|word| word >> BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sha1, Sha256};
    use proptest::prelude::*;

    fn any_width<A: Algorithm, const LANES: usize>(seed: [u32; 8], bytes: &[u8]) {
        let blocks = bytes.as_chunks().0;
        // Each lane begins one block later, and from another state.
        let lanes: [&[Block]; LANES] = std::array::from_fn(|lane| &blocks[lane % blocks.len()..]);
        let mut rows: Rows<LANES> =
            std::array::from_fn(|n| std::array::from_fn(|lane| seed[n].wrapping_mul(lane as u32 + 1)));
        let words_of = |rows: &Rows<LANES>, lane: usize| {
            let mut words = A::START;
            words.as_mut().iter_mut().zip(rows).for_each(|(word, row)| *word = row[lane]);
            words
        };
        let shortest = lanes.iter().map(|blocks| blocks.len()).min().unwrap();
        let expected: [A::Words; LANES] = std::array::from_fn(|lane| {
            let mut words = words_of(&rows, lane);
            A::one(&mut words, &lanes[lane][..shortest]);
            words
        });
        A::side_by_side(Array, &mut rows, &lanes);
        assert_eq!(std::array::from_fn(|lane| words_of(&rows, lane)), expected);
    }

    proptest! {
        #[test]
        fn the_kernels_equal_the_sha_crates_at_any_width(
            seed in any::<[u32; 8]>(),
            bytes in proptest::collection::vec(any::<u8>(), 64..1500),
        ) {
            any_width::<Sha1, 1>(seed, &bytes);
            any_width::<Sha1, LANES>(seed, &bytes);
            any_width::<Sha1, 16>(seed, &bytes);
            any_width::<Sha256, 1>(seed, &bytes);
            any_width::<Sha256, LANES>(seed, &bytes);
            any_width::<Sha256, 16>(seed, &bytes);
        }
    }
}
