//! What is already on disk: look at the files, believe what resume data knows, hash the other pieces that might be there, then make what is missing.
//!
//! Pieces are hashed in parallel, a bounded number at a time. A piece of which a file is missing or short is not even read.

use super::parts::Ranges;
use super::{Purpose, Shared, Torrent};
use crate::action::{FileStat, Notice, Operation};
use crate::event::Hashed;
use crate::fault::{DiskFault, DiskFaultKind};
use crate::id::{FileIndex, PieceIndex};
use crate::selection::Priority;
use crate::time::Instant;
use crate::view::TorrentState;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// How far the check is.
#[derive(Clone, Debug, Default)]
pub(super) struct Check {
    stage: Stage,
    /// It was asked for, and runs also while the torrent is paused.
    forced: bool,
    files: Vec<Option<FileStat>>,
    next: u32,
    under_way: u32,
    /// Pieces read and hashed, and their bytes.
    hashed: u32,
    hashed_bytes: u64,
    /// Truncations, preparations and removals that must end before the torrent runs.
    preparing: u32,
    /// A preparation failed; it is tried again when the disk is.
    unprepared: bool,
    /// Where else a piece that is being hashed may stand.
    elsewhere: BTreeMap<PieceIndex, Ranges>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// To begin.
    #[default]
    Due,
    /// The look at the files is under way.
    Looking,
    /// Pieces are hashed.
    Hashing,
    /// What is missing is made.
    Preparing,
    /// The torrent may run.
    Over,
}

impl Check {
    /// One that is to begin; a `forced` one runs also while the torrent is paused.
    pub(super) fn new(forced: bool) -> Self {
        Check { forced, ..Check::default() }
    }

    /// Whether it runs also while the torrent is paused.
    pub(super) fn is_forced(&self) -> bool {
        self.forced
    }

    /// It runs only as long as the torrent is not paused.
    pub(super) fn yield_to_pause(&mut self) {
        self.forced = false;
    }

    /// Whether the torrent may run.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether operations are under way.
    pub(super) fn is_busy(&self) -> bool {
        self.stage == Stage::Looking || self.under_way + self.preparing > 0
    }

    /// Whether all pieces were looked at.
    pub(super) fn has_looked(&self) -> bool {
        matches!(self.stage, Stage::Preparing | Stage::Over)
    }

    /// Whether nothing is being prepared, nor must be.
    pub(super) fn is_prepared(&self) -> bool {
        self.preparing == 0 && !self.unprepared
    }

    /// A preparation begins.
    pub(super) fn note_preparing(&mut self) {
        self.preparing += 1;
    }

    /// Pieces being hashed, and preparations.
    pub(super) fn under_way(&self) -> (u32, u32) {
        (self.under_way, self.preparing)
    }

    /// From the beginning: the disk has failed. What was found stays found.
    pub(super) fn begin_anew(&mut self) {
        *self = Check::new(self.forced);
    }

    /// Pieces looked at.
    pub(super) fn checked(&self) -> u32 {
        self.next - self.under_way
    }

    /// Of those, pieces that were read.
    pub(super) fn hashed(&self) -> u32 {
        self.hashed
    }
}

impl Torrent {
    /// Begins the check, or goes on where a pause stopped it.
    pub(super) fn continue_check(&mut self, now: Instant, shared: &mut Shared) {
        match self.check.stage {
            // First the disk must work again.
            _ if self.trouble.is_some() => {}
            Stage::Due => {
                self.check.stage = Stage::Looking;
                shared.submit(self.id, Purpose::Stat, Operation::Stat { torrent: self.id });
            }
            Stage::Hashing => self.check_more(now, shared),
            Stage::Looking | Stage::Preparing | Stage::Over => {}
        }
    }

    pub(super) fn handle_stat(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        stat: Result<Vec<Option<FileStat>>, DiskFault>,
    ) {
        match stat {
            Ok(mut files) => {
                self.parts.exists = self.split_parts_off(&mut files).is_some();
                self.check.files = files;
                self.check.stage = Stage::Hashing;
                self.settle(now, shared);
            }
            Err(fault) => {
                self.check.stage = Stage::Due;
                self.troubled(now, shared, fault);
            }
        }
    }

