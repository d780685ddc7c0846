//! Checkpoints: what is verified and safe goes into resume data, so that the next start need not read it.
//!
//! One at a time, in three steps: `Sync`, then `Stat`, then `SaveResume`. What was had when the sync began is claimed, with the sizes and
//! mtimes found after it; a change that comes later changes an mtime, and the next start hashes that file. Of files that changed without our
//! doing, or whose sync failed, nothing is claimed any more; nor is a piece while something of it stands in the part file. A checkpoint that
//! fails is tried again; the torrent never waits for it.

use super::{Purpose, Shared, Torrent};
use crate::action::{FileStat, Notice, Operation};
use crate::bitfield::Bitfield;
use crate::config::Config;
use crate::fault::DiskFault;
use crate::id::{FileIndex, PieceIndex};
use crate::layout::Layout;
use crate::resume::{FileThen, History, ResumeData};
use crate::time::{Duration, Instant};
use crate::view::TorrentState;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// After a failure the wait doubles up to this: a disk that has come back is soon used again.
const LONGEST_RETRY: Duration = Duration::from_secs(600);

/// What a checkpoint under way waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Everything written is brought to stable storage.
    Sync,
    /// The files are looked at.
    Look,
    /// The resume data is written.
    Save,
}

/// What resume data does not hold yet, and since when.
#[derive(Clone, Copy, Debug, Default)]
struct Unsaved {
    /// Pieces, or files.
    since: Option<Instant>,
    /// That should not wait.
    is_urgent: bool,
    /// Verified bytes among them.
    bytes: u64,
    /// Totals.
    totals_since: Option<Instant>,
}

/// How far the resume data of a torrent is.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints {
    /// What was read at the start, later what was saved.
    data: ResumeData,
    /// Totals of former sessions.
    before: History,
    /// The check that is under way may believe it.
    is_believed: bool,
    /// The check has ended, and there is a place for resume data.
    on: bool,
    step: Option<Step>,
    /// What was had when the last sync began.
    claims: Bitfield,
    /// What was had when the last sync began that succeeded.
    stable: Bitfield,
    /// What was had and stood in the files when the look under way began.
    at_look: Bitfield,
    unsaved: Unsaved,
    /// What the step under way will have saved.
    in_step: Unsaved,
    failures: u32,
    retry_at: Instant,
    saves: u32,
    /// How the files looked last time, and which we have changed since: before the look under way, and after it.
    looked: Vec<Option<FileStat>>,
    changed: [BTreeSet<FileIndex>; 2],
    /// Files of which nothing can be said before they are hashed.
    unsure: BTreeSet<FileIndex>,
    /// Since when the torrent runs, and has everything.
    running_since: Option<Instant>,
    complete_since: Option<Instant>,
    interval: Duration,
    most_bytes: u64,
    totals_interval: Duration,
}

impl Checkpoints {
    /// Nothing to be saved yet. `is_believed`: the check that now begins may rely on `data`.
    pub(super) fn new(data: ResumeData, is_believed: bool, config: &Config) -> Self {
        let none = Bitfield::empty(data.have.len());
        Checkpoints {
            before: data.history.clone(),
            data,
            is_believed,
            on: false,
            step: None,
            claims: none.clone(),
            at_look: none.clone(),
            stable: none,
            unsaved: Unsaved::default(),
            in_step: Unsaved::default(),
            failures: 0,
            retry_at: Instant::ZERO,
            saves: 0,
            looked: Vec::new(),
            changed: Default::default(),
            unsure: BTreeSet::new(),
            running_since: None,
            complete_since: None,
            interval: config.checkpoint_interval,
            most_bytes: config.checkpoint_bytes,
            totals_interval: config.totals_interval,
        }
    }

    /// Nothing is saved any more, unless a check begins and ends.
    pub(super) fn rest(&mut self) {
        self.on = false;
    }

