//! Operations on a storage of somebody's own: the same as `work` does with files, in the words of the `Storage` trait.
//!
//! Owns what the trait does not ask of its user: which bytes stand in the part file, what is still to be synced, and one call for each run of neighbouring
//! bytes in a file.

use super::files::fault_at;
use super::lock;
use super::work::{known_or_fault, save_resume};
use crate::disk::{Location, ReadRequest};
use crate::resume_file;
use crate::storage::{PART_FILE, Storage, StoredFile};
use sameseed_core::action::{FileStat, Operation};
use sameseed_core::block::Block;
use sameseed_core::event::{Hashed, Outcome};
use sameseed_core::fault::{DiskFault, DiskFaultKind, LinkFault};
use sameseed_core::hash::HashState;
use sameseed_core::id::{Digest, FileIndex, PieceIndex, TorrentId};
use sha_lanes::PageBuffer;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Bytes read or copied at a time: few calls of the storage.
const READ_BYTES: u32 = 256 * 1024;

/// One torrent in a storage.
#[derive(Debug)]
pub(super) struct Stored {
    storage: Arc<dyn Storage>,
    location: Location,
    /// What of each piece stands in the part file.
    parts: Mutex<BTreeMap<PieceIndex, Arc<[Range<u32>]>>>,
    unsynced: Mutex<BTreeSet<FileIndex>>,
    /// Held as long as a sync takes.
    syncing: Mutex<()>,
    /// What versions are told of files that have none: no other life has the same, so nothing is taken for unchanged.
    life: i64,
}

impl Stored {
    pub(super) fn new(storage: Arc<dyn Storage>, location: Location) -> Self {
        let mut life = [0; 8];
        if let Err(error) = getrandom::fill(&mut life) {
            tracing::warn!(%error, "no random number for a storage; resume data may be taken for newer than it is");
        }
        Stored {
            storage,
            location,
            parts: Mutex::default(),
            unsynced: Mutex::default(),
            syncing: Mutex::default(),
            life: i64::from_ne_bytes(life),
        }
    }

    pub(super) fn set_parts(&self, piece: PieceIndex, in_parts: Vec<Range<u32>>) {
        match in_parts.is_empty() {
            true => drop(lock(&self.parts).remove(&piece)),
            false => drop(lock(&self.parts).insert(piece, in_parts.into())),
        }
    }

    pub(super) fn perform(&self, operation: Operation) -> Outcome {
        match operation {
            Operation::Stat { .. } => Outcome::Stat(self.stat()),
            Operation::Prepare { files, .. } => Outcome::Prepare(self.prepare(&files)),
            Operation::Unpart { piece, ranges, .. } => {
                Outcome::Unpart(ranges.into_iter().try_for_each(|range| self.unpart(piece, range)))
            }
            Operation::DropParts { .. } => Outcome::DropParts(self.remove(PART_FILE)),
            Operation::Absorb { piece, begin, blocks, hash, last, .. } => {
                let hash =
                    hash.map(|state| hash_blocks(state, &blocks, last, || self.location.hashes.digest_of(piece)));
                let (hash, written) = known_or_fault(hash, self.write(piece, begin, &blocks));
                Outcome::Absorb { blocks, hash, written }
            }
            Operation::Hash { piece, begin, len, hash, last, .. } => {
                // A former life may have written it, and died before it was safe.
                self.on_spans(piece, begin, len, |file, _, _| {
                    lock(&self.unsynced).insert(file.index);
                    Ok(())
                })
                .map_or_else(
                    |fault| Outcome::Hash(Err(fault)),
                    |()| {
                        let mut scratch = vec![0; READ_BYTES.min(len) as usize];
                        let read = |begin, chunk: &mut [u8]| self.read_range(piece, begin, chunk);
                        let range = (begin, len, last);
                        Outcome::Hash(hash_range(&mut scratch, hash, range, read, || {
                            self.location.hashes.digest_of(piece)
                        }))
                    },
                )
            }
            Operation::Sync { .. } => Outcome::Sync(self.sync()),
            Operation::SaveResume { bytes, .. } => {
                Outcome::SaveResume(save_resume(self.location.resume.as_deref(), &bytes))
            }
            Operation::Truncate { file, len, .. } => Outcome::Truncate(self.set_len(file, len)),
            Operation::Move { .. } => Outcome::Move(Err(self.immovable())),
            Operation::Rename { .. } => Outcome::Rename(Err(self.immovable())),
            Operation::Delete { files, .. } => Outcome::Delete(self.delete(files)),
            // The driver keeps these to itself.
            Operation::Resolve { .. } => Outcome::Resolve(Err(LinkFault::Other)),
            Operation::Fetch(_) => Outcome::Fetch(Err(LinkFault::Other)),
        }
    }

