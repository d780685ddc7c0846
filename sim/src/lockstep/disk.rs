//! A disk in memory. It stores which sectors hold the formula's bytes, and the bytes of those that do not, so that a swarm costs little.
//!
//! A crash keeps what was synced; of the writes since, each is kept, lost, or torn at sectors.

use super::bytes::Bytes;
use super::content::{Content, equal};
use super::damage::Damage;
use super::parts::Parts;
use sameseed_core::action::{FileStat, Operation};
use sameseed_core::block::Block;
use sameseed_core::event::{Hashed, Outcome};
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::id::{FileIndex, PieceIndex};
use sameseed_core::rng::Rng;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sector {
    Zeros,
    Right,
    /// Its bytes stand in `wrong`.
    Wrong,
}

#[derive(Clone, Debug)]
pub(super) struct Image {
    sectors: Vec<Sector>,
    wrong: BTreeMap<u64, Vec<u8>>,
    /// Length of each file; `None` when it does not exist.
    pub(super) lens: Vec<Option<u64>>,
    /// When each file was changed last, as the file system knows.
    pub(super) mtimes: Vec<i64>,
}

/// One torrent's files, all in a row.
#[derive(Debug)]
pub struct Disk {
    pub(super) content: Rc<Content>,
    pub(super) now: Image,
    pub(super) synced: Image,
    /// Writes since the last sync; bytes only where they differ from the formula.
    pub(super) journal: Vec<(u64, u64, Option<Vec<u8>>)>,
    /// So many writes succeed from now on; the rest find the disk full.
    pub writes_left: Option<u32>,
    /// The first bytes of so many pieces are changed before they are sent: a lying peer.
    pub lie_about_pieces: u32,
    /// What lies beside the files.
    pub(super) parts: Parts,
    /// The resume file; what it was before, the oldest first.
    pub(super) resume: Option<Vec<u8>>,
    pub(super) former_resumes: Vec<Vec<u8>>,
    /// Counts changes of files: the clock of their mtimes.
    clock: i64,
    /// What was broken behind the back of whoever uses it.
    pub(super) damage: Damage,
}

/// What a crash does to writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing is lost.
    Kept,
    /// Each write is kept or lost.
    Lost,
    /// Each sector is kept or lost.
    Torn,
}

impl Disk {
    /// An empty disk, or one that has everything.
    pub(super) fn new(content: Rc<Content>, full: bool) -> Self {
        let layout = content.layout();
        let count = layout.total_len().div_ceil(SECTOR) as usize;
        let lens = layout.files().iter().map(|file| full.then_some(file.len)).collect();
        let mtimes = vec![0; layout.files().len()];
        let kind = if full { Sector::Right } else { Sector::Zeros };
        let now = Image { sectors: vec![kind; count], wrong: BTreeMap::new(), lens, mtimes };
        Disk {
            content,
            synced: now.clone(),
            now,
            journal: Vec::new(),
            writes_left: None,
            lie_about_pieces: 0,
            parts: Parts::default(),
            resume: None,
            former_resumes: Vec::new(),
            clock: 0,
            damage: Damage::default(),
        }
    }

    /// Whether everything is there and right.
    pub fn is_complete(&self) -> bool {
        self.is_complete_but(|_| false)
    }

    /// Whether all files are there and right, but those that are skipped.
    pub(super) fn is_complete_but(&self, skips: impl Fn(u32) -> bool) -> bool {
        let files = self.content.layout().files().iter().zip(&self.now.lens).zip(0..);
        files
            .filter(|(_, file)| !skips(*file))
            .all(|((file, len), _)| *len == Some(file.len) && self.is_right(file.offset, file.len))
    }

    /// Whether a piece equals the formula.
    pub fn is_piece_right(&self, piece: PieceIndex) -> bool {
        let layout = self.content.layout();
        let (from, len) = (layout.start_of(piece), layout.len_of(piece));
        if self.parts.of(piece).is_empty() {
            return self.is_right(from, u64::from(len));
        }
        self.check_files(piece, 0, len).is_ok()
            && self.piece_bytes(piece, 0, len) == self.content.range(from, len.into())
    }

