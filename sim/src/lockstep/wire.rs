//! One connection of an honest client, seen from outside: what it sent and received, read by the naive decoder, against the rules of BEP 3 and 6.
//!
//! It never looks into the engine. `late` says that events were taken in since the engine was last drained: then the order of the two directions is
//! not known, and rules that depend on it rest.

use super::checks::Check;
use super::stream::{Heard, Stream};
use crate::naive_wire::NaiveMessage;
use std::collections::{BTreeMap, BTreeSet};

type Range = (u32, u32, u32);

/// What a rule needs to know of the host.
pub(super) trait Knowledge {
    /// Whether its disk holds the right bytes of a piece.
    fn holds(&self, piece: u32) -> bool;
    /// Length of a piece, 0 when there is none.
    fn piece_len(&self, piece: u32) -> u32;
    /// How many pieces there are.
    fn pieces(&self) -> u32;
}

/// A broken rule, and what broke it.
pub(super) type Breach = (Check, String);

/// Both directions of one connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    sent: Stream,
    received: Stream,
    fast: [Option<bool>; 2],
    first_sent: bool,
    said_have: BTreeSet<u32>,
    told: BTreeSet<u32>,
    told_all: bool,
    choked_us: bool,
    we_choke: bool,
    /// Requests of ours that have not been answered.
    asked: BTreeSet<Range>,
    /// Refused by a dishonest peer before they were seen to be asked for: the request may have been waiting to be drained.
    refused: BTreeSet<Range>,
    /// Requests of theirs that have not been answered.
    owed: BTreeMap<Range, u32>,
    /// Whether they ask like an honest client: then each request must be answered.
    honest: bool,
}

impl Wire {
    /// A fresh connection; `honest` when the other side is an honest client.
    pub(super) fn new(honest: bool) -> Self {
        Wire { choked_us: true, we_choke: true, honest, ..Wire::default() }
    }

    fn is_fast(&self) -> bool {
        self.fast == [Some(true); 2]
    }

