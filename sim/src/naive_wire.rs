//! A second wire codec, naive and clear, written from BEP 3, 6 and 10 and not from the production one.
//!
//! It reads a whole recording at once and copies everything, so it can be checked by eye. What our engine sends must be readable
//! by it; hostile peers are built with it; and the production decoder must agree with it on any bytes.

/// The first 68 bytes of a recording, without the protocol's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NaiveHandshake {
    /// Extension bits.
    pub reserved: [u8; 8],
    /// The torrent.
    pub info_hash: [u8; 20],
    /// The sender.
    pub peer_id: [u8; 20],
}

/// One message, with everything it carries. Field names are those of the BEPs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the BEPs explain the messages and their fields")]
pub enum NaiveMessage {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have { index: u32 },
    Bitfield { bits: Vec<u8> },
    Request { index: u32, begin: u32, length: u32 },
    Piece { index: u32, begin: u32, block: Vec<u8> },
    Cancel { index: u32, begin: u32, length: u32 },
    Port { port: u16 },
    SuggestPiece { index: u32 },
    HaveAll,
    HaveNone,
    RejectRequest { index: u32, begin: u32, length: u32 },
    AllowedFast { index: u32 },
    Extended { id: u8, payload: Vec<u8> },
    Unknown { id: u8, body: Vec<u8> },
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NaiveEnd {
    /// After a whole message.
    Clean,
    /// In the middle of the handshake or of a message.
    Truncated,
    /// The first bytes are not BitTorrent's.
    NotBitTorrent,
    /// The message with this id is longer than its kind may be.
    TooLong(u8),
    /// The message with this id is shorter than its kind must be.
    TooShort(u8),
    /// A bitfield that does not fit the torrent's piece count.
    BitfieldMisfit,
}

/// What one side of a connection sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NaiveRecording {
    /// Missing when the recording ends before it is complete.
    pub handshake: Option<NaiveHandshake>,
    /// The complete messages, in order.
    pub messages: Vec<NaiveMessage>,
    /// What comes after them.
    pub end: NaiveEnd,
}

/// What may vary from torrent to torrent.
#[derive(Clone, Copy, Debug)]
pub struct NaiveLimits {
    /// The torrent's piece count, if known.
    pub piece_count: Option<u32>,
    /// Bytes of the longest extended payload.
    pub max_extended_len: usize,
}

const PROTOCOL: &[u8] = b"\x13BitTorrent protocol";

/// Reads everything that one side sent.
pub fn decode(bytes: &[u8], limits: NaiveLimits) -> NaiveRecording {
    let mut recording = NaiveRecording { handshake: None, messages: Vec::new(), end: NaiveEnd::Truncated };
    let name_seen = &bytes[..bytes.len().min(20)];
    if !PROTOCOL.starts_with(name_seen) {
        recording.end = NaiveEnd::NotBitTorrent;
        return recording;
    }
    if bytes.len() < 68 {
        return recording;
    }
    recording.handshake = Some(NaiveHandshake {
        reserved: bytes[20..28].try_into().expect("8 bytes"),
        info_hash: bytes[28..48].try_into().expect("20 bytes"),
        peer_id: bytes[48..68].try_into().expect("20 bytes"),
    });

    let mut at = 68;
    loop {
        let rest = &bytes[at..];
        if rest.is_empty() {
            recording.end = NaiveEnd::Clean;
            return recording;
        }
        if rest.len() < 4 {
            return recording;
        }
        let length = u32_at(rest, 0) as usize;
        if length == 0 {
            recording.messages.push(NaiveMessage::KeepAlive);
            at += 4;
            continue;
        }
        if rest.len() < 5 {
            return recording;
        }
        // The length alone may already be wrong, long before the message is complete.
        if let Some(end) = judge_length(rest[4], length, limits) {
            recording.end = end;
            return recording;
        }
        if rest.len() < 4 + length {
            return recording;
        }
        recording.messages.push(message_of(rest[4], &rest[5..4 + length]));
        at += 4 + length;
    }
}

