//! A single-file torrent of noise, ready to be fetched: what the scripted servers and peers of one test share.

use crate::{EmptyFiles, Outcome, Run, Stage, Torrent, Tree, difference};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A torrent and what it holds.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The content.
    pub tree: Tree,
    /// The torrent.
    pub torrent: Torrent,
    /// Where it is downloaded to.
    pub dir: PathBuf,
}

impl Sample {
    /// A torrent of `len_bytes` in pieces of `piece_len_bytes`, with one tracker.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn new(stage: &Stage, len_bytes: usize, piece_len_bytes: usize, announce: &str) -> Outcome<Sample> {
        let tree = Tree::single(len_bytes);
        let torrent = Torrent::write(&tree, piece_len_bytes, announce, stage.path("sample.torrent"))?;
        Ok(Sample { tree, torrent, dir: stage.folder("download")? })
    }

    /// All the bytes.
    pub fn bytes(&self) -> &[u8] {
        self.tree.files.first().map_or(&[], |file| &file.bytes)
    }

    /// The number of pieces.
    pub fn pieces(&self) -> usize {
        self.torrent.piece_hashes.len()
    }

    /// Starts the download, with more arguments after the usual ones. It listens on any port, and is told every step as JSON.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn download(&self, stage: &Stage, more: &[&str]) -> Outcome<Run> {
        self.download_from(stage, &[], more)
    }

    /// Starts the download with these peers given by hand.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn download_from(&self, stage: &Stage, peers: &[SocketAddr], more: &[&str]) -> Outcome<Run> {
        let usual = [text(&self.torrent.path), "--dir".into(), text(&self.dir), "--json".into()];
        let listen = ["--listen-port".into(), "0".into()];
        let peers = peers.iter().flat_map(|peer| ["--peer".to_owned(), peer.to_string()]);
        let more = more.iter().map(|arg| arg.to_string());
        Run::start(stage, "sameseed", usual.into_iter().chain(listen).chain(peers).chain(more))
    }

    /// Wants every byte in its place.
    ///
    /// # Errors
    /// The first difference.
    pub fn check_data(&self) -> Outcome {
        match difference(&self.tree, &self.dir, EmptyFiles::Made) {
            None => Ok(()),
            Some(difference) => Err(difference.into()),
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
