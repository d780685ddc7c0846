//! Messages and their bytes: a length of four bytes, an id, a body (BEP 3, BEP 6, BEP 10).
//!
//! The `piece` message has no form here because its payload is never held in one place: it is read as a stream by the decoder and
//! written as a header of 13 bytes followed by the block.

use crate::id::PieceIndex;
use alloc::vec::Vec;

pub(super) const CHOKE: u8 = 0;
pub(super) const UNCHOKE: u8 = 1;
pub(super) const INTERESTED: u8 = 2;
pub(super) const NOT_INTERESTED: u8 = 3;
pub(super) const HAVE: u8 = 4;
pub(super) const BITFIELD: u8 = 5;
pub(super) const REQUEST: u8 = 6;
pub(super) const PIECE: u8 = 7;
pub(super) const CANCEL: u8 = 8;
pub(super) const PORT: u8 = 9;
pub(super) const SUGGEST_PIECE: u8 = 13;
pub(super) const HAVE_ALL: u8 = 14;
pub(super) const HAVE_NONE: u8 = 15;
pub(super) const REJECT_REQUEST: u8 = 16;
pub(super) const ALLOWED_FAST: u8 = 17;
pub(super) const EXTENDED: u8 = 20;

/// Whether messages with this id are understood; the others are skipped.
pub(super) fn is_known(id: u8) -> bool {
    matches!(id, CHOKE..=PORT | SUGGEST_PIECE..=ALLOWED_FAST | EXTENDED)
}

/// A range of a piece, as `request`, `cancel`, `reject` and `piece` name it. Nothing says that it lies inside the torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRequest {
    /// The piece.
    pub piece: PieceIndex,
    /// Bytes from the start of the piece.
    pub begin: u32,
    /// Length in bytes.
    pub len: u32,
}

/// Every message but `piece`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message<'a> {
    /// Length 0: the connection is alive.
    KeepAlive,
    /// No more requests are answered.
    Choke,
    /// Requests are answered.
    Unchoke,
    /// The sender wants something that the receiver has.
    Interested,
    /// The sender wants nothing.
    NotInterested,
    /// The sender has one more piece.
    Have(PieceIndex),
    /// Which pieces the sender has: see [`crate::bitfield::Bitfield::from_wire`].
    Bitfield(&'a [u8]),
    /// Send this block.
    Request(BlockRequest),
    /// Do not send it after all.
    Cancel(BlockRequest),
    /// BEP 5: the UDP port of the sender's DHT node.
    Port(u16),
    /// BEP 6: the receiver might like to fetch this piece.
    SuggestPiece(PieceIndex),
    /// BEP 6: the sender has every piece.
    HaveAll,
    /// BEP 6: the sender has no piece.
    HaveNone,
    /// BEP 6: this request will not be answered.
    RejectRequest(BlockRequest),
    /// BEP 6: this piece may be asked for while choked.
    AllowedFast(PieceIndex),
    /// BEP 10: a message of an extension.
    Extended {
        /// 0 is the extension handshake; the others mean what the receiver said in its own.
        id: u8,
        /// What follows.
        payload: &'a [u8],
    },
    /// A message of a kind unknown here; its body was skipped. It is written with an empty body.
    Unknown {
        /// Its id.
        id: u8,
    },
}

impl<'a> Message<'a> {
    /// Appends the message's bytes, the length in front included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Message::KeepAlive => out.extend_from_slice(&[0; 4]),
            Message::Choke => put_words(CHOKE, &[], out),
            Message::Unchoke => put_words(UNCHOKE, &[], out),
            Message::Interested => put_words(INTERESTED, &[], out),
            Message::NotInterested => put_words(NOT_INTERESTED, &[], out),
            Message::Have(piece) => put_words(HAVE, &[piece.0], out),
            Message::Bitfield(bits) => put_bytes(BITFIELD, &[bits], out),
            Message::Request(range) => put_words(REQUEST, &words_of(range), out),
            Message::Cancel(range) => put_words(CANCEL, &words_of(range), out),
            Message::Port(port) => put_bytes(PORT, &[&port.to_be_bytes()], out),
            Message::SuggestPiece(piece) => put_words(SUGGEST_PIECE, &[piece.0], out),
            Message::HaveAll => put_words(HAVE_ALL, &[], out),
            Message::HaveNone => put_words(HAVE_NONE, &[], out),
            Message::RejectRequest(range) => put_words(REJECT_REQUEST, &words_of(range), out),
            Message::AllowedFast(piece) => put_words(ALLOWED_FAST, &[piece.0], out),
            Message::Extended { id, payload } => put_bytes(EXTENDED, &[&[id], payload], out),
            Message::Unknown { id } => put_words(id, &[], out),
        }
    }

    /// Reads the body of a message of a known kind. `None` when its length does not fit.
    pub(super) fn parse(id: u8, body: &'a [u8]) -> Option<Self> {
        match id {
            BITFIELD => return Some(Message::Bitfield(body)),
            PORT => return body.try_into().ok().map(|port| Message::Port(u16::from_be_bytes(port))),
            EXTENDED => return body.split_first().map(|(&id, payload)| Message::Extended { id, payload }),
            _ => {}
        }
        // All other bodies are words of four bytes.
        let (words, []) = body.as_chunks() else { return None };
        Some(match (id, words) {
            (CHOKE, []) => Message::Choke,
            (UNCHOKE, []) => Message::Unchoke,
            (INTERESTED, []) => Message::Interested,
            (NOT_INTERESTED, []) => Message::NotInterested,
            (HAVE, [piece]) => Message::Have(piece_of(piece)),
            (REQUEST, [piece, begin, len]) => Message::Request(range_of(piece, begin, len)),
            (CANCEL, [piece, begin, len]) => Message::Cancel(range_of(piece, begin, len)),
            (SUGGEST_PIECE, [piece]) => Message::SuggestPiece(piece_of(piece)),
            (HAVE_ALL, []) => Message::HaveAll,
            (HAVE_NONE, []) => Message::HaveNone,
            (REJECT_REQUEST, [piece, begin, len]) => Message::RejectRequest(range_of(piece, begin, len)),
            (ALLOWED_FAST, [piece]) => Message::AllowedFast(piece_of(piece)),
            _ => return None,
        })
    }
}

/// Appends the 13 bytes of a `piece` message that stand before the block of `request.len` bytes.
pub fn encode_piece_header(request: BlockRequest, out: &mut Vec<u8>) {
    put_header(PIECE, 8 + request.len, out);
    out.extend_from_slice(&request.piece.0.to_be_bytes());
    out.extend_from_slice(&request.begin.to_be_bytes());
}

fn put_header(id: u8, body_len: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&(1 + body_len).to_be_bytes());
    out.push(id);
}

fn put_words(id: u8, words: &[u32], out: &mut Vec<u8>) {
    put_header(id, 4 * words.len() as u32, out);
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

fn put_bytes(id: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    put_header(id, parts.iter().map(|part| part.len() as u32).sum(), out);
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn words_of(range: BlockRequest) -> [u32; 3] {
    [range.piece.0, range.begin, range.len]
}

fn piece_of(word: &[u8; 4]) -> PieceIndex {
    PieceIndex(u32::from_be_bytes(*word))
}

fn range_of(piece: &[u8; 4], begin: &[u8; 4], len: &[u8; 4]) -> BlockRequest {
    BlockRequest { piece: piece_of(piece), begin: u32::from_be_bytes(*begin), len: u32::from_be_bytes(*len) }
}
