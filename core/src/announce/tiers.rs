//! Which trackers there are: tiers at the beginning, added by hand, replaced. Each URL stands in them once.

use super::tracker::Tracker;
use super::{Announcer, MAX_GOODBYES, MAX_TRACKERS, Phase};
use crate::tracker::AnnounceKind;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

impl Announcer {
    /// Adds a tier, shuffled within itself (BEP 12); gives its trackers. Of too many, and of those that are there, nothing is kept.
    pub(super) fn add_tier(&mut self, urls: Vec<String>) -> Vec<usize> {
        let mut tier: Vec<usize> = Vec::new();
        for url in urls {
            let mut used = self.tiers.iter().flatten().chain(&tier);
            let is_there = used.any(|at| self.trackers.get(*at).is_some_and(|tracker| tracker.text == url));
            let count = self.tiers.iter().map(Vec::len).sum::<usize>() + tier.len();
            if !is_there && count < MAX_TRACKERS {
                tier.push(self.place_for(url, &tier));
            }
        }
        self.rng.shuffle(&mut tier);
        self.tiers.extend(Some(tier.clone()).filter(|tier| !tier.is_empty()));
        tier
    }

    /// A place for a tracker that is in no tier: its former one, else one that nobody needs any more, else a new one.
    fn place_for(&mut self, url: String, taken: &[usize]) -> usize {
        if let Some(at) = self.trackers.iter().position(|tracker| tracker.text == url) {
            return at;
        }
        let is_free = |at: &usize| {
            let used = self.tiers.iter().flatten().chain(taken).any(|other| other == at);
            !used && !self.is_busy(*at) && self.trackers.get(*at).is_some_and(|tracker| !tracker.heard_started)
        };
        let at = (0..self.trackers.len()).find(is_free).unwrap_or(self.trackers.len());
        let tracker = Tracker::new(&url);
        match self.trackers.get_mut(at) {
            Some(place) => *place = tracker,
            None => {
                self.trackers.reserve_exact(1);
                self.trackers.push(tracker);
            }
        }
        at
    }

    /// Trackers given by hand: asked at once, or in a round that is under way after those that it has yet to try, if none of those answers.
    pub(super) fn add_trackers(&mut self, urls: Vec<String>) {
        let new: Vec<usize> = urls.into_iter().flat_map(|url| self.add_tier(vec![url])).collect();
        if !matches!(self.phase, Phase::Running) || new.is_empty() {
            return;
        }
        self.report_unusable(&new);
        match &mut self.round {
            Some(round) => round.extend(new),
            // Those that answered a moment ago are not ready, and so left out of it.
            None => self.next_round = Some(self.now),
        }
    }

    /// These tiers and no others.
    pub(super) fn replace_trackers(&mut self, tiers: Vec<Vec<String>>) {
        let old = core::mem::take(&mut self.tiers).concat();
        let stays = |at: &usize| {
            let text = self.trackers.get(*at).map(|tracker| &tracker.text);
            tiers.iter().flatten().any(|url| Some(url) == text)
        };
        let gone: Vec<usize> = old.iter().copied().filter(|at| !stays(at)).collect();
        let running = matches!(self.phase, Phase::Running);
        gone.iter().for_each(|at| self.end_scrape_of(*at));
        for at in gone.into_iter().filter(|_| running) {
            self.dismiss(at);
        }
        let new: Vec<usize> = tiers.into_iter().flat_map(|tier| self.add_tier(tier)).collect();
        if running {
            self.report_unusable(&new.into_iter().filter(|at| !old.contains(at)).collect::<Vec<_>>());
            self.round = None;
            self.settled_by = None;
            self.next_round = Some(self.now);
        }
    }

    /// A tracker is no longer of interest: if it knows of us it is told that we stop.
    fn dismiss(&mut self, at: usize) {
        if let Some(attempt) = self.attempts.iter().position(|attempt| attempt.tracker == at) {
            self.attempts.remove(attempt).cancel(&mut self.outputs);
        }
        let Some(tracker) = self.trackers.get_mut(at) else { return };
        let knows_us = tracker.heard_started;
        tracker.forget_session();
        if knows_us && self.attempts.len() < MAX_GOODBYES {
            self.begin(at, AnnounceKind::Stopped);
        }
    }
}
