//! Peers that do wrong, as scripts in bytes over the naive encoder. Each has one vice; apart from it, it serves like anybody.
//!
//! Here stand the vices of those who have or want blocks; who only talks too much stands in `abuse`.

use super::content::Content;
use super::faults::Fault;
use super::stream::{Heard, Stream};
use super::wire::donthave_id;
use crate::naive_wire::{NaiveHandshake, NaiveMessage, encode, encode_handshake, lying_frame};
use sameseed_core::rng::Rng;

/// Blocks are asked for in this length.
pub(super) const BLOCK_LEN: u32 = 16_384;

/// What is to be done on a connection.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// To be sent.
    pub(super) bytes: Vec<u8>,
    /// To be closed afterwards.
    pub(super) close: bool,
    /// Something wrong was done, so often.
    pub(super) vices: u64,
}

/// One connection of a hostile peer.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) vice: Fault,
    peer_id: [u8; 20],
    info_hash: [u8; 20],
    stream: Stream,
    dialed: bool,
    shaken: bool,
    unchoked: bool,
    /// It may ask.
    pub(super) may_ask: bool,
    drip: usize,
    served: u32,
    /// It stopped in the middle of a message, for good.
    mute: bool,
    /// Seconds in which it has done wrong.
    pub(super) rounds: u32,
    /// The id under which the client takes BEP 54's message.
    pub(super) donthave_id: u8,
    /// Asked for and not yet cancelled.
    pub(super) asked: Vec<(u32, u32, u32)>,
}

impl Talk {
    /// A connection of the peer with this vice.
    pub(super) fn new(vice: Fault, peer_id: [u8; 20], mut info_hash: [u8; 20], dialed: bool) -> Self {
        if vice == Fault::WrongInfoHash {
            info_hash[0] ^= 1;
        }
        Talk {
            vice,
            peer_id,
            info_hash,
            stream: Stream::default(),
            dialed,
            shaken: false,
            unchoked: false,
            may_ask: false,
            drip: 0,
            served: 0,
            mute: false,
            rounds: 0,
            donthave_id: 0,
            asked: Vec::new(),
        }
    }

    /// Whether it reads what comes.
    pub(super) fn reads(&self) -> bool {
        self.vice != Fault::NeverReads || self.served == 0
    }

    fn handshake(&self) -> Vec<u8> {
        let extended = if matches!(self.vice, Fault::HugeExtended | Fault::TakesBack) { 0x10 } else { 0 };
        let reserved = [0, 0, 0, 0, 0, extended, 0, 4];
        encode_handshake(&NaiveHandshake { reserved, info_hash: self.info_hash, peer_id: self.peer_id })
    }

    /// The connection stands.
    pub(super) fn connected(&mut self) -> Reply {
        let mut reply = Reply::default();
        if self.mute {
            return reply;
        }
        match self.vice {
            Fault::OneByte => {}
            Fault::HalfHandshake | Fault::Flood => {
                reply.bytes = self.handshake()[..30].to_vec();
                reply.vices = 1;
            }
            _ if self.dialed => self.shake(&mut reply),
            _ => {}
        }
        reply
    }

    fn shake(&self, reply: &mut Reply) {
        reply.bytes.extend(self.handshake());
        reply.vices += u64::from(matches!(self.vice, Fault::WrongInfoHash | Fault::CopiedId));
    }

    /// Bytes came.
    pub(super) fn received(&mut self, bytes: &[u8], content: &Content, rng: &mut Rng) -> Reply {
        let mut heard = Vec::new();
        self.stream.read(bytes, |h| heard.push(h));
        let mut reply = Reply::default();
        // Anything more would be the rest of the half block: another vice, wrong bytes.
        if self.mute {
            return reply;
        }
        for heard in heard {
            match heard {
                Heard::Handshake(_) => self.introduce(content, rng, &mut reply),
                Heard::Message(message) => self.answer(&message, content, rng, &mut reply),
                Heard::Block { .. } | Heard::Garbage => {}
            }
            if reply.close || self.mute {
                break;
            }
        }
        if self.vice == Fault::CancelRaces {
            self.cancel_some(rng, &mut reply);
        }
        reply
    }

    fn introduce(&mut self, content: &Content, rng: &mut Rng, reply: &mut Reply) {
        if matches!(self.vice, Fault::HalfHandshake | Fault::Flood | Fault::OneByte) {
            return;
        }
        self.shaken = true;
        if !self.dialed {
            self.shake(reply);
        }
        let pieces = content.layout().piece_count();
        let mut say = |message: NaiveMessage| reply.bytes.extend(encode(&message));
        match self.vice {
            Fault::BadBitfield => {
                let bits = vec![0xff; pieces.div_ceil(8) as usize + usize::from(pieces.is_multiple_of(8))];
                say(NaiveMessage::Bitfield { bits });
                reply.vices += 1;
            }
            Fault::HaveFlood => {
                (0..3000).for_each(|n| say(NaiveMessage::Have { index: n % pieces }));
                reply.vices += 1;
            }
            Fault::ChokedRequests => say(NaiveMessage::HaveNone),
            Fault::RequestFlood | Fault::NeverReads | Fault::CancelRaces => {
                say(NaiveMessage::HaveNone);
                say(NaiveMessage::Interested);
            }
            _ => say(NaiveMessage::HaveAll),
        }
        if self.vice == Fault::Oversize {
            reply.bytes.extend(lying_frame(0x7fff_ffff, 7, &[0; 20]));
            reply.vices += 1;
        }
        self.begin_abuse(pieces, rng, reply);
    }

