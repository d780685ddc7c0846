//! Torrents' files by number: where they are, and handles on those used last.
//!
//! Below the download folder every step is opened relative to the one before and never through a link, so nothing is ever read or
//! written outside, whatever stands in the way. A file is made by its first write.

use super::{lock, memory};
use crate::disk::FileRange;
use crate::folder;
use crate::piece_hashes::PieceHashes;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;
use sameseed_core::action::FileStat;
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::id::{FileIndex, PieceIndex, TorrentId};
use sameseed_core::layout::Layout;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Handles kept open: enough for the pieces in progress of several torrents, few beside the 1,024 files that most systems allow.
pub(super) const MAX_HANDLES: usize = 64;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Not blocking, because a pipe in the way would block the open for ever.
const REGULAR: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// Stands for the part file among the files of a torrent: no layout has so many.
pub(super) const PARTS: FileIndex = FileIndex(u32::MAX);

/// What is said where something was to be written that must not be.
const READ_ONLY: &str =
    "nothing is ever written here, because it was added as read-only: it can be seeded once all of its files are there";

/// Where a torrent's files are, and what is known of them.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The download folder; it may itself lie behind links.
    pub(super) root: PathBuf,
    pub(super) layout: Arc<Layout>,
    pub(super) hashes: PieceHashes,
    pub(super) parts_name: String,
    pub(super) resume: Option<PathBuf>,
    /// Nothing below the root is ever changed.
    pub(super) read_only: bool,
}

/// All sites and the cache of handles.
#[derive(Debug, Default)]
pub(super) struct Files {
    places: Mutex<BTreeMap<TorrentId, Arc<Place>>>,
    handles: Mutex<Handles>,
    next_number: AtomicU64,
    /// The disk is being closed: long copies end.
    pub(super) closing: AtomicBool,
}

/// One torrent's site in use.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) torrent: TorrentId,
    /// Never used twice: no handle of a place that was left serves the next one.
    number: u64,
    pub(super) site: Site,
    /// What of each piece stands in the part file.
    parts: Mutex<BTreeMap<PieceIndex, Arc<[Range<u32>]>>>,
    unsynced: Mutex<Unsynced>,
    /// Held as long as a sync takes.
    syncing: Mutex<()>,
}

/// What was changed since the last sync began.
#[derive(Debug, Default)]
struct Unsynced {
    files: BTreeSet<FileIndex>,
    /// Folders with new entries, by their path below the root.
    folders: BTreeSet<Vec<String>>,
}

#[derive(Debug, Default)]
struct Handles {
    open: Vec<Handle>,
    clock: u64,
}

#[derive(Debug)]
struct Handle {
    torrent: TorrentId,
    /// The place's number, and the file.
    key: (u64, FileIndex),
    file: Arc<File>,
    writable: bool,
    used: u64,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    /// The file must exist.
    Change,
    /// The file and the folders above it are made where they are missing.
    Create,
}

impl Files {
    pub(super) fn register(&self, torrent: TorrentId, site: Site) {
        self.put_place(self.new_place(torrent, site));
    }

    /// A place that is not in use yet.
    pub(super) fn new_place(&self, torrent: TorrentId, site: Site) -> Place {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        Place { torrent, number, site, parts: Mutex::default(), unsynced: Mutex::default(), syncing: Mutex::default() }
    }

    /// From now on the torrent is here.
    pub(super) fn put_place(&self, place: Place) {
        self.forget_handles(place.torrent);
        lock(&self.places).insert(place.torrent, Arc::new(place));
    }

    /// The torrent is gone.
    pub(super) fn forget(&self, torrent: TorrentId) {
        lock(&self.places).remove(&torrent);
        self.forget_handles(torrent);
    }

    pub(super) fn set_parts(&self, torrent: TorrentId, piece: PieceIndex, in_parts: Vec<Range<u32>>) {
        if let Some(place) = lock(&self.places).get(&torrent) {
            match in_parts.is_empty() {
                true => drop(lock(&place.parts).remove(&piece)),
                false => drop(lock(&place.parts).insert(piece, in_parts.into())),
            }
        }
    }

    pub(super) fn place(&self, torrent: TorrentId) -> Result<Arc<Place>, DiskFault> {
        lock(&self.places).get(&torrent).cloned().ok_or_else(|| DiskFault {
            kind: DiskFaultKind::NotFound,
            path: String::new(),
            detail: format!("torrent {} has no storage", torrent.0),
        })
    }

