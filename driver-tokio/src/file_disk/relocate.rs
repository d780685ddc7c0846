//! Files that move, are renamed, or go.
//!
//! Owns what is done to the entries of folders, never to bytes. Laws: nothing is overwritten, nothing but the torrent's own files is deleted, no
//! link is followed, and at each moment every byte stands whole in at least one place. The engine has nothing under way for the torrent meanwhile but
//! reads for peers that are gone.

use super::files::{Files, Folders, PARTS, Place, Purpose, Site, fault};
use crate::folder;
use crate::resume_file;
use rustix::fs::{AtFlags, FileType, RenameFlags, fsync, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;
use sameseed_core::fault::DiskFault;
use sameseed_core::id::{FileIndex, Folder, TorrentId};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes copied between two looks at whether the disk is being closed: a tenth of a second on a slow one.
const COPY_BYTES: u64 = 8 << 20;

impl Files {
    /// Moves a torrent's files to another folder: by a rename of its topmost entry where both lie on one file system (what else stands in the torrent's
    /// folder comes along), else by copy, sync and deletion.
    pub(super) fn move_to(&self, torrent: TorrentId, to: &Folder) -> Result<(), DiskFault> {
        let old = self.writable_place(torrent)?;
        let root = PathBuf::from(OsStr::from_bytes(&to.0));
        if root == old.site.root {
            return Ok(());
        }
        folder::make(&root).map_err(|error| fault(root.clone(), error))?;
        let new = self.new_place(torrent, Site { root, ..old.site.clone() });
        new.root().map_err(|errno| fault(new.site.root.clone(), errno.into()))?;
        let mut renamed = Vec::new();
        let mut copied = BTreeSet::new();
        for top in old.tops() {
            match rename_top(&old, &new, &top) {
                Ok(()) => renamed.push(top),
                Err(Errno::NOENT) => {}
                Err(Errno::XDEV) => _ = copied.insert(top),
                Err(errno) => {
                    put_back(&old, &new, &renamed);
                    return Err(fault(new.site.root.join(&top), errno.into()));
                }
            }
        }
        if let Err(error) = new.refuse_existing(&copied) {
            // Nothing was made there: what is there is another's, or our own files by another way.
            put_back(&old, &new, &renamed);
            return Err(error);
        }
        if let Err(error) = self.copy(&old, &new, &copied) {
            new.delete(&copied);
            put_back(&old, &new, &renamed);
            return Err(error);
        }
        // A file system that cannot sync folders has no better to offer.
        let _ = [&old, &new].map(|place| place.root().and_then(fsync));
        new.succeed(&old, &copied);
        self.put_place(new);
        if let Some(left) = (!copied.is_empty()).then(|| old.delete(&copied)).flatten() {
            tracing::warn!(fault = %left, "files were copied to their new place, and cannot be deleted at the old one");
        }
        Ok(())
    }

    /// Gives a file or folder another name in its folder.
    pub(super) fn rename(&self, torrent: TorrentId, from: &[String], to: &[String]) -> Result<(), DiskFault> {
        let old = self.writable_place(torrent)?;
        let path = |names: &[String]| names.iter().fold(old.site.root.clone(), |at, name| at.join(name));
        let taken = || fault(path(to), io::ErrorKind::AlreadyExists.into());
        let layout = Arc::new(old.site.layout.renamed(from, to).ok_or_else(taken)?);
        let (Some((from_name, parents)), Some(to_name)) = (from.split_last(), to.last()) else { return Err(taken()) };
        let mut folders = Folders::new(&old, false);
        let renamed = folders.at(parents).and_then(|folder| {
            rename_no_replace(folder, from_name.as_ref(), folder, to_name.as_ref())?;
            fsync(folder)
        });
        match renamed {
            Ok(()) | Err(Errno::NOENT) => {}
            _ if from == to => {}
            Err(errno) => return Err(fault(path(to), errno.into())),
        }
        let new = self.new_place(torrent, Site { layout, ..old.site.clone() });
        new.succeed(&old, &BTreeSet::new());
        self.put_place(new);
        Ok(())
    }

    /// Deletes a torrent's resume data, and with `data` its files, and those of its folders that are empty then. Gives the first fault.
    pub(super) fn delete(&self, torrent: TorrentId, data: bool) -> Result<(), DiskFault> {
        let place = self.place(torrent)?;
        self.forget_handles(torrent);
        let forgotten = place
            .site
            .resume
            .as_ref()
            .map_or(Ok(()), |path| resume_file::remove(path).map_err(|error| fault(path.clone(), error)));
        let deleted = match data {
            true => self.writable_place(torrent).and_then(|_| place.delete(&place.tops()).map_or(Ok(()), Err)),
            false => Ok(()),
        };
        forgotten.and(deleted)
    }

    /// Copies the files below the entries `tops` and brings the copies to stable storage.
    fn copy(&self, old: &Place, new: &Place, tops: &BTreeSet<String>) -> Result<(), DiskFault> {
        for (file, _) in old.own_files(tops) {
            let source = match old.open(file, Purpose::Read) {
                Ok(source) => source,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(old.fault(file, errno.into())),
            };
            let target = new.open(file, Purpose::Create).map_err(|errno| new.fault(file, errno.into()))?;
            self.copy_bytes(&source, &target).map_err(|error| new.fault(file, error))?;
        }
        // The contents are synced; what is left are the entries of new folders and files.
        new.sync(self)
    }

    /// The copy keeps the mtime, as after a rename: resume data goes by it. Unless the source has changed meanwhile.
    fn copy_bytes(&self, source: &File, mut target: &File) -> io::Result<()> {
        let changed = source.metadata()?.modified()?;
        loop {
            if self.closing.load(Ordering::Relaxed) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "the program is about to end"));
            }
            // Inside the kernel, where it can.
            if io::copy(&mut Read::take(source, COPY_BYTES), &mut target)? == 0 {
                break;
            }
        }
        target.flush()?;
        if source.metadata()?.modified()? == changed {
            target.set_modified(changed)?;
        }
        target.sync_all()
    }
}

