//! How fast bytes may flow in one direction: a bucket of tokens that time fills, in integers, and the line of those who wait for it.
//!
//! Law: however the calls fall, in any stretch of time no more is used than the rate gives in that time and one block (at high rates: a fiftieth of a
//! second's worth), if nothing is given out beyond [`Bucket::available`]. It never looks at a clock, and knows neither sockets nor messages.

use crate::time::{Duration, Instant};
use alloc::collections::VecDeque;

/// Less than this is not given out at a time, so that nobody is busy with crumbs.
pub(crate) const LEAST_BYTES: u64 = 256;
/// What a bucket holds: one block of 16 KiB, less what each peer may always send (see `IDLE_CREDIT_BYTES`), for some thirty peers.
const BURST_BYTES: u64 = 14 * 1024;
/// What comes in one step: room is left in the bucket for steps that come late.
const STEP_BYTES: u64 = 8 * 1024;
/// Steps of slow lines: what is given out stays even, and costs ten looks a second.
const LONGEST_STEP: Duration = Duration::from_millis(100);
/// Steps of fast lines: timers of systems are not much finer, and by then each step carries a block and more.
const SHORTEST_STEP: Duration = Duration::from_millis(10);
/// A bucket counts in millionths of a byte: what one byte per second gives in a microsecond.
const MICRO: i128 = 1_000_000;

/// A bucket of tokens. Without a rate it is endless and costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    bytes_per_s: u64,
    /// In millionths of a byte; below zero when more was used than there was.
    level: i128,
    /// Given out and not yet used.
    promised: u64,
    filled: Instant,
}

impl Bucket {
    /// The rate in bytes per second; 0 is none.
    pub(crate) fn bytes_per_s(&self) -> u64 {
        self.bytes_per_s
    }

    /// Whether there is a rate.
    pub(crate) fn is_limited(&self) -> bool {
        self.bytes_per_s > 0
    }

    /// Changes the rate; 0 is none. What the old one has given until now stays, as far as the new one holds it.
    pub(crate) fn set_rate(&mut self, now: Instant, bytes_per_s: u64) {
        self.fill(now);
        if !self.is_limited() {
            self.level = 0;
        }
        self.bytes_per_s = bytes_per_s;
        self.level = self.level.min(self.capacity());
    }

    /// Lets in what time has brought, when it is time to look. To be called before bytes are given out or taken.
    pub(crate) fn refill(&mut self, now: Instant) {
        if self.is_limited() {
            if now >= self.due() {
                self.fill(now);
            } else {
                // What has run over since is lost, also when something is taken before the next look.
                self.level = self.level.min(self.capacity() - self.gained(now));
            }
        }
    }

    /// When there may be something to give out again: at steps, so that nobody looks all the time; later while too much was used.
    pub(crate) fn due(&self) -> Instant {
        let lacking = (i128::from(LEAST_BYTES) * MICRO - self.level).max(0);
        let wait = (lacking + i128::from(self.bytes_per_s) - 1) / i128::from(self.bytes_per_s.max(1));
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(u64::MAX));
        self.filled + wait.max(self.step())
    }

    /// How much may be given out.
    pub(crate) fn available(&self) -> u64 {
        if !self.is_limited() {
            return u64::MAX;
        }
        u64::try_from(self.level / MICRO).unwrap_or(0).saturating_sub(self.promised)
    }

    /// The most to give out at a time, so that several have their share of a step.
    pub(crate) fn most_at_a_time(&self) -> u64 {
        if self.is_limited() { u64::try_from(self.capacity() / MICRO / 3).unwrap_or(u64::MAX) } else { u64::MAX }
    }

    /// The time between two looks.
    pub(crate) fn step(&self) -> Duration {
        let micros = STEP_BYTES * 1_000_000 / self.bytes_per_s.max(1);
        Duration::from_micros(micros).clamp(SHORTEST_STEP, LONGEST_STEP)
    }

    /// Gives something out, to be used later.
    pub(crate) fn promise(&mut self, bytes: u64) {
        self.promised += bytes;
    }

    /// Something that was given out is used, or is taken back.
    pub(crate) fn settle(&mut self, bytes: u64) {
        self.promised = self.promised.saturating_sub(bytes);
    }

    /// Bytes flow. More than there is makes a debt that is paid first.
    pub(crate) fn take(&mut self, bytes: u64) {
        if self.is_limited() {
            self.level -= i128::from(bytes) * MICRO;
        }
    }

    /// Given out and not yet used.
    pub(crate) fn promised(&self) -> u64 {
        self.promised
    }

    fn fill(&mut self, now: Instant) {
        self.level = (self.level + self.gained(now)).min(self.capacity());
        self.filled = now;
    }

    fn gained(&self, now: Instant) -> i128 {
        i128::from(self.bytes_per_s) * now.since(self.filled).as_micros() as i128
    }

    /// Two steps, so that one that comes late loses nothing.
    fn capacity(&self) -> i128 {
        let two_steps = i128::from(self.bytes_per_s) * SHORTEST_STEP.as_micros() as i128 * 2;
        two_steps.max(i128::from(BURST_BYTES) * MICRO)
    }
}