    /// A torrent's place, where it may be changed.
    pub(super) fn writable_place(&self, torrent: TorrentId) -> Result<Arc<Place>, DiskFault> {
        let place = self.place(torrent)?;
        match place.site.read_only {
            true => Err(fault(place.site.root.clone(), io::Error::new(io::ErrorKind::PermissionDenied, READ_ONLY))),
            false => Ok(place),
        }
    }

    /// A handle on a file, from the cache when it is there.
    pub(super) fn open(&self, place: &Place, file: FileIndex, purpose: Purpose) -> Result<Arc<File>, DiskFault> {
        let key = (place.number, file);
        let writable = purpose != Purpose::Read;
        if let Some(file) = lock(&self.handles).find(key, writable) {
            return Ok(file);
        }
        let opened = Arc::new(place.open(file, purpose).map_err(|errno| place.fault(file, errno.into()))?);
        lock(&self.handles).keep(Handle { torrent: place.torrent, key, file: opened.clone(), writable, used: 0 });
        Ok(opened)
    }

    /// Where a range stands in one open file, when all of it seems to be in memory. It opens nothing and waits for nothing.
    pub(super) fn at_hand(&self, torrent: TorrentId, piece: PieceIndex, begin: u32, len: u32) -> Option<FileRange> {
        let place = self.place(torrent).ok()?;
        let in_parts = place.parts_of(piece);
        let (span, home) = place.site.layout.placed_spans(piece, begin, len, &in_parts).next()?;
        if span.pad || span.len != u64::from(len) {
            return None;
        }
        let (name, offset) = home.map_or((span.file, span.offset), |at| (PARTS, at));
        let file = lock(&self.handles).find((place.number, name), false)?;
        let last = offset + u64::from(len.checked_sub(1)?);
        let is_there = memory::holds(&file, offset) && memory::holds(&file, last);
        is_there.then(|| FileRange { file, offset, len, path: place.full_path(name) })
    }

    /// Removes the part file, when there is one.
    pub(super) fn drop_parts(&self, place: &Place) -> Result<(), DiskFault> {
        lock(&self.handles).open.retain(|handle| handle.key != (place.number, PARTS));
        lock(&place.unsynced).files.remove(&PARTS);
        let removed = Folders::new(place, false)
            .at(&[])
            .and_then(|root| unlinkat(root, &place.site.parts_name, AtFlags::empty()));
        match removed {
            Ok(()) => {
                lock(&place.unsynced).folders.insert(Vec::new());
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(place.fault(PARTS, errno.into())),
        }
    }

    /// Closes a torrent's files, so that a retry after a fault sees what is there then.
    pub(super) fn forget_handles(&self, torrent: TorrentId) {
        lock(&self.handles).open.retain(|handle| handle.torrent != torrent);
    }
}

impl Handles {
    fn find(&mut self, key: (u64, FileIndex), writable: bool) -> Option<Arc<File>> {
        self.clock += 1;
        let handle = self.open.iter_mut().find(|handle| handle.key == key && (handle.writable || !writable))?;
        handle.used = self.clock;
        Some(handle.file.clone())
    }

    /// Keeps a handle in place of an older one on the same file, else of the one unused for longest.
    fn keep(&mut self, mut handle: Handle) {
        self.clock += 1;
        handle.used = self.clock;
        self.open.retain(|old| old.key != handle.key);
        if self.open.len() >= MAX_HANDLES
            && let Some(oldest) = (0..self.open.len()).min_by_key(|i| self.open[*i].used)
        {
            self.open.swap_remove(oldest);
        }
        self.open.push(handle);
    }
}

impl Place {
    /// What of a piece stands in the part file.
    pub(super) fn parts_of(&self, piece: PieceIndex) -> Arc<[Range<u32>]> {
        lock(&self.parts).get(&piece).cloned().unwrap_or_default()
    }

    /// The path of a file below the root.
    pub(super) fn path(&self, file: FileIndex) -> Option<&[String]> {
        match file {
            PARTS => Some(std::slice::from_ref(&self.site.parts_name)),
            _ => self.site.layout.files().get(file.0 as usize).map(|entry| &entry.path[..]),
        }
    }

