//! Torrents in memory: for tests, for what is passed on and never kept, and to seed what a program has made.

use super::{PART_FILE, Storage, StoredFile};
use sameseed_core::id::{FileIndex, InfoHash};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files in memory. Cheap to clone; all clones are one. What is in it is gone with the last of them.
///
/// It never takes more than it may: a write beyond that fails as on a full disk, and the torrent goes on when there is room again.
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    files: BTreeMap<(InfoHash, u32), Vec<u8>>,
    bytes: u64,
    max_bytes: u64,
}

impl MemoryStorage {
    /// An empty one that may hold so many bytes of files.
    pub fn new(max_bytes: u64) -> Self {
        MemoryStorage { kept: Arc::new(Mutex::new(Kept { files: BTreeMap::new(), bytes: 0, max_bytes })) }
    }

    /// Changes how many bytes it may hold. What is there stays.
    pub fn set_max_bytes(&self, max_bytes: u64) {
        self.kept().max_bytes = max_bytes;
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.kept().bytes
    }

    /// Puts a file there, in place of what there was, to be seeded: add the torrent afterwards, or have it checked again.
    ///
    /// # Errors
    /// `StorageFull`.
    pub fn insert(&self, torrent: InfoHash, file: FileIndex, contents: Vec<u8>) -> io::Result<()> {
        self.kept().resize((torrent, file.0), contents.len() as u64)?.copy_from_slice(&contents);
        Ok(())
    }

    /// A copy of a file as it stands there, complete or not.
    pub fn contents(&self, torrent: InfoHash, file: FileIndex) -> Option<Vec<u8>> {
        self.kept().files.get(&(torrent, file.0)).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here can be left half done by a panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The file with this length, new bytes being zeros.
    fn resize(&mut self, key: (InfoHash, u32), len: u64) -> io::Result<&mut Vec<u8>> {
        let old = self.files.get(&key).map_or(0, |file| file.len() as u64);
        let bytes = (self.bytes - old).saturating_add(len);
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?;
        if bytes > self.max_bytes && len as u64 > old {
            let room = self.max_bytes;
            return Err(io::Error::new(io::ErrorKind::StorageFull, format!("all {room} bytes of memory are in use")));
        }
        self.bytes = bytes;
        let file = self.files.entry(key).or_default();
        file.resize(len, 0);
        Ok(file)
    }
}

fn range(offset: u64, len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(len)?)
}

impl Storage for MemoryStorage {
    fn len(&self, file: StoredFile<'_>) -> io::Result<Option<u64>> {
        Ok(self.kept().files.get(&(file.torrent, file.index.0)).map(|bytes| bytes.len() as u64))
    }

    fn read_at(&self, file: StoredFile<'_>, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let kept = self.kept();
        let bytes = kept.files.get(&(file.torrent, file.index.0)).ok_or(io::ErrorKind::NotFound)?;
        let found = range(offset, into.len()).and_then(|range| bytes.get(range));
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, file: StoredFile<'_>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = range(offset, bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        let mut kept = self.kept();
        let key = (file.torrent, file.index.0);
        // At once as long as it will be, so that it is moved in memory only once; but the part file is mostly holes.
        let whole = if file.index == PART_FILE { 0 } else { file.len };
        let there = kept.files.get(&key).map_or(whole, |file| file.len() as u64);
        kept.resize(key, there.max(range.end as u64))?
            .get_mut(range)
            .ok_or(io::ErrorKind::StorageFull)?
            .copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, file: StoredFile<'_>, len: u64) -> io::Result<()> {
        self.kept().resize((file.torrent, file.index.0), len).map(drop)
    }

    fn sync(&self, _: StoredFile<'_>) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, file: StoredFile<'_>) -> io::Result<()> {
        let mut kept = self.kept();
        let gone = kept.files.remove(&(file.torrent, file.index.0)).ok_or(io::ErrorKind::NotFound)?;
        kept.bytes -= gone.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TORRENT: InfoHash = InfoHash::V1([1; 20]);

    fn file(index: FileIndex, len: u64) -> StoredFile<'static> {
        StoredFile { torrent: TORRENT, index, path: &[], len }
    }

    #[test]
    fn it_holds_what_was_written_and_never_more_than_it_may() {
        let memory = MemoryStorage::new(100);
        let (one, two) = (file(FileIndex(0), 60), file(FileIndex(1), 50));
        assert_eq!(memory.len(one).unwrap(), None);
        assert_eq!(memory.read_at(one, 0, &mut [0]).unwrap_err().kind(), io::ErrorKind::NotFound);
        memory.write_at(one, 10, b"abc").unwrap();
        assert_eq!((memory.len(one).unwrap(), memory.bytes()), (Some(60), 60));
        let error = memory.write_at(two, 0, b"x").unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::StorageFull, "all 100 bytes of memory are in use".into())
        );
        assert_eq!((memory.len(two).unwrap(), memory.bytes()), (None, 60), "a write that failed leaves nothing");
        memory.set_max_bytes(110);
        memory.write_at(two, 49, b"x").unwrap();
        let mut read = [9; 4];
        memory.read_at(one, 9, &mut read).unwrap();
        assert_eq!(&read, b"\0abc");
        assert_eq!(memory.read_at(one, 57, &mut read).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(memory.read_at(one, u64::MAX, &mut read).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        memory.set_len(one, 11).unwrap();
        memory.remove(two).unwrap();
        assert_eq!(
            (memory.contents(TORRENT, FileIndex(0)), memory.bytes()),
            (Some(b"\0\0\0\0\0\0\0\0\0\0a".to_vec()), 11)
        );
        assert_eq!(memory.remove(two).unwrap_err().kind(), io::ErrorKind::NotFound);
        memory.set_max_bytes(0);
        memory.write_at(one, 0, b"still").unwrap();
    }

    #[test]
    fn what_is_inserted_takes_the_place_of_what_was_there() {
        let memory = MemoryStorage::new(9);
        memory.insert(TORRENT, FileIndex(3), b"123456789".to_vec()).unwrap();
        memory.insert(TORRENT, FileIndex(3), b"abc".to_vec()).unwrap();
        assert_eq!((memory.contents(TORRENT, FileIndex(3)), memory.bytes()), (Some(b"abc".to_vec()), 3));
        assert!(memory.insert(TORRENT, FileIndex(4), vec![0; 7]).is_err());
    }
}
