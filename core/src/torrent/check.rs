//! What is already on disk: look at the files, believe what resume data knows, hash the other pieces that might be there, then make what is missing.
//!
//! Pieces are hashed in parallel, a bounded number at a time. A piece of which a file is missing or short is not even read.

use super::{Purpose, Shared, Torrent};
use crate::action::{FileStat, Notice, Operation};
use crate::event::Hashed;
use crate::fault::{DiskFault, DiskFaultKind};
use crate::id::{FileIndex, PieceIndex};
use crate::time::Instant;
use alloc::collections::BTreeSet;
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
    /// Truncations and preparations that must end before the torrent runs.
    preparing: u32,
    all_files_exist: bool,
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
            Ok(files) => {
                let wanted = self.metainfo.layout.files().iter().filter(|file| !file.pad).count();
                self.check.all_files_exist = files.iter().flatten().count() >= wanted;
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
            if self.pieces.have().get(piece) || !self.might_be_on_disk(piece) {
                continue;
            }
            let known = self.checkpoints.knows(&self.metainfo.layout, piece, &self.check.files);
            if known == Some(true) {
                self.pieces.set_have(piece);
                self.picker.remove(piece);
            } else if known.is_none() {
                self.check.under_way += 1;
                let (torrent, len) = (self.id, self.metainfo.layout.len_of(piece));
                let operation = Operation::Hash { torrent, piece, begin: 0, len, hash: Default::default(), last: true };
                shared.submit(self.id, Purpose::Check(piece), operation);
            }
        }
        if self.check.next == total && self.check.under_way == 0 {
            self.checked(now, shared);
        }
    }

    fn might_be_on_disk(&self, piece: PieceIndex) -> bool {
        let layout = &self.metainfo.layout;
        layout.spans(piece, 0, layout.len_of(piece)).all(|span| {
            let file = self.check.files.get(span.file.0 as usize).copied().flatten();
            span.pad || file.is_some_and(|file| file.len >= span.offset + span.len)
        })
    }

    pub(super) fn handle_checked(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        piece: PieceIndex,
        hash: Result<Hashed, DiskFault>,
    ) {
        self.check.under_way -= 1;
        self.check.hashed += 1;
        self.check.hashed_bytes += u64::from(self.metainfo.layout.len_of(piece));
        match hash {
            Ok(Hashed::Finished(digest)) if digest == self.metainfo.digest_of(piece) => {
                self.pieces.set_have(piece);
                self.picker.remove(piece);
            }
            // A file that shrank or went away since the look is simply not there.
            Ok(_) => {}
            Err(DiskFault { kind: DiskFaultKind::NotFound | DiskFaultKind::Short, .. }) => {}
            Err(fault) => self.troubled(now, shared, fault),
        }
        self.settle(now, shared);
    }

    /// All pieces were looked at.
    fn checked(&mut self, now: Instant, shared: &mut Shared) {
        shared.notify(Notice::Checked { torrent: self.id, have: self.pieces.have().count() });
        // Nothing to write: also a read-only folder can be seeded from.
        let as_it_should = self.pieces.is_complete() && self.check.all_files_exist && self.oversized_files().is_empty();
        if self.check_only || as_it_should {
            return self.check_over(now, shared);
        }
        self.check.stage = Stage::Preparing;
        for (file, len) in self.oversized_files() {
            self.check.preparing += 1;
            let operation = Operation::Truncate { torrent: self.id, file, len };
            shared.submit(self.id, Purpose::Truncate, operation);
        }
        self.check.preparing += 1;
        shared.submit(self.id, Purpose::Prepare, Operation::Prepare { torrent: self.id });
    }

    fn oversized_files(&self) -> Vec<(FileIndex, u64)> {
        let layout = self.metainfo.layout.files().iter();
        let both = layout.zip(&self.check.files).enumerate();
        both.filter(|(_, (file, stat))| !file.pad && stat.is_some_and(|stat| stat.len > file.len))
            .map(|(i, (file, _))| (FileIndex(i as u32), file.len))
            .collect()
    }

    pub(super) fn handle_prepared(&mut self, now: Instant, shared: &mut Shared, result: Result<(), DiskFault>) {
        self.check.preparing -= 1;
        if let Err(fault) = result {
            self.troubled(now, shared, fault);
        }
        if self.check.preparing == 0 && self.trouble.is_none() {
            self.check_over(now, shared);
        } else {
            self.settle(now, shared);
        }
    }

    /// The torrent may run, and make checkpoints: what was found, hashed and prepared is the first that they tell of.
    fn check_over(&mut self, now: Instant, shared: &mut Shared) {
        self.check.stage = Stage::Over;
        if !self.check_only && !self.life.is_removal() {
            let (found, hashed_bytes) = (core::mem::take(&mut self.check.files), self.check.hashed_bytes);
            let layout = self.metainfo.layout.files().iter();
            let prepared = layout.zip(&found).enumerate().filter(|(_, (file, stat))| match stat {
                Some(stat) => stat.len > file.len,
                None => file.len == 0 && !file.pad,
            });
            let prepared: BTreeSet<FileIndex> = prepared.map(|(i, _)| FileIndex(i as u32)).collect();
            self.begin_checkpoints(now, shared, found, hashed_bytes, prepared);
        }
        self.settle(now, shared);
    }
}
