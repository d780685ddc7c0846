//! Torrents that no decent program would make: raw names, raw lists, any piece length, any damage.

use crate::{Outcome, Run, Sample, ScriptedPeer, Stage, Torrent, Tree, TreeFile, noise};
use sha1::{Digest, Sha1};
use std::fs;
use std::path::PathBuf;

/// One file as the torrent has it.
#[derive(Clone, Debug)]
pub struct OddFile {
    /// The elements of its path, as they stand in the torrent.
    pub path: Vec<Vec<u8>>,
    /// Its length.
    pub len_bytes: usize,
    /// A pad file (BEP 47): its bytes are zeros.
    pub pad: bool,
}

impl OddFile {
    /// A file at this path, elements apart.
    pub fn new<E: AsRef<[u8]>>(path: &[E], len_bytes: usize) -> OddFile {
        OddFile { path: path.iter().map(|element| element.as_ref().to_vec()).collect(), len_bytes, pad: false }
    }

    /// Filling after another file.
    pub fn pad(len_bytes: usize) -> OddFile {
        OddFile { path: vec![b".pad".to_vec(), len_bytes.to_string().into_bytes()], len_bytes, pad: true }
    }
}

/// An odd torrent of several files with its content.
#[derive(Clone, Debug)]
pub struct OddTorrent {
    /// The whole of it, for a seeder, and where it is downloaded to.
    pub sample: Sample,
    contents: Vec<Vec<u8>>,
}

impl OddTorrent {
    /// Writes a torrent called `name` with these files.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(stage: &Stage, name: &[u8], files: &[OddFile], piece_len_bytes: usize) -> Outcome<OddTorrent> {
        let contents: Vec<Vec<u8>> = files
            .iter()
            .zip(1u64..)
            .map(|(file, seed)| if file.pad { vec![0; file.len_bytes] } else { noise(seed, file.len_bytes) })
            .collect();
        let all = contents.concat();
        let piece_hashes: Vec<[u8; 20]> = all.chunks(piece_len_bytes).map(|piece| Sha1::digest(piece).into()).collect();
        let list: Vec<Vec<u8>> = files
            .iter()
            .map(|file| {
                let path = raw_list(&file.path.iter().map(|element| raw_bytes(element)).collect::<Vec<_>>());
                let mut pairs = vec![("length", raw_int(file.len_bytes)), ("path", path)];
                if file.pad {
                    pairs.insert(0, ("attr", raw_bytes(b"p")));
                }
                raw_dict(&pairs)
            })
            .collect();
        // Not in the order that BEP 3 wants: the info-hash is that of the bytes as they stand.
        let info = raw_dict(&[
            ("pieces", raw_bytes(piece_hashes.as_flattened())),
            ("piece length", raw_int(piece_len_bytes)),
            ("name", raw_bytes(name)),
            ("files", raw_list(&list)),
        ]);
        let path = stage.path("odd.torrent");
        fs::write(&path, raw_dict(&[("info", info.clone())]))?;
        let torrent = Torrent { path, info_hash: Sha1::digest(&info).into(), piece_len_bytes, piece_hashes };
        let tree = Tree { name: "all".into(), files: vec![TreeFile { path: Vec::new(), bytes: all }] };
        Ok(OddTorrent { sample: Sample { tree, torrent, dir: stage.folder("download")? }, contents })
    }

    /// Starts the download beside an honest seeder.
    ///
    /// # Errors
    /// When something does not start.
    pub fn download(&self, stage: &Stage) -> Outcome<Run> {
        let seeder = ScriptedPeer::honest(2, &self.sample)?;
        self.sample.download_from(stage, &[seeder.addr], &[])
    }

    /// Where the file of this path is to lie.
    pub fn path(&self, path: &str) -> PathBuf {
        self.sample.dir.join(path)
    }

    /// Wants these files, by their number in the torrent, and no others in the download folder.
    ///
    /// # Errors
    /// The first difference.
    pub fn check_files(&self, expected: &[(&str, usize)]) -> Outcome {
        for (path, number) in expected {
            let found = fs::read(self.path(path)).map_err(|error| format!("{path}: {error}"))?;
            if Some(&found) != self.contents.get(*number) {
                return Err(format!("{path} differs").into());
            }
        }
        let found = files_below(&self.sample.dir)?;
        if found.len() != expected.len() {
            return Err(format!("files that are not wanted: {found:?}").into());
        }
        Ok(())
    }
}

/// Every file and link below a folder.
///
/// # Errors
/// When a folder cannot be read.
pub fn files_below(folder: &std::path::Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { files.extend(files_below(&entry.path())?) } else { files.push(entry.path()) }
    }
    Ok(files)
}

/// A string in bencode.
pub fn raw_bytes(bytes: &[u8]) -> Vec<u8> {
    [format!("{}:", bytes.len()).as_bytes(), bytes].concat()
}

/// An integer in bencode.
pub fn raw_int(number: impl std::fmt::Display) -> Vec<u8> {
    format!("i{number}e").into_bytes()
}

/// A list of values in bencode.
pub fn raw_list(values: &[Vec<u8>]) -> Vec<u8> {
    [b"l".as_slice(), &values.concat(), b"e"].concat()
}

/// A dictionary in bencode, its keys in the order given.
pub fn raw_dict(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let pairs: Vec<Vec<u8>> =
        pairs.iter().map(|(key, value)| [raw_bytes(key.as_bytes()), value.clone()].concat()).collect();
    [b"d".as_slice(), &pairs.concat(), b"e"].concat()
}
