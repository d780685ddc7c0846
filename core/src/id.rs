//! Typed names and indices: a piece index is never mistaken for a block index or a connection.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Length of a block, in bytes: what one `request` asks for. Only the last block of a piece is shorter.
/// All clients use 16 KiB; larger requests are refused by most (BEP 3).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// A piece's place in its torrent, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(pub u32);

/// A file's place in its torrent, from 0, pad files included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIndex(pub u32);

/// A reader's number in its torrent, chosen by the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

/// A torrent's number in its engine; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentId(pub u32);

/// An operation's number; never used twice, so that a late completion is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// A connection's number; never used twice. The driver numbers what it accepts, the engine what it dials, so
/// the two halves never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// The n-th connection that the driver accepted.
    pub const fn accepted(n: u64) -> Self {
        ConnId(n << 1)
    }

    /// The n-th connection that the engine dialled.
    pub const fn dialed(n: u64) -> Self {
        ConnId((n << 1) | 1)
    }

    /// Whether the engine dialled it.
    pub const fn is_dialed(self) -> bool {
        self.0 & 1 == 1
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_dialed() { "out" } else { "in" }, self.0 >> 1)
    }
}

/// A folder, in the words of the driver's disk: the engine passes it on and never looks into it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folder(pub Vec<u8>);

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({})", self.0.escape_ascii())
    }
}

/// What a peer calls itself (BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0.escape_ascii())
    }
}

/// A torrent's name on the wire and at trackers. One arm today; BEP 52's SHA-256 is the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InfoHash {
    /// SHA-1 of the bytes of the `info` dictionary (BEP 3).
    V1([u8; 20]),
}

impl InfoHash {
    /// The 20 bytes that stand in handshakes and announces.
    pub const fn wire_bytes(&self) -> &[u8; 20] {
        match self {
            InfoHash::V1(bytes) => bytes,
        }
    }

    /// 40 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        to_hex(self.wire_bytes())
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

/// What a piece's bytes must hash to. One arm today; BEP 52's Merkle root is the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-1 of the piece (BEP 3).
    Sha1([u8; 20]),
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digest::Sha1(bytes) => write!(f, "Sha1({})", to_hex(bytes)),
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('?');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn accepted_and_dialed_numbers_never_meet() {
        assert_ne!(ConnId::accepted(3), ConnId::dialed(3));
        assert_eq!(ConnId::accepted(3).to_string(), "in3");
        assert_eq!(ConnId::dialed(3).to_string(), "out3");
    }

    #[test]
    fn info_hash_prints_as_hex() {
        let mut bytes = [0; 20];
        bytes[0] = 0xab;
        assert_eq!(&InfoHash::V1(bytes).to_hex()[..4], "ab00");
    }
}
