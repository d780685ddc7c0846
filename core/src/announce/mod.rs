//! When which tracker of one torrent is asked, and what it is told (BEP 3, 12, 15, 31, 48).
//!
//! Owns the order of tiers, the rounds, hedging, back-off, and who has heard what. Does no I/O: it emits operations and datagrams and is told
//! how they ended. It keeps the law that no tracker, whatever it answers or leaves unanswered, costs more than a bounded share of
//! time, memory and traffic.
//!
//! A *round* goes through the tiers in order until one tracker answers. A tracker that keeps silent is not waited for: after
//! [`HEDGE_AFTER`] the next one is started while the first goes on. The first answer ends the round and is promoted in its tier; later ones
//! still deliver their peers.
//!
//! A tracker's place in the list is its number as long as it is in a tier, and until it was told `stopped`; then another may take the place.

mod attempt;
mod scrape;
mod standing;
mod tiers;
mod tracker;
mod vocabulary;

#[cfg(test)]
mod tests;

use crate::action::TrackerFailure;
use crate::event::Outcome;
use crate::fault::LinkFault;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::tracker::http::Retry;
use crate::tracker::{Announce, AnnounceKind, Reply};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use attempt::{Attempt, Context, Progress, Question};
use core::net::SocketAddr;
use tracker::Tracker;

pub(crate) use crate::tracker::Totals;
pub(crate) use standing::Standing;
pub(crate) use vocabulary::{AnnounceConfig, AnnounceEvent, AnnounceOutput, RequestId};

/// Trackers kept of a torrent, the first ones: real lists have some tens, and a hostile one must not make us a flood.
pub(crate) const MAX_TRACKERS: usize = 200;
/// A tracker that has not answered after this long is joined by the next one.
pub(crate) const HEDGE_AFTER: Duration = Duration::from_secs(10);
/// An announce without an answer after this long has failed. (A UDP one goes on with BEP 15's ever longer pauses until its place is needed.)
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Announces under way at a time: as many as begin, one every [`HEDGE_AFTER`], within [`ATTEMPT_TIMEOUT`].
pub(crate) const MAX_IN_FLIGHT: usize = 6;
/// A round for which there is no room, since too many torrents are asking just now, begins no sooner than this.
const ROOM_PAUSE: Duration = Duration::from_secs(3);
/// The same for a goodbye, which has little time.
const GOODBYE_PAUSE: Duration = Duration::from_millis(100);
/// Goodbyes under way at a time: they are short and all have to fit into one deadline.
pub(crate) const MAX_GOODBYES: usize = 20;
/// Who stops and starts over and over begins a round this often at most: a flood of pauses is no flood of announces.
const MIN_RESTART: Duration = Duration::from_secs(10);
/// Peers asked for while we look for some.
const NUM_WANT_MANY: u32 = 200;
/// Peers asked for otherwise: what most trackers give anyway.
const NUM_WANT_FEW: u32 = 50;

#[derive(Clone, Debug)]
enum Phase {
    /// Before `Start`, and after everything has stopped.
    Idle,
    Running,
    Stopping {
        deadline: Instant,
        /// Trackers that have yet to hear `stopped`.
        waiting: VecDeque<usize>,
    },
}

/// The trackers of one torrent.
#[derive(Clone, Debug)]
pub(crate) struct Announcer {
    config: AnnounceConfig,
    key: u32,
    rng: Rng,
    now: Instant,
    totals: Totals,
    /// One more may be asked: not too many are by all torrents together.
    has_room: bool,
    trackers: Vec<Tracker>,
    /// Indices into `trackers`, in the order in which they are asked.
    tiers: Vec<Vec<usize>>,
    phase: Phase,
    attempts: Vec<Attempt>,
    /// Scrapes under way, and trackers that have yet to be scraped: no round knows of them.
    scrapes: Vec<Attempt>,
    to_scrape: VecDeque<usize>,
    /// Trackers that the round has yet to try; `None` between rounds.
    round: Option<VecDeque<usize>>,
    /// When the next round begins; `None` when nothing is left to ask.
    next_round: Option<Instant>,
    /// No start and no wish of the user begins a round sooner: the last one was just before.
    not_before: Instant,
    /// When the round's next tracker is started although others have not answered.
    hedge_at: Instant,
    /// Who ended the last round by an answer.
    settled_by: Option<usize>,
    wants_peers: bool,
    /// The download was completed in this session: said once.
    completed: bool,
    next_request: u64,
    outputs: VecDeque<AnnounceOutput>,
    timeout: Option<Instant>,
}

