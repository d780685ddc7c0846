//! The engine's clock, from tokio's: microseconds since the session began. Under a simulator tokio's clock is the simulator's.

use sameseed_core::time::{Duration, Instant};

/// Tells the engine's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "this is the driver's clock")]
    pub(crate) fn start() -> Self {
        Clock { start: tokio::time::Instant::now() }
    }

    /// Time since the beginning.
    pub(crate) fn now(self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    /// The same moment on tokio's clock.
    pub(crate) fn to_tokio(self, at: Instant) -> tokio::time::Instant {
        /// What cannot be expressed is a year away: a timer that never fires in practice.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.start.checked_add(at.since(Instant::ZERO)).unwrap_or(self.start + FAR)
    }
}
