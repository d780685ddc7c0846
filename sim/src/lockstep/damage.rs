//! What breaks a disk behind the back of whoever uses it: rot, writes gone astray, other programs. The engine cannot know until it reads.
//!
//! It remembers which pieces may be claimed although they are wrong, until the next check of the disk must have found them out.

use super::disk::{Disk, fault};
use super::faults::Fault;
use sameseed_core::action::Operation;
use sameseed_core::event::Outcome;
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::id::PieceIndex;
use sameseed_core::resume::{FileThen, ResumeData};
use sameseed_core::rng::Rng;
use std::collections::BTreeSet;

/// The most bytes that another program overwrites.
const MAX_CHANGED: u64 = 40_000;
/// A file that is too long is so by at most this.
const MAX_EXCESS: u64 = 100_000;

/// What was done to a disk.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// Pieces that were broken since the last check.
    pub(super) unnoticed: BTreeSet<PieceIndex>,
    /// Pieces that were broken at any time and are not right again: what a check finds out is forgotten with older resume data.
    broken: BTreeSet<PieceIndex>,
    /// Those of them that the check under way must find out.
    pub(super) doubted: Option<BTreeSet<PieceIndex>>,
    /// It held wrong bytes as right ones at some time: its host may have told lies.
    pub(super) ever: bool,
    /// Every operation fails like this.
    pub(super) dead: Option<DiskFaultKind>,
    /// Nothing can be read.
    pub(super) unreadable: bool,
}

impl Damage {
    /// Whether anything can be read at all.
    pub(super) fn readable(&self) -> Result<(), DiskFault> {
        match self.dead.or(self.unreadable.then_some(DiskFaultKind::Io)) {
            Some(kind) => Err(fault(kind)),
            None => Ok(()),
        }
    }
}

impl Disk {
    /// Whether a host may tell others that it has this piece: it is right, or was broken unnoticed.
    pub(super) fn may_be_claimed(&self, piece: PieceIndex) -> bool {
        self.damage.unnoticed.contains(&piece) || self.is_piece_right(piece)
    }

    /// Whether a host may write down that it has this piece: it is safe, or was broken unnoticed.
    pub(super) fn may_be_saved(&self, piece: PieceIndex) -> bool {
        self.damage.unnoticed.contains(&piece) || self.is_piece_safe(piece)
    }

    fn note_damage(&mut self, from: u64, len: u64) {
        let layout = self.content.layout();
        let piece_len = u64::from(layout.piece_len());
        let pieces = (from / piece_len..(from + len).div_ceil(piece_len)).map(|n| PieceIndex(n as u32));
        let pieces = BTreeSet::from_iter(pieces);
        // A check may have read them before.
        self.damage.doubted.iter_mut().for_each(|doubted| doubted.retain(|piece| !pieces.contains(piece)));
        self.damage.broken.extend(pieces.clone());
        self.damage.unnoticed.extend(pieces);
        self.damage.ever = true;
    }

    /// Writes to the medium itself: a crash does not take it back.
    fn engrave(&mut self, at: u64, data: &[u8]) {
        for _ in 0..2 {
            let lens = self.now.lens.clone();
            self.write(at, data);
            self.now.lens = lens;
            std::mem::swap(&mut self.now, &mut self.synced);
        }
    }

    fn set_len(&mut self, file: usize, len: Option<u64>) {
        self.now.lens[file] = len;
        self.synced.lens[file] = len;
        let spot = self.content.layout().files()[file].clone();
        self.show_change(spot.offset, spot.len);
    }

    /// Another program's change shows in the mtime, also after a crash.
    fn show_change(&mut self, from: u64, len: u64) {
        self.note_change(from, len);
        self.synced.mtimes.clone_from(&self.now.mtimes);
    }

    /// At the next start all damage is found out, except where resume data claims the piece and no size or mtime tells of the damage.
    pub(super) fn forget_what_shows(&mut self) {
        let info_hash = self.content.info_hash();
        let layout = self.content.layout();
        let resume = self.resume.as_ref().and_then(|bytes| ResumeData::parse(bytes, info_hash, layout).ok());
        let stats = self.stats();
        let is_believed = |piece: &PieceIndex| {
            resume.as_ref().is_some_and(|resume| {
                let is_unchanged =
                    |file: usize| resume.files[file] == stats[file].map_or(FileThen::Missing, FileThen::There);
                let mut spans = layout.spans(*piece, 0, layout.len_of(*piece));
                resume.have.get(*piece) && spans.all(|span| is_unchanged(span.file.0 as usize))
            })
        };
        let mut broken = std::mem::take(&mut self.damage.broken);
        broken.retain(|piece| !self.is_piece_right(*piece));
        self.damage.unnoticed = broken.iter().copied().filter(is_believed).collect();
        self.damage.broken = broken;
    }

