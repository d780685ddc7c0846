//! The hashes of pieces, which a torrent that only waits or seeds has no use for: kept in a file without a name, so that they cost no memory.
//!
//! A torrent of 1 GiB has 20 KiB of them, three times what else is known of it while it is idle. They are read one at a time, when a piece was hashed.
//!
//! Each has a check beside it. A write that the system took and lost later, or a rotten bit, would make right pieces wrong, and whoever sent them a liar; so it is a fault of
//! the disk.

use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::hash::sha1;
use sameseed_core::id::{Digest, PieceIndex};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Up to so many hashes stay in memory: little is gained by putting 1.25 KiB away.
const MAX_RESIDENT: usize = 64;

/// Bytes of a check: one rotten entry in four billion passes.
const CHECK_LEN: usize = 4;
/// Bytes of a hash and its check.
const ENTRY_LEN: u64 = 20 + CHECK_LEN as u64;

/// Where the hashes of pieces are kept. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct HashStore(Arc<Mutex<Store>>);

#[derive(Debug)]
struct Store {
    /// Where the file may be, best first.
    folders: Vec<PathBuf>,
    /// Made when it is needed.
    file: Option<Arc<File>>,
    end: u64,
}

impl HashStore {
    /// Keeps them all in memory, 20 bytes a piece.
    pub fn in_memory() -> Self {
        HashStore::in_first_of([])
    }

    /// Keeps those of large torrents in a file in the first of these folders that can hold one. The file has no name, takes 24 bytes a piece, and is gone with the
    /// process, however that ends. Where no folder serves they stay in memory. A folder on a disk is better than one in memory, as `/tmp` often is.
    pub fn in_first_of(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        let folders = folders.into_iter().collect();
        HashStore(Arc::new(Mutex::new(Store { folders, file: None, end: 0 })))
    }

    /// Takes the hashes of one torrent. A write that fails leaves them in memory.
    pub fn keep(&self, hashes: Vec<[u8; 20]>) -> PieceHashes {
        if hashes.len() > MAX_RESIDENT {
            let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match store.write(&hashes) {
                Ok(Some(kept)) => return PieceHashes(Place::Away(Arc::new(kept))),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "piece hashes stay in memory"),
            }
        }
        PieceHashes::from(hashes)
    }
}

impl Store {
    /// `None` when there is no folder for a file.
    fn write(&mut self, hashes: &[[u8; 20]]) -> io::Result<Option<Kept>> {
        if self.file.is_none() {
            self.file = self.make();
            // Asked once: who cannot hold it now is not to be asked for each torrent.
            self.folders.clear();
        }
        let Some(file) = &self.file else { return Ok(None) };
        let start = self.end;
        let entry = |(at, hash): (u64, &[u8; 20])| [&hash[..], &check(start + at * ENTRY_LEN, hash)].concat();
        let bytes: Vec<u8> = (0..).zip(hashes).flat_map(entry).collect();
        file.write_all_at(&bytes, start)?;
        self.end += bytes.len() as u64;
        Ok(Some(Kept { file: file.clone(), start, len: bytes.len() as u64 }))
    }

    fn make(&self) -> Option<Arc<File>> {
        let file = self.folders.iter().find_map(|folder| {
            let file = crate::folder::make(folder).and_then(|()| tempfile::tempfile_in(folder));
            file.inspect_err(|error| tracing::debug!(folder = %folder.display(), %error, "no file for piece hashes"))
                .ok()
        });
        file.map(Arc::new)
    }
}

/// The hashes of one torrent's pieces. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PieceHashes(Place);

#[derive(Clone, Debug)]
enum Place {
    Here(Arc<[[u8; 20]]>),
    Away(Arc<Kept>),
}

/// A range of a store's file, given back when nobody needs it any more.
#[derive(Debug)]
struct Kept {
    file: Arc<File>,
    start: u64,
    len: u64,
}

impl PieceHashes {
    /// What a piece must hash to. Of hashes in a file it is read now.
    ///
    /// # Errors
    /// The system's, and when there is no such piece.
    pub fn digest_of(&self, piece: PieceIndex) -> Result<Digest, DiskFault> {
        let digest = match &self.0 {
            Place::Here(hashes) => {
                hashes.get(piece.0 as usize).copied().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Place::Away(kept) => kept.read(u64::from(piece.0) * ENTRY_LEN),
        };
        digest.map(Digest::Sha1).map_err(|error| DiskFault {
            kind: DiskFaultKind::Io,
            path: "the hashes of the pieces".into(),
            detail: format!("piece {}: {error}", piece.0),
        })
    }
}

impl From<Vec<[u8; 20]>> for PieceHashes {
    /// In memory.
    fn from(hashes: Vec<[u8; 20]>) -> Self {
        PieceHashes(Place::Here(hashes.into()))
    }
}

impl Kept {
    fn read(&self, at: u64) -> io::Result<[u8; 20]> {
        if at + ENTRY_LEN > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut entry, at) = ([0; ENTRY_LEN as usize], self.start + at);
        self.file.read_exact_at(&mut entry, at)?;
        let (hash, found) = entry.split_at(20);
        match <[u8; 20]>::try_from(hash) {
            Ok(hash) if check(at, &hash) == found => Ok(hash),
            _ => Err(io::Error::other("it is not what was written")),
        }
    }
}

