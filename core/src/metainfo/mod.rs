//! Torrent files.

pub mod names;

use crate::id::{Digest, InfoHash, PieceIndex};
use crate::layout::Layout;
use alloc::string::String;
use alloc::vec::Vec;

/// A parsed torrent file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// SHA-1 of the raw bytes of the `info` dictionary.
    pub info_hash: InfoHash,
    /// The cleaned name: the file's, or the folder's.
    pub name: String,
    /// Files and pieces.
    pub layout: Layout,
    /// 20 bytes a piece.
    pub piece_hashes: Vec<[u8; 20]>,
    /// BEP 27: peers come from this torrent's trackers only.
    pub private: bool,
    /// BEP 12 tiers, in file order (not shuffled); `announce` alone is one tier of one.
    pub trackers: Vec<Vec<String>>,
    /// BEP 19 `url-list`.
    pub web_seeds: Vec<String>,
    /// `comment`, when present.
    pub comment: Option<String>,
    /// `created by`, when present.
    pub created_by: Option<String>,
    /// `creation date`, seconds since 1970, when present.
    pub created_unix_s: Option<i64>,
}

impl Metainfo {
    /// What the piece must hash to.
    ///
    /// # Panics
    /// When the torrent has no such piece.
    pub fn digest_of(&self, piece: PieceIndex) -> Digest {
        Digest::Sha1(self.piece_hashes[piece.0 as usize])
    }
}
