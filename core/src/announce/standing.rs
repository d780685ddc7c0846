//! How a torrent stands with its trackers, for explanations: what is kept for them, and a picture of all. Decides nothing.

use super::attempt::Attempt;
use super::tracker::Tracker;
use super::{Announcer, Phase};
use crate::action::TrackerFailure;
use crate::time::{Duration, Instant};
use alloc::string::String;

/// What one tracker said last. Nothing is decided by it.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Since when it is asked in vain.
    asked_since: Option<Instant>,
    /// How many peers its last answer named.
    named: Option<u32>,
    /// How it has failed since.
    failure: Option<TrackerFailure>,
}

impl Heard {
    /// It is being asked.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked_since.get_or_insert(now);
    }

    /// It answered.
    pub(super) fn answered(&mut self, named: u32) {
        *self = Heard { asked_since: None, named: Some(named), failure: None };
    }

    /// It failed, or could not be asked.
    pub(super) fn failed(&mut self, reason: &TrackerFailure) {
        self.failure = Some(reason.clone());
    }
}

impl Tracker {
    /// What it said last to an announce of this session: how many peers it named, and how it has failed since.
    pub(super) fn last_word(&self) -> (Option<u32>, Option<TrackerFailure>) {
        let unusable = self.url.as_ref().err().map(|error| TrackerFailure::BadUrl(error.reason()));
        (self.heard.named, unusable.or_else(|| self.heard.failure.clone()))
    }
}

/// How it stands with all trackers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Trackers in all.
    pub trackers: u32,
    /// Those whose last word was an answer.
    pub answered: u32,
    /// How many peers they named.
    pub named: u32,
    /// Those that were asked and have neither answered nor failed; since when the first of them.
    pub asked: u32,
    /// See `asked`.
    pub waited: Duration,
    /// Those that fail.
    pub failing: u32,
    /// Since the first of them was asked in vain.
    pub silent: Duration,
    /// Which of them failed last, and how.
    pub last: Option<(String, TrackerFailure)>,
    /// When one is asked next.
    pub next_in: Option<Duration>,
}

impl Announcer {
    /// A picture of all trackers.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let mut standing = Standing::default();
        let mut last_at = None;
        for tracker in self.tiers.iter().flatten().filter_map(|at| self.trackers.get(*at)) {
            standing.trackers += 1;
            let waited = tracker.heard.asked_since.map_or(Duration::ZERO, |since| now.since(since));
            match tracker.last_word() {
                (_, Some(failure)) => {
                    standing.failing += 1;
                    standing.silent = standing.silent.max(waited);
                    // Of two the one that can be asked at all.
                    let at = (tracker.is_usable(), tracker.failed_at);
                    if last_at.is_none_or(|last| last < at) {
                        last_at = Some(at);
                        standing.last = Some((tracker.shown.clone(), failure));
                    }
                }
                (Some(named), None) => {
                    standing.answered += 1;
                    standing.named = standing.named.saturating_add(named);
                }
                (None, None) => {
                    standing.asked += u32::from(tracker.heard.asked_since.is_some());
                    standing.waited = standing.waited.max(waited);
                }
            }
        }
        standing.next_in = self.next_ask().map(|at| at.since(now));
        standing
    }

    /// When the next tracker is asked: now while a round goes on. One that does not answer datagrams is asked again and again.
    fn next_ask(&self) -> Option<Instant> {
        let resends = || self.attempts.iter().filter_map(Attempt::timeout).min();
        match (&self.phase, &self.round) {
            (Phase::Running, Some(_)) => Some(self.now),
            (Phase::Running, None) => self.next_round.or_else(resends),
            (Phase::Idle | Phase::Stopping { .. }, _) => None,
        }
    }

    /// Notes what a tracker said.
    pub(super) fn note_heard(&mut self, tracker: usize, note: impl FnOnce(&mut Heard)) {
        if let Some(tracker) = self.trackers.get_mut(tracker) {
            note(&mut tracker.heard);
        }
    }
}
