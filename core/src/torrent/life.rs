//! What a torrent was told to be, and so what it is. Every change of state happens in [`Torrent::settle`].
//!
//! The state is a function of what was told and of how far the torrent is; nothing else ever sets it. From above, the first that applies:
//!
//! | it is | while | peers | trackers |
//! |---|---|---|---|
//! | Stopped | it leaves (shutdown, removal), or has only been checked | none | told `stopped` |
//! | Moving | its files are being moved or renamed, once the disk is quiet | none | as before, unless paused |
//! | Checking | a check was asked for, or the first one is not over and it is not paused | none | as before, unless paused |
//! | Paused | it was told so | none | told `stopped` |
//! | Finished | a seeding goal is reached | none | told `stopped` |
//! | Queued | it has no place among the active ones | none | told `stopped` |
//! | Seeding | everything that is wanted is there, safe and in place | yes | yes |
//! | Troubled | the disk refuses | yes, nothing is asked for | yes |
//! | Downloading | otherwise | yes | yes |
//!
//! | command | changes nothing when | is refused when (always: while it leaves) |
//! |---|---|---|
//! | pause, resume | it is paused, is not (a goal that is reached is waived by a resume of this one torrent) | never |
//! | move in the queue, change of goals | | never |
//! | remove | | never |
//! | re-check | one waits to begin | never |
//! | select files | (while its check is not over: is remembered for its end) | there is no such file |
//! | move, rename | | another one is under way; a name cannot be used |
//! | re-announce, add or replace trackers | (paused: is remembered for the next start) | never |
//!
//! Errands (re-check, move, rename, delete) wait until no operation of the torrent is at the disk, and run one at a time: so no write lands at a
//! place that was left, and no late answer is taken for one of a new check.

use super::check::Check;
use super::{Purpose, Shared, Torrent};
use crate::action::{CloseReason, Notice, Operation, Refusal};
use crate::blame::Blame;
use crate::fault::DiskFault;
use crate::id::{FileIndex, Folder};
use crate::metainfo::NameRules;
use crate::metainfo::names::clean_element;
use crate::picker::Picker;
use crate::pieces::Pieces;
use crate::time::Instant;
use crate::view::{Place, TorrentState};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

/// Why a torrent leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// Everything is shut down.
    Shutdown,
    /// It is removed.
    Removal,
}

/// What wants the disk for itself.
#[derive(Clone, Debug)]
enum Errand {
    Recheck,
    Move(Folder),
    Rename { from: Vec<String>, to: Vec<String> },
    Delete { files: bool },
}

/// What a torrent was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    paused: bool,
    leaving: Option<Leaving>,
    /// At most one of each kind, in the order in which they were asked for.
    errands: VecDeque<Errand>,
    /// The first of them is under way.
    on_errand: bool,
    /// Why something could not be deleted.
    not_deleted: Option<DiskFault>,
}

impl Life {
    pub(super) fn new(paused: bool) -> Self {
        Life { paused, ..Life::default() }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether something wants the disk for itself.
    pub(super) fn has_errands(&self) -> bool {
        !self.errands.is_empty()
    }

    /// Whether the torrent is being removed.
    pub(super) fn is_removal(&self) -> bool {
        self.leaving == Some(Leaving::Removal)
    }

    /// Whether an operation of an errand is at the disk.
    pub(super) fn is_on_errand(&self) -> bool {
        self.on_errand
    }

    #[cfg(test)]
    pub(super) fn set_on_errand(&mut self) {
        self.on_errand = true;
    }

    fn is_moving(&self) -> bool {
        self.errands.iter().any(|errand| matches!(errand, Errand::Move(_) | Errand::Rename { .. }))
    }

    fn is_to_recheck(&self) -> bool {
        self.errands.iter().any(|errand| matches!(errand, Errand::Recheck))
    }
}

impl Torrent {
    /// Be silent.
    pub(crate) fn pause(&mut self, now: Instant, shared: &mut Shared) {
        let was_paused = core::mem::replace(&mut self.life.paused, true);
        self.check.yield_to_pause();
        self.settle(now, shared);
        if !was_paused {
            // Also of a torrent that had taken its leave before, and was asked about since.
            self.end_scrapes(now, shared);
        }
        self.note_totals(now, shared);
    }