    fn check_more(&mut self, now: Instant, shared: &mut Shared) {
        let total = self.metainfo.layout.piece_count();
        while self.check.next < total && (self.check.under_way as usize) < shared.config.check_parallelism {
            let piece = PieceIndex(self.check.next);
            self.check.next += 1;
            if self.pieces.have().get(piece) {
                continue;
            }
            let mut places = self.places_on_disk(piece).into_iter();
            let Some(first) = places.next() else { continue };
            match self.checkpoints.knows(&self.metainfo.layout, piece, &self.check.files) {
                // It stands in the files: of what stands in the part file nothing is claimed.
                Some(true) if first.is_empty() => {
                    self.place(shared, piece, first);
                    self.pieces.set_have(piece);
                    self.picker.remove(piece);
                    continue;
                }
                Some(false) if !self.may_stand_aside(piece) => continue,
                _ => {}
            }
            if let Some(second) = places.next() {
                self.check.elsewhere.insert(piece, second);
            }
            self.check.under_way += 1;
            self.check_at(shared, piece, first);
        }
        if self.check.next == total && self.check.under_way == 0 {
            self.checked(now, shared);
        }
    }

    /// Whether something of a piece may stand in the part file, whatever the files look like: only what crosses from one file into another.
    fn may_stand_aside(&self, piece: PieceIndex) -> bool {
        self.parts.exists && self.ranges(piece, |_, _| true).len() > 1
    }

    fn check_at(&mut self, shared: &mut Shared, piece: PieceIndex, in_parts: Ranges) {
        self.place(shared, piece, in_parts);
        let (torrent, len) = (self.id, self.metainfo.layout.len_of(piece));
        let operation = Operation::Hash { torrent, piece, begin: 0, len, hash: Default::default(), last: true };
        shared.submit(self.id, Purpose::Check(piece), operation);
    }

    /// Where a piece might stand, told by what of it would be in the part file: in the files as far as they reach, or in those of them that are
    /// selected. Not in the part file alone: it holds what lies beside files, and may seem as long as the torrent.
    fn places_on_disk(&self, piece: PieceIndex) -> Vec<Ranges> {
        let reaches =
            |file: usize, end: u64| self.check.files.get(file).copied().flatten().is_some_and(|f| f.len >= end);
        let beyond = self.ranges(piece, |file, end| !reaches(file, end));
        if !self.parts.exists || beyond.is_empty() && self.selection.is_usual() {
            return if beyond.is_empty() { vec![beyond] } else { Vec::new() };
        }
        let skipped =
            self.ranges(piece, |file, end| !reaches(file, end) || self.selection.of_index(file) == Priority::Skip);
        let all = self.ranges(piece, |_, _| true);
        let mut places = vec![beyond, skipped];
        places.dedup();
        places.retain(|place| *place != all || all.is_empty());
        places
    }

    pub(super) fn handle_checked(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        piece: PieceIndex,
        hash: Result<Hashed, DiskFault>,
    ) {
        let elsewhere = self.check.elsewhere.remove(&piece);
        match hash {
            Ok(Hashed::Finished { digest, expected }) if digest == expected => {
                self.pieces.set_have(piece);
                self.picker.remove(piece);
            }
            // A file that shrank or went away since the look is simply not there.
            Ok(_) | Err(DiskFault { kind: DiskFaultKind::NotFound | DiskFaultKind::Short, .. }) => {
                if let Some(second) = elsewhere.filter(|_| !self.is_leaving()) {
                    self.check_at(shared, piece, second);
                    return;
                }
            }
            Err(fault) => self.troubled(now, shared, fault),
        }
        self.check.under_way -= 1;
        self.check.hashed += 1;
        self.check.hashed_bytes += u64::from(self.metainfo.layout.len_of(piece));
        self.settle(now, shared);
    }

    /// All pieces were looked at.
    fn checked(&mut self, now: Instant, shared: &mut Shared) {
        self.check.stage = Stage::Preparing;
        shared.notify(Notice::Checked { torrent: self.id, have: self.pieces.have().count() });
        if self.check_only {
            return self.check_over(now, shared);
        }
        self.drop_unused_parts(shared);
        // Nothing to write: also a read-only folder can be seeded from.
        let as_it_should = self.pieces.is_finished() && self.all_files_exist() && self.oversized_files().is_empty();
        if self.check.preparing == 0 && as_it_should {
            return self.check_over(now, shared);
        }
        let files = self.selected_files();
        self.prepare(shared, files);
    }