    /// Nothing is known of the disk any more: until a check has ended, nothing is saved. (Nothing is under way.) Files whose sync has failed
    /// stay doubtful: what is read of them now may stand nowhere but in memory.
    pub(super) fn forget(&mut self) {
        self.rest();
        self.is_believed = false;
        let none = Bitfield::empty(self.data.have.len());
        (self.claims, self.stable) = (none.clone(), none);
        (self.unsaved, self.in_step) = (Unsaved::default(), Unsaved::default());
    }

    /// The files are at another place. Moved or copied, each is what it was as long as its size and mtime say so; what another program's
    /// resume data said of the folder is not true any more.
    pub(super) fn moved(&mut self) {
        self.data.save_path = None;
    }

    /// The torrent runs from now on.
    pub(super) fn start_clocks(&mut self, now: Instant, complete: bool) {
        self.running_since = Some(now);
        self.complete_since = complete.then_some(now);
    }

    /// The torrent does not run any more.
    pub(super) fn stop_clocks(&mut self, now: Instant) {
        let seconds = |since: Option<Instant>| since.map_or(0, |since| now.since(since).as_secs());
        self.before.active_s += seconds(self.running_since.take());
        self.before.seeding_s += seconds(self.complete_since.take());
    }

    /// How long the torrent was seeded until it last began, and since when it is seeding.
    pub(super) fn seeding_clock(&self) -> (Duration, Option<Instant>) {
        (Duration::from_secs(self.before.seeding_s), self.complete_since)
    }

    /// How long the torrent was seeded.
    pub(super) fn seeded(&self, now: Instant) -> Duration {
        let (before, since) = self.seeding_clock();
        before.saturating_add(since.map_or(Duration::ZERO, |since| now.since(since)))
    }

    /// How often resume data was saved.
    pub(super) fn saves(&self) -> u32 {
        self.saves
    }

    /// What a checkpoint under way waits for.
    pub(super) fn step(&self) -> Option<Step> {
        self.step
    }

    /// Without hashing: whether a piece is had; `None` when that must be found out. `found` is how the files look now.
    pub(super) fn knows(&self, layout: &Layout, piece: PieceIndex, found: &[Option<FileStat>]) -> Option<bool> {
        let is_unchanged = |file: FileIndex| {
            let then = self.data.files.get(file.0 as usize);
            then.is_some_and(|then| *then == file_then(found.get(file.0 as usize).copied().flatten()))
        };
        let mut spans = layout.spans(piece, 0, layout.len_of(piece)).filter(|span| !span.pad);
        (self.is_believed && spans.all(|span| is_unchanged(span.file))).then(|| self.data.have.get(piece))
    }

    /// A piece was verified and written.
    pub(super) fn verified(&mut self, now: Instant, len_bytes: u64) {
        self.unsaved.since.get_or_insert(now);
        self.unsaved.bytes += len_bytes;
    }

    /// Everything is there from now on (the torrent may wait for its turn to seed); when it `came` just now, that is remembered.
    pub(super) fn completed(&mut self, now: Instant, unix_s: u64, came: bool) {
        self.complete_since = self.running_since.map(|_| now);
        if came {
            self.unsaved.since.get_or_insert(now);
            self.unsaved.is_urgent = true;
            self.before.completed_unix_s = unix_s;
        }
    }

    /// Something is missing again.
    pub(super) fn reopened(&mut self, now: Instant) {
        self.before.seeding_s += self.complete_since.take().map_or(0, |since| now.since(since).as_secs());
        self.before.completed_unix_s = 0;
        self.unsaved.since.get_or_insert(now);
    }

    /// A piece is gone.
    pub(super) fn unclaim(&mut self, now: Instant, piece: PieceIndex) {
        self.unsaved.since.get_or_insert(now);
        self.claims.clear(piece);
        self.stable.clear(piece);
    }

    fn is_saved(&self) -> bool {
        self.step.is_none() && self.unsaved.since.is_none() && self.unsaved.totals_since.is_none()
    }