impl Announcer {
    /// An announcer that waits for [`AnnounceEvent::Start`]. Tiers are shuffled within themselves (BEP 12).
    pub(crate) fn new(mut config: AnnounceConfig, rng: Rng, now: Instant) -> Self {
        let tiers = core::mem::take(&mut config.tiers);
        let mut announcer = Announcer {
            config,
            key: 0,
            rng,
            now,
            totals: Totals::default(),
            has_room: true,
            trackers: Vec::new(),
            tiers: Vec::new(),
            phase: Phase::Idle,
            attempts: Vec::new(),
            scrapes: Vec::new(),
            to_scrape: VecDeque::new(),
            round: None,
            next_round: None,
            not_before: now,
            hedge_at: now,
            settled_by: None,
            wants_peers: false,
            completed: false,
            next_request: 0,
            outputs: VecDeque::new(),
            timeout: None,
        };
        tiers.into_iter().for_each(|tier| _ = announcer.add_tier(tier));
        announcer.key = announcer.rng.next_u32();
        announcer
    }

    /// Takes in what happened; `totals` are those of this moment, and so is whether there is room for one more announce beside those of other torrents.
    pub(crate) fn handle(&mut self, now: Instant, totals: Totals, has_room: bool, event: AnnounceEvent<'_>) {
        self.now = now.max(self.now);
        (self.totals, self.has_room) = (totals, has_room);
        match event {
            AnnounceEvent::Start => self.start(),
            AnnounceEvent::Completed => self.note_completed(),
            AnnounceEvent::Stop => self.stop(),
            AnnounceEvent::Tick => {}
            AnnounceEvent::WantPeers => self.want_peers(),
            AnnounceEvent::Again => self.ask_again(),
            AnnounceEvent::Scrape => self.scrape_all(),
            AnnounceEvent::EndScrapes => self.end_scrapes(),
            AnnounceEvent::AddTrackers(urls) => self.add_trackers(urls),
            AnnounceEvent::ReplaceTrackers(tiers) => self.replace_trackers(tiers),
            AnnounceEvent::Done { request, outcome } => self.handle_done(request, outcome),
            AnnounceEvent::Datagram { from, bytes } => {
                if let Some(at) = self.attempts.iter().position(|attempt| attempt.expects(from, bytes)) {
                    self.tell(at, |attempt, cx| attempt.handle_datagram(bytes, cx));
                } else if let Some(at) = self.scrapes.iter().position(|scrape| scrape.expects(from, bytes)) {
                    self.tell_scrape(at, |scrape, cx| scrape.handle_datagram(bytes, cx));
                }
            }
        }
        self.advance();
        self.timeout = self.next_timeout();
        // Torrents are many, and most wait: what is seldom in use takes no room in between.
        if self.attempts.is_empty() {
            self.attempts = Vec::new();
        }
        if self.scrapes.is_empty() {
            self.scrapes = Vec::new();
        }
    }

