//! How fast bytes flow: a mean over some five seconds and one over some twenty, fed once a second.
//!
//! The short one is for people and for the request window: it shows a change at once. The long one is for the choker, which must not be
//! moved by a hiccup: BEP 3's reference client judges by the last twenty seconds.

use crate::time::Duration;

/// How much the short mean looks back.
const SHORT_S: u32 = 5;
/// How much the long mean looks back.
const LONG_S: u32 = 20;

/// A counter of bytes with its rates. Call [`Rate::tick`] once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    total: u64,
    this_second: u64,
    /// The means, short and long, in 1/256 bytes per second, so that the mean of a slow flow does not stick at a rounding error.
    means_x256: [u64; 2],
    seconds: u32,
}

impl Rate {
    /// Counts bytes.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.total += bytes;
        self.this_second += bytes;
    }

    /// A second has passed.
    pub(crate) fn tick(&mut self) {
        // The first seconds weigh fully, so that a new flow shows its rate at once; then each weighs a fifth, or a twentieth.
        self.seconds = (self.seconds + 1).min(LONG_S);
        let second = self.this_second.saturating_mul(256);
        for (mean, span) in self.means_x256.iter_mut().zip([SHORT_S, LONG_S]) {
            let weight = u64::from(self.seconds.min(span));
            *mean = (mean.saturating_mul(weight - 1).saturating_add(second)) / weight;
        }
        self.this_second = 0;
    }

    /// Bytes since the start.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes per second, over some five seconds.
    pub(crate) fn per_second(&self) -> u64 {
        self.means_x256[0] / 256
    }

    /// Bytes per second, over some twenty seconds.
    pub(crate) fn long_per_second(&self) -> u64 {
        self.means_x256[1] / 256
    }
}

/// The rate of what comes in lumps: payload is verified by whole pieces. Each lump flows in over as long as it took to collect, so that a large
/// piece makes its sender neither a hero for a moment nor a loafer in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LumpRate {
    rate: Rate,
    waiting: u64,
    seconds: u64,
}

/// A lump that took longer flows in over this long: what was collected for hours says little about now.
const LONGEST_LUMP_S: u64 = 120;

impl LumpRate {
    /// Counts bytes that were collected in this time.
    pub(crate) fn add(&mut self, bytes: u64, collected_in: Duration) {
        self.waiting += bytes;
        self.seconds = self.seconds.max(collected_in.as_secs().min(LONGEST_LUMP_S));
    }

    /// A second has passed.
    pub(crate) fn tick(&mut self) {
        let part = self.waiting / self.seconds.max(1);
        self.rate.add(part);
        self.waiting -= part;
        self.seconds = self.seconds.saturating_sub(1);
        self.rate.tick();
    }

    /// Bytes per second, over some twenty seconds.
    pub(crate) fn per_second(&self) -> u64 {
        self.rate.long_per_second()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// The mean in closed form: of up to `span` seconds the plain one; from then on each new second weighs 1/span of all before.
    fn mean(seconds: &[u64], span: u32) -> f64 {
        let (n, first) = (seconds.len(), span as usize);
        let (new, old) = (1.0 / f64::from(span), 1.0 - 1.0 / f64::from(span));
        let weight = |i: usize| match n {
            _ if n <= first => 1.0 / n as f64,
            _ if i < first => new * old.powi((n - first) as i32),
            _ => new * old.powi((n - 1 - i) as i32),
        };
        seconds.iter().enumerate().map(|(i, bytes)| *bytes as f64 * weight(i)).sum()
    }

    proptest! {
        #[test]
        fn each_rate_is_the_weighed_mean_of_all_seconds(
            seconds in proptest::collection::vec(proptest::collection::vec(0u64..1 << 32, 0..4), 0..90),
        ) {
            let mut rate = Rate::default();
            let mut sums: Vec<u64> = Vec::new();
            for parts in seconds {
                let before = (rate.per_second(), rate.long_per_second());
                parts.iter().for_each(|bytes| rate.add(*bytes));
                prop_assert_eq!((rate.per_second(), rate.long_per_second()), before, "they change with the second only");
                rate.tick();
                sums.push(parts.iter().sum());
                prop_assert_eq!(rate.total(), sums.iter().sum::<u64>());
                for (shown, span) in [(rate.per_second(), SHORT_S), (rate.long_per_second(), LONG_S)] {
                    // Each step rounds down by 1/256 at most, which adds up to `span` of them; and the last one to whole bytes.
                    let (shown, exact) = (shown as f64, mean(&sums, span));
                    prop_assert!(shown <= exact + 0.01 && shown > exact - 1.11, "{shown} instead of {exact}");
                }
            }
        }
    }

    #[test]
    fn who_sends_large_pieces_is_rated_like_who_sends_small_ones() {
        let (mut large, mut small) = (LumpRate::default(), LumpRate::default());
        for second in 1..=600_u64 {
            small.add(1000, Duration::ZERO);
            if second.is_multiple_of(60) {
                large.add(60_000, Duration::from_secs(60));
            }
            large.tick();
            small.tick();
            if second > 200 {
                assert!((990..=1010).contains(&large.per_second()), "{} at {second} s", large.per_second());
            }
        }
        assert_eq!(small.per_second(), 1000);
    }

    #[test]
    fn every_byte_of_a_lump_flows_in() {
        let mut lumps = LumpRate::default();
        lumps.add(1_000_003, Duration::from_secs(7 * 3600));
        lumps.add(4, Duration::from_secs(3));
        (0..LONGEST_LUMP_S).for_each(|_| lumps.tick());
        assert_eq!((lumps.rate.total(), lumps.waiting), (1_000_007, 0));
    }

    #[test]
    fn a_steady_flow_shows_its_rate_from_the_first_second_and_dies_away() {
        let mut rate = Rate::default();
        for _ in 0..40 {
            rate.add(1000);
            rate.tick();
            assert_eq!((rate.per_second(), rate.long_per_second()), (1000, 1000));
        }
        (0..40).for_each(|_| rate.tick());
        assert_eq!((rate.per_second(), rate.total()), (0, 40_000));
        assert!((100..150).contains(&rate.long_per_second()), "an eighth after two spans");
        (0..200).for_each(|_| rate.tick());
        assert_eq!(rate.long_per_second(), 0);
    }
}
