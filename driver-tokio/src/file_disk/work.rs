//! What one thread of the disk does with one operation. Buffers come home in every outcome.

use super::files::{Files, PARTS, Place, Purpose, fault};
use crate::disk::ReadRequest;
use crate::resume_file;
use rustix::io::Errno;
use sameseed_core::action::Operation;
use sameseed_core::block::Block;
use sameseed_core::event::{Hashed, Outcome};
use sameseed_core::fault::{DiskFault, LinkFault};
use sameseed_core::hash::HashState;
use sameseed_core::id::{FileIndex, PieceIndex};
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read for hashing at a time: few system calls, and they are still in the cache when they are hashed.
pub(super) const READ_BYTES: u32 = 256 * 1024;
/// Slices of one write; Linux takes no more (`IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// One thread's tools.
pub(super) struct Worker<'a> {
    files: &'a Files,
    scratch: Box<[u8]>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(files: &'a Files) -> Self {
        Worker { files, scratch: vec![0; READ_BYTES as usize].into_boxed_slice() }
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
            Operation::Absorb { torrent, piece, begin, blocks, hash, last } => {
                // Hash first, while the bytes are in the cache.
                let hash = hash.map(|state| hash_blocks(state, &blocks, last));
                let written = self
                    .files
                    .writable_place(torrent)
                    .and_then(|place| write(self.files, &place, piece, begin, &blocks))
                    .inspect_err(|_| self.files.forget_handles(torrent));
                Outcome::Absorb { blocks, hash, written }
            }
            Operation::Hash { torrent, piece, begin, len, hash, last } => Outcome::Hash(
                self.files
                    .place(torrent)
                    .and_then(|place| self.hash(&place, piece, begin, len, hash, last))
                    .inspect_err(|_| self.files.forget_handles(torrent)),
            ),
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
            // The driver keeps these to itself.
            Operation::Resolve { .. } => Outcome::Resolve(Err(LinkFault::Other)),
            Operation::Fetch(_) => Outcome::Fetch(Err(LinkFault::Other)),
        }
    }

    /// Reads a range for sending.
    pub(super) fn read(&mut self, request: ReadRequest) -> Result<Vec<u8>, DiskFault> {
        let ReadRequest { torrent, piece, begin, len, buffer: mut bytes, reader: _ } = request;
        bytes.resize(len as usize, 0);
        let place = self.files.place(torrent)?;
        read(self.files, &place, piece, begin, &mut bytes).inspect_err(|_| self.files.forget_handles(torrent))?;
        Ok(bytes)
    }

    fn hash(
        &mut self,
        place: &Place,
        piece: PieceIndex,
        begin: u32,
        len: u32,
        state: HashState,
        last: bool,
    ) -> Result<Hashed, DiskFault> {
        // A former life of this program may have written it, and died before it was safe.
        let in_parts = place.parts_of(piece);
        for (span, home) in place.site.layout.placed_spans(piece, begin, len, &in_parts).filter(|(s, _)| !s.pad) {
            place.mark_written(home.map_or(span.file, |_| PARTS));
        }
        hash_range(&mut self.scratch, state, begin, len, last, |begin, chunk| {
            read(self.files, place, piece, begin, chunk)
        })
    }

    /// Copies a range from the part file to the file that it belongs to.
    fn unpart(&mut self, place: &Place, piece: PieceIndex, range: Range<u32>) -> Result<(), DiskFault> {
        let (mut begin, end) = (range.start, range.end);
        while begin < end {
            let step = (end - begin).min(READ_BYTES);
            let Some((span, Some(at))) =
                place.site.layout.placed_spans(piece, begin, step, std::slice::from_ref(&range)).next()
            else {
                return Err(place.fault(PARTS, io::ErrorKind::UnexpectedEof.into()));
            };
            let chunk = &mut self.scratch[..span.len as usize];
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

/// Hashes a range that `read` gives in chunks.
pub(super) fn hash_range(
    scratch: &mut [u8],
    mut state: HashState,
    mut begin: u32,
    mut len: u32,
    last: bool,
    mut read: impl FnMut(u32, &mut [u8]) -> Result<(), DiskFault>,
) -> Result<Hashed, DiskFault> {
    loop {
        let step = len.min(READ_BYTES);
        let chunk = &mut scratch[..step as usize];
        read(begin, chunk)?;
        begin = begin.saturating_add(step);
        len -= step;
        if last && len == 0 {
            return Ok(Hashed::Finished(state.finish(chunk)));
        }
        state.absorb(chunk);
        if len == 0 {
            return Ok(Hashed::Running(state));
        }
    }
}

pub(super) fn save_resume(path: Option<&Path>, bytes: &[u8]) -> Result<(), DiskFault> {
    let Some(path) = path else {
        return Err(fault(PathBuf::new(), io::Error::other("there is no place for resume data")));
    };
    resume_file::save(path, bytes).map_err(|error| fault(path.into(), error))
}

pub(super) fn hash_blocks(mut state: HashState, blocks: &[Block], last: bool) -> Hashed {
    match blocks.split_last() {
        Some((end, rest)) if last => {
            rest.iter().for_each(|block| state.absorb(block));
            Hashed::Finished(state.finish(end))
        }
        None if last => Hashed::Finished(state.finish(&[])),
        _ => {
            blocks.iter().for_each(|block| state.absorb(block));
            Hashed::Running(state)
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
