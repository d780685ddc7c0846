//! Content to share: pseudo-random bytes that are the same in every run, as one file or as a tree of files.

use crate::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

/// What a torrent holds.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The file's name, or the folder's.
    pub name: String,
    /// In the torrent's order. One file with an empty path: a single-file torrent.
    pub files: Vec<TreeFile>,
}

/// One file of a tree.
#[derive(Clone, Debug)]
pub struct TreeFile {
    /// Below the torrent's folder.
    pub path: Vec<String>,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Tree {
    /// One file of `len_bytes`.
    pub fn single(len_bytes: usize) -> Tree {
        let file = TreeFile { path: Vec::new(), bytes: noise(1, len_bytes) };
        Tree { name: "single file.bin".into(), files: vec![file] }
    }

    /// Forty files of odd sizes, some empty, so that pieces of 64 KiB begin and end in the midst of files and one piece holds many of them.
    pub fn many_small() -> Tree {
        let files = (0..40u64).map(|i| {
            let len_bytes = match i % 8 {
                0 => 0,
                1 => 1,
                2 => 16_384,
                3 => 65_536 + 7,
                4 => 999,
                5 => 700_001,
                6 => 3 * 65_536,
                _ => 16_383 + i as usize,
            };
            TreeFile { path: vec![format!("file-{i:02}.dat")], bytes: noise(100 + i, len_bytes) }
        });
        Tree { name: "many small files".into(), files: files.collect() }
    }

    /// Folders in folders, with names from many scripts.
    pub fn nested_unicode() -> Tree {
        let paths: [&[&str]; 9] = [
            &["a", "b", "c", "d", "e", "deep.bin"],
            &["a", "b", "empty file"],
            &["a", "b", "beside.bin"],
            &["日本語", "ファイル.bin"],
            &["Übergröße", "naïve café.bin"],
            &["кириллица", "имя файла.bin"],
            &["עברית", "שלום.bin"],
            &["crab 🦀", "🦀🦀.bin"],
            &["it's [a] {name} & #more;", "100% (odd) $HOME ~.bin"],
        ];
        let files = paths.iter().zip(0u64..).map(|(path, i)| {
            let len_bytes = if i == 1 { 0 } else { 400_000 + 77_777 * i as usize };
            TreeFile { path: path.iter().map(|name| name.to_string()).collect(), bytes: noise(200 + i, len_bytes) }
        });
        Tree { name: "nested ünïcödé 木".into(), files: files.collect() }
    }

    /// Whether it makes a single-file torrent.
    pub fn is_single(&self) -> bool {
        matches!(self.files.as_slice(), [only] if only.path.is_empty())
    }

    /// The sum of the files' lengths.
    pub fn len_bytes(&self) -> usize {
        self.files.iter().map(|file| file.bytes.len()).sum()
    }

    /// Where `file` lies when the tree lies in `dir`.
    pub fn path_in(&self, dir: &Path, file: &TreeFile) -> PathBuf {
        file.path.iter().fold(dir.join(&self.name), |path, name| path.join(name))
    }

    /// Writes the tree into `dir`.
    ///
    /// # Errors
    /// When a file or folder cannot be written.
    pub fn write_into(&self, dir: &Path) -> Outcome {
        for file in &self.files {
            let path = self.path_in(dir, file);
            fs::create_dir_all(path.parent().ok_or("a file lies in a folder")?)?;
            fs::write(path, &file.bytes)?;
        }
        Ok(())
    }
}

/// `len_bytes` of noise that depend on `seed` alone (SplitMix64).
pub fn noise(seed: u64, len_bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0xa076_1d64_78bd_642f);
    let mut bytes = Vec::with_capacity(len_bytes + 8);
    while bytes.len() < len_bytes {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(len_bytes);
    bytes
}
