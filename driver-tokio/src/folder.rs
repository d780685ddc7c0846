//! Folders that are made where they are missing, and are still there after a crash.

use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes a folder and those above it. Each new one is brought to stable storage in the folder that holds it: what is synced inside it later would
/// be lost with its name.
///
/// # Errors
/// The system's; and when something else stands there.
pub fn make(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || fs::metadata(path).is_ok_and(|there| there.is_dir()) {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    make(parent)?;
    match fs::create_dir(path) {
        // Another thread was quicker, or something else stands there.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::metadata(path)?.is_dir() {
            true => Ok(()),
            false => Err(Errno::NOTDIR.into()),
        },
        Err(error) => Err(error),
        Ok(()) => sync(parent),
    }
}

/// Brings the names in a folder to stable storage; the empty path is the current folder.
///
/// # Errors
/// The system's.
pub fn sync(path: &Path) -> io::Result<()> {
    match File::open(if path.as_os_str().is_empty() { Path::new(".") } else { path })?.sync_all() {
        // A file system that cannot sync folders has no better to offer.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_as_deep_as_wanted_and_nothing_in_the_way_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        make(&dir.path().join("a/b/../c")).unwrap();
        assert!(dir.path().join("a/b").is_dir() && dir.path().join("a/c").is_dir());
        make(&dir.path().join("a/b/c/d")).unwrap();
        make(&dir.path().join("a/b/c/d")).unwrap();
        assert!(dir.path().join("a/b/c/d").is_dir());
        fs::write(dir.path().join("file"), "x").unwrap();
        assert_eq!(make(&dir.path().join("file")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(make(&dir.path().join("file/below")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        make(Path::new("")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("link")).unwrap();
        make(&dir.path().join("link/new")).unwrap();
        assert!(dir.path().join("a/new").is_dir(), "a download folder may lie behind a link");
    }
}
