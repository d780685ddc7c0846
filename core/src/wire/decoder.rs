//! Received bytes, cut anywhere, become a handshake and then messages.
//!
//! Every length is checked against its kind before a byte of the body is kept. Messages that lie whole in the input are borrowed
//! from it; only split ones are gathered, in a buffer that grows with what has come, not with what was announced. Blocks are
//! never gathered.

use super::handshake::{HANDSHAKE_LEN, Handshake, PREAMBLE};
use super::message::{self, BlockRequest, Message};
use super::{MAX_BITFIELD_LEN, MAX_EXTENDED_LEN, MAX_UNKNOWN_LEN};
use crate::bitfield;
use crate::fault::PeerFault;
use crate::id::{BLOCK_LEN, PieceIndex};
use alloc::vec::Vec;

/// Bytes of buffer that are kept from one split message to the next. A large one is rare (a bitfield, once), and hundreds of
/// connections must not each keep the memory of theirs.
const KEPT_CAPACITY: usize = 1024;

/// What a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Always the first, exactly once.
    Handshake(Handshake),
    /// Any message but `piece`.
    Message(Message<'a>),
    /// A `piece` message begins; its block follows. `len` is at least 1 and at most [`BLOCK_LEN`].
    PieceStart(BlockRequest),
    /// The next bytes of the block; never empty.
    PieceBytes(&'a [u8]),
    /// The block is complete.
    PieceEnd,
}

/// Where in the stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Handshake,
    Length,
    Id { len: u32 },
    Body { id: u8, len: u32 },
    PieceHeader { block_len: u32 },
    Block { left: u32 },
    Skip { id: u8, left: u32 },
    Failed(PeerFault),
}

/// The receiving half of one connection.
///
/// ```
/// use sameseed_core::id::{PeerId, PieceIndex};
/// use sameseed_core::wire::{Decoder, Handshake, Item, Message};
///
/// let mut sent = Vec::new();
/// Handshake::new([1; 20], PeerId([2; 20])).encode(&mut sent);
/// Message::Have(PieceIndex(7)).encode(&mut sent);
///
/// let mut decoder = Decoder::default();
/// let (mut first, mut second) = sent.split_at(70);
/// assert!(matches!(decoder.next(&mut first), Ok(Some(Item::Handshake(theirs))) if theirs.info_hash == [1; 20]));
/// assert_eq!(decoder.next(&mut first), Ok(None), "the message is cut short");
/// assert_eq!(decoder.next(&mut second), Ok(Some(Item::Message(Message::Have(PieceIndex(7))))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decoder {
    stage: Stage,
    max_extended_len: u32,
    piece_count: Option<u32>,
    gathered: Vec<u8>,
    /// What is in `gathered` was given out by the last call.
    spent: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new(MAX_EXTENDED_LEN)
    }
}

impl Decoder {
    /// A decoder at the first byte of a connection. An extended payload (BEP 10) may have at most `max_extended_len` bytes.
    pub fn new(max_extended_len: u32) -> Self {
        Decoder { stage: Stage::Handshake, max_extended_len, piece_count: None, gathered: Vec::new(), spent: false }
    }

    /// How many pieces the torrent has: from now on a `bitfield` of any other length is a fault.
    pub fn set_piece_count(&mut self, piece_count: u32) {
        self.piece_count = Some(piece_count);
    }

    /// Bytes of memory that the buffer holds: never more than the largest message that may be gathered.
    pub fn buffer_capacity(&self) -> usize {
        self.gathered.capacity()
    }

