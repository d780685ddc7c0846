//! How fast bytes flow: a mean over some four seconds, fed once a second.

/// A counter of bytes with its rate. Call [`Rate::tick`] once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    total: u64,
    this_second: u64,
    /// In 1/256 bytes per second, so that the mean of a slow flow does not stick at a rounding error.
    mean_x256: u64,
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
        // The first seconds weigh fully, so that a new flow shows its rate at once; then each weighs a quarter.
        self.seconds = (self.seconds + 1).min(4);
        let weight = u64::from(self.seconds);
        self.mean_x256 = (self.mean_x256 * (weight - 1) + self.this_second.saturating_mul(256)) / weight;
        self.this_second = 0;
    }

    /// Bytes since the start.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes per second.
    pub(crate) fn per_second(&self) -> u64 {
        self.mean_x256 / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// The mean in closed form: of up to four seconds the plain one; from the fifth on each new second weighs a quarter of all before.
    fn mean(seconds: &[u64]) -> f64 {
        let n = seconds.len();
        let weight = |i: usize| match n {
            0..=4 => 1.0 / n as f64,
            _ if i < 4 => 0.25 * 0.75_f64.powi(n as i32 - 4),
            _ => 0.25 * 0.75_f64.powi((n - 1 - i) as i32),
        };
        seconds.iter().enumerate().map(|(i, bytes)| *bytes as f64 * weight(i)).sum()
    }

    proptest! {
        #[test]
        fn the_rate_is_the_weighed_mean_of_all_seconds(
            seconds in proptest::collection::vec(proptest::collection::vec(0u64..1 << 32, 0..4), 0..60),
        ) {
            let mut rate = Rate::default();
            let mut sums: Vec<u64> = Vec::new();
            for parts in seconds {
                let before = rate.per_second();
                parts.iter().for_each(|bytes| rate.add(*bytes));
                prop_assert_eq!(rate.per_second(), before, "it changes with the second only");
                rate.tick();
                sums.push(parts.iter().sum());
                prop_assert_eq!(rate.total(), sums.iter().sum::<u64>());
                // Four steps of rounding down by 1/256 each, at most, and the last one to whole bytes.
                let (shown, exact) = (rate.per_second() as f64, mean(&sums));
                prop_assert!(shown <= exact + 0.01 && shown > exact - 1.03, "{shown} instead of {exact}");
            }
        }
    }

    #[test]
    fn a_steady_flow_shows_its_rate_from_the_first_second_and_dies_away() {
        let mut rate = Rate::default();
        for _ in 0..10 {
            rate.add(1000);
            rate.tick();
            assert_eq!(rate.per_second(), 1000);
        }
        (0..40).for_each(|_| rate.tick());
        assert_eq!((rate.per_second(), rate.total()), (0, 10_000));
    }
}