impl Place {
    /// The entries of the root that hold the torrent's files: one, as torrents are, and the part file.
    fn tops(&self) -> BTreeSet<String> {
        let files = self.site.layout.files().iter().filter(|file| !file.pad);
        files.filter_map(|file| file.path.first()).chain([&self.site.parts_name]).cloned().collect()
    }

    /// None of the entries `tops` may be there.
    fn refuse_existing(&self, tops: &BTreeSet<String>) -> Result<(), DiskFault> {
        for top in tops {
            match self.root().and_then(|root| statat(root, top, AtFlags::SYMLINK_NOFOLLOW)) {
                Err(Errno::NOENT) => {}
                Ok(_) => return Err(fault(self.site.root.join(top), io::ErrorKind::AlreadyExists.into())),
                Err(errno) => return Err(fault(self.site.root.join(top), errno.into())),
            }
        }
        Ok(())
    }

    fn own_files<'a>(&'a self, tops: &'a BTreeSet<String>) -> impl Iterator<Item = (FileIndex, &'a [String])> {
        let files = (0..).map(FileIndex).zip(self.site.layout.files());
        let ours = files.filter(|(_, file)| !file.pad && file.path.first().is_some_and(|top| tops.contains(top)));
        let parts = self.path(PARTS).filter(|_| tops.contains(&self.site.parts_name)).map(|path| (PARTS, path));
        ours.map(|(index, file)| (index, &file.path[..])).chain(parts)
    }

    /// Deletes the files below the entries `tops`, then their folders, the deepest first, as far as they are empty. Gives the first fault.
    fn delete(&self, tops: &BTreeSet<String>) -> Option<DiskFault> {
        let mut first_fault = None;
        let mut owned: BTreeSet<&[String]> = BTreeSet::new();
        let mut folders = Folders::new(self, false);
        for (file, path) in self.own_files(tops) {
            let Some((name, parents)) = path.split_last() else { continue };
            owned.extend((1..=parents.len()).filter_map(|depth| parents.get(..depth)));
            let deleted = folders.at(parents).and_then(|folder| {
                let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                // What is no file was not made by us.
                let ours = FileType::from_raw_mode(stat.st_mode).is_file();
                if ours { unlinkat(folder, name, AtFlags::empty()) } else { Ok(()) }
            });
            match deleted {
                // Not there, or something else stands where our folder would be.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => _ = first_fault.get_or_insert_with(|| self.fault(file, errno.into())),
            }
        }
        let mut deepest_first: Vec<&[String]> = owned.into_iter().collect();
        deepest_first.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for (name, parents) in deepest_first.into_iter().filter_map(|path| path.split_last()) {
            // One that is not empty holds what is not ours, and stays.
            let _ = Folders::new(self, false).at(parents).and_then(|folder| unlinkat(folder, name, AtFlags::REMOVEDIR));
        }
        first_fault
    }
}

fn rename_top(old: &Place, new: &Place, top: &str) -> Result<(), Errno> {
    let to = new.root()?;
    match old.root() {
        Err(Errno::NOENT) => Err(nothing_there(&to, top.as_ref())),
        from => rename_no_replace(&from?, top.as_ref(), &to, top.as_ref()),
    }
}

/// What is not made yet can be given any name, but one under which something stands: that would be taken for it.
fn nothing_there(folder: &OwnedFd, name: &Path) -> Errno {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Errno::EXIST,
        Err(errno) => errno,
    }
}

/// Renames, and never over something that is there.
fn rename_no_replace(from: &OwnedFd, old: &Path, to: &OwnedFd, new: &Path) -> Result<(), Errno> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // Some file systems cannot promise it: then a look before has to do.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(from, old, to, new),
            Err(errno) => Err(errno),
        },
        Err(Errno::NOENT) => Err(nothing_there(to, new)),
        other => other,
    }
}

/// What was moved goes back where it was.
fn put_back(old: &Place, new: &Place, renamed: &[String]) {
    for top in renamed {
        if let Err(error) = rename_top(new, old, top) {
            tracing::error!(%error, top, "cannot be moved back");
        }
    }
}
