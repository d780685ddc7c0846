//! A point in real time after which a test gives up.
//!
//! The one place of this package that reads the clock: real programs keep real time, so a test against them needs a limit in it.

use crate::Outcome;
use std::time::{Duration, Instant};

/// How long between two looks at something that another process is to bring about: short beside a row's seconds, long beside a look's cost.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The limit of one test.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    end: Instant,
    limit: Duration,
}

impl Deadline {
    /// A limit of `seconds` from now.
    #[expect(clippy::disallowed_methods, reason = "programs that no one here wrote keep real time")]
    pub fn in_s(seconds: u64) -> Self {
        let limit = Duration::from_secs(seconds);
        Deadline { end: Instant::now() + limit, limit }
    }

    /// Whether the time is over.
    #[expect(clippy::disallowed_methods, reason = "programs that no one here wrote keep real time")]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Looks again and again until `look` gives a value.
    ///
    /// # Errors
    /// What `look` fails with; or, when the time is over, a sentence with `what` was waited for.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if self.is_over() {
                return Err(format!("not within {} s: {what}", self.limit.as_secs()).into());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}
