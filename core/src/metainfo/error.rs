//! Why a torrent file is refused: which key, and what is wrong with it.

use super::MAX_TORRENT_BYTES;
use crate::bencode::{BencodeError, Kind};
use core::fmt;

/// Why [`Metainfo::parse`](super::Metainfo::parse) refuses a torrent file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// Longer than [`MAX_TORRENT_BYTES`].
    #[error("the torrent file is longer than {MAX_TORRENT_BYTES} bytes, which is the limit")]
    TooBig {
        /// Its length in bytes.
        len: usize,
    },
    /// Not bencode, or beyond its limits.
    #[error("not a torrent file: {0}")]
    Bencode(#[from] BencodeError),
    /// Bencode, but no dictionary.
    #[error("not a torrent file: it holds no dictionary")]
    NotADictionary,
    /// No v1 part (BEP 52).
    #[error("the torrent is for BitTorrent v2 only, which is not supported yet")]
    OnlyV2,
    /// A key that is needed has no safe meaning.
    #[error("`{key}` {fault}")]
    Key {
        /// The key.
        key: Key,
        /// What is wrong with it.
        fault: KeyFault,
    },
}

/// A key of a torrent file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The file in `info.files`, from 0, when the key is one of a file.
    pub file: Option<u32>,
    /// Its name there, in the `info` dictionary, or `info` itself.
    pub name: &'static str,
}

impl Key {
    /// A key outside the files.
    pub(super) const fn new(name: &'static str) -> Self {
        Key { file: None, name }
    }

    /// The error of this key.
    pub(super) const fn is(self, fault: KeyFault) -> MetainfoError {
        MetainfoError::Key { key: self, fault }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file, self.name) {
            (Some(file), "") => write!(f, "info.files[{file}]"),
            (Some(file), name) => write!(f, "info.files[{file}].{name}"),
            (None, "info") => f.write_str("info"),
            (None, name) => write!(f, "info.{name}"),
        }
    }
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is something else.
    #[error("should be {}", describe(*.expected))]
    WrongKind {
        /// What it should be.
        expected: Kind,
    },
    /// An integer that has no place in 64 bits.
    #[error("does not fit in 64 bits")]
    TooLong,
    /// An integer out of its range.
    #[error("is {value}, but must be from {min} to {max}")]
    OutOfRange {
        /// What it is.
        value: i64,
        /// The least that it may be.
        min: i64,
        /// The most that it may be.
        max: i64,
    },
    /// With this one, the lengths of the files add up to more than 2^63 - 1 bytes.
    #[error("makes the sum of all lengths overflow")]
    SumOverflow,
    /// It has no entries.
    #[error("is empty")]
    Empty,
    /// It has too many entries.
    #[error("has {found} entries, the limit is {max}")]
    TooMany {
        /// How many there are.
        found: u64,
        /// How many there may be.
        max: u64,
    },
    /// Hashes are cut off.
    #[error("has {len} bytes, which is no multiple of 20")]
    Ragged {
        /// Its length in bytes.
        len: usize,
    },
    /// There is not one hash for each piece.
    #[error("has hashes of {found} pieces, but the files make {expected}")]
    WrongCount {
        /// How many hashes there are.
        found: u64,
        /// How many pieces the files make.
        expected: u64,
    },
}

const fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "an integer",
        Kind::Bytes => "a string",
        Kind::List => "a list",
        Kind::Dict => "a dictionary",
    }
}