    /// The resume file is not what was saved last; `false` when there is none, or none of that kind.
    pub(super) fn spoil_resume(&mut self, fault: Fault, rng: &mut Rng) -> bool {
        let Some(bytes) = self.resume.as_mut().filter(|bytes| !bytes.is_empty()) else { return false };
        match fault {
            Fault::ResumeLost => self.resume = None,
            Fault::ResumeTorn => bytes.truncate(rng.below(bytes.len() as u64) as usize),
            Fault::ResumeRot => {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << rng.below(8);
            }
            Fault::ResumeOld => {
                if self.former_resumes.is_empty() {
                    return false;
                }
                let n = rng.below(self.former_resumes.len() as u64) as usize;
                *bytes = self.former_resumes[n].clone();
            }
            _ => {
                // Another torrent's of the same size.
                let key = b"9:info-hash20:";
                let at = bytes.windows(key.len()).position(|window| window == key);
                // A torn file may end just there.
                let Some(byte) = at.and_then(|at| bytes.get_mut(at + key.len())) else { return false };
                *byte ^= 1;
            }
        }
        true
    }

    /// Bytes of a stored piece change by themselves; `false` when no piece is stored.
    pub(super) fn rot(&mut self, rng: &mut Rng) -> bool {
        let layout = self.content.layout();
        let right = (0..layout.piece_count()).map(PieceIndex).filter(|piece| self.is_piece_right(*piece));
        let right: Vec<PieceIndex> = right.collect();
        if right.is_empty() {
            return false;
        }
        let piece = right[rng.below(right.len() as u64) as usize];
        let at = layout.start_of(piece) + rng.below(u64::from(layout.len_of(piece)));
        let byte = self.bytes(at, 1)[0] ^ (1 << rng.below(8));
        self.engrave(at, &[byte]);
        self.note_damage(at, 1);
        true
    }

    /// Carries out a write that is said to succeed, and goes elsewhere.
    pub(super) fn run_astray(&mut self, operation: Operation, rng: &mut Rng) -> Outcome {
        let Operation::Absorb { piece, begin, blocks, .. } = &operation else {
            return self.run(operation, None, rng);
        };
        if !self.parts.of(*piece).is_empty() {
            // What stands in two places is not sent astray.
            return self.run(operation, None, rng);
        }
        let data: Vec<u8> = blocks.iter().flat_map(|block| block.iter()).copied().collect();
        let layout = self.content.layout();
        let (at, to) = (layout.start_of(*piece) + u64::from(*begin), rng.below(layout.total_len()));
        let old = self.bytes(at, data.len() as u64);
        let outcome = self.run(operation, None, rng);
        if matches!(outcome, Outcome::Absorb { written: Ok(()), .. }) {
            self.misdirect(at, &old, to, &data);
        }
        outcome
    }

    /// `data`, just written to `at`, where `old` stood, has gone to `to`.
    fn misdirect(&mut self, at: u64, old: &[u8], to: u64, data: &[u8]) {
        let len = data.len() as u64;
        self.journal.pop();
        self.write(at, old);
        self.journal.push((at, len, Some(old.to_vec())));
        let data = &data[..len.min(self.content.layout().total_len() - to) as usize];
        let lens = self.now.lens.clone();
        self.write(to, data);
        self.now.lens = lens;
        self.journal.push((to, data.len() as u64, Some(data.to_vec())));
        self.note_damage(at, len);
        self.note_damage(to, data.len() as u64);
    }

    /// One of the files that exist and are not empty.
    fn any_file(&self, rng: &mut Rng) -> Option<usize> {
        let lens = self.now.lens.iter().enumerate();
        let files: Vec<usize> = lens.filter(|(_, len)| len.is_some_and(|len| len > 0)).map(|(file, _)| file).collect();
        (!files.is_empty()).then(|| files[rng.below(files.len() as u64) as usize])
    }

    /// Another program writes into a file; `false` when there is none.
    pub(super) fn scribble(&mut self, rng: &mut Rng) -> bool {
        let Some(file) = self.any_file(rng) else { return false };
        let spot = &self.content.layout().files()[file];
        let have = self.now.lens[file].unwrap_or(0).min(spot.len);
        let from = rng.below(have);
        let (at, len) = (spot.offset + from, (1 + rng.below(MAX_CHANGED)).min(have - from));
        let mut bytes = vec![0; len as usize];
        rng.fill(&mut bytes);
        self.engrave(at, &bytes);
        self.show_change(at, len);
        self.note_damage(at, len);
        true
    }