    fn due(&self) -> Option<Instant> {
        let Unsaved { since, is_urgent, bytes, totals_since } = self.unsaved;
        let wait = if is_urgent || bytes >= self.most_bytes { Duration::ZERO } else { self.interval };
        let due = [since.map(|since| since + wait), totals_since.map(|since| since + self.totals_interval)];
        due.into_iter().flatten().min().map(|due| due.max(self.retry_at))
    }

    /// What was to be saved is still to be saved.
    fn take_back(&mut self) {
        let earlier = |a: Option<Instant>, b: Option<Instant>| a.into_iter().chain(b).min();
        let lost = core::mem::take(&mut self.in_step);
        self.unsaved.since = earlier(lost.since, self.unsaved.since);
        self.unsaved.totals_since = earlier(lost.totals_since, self.unsaved.totals_since);
        self.unsaved.bytes += lost.bytes;
        self.unsaved.is_urgent |= lost.is_urgent;
    }
}

fn file_then(stat: Option<FileStat>) -> FileThen {
    stat.map_or(FileThen::Missing, FileThen::There)
}

impl Torrent {
    /// The check has ended with `hashed_bytes` read: from now on checkpoints are made. `prepared` are files that were made or cut.
    pub(super) fn begin_checkpoints(
        &mut self,
        now: Instant,
        shared: &Shared,
        found: Vec<Option<FileStat>>,
        hashed_bytes: u64,
        prepared: BTreeSet<FileIndex>,
    ) {
        let points = &mut self.checkpoints;
        points.on = shared.config.keep_resume;
        points.is_believed = false;
        if points.data.history.added_unix_s == 0 {
            points.before.added_unix_s = shared.unix_s(now);
        }
        let is_known = found.iter().copied().map(file_then).eq(points.data.files.iter().copied());
        points.unsaved = Unsaved::default();
        if is_known && prepared.is_empty() && hashed_bytes == 0 && points.data.have == *self.pieces.have() {
            points.stable = points.data.have.clone();
        } else {
            points.verified(now, hashed_bytes);
        }
        points.looked = found;
        points.changed[0].extend(prepared);
    }

    /// Something is about to be written to this range, or was: a change of its files is ours.
    pub(super) fn note_written(&mut self, piece: PieceIndex, begin: u32, len: u32) {
        let spans = self.metainfo.layout.placed_spans(piece, begin, len, self.parts.of(piece));
        let files = spans.filter(|(span, aside)| !span.pad && aside.is_none()).map(|(span, _)| span.file);
        self.checkpoints.changed[1].extend(files);
    }

    /// These files are about to be made or cut.
    pub(super) fn note_prepared(&mut self, files: impl Iterator<Item = FileIndex>) {
        self.checkpoints.changed[1].extend(files);
    }

    /// The same for the files of a range, wherever it stands so far.
    pub(super) fn note_files_written(&mut self, piece: PieceIndex, begin: u32, len: u32) {
        let files = self.metainfo.layout.spans(piece, begin, len).filter(|span| !span.pad).map(|span| span.file);
        self.checkpoints.changed[1].extend(files);
    }

    /// What was not yet safe may be lost without a word: after a sync has failed, the next one says nothing about what came before.
    pub(super) fn sync_failed(&mut self) {
        let layout = &self.metainfo.layout;
        let doubtful = self.pieces.have().iter_ones_not_in(&self.checkpoints.stable);
        let files = doubtful.flat_map(|piece| layout.spans(piece, 0, layout.len_of(piece))).map(|span| span.file);
        self.checkpoints.unsure.extend(files);
    }

    /// Totals and times up to now.
    fn history(&self, now: Instant) -> History {
        let points = &self.checkpoints;
        let seconds = |since: Option<Instant>| since.map_or(0, |since| now.since(since).as_secs());
        History {
            uploaded_bytes: self.total_uploaded_bytes(),
            downloaded_bytes: self.total_downloaded_bytes(),
            active_s: points.before.active_s + seconds(points.running_since),
            seeding_s: points.before.seeding_s + seconds(points.complete_since),
            ..points.before.clone()
        }
    }