    /// One entry per file, and one for the part file; nothing is made.
    pub(super) fn stat(&self) -> Result<Vec<Option<FileStat>>, DiskFault> {
        let mut folders = Folders::new(self, false);
        let mut stats = Vec::with_capacity(self.site.layout.files().len());
        let files = self.site.layout.files().iter().enumerate();
        let files = files.map(|(i, entry)| (FileIndex(i as u32), entry.pad));
        // Of a place where nothing may change no part file is used.
        for (file, pad) in files.chain([(PARTS, self.site.read_only)]) {
            let stat = match self.path(file).and_then(<[String]>::split_last) {
                Some((name, parents)) if !pad => {
                    folders.at(parents).and_then(|folder| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW))
                }
                _ => Err(Errno::NOENT),
            };
            stats.push(match stat {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {
                    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
                    Some(FileStat {
                        len: u64::try_from(stat.st_size).unwrap_or(0),
                        mtime_unix_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos),
                    })
                }
                Ok(_) => return Err(self.fault(file, Errno::LOOP.into())),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(self.fault(file, errno.into())),
            });
        }
        Ok(stats)
    }

    /// Makes the root, and of some files the folders and those that are empty.
    pub(super) fn prepare(&self, files: &[FileIndex]) -> Result<(), DiskFault> {
        folder::make(&self.site.root).map_err(|error| fault(self.site.root.clone(), error))?;
        let mut folders = Folders::new(self, true);
        for &file in files {
            let entry = self.site.layout.files().get(file.0 as usize).filter(|entry| !entry.pad);
            let Some(entry) = entry else { continue };
            let Some((_, parents)) = entry.path.split_last() else { continue };
            folders.at(parents).map_err(|errno| self.fault(file, errno.into()))?;
            if entry.len == 0 {
                self.open(file, Purpose::Create).map_err(|errno| self.fault(file, errno.into()))?;
            }
        }
        Ok(())
    }

    pub(super) fn open(&self, file: FileIndex, purpose: Purpose) -> Result<File, Errno> {
        let (name, parents) = self.path(file).and_then(<[String]>::split_last).ok_or(Errno::NOENT)?;
        if self.site.read_only && purpose != Purpose::Read {
            return Err(Errno::ROFS);
        }
        let mut folders = Folders::new(self, purpose == Purpose::Create);
        let folder = folders.at(parents)?;
        let access = if purpose == Purpose::Read { OFlags::RDONLY } else { OFlags::RDWR };
        let fd = match openat(folder, name, REGULAR | access, Mode::empty()) {
            Err(Errno::NOENT) if purpose == Purpose::Create => {
                let fd = openat(folder, name, REGULAR | access | OFlags::CREATE, Mode::from_raw_mode(0o666))?;
                lock(&self.unsynced).folders.insert(parents.to_vec());
                fd
            }
            other => other?,
        };
        if !FileType::from_raw_mode(fstat(&fd)?.st_mode).is_file() {
            return Err(Errno::LOOP);
        }
        Ok(fd.into())
    }

    /// A file was written to, or its contents relied upon; the next sync covers it. Called after the write, so that a sync that runs meanwhile does not take the
    /// mark away unearned.
    pub(super) fn mark_written(&self, file: FileIndex) {
        lock(&self.unsynced).files.insert(file);
    }

    /// Brings all that was written before to stable storage: contents, and the entries of new files in their folders.
    pub(super) fn sync(&self, files: &Files) -> Result<(), DiskFault> {
        if self.site.read_only {
            return Ok(());
        }
        // One at a time: who comes second finds nothing to sync, and must not say so before the first has ended.
        let _syncing = lock(&self.syncing);
        let mut unsynced = std::mem::take(&mut *lock(&self.unsynced));
        let result = self.sync_all(files, &mut unsynced);
        // What is left after a fault is for the next time.
        let mut now = lock(&self.unsynced);
        now.files.append(&mut unsynced.files);
        now.folders.append(&mut unsynced.folders);
        result
    }

    fn sync_all(&self, files: &Files, unsynced: &mut Unsynced) -> Result<(), DiskFault> {
        while let Some(&file) = unsynced.files.first() {
            let opened = files.open(self, file, Purpose::Read);
            if opened.as_ref().is_err_and(|fault| fault.kind == DiskFaultKind::NotFound) {
                // Told this once; what is gone cannot be brought to stable storage the next time either.
                unsynced.files.pop_first();
                // The part file may have been removed meanwhile, because nothing of worth stood in it.
                if file == PARTS {
                    continue;
                }
            }
            match opened?.sync_data() {
                // A file system without this operation, or one that nothing can be written to.
                Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::ROFS)) => {}
                result => result.map_err(|error| self.fault(file, error))?,
            }
            unsynced.files.pop_first();
        }
        while let Some(path) = unsynced.folders.first() {
            let synced = Folders::new(self, false).at(path).and_then(rustix::fs::fsync);
            if let Err(errno) = synced {
                let path = path.clone();
                if errno == Errno::NOENT {
                    // Told this once, as with files.
                    unsynced.folders.pop_first();
                }
                return Err(fault(path.iter().fold(self.site.root.clone(), |at, name| at.join(name)), errno.into()));
            }
            unsynced.folders.pop_first();
        }
        Ok(())
    }

    /// The download folder.
    pub(super) fn root(&self) -> Result<OwnedFd, Errno> {
        openat(CWD, &self.site.root, FOLDER, Mode::empty())
    }

    /// Takes over from `old` what stands in the part file, and what is still to sync, but for files below `tops`, which were synced when they were
    /// copied.
    pub(super) fn succeed(&self, old: &Place, tops: &BTreeSet<String>) {
        // Cloned: what was asked of the old place is still read there.
        lock(&self.parts).clone_from(&lock(&old.parts));
        let mut unsynced = std::mem::take(&mut *lock(&old.unsynced));
        let copied = |file: &FileIndex| old.path(*file).and_then(<[String]>::first);
        unsynced.files.retain(|file| copied(file).is_none_or(|top| !tops.contains(top)));
        // The folders may have other names now; those that hold a file to sync are synced with it.
        let holding = unsynced.files.iter().filter_map(|file| self.path(*file)?.split_last());
        let folders: BTreeSet<Vec<String>> = holding.map(|(_, parents)| parents.to_vec()).collect();
        let mut now = lock(&self.unsynced);
        now.files.append(&mut unsynced.files);
        now.folders.extend(folders);
    }

    /// A fault of one file, with its path for people.
    pub(super) fn fault(&self, file: FileIndex, error: io::Error) -> DiskFault {
        fault(self.full_path(file), error)
    }

    /// The path of a file, for people.
    fn full_path(&self, file: FileIndex) -> PathBuf {
        self.path(file).unwrap_or_default().iter().fold(self.site.root.clone(), |at, name| at.join(name))
    }
}

