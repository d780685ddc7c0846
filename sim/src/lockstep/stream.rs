//! One direction of a connection read by the naive decoder, piece by piece as it comes; the bytes of blocks are skipped.

use crate::naive_wire::{NaiveHandshake, NaiveLimits, NaiveMessage, decode};

/// What comes out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The first 68 bytes.
    Handshake(NaiveHandshake),
    /// A message, but not a block.
    Message(NaiveMessage),
    /// A block of this many bytes, of which the last has come.
    Block {
        /// The piece.
        index: u32,
        /// Where in the piece.
        begin: u32,
        /// How many bytes.
        len: u32,
    },
    /// These bytes are not BitTorrent's.
    Garbage,
}

const HANDSHAKE_LEN: usize = 68;
const BLOCK_HEADER_LEN: usize = 13;
const PIECE: u8 = 7;

/// The reading end of one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    buffer: Vec<u8>,
    head: Vec<u8>,
    skip: usize,
    /// Bytes of blocks that came, of whole ones and others.
    payload: u64,
    block: Option<(u32, u32, u32)>,
    broken: bool,
}

/// What a stream can read.
pub(super) trait Readable {
    /// Lets `stream` read all of it.
    fn read_with(&self, stream: &mut Stream, tell: impl FnMut(Heard));
}

impl Readable for Vec<u8> {
    fn read_with(&self, stream: &mut Stream, tell: impl FnMut(Heard)) {
        stream.read(self, tell);
    }
}

impl Stream {
    /// What these bytes would say, in words; nothing is read.
    pub(super) fn words(&self, bytes: &impl Readable) -> String {
        let mut words = Vec::new();
        bytes.read_with(&mut self.clone(), |heard| {
            words.push(match heard {
                Heard::Handshake(_) => String::from("handshake"),
                Heard::Block { index, begin, len } => format!("piece {index} {begin} {len}"),
                Heard::Garbage => String::from("garbage"),
                Heard::Message(message) => in_words(&message),
            });
        });
        words.join(", ")
    }

    /// Reads more bytes.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Heard)) {
        while !bytes.is_empty() && !self.broken {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            self.payload += skipped as u64;
            bytes = &bytes[skipped..];
            if self.skip > 0 {
                return;
            }
            if let Some((index, begin, len)) = self.block.take() {
                tell(Heard::Block { index, begin, len });
                continue;
            }
            let wanted = self.wanted();
            let more = (wanted - self.buffer.len()).min(bytes.len());
            self.buffer.extend_from_slice(&bytes[..more]);
            bytes = &bytes[more..];
            if self.buffer.len() == self.wanted() {
                self.finish(&mut tell);
            }
        }
        if self.skip == 0
            && let Some((index, begin, len)) = self.block.take()
        {
            tell(Heard::Block { index, begin, len });
        }
    }

    /// The block of which the first bytes have come, and not yet the last.
    pub(super) fn arriving(&self) -> Option<(u32, u32, u32)> {
        self.block
    }

    /// Bytes of blocks that came so far.
    pub(super) fn payload(&self) -> u64 {
        self.payload
    }

    /// How long the buffer must be for the next step.
    fn wanted(&self) -> usize {
        if self.head.is_empty() {
            return HANDSHAKE_LEN;
        }
        match self.buffer.as_slice() {
            [a, b, c, d, rest @ ..] => match (u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest.first()) {
                (0, _) => 4,
                (_, None) => 5,
                (length, Some(&PIECE)) => BLOCK_HEADER_LEN.min(4 + length),
                (length, Some(_)) => 4 + length,
            },
            _ => 4,
        }
    }

    fn finish(&mut self, tell: &mut impl FnMut(Heard)) {
        if self.head.is_empty() {
            self.head = std::mem::take(&mut self.buffer);
            match decode(&self.head, NaiveLimits { piece_count: None, max_extended_len: 1 << 20 }).handshake {
                Some(handshake) => tell(Heard::Handshake(handshake)),
                None => self.give_up(tell),
            }
            return;
        }
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| self.buffer[at + i]));
        if self.buffer.get(4) == Some(&PIECE) && self.buffer.len() == BLOCK_HEADER_LEN {
            let len = word(0) - 9;
            (self.block, self.skip) = (Some((word(5), word(9), len)), len as usize);
            self.buffer.clear();
            return;
        }
        let whole = [&self.head[..], &self.buffer[..]].concat();
        match decode(&whole, NaiveLimits { piece_count: None, max_extended_len: 1 << 20 }).messages.pop() {
            Some(message) => tell(Heard::Message(message)),
            None => return self.give_up(tell),
        }
        self.buffer.clear();
    }

    fn give_up(&mut self, tell: &mut impl FnMut(Heard)) {
        self.broken = true;
        tell(Heard::Garbage);
    }
}

/// A message in the words of BEP 3 and 6.
fn in_words(message: &NaiveMessage) -> String {
    match message {
        NaiveMessage::Have { index } => format!("have {index}"),
        NaiveMessage::Request { index, begin, length } => format!("request {index} {begin} {length}"),
        NaiveMessage::Cancel { index, begin, length } => format!("cancel {index} {begin} {length}"),
        NaiveMessage::RejectRequest { index, begin, length } => format!("reject {index} {begin} {length}"),
        NaiveMessage::Bitfield { .. } => String::from("bitfield"),
        NaiveMessage::Extended { .. } => String::from("extended"),
        plain => format!("{plain:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naive_wire::{encode, encode_handshake};

    #[test]
    fn any_cut_gives_the_same_messages() {
        let handshake = NaiveHandshake { reserved: [0; 8], info_hash: [1; 20], peer_id: [2; 20] };
        let mut bytes = encode_handshake(&handshake);
        let messages = [NaiveMessage::KeepAlive, NaiveMessage::Unchoke, NaiveMessage::Have { index: 3 }];
        messages.iter().for_each(|message| bytes.extend(encode(message)));
        bytes.extend(encode(&NaiveMessage::Piece { index: 1, begin: 2, block: vec![9; 100] }));
        bytes.extend(encode(&NaiveMessage::Choke));
        let mut expected = vec![Heard::Handshake(handshake)];
        expected.extend(messages.map(Heard::Message));
        expected.push(Heard::Block { index: 1, begin: 2, len: 100 });
        expected.push(Heard::Message(NaiveMessage::Choke));
        for portion in [1, 2, 3, 7, 50, 1000] {
            let (mut stream, mut heard) = (Stream::default(), Vec::new());
            bytes.chunks(portion).for_each(|chunk| stream.read(chunk, |h| heard.push(h)));
            assert_eq!(heard, expected, "in portions of {portion}");
        }
    }

    #[test]
    fn what_is_not_bittorrent_is_said_once() {
        let (mut stream, mut heard) = (Stream::default(), Vec::new());
        stream.read(&[7; 200], |h| heard.push(h));
        assert_eq!(heard, [Heard::Garbage]);
    }
}
