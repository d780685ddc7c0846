//! The rounds of SHA-256, written once for every machine.

use super::{Kernel, Machine, Rows, count};
use crate::machine::ShaNi;
use crate::{Backend, Block, Sha256};

/// Round constants (FIPS 180-4, section 4.2.2), eight a line as they stand there.
#[rustfmt::skip]
pub(crate) const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

impl Kernel<[u32; 8]> for Sha256 {
    // SHA-NI is faster than eight lanes, and has fewer to fill.
    const BEST_FIRST: [Backend; 4] = [Backend::Avx512, Backend::ShaNi, Backend::Avx2, Backend::One];
    const MIN_LANES: usize = 9;

    fn one(words: &mut [u32; 8], blocks: &[Block]) {
        sha2::block_api::compress256(words, blocks);
    }

    fn pair(sha_ni: ShaNi, words: [&mut [u32; 8]; 2], blocks: [&[Block]; 2]) {
        sha_ni.sha256(words, blocks);
    }

    #[expect(clippy::needless_range_loop, reason = "it is the same place in every lane")]
    #[inline(always)]
    fn side_by_side<M: Machine<LANES>, const LANES: usize>(m: M, rows: &mut Rows<LANES>, blocks: &[&[Block]; LANES]) {
        let [ra, rb, rc, rd, re, rf, rg, rh] = rows;
        let (mut a, mut b, mut c, mut d) = (m.gather(ra), m.gather(rb), m.gather(rc), m.gather(rd));
        let (mut e, mut f, mut g, mut h) = (m.gather(re), m.gather(rf), m.gather(rg), m.gather(rh));
        for at in 0..count(blocks) {
            let before = (a, b, c, d, e, f, g, h);
            let mut w = m.load(&std::array::from_fn(|lane| &blocks[lane][at]));

            // One round (FIPS 180-4, section 6.2.2), with the schedule kept in a ring of sixteen. The names change their roles instead of the values their places.
            macro_rules! round {
                ($t:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
                    if $t >= 16 {
                        let recent = m.add(small_sigma_1(m, w[($t + 14) & 15]), w[($t + 9) & 15]);
                        let distant = m.add(small_sigma_0(m, w[($t + 1) & 15]), w[$t & 15]);
                        w[$t & 15] = m.add(recent, distant);
                    }
                    let fed = m.add($h, m.add(w[$t & 15], m.splat(K[$t])));
                    let fed = m.add(fed, m.add(big_sigma_1(m, $e), m.choose($e, $f, $g)));
                    $d = m.add($d, fed);
                    $h = m.add(fed, m.add(big_sigma_0(m, $a), m.majority($a, $b, $c)));
                };
            }
            macro_rules! eight_rounds {
                ($t:expr) => {
                    round!($t, a b c d e f g h);
                    round!($t + 1, h a b c d e f g);
                    round!($t + 2, g h a b c d e f);
                    round!($t + 3, f g h a b c d e);
                    round!($t + 4, e f g h a b c d);
                    round!($t + 5, d e f g h a b c);
                    round!($t + 6, c d e f g h a b);
                    round!($t + 7, b c d e f g h a);
                };
            }
            eight_rounds!(0);
            eight_rounds!(8);
            eight_rounds!(16);
            eight_rounds!(24);
            eight_rounds!(32);
            eight_rounds!(40);
            eight_rounds!(48);
            eight_rounds!(56);

            (a, b, c, d) = (m.add(a, before.0), m.add(b, before.1), m.add(c, before.2), m.add(d, before.3));
            (e, f, g, h) = (m.add(e, before.4), m.add(f, before.5), m.add(g, before.6), m.add(h, before.7));
        }
        m.scatter(a, ra);
        m.scatter(b, rb);
        m.scatter(c, rc);
        m.scatter(d, rd);
        m.scatter(e, re);
        m.scatter(f, rf);
        m.scatter(g, rg);
        m.scatter(h, rh);
    }
}

// The functions of one word (FIPS 180-4, section 4.1.2), called as the standard writes them.

#[inline(always)]
fn big_sigma_0<M: Machine<LANES>, const LANES: usize>(m: M, a: M::Vector) -> M::Vector {
    m.xor3(m.rotate_right::<2, 30>(a), m.rotate_right::<13, 19>(a), m.rotate_right::<22, 10>(a))
}

#[inline(always)]
fn big_sigma_1<M: Machine<LANES>, const LANES: usize>(m: M, e: M::Vector) -> M::Vector {
    m.xor3(m.rotate_right::<6, 26>(e), m.rotate_right::<11, 21>(e), m.rotate_right::<25, 7>(e))
}

#[inline(always)]
fn small_sigma_0<M: Machine<LANES>, const LANES: usize>(m: M, w: M::Vector) -> M::Vector {
    m.xor3(m.rotate_right::<7, 25>(w), m.rotate_right::<18, 14>(w), m.shift_right::<3>(w))
}

#[inline(always)]
fn small_sigma_1<M: Machine<LANES>, const LANES: usize>(m: M, w: M::Vector) -> M::Vector {
    m.xor3(m.rotate_right::<17, 15>(w), m.rotate_right::<19, 13>(w), m.shift_right::<10>(w))
}
