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