    /// Payload handed to the network, former sessions included.
    pub(super) fn total_uploaded_bytes(&self) -> u64 {
        self.checkpoints.before.uploaded_bytes.saturating_add(self.uploaded.total())
    }

    /// Payload verified, former sessions included.
    pub(super) fn total_downloaded_bytes(&self) -> u64 {
        self.checkpoints.before.downloaded_bytes.saturating_add(self.ledger.verified)
    }

    /// Looks whether the totals have changed, or what it was told. The time of seeding is one of them where it counts.
    pub(super) fn note_totals(&mut self, now: Instant, shared: &Shared) {
        let totals = (self.total_uploaded_bytes(), self.total_downloaded_bytes());
        let saved = &self.checkpoints.data.history;
        let is_told = self.checkpoints.data.paused == self.life.is_paused();
        let time_counts = self.seeding_goals(shared).time.is_some();
        let is_older = time_counts && self.history(now).seeding_s != saved.seeding_s;
        if totals != (saved.uploaded_bytes, saved.downloaded_bytes) || !is_told || is_older {
            self.checkpoints.unsaved.totals_since.get_or_insert(now);
        }
    }

    /// When [`Torrent::checkpoint_when_due`] should be asked again.
    pub(super) fn next_checkpoint(&self) -> Option<Instant> {
        let points = &self.checkpoints;
        // An errand has the disk for itself.
        if !points.on || points.step.is_some() || self.life.has_errands() {
            return None;
        }
        // Until files that are being made or cut look as they will.
        if self.check.under_way().1 > 0 {
            return None;
        }
        // The last one, or the last for a while: at once, but not before the last write.
        let is_writing = || self.pieces.iter_open().any(|(_, open)| !open.is_quiet());
        let since = points.unsaved.since.or(points.unsaved.totals_since);
        match self.state {
            TorrentState::Stopped => since.filter(|_| !is_writing()),
            // Not while the disk refuses.
            _ if self.trouble.is_some() => None,
            _ if self.is_resting() => since.map(|since| since.max(points.retry_at)).filter(|_| !is_writing()),
            _ => points.due(),
        }
    }

    /// Whether a stopped torrent has saved all that there is to save, or has given it up.
    pub(crate) fn is_saved(&self) -> bool {
        !self.checkpoints.on || self.checkpoints.is_saved()
    }

    pub(super) fn checkpoint_when_due(&mut self, now: Instant, shared: &mut Shared) {
        if self.next_checkpoint().is_none_or(|at| at > now) {
            return;
        }
        let points = &mut self.checkpoints;
        points.in_step = core::mem::take(&mut points.unsaved);
        if points.in_step.since.is_none() {
            // Nothing but totals: the files need no look.
            let (have, files) = (points.data.have.clone(), points.data.files.clone());
            return self.save_resume(now, shared, have, files);
        }
        self.checkpoints.step = Some(Step::Sync);
        // All of it stands in the files: that may be claimed once it is safe.
        self.checkpoints.claims = self.standing_in_files();
        shared.submit(self.id, Purpose::Checkpoint(Step::Sync), Operation::Sync { torrent: self.id });
    }

    pub(super) fn handle_checkpoint_synced(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        result: Result<(), DiskFault>,
    ) {
        self.checkpoints.step = None;
        if let Err(fault) = result {
            self.sync_failed();
            self.checkpoints.take_back();
            self.put_off(now, shared);
            // Not only resume data is concerned, but what was downloaded.
            self.troubled(now, shared, fault);
            return;
        }
        let standing = self.standing_in_files();
        let points = &mut self.checkpoints;
        points.stable = points.claims.clone();
        if points.on {
            points.step = Some(Step::Look);
            points.at_look = standing;
            let [before, after] = &mut points.changed;
            before.append(after);
            shared.submit(self.id, Purpose::Checkpoint(Step::Look), Operation::Stat { torrent: self.id });
        }
    }

