//! Follows the torrents of a run to their ends: what is told, when to give one up, what is run when it is complete, and what the exit code is.
//!
//! Each torrent ends as it would in a run of its own; the run ends when all of them have.

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::explain::Silence;
use super::hook::{Call, Hooks};
use super::json::Which;
use super::patience::Patience;
use super::progress::Tally;
use super::teller::Teller;
use driver_tokio::{AddTorrentOptions, Notices, Session};
use sameseed_core::action::Notice;
use sameseed_core::config::RateLimits;
use sameseed_core::event::Command;
use sameseed_core::id::TorrentId;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

/// How often progress is drawn on a terminal, or told as JSON.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One torrent of the run.
#[derive(Debug)]
struct Part {
    which: Which,
    patience: Patience,
    silence: Silence,
    /// What `--on-complete` is told.
    call: Option<Call>,
    /// It was complete once.
    complete: bool,
    /// Nothing more is done for it.
    ended: bool,
}

/// The torrents of a run, and how they have ended so far.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    session: &'a Session,
    teller: &'a mut Teller,
    hooks: &'a mut Hooks,
    seed: bool,
    /// There is one torrent only.
    is_alone: bool,
    /// Boxed: a leaf of the map is half empty.
    parts: BTreeMap<TorrentId, Box<Part>>,
    /// Torrents that are not complete and have not ended.
    incomplete: usize,
    failed: usize,
    /// Of those that have failed, the first: its code is that of the run.
    first_failure: Option<Failure>,
}

fn session_ended() -> Failure {
    Failure::new(Exit::Other, "the session ended by itself")
}

impl<'a> Run<'a> {
    /// Adds the torrents. What is heard of the first of them meanwhile is taken in at once: thousands are more than may wait.
    pub(crate) async fn begin(
        session: &'a Session,
        torrents: Vec<AddTorrentOptions>,
        args: &RunArgs,
        notices: &mut Notices,
        teller: &'a mut Teller,
        hooks: &'a mut Hooks,
    ) -> Result<Self, Failure> {
        let is_alone = torrents.len() == 1;
        let parts = BTreeMap::new();
        let (incomplete, failed, first_failure) = (0, 0, None);
        let seed = args.seeds();
        let mut run = Run { session, teller, hooks, seed, is_alone, parts, incomplete, failed, first_failure };
        for options in torrents {
            let part = Box::new(Part {
                which: Which::from(&options.metainfo),
                patience: Patience::new(&options.metainfo, args),
                silence: Silence::default(),
                call: run.hooks.prepare(&options.metainfo, &args.dir, &options.priorities),
                complete: false,
                ended: false,
            });
            let added = session.add(options).await.map_err(|error| Failure::new(Exit::Other, error.to_string()));
            let torrent = added?.id();
            if args.limits() != RateLimits::default() {
                session.set_limits(Some(torrent), args.limits()).await.map_err(|_| session_ended())?;
            }
            run.parts.insert(torrent, part);
            run.incomplete += 1;
            while let Some(notice) = notices.try_next() {
                run.hear(&notice).await;
            }
        }
        Ok(run)
    }

    /// Follows them until all have ended or a signal comes.
    pub(crate) async fn follow(
        &mut self,
        notices: &mut Notices,
        signal: &mut oneshot::Receiver<()>,
    ) -> Result<Exit, Failure> {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut begun = None;
        while self.parts.values().any(|part| !part.ended) {
            tokio::select! {
                biased;
                _ = &mut *signal => return self.interrupt(),
                notice = notices.next() => self.hear(&notice.ok_or_else(session_ended)?).await,
                () = self.hooks.next() => (),
                now = looks.tick() => self.look(now.duration_since(*begun.get_or_insert(now))).await?,
            }
        }
        tokio::select! {
            biased;
            _ = &mut *signal => (),
            () = self.hooks.finish() => (),
        }
        self.verdict()
    }

    /// Which torrent a notice is about, as it is told.
    pub(crate) fn tell(&self, notice: &Notice) {
        let part = torrent_of(notice).and_then(|torrent| self.parts.get(&torrent));
        self.teller.notice(notice, part.map(|part| &part.which));
    }

    async fn hear(&mut self, notice: &Notice) {
        self.tell(notice);
        let Some(torrent) = torrent_of(notice) else { return };
        let Some(part) = self.parts.get_mut(&torrent).filter(|part| !part.ended) else { return };
        match notice {
            Notice::Complete { downloaded, .. } if !part.complete => {
                part.complete = true;
                self.incomplete -= 1;
                self.teller.complete(&part.which, *downloaded);
                if let Some(call) = part.call.clone() {
                    self.hooks.call(call, *downloaded);
                }
                if !self.seed {
                    self.end(torrent, Ok(Exit::Done)).await;
                }
            }
            Notice::SeededEnough { goal, .. } => {
                self.teller.seeded_enough(&part.which, *goal);
                self.end(torrent, Ok(Exit::Done)).await;
            }
            Notice::Checked { .. } => part.patience.checked(),
            Notice::PieceVerified { .. } => part.patience.written(),
            Notice::TrackerFailed { url, reason, .. } => part.patience.tracker_failed(format!("{url}: {reason}")),
            Notice::DiskTrouble { fault, .. } => match part.patience.refused(fault, part.complete) {
                Err(failure) => self.end(torrent, Err(failure)).await,
                Ok(true) => self.teller.refused(&part.which, fault),
                Ok(false) => (),
            },
            Notice::Refused { why, .. } => {
                let what = format!("{}: {why}", part.which.name);
                self.end(torrent, Err(Failure::new(Exit::Other, what))).await;
            }
            _ => (),
        }
    }