    /// Reads a range for sending, or for a reader.
    pub(super) fn read(&self, request: ReadRequest) -> Result<PageBuffer, DiskFault> {
        let ReadRequest { piece, begin, len, buffer: mut bytes, .. } = request;
        bytes.resize(len as usize);
        self.read_range(piece, begin, &mut bytes)?;
        Ok(bytes)
    }

    fn file(&self, index: FileIndex) -> Option<StoredFile<'_>> {
        let torrent = self.location.info_hash;
        if index == PART_FILE {
            let path = std::slice::from_ref(&self.location.parts_name);
            return Some(StoredFile { torrent, index, path, len: self.location.layout.total_len() });
        }
        let entry = self.location.layout.files().get(index.0 as usize).filter(|entry| !entry.pad)?;
        Some(StoredFile { torrent, index, path: &entry.path, len: entry.len })
    }

    fn known(&self, index: FileIndex) -> Result<StoredFile<'_>, DiskFault> {
        self.file(index).ok_or_else(|| fault_at(Path::new(""), &io::ErrorKind::NotFound.into()))
    }

    fn stat(&self) -> Result<Vec<Option<FileStat>>, DiskFault> {
        let files = (0..self.location.layout.files().len() as u32).map(FileIndex).chain([PART_FILE]);
        let stat = |index| {
            let Some(file) = self.file(index) else { return Ok(None) };
            let look = || match self.storage.len(file)? {
                None => Ok(None),
                Some(len) => {
                    let version = self.storage.version(file)?.unwrap_or(self.life);
                    Ok(Some(FileStat { len, mtime_unix_ns: version }))
                }
            };
            look().map_err(|error| fault(file, &error))
        };
        files.map(stat).collect()
    }

    /// Makes the files that are empty; the others are made by their first write.
    fn prepare(&self, files: &[FileIndex]) -> Result<(), DiskFault> {
        for file in files.iter().filter_map(|index| self.file(*index)).filter(|file| file.len == 0) {
            let made = self.storage.len(file).and_then(|len| match len {
                Some(_) => Ok(()),
                None => self.storage.set_len(file, 0),
            });
            made.map_err(|error| fault(file, &error))?;
            lock(&self.unsynced).insert(file.index);
        }
        Ok(())
    }

    fn set_len(&self, index: FileIndex, len: u64) -> Result<(), DiskFault> {
        let file = self.known(index)?;
        let result = self.storage.set_len(file, len).map_err(|error| fault(file, &error));
        lock(&self.unsynced).insert(index);
        result
    }

    /// Removes a file, when it is there.
    fn remove(&self, index: FileIndex) -> Result<(), DiskFault> {
        let file = self.known(index)?;
        lock(&self.unsynced).remove(&index);
        let removed = self.storage.len(file).and_then(|len| match len {
            Some(_) => self.storage.remove(file),
            None => Ok(()),
        });
        removed.map_err(|error| fault(file, &error))
    }

    /// Brings all that was written before to stable storage.
    fn sync(&self) -> Result<(), DiskFault> {
        // One at a time: who comes second finds nothing to sync, and must not say so before the first has ended.
        let _syncing = lock(&self.syncing);
        let mut unsynced = std::mem::take(&mut *lock(&self.unsynced));
        let mut result = Ok(());
        while let (Ok(()), Some(&index)) = (&result, unsynced.first()) {
            let file = self.known(index)?;
            match self.storage.sync(file) {
                // The part file may have been removed meanwhile, because nothing of worth stood in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && index == PART_FILE => {}
                Err(error) => result = Err(fault(file, &error)),
                Ok(()) => {}
            }
            if result.as_ref().err().is_none_or(|fault| fault.kind == DiskFaultKind::NotFound) {
                // Done; or told this once: what is gone cannot be brought to stable storage the next time either.
                unsynced.pop_first();
            }
        }
        // What is left after a fault is for the next time.
        lock(&self.unsynced).append(&mut unsynced);
        result
    }

    fn delete(&self, files: bool) -> Result<(), DiskFault> {
        let resume = self.location.resume.as_ref();
        let mut result =
            resume.map_or(Ok(()), |path| resume_file::remove(path).map_err(|error| fault_at(path, &error)));
        let all = (0..self.location.layout.files().len() as u32).map(FileIndex).chain([PART_FILE]);
        for index in all.filter(|index| files && self.file(*index).is_some()) {
            result = result.and(self.remove(index));
        }
        result
    }

    fn immovable(&self) -> DiskFault {
        let words = "its storage is a program's own, which can neither move nor rename";
        fault_at(Path::new(&self.location.parts_name), &io::Error::other(words))
    }

    /// Has `act` do something with each run of neighbouring bytes: the file, where in it, and which of the range's bytes. Pad files are left out.
    fn on_spans<'a>(
        &'a self,
        piece: PieceIndex,
        begin: u32,
        len: u32,
        mut act: impl FnMut(StoredFile<'a>, u64, Range<usize>) -> io::Result<()>,
    ) -> Result<(), DiskFault> {
        let in_parts = lock(&self.parts).get(&piece).cloned().unwrap_or_default();
        let mut at = 0;
        for (span, home) in self.location.layout.placed_spans(piece, begin, len, &in_parts) {
            let range = at..at + span.len as usize;
            at = range.end;
            if !span.pad {
                let (index, offset) = home.map_or((span.file, span.offset), |at| (PART_FILE, at));
                let file = self.known(index)?;
                act(file, offset, range).map_err(|error| fault(file, &error))?;
            }
        }
        match at == len as usize {
            true => Ok(()),
            false => Err(fault_at(Path::new(&self.location.parts_name), &io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn read_range(&self, piece: PieceIndex, begin: u32, into: &mut [u8]) -> Result<(), DiskFault> {
        // Pad files are zeros.
        into.fill(0);
        self.on_spans(piece, begin, into.len() as u32, |file, offset, range| {
            self.storage.read_at(file, offset, &mut into[range])
        })
    }

    fn write(&self, piece: PieceIndex, begin: u32, blocks: &[Block]) -> Result<(), DiskFault> {
        // One copy, so that a storage gets few long writes.
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
        self.on_spans(piece, begin, bytes.len() as u32, |file, offset, range| {
            let result = self.storage.write_at(file, offset, &bytes[range]);
            // After the write, so that a sync that runs meanwhile does not take the mark away unearned.
            lock(&self.unsynced).insert(file.index);
            result
        })
    }

    /// Copies a range from the part file to the file that it belongs to.
    fn unpart(&self, piece: PieceIndex, range: Range<u32>) -> Result<(), DiskFault> {
        let mut begin = range.start;
        while begin < range.end {
            let step = (range.end - begin).min(READ_BYTES);
            let whole = std::slice::from_ref(&range);
            let span = self.location.layout.placed_spans(piece, begin, step, whole).next();
            let parts = self.known(PART_FILE)?;
            let Some((span, Some(at))) = span else {
                return Err(fault(parts, &io::ErrorKind::UnexpectedEof.into()));
            };
            let mut chunk = vec![0; span.len as usize];
            self.storage.read_at(parts, at, &mut chunk).map_err(|error| fault(parts, &error))?;
            let file = self.known(span.file)?;
            let written = self.storage.write_at(file, span.offset, &chunk);
            lock(&self.unsynced).insert(span.file);
            written.map_err(|error| fault(file, &error))?;
            begin += span.len as u32;
        }
        Ok(())
    }
}

/// Hashes a range that `read` gives in chunks.
fn hash_range(
    scratch: &mut [u8],
    mut state: HashState,
    (mut begin, mut len, last): (u32, u32, bool),
    mut read: impl FnMut(u32, &mut [u8]) -> Result<(), DiskFault>,
    expected: impl FnOnce() -> Result<Digest, DiskFault>,
) -> Result<Hashed, DiskFault> {
    loop {
        let step = len.min(READ_BYTES);
        let chunk = &mut scratch[..step as usize];
        read(begin, chunk)?;
        begin = begin.saturating_add(step);
        len -= step;
        if last && len == 0 {
            return Ok(Hashed::Finished { digest: state.finish(chunk), expected: expected()? });
        }
        state.absorb(chunk);
        if len == 0 {
            return Ok(Hashed::Running(state));
        }
    }
}

fn hash_blocks(
    mut state: HashState,
    blocks: &[Block],
    last: bool,
    expected: impl FnOnce() -> Result<Digest, DiskFault>,
) -> Result<Hashed, DiskFault> {
    let (rest, end) = match blocks.split_last() {
        Some((end, rest)) if last => (rest, &end[..]),
        _ => (blocks, &[][..]),
    };
    rest.iter().for_each(|block| state.absorb(block));
    Ok(match last {
        true => Hashed::Finished { digest: state.finish(end), expected: expected()? },
        false => Hashed::Running(state),
    })
}

/// What a storage said of a file.
fn fault(file: StoredFile<'_>, error: &io::Error) -> DiskFault {
    fault_at(&file.path_below(""), error)
}

/// The torrent that an operation is for; `None` for those of the network.
pub(super) fn torrent_of(operation: &Operation) -> Option<TorrentId> {
    match operation {
        Operation::Stat { torrent }
        | Operation::Prepare { torrent, .. }
        | Operation::Unpart { torrent, .. }
        | Operation::DropParts { torrent }
        | Operation::Absorb { torrent, .. }
        | Operation::Hash { torrent, .. }
        | Operation::Sync { torrent }
        | Operation::SaveResume { torrent, .. }
        | Operation::Truncate { torrent, .. }
        | Operation::Move { torrent, .. }
        | Operation::Rename { torrent, .. }
        | Operation::Delete { torrent, .. } => Some(*torrent),
        Operation::Resolve { .. } | Operation::Fetch(_) => None,
    }
}
