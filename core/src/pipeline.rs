//! How many requests to keep under way at one peer: bandwidth times delay.
//!
//! Like TCP's slow start: the window grows by one with every block while the rate still grows, so it doubles with each round trip; then it follows the rate. Too
//! small starves a fast link; too large fills the pool with promises and delays cancels.

use crate::id::BLOCK_LEN;
use crate::time::{Duration, Instant};

/// Where every peer begins: small enough that a silent one pins next to nothing.
const FIRST_WINDOW: u32 = 8;
/// A slow link still has a request waiting at the other side.
const MIN_WINDOW: u32 = 4;
/// Requests under way at one peer, at most: some 8 MB, enough for 78 MiB/s at a delay of 100 ms. libtorrent ships the same bound.
pub(crate) const MAX_WINDOW: u32 = 500;
/// What a peer takes that does not say: the least that common clients take (BEP 10 names 250 as libtorrent's).
const DEFAULT_REQQ: u32 = 250;
/// On top of the measured round trip: disks and busy peers answer late.
const SLACK: Duration = Duration::from_millis(1000);
/// Whoever answers within this time is near: what is on the way from there is no more than what a disk lets wait.
const NEAR: Duration = Duration::from_millis(5);

/// The request window of one peer.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    window: u32,
    slow_start: bool,
    last_rate: u64,
    reqq: u32,
    min_round_trip: Option<Duration>,
    snubbed: bool,
}

impl Default for Pipeline {
    fn default() -> Self {
        Pipeline {
            window: FIRST_WINDOW,
            slow_start: true,
            last_rate: 0,
            reqq: DEFAULT_REQQ,
            min_round_trip: None,
            snubbed: false,
        }
    }
}

impl Pipeline {
    /// How many requests may be under way.
    pub(crate) fn window(&self) -> u32 {
        if self.snubbed { 1 } else { self.window.min(self.reqq).min(MAX_WINDOW) }
    }

    /// The shortest time from a request to its block, as far as one is known.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.min_round_trip
    }

    /// Blocks that are between us and a distant peer at any time: its rate times its round trip. Of a near one there are none.
    pub(crate) fn far_blocks(&self) -> u32 {
        let delay = self.min_round_trip.unwrap_or_default().saturating_sub(NEAR);
        blocks_in(self.last_rate, delay).min(u64::from(MAX_WINDOW)) as u32
    }

    /// Whether the window would be wider if the peer, or our bound, let it.
    pub(crate) fn is_bounded(&self) -> bool {
        !self.snubbed && self.window >= self.reqq.min(MAX_WINDOW)
    }

    /// The peer said how many requests it queues (BEP 10 `reqq`).
    pub(crate) fn set_reqq(&mut self, reqq: u32) {
        self.reqq = reqq.max(1);
    }

    /// Whether the peer left a request unanswered for too long.
    pub(crate) fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// A request was not answered in time: one at a time from now on, until a block comes.
    pub(crate) fn snub(&mut self) {
        *self = Pipeline { reqq: self.reqq, snubbed: true, ..Pipeline::default() };
    }

    /// A block that was asked for at `sent` is complete.
    pub(crate) fn block_came(&mut self, now: Instant, sent: Instant) {
        self.snubbed = false;
        let round_trip = now.since(sent);
        self.min_round_trip = Some(self.min_round_trip.map_or(round_trip, |min| min.min(round_trip)));
        if self.slow_start {
            self.window = (self.window + 1).min(MAX_WINDOW);
        }
    }

    /// A second has passed; `rate` is what came in it, in bytes.
    pub(crate) fn tick(&mut self, rate: u64, busy: bool) {
        if !busy {
            return;
        }
        // Growth below a tenth: the link is full.
        if self.slow_start && self.last_rate > 0 && rate < self.last_rate + self.last_rate / 10 {
            self.slow_start = false;
        }
        self.last_rate = rate;
        if !self.slow_start {
            let delay = self.min_round_trip.unwrap_or_default() + SLACK;
            self.window = blocks_in(rate, delay).clamp(u64::from(MIN_WINDOW), u64::from(MAX_WINDOW)) as u32;
        }
    }
}

/// How many blocks come in a time, at so many bytes a second.
fn blocks_in(rate: u64, time: Duration) -> u64 {
    let blocks = u128::from(rate) * time.as_micros() / 1_000_000 / u128::from(BLOCK_LEN);
    u64::try_from(blocks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_with_blocks_and_then_follows_the_rate() {
        let mut pipeline = Pipeline::default();
        (0..100).for_each(|_| pipeline.block_came(Instant::from_secs(1), Instant::from_secs(1)));
        assert_eq!(pipeline.window(), 108);
        pipeline.tick(100 * 16384, true);
        pipeline.tick(100 * 16384, true);
        assert_eq!(pipeline.window(), 100, "100 blocks a second with a second of slack");
        pipeline.tick(10, true);
        assert_eq!(pipeline.window(), MIN_WINDOW);
    }

    #[test]
    fn a_distant_peer_has_on_the_way_what_it_sends_until_it_is_heard() {
        let far_blocks = |delay_ms: u64| {
            let mut pipeline = Pipeline::default();
            pipeline.block_came(Instant::ZERO + Duration::from_millis(delay_ms), Instant::ZERO);
            pipeline.tick(100 * 16384, true);
            pipeline.far_blocks()
        };
        assert_eq!([0, 5, 105, 1005, 60_005].map(far_blocks), [0, 0, 10, 100, MAX_WINDOW]);
        assert_eq!(Pipeline::default().far_blocks(), 0, "nothing has come");
    }

    #[test]
    fn the_window_never_exceeds_what_the_peer_takes() {
        let mut pipeline = Pipeline::default();
        pipeline.set_reqq(5);
        assert_eq!(pipeline.window(), 5);
        pipeline.set_reqq(0);
        assert_eq!(pipeline.window(), 1);
    }

    #[test]
    fn a_snubbed_peer_gets_one_request_until_it_delivers() {
        let mut pipeline = Pipeline::default();
        pipeline.snub();
        assert_eq!(pipeline.window(), 1);
        pipeline.block_came(Instant::ZERO, Instant::ZERO);
        assert!(pipeline.window() > 1);
    }
}
