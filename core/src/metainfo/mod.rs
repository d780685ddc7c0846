//! Torrent files (BEP 3, v1): read by [`Metainfo::parse`], made by [`create`].
//!
//! What has a safe meaning is understood, however odd; what has none is refused by an error that names the key and the reason. Nothing
//! here touches a disk: paths leave this module cleaned (see [`names`]) and are never links.

pub mod create;
mod error;
pub mod names;
mod parse;

pub use error::{Key, KeyFault, MetainfoError};
pub use names::NameRules;

use crate::id::{Digest, InfoHash, PieceIndex};
use crate::layout::Layout;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Longest torrent file in bytes. 64 MiB, as libtorrent ships: the hashes of [`MAX_PIECES`] pieces need 40 MiB.
pub const MAX_TORRENT_BYTES: usize = 64 << 20;

/// Most values in a torrent file. As libtorrent ships: a file takes some 10 to 20, so this is room for 150,000 files and bounds the memory of a bomb.
pub const MAX_TOKENS: u32 = 3_000_000;

/// Most pieces. 2^21, as libtorrent ships: a bitfield of 256 KiB a peer.
pub const MAX_PIECES: u32 = 1 << 21;

/// Longest piece in bytes. 512 MiB, four times what any client makes; offsets within a piece, and one request past them, stay far inside 32 bits.
pub const MAX_PIECE_BYTES: u32 = 512 << 20;

/// Most elements in a file's path. What nests deeper than this is a bomb; no system holds such a path anyhow.
pub const MAX_PATH_ELEMENTS: usize = 100;

/// Most trackers that are kept. Torrents carry up to some hundred. (The announcer asks fewer: `MAX_TRACKERS` in `announce`.)
pub const MAX_TRACKERS: usize = 500;

/// Most web seeds that are kept, for the same reason.
pub const MAX_WEB_SEEDS: usize = 500;

/// Longest URL that is kept, in bytes. Servers refuse longer ones (RFC 9110 asks for at least 8,000). Web seeds may need it; a tracker's has a limit of its
/// own, [`tracker::url::MAX_URL_BYTES`](crate::tracker::url::MAX_URL_BYTES).
pub const MAX_URL_BYTES: usize = 8000;

/// What of a torrent's name goes into the name of its part file, in bytes: 255 in all is what common file systems hold.
const MAX_PARTS_NAME_BYTES: usize = 200;

/// A parsed torrent file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// SHA-1 of the raw bytes of the `info` dictionary.
    pub info_hash: InfoHash,
    /// The cleaned name: the file's, or the folder's.
    pub name: String,
    /// Files and pieces.
    pub layout: Layout,
    /// 20 bytes a piece. The engine does without: see [`Hashed::Finished`](crate::event::Hashed::Finished).
    pub piece_hashes: Vec<[u8; 20]>,
    /// BEP 27: peers come from this torrent's trackers only.
    pub private: bool,
    /// BEP 12 tiers, in file order (not shuffled); `announce` alone is one tier of one.
    pub trackers: Vec<Vec<String>>,
    /// BEP 19 `url-list`.
    pub web_seeds: Vec<String>,
    /// `comment`, when present; as it stands in the file, control characters included.
    pub comment: Option<String>,
    /// `created by`, when present; as it stands in the file.
    pub created_by: Option<String>,
    /// `creation date`, seconds since 1970, when present.
    pub created_unix_s: Option<i64>,
}

impl Metainfo {
    /// Reads a torrent file, with names that any system can hold ([`NameRules::Portable`]).
    ///
    /// ```
    /// use sameseed_core::metainfo::Metainfo;
    ///
    /// let torrent = b"d4:infod6:lengthi3e4:name5:a.txt12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    /// let metainfo = Metainfo::parse(torrent).expect("every key is there");
    /// assert_eq!((metainfo.name.as_str(), metainfo.layout.total_len()), ("a.txt", 3));
    ///
    /// let error = Metainfo::parse(b"d4:infodee").expect_err("the info dictionary is empty");
    /// assert!(error.to_string().contains("name"), "an error names the key: {error}");
    /// ```
    ///
    /// # Errors
    /// [`MetainfoError`], which names the key and the reason.
    pub fn parse(torrent: &[u8]) -> Result<Self, MetainfoError> {
        Self::parse_with(torrent, NameRules::Portable)
    }

    /// Reads a torrent file. Keys that the download does not need are ignored when they are odd; bytes after the file's end are ignored too, as other clients do.
    ///
    /// # Errors
    /// [`MetainfoError`], which names the key and the reason.
    pub fn parse_with(torrent: &[u8], rules: NameRules) -> Result<Self, MetainfoError> {
        parse::parse(torrent, rules)
    }

    /// What the torrent's part file is called: hidden, told apart by the info-hash, and no longer than any system bears.
    pub fn parts_name(&self) -> String {
        let end = (0..=self.name.len().min(MAX_PARTS_NAME_BYTES)).rev().find(|end| self.name.is_char_boundary(*end));
        let hash = self.info_hash.to_hex();
        format!(".{}.{}.parts", &self.name[..end.unwrap_or(0)], &hash[..8])
    }

    /// What the piece must hash to.
    ///
    /// # Panics
    /// When the torrent has no such piece.
    pub fn digest_of(&self, piece: PieceIndex) -> Digest {
        Digest::Sha1(self.piece_hashes[piece.0 as usize])
    }
}

#[cfg(test)]
mod tests;