    /// The next thing to do. Only pops.
    pub(crate) fn poll_output(&mut self) -> Option<AnnounceOutput> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When it wants a [`AnnounceEvent::Tick`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// Whether a datagram may be an answer for this torrent. Cheap: a look at sender and transaction.
    pub(crate) fn expects_datagram(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        self.attempts.iter().chain(&self.scrapes).any(|attempt| attempt.expects(from, bytes))
    }

    /// The operations that it waits for.
    pub(crate) fn requests(&self) -> impl Iterator<Item = RequestId> {
        self.attempts.iter().chain(&self.scrapes).filter_map(Attempt::request)
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        assert!(self.attempts.len() <= MAX_GOODBYES, "announces under way are bounded");
        let asked: BTreeSet<usize> = self.attempts.iter().map(|attempt| attempt.tracker).collect();
        assert_eq!(asked.len(), self.attempts.len(), "a tracker is told one thing at a time");
        self.check_scrapes();
        assert_eq!(self.timeout, self.next_timeout(), "the next look at trackers equals a recount");
        // Those in use, those that have yet to hear `stopped`, and those that are just hearing it.
        assert!(self.trackers.len() <= 2 * MAX_TRACKERS + MAX_GOODBYES, "trackers are bounded");
        assert!(self.outputs.is_empty(), "what the announcer wants done has been taken");
    }

    fn start(&mut self) {
        if matches!(self.phase, Phase::Running) {
            return;
        }
        self.cancel_all();
        self.phase = Phase::Running;
        self.settled_by = None;
        self.next_round = Some(self.now.max(self.not_before));
        self.trackers.iter_mut().for_each(Tracker::forget_session);
        self.report_unusable(&self.tiers.concat());
    }

    fn report_unusable(&mut self, trackers: &[usize]) {
        for tracker in trackers.iter().filter_map(|at| self.trackers.get(*at)) {
            if let Err(error) = &tracker.url {
                let reason = TrackerFailure::BadUrl(error.reason());
                self.outputs.push_back(AnnounceOutput::Failed { url: tracker.shown.clone(), reason });
            }
        }
    }

    /// Who heard `started`, or is just hearing it, is owed a `completed`. All others are told by a `started` with nothing left, which settles it.
    fn note_completed(&mut self) {
        if !self.completed && matches!(self.phase, Phase::Running) {
            self.completed = true;
            self.trackers.iter_mut().for_each(|tracker| tracker.owes_completed = true);
        }
    }

    fn want_peers(&mut self) {
        self.wants_peers = true;
        let Some(tracker) = self.settled_by.filter(|tracker| !self.is_busy(*tracker)) else { return };
        if let (Some(planned), Some(tracker)) = (self.next_round, self.trackers.get(tracker)) {
            self.next_round = Some(planned.min(tracker.not_before().max(self.now)));
        }
    }

    fn ask_again(&mut self) {
        self.wants_peers = true;
        self.trackers.iter_mut().for_each(Tracker::hasten);
        if matches!(self.phase, Phase::Running)
            && self.round.is_none()
            && let Some(soonest) = self.earliest_retry()
        {
            let soonest = soonest.max(self.not_before).max(self.now);
            self.next_round = Some(self.next_round.map_or(soonest, |planned| planned.min(soonest)));
        }
    }

    fn stop(&mut self) {
        match self.phase {
            // What was asked since goes on.
            Phase::Stopping { .. } => return,
            Phase::Idle => {}
            // Who is just hearing `completed` or `stopped` hears it to the end.
            Phase::Running => {
                let (kept, dropped) = core::mem::take(&mut self.attempts)
                    .into_iter()
                    .partition(|attempt| matches!(attempt.kind, Some(AnnounceKind::Completed | AnnounceKind::Stopped)));
                self.attempts = kept;
                dropped.iter().for_each(|attempt: &Attempt| attempt.cancel(&mut self.outputs));
            }
        }
        self.end_scrapes();
        self.round = None;
        self.next_round = None;
        let heard =
            |at: &usize| self.trackers.get(*at).is_some_and(|tracker| tracker.heard_started) && !self.is_busy(*at);
        let waiting = self.tiers.iter().flatten().copied().filter(heard).collect();
        self.phase = Phase::Stopping { deadline: self.now + self.config.stop_timeout, waiting };
    }

    fn handle_done(&mut self, request: RequestId, outcome: Outcome) {
        let step = |attempt: &mut Attempt, cx: &mut Context<'_>| match outcome {
            Outcome::Resolve(result) => attempt.handle_resolved(result, cx),
            Outcome::Fetch(result) => attempt.handle_fetched(result, cx),
            _ => Progress::Pending,
        };
        let asked = |attempt: &Attempt| attempt.request() == Some(request);
        if let Some(at) = self.attempts.iter().position(asked) {
            self.tell(at, step);
        } else if let Some(at) = self.scrapes.iter().position(asked) {
            self.tell_scrape(at, step);
        }
    }

    /// Does all that is due now.
    fn advance(&mut self) {
        self.advance_attempts();
        self.advance_scrapes();
        match &self.phase {
            Phase::Idle => {}
            Phase::Running => self.advance_round(),
            Phase::Stopping { .. } => self.advance_goodbyes(),
        }
    }

