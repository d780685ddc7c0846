//! One connection of an honest client, seen from outside: what it sent and received, read by the naive decoder, against the rules of BEP 3 and 6.
//!
//! It never looks into the engine. `late` says that events were taken in since the engine was last drained: then the order of the two directions is
//! not known, and rules that depend on it rest.

use super::backlog::Backlog;
use super::checks::Check;
use super::debts::Debts;
use super::stream::{Heard, Readable, Stream};
use crate::naive_wire::NaiveMessage;
use sameseed_core::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A block, or what should be one: piece, begin, length.
pub(super) type Range = (u32, u32, u32);

/// The most requests under way at one peer: what common clients queue.
const MAX_ASKED: usize = 500;

/// A `have` waits no longer than this for something to leave with: a second, and the next drain.
const MAX_UNSAID: Duration = Duration::from_secs(2);

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

/// Whether what came was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Yes,
    /// A refusal and the request crossed within the client: which came first is not known here.
    Perhaps,
    No,
}

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
    /// Pieces that the peer had told of and took back (BEP 54).
    untold: BTreeSet<u32>,
    /// Those of them since the last drain, told again or not: what was asked of them before may still be seen to be sent.
    lately_untold: BTreeSet<u32>,
    /// The ids under which the other side takes `lt_donthave`, and under which the client does.
    donthave_ids: [Option<u8>; 2],
    /// Pieces that have come and were not announced yet, since when.
    unsaid: VecDeque<(Instant, u32)>,
    /// Pieces that the client has found to be gone, and must take back.
    gone: BTreeSet<u32>,
    /// Pieces that touch no selected file.
    unwanted: BTreeSet<u32>,
    /// Pieces told one by one, less those that we have and those that we do not want.
    wanted: usize,
    said_interested: bool,
    choked_us: bool,
    we_choke: bool,
    allowed_fast: BTreeSet<u32>,
    /// Requests of ours that have not been answered.
    asked: BTreeSet<Range>,
    /// Every request of ours.
    ever_asked: BTreeSet<Range>,
    /// Requests since this was last taken.
    new_asks: Vec<Range>,
    /// Blocks that came since this was last taken, and whether an answer to a request of ours was open.
    new_blocks: Vec<(Range, Asked)>,
    /// Requests of ours that were called off since the last look: others may have been asked for more just before that.
    called_off: BTreeSet<Range>,
    /// Requests of ours that were answered by no block and no reject, how often each; also those that were called off.
    open_asks: BTreeMap<Range, u32>,
    /// A block came that was asked for.
    delivered: bool,
    /// Refused by a dishonest peer before they were seen to be asked for: the request may have been waiting to be drained.
    refused: BTreeSet<Range>,
    /// Requests of ours that may or may not have been refused so.
    doubtful: BTreeSet<Range>,
    /// Requests of theirs.
    debts: Debts,
    /// Whether they ask like an honest client: then each request must be answered.
    honest: bool,
    they_are_interested: bool,
    /// Something could not be read from the disk: nothing more is sent, and the engine will hear that the connection has ended.
    pub(super) is_failing: bool,
    hungry_since: Option<Instant>,
    /// A request may have been decided, and wait for the end of a block that leaves in parts.
    asks_wait: bool,
    /// Given to the network and not yet taken by it.
    pub(super) backlog: Backlog,
}

impl Wire {
    /// A fresh connection; `honest` when the other side is an honest client.
    pub(super) fn new(honest: bool) -> Self {
        Wire { choked_us: true, we_choke: true, honest, ..Wire::default() }
    }

    /// The client wants all pieces but these from now on.
    pub(super) fn set_unwanted(&mut self, unwanted: BTreeSet<u32>) {
        self.unwanted = unwanted;
        self.recount_wanted();
    }

    fn recount_wanted(&mut self) {
        let wanted = self.told.iter().filter(|piece| !self.said_have.contains(piece) && !self.unwanted.contains(piece));
        self.wanted = wanted.count();
    }

    /// The client has a piece from now on. Before the handshakes it says nothing, and then all that it has by then.
    pub(super) fn verified(&mut self, now: Instant, piece: u32) {
        if self.is_live() && !self.said_have.contains(&piece) {
            self.unsaid.push_back((now, piece));
        }
    }

    /// A piece was announced, or the client has it no more.
    pub(super) fn settle_unsaid(&mut self, piece: u32) {
        self.unsaid.retain(|(_, unsaid)| *unsaid != piece);
    }

    /// Whether all was announced in time. On a link to itself a client says nothing after the handshake, and what it has to say under a limit may stand
    /// behind payload that is held.
    ///
    /// # Errors
    /// When something was not.
    pub(super) fn judge_unsaid(&self, now: Instant, limited: bool) -> Result<(), Breach> {
        if !self.first_sent || self.speaks_late() || (limited && !self.debts.is_empty()) {
            return Ok(());
        }
        let late = self.unsaid.front().filter(|(since, _)| now.since(*since) > MAX_UNSAID);
        late.map_or(Ok(()), |(_, piece)| Err((Check::HaveIsTold, format!("piece {piece}"))))
    }