    /// The next item of the stream whose next bytes are `input`; what was used is cut off its front. `None`: all of it was used and
    /// more is needed.
    ///
    /// # Errors
    /// The peer broke the protocol. The stream has no next item then: every further call gives the same fault.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Item<'a>>, PeerFault> {
        loop {
            match self.stage {
                Stage::Handshake => {
                    if !self.preamble_matches(input) {
                        return self.fail(PeerFault::NotBitTorrent);
                    }
                    if !self.gather(HANDSHAKE_LEN, input) {
                        return Ok(None);
                    }
                    self.stage = Stage::Length;
                    let handshake = Handshake::parse(self.take(HANDSHAKE_LEN, input));
                    return handshake.map(|handshake| Some(Item::Handshake(handshake))).ok_or(PeerFault::NotBitTorrent);
                }
                Stage::Length => {
                    let Some(bytes) = self.take_array(input) else { return Ok(None) };
                    match u32::from_be_bytes(bytes) {
                        0 => return Ok(Some(Item::Message(Message::KeepAlive))),
                        len => self.stage = Stage::Id { len },
                    }
                }
                Stage::Id { len } => {
                    let Some([id]) = self.take_array(input) else { return Ok(None) };
                    match self.stage_of_body(id, len) {
                        Ok(stage) => self.stage = stage,
                        Err(fault) => return self.fail(fault),
                    }
                }
                Stage::Body { id, len } => {
                    if !self.gather(len as usize, input) {
                        return Ok(None);
                    }
                    self.stage = Stage::Length;
                    let message = Message::parse(id, self.take(len as usize, input));
                    return message
                        .map(|message| Some(Item::Message(message)))
                        .ok_or(PeerFault::WrongLength { id, len: 1 + len });
                }
                Stage::PieceHeader { block_len } => {
                    let Some([p0, p1, p2, p3, b0, b1, b2, b3]) = self.take_array(input) else { return Ok(None) };
                    self.stage = Stage::Block { left: block_len };
                    return Ok(Some(Item::PieceStart(BlockRequest {
                        piece: PieceIndex(u32::from_be_bytes([p0, p1, p2, p3])),
                        begin: u32::from_be_bytes([b0, b1, b2, b3]),
                        len: block_len,
                    })));
                }
                Stage::Block { left: 0 } => {
                    self.stage = Stage::Length;
                    return Ok(Some(Item::PieceEnd));
                }
                Stage::Block { left } => {
                    let bytes = take_up_to(left, input);
                    self.stage = Stage::Block { left: left - bytes.len() as u32 };
                    return Ok((!bytes.is_empty()).then_some(Item::PieceBytes(bytes)));
                }
                Stage::Skip { id, left } => match left - take_up_to(left, input).len() as u32 {
                    0 => {
                        self.stage = Stage::Length;
                        return Ok(Some(Item::Message(Message::Unknown { id })));
                    }
                    left => {
                        self.stage = Stage::Skip { id, left };
                        return Ok(None);
                    }
                },
                Stage::Failed(fault) => return Err(fault),
            }
        }
    }

    fn fail(&mut self, fault: PeerFault) -> Result<Option<Item<'static>>, PeerFault> {
        self.gathered = Vec::new();
        self.stage = Stage::Failed(fault);
        Err(fault)
    }

    /// What follows the id of a message with the length `len` (at least 1: the id counts).
    fn stage_of_body(&self, id: u8, len: u32) -> Result<Stage, PeerFault> {
        let body_len = len - 1;
        let (least, most) = match id {
            message::CHOKE | message::UNCHOKE | message::INTERESTED | message::NOT_INTERESTED => (0, 0),
            message::HAVE_ALL | message::HAVE_NONE => (0, 0),
            message::HAVE | message::SUGGEST_PIECE | message::ALLOWED_FAST => (4, 4),
            message::REQUEST | message::CANCEL | message::REJECT_REQUEST => (12, 12),
            message::PORT => (2, 2),
            message::BITFIELD => (0, MAX_BITFIELD_LEN),
            // Nobody asks for an empty block, and we ask for no more than one block at a time.
            message::PIECE => (8 + 1, 8 + BLOCK_LEN),
            message::EXTENDED => (1, self.max_extended_len.saturating_add(1)),
            _ => (0, MAX_UNKNOWN_LEN),
        };
        if body_len > most {
            return Err(PeerFault::Oversize { id, len });
        }
        if body_len < least {
            return Err(PeerFault::WrongLength { id, len });
        }
        let fits_torrent = |pieces| bitfield::wire_len(pieces) == body_len as usize;
        match id {
            message::BITFIELD if !self.piece_count.is_none_or(fits_torrent) => Err(PeerFault::BadBitfield),
            message::PIECE => Ok(Stage::PieceHeader { block_len: body_len - 8 }),
            id if message::is_known(id) => Ok(Stage::Body { id, len: body_len }),
            id => Ok(Stage::Skip { id, left: body_len }),
        }
    }

    /// Whether the bytes in `input` that belong to the first 20 are the right ones: another protocol shows from its first byte.
    fn preamble_matches(&self, input: &[u8]) -> bool {
        let expected = PREAMBLE.get(self.gathered.len()..).unwrap_or_default();
        expected.iter().zip(input).all(|(expected, byte)| expected == byte)
    }

    /// Whether `len` bytes can be taken now. If not, all of `input` has been put aside.
    fn gather(&mut self, len: usize, input: &mut &[u8]) -> bool {
        if self.spent {
            self.spent = false;
            self.gathered.clear();
            if self.gathered.capacity() > KEPT_CAPACITY {
                self.gathered = Vec::new();
            }
        }
        if self.gathered.is_empty() && input.len() >= len {
            return true;
        }
        let part = take_up_to((len - self.gathered.len()) as u32, input);
        let needed = self.gathered.len() + part.len();
        if needed > self.gathered.capacity() {
            // Doubling, so that a drip costs no more than a flood, but never past the message's end.
            let capacity = needed.max(2 * self.gathered.capacity()).min(len);
            self.gathered.reserve_exact(capacity - self.gathered.len());
        }
        self.gathered.extend_from_slice(part);
        self.gathered.len() == len
    }

    /// The `len` bytes that [`Decoder::gather`] found.
    fn take<'a, 'i: 'a>(&'a mut self, len: usize, input: &mut &'i [u8]) -> &'a [u8] {
        if self.gathered.is_empty() {
            return take_up_to(len as u32, input);
        }
        self.spent = true;
        &self.gathered
    }

    fn take_array<const N: usize>(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        if self.gather(N, input) { self.take(N, input).try_into().ok() } else { None }
    }
}

/// Cuts up to `len` bytes off the front.
fn take_up_to<'i>(len: u32, input: &mut &'i [u8]) -> &'i [u8] {
    let (taken, rest) = input.split_at(input.len().min(len as usize));
    *input = rest;
    taken
}