    /// The engine was given bytes.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        let mut heard = Vec::new();
        self.received.read(bytes, |h| heard.push(h));
        for heard in heard {
            match heard {
                Heard::Handshake(handshake) => self.fast[1] = Some(handshake.reserved[7] & 4 != 0),
                Heard::Block { index, begin, len } => {
                    self.asked.remove(&(index, begin, len));
                }
                Heard::Message(message) => self.hear(message),
                Heard::Garbage => {}
            }
        }
    }

    fn hear(&mut self, message: NaiveMessage) {
        match message {
            NaiveMessage::Choke => {
                self.choked_us = true;
                if !self.is_fast() {
                    self.asked.clear();
                }
            }
            NaiveMessage::Unchoke => self.choked_us = false,
            NaiveMessage::Have { index } => _ = self.told.insert(index),
            NaiveMessage::HaveAll => self.told_all = true,
            NaiveMessage::Bitfield { bits } => {
                let ones = |i: usize| bits[i / 8] & (0x80 >> (i % 8)) != 0;
                self.told.extend((0..bits.len() * 8).filter(|i| ones(*i)).map(|i| i as u32));
            }
            NaiveMessage::Request { index, begin, length } => {
                *self.owed.entry((index, begin, length)).or_default() += 1
            }
            NaiveMessage::RejectRequest { index, begin, length } => self.hear_reject((index, begin, length)),
            _ => {}
        }
    }

    fn hear_reject(&mut self, range: Range) {
        if !self.asked.remove(&range) && !self.honest {
            self.refused.insert(range);
        }
    }

    /// The engine sent bytes.
    ///
    /// # Errors
    /// The first rule that they break.
    pub(super) fn sent(&mut self, bytes: &[u8], late: bool, host: &impl Knowledge) -> Result<(), Breach> {
        let mut heard = Vec::new();
        self.sent.read(bytes, |h| heard.push(h));
        for heard in heard {
            match heard {
                Heard::Handshake(handshake) => self.fast[0] = Some(handshake.reserved[7] & 4 != 0),
                Heard::Garbage => return Err((Check::Readable, String::from("the naive decoder gives up"))),
                Heard::Block { index, begin, len } => self.answer((index, begin, len), "block")?,
                Heard::Message(message) => self.say(message, late, host)?,
            }
        }
        Ok(())
    }

    fn say(&mut self, message: NaiveMessage, late: bool, host: &impl Knowledge) -> Result<(), Breach> {
        let first = !self.first_sent;
        self.first_sent |= !is_introduction(&message);
        match message {
            NaiveMessage::Choke => self.we_choke = true,
            NaiveMessage::Unchoke => self.we_choke = false,
            NaiveMessage::Bitfield { .. } | NaiveMessage::HaveAll | NaiveMessage::HaveNone if !first => {
                return Err((Check::BitfieldFirst, format!("{message:?}")));
            }
            NaiveMessage::Bitfield { bits } => {
                let set = (0..bits.len() as u32 * 8).filter(|i| bits[*i as usize / 8] & (0x80 >> (i % 8)) != 0);
                for piece in set {
                    self.announce(piece, host)?;
                }
            }
            NaiveMessage::HaveAll => {
                for piece in 0..host.pieces() {
                    self.announce(piece, host)?;
                }
            }
            NaiveMessage::Have { index } => self.announce(index, host)?,
            NaiveMessage::Request { index, begin, length } => self.ask((index, begin, length), late, host)?,
            NaiveMessage::Cancel { index, begin, length } => _ = self.asked.remove(&(index, begin, length)),
            NaiveMessage::RejectRequest { index, begin, length } => {
                if !self.is_fast() {
                    return Err((Check::Readable, String::from("a reject without BEP 6")));
                }
                self.answer((index, begin, length), "reject")?;
            }
            NaiveMessage::Unknown { id, .. } => return Err((Check::Readable, format!("message {id}"))),
            _ => {}
        }
        Ok(())
    }

    fn announce(&mut self, piece: u32, host: &impl Knowledge) -> Result<(), Breach> {
        if !self.said_have.insert(piece) {
            return Err((Check::HaveOnce, format!("piece {piece}")));
        }
        if !host.holds(piece) {
            return Err((Check::HaveIsTrue, format!("piece {piece}")));
        }
        Ok(())
    }

    fn ask(&mut self, range: Range, late: bool, host: &impl Knowledge) -> Result<(), Breach> {
        let (piece, begin, len) = range;
        if self.choked_us && !late {
            return Err((Check::ChokedRequest, format!("{range:?}")));
        }
        let inside = begin.checked_add(len).is_some_and(|end| end <= host.piece_len(piece));
        if !(self.told_all || self.told.contains(&piece)) || !inside || len == 0 || len > 16_384 {
            return Err((Check::PossibleRequest, format!("{range:?}")));
        }
        if self.said_have.contains(&piece) {
            return Err((Check::PossibleRequest, format!("{range:?} is had")));
        }
        if self.refused.remove(&range) {
            return Ok(());
        }
        if !self.asked.insert(range) && !late {
            return Err((Check::AskedOnce, format!("{range:?}")));
        }
        Ok(())
    }

    fn answer(&mut self, range: Range, what: &str) -> Result<(), Breach> {
        match self.owed.get_mut(&range) {
            Some(1) => _ = self.owed.remove(&range),
            Some(count) => *count -= 1,
            None => return Err((Check::AnswerOnce, format!("{what} {range:?}"))),
        }
        Ok(())
    }

    /// Everything the engine had to say so far was sent.
    ///
    /// # Errors
    /// Requests that were to be answered by now.
    pub(super) fn drained(&mut self) -> Result<(), Breach> {
        if !self.we_choke {
            return Ok(());
        }
        if !self.is_fast() {
            // A choke without BEP 6 is the answer to all of them.
            self.owed.clear();
        } else if self.honest && !self.owed.is_empty() {
            return Err((Check::AnswerAll, format!("{:?}", self.owed.keys().next())));
        }
        Ok(())
    }
}

