//! SHA-1's compression over lanes, written once for every machine.
//!
//! Lane `n` of each vector belongs to stream `n`. Nothing here is unsafe, and nothing knows how wide a machine is.

use crate::{BLOCK_BYTES, Block};

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

    #[inline(always)]
    fn xor3(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        self.xor(self.xor(a, b), c)
    }

    /// FIPS 180-4, section 4.1.1: bits of `c` where `b` has a one, else of `d`.
    #[inline(always)]
    fn choose(self, b: Self::Vector, c: Self::Vector, d: Self::Vector) -> Self::Vector {
        self.xor(d, self.and(b, self.xor(c, d)))
    }

    /// FIPS 180-4, section 4.1.1: what two of the three say.
    #[inline(always)]
    fn majority(self, b: Self::Vector, c: Self::Vector, d: Self::Vector) -> Self::Vector {
        self.xor(self.and(b, c), self.and(d, self.xor(b, c)))
    }
}

/// Round constants, one for each twenty rounds (FIPS 180-4, section 4.2.1).
const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

const _: () = assert!(BLOCK_BYTES == 16 * 4, "a block is sixteen words");

/// Feeds each lane's blocks, as many as the shortest lane has, onto its state.
#[expect(clippy::needless_range_loop, reason = "it is the same place in every lane")]
#[inline(always)]
pub(crate) fn compress<M: Machine<LANES>, const LANES: usize>(
    m: M,
    state: &mut [[u32; LANES]; 5],
    blocks: &[&[Block]; LANES],
) {
    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    let k = [m.splat(K[0]), m.splat(K[1]), m.splat(K[2]), m.splat(K[3])];
    let [wa, wb, wc, wd, we] = state;
    let (mut a, mut b, mut c, mut d, mut e) = (m.gather(wa), m.gather(wb), m.gather(wc), m.gather(wd), m.gather(we));
    for at in 0..count {
        let before = (a, b, c, d, e);
        let mut w = m.load(&std::array::from_fn(|lane| &blocks[lane][at]));

        // One round (FIPS 180-4, section 6.1.2), with the schedule kept in a ring of sixteen. The names change their roles instead of the values their places.
        macro_rules! round {
            ($t:expr, $f:ident, $k:expr, $a:ident $b:ident $c:ident $d:ident $e:ident) => {
                if $t >= 16 {
                    let mixed = m.xor(m.xor3(w[($t + 13) & 15], w[($t + 8) & 15], w[($t + 2) & 15]), w[$t & 15]);
                    w[$t & 15] = m.rotate_left::<1, 31>(mixed);
                }
                let fed = m.add(m.add($e, m.add(w[$t & 15], k[$k])), m.$f($b, $c, $d));
                $e = m.add(fed, m.rotate_left::<5, 27>($a));
                $b = m.rotate_left::<30, 2>($b);
            };
        }
        macro_rules! five_rounds {
            ($t:expr, $f:ident, $k:expr) => {
                round!($t, $f, $k, a b c d e);
                round!($t + 1, $f, $k, e a b c d);
                round!($t + 2, $f, $k, d e a b c);
                round!($t + 3, $f, $k, c d e a b);
                round!($t + 4, $f, $k, b c d e a);
            };
        }
        macro_rules! twenty_rounds {
            ($t:expr, $f:ident, $k:expr) => {
                five_rounds!($t, $f, $k);
                five_rounds!($t + 5, $f, $k);
                five_rounds!($t + 10, $f, $k);
                five_rounds!($t + 15, $f, $k);
            };
        }
        twenty_rounds!(0, choose, 0);
        twenty_rounds!(20, xor3, 1);
        twenty_rounds!(40, majority, 2);
        twenty_rounds!(60, xor3, 3);

        (a, b, c, d, e) =
            (m.add(a, before.0), m.add(b, before.1), m.add(c, before.2), m.add(d, before.3), m.add(e, before.4));
    }
    m.scatter(a, wa);
    m.scatter(b, wb);
    m.scatter(c, wc);
    m.scatter(d, wd);
    m.scatter(e, we);
}
