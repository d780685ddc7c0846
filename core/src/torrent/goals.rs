//! When a torrent has been seeded enough: by what it has given, or by time.
//!
//! Judged once a second and at the moment when a time is over, and whenever goals change; only of a torrent that has everything that is wanted of it. What
//! counts is of all sessions that resume data remembers, so a torrent that was seeded enough is so at its next start, too.
//!
//! The ratio is payload sent to payload verified, or to the size of what is wanted where that is more: who added a torrent that was there has received
//! nothing, and owes as much as everybody else; who received more than is wanted now (files were deselected since) owes that. Only verified payload
//! counts, so nobody's junk puts the goal off, and only payload that the network took, so nothing is promised twice.
//!
//! A goal that is reached stays reached until something is missing again, or goals change. Who resumes the torrent all the same wants more than the goal:
//! from then on no goal ends it, until goals change.

use super::{Shared, TICK, Torrent};
use crate::config::{Goal, SeedingGoals};
use crate::time::{Duration, Instant};

/// What a torrent was told about the end of its seeding, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Goals {
    /// Its own; `None`: those of all.
    own: Option<SeedingGoals>,
    waived: bool,
    reached: Option<Goal>,
    /// The application knows of it.
    told: bool,
}

impl Goals {
    pub(super) fn new(own: Option<SeedingGoals>) -> Self {
        Goals { own, ..Goals::default() }
    }

    /// The goal that was reached.
    pub(super) fn reached(&self) -> Option<Goal> {
        self.reached
    }

    /// Something is missing again.
    pub(super) fn reopened(&mut self) {
        (self.reached, self.told) = (None, false);
    }

    /// Whether the application has yet to be told what was reached; it is told once, however often the torrent is paused or moved afterwards.
    pub(super) fn tell(&mut self) -> bool {
        self.reached.is_some() && !core::mem::replace(&mut self.told, true)
    }

    /// It seeds on, whatever was reached.
    pub(super) fn waive(&mut self) {
        (self.reached, self.told, self.waived) = (None, false, true);
    }

    pub(super) fn is_waived(&self) -> bool {
        self.waived
    }

    #[cfg(test)]
    pub(super) fn set_reached(&mut self) {
        self.reached = Some(Goal::Ratio);
    }
}

impl Torrent {
    /// Its goals: its own, or those of all.
    pub(super) fn seeding_goals(&self, shared: &Shared) -> SeedingGoals {
        self.goals.own.unwrap_or(shared.config.goals)
    }

    /// Whether it follows the goals of all.
    pub(crate) fn has_common_goals(&self) -> bool {
        self.goals.own.is_none()
    }

    /// Changes its own goals; `None`: those of all, which may have changed.
    pub(crate) fn set_goals(&mut self, now: Instant, shared: &mut Shared, own: Option<SeedingGoals>) {
        let before = core::mem::replace(&mut self.goals, Goals::new(own));
        self.judge_goals(now, shared);
        // Other goals that are reached, too, are no news.
        self.goals.told = before.told && self.goals.reached == before.reached;
        self.settle(now, shared);
    }

    /// What was sent, in thousandths of what was received or is wanted.
    pub(super) fn ratio_per_mille(&self) -> u64 {
        let owed = self.total_downloaded_bytes().max(self.selection.wanted_bytes()).max(1);
        let ratio = u128::from(self.total_uploaded_bytes()) * 1000 / u128::from(owed);
        u64::try_from(ratio).unwrap_or(u64::MAX)
    }

    /// Notes whether a goal is reached now; the caller settles.
    pub(super) fn judge_goals(&mut self, now: Instant, shared: &Shared) {
        let may_judge = self.check.is_over() && self.has_all() && self.is_in_place() && !self.check_only;
        if !may_judge || self.goals.waived || self.goals.reached.is_some() {
            return;
        }
        let SeedingGoals { ratio_per_mille, time } = self.seeding_goals(shared);
        self.goals.reached = match () {
            () if ratio_per_mille.is_some_and(|goal| self.ratio_per_mille() >= u64::from(goal)) => Some(Goal::Ratio),
            () if time.is_some_and(|goal| self.checkpoints.seeded(now) >= goal) => Some(Goal::Time),
            () => None,
        };
    }

    /// When goals are to be judged again, as far as nothing but time passes.
    pub(super) fn next_judgement(&self, shared: &Shared) -> Option<Instant> {
        if !self.is_seeding() || self.goals.waived {
            return None;
        }
        let SeedingGoals { ratio_per_mille, time } = self.seeding_goals(shared);
        let is_there = ratio_per_mille.is_some_and(|goal| self.ratio_per_mille() >= u64::from(goal));
        let soon = is_there.then(|| self.last_tick + TICK);
        let (seeded, since) = self.checkpoints.seeding_clock();
        let over = since.zip(time).map(|(since, time)| since + time.saturating_sub(seeded));
        soon.into_iter().chain(over).min()
    }

    /// The time is over, or enough was sent.
    pub(super) fn judge_when_due(&mut self, now: Instant, shared: &mut Shared) {
        if self.next_judgement(shared).is_some_and(|at| at <= now) {
            self.judge_goals(now, shared);
            self.settle(now, shared);
        }
    }

    /// How long it was seeded until it last began, and since when it is seeding.
    pub(super) fn seeding_clock(&self) -> (Duration, Option<Instant>) {
        self.checkpoints.seeding_clock()
    }
}