    /// Bytes of a piece, from wherever they stand.
    fn piece_bytes(&self, piece: PieceIndex, begin: u32, len: u32) -> Vec<u8> {
        let from = self.content.layout().start_of(piece) + u64::from(begin);
        let mut bytes = self.bytes(from, u64::from(len));
        for (span, place) in self.content.layout().placed_spans(piece, begin, len, self.parts.of(piece)) {
            if let Some(part) = place.and_then(|at| Some((at, self.parts.read(at, span.len)?))) {
                let (at, data) = part;
                bytes[(at - from) as usize..][..data.len()].copy_from_slice(data);
            }
        }
        bytes
    }

    /// Whether a piece would still equal the formula if the power failed now, in the files: nothing is claimed of what stands in the part file.
    pub(super) fn is_piece_safe(&self, piece: PieceIndex) -> bool {
        let layout = self.content.layout();
        self.is_right_in(&self.synced, layout.start_of(piece), u64::from(layout.len_of(piece)))
    }

    /// How each file looks now.
    pub(super) fn stats(&self) -> Vec<Option<FileStat>> {
        let both = self.now.lens.iter().zip(&self.now.mtimes);
        both.map(|(len, mtime)| len.map(|len| FileStat { len, mtime_unix_ns: *mtime })).collect()
    }

    /// The files of this range were changed, by whomever: their mtimes tell.
    pub(super) fn note_change(&mut self, from: u64, len: u64) {
        self.clock += 1;
        for (file, mtime) in self.content.layout().files().iter().zip(&mut self.now.mtimes) {
            if file.offset < from + len && from < file.offset + file.len {
                *mtime = self.clock;
            }
        }
    }

    /// A file was made or cut.
    fn note_change_of(&mut self, file: usize) {
        self.clock += 1;
        self.now.mtimes[file] = self.clock;
    }

    fn is_right(&self, from: u64, len: u64) -> bool {
        self.is_right_in(&self.now, from, len)
    }

    fn is_right_in(&self, image: &Image, from: u64, len: u64) -> bool {
        let sectors = from / SECTOR..(from + len).div_ceil(SECTOR);
        sectors.into_iter().all(|sector| {
            let first = sector * SECTOR;
            let (start, end) = (from.max(first), (from + len).min(first + SECTOR));
            let formula = self.content.range(start, end - start);
            match image.sectors[sector as usize] {
                Sector::Right => true,
                Sector::Zeros => formula.iter().all(|byte| *byte == 0),
                Sector::Wrong => formula == &image.wrong[&sector][(start - first) as usize..(end - first) as usize],
            }
        })
    }

    /// A range of a piece, as it would be sent.
    ///
    /// # Errors
    /// When a file is missing or short.
    pub(super) fn read(&self, piece: PieceIndex, begin: u32, len: u32) -> Result<Bytes, DiskFault> {
        self.damage.readable()?;
        self.check_files(piece, begin, len)?;
        let (from, len) = (self.content.layout().start_of(piece) + u64::from(begin), u64::from(len));
        let lies = piece.0 < self.lie_about_pieces;
        let aside = !self.parts.of(piece).is_empty();
        if !lies && !aside && self.is_formula(from, len) {
            return Ok(Bytes::formula(from, len));
        }
        let mut bytes = self.piece_bytes(piece, begin, len as u32);
        bytes[0] ^= u8::from(lies);
        Ok(Bytes::plain(&bytes))
    }

    /// Whether whole sectors are known to hold the formula.
    fn is_formula(&self, from: u64, len: u64) -> bool {
        let sectors = (from / SECTOR) as usize..(from + len).div_ceil(SECTOR) as usize;
        self.now.sectors[sectors].iter().all(|sector| *sector == Sector::Right)
    }

    /// Changes the first byte of a piece behind everybody's back.
    pub(super) fn spoil(&mut self, piece: PieceIndex) {
        let at = self.content.layout().start_of(piece);
        let byte = self.bytes(at, 1)[0] ^ 1;
        self.write(at, &[byte]);
    }

    pub(super) fn bytes(&self, from: u64, len: u64) -> Vec<u8> {
        let sectors = from / SECTOR..(from + len).div_ceil(SECTOR);
        if self.is_formula(from, len) {
            return self.content.range(from, len).to_vec();
        }
        let mut out = Vec::with_capacity(len as usize);
        for sector in sectors {
            let start = from.max(sector * SECTOR);
            let end = (from + len).min((sector + 1) * SECTOR);
            match self.now.sectors[sector as usize] {
                Sector::Zeros => out.resize(out.len() + (end - start) as usize, 0),
                Sector::Right => out.extend_from_slice(self.content.range(start, end - start)),
                Sector::Wrong => {
                    let bytes = &self.now.wrong[&sector];
                    out.extend_from_slice(&bytes[(start - sector * SECTOR) as usize..(end - sector * SECTOR) as usize]);
                }
            }
        }
        out
    }

