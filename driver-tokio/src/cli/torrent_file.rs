//! Torrent files on disk: read with a limit, written whole or not at all.

use super::exit::{Exit, Failure, system_words};
use driver_tokio::{HashStore, PieceHashes, sync_folder};
use sameseed_core::metainfo::{MAX_TORRENT_BYTES, Metainfo, NameRules};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Names of files as this system can hold them, so that what was made or downloaded here by another program is found again.
const NAME_RULES: NameRules = if cfg!(unix) { NameRules::Posix } else { NameRules::Portable };

/// Reads and parses a torrent file.
pub(crate) fn load(path: &Path) -> Result<Metainfo, Failure> {
    let failure = |what: String| Failure::new(Exit::Torrent, format!("{}: {what}", path.display()));
    let bytes = read(path).map_err(|error| failure(format!("cannot be read: {}", system_words(&error))))?;
    Metainfo::parse_with(&bytes, NAME_RULES).map_err(|error| failure(error.to_string()))
}

/// A torrent that is ready to be added.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) metainfo: Metainfo,
    pub(crate) hashes: PieceHashes,
}

/// Reads and parses the torrent files of one run. One that is bad, one that is there twice, and two that would write into the same file
/// are refused before anything has begun.
pub(crate) fn load_all(paths: &[PathBuf], store: &HashStore) -> Result<Vec<Loaded>, Failure> {
    let mut all: Vec<Loaded> = Vec::with_capacity(paths.len());
    let mut known = BTreeMap::new();
    let mut files = BTreeMap::new();
    for path in paths {
        let shown = path.display();
        let mut metainfo = load(path).map_err(|failure| match paths.len() {
            1 => failure,
            _ => Failure::new(failure.exit, format!("{failure}; nothing has begun")),
        })?;
        if let Some(first) = known.insert(metainfo.info_hash, path) {
            let what = match first == path {
                true => format!("{shown} is named twice"),
                false => format!("{shown}: the same torrent as {}; name one of them", first.display()),
            };
            return Err(Failure::new(Exit::Usage, what));
        }
        // Of one torrent by itself the names differ, and there may be a hundred thousand.
        let compared = if paths.len() > 1 { metainfo.layout.files() } else { &[] };
        for file in compared.iter().filter(|file| !file.pad) {
            if let Some(other) = files.insert(file.path.clone(), path).filter(|other| *other != path) {
                let file = file.path.join("/");
                let what = format!(
                    "{shown}: its file {file} is one of {} too; download them one by one, each with a --dir of its own",
                    other.display()
                );
                return Err(Failure::new(Exit::Usage, what));
            }
        }
        // Of ten thousand torrents these would be most of what is in memory.
        let hashes = store.keep(std::mem::take(&mut metainfo.piece_hashes));
        all.push(Loaded { metainfo, hashes });
    }
    Ok(all)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than is allowed, for the parser to refuse.
    File::open(path)?.take(MAX_TORRENT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes `bytes` beside `path` and renames, so that a crash or a full disk never leaves half a torrent file.
pub(crate) fn save(path: &Path, bytes: &[u8], replace: bool) -> Result<(), Failure> {
    refuse_existing(path, replace)?;
    let beside = beside(path);
    let written = write_new(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| sync_folder(path.parent().unwrap_or(Path::new(""))));
    written.map_err(|error| {
        // What cannot be written can perhaps not be removed either; the first error is the one that matters.
        let _ = fs::remove_file(&beside);
        Failure::new(Exit::Disk, format!("{}: cannot be written: {}", path.display(), system_words(&error)))
    })
}

/// An error when `path` exists and must not be replaced.
pub(crate) fn refuse_existing(path: &Path, replace: bool) -> Result<(), Failure> {
    if !replace && fs::symlink_metadata(path).is_ok() {
        let what = format!("{} exists already; --force replaces it, --output names another file", path.display());
        return Err(Failure::new(Exit::Usage, what));
    }
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_replaced_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.torrent");
        save(&path, b"one", false).unwrap();
        assert_eq!(save(&path, b"two", false).unwrap_err().exit, Exit::Usage);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        save(&path, b"two", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_list_of_torrents_is_right_as_a_whole_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let torrent = |name: &str, file: &str, length: u32| {
            let path = dir.path().join(name);
            let len = file.len();
            let info =
                format!("d6:lengthi{length}e4:name{len}:{file}12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae");
            fs::write(&path, format!("d4:info{info}e")).unwrap();
            path
        };
        let (one, two) = (torrent("1.torrent", "a", 1), torrent("2.torrent", "b", 1));
        let (copy, clash) = (torrent("copy.torrent", "a", 1), torrent("clash.torrent", "a", 2));
        let missing = dir.path().join("missing.torrent");
        let load_all = |paths: &[PathBuf]| load_all(paths, &HashStore::in_memory());
        assert_eq!(load_all(&[one.clone(), two.clone()]).unwrap().len(), 2);
        let told = |paths: &[&PathBuf]| {
            let failure = load_all(&paths.iter().map(|path| path.to_path_buf()).collect::<Vec<_>>()).unwrap_err();
            (failure.exit, failure.message.replace(&format!("{}/", dir.path().display()), ""))
        };
        let twice = String::from("copy.torrent: the same torrent as 1.torrent; name one of them");
        assert_eq!(told(&[&one, &two, &copy]), (Exit::Usage, twice));
        assert_eq!(told(&[&one, &one]), (Exit::Usage, String::from("1.torrent is named twice")));
        let (exit, what) = told(&[&one, &clash]);
        assert_eq!(exit, Exit::Usage);
        assert!(what.starts_with("clash.torrent: its file a is one of 1.torrent too; "), "{what}");
        let (exit, what) = told(&[&one, &missing]);
        assert_eq!(exit, Exit::Torrent);
        assert_eq!(what, "missing.torrent: cannot be read: no such file or directory; nothing has begun");
    }

    #[test]
    fn a_bad_file_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.torrent");
        fs::write(&path, "d4:infode").unwrap();
        let missing = load(&dir.path().join("y")).unwrap_err();
        assert_eq!(missing.exit, Exit::Torrent);
        assert!(missing.message.ends_with("y: cannot be read: no such file or directory"), "{missing}");
        assert_eq!(load(&path).unwrap_err().exit, Exit::Torrent);
        assert_eq!(load(dir.path()).unwrap_err().exit, Exit::Torrent);
    }
}
