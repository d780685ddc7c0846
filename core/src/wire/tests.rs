//! The codec's laws and golden bytes.

use super::*;
use crate::fault::PeerFault;
use crate::id::{BLOCK_LEN, PeerId, PieceIndex};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const HANDSHAKE: Handshake = Handshake { reserved: [7; 8], info_hash: [1; 20], peer_id: PeerId([2; 20]) };

/// An item that outlives its input. Parts of a block are joined, since where they are cut follows the input.
#[derive(Debug, PartialEq)]
enum Owned {
    Handshake(Handshake),
    /// The message's bytes.
    Message(Vec<u8>),
    Block {
        range: BlockRequest,
        data: Vec<u8>,
        complete: bool,
    },
}

#[derive(Debug, Default, PartialEq)]
struct Transcript {
    items: Vec<Owned>,
    fault: Option<PeerFault>,
}

impl Transcript {
    fn push(&mut self, item: Item<'_>) {
        match (item, self.items.last_mut()) {
            (Item::Handshake(handshake), _) => self.items.push(Owned::Handshake(handshake)),
            (Item::Message(message), _) => self.items.push(Owned::Message(encoded(message))),
            (Item::PieceStart(range), _) => self.items.push(Owned::Block { range, data: vec![], complete: false }),
            (Item::PieceBytes(bytes), Some(Owned::Block { data, complete: false, .. })) => {
                assert!(!bytes.is_empty());
                data.extend_from_slice(bytes);
            }
            (Item::PieceEnd, Some(Owned::Block { complete, .. })) => *complete = true,
            (item, last) => panic!("{item:?} after {last:?}"),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![];
        for item in &self.items {
            match item {
                Owned::Handshake(handshake) => handshake.encode(&mut out),
                Owned::Message(bytes) => out.extend_from_slice(bytes),
                Owned::Block { range, data, .. } => {
                    encode_piece_header(*range, &mut out);
                    out.extend_from_slice(data);
                }
            }
        }
        out
    }
}

fn encoded(message: Message<'_>) -> Vec<u8> {
    let mut bytes = vec![];
    message.encode(&mut bytes);
    bytes
}

/// Decodes `parts` one after the other.
fn decode<'a>(piece_count: Option<u32>, parts: impl IntoIterator<Item = &'a [u8]>) -> (Transcript, Decoder) {
    let (mut transcript, mut decoder) = (Transcript::default(), Decoder::default());
    for mut input in parts {
        loop {
            match decoder.next(&mut input) {
                Ok(Some(item)) => transcript.push(item),
                Ok(None) => break,
                Err(fault) => {
                    transcript.fault = Some(fault);
                    assert_eq!(decoder.next(&mut input), Err(fault), "a fault is for ever");
                    return (transcript, decoder);
                }
            }
            // As the peer machine does: the handshake tells which torrent it is.
            if let (Some(count), [Owned::Handshake(_)]) = (piece_count, &transcript.items[..]) {
                decoder.set_piece_count(count);
            }
        }
        assert!(input.is_empty(), "None means that the input is used up");
    }
    (transcript, decoder)
}

fn handshake_then(frames: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    HANDSHAKE.encode(&mut bytes);
    bytes.extend_from_slice(frames);
    bytes
}

/// Decodes a handshake and then `frames`.
fn decode_after_handshake(piece_count: Option<u32>, frames: &[u8]) -> Transcript {
    let (mut transcript, _) = decode(piece_count, [&handshake_then(frames)[..]]);
    assert_eq!(transcript.items.remove(0), Owned::Handshake(HANDSHAKE));
    transcript
}

/// Cuts `bytes` into parts whose lengths are `lens`, over and over.
fn cut<'a>(mut bytes: &'a [u8], lens: &[usize]) -> Vec<&'a [u8]> {
    let mut parts = vec![];
    for len in lens.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (part, rest) = bytes.split_at(bytes.len().min(*len));
        parts.push(part);
        bytes = rest;
    }
    parts
}

fn any_range() -> impl Strategy<Value = BlockRequest> {
    any::<(u32, u32, u32)>().prop_map(|(piece, begin, len)| BlockRequest { piece: PieceIndex(piece), begin, len })
}

/// A message with a place for what it may borrow.
fn any_message() -> impl Strategy<Value = (usize, BlockRequest, Vec<u8>)> {
    (0..MESSAGE_KINDS, any_range(), proptest::collection::vec(any::<u8>(), 0..300))
}

const MESSAGE_KINDS: usize = 17;

