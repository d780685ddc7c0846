//! The peer wire protocol: bytes and messages (BEP 3, 6 and 10).
//!
//! [`Decoder`] turns received bytes into [`Item`]s however they are cut; [`Message::encode`] and its neighbours make the bytes that we
//! send. Nothing here knows a torrent: whether a message is legal at its time and place is the peer machine's to judge.

mod decoder;
mod extended;
mod handshake;
mod message;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Item};
pub use extended::{ExtendedHandshake, ExtensionIds};
pub use handshake::{HANDSHAKE_LEN, Handshake};
pub use message::{BlockRequest, Message, encode_piece_header};

/// Bytes of the largest `bitfield` body: one bit for each of 2^21 pieces, the most that a torrent may have here. It holds while
/// the torrent's own piece count is not known.
pub const MAX_BITFIELD_LEN: u32 = (1 << 21) / 8;

/// Bytes of the largest extended payload that a [`Decoder`] takes by default. A block of metadata (BEP 9) is 16 KiB and a short
/// header; twice that leaves room for a long peer exchange.
pub const MAX_EXTENDED_LEN: u32 = 32 * 1024;

/// Bytes of the largest body that is skipped because its id is unknown. Skipping costs no memory; but a longer one is no message
/// of any known extension, it is a stream out of step, which could be followed for gigabytes.
pub const MAX_UNKNOWN_LEN: u32 = 128 * 1024;