/// `length` counts the id.
fn judge_length(id: u8, length: usize, limits: NaiveLimits) -> Option<NaiveEnd> {
    let (shortest, longest) = match id {
        0..=3 => (1, 1),                                  // choke, unchoke, interested, not interested
        4 => (5, 5),                                      // have
        5 => (1, 1 + 2_097_152 / 8),                      // bitfield of at most 2^21 pieces
        6 | 8 => (13, 13),                                // request, cancel
        7 => (10, 9 + 16_384),                            // piece: 1 byte to 16 KiB of data
        9 => (3, 3),                                      // port
        13 | 17 => (5, 5),                                // suggest piece, allowed fast
        14 | 15 => (1, 1),                                // have all, have none
        16 => (13, 13),                                   // reject request
        20 => (2, 2 + limits.max_extended_len),           // extended: its own id, then the payload
        10..=12 | 18 | 19 | 21..=255 => (1, 1 + 131_072), // unknown
    };
    if length < shortest {
        Some(NaiveEnd::TooShort(id))
    } else if length > longest {
        Some(NaiveEnd::TooLong(id))
    } else if id == 5 && limits.piece_count.is_some_and(|count| (count as usize).div_ceil(8) != length - 1) {
        Some(NaiveEnd::BitfieldMisfit)
    } else {
        None
    }
}

