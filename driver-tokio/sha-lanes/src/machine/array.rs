//! Lanes in plain arrays: for processors without vectors of ours, and the kernel's proof at any width.

use crate::Block;
use crate::kernel::{Machine, compress};

/// Needs nothing of the processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array;

/// Lanes that most processors' vectors hold, whatever they are called.
pub(crate) const LANES: usize = 4;

/// See [`compress`].
pub(crate) fn compress_arrays(state: &mut [[u32; LANES]; 5], blocks: &[&[Block]; LANES]) {
    compress(Array, state, blocks);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_width<const LANES: usize>(seed: [u32; 5], bytes: &[u8]) {
        let blocks = bytes.as_chunks().0;
        // Each lane begins one block later, and from another state.
        let lanes: [&[Block]; LANES] = std::array::from_fn(|lane| &blocks[lane % blocks.len()..]);
        let mut state: [[u32; LANES]; 5] =
            std::array::from_fn(|n| std::array::from_fn(|lane| seed[n].wrapping_mul(lane as u32 + 1)));
        let shortest = lanes.iter().map(|blocks| blocks.len()).min().unwrap();
        let expected: [[u32; 5]; LANES] = std::array::from_fn(|lane| {
            let mut words = std::array::from_fn(|n| state[n][lane]);
            sha1::block_api::compress(&mut words, &lanes[lane][..shortest]);
            words
        });
        compress(Array, &mut state, &lanes);
        let got: [[u32; 5]; LANES] = std::array::from_fn(|lane| std::array::from_fn(|n| state[n][lane]));
        assert_eq!(got, expected);
    }

    proptest! {
        #[test]
        fn the_kernel_equals_the_sha1_crate_at_any_width(
            seed in any::<[u32; 5]>(),
            bytes in proptest::collection::vec(any::<u8>(), 64..1500),
        ) {
            any_width::<1>(seed, &bytes);
            any_width::<LANES>(seed, &bytes);
            any_width::<16>(seed, &bytes);
        }
    }
}