    fn check_files(&self, piece: PieceIndex, begin: u32, len: u32) -> Result<(), DiskFault> {
        for (span, place) in self.content.layout().placed_spans(piece, begin, len, self.parts.of(piece)) {
            if let Some(at) = place {
                match self.parts.len() {
                    None => return Err(fault(DiskFaultKind::NotFound)),
                    Some(have) if have < at + span.len => return Err(fault(DiskFaultKind::Short)),
                    Some(_) => continue,
                }
            }
            match self.now.lens[span.file.0 as usize] {
                None => return Err(fault(DiskFaultKind::NotFound)),
                Some(have) if have < span.offset + span.len => return Err(fault(DiskFaultKind::Short)),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Carries an operation out; with `error` it fails, a write after an arbitrary part.
    ///
    /// # Panics
    /// When it is not a disk operation.
    pub fn run(&mut self, operation: Operation, error: Option<DiskFaultKind>, rng: &mut Rng) -> Outcome {
        let plain = error.map_or(Ok(()), |kind| Err(fault(kind)));
        match operation {
            Operation::Stat { .. } => {
                let parts = self.parts.len().map(|len| FileStat { len, mtime_unix_ns: 0 });
                Outcome::Stat(plain.map(|()| self.stats().into_iter().chain([parts]).collect()))
            }
            Operation::Prepare { files, .. } => {
                let content = self.content.clone();
                for (n, file) in content.layout().files().iter().enumerate() {
                    let named = files.contains(&FileIndex(n as u32));
                    if file.len == 0 && plain.is_ok() && named && self.now.lens[n].is_none() {
                        self.now.lens[n] = Some(0);
                        self.note_change_of(n);
                    }
                }
                Outcome::Prepare(plain)
            }
            Operation::Unpart { piece, ranges, .. } => {
                Outcome::Unpart(plain.and_then(|()| ranges.into_iter().try_for_each(|range| self.unpart(piece, range))))
            }
            Operation::DropParts { .. } => {
                if plain.is_ok() {
                    self.parts.remove();
                }
                Outcome::DropParts(plain)
            }
            Operation::Sync { .. } => {
                if plain.is_ok() {
                    self.synced = self.now.clone();
                    self.journal.clear();
                    self.parts.sync();
                }
                Outcome::Sync(plain)
            }
            Operation::SaveResume { bytes, .. } => {
                // Also when it is said to have failed the new one may be there: its folder was not synced.
                if plain.is_ok() || rng.below(2) == 0 {
                    self.former_resumes.extend(self.resume.replace(bytes));
                }
                Outcome::SaveResume(plain)
            }
            Operation::Truncate { file, len, .. } => {
                if plain.is_ok() {
                    self.now.lens[file.0 as usize] = Some(len);
                    self.note_change_of(file.0 as usize);
                }
                Outcome::Truncate(plain)
            }
            Operation::Absorb { piece, begin, blocks, hash, last, .. } => {
                let at = self.content.layout().start_of(piece) + u64::from(begin);
                let len: usize = blocks.iter().map(|block| block.len()).sum();
                let content = self.content.clone();
                let formula = content.range(at, len as u64);
                let data = concat_unless_equal(&blocks, formula);
                let data = data.as_deref().unwrap_or(formula);
                let written = self.write_unless_full((piece, begin), data, plain, rng);
                Outcome::Absorb { blocks, hash: hash.map(|h| content.hash(piece, begin, data, h, last)), written }
            }
            Operation::Hash { piece, begin, len, hash, last, .. } => {
                let read = plain.and_then(|()| self.check_files(piece, begin, len));
                Outcome::Hash(read.map(|()| -> Hashed {
                    let from = self.content.layout().start_of(piece) + u64::from(begin);
                    let known = self.content.known_hash(piece, begin, len, hash, last);
                    let plain = self.parts.of(piece).is_empty() && self.is_formula(from, u64::from(len));
                    known.filter(|_| plain).unwrap_or_else(|| {
                        self.content.hash(piece, begin, &self.piece_bytes(piece, begin, len), hash, last)
                    })
                }))
            }
            // One row of files, wherever they are said to be and whatever they are called.
            Operation::Move { .. } => Outcome::Move(plain),
            Operation::Rename { .. } => Outcome::Rename(plain),
            Operation::Delete { files, .. } => {
                // When it is said to have failed, it may have come to nothing, or so far.
                if plain.is_ok() || rng.below(2) == 0 {
                    self.former_resumes.extend(self.resume.take());
                }
                if plain.is_ok() && files {
                    let Disk { now, synced, .. } = Disk::new(self.content.clone(), false);
                    (self.now, self.synced) = (now, synced);
                    self.journal.clear();
                    self.parts.remove();
                }
                Outcome::Delete(plain)
            }
            Operation::Resolve { .. } | Operation::Fetch(_) => panic!("not a disk operation"),
        }
    }

    /// Copies a range from the part file to its file.
    fn unpart(&mut self, piece: PieceIndex, range: Range<u32>) -> Result<(), DiskFault> {
        let (at, len) =
            (self.content.layout().start_of(piece) + u64::from(range.start), u64::from(range.end - range.start));
        let data = self.parts.read(at, len).ok_or_else(|| fault(DiskFaultKind::Short))?.to_vec();
        self.write_files(at, &data);
        Ok(())
    }

    /// Writes to the files, and remembers it until the next sync.
    fn write_files(&mut self, at: u64, data: &[u8]) {
        self.write(at, data);
        self.note_change(at, data.len() as u64);
        let right = equal(self.content.range(at, data.len() as u64), data);
        self.journal.push((at, data.len() as u64, (!right).then(|| data.to_vec())));
    }

    fn write_unless_full(
        &mut self,
        (piece, begin): (PieceIndex, u32),
        data: &[u8],
        plain: Result<(), DiskFault>,
        rng: &mut Rng,
    ) -> Result<(), DiskFault> {
        let plain = match &mut self.writes_left {
            Some(0) => Err(fault(DiskFaultKind::Full)),
            Some(left) => {
                *left -= 1;
                plain
            }
            None => plain,
        };
        let part = match &plain {
            Ok(()) => data.len(),
            // Nothing, all of it, or anything between.
            Err(_) => match rng.below(4) {
                0 => 0,
                1 => data.len(),
                _ => rng.below(data.len() as u64 + 1) as usize,
            },
        };
        let content = self.content.clone();
        let at = content.layout().start_of(piece) + u64::from(begin);
        if self.parts.of(piece).is_empty() {
            self.write_files(at, &data[..part]);
            return plain;
        }
        let in_parts = self.parts.of(piece).to_vec();
        let mut rest = &data[..part];
        for (span, place) in content.layout().placed_spans(piece, begin, part as u32, &in_parts) {
            let (these, after) = rest.split_at(span.len as usize);
            rest = after;
            match place {
                Some(at) => self.parts.write(at, these),
                None => self.write_files(content.layout().files()[span.file.0 as usize].offset + span.offset, these),
            }
        }
        plain
    }

    pub(super) fn write(&mut self, at: u64, data: &[u8]) {
        let end = at + data.len() as u64;
        if data.is_empty() {
            return;
        }
        for (file, len) in self.content.layout().files().iter().zip(&mut self.now.lens) {
            if file.len > 0 && file.offset < end && at < file.offset + file.len {
                *len = Some(len.unwrap_or(0).max(end.min(file.offset + file.len) - file.offset));
            }
        }
        let total = self.content.layout().total_len();
        for sector in at / SECTOR..end.div_ceil(SECTOR) {
            let (start, stop) = (sector * SECTOR, ((sector + 1) * SECTOR).min(total));
            let (from, to) = (at.max(start), end.min(stop));
            let new = &data[(from - at) as usize..(to - at) as usize];
            let whole = from == start && to == stop;
            let slot = self.now.sectors[sector as usize];
            if (whole || slot == Sector::Right) && equal(new, self.content.range(from, to - from)) {
                self.now.wrong.remove(&sector);
                self.now.sectors[sector as usize] = Sector::Right;
                continue;
            }
            let mut bytes = self.bytes(start, stop - start);
            bytes[(from - start) as usize..(to - start) as usize].copy_from_slice(new);
            if bytes == self.content.range(start, stop - start) {
                self.now.wrong.remove(&sector);
                self.now.sectors[sector as usize] = Sector::Right;
            } else {
                self.now.wrong.insert(sector, bytes);
                self.now.sectors[sector as usize] = Sector::Wrong;
            }
        }
    }

    /// The program ends; if anything is lost, because the power fails.
    pub fn crash(&mut self, crash: Crash, rng: &mut Rng) {
        if crash != Crash::Kept {
            let before = std::mem::replace(&mut self.now, self.synced.clone());
            // Of a file's mtime the last or the one before the last sync is left.
            for (now, before) in self.now.mtimes.iter_mut().zip(&before.mtimes) {
                *now = if rng.below(2) == 0 { *before } else { *now };
            }
            for (at, len, bytes) in std::mem::take(&mut self.journal) {
                let data = bytes.unwrap_or_else(|| self.content.range(at, len).to_vec());
                if crash == Crash::Lost {
                    if rng.below(2) == 0 {
                        self.write(at, &data);
                    }
                    continue;
                }
                let mut from = at;
                while from < at + len {
                    let to = ((from / SECTOR + 1) * SECTOR).min(at + len);
                    if rng.below(4) > 0 {
                        self.write(from, &data[(from - at) as usize..(to - at) as usize]);
                    }
                    from = to;
                }
            }
            // A write that went astray makes no file, neither now nor when the medium is looked at again.
            for (now, before) in self.now.lens.iter_mut().zip(before.lens) {
                *now = now.filter(|_| before.is_some());
            }
        }
        self.parts.crash(crash != Crash::Kept, rng);
        if crash != Crash::Kept {
            // What is there after the power came back stays there. The end of a program alone brings nothing to stable storage.
            self.synced = self.now.clone();
            self.journal.clear();
        }
        // Whoever looks at it next finds out what can be found out.
        self.forget_what_shows();
    }
}

/// The bytes of all blocks, unless they equal `formula`.
fn concat_unless_equal(blocks: &[Block], mut formula: &[u8]) -> Option<Vec<u8>> {
    let equal = blocks.iter().all(|block| {
        let (these, rest) = formula.split_at(block.len());
        formula = rest;
        these == &block[..]
    });
    (!equal).then(|| blocks.iter().flat_map(|block| block.iter()).copied().collect())
}

pub(super) fn fault(kind: DiskFaultKind) -> DiskFault {
    DiskFault { kind, path: String::from("disk"), detail: String::from("simulated") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content;
    use sameseed_core::rng::Stream;

    fn disk(full: bool) -> Disk {
        Disk::new(Rc::new(Content::new(&content::torrent("disk", &[3000, 0, 5000], 1000))), full)
    }

    #[test]
    fn what_is_written_in_odd_parts_is_read_back() {
        let mut disk = disk(false);
        let data: Vec<u8> = (0..3000u32).map(|i| i as u8).collect();
        disk.write(700, &data[..900]);
        disk.write(1600, &data[900..]);
        assert_eq!(disk.bytes(700, 3000), data);
        assert_eq!(disk.bytes(0, 700), [0; 700]);
        let right = disk.content.range(0, 8000).to_vec();
        disk.write(0, &right[..1300]);
        disk.write(1300, &right[1300..]);
        disk.now.lens[1] = Some(0);
        assert!(disk.is_complete() && disk.now.wrong.is_empty());
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_any_part_of_the_rest() {
        let mut rng = Rng::new(&[2; 32], Stream::Choker, 0);
        let mut lost = 0;
        for _ in 0..20 {
            let mut disk = disk(false);
            let right = disk.content.range(0, 8000).to_vec();
            disk.write(0, &right[..4000]);
            disk.run(Operation::Sync { torrent: sameseed_core::id::TorrentId(1) }, None, &mut rng);
            disk.write_unless_full((PieceIndex(4), 0), &right[4000..], Ok(()), &mut rng).unwrap();
            disk.crash(Crash::Torn, &mut rng);
            assert!((0..4).all(|piece| disk.is_piece_right(PieceIndex(piece))), "synced");
            lost += u32::from(!disk.is_right(4000, 4000));
        }
        assert!(lost > 0);
    }
}
