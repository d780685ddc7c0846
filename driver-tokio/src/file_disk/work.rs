//! What one thread of the disk does with its operations: one at a time, but for those that hash. Buffers come home in every outcome.

use super::files::{Files, PARTS, Place, Purpose, fault};
use super::hashing::Hasher;
use super::queue::{Absorb, HashRange};
use crate::disk::ReadRequest;
use crate::resume_file;
use rustix::io::Errno;
use sameseed_core::action::Operation;
use sameseed_core::block::Block;
use sameseed_core::event::{Hashed, Outcome};
use sameseed_core::fault::{DiskFault, LinkFault};
use sameseed_core::id::{FileIndex, OpId, PieceIndex};
use sha_lanes::{Lanes, PageBuffer};
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Slices of one write; Linux takes no more (`IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// One thread's tools.
pub(super) struct Worker<'a> {
    files: &'a Files,
    hasher: Hasher,
}

impl<'a> Worker<'a> {
    pub(super) fn new(files: &'a Files, lanes: Lanes) -> Self {
        Worker { files, hasher: Hasher::new(lanes) }
    }

    /// Writes blocks of several pieces. They are hashed side by side first, while they are in the cache.
    pub(super) fn absorb(&mut self, absorbs: Vec<Absorb>) -> Vec<(OpId, Outcome)> {
        let expected = |absorb: &Absorb| self.files.place(absorb.torrent)?.site.hashes.digest_of(absorb.piece);
        let hashes = self.hasher.absorb(&absorbs, expected);
        let write = |(absorb, hash): (Absorb, Option<Result<Hashed, DiskFault>>)| {
            let Absorb { op, torrent, piece, begin, blocks, .. } = absorb;
            let written = self
                .files
                .writable_place(torrent)
                .and_then(|place| write(self.files, &place, piece, begin, &blocks))
                .inspect_err(|_| self.files.forget_handles(torrent));
            let (hash, written) = known_or_fault(hash, written);
            (op, Outcome::Absorb { blocks, hash, written })
        };
        absorbs.into_iter().zip(hashes).map(write).collect()
    }

    /// Reads ranges of several pieces and hashes them side by side.
    pub(super) fn hash(&mut self, ranges: Vec<HashRange>) -> Vec<(OpId, Outcome)> {
        let files = self.files;
        let places: Vec<Result<Arc<Place>, DiskFault>> =
            ranges.iter().map(|range| files.place(range.torrent)).collect();
        for (range, place) in ranges.iter().zip(&places) {
            if let Ok(place) = place {
                rely_upon(place, range);
            }
        }
        let place = |which: usize| places[which].as_ref().map_err(Clone::clone);
        let hashes = self.hasher.hash(
            &ranges,
            |which, begin, chunk| read(files, place(which)?, ranges[which].piece, begin, chunk),
            |which| place(which)?.site.hashes.digest_of(ranges[which].piece),
        );
        let end = |(range, hashed): (HashRange, Result<Hashed, DiskFault>)| {
            (range.op, Outcome::Hash(hashed.inspect_err(|_| files.forget_handles(range.torrent))))
        };
        ranges.into_iter().zip(hashes).map(end).collect()
    }

    /// Does an operation. After a fault the torrent's files are opened afresh.
    pub(super) fn perform(&mut self, operation: Operation) -> Outcome {
        match operation {
            Operation::Stat { torrent } => Outcome::Stat(self.files.place(torrent).and_then(|place| place.stat())),
            Operation::Prepare { torrent, files } => {
                Outcome::Prepare(self.files.writable_place(torrent).and_then(|place| place.prepare(&files)))
            }
            Operation::Unpart { torrent, piece, ranges } => Outcome::Unpart(
                self.files
                    .writable_place(torrent)
                    .and_then(|place| ranges.into_iter().try_for_each(|range| self.unpart(&place, piece, range)))
                    .inspect_err(|_| self.files.forget_handles(torrent)),
            ),
            Operation::DropParts { torrent } => {
                Outcome::DropParts(self.files.writable_place(torrent).and_then(|place| self.files.drop_parts(&place)))
            }
            Operation::Sync { torrent } => Outcome::Sync(
                self.files
                    .place(torrent)
                    .and_then(|place| place.sync(self.files))
                    .inspect_err(|_| self.files.forget_handles(torrent)),
            ),
            Operation::SaveResume { torrent, bytes } => Outcome::SaveResume(
                self.files.place(torrent).and_then(|place| save_resume(place.site.resume.as_deref(), &bytes)),
            ),
            Operation::Truncate { torrent, file, len } => {
                Outcome::Truncate(self.files.writable_place(torrent).and_then(|place| self.truncate(&place, file, len)))
            }
            Operation::Move { torrent, to } => Outcome::Move(self.files.move_to(torrent, &to)),
            Operation::Rename { torrent, from, to } => Outcome::Rename(self.files.rename(torrent, &from, &to)),
            Operation::Delete { torrent, files } => Outcome::Delete(self.files.delete(torrent, files)),
            Operation::Absorb { .. } | Operation::Hash { .. } => {
                unreachable!("the queue gives them to `absorb` and `hash`")
            }
            // The driver keeps these to itself.
            Operation::Resolve { .. } => Outcome::Resolve(Err(LinkFault::Other)),
            Operation::Fetch(_) => Outcome::Fetch(Err(LinkFault::Other)),
        }
    }

    /// Reads a range for sending.
    pub(super) fn read(&mut self, request: ReadRequest) -> Result<PageBuffer, DiskFault> {
        let ReadRequest { torrent, piece, begin, len, buffer: mut bytes, reader: _ } = request;
        bytes.resize(len as usize);
        let place = self.files.place(torrent)?;
        read(self.files, &place, piece, begin, &mut bytes).inspect_err(|_| self.files.forget_handles(torrent))?;
        Ok(bytes)
    }

    /// Copies a range from the part file to the file that it belongs to.
    fn unpart(&mut self, place: &Place, piece: PieceIndex, range: Range<u32>) -> Result<(), DiskFault> {
        let (mut begin, end) = (range.start, range.end);
        while begin < end {
            let step = (end - begin).min(self.hasher.scratch().len() as u32);
            let Some((span, Some(at))) =
                place.site.layout.placed_spans(piece, begin, step, std::slice::from_ref(&range)).next()
            else {
                return Err(place.fault(PARTS, io::ErrorKind::UnexpectedEof.into()));
            };
            let chunk = &mut self.hasher.scratch()[..span.len as usize];
            let parts = self.files.open(place, PARTS, Purpose::Read)?;
            parts.read_exact_at(chunk, at).map_err(|error| place.fault(PARTS, error))?;
            let file = self.files.open(place, span.file, Purpose::Create)?;
            let written = file.write_all_at(chunk, span.offset);
            place.mark_written(span.file);
            written.map_err(|error| place.fault(span.file, error))?;
            begin += span.len as u32;
        }
        Ok(())
    }

    fn truncate(&self, place: &Place, file: FileIndex, len: u64) -> Result<(), DiskFault> {
        let handle = self.files.open(place, file, Purpose::Change)?;
        let result = handle.set_len(len).map_err(|error| place.fault(file, error));
        place.mark_written(file);
        result
    }
}

/// Who cannot learn what a piece must hash to has not hashed it, and the fault is told as one of the write.
pub(super) fn known_or_fault(
    hash: Option<Result<Hashed, DiskFault>>,
    written: Result<(), DiskFault>,
) -> (Option<Hashed>, Result<(), DiskFault>) {
    match hash.transpose() {
        Ok(hash) => (hash, written),
        Err(fault) => (None, written.and(Err(fault))),
    }
}

pub(super) fn save_resume(path: Option<&Path>, bytes: &[u8]) -> Result<(), DiskFault> {
    let Some(path) = path else {
        return Err(fault(PathBuf::new(), io::Error::other("there is no place for resume data")));
    };
    resume_file::save(path, bytes).map_err(|error| fault(path.into(), error))
}

/// What is hashed and found right is had: a former life of this program may have written it, and died before it was safe.
fn rely_upon(place: &Place, range: &HashRange) {
    let in_parts = place.parts_of(range.piece);
    for (span, home) in place.site.layout.placed_spans(range.piece, range.begin, range.len, &in_parts) {
        if !span.pad {
            place.mark_written(home.map_or(span.file, |_| PARTS));
        }
    }
}

/// Reads a range of a piece, from files and the part file; pad files are zeros.
fn read(files: &Files, place: &Place, piece: PieceIndex, begin: u32, into: &mut [u8]) -> Result<(), DiskFault> {
    let mut rest = into;
    let in_parts = place.parts_of(piece);
    for (span, home) in place.site.layout.placed_spans(piece, begin, rest.len() as u32, &in_parts) {
        let (part, after) = rest.split_at_mut(span.len as usize);
        rest = after;
        if span.pad {
            part.fill(0);
        } else {
            let (name, offset) = home.map_or((span.file, span.offset), |at| (PARTS, at));
            let file = files.open(place, name, Purpose::Read)?;
            file.read_exact_at(part, offset).map_err(|error| place.fault(name, error))?;
        }
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(place.fault(FileIndex(u32::MAX - 1), io::ErrorKind::UnexpectedEof.into()))
    }
}

/// Writes neighbouring blocks, one write per file; pad files are left out.
fn write(files: &Files, place: &Place, piece: PieceIndex, begin: u32, blocks: &[Block]) -> Result<(), DiskFault> {
    let len: usize = blocks.iter().map(|block| block.len()).sum();
    let mut rest = blocks.iter().map(|block| &block[..]);
    let mut head: &[u8] = &[];
    let mut slices = Vec::with_capacity(blocks.len());
    let in_parts = place.parts_of(piece);
    for (span, home) in place.site.layout.placed_spans(piece, begin, len as u32, &in_parts) {
        slices.clear();
        let mut left = span.len as usize;
        while left > 0 {
            if head.is_empty() {
                let Some(next) = rest.next() else { break };
                head = next;
            }
            let (part, after) = head.split_at(left.min(head.len()));
            head = after;
            left -= part.len();
            slices.push(IoSlice::new(part));
        }
        if !span.pad {
            let (name, offset) = home.map_or((span.file, span.offset), |at| (PARTS, at));
            let file = files.open(place, name, Purpose::Create)?;
            let result = write_all_at(&file, &mut slices, offset);
            place.mark_written(name);
            result.map_err(|error| place.fault(name, error))?;
        }
    }
    Ok(())
}

fn write_all_at(file: &File, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    while !slices.is_empty() {
        let some = slices.len().min(MAX_SLICES);
        match rustix::io::pwritev(file, &slices[..some], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
