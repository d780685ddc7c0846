//! Resume files: one per torrent in one folder, named by info-hash, and never there in part.
//!
//! A file is replaced by writing a new one beside it, bringing that to stable storage, and renaming it. So a crash leaves the old one or the
//! new one, and of two processes with one folder the later one wins. What a file says is core's business.

use rustix::fs::{Mode, OFlags};
use sameseed_core::id::InfoHash;
use sameseed_core::resume::MAX_RESUME_BYTES;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// As other programs call such files.
const EXTENSION: &str = "fastresume";
/// What a file is called before it is whole: the name that it will have, then a number of its own.
const UNFINISHED: &str = "new";

/// Tells apart what one process writes at the same time.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Where a torrent's resume data is.
pub(crate) fn path(folder: &Path, info_hash: InfoHash) -> PathBuf {
    folder.join(format!("{info_hash}.{EXTENSION}"))
}

/// What is there; `None` when nothing is.
///
/// # Errors
/// The system's, or that it is no regular file, or too large to be resume data.
pub(crate) fn load(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Not blocking, because a pipe in the way would block for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_RESUME_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > MAX_RESUME_BYTES {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(Some(bytes)),
    }
}

/// Puts `bytes` in the place of what is there, whole or not at all. The folder is made when it is missing.
///
/// # Errors
/// The system's: then the old file may still be there.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    crate::folder::make(folder)?;
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let fresh = path.with_extension(format!("{EXTENSION}.{}-{number}.{UNFINISHED}", std::process::id()));
    if let Err(error) = write_new(&fresh, bytes).and_then(|()| fs::rename(&fresh, path)) {
        // Mostly there is none, or no way to be rid of it: the next start tries again.
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    // The new name is safe when its folder is.
    crate::folder::sync(folder)
}

/// Removes a torrent's resume data, where there is any.
///
/// # Errors
/// The system's.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A tracker's URL may hold a passkey: nobody else is to read it.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes what crashes have left. When it is another process's that is just being written, that one fails once and tries again.
pub(crate) fn clean(folder: &Path) {
    let is_left = |name: &str| name.contains(&format!(".{EXTENSION}.")) && name.ends_with(&format!(".{UNFINISHED}"));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left)
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::debug!(path = %entry.path().display(), %error, "cannot remove what a crash has left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_saved_is_loaded_and_nothing_else_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let path = path(&folder, InfoHash::V1([0xab; 20]));
        assert_eq!(load(&path).unwrap(), None);
        for bytes in [b"first".to_vec(), b"second, and longer".to_vec(), Vec::new()] {
            save(&path, &bytes).unwrap();
            assert_eq!(load(&path).unwrap(), Some(bytes));
        }
        assert_eq!(names(&folder), [format!("{}.fastresume", "ab".repeat(20))]);
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600, "it may hold a passkey");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(names(&folder), Vec::<String>::new());
        assert!(remove(&folder).is_err(), "a folder is no resume file");
    }

    #[test]
    fn what_a_crash_left_is_removed_and_all_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x.fastresume.7-0.new", "x.fastresume", "notes.new", "y.fastresume.bak"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        clean(dir.path());
        assert_eq!(names(dir.path()), ["notes.new", "x.fastresume", "y.fastresume.bak"]);
        clean(&dir.path().join("is not there"));
    }

    #[test]
    fn what_cannot_be_resume_data_is_not_read_and_a_save_that_fails_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).is_err(), "a folder");
        let huge = dir.path().join("huge");
        File::create(&huge).unwrap().set_len(MAX_RESUME_BYTES as u64 + 1).unwrap();
        assert_eq!(load(&huge).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        fs::create_dir(dir.path().join("in the way")).unwrap();
        fs::write(dir.path().join("in the way/x"), "x").unwrap();
        assert!(save(&dir.path().join("in the way"), b"x").is_err());
        assert_eq!(names(dir.path()), ["huge", "in the way"]);
    }

    #[test]
    fn two_that_save_at_once_leave_one_of_both_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.fastresume");
        let both = [vec![1; 300_000], vec![2; 200_000]];
        std::thread::scope(|scope| {
            for bytes in &both {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| save(path, bytes).unwrap()));
            }
        });
        let left = load(&path).unwrap().unwrap();
        assert!(both.contains(&left));
        assert_eq!(names(dir.path()), ["x.fastresume"]);
    }
}
