//! What an algorithm does ([`Kernel`]), and what it does it with when streams lie side by side ([`Machine`]).
//!
//! Lane `n` of each vector belongs to stream `n`. Nothing here is unsafe, and nothing knows how wide a machine is.

mod sha1;
pub(crate) mod sha256;

use crate::machine::ShaNi;
use crate::{BLOCK_BYTES, Backend, Block};

const _: () = assert!(BLOCK_BYTES == 16 * 4, "a block is sixteen words");

/// The states of all lanes, transposed: word `n` of each lane stands in row `n`. There is room for the longest state; SHA-1 uses the first five rows.
pub(crate) type Rows<const LANES: usize> = [[u32; LANES]; 8];

/// How an algorithm takes blocks in, one way for each kind of backend.
pub(crate) trait Kernel<Words> {
    /// Backends that are worth their while, the best first. Arrays are not: they are for tests, and one stream at a time is faster. Measured: see PERFORMANCE.md.
    const BEST_FIRST: [Backend; 4];
    /// Where there is SHA-NI, fewer ready lanes than this are faster in pairs. Measured: see PERFORMANCE.md.
    const MIN_LANES: usize;

    /// One stream.
    fn one(words: &mut Words, blocks: &[Block]);
    /// Two streams, as many blocks as the shorter has.
    fn pair(sha_ni: ShaNi, words: [&mut Words; 2], blocks: [&[Block]; 2]);
    /// All lanes, as many blocks as the shortest has.
    fn side_by_side<M: Machine<LANES>, const LANES: usize>(m: M, rows: &mut Rows<LANES>, blocks: &[&[Block]; LANES]);
}

/// A set of vector instructions, held as a proof: a value exists only where the processor has them.
///
/// Every method but those of memory and arithmetic has a default made of these; a machine that has one instruction for
/// it says so.
pub(crate) trait Machine<const LANES: usize>: Copy {
    /// One 32-bit word of each lane.
    type Vector: Copy;

    /// The same word in each lane.
    fn splat(self, word: u32) -> Self::Vector;
    /// One word for each lane.
    fn gather(self, words: &[u32; LANES]) -> Self::Vector;
    /// Each lane's word.
    fn scatter(self, vector: Self::Vector, words: &mut [u32; LANES]);
    /// The sixteen big-endian words of each lane's block, transposed: word `n` of all lanes stands in vector `n`.
    fn load(self, blocks: &[&Block; LANES]) -> [Self::Vector; 16];

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn and(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `BACK` is 32 - `BITS`: a constant cannot be computed from another one yet.
    fn rotate_left<const BITS: i32, const BACK: i32>(self, a: Self::Vector) -> Self::Vector;
    /// Zeros come in from above.
    fn shift_right<const BITS: i32>(self, a: Self::Vector) -> Self::Vector;

    /// `BACK` as above.
    #[inline(always)]
    fn rotate_right<const BITS: i32, const BACK: i32>(self, a: Self::Vector) -> Self::Vector {
        self.rotate_left::<BACK, BITS>(a)
    }

    #[inline(always)]
    fn xor3(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        self.xor(self.xor(a, b), c)
    }

    /// FIPS 180-4, section 4.1: bits of `c` where `b` has a one, else of `d`.
    #[inline(always)]
    fn choose(self, b: Self::Vector, c: Self::Vector, d: Self::Vector) -> Self::Vector {
        self.xor(d, self.and(b, self.xor(c, d)))
    }

    /// FIPS 180-4, section 4.1: what two of the three say.
    #[inline(always)]
    fn majority(self, b: Self::Vector, c: Self::Vector, d: Self::Vector) -> Self::Vector {
        self.xor(self.and(b, c), self.and(d, self.xor(b, c)))
    }
}

/// As many blocks as the shortest lane has.
fn count<const LANES: usize>(blocks: &[&[Block]; LANES]) -> usize {
    blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0)
}