    fn advance_attempts(&mut self) {
        let mut at = 0;
        while let Some(attempt) = self.attempts.get_mut(at) {
            let late = !attempt.overdue && self.now >= attempt.began + ATTEMPT_TIMEOUT;
            let due = attempt.timeout().is_some_and(|due| self.now >= due);
            let tracker = attempt.tracker;
            if late && attempt.is_udp() && attempt.kind != Some(AnnounceKind::Stopped) {
                attempt.overdue = true;
                self.hedge_at = self.now;
                self.note_heard(tracker, |heard| heard.failed(&LinkFault::TimedOut.into()));
                let url = self.trackers.get(tracker).map(|tracker| tracker.shown.clone()).unwrap_or_default();
                self.outputs.push_back(AnnounceOutput::Failed { url, reason: LinkFault::TimedOut.into() });
            } else if late {
                self.give_up(at);
            } else {
                if due {
                    self.tell(at, Attempt::handle_time);
                }
                // A failed attempt has left, and the next one stands in its place.
                at += usize::from(self.attempts.get(at).is_some_and(|attempt| attempt.tracker == tracker));
            }
        }
    }

    fn advance_round(&mut self) {
        while let Some(at) = self.pick_owed() {
            self.begin(at, AnnounceKind::Completed);
        }
        loop {
            if self.round.is_none() && self.next_round.is_some_and(|due| self.now >= due) {
                if self.has_room {
                    self.open_round();
                } else {
                    self.next_round = Some(self.now + ROOM_PAUSE);
                }
            }
            let Some(queue) = &self.round else { return };
            let waited_for = self.attempts.iter().any(|attempt| !attempt.overdue);
            if queue.is_empty() {
                if waited_for {
                    return;
                }
                // Nobody answered: again when the first back-off ends.
                self.round = None;
                self.next_round = self.earliest_retry();
                continue;
            }
            if waited_for && self.now >= self.hedge_at && !self.has_room {
                // Trackers that hang leave others their turn.
                self.hedge_at = self.now + ROOM_PAUSE;
            }
            if (waited_for && self.now < self.hedge_at) || !self.make_room() {
                return;
            }
            let Some(at) = self.round.as_mut().and_then(VecDeque::pop_front) else { return };
            // It may have been told `completed` since the round began.
            if !self.is_ready(at) {
                continue;
            }
            // Before `begin`: a failure on the spot sets it back to now.
            self.hedge_at = self.now + HEDGE_AFTER;
            let heard = self.trackers.get(at).is_some_and(|tracker| tracker.heard_started);
            self.begin(at, if heard { AnnounceKind::Regular } else { AnnounceKind::Started });
        }
    }

    fn open_round(&mut self) {
        self.round = Some(self.tiers.iter().flatten().copied().filter(|at| self.is_ready(*at)).collect());
        self.next_round = None;
        self.not_before = self.now + MIN_RESTART;
        self.settled_by = None;
        self.hedge_at = self.now;
    }

    /// A tracker that is owed a `completed` and may be told now.
    fn pick_owed(&mut self) -> Option<usize> {
        let owed = |at: &usize| {
            !self.is_busy(*at) && self.trackers.get(*at).is_some_and(|t| is_owed(t) && t.retry_at <= self.now)
        };
        let at = (0..self.trackers.len()).find(owed)?;
        self.make_room().then_some(at)
    }

    fn advance_goodbyes(&mut self) {
        loop {
            let Phase::Stopping { deadline, waiting } = &mut self.phase else { return };
            if self.now >= *deadline || (waiting.is_empty() && self.attempts.is_empty()) {
                self.cancel_all();
                self.trackers.iter_mut().for_each(Tracker::forget_session);
                self.phase = Phase::Idle;
                self.outputs.push_back(AnnounceOutput::Stopped);
                return;
            }
            if self.attempts.len() >= MAX_GOODBYES || !self.has_room {
                return;
            }
            let Some(at) = waiting.pop_front() else { return };
            let owed = self.trackers.get(at).is_some_and(|tracker| tracker.owes_completed);
            self.begin(at, if owed { AnnounceKind::Completed } else { AnnounceKind::Stopped });
        }
    }

    fn is_busy(&self, tracker: usize) -> bool {
        self.attempts.iter().any(|attempt| attempt.tracker == tracker)
    }

    /// Whether a tracker may take part in a round now.
    fn is_ready(&self, at: usize) -> bool {
        !self.is_busy(at) && self.trackers.get(at).is_some_and(|t| t.is_usable() && t.not_before() <= self.now)
    }

