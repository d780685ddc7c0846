//! How large trackers say the swarm is (BEP 48; BEP 15, action 2): when they are scraped, and what is known.
//!
//! Answers to announces tell it as well, so a scrape is for what they leave out. By itself one is made only of a tracker that has just answered
//! an announce and named no counts, and seldom: nobody else's numbers are missing. All others are made when somebody looks: a user interface
//! asks, every tracker of the torrent then says how many peers it knows, and how often the torrent was downloaded. So a paused torrent shows
//! what was known, and stays silent until it is asked about; other clients scrape theirs every half an hour, which tells the tracker who
//! has what, and serves nobody who does not look.
//!
//! Scrapes are no announces: they change no round, no back-off, and nobody's turn.

use super::attempt::{Attempt, Context, Progress};
use super::{AnnounceOutput, Announcer};
use crate::action::TrackerFailure;
use crate::fault::LinkFault;
use crate::time::{Duration, Instant};
use crate::tracker::Swarm;
use crate::tracker::url::Url;
use crate::view::TrackerView;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Scrapes of one torrent under way at a time. With two hundred trackers that all hang the last one's turn comes within half an hour.
pub(super) const MAX_SCRAPES: usize = 4;
/// A scrape without an answer after this long has failed: a UDP one was sent twice by then.
pub(super) const SCRAPE_TIMEOUT: Duration = Duration::from_secs(30);
/// No tracker is scraped more often, however often somebody asks: the pause that announces keep as well.
pub(super) const MIN_SCRAPE_PAUSE: Duration = super::tracker::MIN_INTERVAL;
/// A tracker that names no counts is scraped by itself no more often: the usual interval of announces, and what other clients do.
pub(super) const OWN_SCRAPE_PAUSE: Duration = Duration::from_secs(30 * 60);

/// When a scrape wants to be told the time.
pub(super) fn timeouts(scrape: &Attempt) -> [Option<Instant>; 2] {
    [scrape.timeout(), Some(scrape.began + SCRAPE_TIMEOUT)]
}

impl Announcer {
    /// How large the swarm is: of all trackers each number's largest.
    pub(crate) fn swarm(&self) -> Swarm {
        let trackers = self.tiers.iter().flatten().filter_map(|at| self.trackers.get(*at));
        trackers.fold(Swarm::default(), |swarm, tracker| swarm.max(tracker.swarm))
    }

    /// A picture of each tracker, in the order in which they are asked.
    pub(crate) fn trackers(&self) -> Vec<TrackerView> {
        let tiers = self.tiers.iter().zip(0..).flat_map(|(tier, n)| tier.iter().map(move |at| (n, at)));
        let view = |(tier, at): (u32, &usize)| {
            let tracker = self.trackers.get(*at)?;
            let (peers, failure) = tracker.last_word();
            Some(TrackerView { url: tracker.shown.clone(), tier, peers, failure, swarm: tracker.swarm })
        };
        tiers.filter_map(view).collect()
    }

    /// Somebody wants to know: every tracker is scraped that may be.
    pub(super) fn scrape_all(&mut self) {
        let all = self.tiers.concat();
        all.into_iter().for_each(|at| self.scrape(at, MIN_SCRAPE_PAUSE));
    }

    /// A tracker has answered and named no counts.
    pub(super) fn scrape_who_does_not_count(&mut self, at: usize) {
        self.scrape(at, OWN_SCRAPE_PAUSE);
    }

    fn scrape(&mut self, at: usize, pause: Duration) {
        let Some(tracker) = self.trackers.get_mut(at) else { return };
        let can = tracker.url.as_ref().is_ok_and(|url| url.for_scrape().is_some());
        if can && tracker.may_be_scraped(self.now, pause) && !self.to_scrape.contains(&at) {
            self.to_scrape.push_back(at);
        }
    }

