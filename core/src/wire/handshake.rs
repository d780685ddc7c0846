//! The first 68 bytes of a connection (BEP 3), with the reserved bits of BEP 6 and BEP 10.

use crate::id::PeerId;
use alloc::vec::Vec;

/// Bytes of a handshake.
pub const HANDSHAKE_LEN: usize = 68;

/// What every handshake begins with: the length of the protocol's name, and the name.
pub(super) const PREAMBLE: [u8; 20] = *b"\x13BitTorrent protocol";

/// BEP 10: bit 20 from the right.
const EXTENDED_BYTE: usize = 5;
const EXTENDED_BIT: u8 = 0x10;

/// BEP 6: the third lowest bit of the last byte.
const FAST_BYTE: usize = 7;
const FAST_BIT: u8 = 0x04;

/// A handshake, either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handshake {
    /// Extensions offered, as they stand on the wire. Unknown bits are no fault.
    pub reserved: [u8; 8],
    /// The torrent.
    pub info_hash: [u8; 20],
    /// What the sender calls itself.
    pub peer_id: PeerId,
}

impl Handshake {
    /// Our handshake: it offers the fast extension (BEP 6) and the extension protocol (BEP 10).
    pub fn new(info_hash: [u8; 20], peer_id: PeerId) -> Self {
        let mut reserved = [0; 8];
        reserved[EXTENDED_BYTE] |= EXTENDED_BIT;
        reserved[FAST_BYTE] |= FAST_BIT;
        Handshake { reserved, info_hash, peer_id }
    }

    /// Whether the sender offers the fast extension (BEP 6). It is agreed when both offer it.
    pub fn supports_fast(&self) -> bool {
        self.reserved[FAST_BYTE] & FAST_BIT != 0
    }

    /// Whether the sender offers the extension protocol (BEP 10).
    pub fn supports_extended(&self) -> bool {
        self.reserved[EXTENDED_BYTE] & EXTENDED_BIT != 0
    }

    /// Appends the 68 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&PREAMBLE);
        out.extend_from_slice(&self.reserved);
        out.extend_from_slice(&self.info_hash);
        out.extend_from_slice(&self.peer_id.0);
    }

    /// Reads 68 bytes. `None` when there are more or fewer, or they do not begin with the protocol's name.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&PREAMBLE)?;
        let (reserved, rest) = rest.split_first_chunk()?;
        let (info_hash, rest) = rest.split_first_chunk()?;
        let peer_id = PeerId(rest.try_into().ok()?);
        Some(Handshake { reserved: *reserved, info_hash: *info_hash, peer_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_handshake_offers_fast_and_extended_and_nothing_else() {
        let ours = Handshake::new([1; 20], PeerId([2; 20]));
        assert!(ours.supports_fast() && ours.supports_extended());
        assert_eq!(ours.reserved, [0, 0, 0, 0, 0, 0x10, 0, 0x04]);
        let theirs = Handshake { reserved: [0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff, 0xfb], ..ours };
        assert!(!theirs.supports_fast() && !theirs.supports_extended());
    }

    #[test]
    fn a_handshake_reads_back_as_written() {
        let ours = Handshake::new([1; 20], PeerId(*b"-SM0001-abcdefghijkl"));
        let mut bytes = Vec::new();
        ours.encode(&mut bytes);
        assert_eq!(bytes.len(), HANDSHAKE_LEN);
        assert_eq!(Handshake::parse(&bytes), Some(ours));
        assert_eq!(Handshake::parse(&bytes[..67]), None);
        bytes.push(0);
        assert_eq!(Handshake::parse(&bytes), None);
    }
}