    pub(super) fn handle_looked(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        stat: Result<Vec<Option<FileStat>>, DiskFault>,
    ) {
        self.checkpoints.step = None;
        let mut found = match stat {
            Ok(found) if self.checkpoints.on => found,
            Ok(_) => return,
            Err(fault) => return self.checkpoint_failed(now, shared, fault),
        };
        self.split_parts_off(&mut found);
        if self.is_running() {
            let standing = self.checkpoints.at_look.clone();
            self.lose(now, shared, &standing, &found);
        }
        let points = &mut self.checkpoints;
        let [before, after] = &mut points.changed;
        for (file, (then, found)) in (0..).map(FileIndex).zip(points.looked.iter().zip(&found)) {
            if then != found && !before.contains(&file) && !after.contains(&file) {
                points.unsure.insert(file);
            }
        }
        before.clear();
        let layout = &self.metainfo.layout;
        let is_safe = |piece: &PieceIndex| {
            self.pieces.have().get(*piece)
                && layout.spans(*piece, 0, layout.len_of(*piece)).filter(|span| !span.pad).all(|span| {
                    let len = found.get(span.file.0 as usize).copied().flatten().map_or(0, |stat| stat.len);
                    len >= span.offset + span.len && !points.unsure.contains(&span.file)
                })
        };
        let mut have = Bitfield::empty(layout.piece_count());
        points.claims.iter_ones().filter(is_safe).for_each(|piece| _ = have.set(piece));
        let is_unsure = |file: usize| points.unsure.contains(&FileIndex(file as u32));
        let then = |(file, stat): (usize, &Option<FileStat>)| match is_unsure(file) {
            true => FileThen::Unknown,
            false => file_then(*stat),
        };
        let files = found.iter().enumerate().map(then).collect();
        points.looked = found;
        self.save_resume(now, shared, have, files);
    }

    fn save_resume(&mut self, now: Instant, shared: &mut Shared, have: Bitfield, files: Vec<FileThen>) {
        let history = self.history(now);
        let points = &mut self.checkpoints;
        points.data.have = have;
        points.data.files = files;
        points.data.history = history;
        points.data.name = Some(self.metainfo.name.clone());
        points.data.paused = self.life.is_paused();
        points.data.file_priority = self.selection.for_resume();
        points.in_step.totals_since = points.unsaved.totals_since.take().or(points.in_step.totals_since);
        points.step = Some(Step::Save);
        let bytes = points.data.encode(&self.metainfo.trackers);
        let operation = Operation::SaveResume { torrent: self.id, bytes };
        shared.submit(self.id, Purpose::Checkpoint(Step::Save), operation);
    }

    pub(super) fn handle_saved(&mut self, now: Instant, shared: &mut Shared, result: Result<(), DiskFault>) {
        self.checkpoints.step = None;
        match result {
            Ok(()) => {
                self.checkpoints.in_step = Unsaved::default();
                self.checkpoints.saves += 1;
                self.checkpoints.failures = 0;
            }
            Err(fault) => self.checkpoint_failed(now, shared, fault),
        }
    }

    fn checkpoint_failed(&mut self, now: Instant, shared: &mut Shared, fault: DiskFault) {
        self.checkpoints.take_back();
        if self.checkpoints.failures == 0 {
            shared.notify(Notice::ResumeTrouble { torrent: self.id, fault });
        }
        self.checkpoints.failures += 1;
        self.put_off(now, shared);
    }

    /// After a failure: later, or when the torrent stops, not at all.
    fn put_off(&mut self, now: Instant, shared: &Shared) {
        let points = &mut self.checkpoints;
        let doubled = shared.config.disk_retry * (1 << points.failures.min(10));
        points.retry_at = now + doubled.min(LONGEST_RETRY);
        points.on &= self.state != TorrentState::Stopped;
    }
}