    /// Go on; `by_name`: this torrent is meant, and not all that are paused.
    pub(crate) fn resume(&mut self, now: Instant, shared: &mut Shared, by_name: bool) {
        if core::mem::take(&mut self.life.paused) {
            self.ask_disk_again(now);
        } else if by_name && self.goals.reached().is_some() {
            self.goals.waive();
        }
        self.settle(now, shared);
        self.note_totals(now, shared);
    }

    /// Everything is shut down: say goodbye.
    pub(crate) fn stop(&mut self, now: Instant, shared: &mut Shared) {
        self.leave(now, shared, self.life.leaving.unwrap_or(Leaving::Shutdown));
        self.drop_unused_parts(shared);
    }

    /// Say goodbye and be gone.
    pub(crate) fn remove(&mut self, now: Instant, shared: &mut Shared, delete_data: bool) {
        // What it knows is of no use any more, and must not outlive it.
        self.checkpoints.rest();
        self.leave(now, shared, Leaving::Removal);
        if delete_data {
            self.lose_open(shared);
        } else {
            self.drop_unused_parts(shared);
        }
        if delete_data || shared.config.keep_resume {
            self.life.errands.push_back(Errand::Delete { files: delete_data });
            self.run_errands(now, shared);
        }
    }

    fn leave(&mut self, now: Instant, shared: &mut Shared, why: Leaving) {
        // What is under way ends; of the rest only a deletion is still of interest.
        let on_errand = self.life.on_errand;
        let mut begun = (0..).map(|n| n == 0 && on_errand);
        let kept = |errand: &Errand| begun.next().unwrap_or_default() || matches!(errand, Errand::Delete { .. });
        self.life.errands.retain(kept);
        self.life.leaving = Some(why);
        self.settle(now, shared);
        // Pieces that are here are still brought to the disk, unless it refuses; of the others nothing would be kept.
        let disk_refuses = self.trouble.is_some();
        self.lose_held(shared, |open| disk_refuses || !open.is_here());
        self.note_totals(now, shared);
    }

    /// Whether a move, a renaming or a deletion of its files is under way.
    pub(crate) fn is_on_errand(&self) -> bool {
        self.life.is_on_errand()
    }

    /// Whether it was told to leave.
    pub(crate) fn is_leaving(&self) -> bool {
        self.life.leaving.is_some()
    }

    /// Whether it was removed and nothing of it is left anywhere; with the reason why its files are still there, when they should not be.
    pub(crate) fn is_removed(&self, shared: &Shared) -> Option<Option<DiskFault>> {
        let gone = self.life.is_removal()
            && self.is_goodbye_said()
            && self.life.errands.is_empty()
            && shared.purposes_of(self.id).next().is_none();
        gone.then(|| self.life.not_deleted.clone())
    }

    /// Believe nothing and hash everything again.
    pub(crate) fn recheck(&mut self, now: Instant, shared: &mut Shared) {
        if self.life.is_to_recheck() {
            return;
        }
        self.life.errands.push_back(Errand::Recheck);
        self.settle(now, shared);
        self.lose_open(shared);
        self.run_errands(now, shared);
    }

    /// Move the files.
    ///
    /// # Errors
    /// When they are being moved already.
    pub(crate) fn move_to(&mut self, now: Instant, shared: &mut Shared, to: Folder) -> Result<(), Refusal> {
        self.begin_moving(now, shared, Errand::Move(to))
    }

    /// Rename a file or the torrent's folder.
    ///
    /// # Errors
    /// When there is no such file, or the name cannot be used.
    pub(crate) fn rename(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        file: Option<FileIndex>,
        name: &str,
    ) -> Result<(), Refusal> {
        let files = self.metainfo.layout.files();
        let path = match file {
            Some(file) => files.get(file.0 as usize).filter(|file| !file.pad).map(|file| &file.path[..]),
            None => files.iter().find(|file| !file.pad).and_then(|file| file.path.get(..1)),
        };
        let from = path.ok_or(Refusal::NoSuchFile)?.to_vec();
        let name = clean_element(name, NameRules::Portable).ok_or(Refusal::BadName)?;
        let mut to = from.clone();
        if let Some(last) = to.last_mut() {
            *last = name;
        }
        if from != to && self.metainfo.layout.renamed(&from, &to).is_none() {
            return Err(Refusal::NameTaken);
        }
        self.begin_moving(now, shared, Errand::Rename { from, to })
    }