fn is_introduction(message: &NaiveMessage) -> bool {
    matches!(message, NaiveMessage::Extended { .. } | NaiveMessage::KeepAlive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naive_wire::{NaiveHandshake, encode, encode_handshake};

    struct Host(BTreeSet<u32>);
    impl Knowledge for Host {
        fn holds(&self, piece: u32) -> bool {
            self.0.contains(&piece)
        }
        fn piece_len(&self, piece: u32) -> u32 {
            if piece < 10 { 32_768 } else { 0 }
        }
        fn pieces(&self) -> u32 {
            10
        }
    }

    enum Said {
        By(NaiveMessage),
        To(NaiveMessage),
    }
    use NaiveMessage::*;
    use Said::{By, To};

    /// The rule that a doctored conversation breaks.
    fn breach(fast: bool, said: impl IntoIterator<Item = Said>) -> Option<Check> {
        let reserved = [0, 0, 0, 0, 0, 0, 0, if fast { 4 } else { 0 }];
        let shake = encode_handshake(&NaiveHandshake { reserved, info_hash: [0; 20], peer_id: [1; 20] });
        let (mut wire, host) = (Wire::new(true), Host([1, 2].into()));
        wire.received(&shake);
        wire.sent(&shake, false, &host).unwrap();
        for said in said {
            let result = match said {
                By(message) => wire.sent(&encode(&message), false, &host).and_then(|()| wire.drained()),
                To(message) => {
                    wire.received(&encode(&message));
                    Ok(())
                }
            };
            if let Err((check, _)) = result {
                return Some(check);
            }
        }
        None
    }

    const ASK: NaiveMessage = Request { index: 3, begin: 0, length: 16_384 };
    const ASKED: NaiveMessage = Request { index: 1, begin: 0, length: 5 };
    const REJECT: NaiveMessage = RejectRequest { index: 1, begin: 0, length: 5 };

    fn block() -> NaiveMessage {
        Piece { index: 1, begin: 0, block: vec![0; 5] }
    }

    #[test]
    fn requests_are_judged() {
        assert_eq!(breach(true, [To(HaveAll), By(ASK)]), Some(Check::ChokedRequest));
        assert_eq!(breach(true, [To(HaveAll), To(Unchoke), By(ASK)]), None);
        assert_eq!(breach(true, [To(Unchoke), By(ASK)]), Some(Check::PossibleRequest));
        assert_eq!(breach(true, [To(HaveAll), To(Unchoke), By(ASK), By(ASK)]), Some(Check::AskedOnce));
        let beyond = Request { index: 3, begin: 32_760, length: 9 };
        assert_eq!(breach(true, [To(HaveAll), To(Unchoke), By(beyond)]), Some(Check::PossibleRequest));
    }

    #[test]
    fn answers_are_judged() {
        assert_eq!(breach(true, [By(Unchoke), To(ASKED), By(block())]), None);
        assert_eq!(breach(true, [By(Unchoke), By(block())]), Some(Check::AnswerOnce));
        assert_eq!(breach(true, [By(Unchoke), To(ASKED), By(block()), By(REJECT)]), Some(Check::AnswerOnce));
        assert_eq!(breach(true, [By(Unchoke), To(ASKED), By(Choke)]), Some(Check::AnswerAll));
        assert_eq!(breach(false, [By(Unchoke), To(ASKED), By(Choke), By(block())]), Some(Check::AnswerOnce));
    }

    #[test]
    fn announcements_are_judged() {
        assert_eq!(breach(true, [By(HaveNone), By(Have { index: 1 })]), None);
        assert_eq!(breach(true, [By(Have { index: 3 })]), Some(Check::HaveIsTrue));
        assert_eq!(breach(true, [By(Have { index: 1 }), By(Have { index: 1 })]), Some(Check::HaveOnce));
        assert_eq!(breach(true, [By(Have { index: 1 }), By(HaveNone)]), Some(Check::BitfieldFirst));
        assert_eq!(breach(true, [By(HaveAll)]), Some(Check::HaveIsTrue));
        assert_eq!(breach(true, [By(Bitfield { bits: vec![0b0101_0000, 0] })]), Some(Check::HaveIsTrue));
        assert_eq!(breach(true, [By(Unknown { id: 99, body: vec![] })]), Some(Check::Readable));
    }
}
