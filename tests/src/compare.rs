//! Bit for bit: is what lies in a folder the tree that was shared?

use crate::Tree;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Whether a program makes files of no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyFiles {
    /// They must be there.
    Made,
    /// They may be missing: not every program makes them.
    Optional,
}

/// The first difference between `tree` and what lies in `dir`, as a sentence; `None` when there is none.
///
/// Files in the torrent's own folder that the torrent does not hold count as a difference too.
pub fn difference(tree: &Tree, dir: &Path, empty_files: EmptyFiles) -> Option<String> {
    for file in &tree.files {
        let path = tree.path_in(dir, file);
        if file.bytes.is_empty() && empty_files == EmptyFiles::Optional && !path.exists() {
            continue;
        }
        // Lengths first: a look at a download in progress is to be cheap.
        match fs::metadata(&path) {
            Err(error) => return Some(format!("{}: {error}", path.display())),
            Ok(found) if found.len() != file.bytes.len() as u64 => {
                return Some(format!("{}: {} bytes instead of {}", path.display(), found.len(), file.bytes.len()));
            }
            Ok(_) => {}
        }
        let found = match fs::read(&path) {
            Ok(found) => found,
            Err(error) => return Some(format!("{}: {error}", path.display())),
        };
        if found == file.bytes {
            continue;
        }
        if let Some(at) = found.iter().zip(&file.bytes).position(|(found, expected)| found != expected) {
            return Some(format!("{}: differs first at byte {at} of {}", path.display(), file.bytes.len()));
        }
        return Some(format!("{}: changed its length while it was read", path.display()));
    }
    let known: BTreeSet<PathBuf> = tree.files.iter().map(|file| tree.path_in(dir, file)).collect();
    let stranger = files_below(&dir.join(&tree.name)).into_iter().find(|path| !known.contains(path));
    stranger.map(|path| format!("{}: not a file of the torrent", path.display()))
}

/// Every file below `path`, or `path` itself when it is one.
fn files_below(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return if path.exists() { vec![path.to_path_buf()] } else { Vec::new() };
    };
    entries.flatten().flat_map(|entry| files_below(&entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stage;

    #[test]
    fn every_kind_of_difference_is_seen() {
        let tree = Tree::nested_unicode();
        Stage::run("compare", 60, |stage| {
            let dir = stage.folder("data")?;
            assert!(difference(&tree, &dir, EmptyFiles::Made).is_some(), "nothing is there");
            tree.write_into(&dir)?;
            assert_eq!(difference(&tree, &dir, EmptyFiles::Made), None);

            let empty = tree.files.iter().find(|file| file.bytes.is_empty()).ok_or("one file is empty")?;
            fs::remove_file(tree.path_in(&dir, empty))?;
            assert_eq!(difference(&tree, &dir, EmptyFiles::Optional), None);
            assert!(difference(&tree, &dir, EmptyFiles::Made).is_some(), "an empty file is missing");
            fs::write(tree.path_in(&dir, empty), b"")?;

            let last = tree.files.last().ok_or("there are files")?;
            let mut bytes = last.bytes.clone();
            bytes[12_345] ^= 1;
            fs::write(tree.path_in(&dir, last), &bytes)?;
            let said = difference(&tree, &dir, EmptyFiles::Made).ok_or("one bit differs")?;
            assert!(said.ends_with(&format!("differs first at byte 12345 of {}", bytes.len())), "{said}");

            last.bytes.split_last().map(|(_, shorter)| fs::write(tree.path_in(&dir, last), shorter)).transpose()?;
            assert!(difference(&tree, &dir, EmptyFiles::Made).is_some(), "one byte is missing");

            tree.write_into(&dir)?;
            fs::write(dir.join(&tree.name).join("stranger"), b"")?;
            assert!(difference(&tree, &dir, EmptyFiles::Made).is_some(), "one file too many");
            Ok(())
        })
        .unwrap();
    }
}