/// A walk through folders that remembers the last one: files that stand together in a torrent mostly stand together on disk.
pub(super) struct Folders<'a> {
    place: &'a Place,
    create: bool,
    last: Option<(&'a [String], OwnedFd)>,
}

impl<'a> Folders<'a> {
    pub(super) fn new(place: &'a Place, create: bool) -> Self {
        Folders { place, create, last: None }
    }

    /// A handle on the folder `path` below the root.
    pub(super) fn at<'s>(&'s mut self, path: &'a [String]) -> Result<&'s OwnedFd, Errno> {
        let reached = match self.last.take() {
            Some((last, folder)) if last == path => folder,
            _ => self.walk(path)?,
        };
        Ok(&self.last.insert((path, reached)).1)
    }

    fn walk(&self, path: &[String]) -> Result<OwnedFd, Errno> {
        let mut folder = self.place.root()?;
        for (depth, name) in path.iter().enumerate() {
            folder = match openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::NOENT) if self.create => {
                    match mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) => drop(lock(&self.place.unsynced).folders.insert(path[..depth].to_vec())),
                        // Another thread was quicker.
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?
                }
                other => other?,
            };
        }
        Ok(folder)
    }
}

pub(super) fn fault(path: PathBuf, error: io::Error) -> DiskFault {
    fault_at(&path, &error)
}

/// What the system, or a storage of somebody's own, said: as a fault of the engine's.
pub(super) fn fault_at(path: &Path, error: &io::Error) -> DiskFault {
    let kind = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT) => DiskFaultKind::Full,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => DiskFaultKind::Denied,
        Some(Errno::NOENT) => DiskFaultKind::NotFound,
        // A pipe or a socket without a reader refuses to be opened for writing (ENXIO).
        Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO) => DiskFaultKind::NotRegular,
        Some(_) => DiskFaultKind::Io,
        None => match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskFaultKind::Full,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => DiskFaultKind::Denied,
            io::ErrorKind::NotFound => DiskFaultKind::NotFound,
            io::ErrorKind::UnexpectedEof => DiskFaultKind::Short,
            _ => DiskFaultKind::Io,
        },
    };
    DiskFault { kind, path: path.display().to_string(), detail: error.to_string() }
}
