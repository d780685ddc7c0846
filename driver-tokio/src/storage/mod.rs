//! Where a torrent's bytes stand: in a folder, in a folder that nobody may change, in memory, or in a storage of your own.
//!
//! Owns the words ([`Home`], [`Storage`], [`StoredFile`]) and what is kept in memory. Files in folders are the disk's own (`file_disk`), without this
//! trait in between.

mod memory;

pub use memory::MemoryStorage;

use sameseed_core::id::{FileIndex, InfoHash};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number of a torrent's part file, which holds what pieces contain of files that are not selected. It is hidden, it exists only while some file of
/// the torrent is skipped, and it is to be stored like any other file.
pub const PART_FILE: FileIndex = FileIndex(u32::MAX);

/// One file of a torrent, as a [`Storage`] is asked for it. The pair of `torrent` and `index` names it for ever; `path` is what people call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFile<'a> {
    /// The torrent.
    pub torrent: InfoHash,
    /// The file's place in it, or [`PART_FILE`].
    pub index: FileIndex,
    /// Its names below the storage's root, the torrent's own folder first. They are cleaned: no `..`, no separators, nothing absolute.
    pub path: &'a [String],
    /// Its length in bytes when it is complete; of the part file the most that it can have.
    pub len: u64,
}

impl StoredFile<'_> {
    /// Where it is below `root`.
    pub fn path_below(&self, root: impl AsRef<Path>) -> PathBuf {
        self.path.iter().fold(root.as_ref().to_owned(), |at, name| at.join(name))
    }
}

/// A storage of your own: a database, an archive, another machine.
///
/// The calls come from the disk's threads, several at once, also for one file (never two writes to the same bytes). They may block, but each holds one of those threads as
/// long as it takes. An error stops that torrent with [`Notice::DiskTrouble`](sameseed_core::action::Notice::DiskTrouble), which tells its words, and is tried again every
/// [`Config::disk_retry`](sameseed_core::config::Config::disk_retry) until it works; nothing that was verified is lost. The kinds `StorageFull`,
/// `PermissionDenied`, `NotFound` and `UnexpectedEof` are understood as what they say.
///
/// A torrent in a storage of your own can be neither moved nor renamed. `examples/custom_storage.rs` is a whole one.
pub trait Storage: Send + Sync + 'static {
    /// The length of a file in bytes; `None` when it is not there.
    ///
    /// # Errors
    /// Whatever keeps it from being known.
    fn len(&self, file: StoredFile<'_>) -> io::Result<Option<u64>>;

    /// Fills `into` with what stands at `offset`.
    ///
    /// # Errors
    /// `NotFound` or `UnexpectedEof` when it is not (all) there, and whatever else goes wrong.
    fn read_at(&self, file: StoredFile<'_>, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Puts all of `bytes` at `offset`. The file is made, and becomes longer, as needed; what is in between is undefined until it is written.
    ///
    /// # Errors
    /// Whatever goes wrong; a part of the bytes may have been written.
    fn write_at(&self, file: StoredFile<'_>, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file this length; it is made when it is not there.
    ///
    /// # Errors
    /// Whatever goes wrong.
    fn set_len(&self, file: StoredFile<'_>, len: u64) -> io::Result<()>;

    /// Returns when all that was written to this file before would survive a crash. "Complete" is said only after it.
    ///
    /// # Errors
    /// Whatever goes wrong.
    fn sync(&self, file: StoredFile<'_>) -> io::Result<()>;

    /// Removes a file. It is asked only of files that are there.
    ///
    /// # Errors
    /// Whatever goes wrong.
    fn remove(&self, file: StoredFile<'_>) -> io::Result<()>;

    /// A number that changes whenever the file is changed, also by others: with it, and the length, a file is known again at the next start and not hashed. By default
    /// nothing is known, and each start hashes all that is there.
    ///
    /// # Errors
    /// Whatever keeps it from being known.
    fn version(&self, file: StoredFile<'_>) -> io::Result<Option<i64>> {
        let _ = file;
        Ok(None)
    }
}

/// Where a torrent's bytes stand.
///
/// A path is a folder: `Home::from("downloads")`, and wherever a home is wanted just `"downloads"`.
#[derive(Clone, Debug)]
pub enum Home {
    /// Files below this folder, which is made when it is missing. It may itself lie behind links; nothing below it is reached through one.
    Folder(PathBuf),
    /// Files below this folder, which are only ever read. A torrent can be seeded from there when all of it is there, and says that it is in trouble as long
    /// as something is missing or wrong.
    ReadOnly(PathBuf),
    /// A storage of your own, or [`MemoryStorage`]. One may serve many torrents.
    Storage(Arc<dyn Storage>),
}

impl Home {
    /// Files below a folder.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Home::Folder(path.into())
    }

    /// Files below a folder where nothing is ever written.
    pub fn read_only(path: impl Into<PathBuf>) -> Self {
        Home::ReadOnly(path.into())
    }

    /// A storage of your own. Keep an [`Arc`] of it to go on using it yourself.
    pub fn storage(storage: impl Storage) -> Self {
        Home::Storage(Arc::new(storage))
    }
}

impl fmt::Debug for dyn Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Storage")
    }
}

impl From<PathBuf> for Home {
    fn from(path: PathBuf) -> Self {
        Home::Folder(path)
    }
}

impl From<&PathBuf> for Home {
    fn from(path: &PathBuf) -> Self {
        Home::folder(path)
    }
}

impl From<&Path> for Home {
    fn from(path: &Path) -> Self {
        Home::folder(path)
    }
}

impl From<&str> for Home {
    fn from(path: &str) -> Self {
        Home::folder(path)
    }
}

impl From<String> for Home {
    fn from(path: String) -> Self {
        Home::folder(path)
    }
}

impl From<MemoryStorage> for Home {
    fn from(memory: MemoryStorage) -> Self {
        Home::storage(memory)
    }
}

impl<S: Storage + ?Sized> Storage for Arc<S> {
    fn len(&self, file: StoredFile<'_>) -> io::Result<Option<u64>> {
        S::len(self, file)
    }
    fn read_at(&self, file: StoredFile<'_>, offset: u64, into: &mut [u8]) -> io::Result<()> {
        S::read_at(self, file, offset, into)
    }
    fn write_at(&self, file: StoredFile<'_>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        S::write_at(self, file, offset, bytes)
    }
    fn set_len(&self, file: StoredFile<'_>, len: u64) -> io::Result<()> {
        S::set_len(self, file, len)
    }
    fn sync(&self, file: StoredFile<'_>) -> io::Result<()> {
        S::sync(self, file)
    }
    fn remove(&self, file: StoredFile<'_>) -> io::Result<()> {
        S::remove(self, file)
    }
    fn version(&self, file: StoredFile<'_>) -> io::Result<Option<i64>> {
        S::version(self, file)
    }
}
