//! Torrent files written here, by other code than core's: what both sides of a test are given.

use crate::{Outcome, Tree};
use sha1::{Digest, Sha1};
use std::fs;
use std::path::{Path, PathBuf};

/// A v1 torrent (BEP 3) of a tree.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// Where the file lies.
    pub path: PathBuf,
    /// SHA-1 of the `info` dictionary.
    pub info_hash: [u8; 20],
    /// Bytes a piece.
    pub piece_len_bytes: usize,
    /// SHA-1 of each piece.
    pub piece_hashes: Vec<[u8; 20]>,
}

impl Torrent {
    /// Writes the torrent of `tree` to `path`, with one tracker.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(tree: &Tree, piece_len_bytes: usize, announce: &str, path: PathBuf) -> Outcome<Torrent> {
        let mut all = Vec::with_capacity(tree.len_bytes());
        tree.files.iter().for_each(|file| all.extend_from_slice(&file.bytes));
        let piece_hashes: Vec<[u8; 20]> = all.chunks(piece_len_bytes).map(|piece| Sha1::digest(piece).into()).collect();
        let info = info(tree, piece_len_bytes, &piece_hashes);
        let mut bytes = b"d".to_vec();
        string(&mut bytes, b"announce");
        string(&mut bytes, announce.as_bytes());
        string(&mut bytes, b"info");
        bytes.extend_from_slice(&info);
        bytes.push(b'e');
        fs::write(&path, bytes)?;
        Ok(Torrent { path, info_hash: Sha1::digest(&info).into(), piece_len_bytes, piece_hashes })
    }

    /// How many whole pieces of `tree` lie in `dir`, right to the last byte.
    ///
    /// # Errors
    /// When a file that is there cannot be read.
    pub fn pieces_in(&self, tree: &Tree, dir: &Path) -> Outcome<usize> {
        let mut all = Vec::with_capacity(tree.len_bytes());
        for file in &tree.files {
            let path = tree.path_in(dir, file);
            let mut bytes = if path.exists() { fs::read(path)? } else { Vec::new() };
            bytes.resize(file.bytes.len(), 0);
            all.append(&mut bytes);
        }
        let right = all.chunks(self.piece_len_bytes).zip(&self.piece_hashes);
        Ok(right.filter(|(piece, hash)| <[u8; 20]>::from(Sha1::digest(piece)) == **hash).count())
    }
}

fn info(tree: &Tree, piece_len_bytes: usize, piece_hashes: &[[u8; 20]]) -> Vec<u8> {
    let mut info = b"d".to_vec();
    if tree.is_single() {
        string(&mut info, b"length");
        integer(&mut info, tree.len_bytes());
    } else {
        string(&mut info, b"files");
        info.push(b'l');
        for file in &tree.files {
            info.push(b'd');
            string(&mut info, b"length");
            integer(&mut info, file.bytes.len());
            string(&mut info, b"path");
            info.push(b'l');
            file.path.iter().for_each(|name| string(&mut info, name.as_bytes()));
            info.extend_from_slice(b"ee");
        }
        info.push(b'e');
    }
    string(&mut info, b"name");
    string(&mut info, tree.name.as_bytes());
    string(&mut info, b"piece length");
    integer(&mut info, piece_len_bytes);
    string(&mut info, b"pieces");
    string(&mut info, piece_hashes.as_flattened());
    info.push(b'e');
    info
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

fn integer(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(format!("i{number}e").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bencode_is_written_as_bep_3_has_it() {
        let mut out = Vec::new();
        string(&mut out, b"spam");
        integer(&mut out, 42);
        assert_eq!(out, b"4:spami42e");
    }
}
