//! What is known of one tracker: what it has heard from us, and when it may be asked again.
//!
//! Never sends anything.

use super::standing::Heard;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::tracker::http::Retry;
use crate::tracker::url::{Url, UrlError};
use crate::tracker::{Reply, Swarm, clean_text};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// No tracker is asked more often, whatever it says: interval 0 must not make us spin.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// Nor more seldom: a tracker's slip must not make us sleep for ever.
pub(crate) const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// When the tracker names no interval: what most of them use.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// The first pause after a failure; it doubles with each further one.
const BACKOFF_BASE: Duration = Duration::from_secs(5);
/// The longest such pause, without jitter.
const BACKOFF_CAP: Duration = Duration::from_secs(30 * 60);
/// A connection id is good for a minute after it was received (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// A UDP tracker's connection id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) addr: SocketAddr,
    pub(super) id: u64,
    pub(super) received: Instant,
}

impl Connection {
    /// The id, while it may be used towards `addr`.
    pub(super) fn id_for(&self, addr: SocketAddr, now: Instant) -> Option<u64> {
        (self.addr == addr && now < self.received + CONNECTION_LIFE).then_some(self.id)
    }
}

/// One tracker.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    pub(super) url: Result<Url, UrlError>,
    /// The URL as it was given: what tells trackers apart.
    pub(super) text: String,
    /// The URL for people, without its query.
    pub(super) shown: String,
    /// It answered a `started`, and no `stopped` since.
    pub(super) heard_started: bool,
    /// The download was completed in this session, and it has not been told; counts only once it has heard `started`.
    pub(super) owes_completed: bool,
    /// It asked never to be asked again (BEP 31).
    pub(super) never: bool,
    /// Failures in a row.
    failures: u32,
    /// When it failed last, and until when it asked to be left alone then (BEP 31).
    pub(super) failed_at: Instant,
    asked_until: Instant,
    /// Back-off after failures: holds for everything.
    pub(super) retry_at: Instant,
    /// `min interval` after a success: holds for regular announces; events may come sooner (BEP 15).
    pub(super) allowed_at: Instant,
    /// To be sent back.
    pub(super) tracker_id: Option<Vec<u8>>,
    pub(super) connection: Option<Connection>,
    /// The address that answered last: a goodbye goes there without asking the resolver again.
    pub(super) answered_from: Option<SocketAddr>,
    /// When a scrape of it began last.
    pub(super) scraped_at: Option<Instant>,
    /// How large the swarm is, as it said last. Outlives sessions: who looks at a paused torrent sees what was known.
    pub(super) swarm: Swarm,
    /// For explanations alone: nothing is decided by it.
    pub(super) heard: Heard,
}

impl Tracker {
    pub(super) fn new(text: &str) -> Self {
        let url = Url::parse(text);
        let shown = match &url {
            Ok(url) => url.without_query(),
            Err(_) => clean_text(text.split_once('?').map_or(text, |(before, _)| before).as_bytes()),
        };
        Tracker {
            url,
            text: String::from(text),
            shown,
            heard_started: false,
            owes_completed: false,
            never: false,
            failures: 0,
            failed_at: Instant::ZERO,
            asked_until: Instant::ZERO,
            retry_at: Instant::ZERO,
            allowed_at: Instant::ZERO,
            tracker_id: None,
            connection: None,
            answered_from: None,
            scraped_at: None,
            swarm: Swarm::default(),
            heard: Heard::default(),
        }
    }

    /// Whether it is worth asking at all.
    pub(super) fn is_usable(&self) -> bool {
        self.url.is_ok() && !self.never
    }

    /// The earliest moment for a regular announce.
    pub(super) fn not_before(&self) -> Instant {
        self.retry_at.max(self.allowed_at)
    }

    /// Whether it may be scraped now, `pause` after the last time. One that wants to be left alone (BEP 31) is.
    pub(super) fn may_be_scraped(&self, now: Instant, pause: Duration) -> bool {
        self.is_usable() && now >= self.asked_until && self.scraped_at.is_none_or(|at| now >= at + pause)
    }

    /// Forgets what it has heard: a new session with it begins.
    pub(super) fn forget_session(&mut self) {
        self.heard_started = false;
        self.owes_completed = false;
        self.allowed_at = Instant::ZERO;
        self.heard = Heard::default();
    }