    /// Another program cuts a file, or with `gone` deletes it; `false` when there is none.
    pub(super) fn cut_file(&mut self, gone: bool, rng: &mut Rng) -> bool {
        let Some(file) = self.any_file(rng) else { return false };
        let spot = self.content.layout().files()[file].clone();
        let have = self.now.lens[file].unwrap_or(0).min(spot.len);
        let left = if gone { 0 } else { rng.below(have) };
        self.engrave(spot.offset + left, &vec![0; (spot.len - left) as usize]);
        self.set_len(file, (!gone).then_some(left));
        self.note_damage(spot.offset + left, spot.len - left);
        true
    }

    /// A file is longer than it should be.
    pub(super) fn lengthen(&mut self, rng: &mut Rng) {
        let file = rng.below(self.now.lens.len() as u64) as usize;
        let len = self.content.layout().files()[file].len + 1 + rng.below(MAX_EXCESS);
        self.set_len(file, Some(len));
    }

    /// Files of other contents stand where ours should, or part of them is ours.
    pub(super) fn litter(&mut self, rng: &mut Rng) {
        let layout = self.content.layout();
        let (files, total) = (layout.files().to_vec(), layout.total_len());
        for (file, spot) in files.iter().enumerate() {
            self.set_len(file, Some(spot.len));
        }
        let from = rng.below(total);
        let mut bytes = vec![0; (1 + rng.below(total - from)) as usize];
        rng.fill(&mut bytes);
        self.engrave(from, &bytes);
    }

    /// What stands there at the start was always there: nobody is deceived.
    pub(super) fn forget_damage(&mut self) {
        self.damage = Damage::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content;
    use crate::lockstep::content::Content;
    use crate::lockstep::disk::Crash;
    use sameseed_core::rng::Stream;
    use std::rc::Rc;

    fn disk(full: bool) -> (Disk, Rng) {
        let content = Content::new(&content::torrent("damage", &[3000, 0, 5000], 1000));
        (Disk::new(Rc::new(content), full), Rng::new(&[3; 32], Stream::Choker, 0))
    }

    fn wrong(disk: &Disk) -> usize {
        (0..8).filter(|piece| !disk.is_piece_right(PieceIndex(*piece))).count()
    }

    #[test]
    fn damage_excuses_exactly_the_pieces_that_it_breaks_until_the_next_check() {
        let (mut disk, mut rng) = disk(true);
        assert!(disk.rot(&mut rng));
        assert_eq!((wrong(&disk), disk.damage.unnoticed.len()), (1, 1));
        assert!((0..8).all(|piece| disk.may_be_claimed(PieceIndex(piece))));
        disk.crash(Crash::Torn, &mut rng);
        assert_eq!(wrong(&disk), 1, "a crash heals nothing");
        assert!(!(0..8).all(|piece| disk.may_be_claimed(PieceIndex(piece))));
    }

    #[test]
    fn a_deleted_file_is_gone_and_only_its_pieces_are_wrong() {
        for gone in [false, true] {
            let (mut disk, mut rng) = disk(true);
            assert!(disk.cut_file(gone, &mut rng));
            let short = disk.now.lens.iter().zip([3000, 0, 5000]).filter(|(len, full)| **len != Some(*full));
            assert_eq!(short.count(), 1);
            assert!((0..8).all(|piece| disk.may_be_claimed(PieceIndex(piece))) && wrong(&disk) > 0);
            assert_eq!(disk.now.lens.contains(&None), gone);
        }
    }

    #[test]
    fn nothing_can_rot_on_an_empty_disk() {
        let (mut disk, mut rng) = disk(false);
        assert!(!disk.rot(&mut rng) && !disk.scribble(&mut rng) && !disk.cut_file(true, &mut rng));
    }

    #[test]
    fn a_write_gone_astray_leaves_what_stood_there() {
        let (mut disk, mut rng) = disk(false);
        let right = disk.content.range(0, 1000).to_vec();
        let torrent = sameseed_core::id::TorrentId(1);
        disk.write(0, &right);
        disk.journal.push((0, 1000, None));
        disk.misdirect(0, &[0; 1000], 7500, &right);
        assert!(!disk.is_piece_right(PieceIndex(0)) && disk.may_be_claimed(PieceIndex(0)));
        assert_eq!(disk.bytes(7500, 500), right[..500]);
        disk.run(Operation::Sync { torrent }, None, &mut rng);
        disk.crash(Crash::Lost, &mut rng);
        assert!(!disk.may_be_claimed(PieceIndex(0)));
    }
}