    /// Whether every file that is wanted was there at the look.
    fn all_files_exist(&self) -> bool {
        let both = self.metainfo.layout.files().iter().zip(&self.check.files);
        both.enumerate().all(|(i, (file, stat))| file.pad || stat.is_some() || !self.is_selected(FileIndex(i as u32)))
    }

    fn selected_files(&self) -> Vec<FileIndex> {
        let files = (0..self.metainfo.layout.files().len() as u32).map(FileIndex);
        files.filter(|file| self.is_selected(*file)).collect()
    }

    /// Files are selected that were not before.
    pub(super) fn prepare_added(&mut self, shared: &mut Shared, files: Vec<FileIndex>) {
        if !self.check.has_looked() || files.is_empty() {
            return;
        }
        if self.is_running() || self.state == TorrentState::Checking && !self.life.has_errands() {
            self.prepare(shared, files);
        } else {
            // An errand has the disk for itself, and who is paused leaves it alone.
            self.check.unprepared = true;
        }
    }

    /// The disk works again, or the torrent goes on.
    pub(super) fn prepare_again(&mut self, shared: &mut Shared) {
        if core::mem::take(&mut self.check.unprepared) {
            let files = self.selected_files();
            self.prepare(shared, files);
        }
    }

    /// Cuts what is too long, and makes folders and empty files.
    fn prepare(&mut self, shared: &mut Shared, files: Vec<FileIndex>) {
        let is_empty = |file: &FileIndex| self.metainfo.layout.files().get(file.0 as usize).is_some_and(|f| f.len == 0);
        let made: Vec<FileIndex> = files.iter().copied().filter(is_empty).collect();
        self.note_prepared(made.into_iter());
        for (file, len) in self.oversized_files().into_iter().filter(|(file, _)| files.contains(file)) {
            self.note_prepared([file].into_iter());
            self.check.preparing += 1;
            let operation = Operation::Truncate { torrent: self.id, file, len };
            shared.submit(self.id, Purpose::Truncate, operation);
        }
        self.check.preparing += 1;
        shared.submit(self.id, Purpose::Prepare, Operation::Prepare { torrent: self.id, files });
    }

    fn oversized_files(&self) -> Vec<(FileIndex, u64)> {
        let layout = self.metainfo.layout.files().iter();
        let both = layout.zip(&self.check.files).enumerate();
        both.filter(|(i, _)| self.is_selected(FileIndex(*i as u32)))
            .filter(|(_, (file, stat))| !file.pad && stat.is_some_and(|stat| stat.len > file.len))
            .map(|(i, (file, _))| (FileIndex(i as u32), file.len))
            .collect()
    }

    pub(super) fn handle_prepared(&mut self, now: Instant, shared: &mut Shared, result: Result<(), DiskFault>) {
        self.check.preparing -= 1;
        if let Err(fault) = result {
            // A check prepares everything again when it begins anew.
            self.check.unprepared = self.check.is_over();
            self.troubled(now, shared, fault);
        }
        if self.check.preparing == 0 && self.trouble.is_none() {
            if self.check.stage == Stage::Preparing {
                return self.check_over(now, shared);
            }
            self.settle(now, shared);
            self.finish_when_complete(shared);
        } else {
            self.settle(now, shared);
        }
    }

    pub(super) fn is_selected(&self, file: FileIndex) -> bool {
        self.selection.of_file(file) != Priority::Skip
    }

    /// The torrent may run, and make checkpoints: what was found, hashed and prepared is the first that they tell of.
    fn check_over(&mut self, now: Instant, shared: &mut Shared) {
        self.check.stage = Stage::Over;
        if !self.check_only && !self.life.is_removal() {
            let (found, hashed_bytes) = (self.check.files.clone(), self.check.hashed_bytes);
            let layout = self.metainfo.layout.files().iter();
            let selected = layout.zip(&found).enumerate().filter(|(i, _)| self.is_selected(FileIndex(*i as u32)));
            let prepared = selected.filter(|(_, (file, stat))| match stat {
                Some(stat) => stat.len > file.len,
                None => file.len == 0 && !file.pad,
            });
            let prepared: BTreeSet<FileIndex> = prepared.map(|(i, _)| FileIndex(i as u32)).collect();
            self.begin_checkpoints(now, shared, found, hashed_bytes, prepared);
        }
        // Before anybody is told that it begins.
        self.judge_goals(now, shared);
        self.settle(now, shared);
    }
}