/// Who waits, in order. Each waits once.
#[derive(Clone, Debug)]
pub(crate) struct Turns<T>(VecDeque<T>);

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns(VecDeque::new())
    }
}

impl<T: Copy + PartialEq> Turns<T> {
    /// Waits from now on, behind the others.
    pub(crate) fn join(&mut self, who: T) {
        if !self.contains(who) {
            self.0.push_back(who);
        }
    }

    /// Waits no more.
    pub(crate) fn leave(&mut self, who: T) {
        self.0.retain(|other| *other != who);
    }

    /// Whose turn it is: it waits no more.
    pub(crate) fn next(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    /// Has its turn again before all others.
    pub(crate) fn rejoin_first(&mut self, who: T) {
        self.0.push_front(who);
    }

    /// Whether somebody waits.
    pub(crate) fn contains(&self, who: T) -> bool {
        self.0.contains(&who)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Everybody who waits, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        self.0.iter().copied()
    }

    /// Nobody waits any more.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// One direction of a torrent, or of all: its bucket, and who waits for a share of it.
#[derive(Clone, Debug)]
pub(crate) struct Line<T> {
    /// What may flow.
    pub bucket: Bucket,
    /// Who waits.
    pub turns: Turns<T>,
}

/// Both directions.
#[derive(Clone, Debug)]
pub(crate) struct Lines<T> {
    /// What is received.
    pub down: Line<T>,
    /// What is sent.
    pub up: Line<T>,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        let line = || Line { bucket: Bucket::default(), turns: Turns::default() };
        Lines { down: line(), up: line() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn bucket(bytes_per_s: u64) -> Bucket {
        let mut bucket = Bucket::default();
        bucket.set_rate(Instant::ZERO, bytes_per_s);
        bucket
    }

    /// Uses all that there is at each step for `seconds`; gives when how much was used.
    fn drain(bucket: &mut Bucket, seconds: u64) -> Vec<(u64, u64)> {
        let mut used = Vec::new();
        while bucket.due() <= Instant::from_secs(seconds) {
            let now = bucket.due();
            bucket.refill(now);
            let bytes = bucket.available();
            bucket.take(bytes);
            used.push((now.as_micros(), bytes));
        }
        used
    }

    #[test]
    fn any_rate_is_kept_exactly_in_ten_seconds_and_in_each_single_one() {
        for rate in [1, 300, 5 * 1024, 20_000, 100_000, 320 << 10, 800 << 10, 3 << 20, 1 << 30] {
            let mut bucket = bucket(rate);
            let used = drain(&mut bucket, 100);
            let total: u64 = used.iter().map(|(_, bytes)| bytes).sum();
            assert!(total <= rate * 100 && total + LEAST_BYTES + rate / 10 >= rate * 100, "{total} at {rate}");
            let block = (16 * 1024).max(rate / 50);
            for (at, _) in &used {
                let window = used.iter().filter(|(t, _)| t >= at && *t < at + 1_000_000);
                assert!(window.map(|(_, bytes)| bytes).sum::<u64>() <= rate + block, "{rate}");
            }
            let looks = used.len() as u64;
            assert!(
                looks <= 10_000 && (rate > 800 << 10 || looks <= 100 * rate / STEP_BYTES + 1000),
                "{looks} looks at {rate}"
            );
        }
    }

    #[test]
    fn a_late_step_loses_nothing_and_a_long_wait_gives_one_burst() {
        let mut bucket = bucket(100_000);
        bucket.refill(Instant::from_micros(130_000));
        assert_eq!(bucket.available(), 13_000);
        bucket.refill(Instant::from_secs(3600));
        assert_eq!(bucket.available(), BURST_BYTES);
    }

    #[test]
    fn a_debt_is_paid_before_anything_is_given_out() {
        let mut bucket = bucket(1000);
        bucket.take(5000);
        assert_eq!(bucket.due(), Instant::from_micros(5_256_000));
        bucket.refill(Instant::from_secs(5));
        assert_eq!(bucket.available(), 0);
        bucket.refill(bucket.due());
        assert_eq!(bucket.available(), LEAST_BYTES);
    }

    #[test]
    fn without_a_rate_everything_is_available_and_nothing_is_counted() {
        let mut bucket = bucket(0);
        bucket.take(1 << 40);
        assert_eq!(bucket.available(), u64::MAX);
        bucket.set_rate(Instant::from_secs(9), 1000);
        assert_eq!(bucket.available(), 0, "a limit begins empty");
    }

    #[test]
    fn everybody_waits_once_and_in_order() {
        let mut turns = Turns::default();
        [1, 2, 1, 3].into_iter().for_each(|who| turns.join(who));
        turns.leave(2);
        assert_eq!((turns.next(), turns.next(), turns.next()), (Some(1), Some(3), None));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Wait(u64),
        Promise(u64),
        Use(u64),
        TakeBack(u64),
        Rate(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0u64..400_000).prop_map(Op::Wait),
            6 => (1u64..20_000).prop_map(Op::Promise),
            6 => (1u64..20_000).prop_map(Op::Use),
            1 => (1u64..20_000).prop_map(Op::TakeBack),
            1 => (1u64..1 << 20).prop_map(Op::Rate),
        ]
    }

    proptest! {
        /// The naive limiter is a cup that leaks at the rate: what is used goes in, and it must never hold more than a burst.
        #[test]
        fn what_was_given_out_can_be_used_at_any_time_without_breaking_the_limit(
            rate in 1u64..1 << 20,
            ops in proptest::collection::vec(op(), 0..200),
        ) {
            let mut bucket = bucket(rate);
            let (mut now, mut rate, mut promised) = (Instant::ZERO, u128::from(rate), 0);
            let mut cup: u128 = 0;
            for op in ops {
                match op {
                    Op::Wait(micros) => {
                        now = now + Duration::from_micros(micros);
                        cup = cup.saturating_sub(rate * u128::from(micros));
                        bucket.refill(now);
                    }
                    Op::Promise(bytes) => {
                        bucket.refill(now);
                        let bytes = bytes.min(bucket.available());
                        bucket.promise(bytes);
                        promised += bytes;
                    }
                    Op::Use(bytes) => {
                        let bytes = bytes.min(promised);
                        bucket.refill(now);
                        bucket.settle(bytes);
                        bucket.take(bytes);
                        promised -= bytes;
                        cup += u128::from(bytes) * 1_000_000;
                        let most = u128::from(BURST_BYTES).max(rate / 50) * 1_000_000;
                        // What was given out under a higher rate may still be used.
                        prop_assert!(cup <= most.max(u128::from(BURST_BYTES.max((1 << 20) / 50)) * 1_000_000), "{cup}");
                    }
                    Op::TakeBack(bytes) => {
                        let bytes = bytes.min(promised);
                        bucket.settle(bytes);
                        promised -= bytes;
                    }
                    Op::Rate(new) => {
                        bucket.set_rate(now, new);
                        rate = u128::from(new);
                    }
                }
                prop_assert_eq!(bucket.promised(), promised);
                prop_assert!(bucket.due() >= bucket.filled + SHORTEST_STEP, "nobody looks all the time");
            }
        }
    }
}
