//! What a client tells its trackers, read by other means than its own: it must be true, and who has greeted a tracker takes leave of it.
//!
//! Begins anew with each life of the client.

use super::checks::Check;
use super::wire::Breach;
use sameseed_core::id::OpId;
use std::collections::{BTreeMap, BTreeSet};

/// The event of an announce (BEP 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    None,
    Started,
    Completed,
    Stopped,
}

/// What is judged of an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announce {
    event: Event,
    left: u64,
}

impl Announce {
    /// Of `GET target` (BEP 3).
    pub(super) fn of_target(target: &str) -> Option<Self> {
        let value = |name: &str| target.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let event = match value("event") {
            None => Event::None,
            Some("started") => Event::Started,
            Some("completed") => Event::Completed,
            Some("stopped") => Event::Stopped,
            Some(_) => return None,
        };
        Some(Announce { event, left: value("left")?.parse().ok()? })
    }

    /// Of a datagram; `None` when it is no announce (BEP 15).
    pub(super) fn of_datagram(bytes: &[u8]) -> Option<Self> {
        let event = match (bytes.get(8..12)?, bytes.get(80..84)?) {
            ([0, 0, 0, 1], [0, 0, 0, event]) => {
                *[Event::None, Event::Completed, Event::Started, Event::Stopped].get(usize::from(*event))?
            }
            _ => return None,
        };
        Some(Announce { event, left: u64::from_be_bytes(bytes.get(64..72)?.try_into().ok()?) })
    }
}

/// What one client has told its trackers.
#[derive(Debug, Default)]
pub(super) struct Announces {
    /// It has said that it completed what it downloaded.
    has_completed: bool,
    /// Announces on their way to trackers that answer them well.
    under_way: BTreeMap<OpId, usize>,
    /// Trackers that have answered, and have not been told since that it stops.
    greeted: BTreeSet<usize>,
    /// What a tracker has redirected, and is to be said again as it was.
    redirected: Option<Announce>,
    /// The torrent was paused, removed or is checked again, and has not begun anew.
    rests: bool,
}

impl Announces {
    /// An announce leaves for a tracker; `lacks_bytes`: what the client has not of the torrent, if that is known and nobody is taking it away.
    ///
    /// # Errors
    /// When it is not true.
    pub(super) fn sent(&mut self, tracker: usize, announce: Announce, lacks_bytes: Option<u64>) -> Result<(), Breach> {
        // A redirect repeats what was true when it was said first: before the torrent began to be checked again, perhaps.
        let repeats = self.redirected.take_if(|redirected| *redirected == announce).is_some();
        self.rests &= announce.event != Event::Started || repeats;
        let is_true = announce.left > 0 || self.rests || repeats || lacks_bytes.is_none_or(|lacks| lacks == 0);
        if !is_true || (announce.event == Event::Completed && !self.has_completed) {
            let detail = format!("{announce:?} to tracker {tracker}, and {lacks_bytes:?} bytes are lacking");
            return Err((Check::Announced, detail));
        }
        if announce.event == Event::Stopped {
            self.greeted.remove(&tracker);
        }
        Ok(())
    }

    /// A tracker will answer this one, and well.
    pub(super) fn will_answer(&mut self, op: OpId, tracker: usize, announce: Option<Announce>) {
        if announce.is_some_and(|announce| announce.event != Event::Stopped) {
            self.under_way.insert(op, tracker);
        }
    }

    /// A tracker sent the client elsewhere: with an announce, or with a scrape, which says nothing.
    pub(super) fn redirected(&mut self, location: &str) {
        self.redirected = Announce::of_target(location).or(self.redirected);
    }

    /// An answer came, or none; `well`: it is the tracker's.
    pub(super) fn done(&mut self, op: OpId, well: bool) {
        self.greeted.extend(self.under_way.remove(&op).filter(|_| well));
    }

    /// The client says that all is there.
    pub(super) fn completed(&mut self, downloaded: bool) {
        self.has_completed |= downloaded;
    }

    /// The torrent is paused, removed or checked again: it takes its leave, and nobody waits for the end of that.
    pub(super) fn rests(&mut self) {
        let Announces { has_completed, redirected, .. } = *self;
        // A redirect that came just before is still followed.
        *self = Announces { rests: true, has_completed, redirected, ..Announces::default() };
    }

    /// The client has stopped, and had time to say so.
    ///
    /// # Errors
    /// When a tracker that knows it was not told.
    pub(super) fn judge_goodbye(&self) -> Result<(), Breach> {
        match self.greeted.first() {
            Some(tracker) => Err((Check::Announced, format!("tracker {tracker} is not told that it stops"))),
            None => Ok(()),
        }
    }
}