    /// Begins what has its turn, and gives up what takes too long.
    pub(super) fn advance_scrapes(&mut self) {
        let mut at = 0;
        while let Some(scrape) = self.scrapes.get(at) {
            let (tracker, count) = (scrape.tracker, self.scrapes.len());
            if self.now >= scrape.began + SCRAPE_TIMEOUT {
                let scrape = self.scrapes.remove(at);
                scrape.cancel(&mut self.outputs);
                self.say_scraped(tracker, Err(LinkFault::TimedOut.into()));
            } else if scrape.timeout().is_some_and(|due| self.now >= due) {
                self.tell_scrape(at, Attempt::handle_time);
            }
            // One that has ended has left, and the next one stands in its place.
            at += usize::from(self.scrapes.len() == count);
        }
        while self.scrapes.len() < MAX_SCRAPES
            && let Some(at) = self.to_scrape.pop_front()
        {
            self.begin_scrape(at);
        }
    }

    fn begin_scrape(&mut self, at: usize) {
        let under_way = self.scrapes.iter().any(|scrape| scrape.tracker == at);
        // It may have been dismissed while it waited, and another have taken its place.
        let is_there = self.tiers.iter().flatten().any(|other| *other == at);
        let Some(tracker) = self.trackers.get_mut(at).filter(|_| is_there && !under_way) else { return };
        let Some(url) = tracker.url.as_ref().ok().and_then(Url::for_scrape) else { return };
        tracker.scraped_at = Some(self.now);
        self.scrapes.push(Attempt::new(at, None, url, self.now));
        self.tell_scrape(self.scrapes.len() - 1, |scrape, cx| scrape.begin(None, cx));
    }

    /// Lets a scrape take a step and draws the consequences.
    pub(super) fn tell_scrape(&mut self, at: usize, step: impl FnOnce(&mut Attempt, &mut Context<'_>) -> Progress) {
        let mut scrape = self.scrapes.remove(at);
        match self.step(&mut scrape, step) {
            // No scrape is answered by peers.
            Progress::Pending | Progress::Answered(..) => self.scrapes.insert(at, scrape),
            Progress::Counted(swarm) => {
                if let Some(tracker) = self.trackers.get_mut(scrape.tracker) {
                    tracker.swarm.update(swarm);
                }
                self.say_scraped(scrape.tracker, Ok(swarm));
            }
            Progress::Failed(reason, _) => self.say_scraped(scrape.tracker, Err(reason)),
        }
    }

    fn say_scraped(&mut self, at: usize, result: Result<Swarm, TrackerFailure>) {
        let Some(tracker) = self.trackers.get(at) else { return };
        self.outputs.push_back(AnnounceOutput::Scraped { url: tracker.shown.clone(), result });
    }

    /// Nobody wants to know any more.
    pub(super) fn end_scrapes(&mut self) {
        self.to_scrape.clear();
        for scrape in core::mem::take(&mut self.scrapes) {
            scrape.cancel(&mut self.outputs);
        }
    }

    /// A tracker goes: it is asked nothing any more.
    pub(super) fn end_scrape_of(&mut self, at: usize) {
        self.to_scrape.retain(|other| *other != at);
        if let Some(place) = self.scrapes.iter().position(|scrape| scrape.tracker == at) {
            self.scrapes.remove(place).cancel(&mut self.outputs);
        }
    }

    pub(super) fn check_scrapes(&self) {
        assert!(self.scrapes.len() <= MAX_SCRAPES, "scrapes under way are bounded");
        let scraped: BTreeSet<usize> = self.scrapes.iter().map(|scrape| scrape.tracker).collect();
        assert_eq!(scraped.len(), self.scrapes.len(), "a tracker is scraped once at a time");
        let waiting: BTreeSet<usize> = self.to_scrape.iter().copied().collect();
        assert_eq!(waiting.len(), self.to_scrape.len(), "a tracker waits once to be scraped");
        let in_use = |at: &usize| self.tiers.iter().flatten().any(|other| other == at);
        assert!(scraped.iter().chain(&waiting).all(in_use), "only trackers in use are scraped");
        assert!(self.to_scrape.is_empty() || self.scrapes.len() == MAX_SCRAPES, "who may be scraped now is");
    }
}