    /// Whether one more announce may begin. An overdue one makes way.
    fn make_room(&mut self) -> bool {
        if self.attempts.len() < MAX_IN_FLIGHT {
            return true;
        }
        let Some(at) = self.attempts.iter().position(|attempt| attempt.overdue) else { return false };
        let attempt = self.attempts.remove(at);
        if let Some(tracker) = self.trackers.get_mut(attempt.tracker) {
            // It was reported when it became overdue.
            tracker.note_failure(self.now, None, &mut self.rng);
        }
        true
    }

    fn begin(&mut self, at: usize, kind: AnnounceKind) {
        let Some(tracker) = self.trackers.get_mut(at) else { return };
        let Ok(url) = tracker.url.clone() else { return };
        if kind == AnnounceKind::Started {
            tracker.owes_completed = false;
        }
        tracker.heard.asked(self.now);
        let leaving = matches!(self.phase, Phase::Stopping { .. });
        let known = tracker.answered_from.filter(|addr| leaving && addr.port() == url.port);
        self.attempts.push(Attempt::new(at, Some(kind), url, self.now));
        self.tell(self.attempts.len() - 1, |attempt, cx| attempt.begin(known, cx));
    }

    /// Lets one attempt take a step and draws the consequences.
    fn tell(&mut self, at: usize, step: impl FnOnce(&mut Attempt, &mut Context<'_>) -> Progress) {
        let mut attempt = self.attempts.remove(at);
        match self.step(&mut attempt, step) {
            // No announce is answered by counts.
            Progress::Pending | Progress::Counted(_) => self.attempts.insert(at, attempt),
            Progress::Answered(reply, from) => self.note_answer(&attempt, reply, from),
            Progress::Failed(reason, retry) => self.note_failure(&attempt, reason, retry),
        }
    }

    /// One step of an attempt that stands in no list meanwhile.
    fn step(
        &mut self,
        attempt: &mut Attempt,
        step: impl FnOnce(&mut Attempt, &mut Context<'_>) -> Progress,
    ) -> Progress {
        let question = match attempt.kind {
            Some(kind) => Question::Announce(self.announce(kind)),
            None => Question::Scrape(self.config.info_hash),
        };
        let Some(tracker) = self.trackers.get_mut(attempt.tracker) else { return Progress::Pending };
        let mut cx = Context {
            now: self.now,
            question,
            tracker_id: tracker.tracker_id.as_deref(),
            user_agent: &self.config.user_agent,
            connection: &mut tracker.connection,
            rng: &mut self.rng,
            next_request: &mut self.next_request,
            outputs: &mut self.outputs,
        };
        step(attempt, &mut cx)
    }

    fn announce(&self, kind: AnnounceKind) -> Announce {
        let few_peers = self.totals.left > 0 && (self.wants_peers || kind == AnnounceKind::Started);
        Announce {
            info_hash: self.config.info_hash,
            peer_id: self.config.peer_id,
            port: self.config.listen_port,
            kind,
            totals: self.totals,
            num_want: match kind {
                AnnounceKind::Stopped => 0,
                _ if few_peers => NUM_WANT_MANY,
                _ => NUM_WANT_FEW,
            },
            key: self.key,
        }
    }

    fn give_up(&mut self, at: usize) {
        let attempt = self.attempts.remove(at);
        attempt.cancel(&mut self.outputs);
        self.note_failure(&attempt, LinkFault::TimedOut.into(), None);
    }

    fn note_answer(&mut self, attempt: &Attempt, reply: Reply, from: SocketAddr) {
        let at = attempt.tracker;
        let Some(tracker) = self.trackers.get_mut(at) else { return };
        let next_in = tracker.note_success(self.now, &reply);
        // After a redirect it is another server's address.
        tracker.answered_from = (!attempt.was_redirected()).then_some(from);
        match attempt.kind {
            Some(AnnounceKind::Started) => tracker.heard_started = true,
            Some(AnnounceKind::Completed) => tracker.owes_completed = false,
            Some(AnnounceKind::Stopped | AnnounceKind::Regular) | None => {}
        }
        let url = tracker.shown.clone();
        let peers = u32::try_from(reply.peers.len()).unwrap_or(u32::MAX);
        tracker.heard.answered(peers);
        // Who was replaced has said all that is of interest.
        let replaced = attempt.kind == Some(AnnounceKind::Stopped);
        let running = matches!(self.phase, Phase::Running);
        if running && !replaced && reply.swarm().is_empty() {
            self.scrape_who_does_not_count(at);
        }
        // Before the peers, among whom we ourselves may be.
        let from = from.ip();
        self.outputs.extend(reply.external_ip.map(|said| AnnounceOutput::OwnIp { from, said }));
        if running && !replaced && peers > 0 {
            self.outputs.push_back(AnnounceOutput::Peers(reply.peers));
        }
        self.outputs.push_back(AnnounceOutput::Answered { url, peers, next_in, warning: reply.warning });
        if !running {
            self.say_goodbye_after(attempt);
        } else if replaced {
            // No round waits for it.
        } else if self.settled_by.is_none_or(|settled| settled == at) {
            self.promote(at);
            self.round = None;
            self.settled_by = Some(at);
            self.next_round = Some(self.now + next_in);
            self.wants_peers = false;
        }
    }

    fn note_failure(&mut self, attempt: &Attempt, reason: TrackerFailure, retry: Option<Retry>) {
        let Some(tracker) = self.trackers.get_mut(attempt.tracker) else { return };
        tracker.note_failure(self.now, retry, &mut self.rng);
        tracker.heard.failed(&reason);
        if !(attempt.overdue && reason == TrackerFailure::Link(LinkFault::TimedOut)) {
            self.outputs.push_back(AnnounceOutput::Failed { url: tracker.shown.clone(), reason });
        }
        if !matches!(self.phase, Phase::Running) {
            self.say_goodbye_after(attempt);
            return;
        }
        if attempt.kind == Some(AnnounceKind::Stopped) {
            return;
        }
        // The round's next tracker need not wait for this one any more.
        self.hedge_at = self.now;
        if self.round.is_none() && self.settled_by.is_none() {
            self.next_round = self.earliest_retry();
        }
    }

    /// While leaving: who was told `completed` first has yet to hear `stopped`, whatever it made of it.
    fn say_goodbye_after(&mut self, attempt: &Attempt) {
        if let Phase::Stopping { waiting, .. } = &mut self.phase
            && attempt.kind == Some(AnnounceKind::Completed)
        {
            waiting.push_back(attempt.tracker);
            if let Some(tracker) = self.trackers.get_mut(attempt.tracker) {
                tracker.owes_completed = false;
            }
        }
    }

    /// BEP 12: who answered moves to the front of its tier.
    fn promote(&mut self, tracker: usize) {
        for tier in &mut self.tiers {
            if let Some(place) = tier.iter().position(|other| *other == tracker)
                && let Some(front) = tier.get_mut(..=place)
            {
                front.rotate_right(1);
            }
        }
    }

    /// When the first tracker that is not being asked may be asked again.
    fn earliest_retry(&self) -> Option<Instant> {
        let idle = self.tiers.iter().flatten().filter(|at| !self.is_busy(**at));
        let usable = idle.filter_map(|at| self.trackers.get(*at)).filter(|tracker| tracker.is_usable());
        usable.map(Tracker::not_before).min()
    }

    fn cancel_all(&mut self) {
        for attempt in core::mem::take(&mut self.attempts) {
            attempt.cancel(&mut self.outputs);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let attempts = self.attempts.iter().flat_map(|attempt| {
            let give_up = (!attempt.overdue).then(|| attempt.began + ATTEMPT_TIMEOUT);
            [attempt.timeout(), give_up]
        });
        let room = self.attempts.len() < MAX_IN_FLIGHT || self.attempts.iter().any(|attempt| attempt.overdue);
        let (hedge, owed, deadline) = match &self.phase {
            Phase::Idle => (None, None, None),
            Phase::Running => {
                let queued = self.round.as_ref().is_some_and(|queue| !queue.is_empty());
                let owed =
                    self.trackers.iter().enumerate().filter(|(at, tracker)| is_owed(tracker) && !self.is_busy(*at));
                let owed = owed.map(|(_, tracker)| tracker.retry_at).min();
                ((queued && room).then_some(self.hedge_at), owed.filter(|_| room), None)
            }
            Phase::Stopping { deadline, waiting } => {
                let again = (!waiting.is_empty() && !self.has_room).then(|| self.now + GOODBYE_PAUSE);
                (None, None, again.into_iter().chain([*deadline]).min())
            }
        };
        let scrapes = self.scrapes.iter().flat_map(scrape::timeouts);
        attempts.chain(scrapes).chain([hedge, owed, deadline, self.next_round]).flatten().min()
    }
}

fn is_owed(tracker: &Tracker) -> bool {
    tracker.is_usable() && tracker.heard_started && tracker.owes_completed
}