    fn begin_moving(&mut self, now: Instant, shared: &mut Shared, errand: Errand) -> Result<(), Refusal> {
        if self.life.is_moving() {
            return Err(Refusal::Moving);
        }
        self.life.errands.push_back(errand);
        self.settle(now, shared);
        self.run_errands(now, shared);
        Ok(())
    }

    /// Begins what waits for a quiet disk, when it is.
    pub(super) fn run_errands(&mut self, now: Instant, shared: &mut Shared) {
        let torrent = self.id;
        let is_quiet = || !shared.purposes_of(torrent).any(|purpose| !matches!(purpose, Purpose::Announce(_)));
        let Some(errand) = self.life.errands.front().filter(|_| is_quiet()).cloned() else { return };
        let operation = match errand {
            Errand::Recheck => {
                self.life.errands.pop_front();
                self.forget_all(now);
                self.settle(now, shared);
                return self.run_errands(now, shared);
            }
            Errand::Move(to) => Operation::Move { torrent, to },
            Errand::Rename { from, to } => Operation::Rename { torrent, from, to },
            Errand::Delete { files } => {
                if files {
                    // From now on none of it can be relied upon.
                    self.forget_all(now);
                }
                Operation::Delete { torrent, files }
            }
        };
        self.life.on_errand = true;
        shared.submit(torrent, Purpose::Errand, operation);
    }

    /// The disk has carried an errand out.
    pub(super) fn handle_errand_done(&mut self, now: Instant, shared: &mut Shared, result: Result<(), DiskFault>) {
        self.life.on_errand = false;
        let torrent = self.id;
        match (self.life.errands.pop_front(), result) {
            (Some(Errand::Delete { .. }), result) => self.life.not_deleted = result.err(),
            (Some(Errand::Move(to)), Ok(())) => {
                self.checkpoints.moved();
                shared.notify(Notice::Moved { torrent, to });
            }
            (Some(Errand::Rename { from, to }), Ok(())) => {
                if let Some(layout) = self.metainfo.layout.renamed(&from, &to) {
                    self.metainfo.layout = layout.clone();
                    self.selection.set_layout(layout.clone());
                    self.pieces.set_layout(layout);
                }
                shared.notify(Notice::Renamed { torrent, from, to });
            }
            (_, Err(fault)) => shared.notify(Notice::NotMoved { torrent, fault }),
            (Some(Errand::Recheck) | None, Ok(())) => {}
        }
        self.settle(now, shared);
    }

    /// Nothing is known of the disk any more.
    fn forget_all(&mut self, now: Instant) {
        let layout = self.metainfo.layout.clone();
        self.picker = Picker::new(layout.piece_count());
        self.pieces = Pieces::new(layout);
        // Whoever was suspected is gone, and what failed may be there.
        self.blame = Blame::default();
        self.check = Check::new(self.life.paused);
        self.losses.begin_anew();
        self.checkpoints.forget();
        self.trouble = None;
        (self.finish_told, self.complete_announced) = (false, false);
        self.goals.reopened();
        // Where pieces stand the driver still knows; the check finds it out again, and what is wanted is wanted still.
        self.follow_selection();
        self.forget_served();
        // Who had everything was of no use until now.
        self.candidates.revive(now);
    }

    /// What it is to be: the first line of the table above that applies.
    pub(super) fn wanted_state(&self, shared: &Shared) -> TorrentState {
        match () {
            () if self.life.leaving.is_some() => TorrentState::Stopped,
            () if self.life.is_moving() => TorrentState::Moving,
            () if self.life.is_to_recheck() => TorrentState::Checking,
            () if !self.check.is_over() && (!self.life.paused || self.check.is_forced()) => TorrentState::Checking,
            () if self.life.paused => TorrentState::Paused,
            () if self.check_only => TorrentState::Stopped,
            () if let Some(goal) = self.goals.reached() => TorrentState::Finished(goal),
            () if !shared.queue.has_place(self.id) => TorrentState::Queued,
            () if self.is_in_place() && self.finish_told => TorrentState::Seeding,
            () if self.trouble.is_some() => TorrentState::Troubled,
            () => TorrentState::Downloading,
        }
    }

