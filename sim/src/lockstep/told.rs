//! How large trackers have told one client that the swarm is, and what it makes of that.
//!
//! Begins anew with each life of the client.

use super::checks::Check;
use super::tracker::Counts;
use super::wire::Breach;
use sameseed_core::tracker::Swarm;
use sameseed_core::view::TrackerView;
use std::collections::{BTreeMap, BTreeSet};

/// What one client was told, in answers on their way included.
#[derive(Debug, Default)]
pub(super) struct Told {
    said: BTreeMap<usize, BTreeSet<Counts>>,
}

impl Told {
    /// A tracker answers with these counts. (What it does wrong may take some of them away, and never makes others.)
    pub(super) fn says(&mut self, tracker: usize, counts: Option<Counts>) {
        self.said.entry(tracker).or_default().extend(counts);
    }

    /// What is shown of each tracker is what it has said.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn judge(&self, shown: &[TrackerView]) -> Result<(), Breach> {
        for view in shown {
            let none = BTreeSet::new();
            let said = number_of(&view.url).and_then(|n| self.said.get(&n)).unwrap_or(&none);
            let Swarm { complete, incomplete, downloaded } = view.swarm;
            let numbers = [complete, incomplete, downloaded];
            let is_said = |(at, number): (usize, Option<u32>)| {
                number.is_none_or(|number| said.iter().any(|counts| counts[at] == number))
            };
            if !numbers.into_iter().enumerate().all(is_said) {
                return Err((Check::Shown, format!("{view:?}, but it has said {said:?}")));
            }
        }
        Ok(())
    }

    /// A client tells what came of a scrape: it shows it.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn judge_news(&self, url: &str, swarm: Swarm, shown: &[TrackerView]) -> Result<(), Breach> {
        let Some(view) = shown.iter().find(|view| view.url == url) else { return Ok(()) };
        let shows = |told: Option<u32>, shown: Option<u32>| told.is_none() || told == shown;
        let all = shows(swarm.complete, view.swarm.complete)
            && shows(swarm.incomplete, view.swarm.incomplete)
            && shows(swarm.downloaded, view.swarm.downloaded);
        if !all {
            return Err((Check::Shown, format!("{view:?} after {swarm:?}")));
        }
        self.judge(shown)
    }
}

/// The number of a tracker by its URL, as `Tracker::url` has it.
fn number_of(url: &str) -> Option<usize> {
    url.split_once("://tracker-")?.1.split_once('.')?.0.parse().ok()
}
