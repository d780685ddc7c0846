//! Laws of the wire decoder on arbitrary bytes.
//!
//! Cut anywhere, they give the same items and the same fault; written again, what was understood gives the bytes that were read;
//! the buffer stays within what has come and within the largest message.
//!
//! Input: a byte of settings (lowest bit: a good handshake is put in front; the rest: the piece count, 0 for unknown), a byte that says how
//! many bytes of cut lengths follow (less one each, used over and over), then what the peer sends.

use sameseed_core::fault::PeerFault;
use sameseed_core::id::{BLOCK_LEN, PeerId};
use sameseed_core::wire::{
    BlockRequest, Decoder, ExtendedHandshake, HANDSHAKE_LEN, Handshake, Item, MAX_BITFIELD_LEN, Message,
    encode_piece_header,
};

/// Small, so that a short input reaches it.
const MAX_EXTENDED_LEN: u32 = 200;

/// What was decoded. Parts of a block are joined: where they are cut follows the input.
#[derive(Debug, Default, PartialEq)]
struct Transcript {
    items: Vec<Decoded>,
    fault: Option<PeerFault>,
}

#[derive(Debug, PartialEq)]
enum Decoded {
    Handshake(Handshake),
    /// A message, written again.
    Message(Vec<u8>),
    Unknown(u8),
    Block {
        range: BlockRequest,
        data: Vec<u8>,
        complete: bool,
    },
}

impl Transcript {
    fn push(&mut self, item: Item<'_>) {
        match (item, self.items.last_mut()) {
            (Item::Handshake(handshake), None) => self.items.push(Decoded::Handshake(handshake)),
            (Item::Message(Message::Unknown { id }), Some(_)) => self.items.push(Decoded::Unknown(id)),
            (Item::Message(message), Some(_)) => {
                if let Message::Extended { id: 0, payload } = message {
                    check_extended_handshake(payload);
                }
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                self.items.push(Decoded::Message(bytes));
            }
            (Item::PieceStart(range), Some(_)) => {
                assert!((1..=BLOCK_LEN).contains(&range.len));
                self.items.push(Decoded::Block { range, data: Vec::new(), complete: false });
            }
            (Item::PieceBytes(bytes), Some(Decoded::Block { data, complete: false, .. })) => {
                assert!(!bytes.is_empty());
                data.extend_from_slice(bytes);
            }
            (Item::PieceEnd, Some(Decoded::Block { range, data, complete })) => {
                assert_eq!(range.len as usize, data.len());
                *complete = true;
            }
            (item, last) => panic!("{item:?} after {last:?}"),
        }
    }
}

impl Decoded {
    /// The bytes that were read; `None` when they are not known or not complete.
    fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            Decoded::Handshake(handshake) => handshake.encode(&mut out),
            Decoded::Message(bytes) => out.extend_from_slice(bytes),
            Decoded::Block { range, data, complete: true } => {
                encode_piece_header(*range, &mut out);
                out.extend_from_slice(data);
            }
            Decoded::Block { complete: false, .. } | Decoded::Unknown(_) => return None,
        }
        Some(out)
    }
}

/// Decodes `parts` one after the other and checks the laws that hold at every step.
fn decode<'a>(parts: impl Iterator<Item = &'a [u8]>, piece_count: u32) -> Transcript {
    let (mut transcript, mut decoder) = (Transcript::default(), Decoder::new(MAX_EXTENDED_LEN));
    let largest = if piece_count == 0 { MAX_BITFIELD_LEN } else { piece_count.div_ceil(8) };
    let largest = (largest as usize).max(1 + MAX_EXTENDED_LEN as usize).max(HANDSHAKE_LEN);
    let mut received = 0;
    for part in parts {
        let mut input = part;
        received += part.len();
        loop {
            let before = input;
            let item = decoder.next(&mut input);
            let used = &before[..before.len() - input.len()];
            match item {
                Ok(Some(item)) => {
                    let whole_message = matches!(item, Item::Handshake(_) | Item::Message(_));
                    transcript.push(item);
                    // A message that lay whole in the input reads the same when it is written again.
                    let written = transcript.items.last().and_then(Decoded::encode);
                    if let Some(written) = written.filter(|_| whole_message) {
                        assert!(written.ends_with(used), "read {used:02x?}, written {written:02x?}");
                    }
                    if transcript.items.len() == 1 && whole_message && piece_count > 0 {
                        decoder.set_piece_count(piece_count);
                    }
                }
                Ok(None) => {
                    assert!(input.is_empty(), "more is wanted before all is used");
                    break;
                }
                Err(fault) => {
                    assert_eq!(decoder.next(&mut input), Err(fault), "a fault is for ever");
                    transcript.fault = Some(fault);
                    return transcript;
                }
            }
            let capacity = decoder.buffer_capacity();
            assert!(capacity <= largest && capacity <= HANDSHAKE_LEN.max(2 * received), "{capacity} bytes of buffer");
        }
    }
    transcript
}

/// What was understood of an extension handshake survives being written and read again.
fn check_extended_handshake(payload: &[u8]) {
    if let Ok(handshake) = ExtendedHandshake::parse(payload) {
        let mut written = Vec::new();
        handshake.encode(&mut written);
        assert_eq!(ExtendedHandshake::parse(&written), Ok(handshake));
    }
}

/// Cuts `stream` into parts whose lengths are `lens` plus one, over and over; whole when there are none.
fn cut<'a>(mut stream: &'a [u8], lens: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut lens = lens.iter().cycle();
    std::iter::from_fn(move || {
        let len = lens.next().map_or(stream.len(), |len| usize::from(*len) + 1);
        let (part, rest) = stream.split_at(stream.len().min(len));
        stream = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// Panics when a law is broken.
pub fn check(data: &[u8]) {
    let [settings, cuts, rest @ ..] = data else { return };
    let (lens, sent) = rest.split_at(rest.len().min(usize::from(*cuts)));
    let mut stream = Vec::new();
    if settings & 1 == 1 {
        Handshake::new([1; 20], PeerId([2; 20])).encode(&mut stream);
    }
    stream.extend_from_slice(sent);
    let piece_count = u32::from(settings >> 1);

    let whole = decode(std::iter::once(&stream[..]), piece_count);
    assert_eq!(decode(cut(&stream, lens), piece_count), whole);

    // Up to the first message that is not written as it was read, the stream is what the items are written as.
    let mut read = &stream[..];
    for written in whole.items.iter().map_while(Decoded::encode) {
        assert!(read.starts_with(&written), "written {written:02x?}");
        read = &read[written.len()..];
    }
}