    /// What it needs a place in the queue for.
    pub(super) fn needed_place(&self) -> Option<Place> {
        let is_called = self.life.leaving.is_none() && !self.life.paused && !self.check_only;
        let is_checked = self.check.is_over() && !self.life.is_to_recheck();
        let needs = is_called && is_checked && self.goals.reached().is_none();
        needs.then(|| if self.has_all() { Place::Seed } else { Place::Download })
    }

    /// Whether everything that is wanted is there, and either safe or never touched. What is being put in its place is there.
    pub(super) fn has_all(&self) -> bool {
        self.pieces.is_finished() && (self.finish_told || !self.downloaded_any)
    }

    /// Something was told, or has ended: becomes what it is to be, and draws the consequences.
    pub(crate) fn settle(&mut self, now: Instant, shared: &mut Shared) {
        let (was, was_running) = (self.state, self.is_running());
        let needed = self.needed_place();
        let has_place = shared.queue.ask(self.id, needed);
        self.state = self.wanted_state(shared);
        if was_running && !self.is_running() {
            self.fall_silent(now, shared);
        }
        if was == TorrentState::Queued && self.is_running() {
            self.ask_disk_again(now);
        }
        let is_over = self.life.paused || self.life.leaving.is_some() || self.goals.reached().is_some();
        if is_over || needed.is_some() && !has_place {
            self.stop_announcing(now, shared);
        }
        match self.state {
            TorrentState::Checking if self.life.errands.is_empty() => self.continue_check(now, shared),
            _ if self.is_running() && !was_running => self.run(now, shared),
            // What was found whole is known to be so, also when it is not its turn to seed.
            TorrentState::Queued if self.has_all() && self.is_in_place() => self.completed(now, shared),
            TorrentState::Finished(goal) if self.state != was => {
                self.completed(now, shared);
                if self.goals.tell() {
                    shared.notify(Notice::SeededEnough { torrent: self.id, goal });
                }
            }
            _ => {}
        }
    }

    /// Who goes on wants to know now whether the disk works again.
    fn ask_disk_again(&mut self, now: Instant) {
        if let Some((_, at)) = &mut self.trouble {
            *at = now;
        }
    }

    /// Nothing goes over the network any more. What is here is brought to the disk, so that no buffer is kept from others; unless all is to be lost.
    fn fall_silent(&mut self, now: Instant, shared: &mut Shared) {
        self.close_all(now, shared, self.why_silent());
        shared.starved.remove(&self.id);
        self.blame.stop();
        self.checkpoints.stop_clocks(now);
        if self.is_resting() || self.state == TorrentState::Moving {
            self.store_all(shared, true);
        }
        if self.is_resting() {
            self.note_totals(now, shared);
        }
    }

    /// What a peer is told that cannot stay.
    pub(super) fn why_silent(&self) -> CloseReason {
        match self.state {
            TorrentState::Stopped => CloseReason::Stopped,
            TorrentState::Paused => CloseReason::Paused,
            TorrentState::Queued => CloseReason::Queued,
            TorrentState::Finished(_) => CloseReason::SeededEnough,
            // A peer that was told "nothing yet" would need a `have` for each piece that the check finds; one that is refused comes back.
            _ => CloseReason::NotReady,
        }
    }

    /// The disk is ready: find peers.
    fn run(&mut self, now: Instant, shared: &mut Shared) {
        self.upload_only_told = self.pieces.is_finished();
        self.checkpoints.start_clocks(now, self.finish_told);
        self.start_announcing(now, shared);
        if self.trouble.is_none() {
            self.prepare_again(shared);
        }
        self.move_parts(shared);
        self.serve_readers(shared);
        if self.downloaded_any {
            self.finish_when_complete(shared);
        } else if self.is_in_place() {
            // Nothing was written, so there is nothing to bring to stable storage.
            self.completed(now, shared);
        }
        self.fill_dials(now, shared);
    }
}