/// What stands beside a hash, by its place in the file: none fits another's place, nor zeros.
fn check(at: u64, hash: &[u8; 20]) -> [u8; CHECK_LEN] {
    let whole = sha1(&[&at.to_le_bytes()[..], hash].concat());
    std::array::from_fn(|n| whole[n])
}

impl Drop for Kept {
    /// Where holes cannot be made the room is wasted until the process ends.
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = fallocate(&*self.file, flags, self.start, self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(count: u32, salt: u32) -> Vec<[u8; 20]> {
        let hash = |n: u32| std::array::from_fn(|at| (n + salt).to_le_bytes()[at % 4] ^ at as u8);
        (0..count).map(hash).collect()
    }

    fn is_away(kept: &PieceHashes) -> bool {
        matches!(kept.0, Place::Away(_))
    }

    fn assert_serves(kept: &PieceHashes, hashes: &[[u8; 20]]) {
        for (n, hash) in (0..).zip(hashes) {
            assert_eq!(kept.digest_of(PieceIndex(n)), Ok(Digest::Sha1(*hash)));
        }
        let fault = kept.digest_of(PieceIndex(hashes.len() as u32)).unwrap_err();
        assert!(fault.to_string().contains("hashes of the pieces"), "{fault}");
    }

    #[test]
    fn many_hashes_are_away_and_few_are_here_and_each_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = HashStore::in_first_of([dir.path().join("made/when/missing")]);
        let all = [hashes(3, 0), hashes(65, 7), hashes(64, 1), hashes(1000, 90_000)];
        let kept = all.each_ref().map(|hashes| store.clone().keep(hashes.clone()));
        assert_eq!(kept.each_ref().map(is_away), [false, true, false, true]);
        kept.iter().zip(&all).for_each(|(kept, hashes)| assert_serves(kept, hashes));
        let names = std::fs::read_dir(dir.path().join("made/when/missing")).unwrap().count();
        assert_eq!(names, 0, "the file has no name");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_nobody_needs_takes_no_room_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = HashStore::in_first_of([dir.path().to_owned()]);
        let (first, second) = (store.keep(hashes(100_000, 1)), store.keep(hashes(1000, 2)));
        let Place::Away(kept) = &second.0 else { panic!("{second:?}") };
        let file = kept.file.clone();
        let bytes_of = |file: &File| std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) * 512;
        assert!(bytes_of(&file) >= 2_000_000);
        drop(first.clone());
        assert_serves(&first, &hashes(100_000, 1));
        drop(first);
        assert!(bytes_of(&file) < 100_000, "{}", bytes_of(&file));
        assert_serves(&second, &hashes(1000, 2));
    }

    #[test]
    fn what_the_disk_has_changed_is_a_fault_of_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let store = HashStore::in_first_of([dir.path().to_owned()]);
        let all = hashes(100, 5);
        let kept = store.keep(all.clone());
        let Place::Away(place) = &kept.0 else { panic!("{kept:?}") };
        let file = place.file.clone();
        let fault = |piece| kept.digest_of(PieceIndex(piece)).unwrap_err().to_string();
        // A page of zeros, one rotten bit, and another piece's entry.
        file.write_all_at(&[0; ENTRY_LEN as usize], 3 * ENTRY_LEN).unwrap();
        file.write_all_at(&[all[7][0] ^ 1], 7 * ENTRY_LEN).unwrap();
        let mut entry = [0; ENTRY_LEN as usize];
        file.read_exact_at(&mut entry, 20 * ENTRY_LEN).unwrap();
        file.write_all_at(&entry, 21 * ENTRY_LEN).unwrap();
        for piece in [3, 7, 21] {
            assert!(fault(piece).contains("not what was written"), "{}", fault(piece));
        }
        file.set_len(50 * ENTRY_LEN).unwrap();
        assert!(fault(50).starts_with("the hashes of the pieces: "));
        assert_eq!(kept.digest_of(PieceIndex(20)), Ok(Digest::Sha1(all[20])));
    }

    #[test]
    fn where_no_file_can_be_made_or_written_they_stay_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let in_the_way = dir.path().join("file");
        std::fs::write(&in_the_way, "x").unwrap();
        for store in [HashStore::in_memory(), HashStore::in_first_of([in_the_way.clone(), PathBuf::from("/proc")])] {
            let kept = store.keep(hashes(1000, 3));
            assert!(!is_away(&kept));
            assert_serves(&kept, &hashes(1000, 3));
        }
        let file = HashStore::in_first_of([in_the_way, dir.path().to_owned()]).keep(hashes(1000, 3));
        assert!(is_away(&file), "the second folder serves");
        let store = HashStore::in_memory();
        store.0.lock().unwrap().file = Some(Arc::new(File::open("/dev/full").unwrap()));
        assert!(!is_away(&store.keep(hashes(1000, 3))), "it cannot be written");
    }
}
