//! `sameseed create`: a torrent file from a file or a folder.
//!
//! The same contents and options make the same torrent file: files are sorted and no date is written. Nothing is read through a link.

use super::args::CreateArgs;
use super::exit::{Exit, Failure, system_words};
use super::hashing::hash_pieces;
use super::output::{Redrawn, Stream};
use super::text::per_cent;
use super::{info, output, torrent_file};
use sameseed_core::id::Digest;
use sameseed_core::metainfo::create::{Content, NewTorrent};
use sameseed_core::metainfo::{Metainfo, NameRules};
use std::fs;
use std::path::{Path, PathBuf};

/// Makes it.
pub(crate) fn create(args: &CreateArgs) -> Result<Exit, Failure> {
    // `.` and `..` have names of their own.
    let path = fs::canonicalize(&args.path).map_err(|error| unreadable(&args.path, &error))?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::new(Exit::Usage, format!("{} has no name to share it by", path.display())));
    };
    let name = text(name, &path)?;
    let target = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.torrent")));
    torrent_file::refuse_existing(&target, args.force)?;
    let kind = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
    let content = if kind.is_dir() {
        Content::Folder(files_below(&path, &target)?)
    } else if kind.is_file() {
        Content::File(kind.len())
    } else {
        return Err(Failure::new(Exit::Usage, format!("{} is neither a file nor a folder", path.display())));
    };
    let torrent = NewTorrent {
        name,
        content,
        piece_len: args.piece_length,
        trackers: args.trackers.iter().map(|url| vec![url.clone()]).collect(),
        web_seeds: Vec::new(),
        private: args.private,
        comment: args.comment.clone(),
        created_by: Some(concat!("sameseed ", env!("CARGO_PKG_VERSION")).to_owned()),
        created_unix_s: None,
    };
    let refused = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", args.path.display()));
    let mut creation = torrent.start().map_err(|error| refused(error.to_string()))?;
    if creation.layout().total_len() == 0 {
        return Err(refused(String::from("there is nothing to share: not one byte")));
    }
    let mut line = Redrawn::new(Stream::Stderr);
    let pieces = creation.layout().piece_count();
    let digests = hash_pieces(creation.layout(), parent, |done| {
        line.draw(&[format!("hashing: {}", per_cent(u64::from(done), u64::from(pieces)))]);
    });
    line.clear();
    for digest in digests {
        match digest {
            Ok(digest) => creation.push(Digest::Sha1(digest)),
            Err(bad) => {
                let file = creation.layout().files().get(bad.file.0 as usize);
                let path = parent.join(file.map_or(String::new(), |file| file.path.join("/")));
                return Err(unreadable(&path, &bad.error));
            }
        }
    }
    let bytes = creation.finish().map_err(|error| refused(error.to_string()))?;
    let metainfo =
        Metainfo::parse_with(&bytes, NameRules::Posix).map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
    torrent_file::save(&target, &bytes, args.force)?;
    output::line(&info::made(&metainfo, &target));
    Ok(Exit::Done)
}

/// Regular files below a folder with their lengths, sorted; links and devices are passed over, and so is `except`.
fn files_below(root: &Path, except: &Path) -> Result<Vec<(Vec<String>, u64)>, Failure> {
    let except = fs::canonicalize(except).ok();
    let mut files = Vec::new();
    let mut folders: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(PathBuf::from_iter(&folder));
        let entries = fs::read_dir(&path).map_err(|error| unreadable(&path, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&path, &error))?;
            // Of the entry itself, not of what a link leads to.
            let kind = entry.metadata().map_err(|error| unreadable(&entry.path(), &error))?;
            if !kind.is_dir() && !kind.is_file() || except.as_ref() == Some(&entry.path()) {
                continue;
            }
            let name = text(&entry.file_name(), &entry.path())?;
            let elements = folder.iter().cloned().chain([name]).collect();
            if kind.is_dir() { folders.push(elements) } else { files.push((elements, kind.len())) }
        }
    }
    files.sort();
    Ok(files)
}

fn text(name: &std::ffi::OsStr, path: &Path) -> Result<String, Failure> {
    let what = || Failure::new(Exit::Usage, format!("{}: its name is not UTF-8; rename it", path.display()));
    name.to_str().map(str::to_owned).ok_or_else(what)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::Usage } else { Exit::Disk };
    let words = if error.kind() == std::io::ErrorKind::UnexpectedEof {
        String::from("it became shorter while it was read")
    } else {
        system_words(error)
    };
    Failure::new(exit, format!("{}: cannot be read: {words}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_folder_is_sorted_and_links_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        for folder in ["b", "b/c", "empty"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        for (file, text) in
            [("b/z", "1"), ("b/c/y", "22"), ("a", "333"), ("b.txt", ""), (".hidden", "4444"), ("x.torrent", "")]
        {
            fs::write(root.join(file), text).unwrap();
        }
        std::os::unix::fs::symlink("b", root.join("link")).unwrap();
        std::os::unix::fs::symlink("a", root.join("b/link")).unwrap();
        let files: Vec<(String, u64)> = files_below(&root, &root.join("x.torrent"))
            .unwrap()
            .into_iter()
            .map(|(elements, len)| (elements.join("/"), len))
            .collect();
        let expected = [(".hidden", 4), ("a", 3), ("b/c/y", 2), ("b/z", 1), ("b.txt", 0)];
        assert_eq!(files, expected.map(|(path, len)| (path.to_owned(), len)));
    }
}