fn message_of((kind, range, payload): &(usize, BlockRequest, Vec<u8>)) -> Message<'_> {
    let (range, piece) = (*range, range.piece);
    let id = range.len as u8;
    [
        Message::KeepAlive,
        Message::Choke,
        Message::Unchoke,
        Message::Interested,
        Message::NotInterested,
        Message::Have(piece),
        Message::Bitfield(payload),
        Message::Request(range),
        Message::Cancel(range),
        Message::Port(range.begin as u16),
        Message::SuggestPiece(piece),
        Message::HaveAll,
        Message::HaveNone,
        Message::RejectRequest(range),
        Message::AllowedFast(piece),
        Message::Extended { id, payload },
        Message::Unknown { id: id | 0x80 },
    ][*kind]
}

/// The bytes of any one message, `piece` included.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let block = (any_range(), proptest::collection::vec(any::<u8>(), 1..300)).prop_map(|(range, data)| {
        let mut bytes = vec![];
        encode_piece_header(BlockRequest { len: data.len() as u32, ..range }, &mut bytes);
        bytes.extend_from_slice(&data);
        bytes
    });
    prop_oneof![3 => any_message().prop_map(|message| encoded(message_of(&message))), 1 => block]
}

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any_frame(), 0..12).prop_map(|frames| handshake_then(&frames.concat()))
}