    /// Notes a success; gives the time to the next regular announce.
    pub(super) fn note_success(&mut self, now: Instant, reply: &Reply) -> Duration {
        self.failures = 0;
        self.retry_at = Instant::ZERO;
        self.swarm.update(reply.swarm());
        if reply.tracker_id.is_some() {
            self.tracker_id.clone_from(&reply.tracker_id);
        }
        let min = reply.min_interval_s.map_or(MIN_INTERVAL, clamp_interval);
        self.allowed_at = now + min;
        reply.interval_s.map_or(DEFAULT_INTERVAL, clamp_interval).max(min)
    }

    /// Notes a failure: the next try comes after a pause that doubles, with up to a quarter of jitter, so that a tracker that comes back is not
    /// met by all its clients at once. A tracker may ask for more (BEP 31).
    pub(super) fn note_failure(&mut self, now: Instant, retry: Option<Retry>, rng: &mut Rng) {
        let doubled = BACKOFF_BASE.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(BACKOFF_CAP);
        let jitter = Duration::from_micros(rng.below(pause.as_micros() as u64 / 4));
        let asked = match retry {
            Some(Retry::Minutes(minutes)) => Duration::from_secs(u64::from(minutes) * 60).min(MAX_INTERVAL),
            Some(Retry::Never) => {
                self.never = true;
                Duration::ZERO
            }
            None => Duration::ZERO,
        };
        self.retry_at = now + (pause + jitter).max(asked);
        (self.failed_at, self.asked_until) = (now, now + asked);
    }

    /// The user asks to try again: cuts our own pause after failures to the shortest, and not the one that the tracker asked for.
    pub(super) fn hasten(&mut self) {
        self.retry_at = self.retry_at.min((self.failed_at + BACKOFF_BASE).max(self.asked_until));
    }
}

fn clamp_interval(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).clamp(MIN_INTERVAL, MAX_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn odd_intervals_are_clamped() {
        let mut tracker = Tracker::new("http://t.example/announce");
        let mut next = |interval_s, min_interval_s| {
            tracker.note_success(Instant::ZERO, &Reply { interval_s, min_interval_s, ..Reply::default() }).as_secs()
        };
        assert_eq!(next(Some(0), None), 60);
        assert_eq!(next(Some(-1), Some(-1)), 60);
        assert_eq!(next(Some(i64::MAX), None), 86_400);
        assert_eq!(next(Some(120), Some(i64::MAX)), 86_400);
        assert_eq!(next(Some(120), Some(300)), 300);
        assert_eq!(next(Some(1800), Some(300)), 1800);
        assert_eq!(next(None, None), 1800);
    }

    #[test]
    fn pauses_double_up_to_half_an_hour() {
        let mut tracker = Tracker::new("http://t.example/announce");
        let mut rng = Rng::new(&[1; 32], Stream::Announce, 0);
        for base in [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800] {
            tracker.note_failure(Instant::ZERO, None, &mut rng);
            let pause = tracker.retry_at.since(Instant::ZERO);
            assert!((base..=base + base / 4 + 1).contains(&pause.as_secs()), "{pause:?} for {base}");
        }
        (0..100).for_each(|_| tracker.note_failure(Instant::ZERO, None, &mut rng));
        assert!(tracker.retry_at <= Instant::from_secs(2250));
    }

    #[test]
    fn a_tracker_may_ask_for_a_longer_pause_or_for_silence() {
        let mut tracker = Tracker::new("http://t.example/announce");
        let mut rng = Rng::new(&[1; 32], Stream::Announce, 0);
        tracker.note_failure(Instant::ZERO, Some(Retry::Minutes(7)), &mut rng);
        tracker.hasten();
        assert_eq!(tracker.retry_at, Instant::from_secs(420));
        tracker.note_failure(Instant::ZERO, Some(Retry::Minutes(u32::MAX)), &mut rng);
        assert_eq!(tracker.retry_at, Instant::from_secs(86_400));
        tracker.note_failure(Instant::ZERO, Some(Retry::Never), &mut rng);
        assert!(!tracker.is_usable());
    }
}
