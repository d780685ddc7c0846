//! The rounds of SHA-1, written once for every machine.

use super::{Kernel, Machine, Rows, count};
use crate::machine::ShaNi;
use crate::{Backend, Block, Sha1};

/// Round constants, one for each twenty rounds (FIPS 180-4, section 4.2.1).
const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

impl Kernel<[u32; 5]> for Sha1 {
    const BEST_FIRST: [Backend; 4] = [Backend::Avx512, Backend::Avx2, Backend::ShaNi, Backend::One];
    const MIN_LANES: usize = 7;

    fn one(words: &mut [u32; 5], blocks: &[Block]) {
        sha1::block_api::compress(words, blocks);
    }

    fn pair(sha_ni: ShaNi, words: [&mut [u32; 5]; 2], blocks: [&[Block]; 2]) {
        sha_ni.sha1(words, blocks);
    }

    #[expect(clippy::needless_range_loop, reason = "it is the same place in every lane")]
    #[inline(always)]
    fn side_by_side<M: Machine<LANES>, const LANES: usize>(m: M, rows: &mut Rows<LANES>, blocks: &[&[Block]; LANES]) {
        let k = [m.splat(K[0]), m.splat(K[1]), m.splat(K[2]), m.splat(K[3])];
        let [ra, rb, rc, rd, re, ..] = rows;
        let (mut a, mut b, mut c, mut d, mut e) =
            (m.gather(ra), m.gather(rb), m.gather(rc), m.gather(rd), m.gather(re));
        for at in 0..count(blocks) {
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
        m.scatter(a, ra);
        m.scatter(b, rb);
        m.scatter(c, rc);
        m.scatter(d, rd);
        m.scatter(e, re);
    }
}