    fn answer(&mut self, message: &NaiveMessage, content: &Content, rng: &mut Rng, reply: &mut Reply) {
        match *message {
            NaiveMessage::Choke => self.may_ask = false,
            NaiveMessage::Unchoke if self.vice == Fault::CancelRaces => self.may_ask = true,
            NaiveMessage::Interested if self.vice == Fault::NeverUnchokes => reply.vices += 1,
            NaiveMessage::Interested if !self.unchoked => {
                self.unchoked = true;
                reply.bytes.extend(encode(&NaiveMessage::Unchoke));
            }
            NaiveMessage::Unchoke if matches!(self.vice, Fault::RequestFlood | Fault::NeverReads) => {
                self.flood(content, rng, reply);
            }
            NaiveMessage::Extended { id: 0, ref payload } => self.donthave_id = donthave_id(payload).unwrap_or(0),
            NaiveMessage::Request { index, begin, length } => self.serve((index, begin, length), content, rng, reply),
            _ => {}
        }
    }

    fn flood(&mut self, content: &Content, rng: &mut Rng, reply: &mut Reply) {
        let layout = content.layout();
        for _ in 0..400 {
            let index = rng.below(u64::from(layout.piece_count())) as u32;
            let length = layout.len_of(sameseed_core::id::PieceIndex(index)).min(BLOCK_LEN);
            reply.bytes.extend(encode(&NaiveMessage::Request { index, begin: 0, length }));
        }
        self.served += 1;
        reply.vices += 1;
    }

    fn serve(&mut self, (index, begin, length): (u32, u32, u32), content: &Content, rng: &mut Rng, reply: &mut Reply) {
        let offset = u64::from(index) * u64::from(content.layout().piece_len()) + u64::from(begin);
        let mut block = content.range(offset, u64::from(length)).to_vec();
        self.served += 1;
        let strikes = rng.below(3) == 0;
        let (mut at, mut refused) = (begin, false);
        match self.vice {
            Fault::CorruptBlock if strikes => block[0] ^= 1,
            Fault::WrongOffset if strikes => at = begin + 1,
            Fault::RejectsAll => refused = true,
            // In place of an answer, and then the answer all the same.
            Fault::TakesBack if strikes && self.donthave_id != 0 => {
                reply.bytes.extend(encode(&self.dont_have(index)));
                refused = rng.below(2) == 0;
            }
            Fault::SilentHolder => {
                reply.vices += 1;
                return;
            }
            Fault::Unrequested if strikes => {
                let index = rng.below(u64::from(content.layout().piece_count())) as u32;
                reply.bytes.extend(encode(&NaiveMessage::Piece { index, begin: 0, block: block.clone() }));
            }
            Fault::MidBlock if self.served > 3 => {
                let whole = encode(&NaiveMessage::Piece { index, begin, block });
                reply.bytes.extend(&whole[..whole.len() / 2]);
                (reply.close, reply.vices) = (true, reply.vices + 1);
                return;
            }
            Fault::HalfBlock if self.served > 3 => {
                let whole = encode(&NaiveMessage::Piece { index, begin, block });
                reply.bytes.extend(&whole[..whole.len() / 2]);
                (self.mute, reply.vices) = (true, reply.vices + 1);
                return;
            }
            Fault::DuplicateBlock if strikes => {
                reply.bytes.extend(encode(&NaiveMessage::Piece { index, begin, block: block.clone() }));
            }
            // It has every fourth piece only.
            Fault::FalseHave if index % 4 == 1 => refused = true,
            Fault::FalseHave if index % 4 == 2 => {
                reply.vices += 1;
                return;
            }
            Fault::FalseHave if index % 4 == 3 => block.fill(0x55),
            Fault::ChokeFlapping if strikes => {
                for message in [NaiveMessage::Choke, NaiveMessage::Unchoke] {
                    reply.bytes.extend(encode(&message));
                }
                // With BEP 6 a choke rejects nothing by itself: this request is answered below.
            }
            _ => {
                reply.bytes.extend(encode(&NaiveMessage::Piece { index, begin, block }));
                return;
            }
        }
        reply.vices += 1;
        reply.bytes.extend(if refused {
            encode(&NaiveMessage::RejectRequest { index, begin, length })
        } else {
            encode(&NaiveMessage::Piece { index, begin: at, block })
        });
    }

    /// A second has passed.
    pub(super) fn second(&mut self, content: &Content, rng: &mut Rng) -> Reply {
        let mut reply = Reply::default();
        if self.mute {
            return reply;
        }
        match self.vice {
            Fault::OneByte => {
                // First the handshake, then one huge but legal message, byte by byte.
                let byte = self.handshake().get(self.drip).copied().unwrap_or(0);
                self.drip += 1;
                reply.bytes.push(byte);
                reply.vices = 1;
            }
            Fault::RequestFlood if self.served > 0 => self.flood(content, rng, &mut reply),
            Fault::ChokeFlapping if self.shaken && self.unchoked => {
                for message in [NaiveMessage::Choke, NaiveMessage::Unchoke] {
                    reply.bytes.extend(encode(&message));
                }
                reply.vices = 1;
            }
            _ if self.shaken => {
                reply.bytes = encode(&NaiveMessage::KeepAlive);
                self.go_on_abusing(content, rng, &mut reply);
            }
            _ => {}
        }
        reply
    }
}