    async fn look(&mut self, now: Duration) -> Result<(), Failure> {
        // Nobody's patience ends with who only seeds: thousands of them are not looked at each second for nothing.
        if self.incomplete == 0 && !self.teller.shows_next_look_at_seeds() {
            self.teller.skip_look();
            return Ok(());
        }
        let view = self.session.view().await.map_err(|_| session_ended())?;
        let mut silent = BTreeMap::new();
        // Only of those that are told of: to ask for the reasons of ten thousand once a second would keep a core busy.
        let room = self.teller.room_for_whys();
        for view in &view.torrents {
            let part = self.parts.get_mut(&view.torrent).filter(|part| !part.ended);
            if part.is_some_and(|part| part.silence.is_long(now, view)) && silent.len() < room {
                let why = self.session.explain(view.torrent).await.map_err(|_| session_ended())?;
                silent.extend(why.map(|why| (view.torrent, why)));
            }
        }
        let live = |torrent: &TorrentId| self.parts.get(torrent).filter(|part| !part.ended);
        let seen: Vec<_> = view.torrents.iter().filter_map(|view| Some((view, &live(&view.torrent)?.which))).collect();
        self.teller.look(&seen, &view.torrents, self.tally(), &silent);
        for view in &view.torrents {
            let Some(part) = self.parts.get_mut(&view.torrent).filter(|part| !part.ended) else { continue };
            if let Err(failure) = part.patience.look(now, view) {
                self.end(view.torrent, Err(failure)).await;
            }
        }
        Ok(())
    }

    /// Nothing more is done for this torrent: it falls silent while others go on.
    async fn end(&mut self, torrent: TorrentId, outcome: Result<Exit, Failure>) {
        let Some(part) = self.parts.get_mut(&torrent).filter(|part| !part.ended) else { return };
        part.ended = true;
        self.incomplete -= usize::from(!part.complete);
        self.teller.ended(&part.which, outcome.as_ref().copied(), self.is_alone);
        if let Err(failure) = outcome {
            self.failed += 1;
            self.first_failure.get_or_insert(failure);
        }
        // A session that has ended is silent too, and soon noticed.
        let _ = self.session.command(Command::Pause { torrent: Some(torrent) }).await;
    }

    fn interrupt(&mut self) -> Result<Exit, Failure> {
        self.teller.stopping();
        let tally = self.tally();
        let goes_on = "the same command goes on where it ended";
        let mut interrupted = None;
        for part in self.parts.values_mut().filter(|part| !part.ended) {
            part.ended = true;
            let what = format!("{}: interrupted; {goes_on}", part.which.name);
            let failure = Failure::new(Exit::Interrupted, what);
            // The last line of the run tells it for all.
            self.teller.ended(&part.which, if part.complete { Ok(Exit::Done) } else { Err(&failure) }, true);
            interrupted = interrupted.or(Some(failure).filter(|_| !part.complete));
        }
        match interrupted {
            None => self.verdict(),
            Some(failure) if tally.torrents == 1 => Err(failure),
            Some(failure) => {
                let exit = self.first_failure.as_ref().map_or(failure.exit, |first| first.exit);
                let what = format!("interrupted; {} of {} torrents are complete", tally.complete, tally.torrents);
                Err(Failure::new(exit, format!("{what}; {goes_on}")))
            }
        }
    }

    /// Done when all have succeeded; else the first failure, and of several torrents how many failed.
    fn verdict(&mut self) -> Result<Exit, Failure> {
        let torrents = self.parts.len();
        match self.first_failure.take() {
            None => Ok(Exit::Done),
            Some(failure) if torrents == 1 => Err(failure),
            Some(failure) => {
                let what = format!("{} of {torrents} torrents failed; the first: {failure}", self.failed);
                Err(Failure::new(failure.exit, what))
            }
        }
    }

    fn tally(&self) -> Tally {
        let complete = self.parts.values().filter(|part| part.complete).count();
        Tally { torrents: self.parts.len(), complete, failed: self.failed }
    }
}

fn torrent_of(notice: &Notice) -> Option<TorrentId> {
    match notice {
        Notice::Checked { torrent, .. }
        | Notice::PieceVerified { torrent, .. }
        | Notice::PieceFailed { torrent, .. }
        | Notice::PiecesLost { torrent, .. }
        | Notice::Complete { torrent, .. }
        | Notice::SeededEnough { torrent, .. }
        | Notice::PeerConnected { torrent, .. }
        | Notice::PeerGone { torrent, .. }
        | Notice::Banned { torrent, .. }
        | Notice::TrackerAnswered { torrent, .. }
        | Notice::TrackerFailed { torrent, .. }
        | Notice::Scraped { torrent, .. }
        | Notice::DiskTrouble { torrent, .. }
        | Notice::ResumeRefused { torrent, .. }
        | Notice::ResumeTrouble { torrent, .. }
        | Notice::Readable { torrent, .. }
        | Notice::TooManyReaders { torrent, .. }
        | Notice::Refused { torrent, .. }
        | Notice::Removed { torrent, .. }
        | Notice::Moved { torrent, .. }
        | Notice::Renamed { torrent, .. }
        | Notice::NotMoved { torrent, .. } => Some(*torrent),
        Notice::ShutDown => None,
    }
}