    /// The client has found out that a piece is gone: who was told of it must be told that.
    pub(super) fn found_gone(&mut self, piece: u32) {
        if self.said_have.contains(&piece) {
            self.gone.insert(piece);
        }
    }

    /// Whether a message is BEP 54's, and of which piece.
    fn donthave(&self, id: u8, payload: &[u8], sent: bool) -> Option<u32> {
        let is_it = self.donthave_ids[usize::from(!sent)] == Some(id) && id != 0;
        payload.try_into().ok().filter(|_| is_it).map(u32::from_be_bytes)
    }

    /// Whether the client wants this piece.
    pub(super) fn wants(&self, piece: u32) -> bool {
        !self.unwanted.contains(&piece)
    }

    fn is_fast(&self) -> bool {
        self.fast == [Some(true); 2]
    }

    /// Whether both handshakes are done.
    pub(super) fn is_live(&self) -> bool {
        self.fast.iter().all(Option::is_some)
    }

    /// What bytes say that are sent, or received.
    pub(super) fn words(&self, bytes: &impl Readable, sent: bool) -> String {
        if sent { &self.sent } else { &self.received }.words(bytes)
    }

    /// The engine was given bytes.
    pub(super) fn received(&mut self, bytes: &impl Readable) {
        let mut heard = Vec::new();
        bytes.read_with(&mut self.received, |h| heard.push(h));
        for heard in heard {
            match heard {
                Heard::Handshake(handshake) => self.fast[1] = Some(handshake.reserved[7] & 4 != 0),
                Heard::Block { index, begin, len } => {
                    let range = (index, begin, len);
                    self.asked.remove(&range);
                    self.delivered |= self.ever_asked.contains(&range);
                    let asked = match (self.close_ask(range), self.doubtful.remove(&range)) {
                        (true, _) => Asked::Yes,
                        (false, true) => Asked::Perhaps,
                        (false, false) => Asked::No,
                    };
                    self.new_blocks.push((range, asked));
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
            NaiveMessage::Interested => self.they_are_interested = true,
            NaiveMessage::NotInterested => self.they_are_interested = false,
            NaiveMessage::Have { index } => self.note_told(index),
            NaiveMessage::HaveAll => {
                self.told_all = true;
                self.untold.clear();
            }
            NaiveMessage::Bitfield { bits } => {
                let ones = |i: &u32| bits[*i as usize / 8] & (0x80 >> (i % 8)) != 0;
                (0..bits.len() as u32 * 8).filter(ones).for_each(|piece| self.note_told(piece));
            }
            NaiveMessage::Request { index, begin, length } => self.debts.requested((index, begin, length)),
            NaiveMessage::Cancel { index, begin, length } => self.debts.cancelled((index, begin, length)),
            NaiveMessage::RejectRequest { index, begin, length } => self.hear_reject((index, begin, length)),
            NaiveMessage::Extended { id: 0, payload } => {
                self.donthave_ids[0] = donthave_id(&payload).or(self.donthave_ids[0]);
            }
            NaiveMessage::Extended { id, payload } => {
                if let Some(piece) = self.donthave(id, &payload, false) {
                    self.hear_donthave(piece);
                }
            }
            _ => {}
        }
    }

    /// What was asked for of the piece may be asked of others at once; with BEP 6 a reject still comes for it.
    fn hear_donthave(&mut self, piece: u32) {
        if self.has_told(piece) {
            self.told.remove(&piece);
            self.untold.insert(piece);
            self.lately_untold.insert(piece);
            self.asked.retain(|range| range.0 != piece);
            self.recount_wanted();
        }
    }

    fn note_told(&mut self, piece: u32) {
        self.untold.remove(&piece);
        if self.told.insert(piece) && !self.said_have.contains(&piece) && self.wants(piece) {
            self.wanted += 1;
        }
    }

    /// Whether the peer said that it has a piece.
    pub(super) fn has_told(&self, piece: u32) -> bool {
        (self.told_all || self.told.contains(&piece)) && !self.untold.contains(&piece)
    }

    /// The id under which the other side takes `lt_donthave`.
    pub(super) fn takes_donthave(&self) -> Option<u8> {
        self.donthave_ids[0]
    }

    /// The pieces that we said we have.
    pub(super) fn announced(&self) -> impl Iterator<Item = u32> {
        self.said_have.iter().copied()
    }

    /// Whether we said that we have a piece.
    pub(super) fn has_said(&self, piece: u32) -> bool {
        self.said_have.contains(&piece)
    }

    /// Requests under way.
    pub(super) fn asked(&self) -> &BTreeSet<Range> {
        &self.asked
    }

    /// Requests that may be under way, or were until now, and the block that is arriving, asked for or not.
    pub(super) fn coming(&self) -> impl Iterator<Item = Range> {
        self.asked.iter().chain(&self.doubtful).chain(&self.called_off).copied().chain(self.arriving())
    }

    /// All that was asked of all peers until now has been looked at.
    pub(super) fn looked_at(&mut self) {
        self.called_off.clear();
    }

    /// The block that has begun to arrive.
    fn arriving(&self) -> Option<Range> {
        self.received.arriving()
    }

    /// Whether we are in the midst of sending a block: under a limit it leaves in parts, and what is to be said waits for its end.
    fn is_mid_block(&self) -> bool {
        self.sent.arriving().is_some()
    }

    /// Whether what is said, or is still to be said, may have been decided a while ago.
    pub(super) fn speaks_late(&self) -> bool {
        self.asks_wait || self.is_mid_block()
    }

    /// Whether the block has begun to arrive.
    pub(super) fn is_arriving(&self, range: Range) -> bool {
        self.arriving() == Some(range)
    }

    /// Whether the peer lets us ask.
    pub(super) fn lets_us_ask(&self) -> bool {
        self.is_live() && !self.choked_us
    }

    /// Whether we let the peer ask.
    pub(super) fn lets_them_ask(&self) -> bool {
        self.is_live() && !self.we_choke
    }

    /// Requests of theirs that they cancelled.
    pub(super) fn cancelled(&self) -> &BTreeSet<Range> {
        self.debts.all_cancelled()
    }

    /// Whether something came, or is coming, that was asked for.
    pub(super) fn has_delivered(&self) -> bool {
        self.delivered || self.received.arriving().is_some_and(|range| self.ever_asked.contains(&range))
    }

    /// Whether an answer is owed to an honest peer.
    pub(super) fn owes(&self) -> Option<Range> {
        self.debts.first().filter(|_| self.honest && self.is_fast())
    }

    /// Since when an honest peer is interested and choked.
    pub(super) fn hungry_since(&self) -> Option<Instant> {
        self.hungry_since.filter(|_| self.honest)
    }

    /// Requests since the last call.
    pub(super) fn take_new_asks(&mut self) -> Vec<Range> {
        std::mem::take(&mut self.new_asks)
    }

    /// Bytes of blocks that came so far, of whole ones and others.
    pub(super) fn payload_received(&self) -> u64 {
        self.received.payload()
    }

    /// Blocks that came since the last call, and whether they were asked for.
    pub(super) fn take_new_blocks(&mut self) -> Vec<(Range, Asked)> {
        std::mem::take(&mut self.new_blocks)
    }

    /// An answer came; whether we had asked.
    fn close_ask(&mut self, range: Range) -> bool {
        let Some(open) = self.open_asks.get_mut(&range) else { return false };
        *open -= 1;
        if *open == 0 {
            self.open_asks.remove(&range);
        }
        true
    }

    fn hear_reject(&mut self, range: Range) {
        self.close_ask(range);
        if self.open_asks.contains_key(&range) {
            // It answers a request that was called off; the one made since has no answer yet.
            return;
        }
        if !self.asked.remove(&range) && !self.honest {
            self.refused.insert(range);
        }
    }

    /// The engine sent bytes.
    ///
    /// # Errors
    /// The first rule that they break.
    pub(super) fn sent(&mut self, bytes: &impl Readable, late: bool, host: &impl Knowledge) -> Result<(), Breach> {
        let mut heard = Vec::new();
        bytes.read_with(&mut self.sent, |h| heard.push(h));
        for heard in heard {
            match heard {
                Heard::Handshake(handshake) => self.fast[0] = Some(handshake.reserved[7] & 4 != 0),
                Heard::Garbage => return Err((Check::Readable, String::from("the naive decoder gives up"))),
                Heard::Block { index, begin, len } => {
                    if self.we_choke && !self.allowed_fast.contains(&index) {
                        return Err((Check::NotChoking, format!("{:?}", (index, begin, len))));
                    }
                    self.debts.answered((index, begin, len), "block")?;
                }
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
            NaiveMessage::Interested => self.said_interested = true,
            NaiveMessage::NotInterested => self.said_interested = false,
            NaiveMessage::AllowedFast { index } => _ = self.allowed_fast.insert(index),
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
            NaiveMessage::Cancel { index, begin, length } => {
                self.called_off.extend(self.asked.take(&(index, begin, length)));
            }
            NaiveMessage::RejectRequest { index, begin, length } => {
                if !self.is_fast() {
                    return Err((Check::Readable, String::from("a reject without BEP 6")));
                }
                self.debts.answered((index, begin, length), "reject")?;
            }
            NaiveMessage::Extended { id: 0, payload } => {
                self.donthave_ids[1] = donthave_id(&payload).or(self.donthave_ids[1]);
            }
            NaiveMessage::Extended { id, payload } => {
                let Some(piece) = self.donthave(id, &payload, true) else {
                    return Err((Check::Readable, format!("extended message {id}")));
                };
                if !self.said_have.remove(&piece) {
                    return Err((Check::TakenBack, format!("piece {piece} was never announced")));
                }
                self.gone.remove(&piece);
                self.recount_wanted();
                if !self.is_fast() {
                    self.debts.forget(piece);
                }
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
        self.settle_unsaid(piece);
        self.wanted -= usize::from(self.told.contains(&piece) && self.wants(piece));
        if !host.holds(piece) {
            return Err((Check::HaveIsTrue, format!("piece {piece}")));
        }
        Ok(())
    }

    fn ask(&mut self, range: Range, late: bool, host: &impl Knowledge) -> Result<(), Breach> {
        let (piece, begin, len) = range;
        if self.choked_us && !late && !self.asks_wait {
            return Err((Check::ChokedRequest, format!("{range:?}")));
        }
        let inside = begin.checked_add(len).is_some_and(|end| end <= host.piece_len(piece));
        // What was taken back may have been decided upon before.
        let told = self.has_told(piece) || (late || self.asks_wait) && self.untold.contains(&piece);
        if !told || !inside || len == 0 || len > 16_384 {
            return Err((Check::PossibleRequest, format!("{range:?}")));
        }
        if self.said_have.contains(&piece) {
            let check = if self.gone.contains(&piece) { Check::TakenBack } else { Check::PossibleRequest };
            return Err((check, format!("{range:?} is had")));
        }
        if !self.wants(piece) && !late && !self.asks_wait {
            return Err((Check::Unwanted, format!("{range:?}")));
        }
        self.ever_asked.insert(range);
        if self.untold.contains(&piece) {
            // Decided upon before it was heard that the piece is gone: a reject may come for it, and others may be asked.
            *self.open_asks.entry(range).or_default() += 1;
            return Ok(());
        }
        if self.refused.remove(&range) && late {
            // Which came first, the request or its reject, is not known here.
            self.doubtful.insert(range);
            return Ok(());
        }
        if self.lately_untold.contains(&piece) {
            // Nor here, whether it was asked for before the peer took the piece back and told of it again: then it is forgotten.
            self.doubtful.insert(range);
            *self.open_asks.entry(range).or_default() += 1;
            return Ok(());
        }
        self.doubtful.remove(&range);
        if !self.asked.insert(range) && !late {
            return Err((Check::AskedOnce, format!("{range:?}")));
        }
        if self.asked.len() > MAX_ASKED {
            return Err((Check::Limits, format!("{} requests under way", self.asked.len())));
        }
        *self.open_asks.entry(range).or_default() += 1;
        self.new_asks.push(range);
        Ok(())
    }

    /// Everything the engine had to say so far was sent.
    ///
    /// # Errors
    /// What should have been said by now.
    pub(super) fn drained(&mut self, now: Instant, pieces: u32) -> Result<(), Breach> {
        // A request that was decided before its reject was heard has been seen by now.
        self.refused.clear();
        let choked_and_interested = self.we_choke && self.they_are_interested;
        self.hungry_since = choked_and_interested.then(|| self.hungry_since.unwrap_or(now));
        self.asks_wait = self.is_mid_block();
        if self.asks_wait {
            return Ok(());
        }
        self.lately_untold.clear();
        self.debts.settle(self.is_fast(), self.honest, self.we_choke)?;
        if let Some(piece) = self.gone.first() {
            return Err((Check::TakenBack, format!("piece {piece} is gone")));
        }
        let wants = if self.told_all {
            let settled = self.unwanted.union(&self.untold);
            let settled = settled.filter(|piece| **piece < pieces && !self.said_have.contains(piece)).count();
            self.said_have.len() + settled < pieces as usize
        } else {
            self.wanted > 0
        };
        if self.is_live() && wants != self.said_interested {
            return Err((Check::Interested, format!("there is something to want: {wants}")));
        }
        Ok(())
    }
}

/// Where an extended handshake says that BEP 54's message is taken, read by looking for the key.
pub(super) fn donthave_id(payload: &[u8]) -> Option<u8> {
    let key = b"11:lt_donthavei";
    let at = payload.windows(key.len()).position(|window| window == key)? + key.len();
    let digits = payload[at..].split(|byte| *byte == b'e').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn is_introduction(message: &NaiveMessage) -> bool {
    matches!(message, NaiveMessage::Extended { .. } | NaiveMessage::KeepAlive)
}

#[cfg(test)]
mod tests;