proptest! {
    #[test]
    fn decode_after_encode_is_identity(message in any_message()) {
        let mut decoder = decode(None, [&handshake_then(&[])[..]]).1;
        let (message, bytes) = (message_of(&message), encoded(message_of(&message)));
        let mut input = &bytes[..];
        prop_assert_eq!(decoder.next(&mut input), Ok(Some(Item::Message(message))));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn encode_after_decode_is_identity(stream in any_stream()) {
        let (transcript, _) = decode(None, [&stream[..]]);
        prop_assert_eq!(transcript.fault, None);
        prop_assert_eq!(transcript.encode(), stream);
    }

    #[test]
    fn any_split_of_good_messages_decodes_alike(stream in any_stream(), lens in proptest::collection::vec(1usize..90, 1..20)) {
        prop_assert_eq!(decode(None, cut(&stream, &lens)).0, decode(None, [&stream[..]]).0);
    }

    #[test]
    fn any_split_of_damaged_messages_decodes_alike(
        stream in any_stream(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        lens in proptest::collection::vec(1usize..90, 1..20),
        piece_count in proptest::option::of(0u32..100),
    ) {
        let mut stream = stream;
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        prop_assert_eq!(decode(piece_count, cut(&stream, &lens)).0, decode(piece_count, [&stream[..]]).0);
    }

    #[test]
    fn the_buffer_follows_what_has_come_and_not_what_was_announced(
        id in any::<u8>(),
        len in prop_oneof![any::<u32>(), 0..MAX_BITFIELD_LEN],
        sent in 0usize..3000,
        step in 1usize..100,
    ) {
        let mut bytes = handshake_then(&frame(len, id));
        bytes.resize(bytes.len() + sent, 0);
        let (_, decoder) = decode(None, cut(&bytes, &[step]));
        prop_assert!(decoder.buffer_capacity() <= HANDSHAKE_LEN.max(2 * sent));
    }
}

#[test]
fn every_message_has_its_golden_bytes() {
    let range = BlockRequest { piece: PieceIndex(0x0102_0304), begin: 0x0506_0708, len: 0x4000 };
    let payload = [0xaa, 0xbb];
    let mut table = String::new();
    let mut row = |name: String, bytes: &[u8]| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        table += &format!("{name}\n    {}\n", hex.join(" "));
    };
    for kind in 0..MESSAGE_KINDS {
        let message = (kind, range, payload.to_vec());
        row(format!("{:?}", message_of(&message)), &encoded(message_of(&message)));
    }
    let mut bytes = vec![];
    encode_piece_header(range, &mut bytes);
    row(String::from("the header of a piece"), &bytes);
    let mut bytes = vec![];
    Handshake::new([0xcc; 20], PeerId(*b"-SM0001-abcdefghijkl")).encode(&mut bytes);
    row(String::from("our handshake"), &bytes);
    insta::assert_snapshot!(table);
}

#[test]
fn a_byte_that_is_not_bittorrent_is_refused_as_soon_as_it_comes() {
    assert_eq!(decode(None, [&b"GET / HTTP/1.1\r\n"[..]]).0.fault, Some(PeerFault::NotBitTorrent));
    assert_eq!(decode(None, [&b"\x13BitTorrent protocoL"[..]]).0.fault, Some(PeerFault::NotBitTorrent));
    assert_eq!(decode(None, [&b"\x13BitTorrent "[..], b"P"]).0.fault, Some(PeerFault::NotBitTorrent));
    assert_eq!(decode(None, [&b"\x13BitTorrent protocol"[..], &[0xff; 47]]).0, Transcript::default());
}

#[test]
fn lengths_that_do_not_fit_their_kind_are_faults() {
    for (id, legal) in
        [(0, 1), (1, 1), (2, 1), (3, 1), (14, 1), (15, 1), (4, 5), (13, 5), (17, 5), (6, 13), (8, 13), (16, 13), (9, 3)]
    {
        for len in [1, 2, 3, 4, 5, 6, 12, 13, 14, u32::MAX] {
            let fault = match len {
                _ if len < legal => Some(PeerFault::WrongLength { id, len }),
                _ if len > legal => Some(PeerFault::Oversize { id, len }),
                _ => None,
            };
            assert_eq!(decode_after_handshake(None, &frame(len, id)).fault, fault, "message {id}, length {len}");
        }
    }
}

#[test]
fn lengths_up_to_their_limit_are_taken_and_no_more() {
    for (id, least, most) in [
        (5, 1, 1 + MAX_BITFIELD_LEN),
        (7, 10, 9 + BLOCK_LEN),
        (20, 2, 2 + MAX_EXTENDED_LEN),
        (21, 1, 1 + MAX_UNKNOWN_LEN),
        (255, 1, 1 + MAX_UNKNOWN_LEN),
    ] {
        let fault = |len| decode_after_handshake(None, &frame(len, id)).fault;
        assert_eq!((fault(least), fault(most)), (None, None), "message {id}");
        assert_eq!(fault(most + 1), Some(PeerFault::Oversize { id, len: most + 1 }));
        assert_eq!(fault(u32::MAX), Some(PeerFault::Oversize { id, len: u32::MAX }));
        if least > 1 {
            assert_eq!(fault(least - 1), Some(PeerFault::WrongLength { id, len: least - 1 }));
        }
    }
}

#[test]
fn once_the_torrent_is_known_a_bitfield_has_one_legal_length() {
    assert_eq!(decode_after_handshake(Some(9), &encoded(Message::Bitfield(&[0xff, 0x80]))).fault, None);
    for bits in [&[][..], &[0], &[0, 0, 0]] {
        let transcript = decode_after_handshake(Some(9), &encoded(Message::Bitfield(bits)));
        assert_eq!(transcript, Transcript { items: vec![], fault: Some(PeerFault::BadBitfield) });
    }
}

#[test]
fn an_unknown_message_is_skipped_and_the_next_one_read() {
    let mut bytes = frame(1 + 3, 99);
    bytes.extend_from_slice(b"abc");
    bytes.extend(encoded(Message::Unchoke));
    let items = vec![Owned::Message(encoded(Message::Unknown { id: 99 })), Owned::Message(encoded(Message::Unchoke))];
    assert_eq!(decode_after_handshake(None, &bytes), Transcript { items, fault: None });
}

#[test]
fn a_block_is_never_gathered() {
    let (mut decoder, mut bytes) = (Decoder::default(), handshake_then(&[]));
    encode_piece_header(BlockRequest { piece: PieceIndex(1), begin: 2, len: BLOCK_LEN }, &mut bytes);
    bytes.resize(bytes.len() + BLOCK_LEN as usize, 9);
    let mut received = 0;
    for mut input in cut(&bytes, &[100]) {
        while let Some(item) = decoder.next(&mut input).unwrap() {
            if let Item::PieceBytes(part) = item {
                received += part.len();
            }
        }
        assert!(decoder.buffer_capacity() <= HANDSHAKE_LEN);
    }
    assert_eq!(received, BLOCK_LEN as usize);
}

#[test]
fn a_split_message_costs_no_more_than_its_length_and_its_memory_is_given_back() {
    const BITS_LEN: usize = 100_000;
    let mut bytes = handshake_then(&encoded(Message::Bitfield(&[0; BITS_LEN])));
    bytes.extend(encoded(Message::KeepAlive));
    let (mut decoder, mut highest) = (Decoder::default(), 0);
    for mut input in cut(&bytes, &[1000]) {
        while decoder.next(&mut input).unwrap().is_some() {
            highest = highest.max(decoder.buffer_capacity());
        }
        highest = highest.max(decoder.buffer_capacity());
    }
    assert_eq!(highest, BITS_LEN);
    assert_eq!(decoder.buffer_capacity(), 0);
}

/// The first bytes of a message: its length and its id.
fn frame(len: u32, id: u8) -> Vec<u8> {
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.push(id);
    bytes
}
