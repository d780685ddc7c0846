//! How fast a client's bytes flow, seen from its sockets, against the limits that it was given: for each a cup that leaks at the limit's rate.
//!
//! What is received goes in, and what is sent; a limit is kept when payload never finds more in the cup than one block. That says more than a count over
//! each second: it holds of every stretch of time.

use super::checks::Check;
use super::wire::Breach;
use sameseed_core::config::RateLimits;
use sameseed_core::time::Instant;

/// What may stand above a limit: one block, and what each peer may always say.
const BLOCK_BYTES: u64 = 16_384;
/// A handshake and some more, for each connection.
const SAID_BYTES: u64 = 128;
/// Above 800 KiB/s: a fiftieth of a second's worth.
const FIFTIETH: u64 = 50;

/// One limit.
#[derive(Clone, Copy, Debug, Default)]
struct Cup {
    bytes_per_s: u64,
    /// In millionths of a byte.
    level: u128,
    at: Instant,
}

impl Cup {
    fn limit(&mut self, now: Instant, bytes_per_s: u64) {
        self.fill(now, 0);
        if self.bytes_per_s == 0 {
            self.level = 0;
        }
        self.bytes_per_s = bytes_per_s;
    }

    fn fill(&mut self, now: Instant, bytes: u64) {
        let leaked = u128::from(self.bytes_per_s) * now.since(self.at).as_micros();
        self.level = self.level.saturating_sub(leaked) + u128::from(bytes) * 1_000_000;
        self.at = now;
    }

    fn judge(&self, connections: usize, what: &str) -> Result<(), Breach> {
        let most = BLOCK_BYTES.max(self.bytes_per_s / FIFTIETH) + SAID_BYTES * connections as u64;
        if self.bytes_per_s > 0 && self.level > u128::from(most) * 1_000_000 {
            let detail = format!("{} bytes {what} above {} bytes a second", self.level / 1_000_000, self.bytes_per_s);
            return Err((Check::Rate, detail));
        }
        Ok(())
    }
}

/// The limits of one life of a client, and all that it received and sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    /// Of all its torrents, and of the one.
    down: [Cup; 2],
    up: [Cup; 2],
    /// Limits that it was given and has not yet had the time to keep.
    fresh: [Option<RateLimits>; 2],
    received: u64,
    sent: u64,
}

impl Flow {
    /// A client that begins with limits for all its torrents.
    pub(super) fn new(now: Instant, limits: RateLimits) -> Self {
        let mut flow = Flow::default();
        flow.command(false, limits);
        flow.drained(now);
        flow
    }

    /// It was told to keep other limits.
    pub(super) fn command(&mut self, torrent: bool, limits: RateLimits) {
        self.fresh[usize::from(torrent)] = Some(limits);
    }

    /// What it wanted was done: from now on it keeps them.
    pub(super) fn drained(&mut self, now: Instant) {
        for (i, limits) in self.fresh.iter_mut().enumerate() {
            if let Some(limits) = limits.take() {
                self.down[i].limit(now, limits.down);
                self.up[i].limit(now, limits.up);
            }
        }
    }

    /// The slowest limit that it has.
    pub(super) fn slowest(&self) -> Option<u64> {
        let all = self.down.iter().chain(&self.up).map(|cup| cup.bytes_per_s);
        all.filter(|bytes_per_s| *bytes_per_s > 0).min()
    }

    /// Whether what it sends is limited.
    pub(super) fn is_up_limited(&self) -> bool {
        self.up.iter().any(|cup| cup.bytes_per_s > 0)
    }

    /// Bytes received and sent in this life.
    pub(super) fn totals(&self) -> [u64; 2] {
        [self.received, self.sent]
    }

    /// Bytes came in.
    ///
    /// # Errors
    /// When they should have been left where they were.
    pub(super) fn received(&mut self, now: Instant, bytes: u64, connections: usize) -> Result<(), Breach> {
        self.received += bytes;
        self.down.iter_mut().try_for_each(|cup| {
            cup.fill(now, bytes);
            cup.judge(connections, "received")
        })
    }

    /// Bytes go out. So many of them are payload and what stands before it; messages alone are never too many. What is handed over late was not
    /// decided now: it does not count.
    ///
    /// # Errors
    /// When the payload should have waited.
    pub(super) fn sent(
        &mut self,
        now: Instant,
        bytes: u64,
        with_payload: u64,
        connections: usize,
        late: bool,
    ) -> Result<(), Breach> {
        self.sent += bytes;
        self.up.iter_mut().try_for_each(|cup| {
            if late {
                return Ok(());
            }
            cup.fill(now, with_payload);
            let verdict = if with_payload > 0 { cup.judge(connections, "sent") } else { Ok(()) };
            cup.fill(now, bytes - with_payload);
            verdict
        })
    }
}