fn message_of(id: u8, body: &[u8]) -> NaiveMessage {
    match id {
        0 => NaiveMessage::Choke,
        1 => NaiveMessage::Unchoke,
        2 => NaiveMessage::Interested,
        3 => NaiveMessage::NotInterested,
        4 => NaiveMessage::Have { index: u32_at(body, 0) },
        5 => NaiveMessage::Bitfield { bits: body.to_vec() },
        6 => NaiveMessage::Request { index: u32_at(body, 0), begin: u32_at(body, 4), length: u32_at(body, 8) },
        7 => NaiveMessage::Piece { index: u32_at(body, 0), begin: u32_at(body, 4), block: body[8..].to_vec() },
        8 => NaiveMessage::Cancel { index: u32_at(body, 0), begin: u32_at(body, 4), length: u32_at(body, 8) },
        9 => NaiveMessage::Port { port: u16::from_be_bytes([body[0], body[1]]) },
        13 => NaiveMessage::SuggestPiece { index: u32_at(body, 0) },
        14 => NaiveMessage::HaveAll,
        15 => NaiveMessage::HaveNone,
        16 => NaiveMessage::RejectRequest { index: u32_at(body, 0), begin: u32_at(body, 4), length: u32_at(body, 8) },
        17 => NaiveMessage::AllowedFast { index: u32_at(body, 0) },
        20 => NaiveMessage::Extended { id: body[0], payload: body[1..].to_vec() },
        id => NaiveMessage::Unknown { id, body: body.to_vec() },
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The 68 bytes of a handshake.
pub fn encode_handshake(handshake: &NaiveHandshake) -> Vec<u8> {
    [PROTOCOL, &handshake.reserved, &handshake.info_hash, &handshake.peer_id].concat()
}

/// The bytes of a message, legal or not.
pub fn encode(message: &NaiveMessage) -> Vec<u8> {
    match message {
        NaiveMessage::KeepAlive => vec![0, 0, 0, 0],
        NaiveMessage::Choke => frame(0, &[]),
        NaiveMessage::Unchoke => frame(1, &[]),
        NaiveMessage::Interested => frame(2, &[]),
        NaiveMessage::NotInterested => frame(3, &[]),
        NaiveMessage::Have { index } => frame(4, &numbers(&[*index])),
        NaiveMessage::Bitfield { bits } => frame(5, bits),
        NaiveMessage::Request { index, begin, length } => frame(6, &numbers(&[*index, *begin, *length])),
        NaiveMessage::Piece { index, begin, block } => frame(7, &[&numbers(&[*index, *begin]), &block[..]].concat()),
        NaiveMessage::Cancel { index, begin, length } => frame(8, &numbers(&[*index, *begin, *length])),
        NaiveMessage::Port { port } => frame(9, &port.to_be_bytes()),
        NaiveMessage::SuggestPiece { index } => frame(13, &numbers(&[*index])),
        NaiveMessage::HaveAll => frame(14, &[]),
        NaiveMessage::HaveNone => frame(15, &[]),
        NaiveMessage::RejectRequest { index, begin, length } => frame(16, &numbers(&[*index, *begin, *length])),
        NaiveMessage::AllowedFast { index } => frame(17, &numbers(&[*index])),
        NaiveMessage::Extended { id, payload } => frame(20, &[&[*id], &payload[..]].concat()),
        NaiveMessage::Unknown { id, body } => frame(*id, body),
    }
}

/// A message of any id with any body and its true length.
pub fn frame(id: u8, body: &[u8]) -> Vec<u8> {
    lying_frame(body.len() as u32 + 1, id, body)
}

/// A message that claims the length `length`, whatever its body has.
pub fn lying_frame(length: u32, id: u8, body: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &[id], body].concat()
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sameseed_core::fault::PeerFault;
    use sameseed_core::id::{PeerId, PieceIndex};
    use sameseed_core::wire::{BlockRequest, Decoder, Handshake, Item, Message, encode_piece_header};

    const MAX_EXTENDED_LEN: usize = 600;

    fn any_message() -> impl Strategy<Value = NaiveMessage> {
        use NaiveMessage::*;
        let blob = || vec(any::<u8>(), 1..500);
        let (index, range) = (any::<u32>, any::<(u32, u32, u32)>);
        prop_oneof![
            prop::sample::select(vec![KeepAlive, Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone]),
            index().prop_map(|index| Have { index }),
            index().prop_map(|index| SuggestPiece { index }),
            index().prop_map(|index| AllowedFast { index }),
            range().prop_map(|(index, begin, length)| Request { index, begin, length }),
            range().prop_map(|(index, begin, length)| Cancel { index, begin, length }),
            range().prop_map(|(index, begin, length)| RejectRequest { index, begin, length }),
            (range(), blob()).prop_map(|((index, begin, _), block)| Piece { index, begin, block }),
            any::<u16>().prop_map(|port| Port { port }),
            blob().prop_map(|bits| Bitfield { bits }),
            (any::<u8>(), blob()).prop_map(|(id, payload)| Extended { id, payload }),
            (21u8.., blob()).prop_map(|(id, body)| Unknown { id, body }),
        ]
    }

    fn any_handshake() -> impl Strategy<Value = NaiveHandshake> {
        any::<([u8; 8], [u8; 20], [u8; 20])>().prop_map(|(reserved, info_hash, peer_id)| NaiveHandshake {
            reserved,
            info_hash,
            peer_id,
        })
    }

    /// What the production decoder makes of `parts`, in the words of the naive one.
    fn decode_in_production<'a>(parts: impl Iterator<Item = &'a [u8]>, limits: NaiveLimits) -> NaiveRecording {
        let mut decoder = Decoder::new(limits.max_extended_len as u32);
        let mut recording = NaiveRecording { handshake: None, messages: vec![], end: NaiveEnd::Clean };
        let mut open_block = None;
        for mut input in parts {
            loop {
                match decoder.next(&mut input) {
                    Ok(None) => break,
                    Ok(Some(Item::Handshake(Handshake { reserved, info_hash, peer_id: PeerId(peer_id) }))) => {
                        recording.handshake = Some(NaiveHandshake { reserved, info_hash, peer_id });
                        if let Some(count) = limits.piece_count {
                            decoder.set_piece_count(count);
                        }
                    }
                    Ok(Some(Item::Message(message))) => recording.messages.push(naive_of(message)),
                    Ok(Some(Item::PieceStart(range))) => open_block = Some((range, vec![])),
                    Ok(Some(Item::PieceBytes(bytes))) => open_block.as_mut().unwrap().1.extend_from_slice(bytes),
                    Ok(Some(Item::PieceEnd)) => {
                        let (range, block) = open_block.take().unwrap();
                        assert_eq!(range.len as usize, block.len());
                        let (index, begin) = (range.piece.0, range.begin);
                        recording.messages.push(NaiveMessage::Piece { index, begin, block });
                    }
                    Err(fault) => {
                        recording.end = match fault {
                            PeerFault::NotBitTorrent => NaiveEnd::NotBitTorrent,
                            PeerFault::Oversize { id, .. } => NaiveEnd::TooLong(id),
                            PeerFault::WrongLength { id, .. } => NaiveEnd::TooShort(id),
                            PeerFault::BadBitfield => NaiveEnd::BitfieldMisfit,
                            other => panic!("not a fault of the codec: {other}"),
                        };
                        return recording;
                    }
                }
            }
        }
        recording
    }

    fn naive_of(message: Message<'_>) -> NaiveMessage {
        let naive_range = |BlockRequest { piece: PieceIndex(index), begin, len: length }| (index, begin, length);
        match message {
            Message::KeepAlive => NaiveMessage::KeepAlive,
            Message::Choke => NaiveMessage::Choke,
            Message::Unchoke => NaiveMessage::Unchoke,
            Message::Interested => NaiveMessage::Interested,
            Message::NotInterested => NaiveMessage::NotInterested,
            Message::Have(PieceIndex(index)) => NaiveMessage::Have { index },
            Message::Bitfield(bits) => NaiveMessage::Bitfield { bits: bits.to_vec() },
            Message::Request(range) => {
                let (index, begin, length) = naive_range(range);
                NaiveMessage::Request { index, begin, length }
            }
            Message::Cancel(range) => {
                let (index, begin, length) = naive_range(range);
                NaiveMessage::Cancel { index, begin, length }
            }
            Message::Port(port) => NaiveMessage::Port { port },
            Message::SuggestPiece(PieceIndex(index)) => NaiveMessage::SuggestPiece { index },
            Message::HaveAll => NaiveMessage::HaveAll,
            Message::HaveNone => NaiveMessage::HaveNone,
            Message::RejectRequest(range) => {
                let (index, begin, length) = naive_range(range);
                NaiveMessage::RejectRequest { index, begin, length }
            }
            Message::AllowedFast(PieceIndex(index)) => NaiveMessage::AllowedFast { index },
            Message::Extended { id, payload } => NaiveMessage::Extended { id, payload: payload.to_vec() },
            Message::Unknown { id } => NaiveMessage::Unknown { id, body: vec![] },
        }
    }

    /// What the production encoder makes of a message; `None` for those that it does not write with a body.
    fn encode_in_production(message: &NaiveMessage) -> Option<Vec<u8>> {
        let range = |index, begin, len| BlockRequest { piece: PieceIndex(index), begin, len };
        let mut out = vec![];
        let message = match message {
            NaiveMessage::Piece { index, begin, block } => {
                encode_piece_header(range(*index, *begin, block.len() as u32), &mut out);
                out.extend_from_slice(block);
                return Some(out);
            }
            NaiveMessage::Unknown { .. } => return None,
            NaiveMessage::KeepAlive => Message::KeepAlive,
            NaiveMessage::Choke => Message::Choke,
            NaiveMessage::Unchoke => Message::Unchoke,
            NaiveMessage::Interested => Message::Interested,
            NaiveMessage::NotInterested => Message::NotInterested,
            NaiveMessage::Have { index } => Message::Have(PieceIndex(*index)),
            NaiveMessage::Bitfield { bits } => Message::Bitfield(bits),
            NaiveMessage::Request { index, begin, length } => Message::Request(range(*index, *begin, *length)),
            NaiveMessage::Cancel { index, begin, length } => Message::Cancel(range(*index, *begin, *length)),
            NaiveMessage::Port { port } => Message::Port(*port),
            NaiveMessage::SuggestPiece { index } => Message::SuggestPiece(PieceIndex(*index)),
            NaiveMessage::HaveAll => Message::HaveAll,
            NaiveMessage::HaveNone => Message::HaveNone,
            NaiveMessage::RejectRequest { index, begin, length } => {
                Message::RejectRequest(range(*index, *begin, *length))
            }
            NaiveMessage::AllowedFast { index } => Message::AllowedFast(PieceIndex(*index)),
            NaiveMessage::Extended { id, payload } => Message::Extended { id: *id, payload },
        };
        message.encode(&mut out);
        Some(out)
    }

    /// The production decoder skips the body of an unknown message and does not tell a clean end from a cut.
    fn without_what_production_does_not_tell(mut recording: NaiveRecording) -> NaiveRecording {
        for message in &mut recording.messages {
            if let NaiveMessage::Unknown { body, .. } = message {
                body.clear();
            }
        }
        if recording.end == NaiveEnd::Truncated {
            recording.end = NaiveEnd::Clean;
        }
        recording
    }

    proptest! {
        #[test]
        fn both_encoders_write_the_same_bytes(message in any_message()) {
            if let Some(bytes) = encode_in_production(&message) {
                prop_assert_eq!(bytes, encode(&message));
            }
        }

        #[test]
        fn the_naive_decoder_reads_what_the_naive_encoder_wrote(handshake in any_handshake(), messages in vec(any_message(), 0..10)) {
            let bytes = [encode_handshake(&handshake), messages.iter().flat_map(encode).collect()].concat();
            let limits = NaiveLimits { piece_count: None, max_extended_len: MAX_EXTENDED_LEN };
            prop_assert_eq!(decode(&bytes, limits), NaiveRecording { handshake: Some(handshake), messages, end: NaiveEnd::Clean });
        }

        #[test]
        fn both_decoders_agree_on_any_bytes_however_they_are_cut(
            handshake in any_handshake(),
            frames in vec(prop_oneof![
                6 => any_message().prop_map(|message| encode(&message)),
                1 => (0u8..25, vec(any::<u8>(), 0..15)).prop_map(|(id, body)| frame(id, &body)),
                1 => (0u32..40, 0u8..25, vec(any::<u8>(), 0..15)).prop_map(|(length, id, body)| lying_frame(length, id, &body)),
                1 => (any::<u32>(), any::<u8>()).prop_map(|(length, id)| lying_frame(length, id, &[])),
            ], 0..10),
            damage in proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
            kept in proptest::option::weighted(0.3, any::<prop::sample::Index>()),
            piece_count in proptest::option::weighted(0.3, 0u32..4000),
            part in 1usize..200,
        ) {
            let mut bytes = [encode_handshake(&handshake), frames.concat()].concat();
            if let Some((at, byte)) = damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(kept) = kept {
                bytes.truncate(kept.index(bytes.len()));
            }
            let limits = NaiveLimits { piece_count, max_extended_len: MAX_EXTENDED_LEN };
            let expected = without_what_production_does_not_tell(decode(&bytes, limits));
            prop_assert_eq!(decode_in_production(bytes.chunks(part), limits), expected.clone());
            prop_assert_eq!(decode_in_production([&bytes[..]].into_iter(), limits), expected);
        }
    }

    #[test]
    fn a_recording_is_read_to_its_last_whole_message() {
        let handshake = NaiveHandshake { reserved: [0; 8], info_hash: [1; 20], peer_id: [2; 20] };
        let limits = NaiveLimits { piece_count: Some(9), max_extended_len: MAX_EXTENDED_LEN };
        let mut bytes = encode_handshake(&handshake);
        bytes.extend(encode(&NaiveMessage::Bitfield { bits: vec![0xff, 0x80] }));
        bytes.extend(encode(&NaiveMessage::Have { index: 3 }));
        let whole = decode(&bytes, limits);
        assert_eq!((whole.messages.len(), whole.end), (2, NaiveEnd::Clean));
        bytes.pop();
        let cut = decode(&bytes, limits);
        assert_eq!((cut.messages.len(), cut.end), (1, NaiveEnd::Truncated));
    }
}
