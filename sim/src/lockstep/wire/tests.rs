//! Doctored conversations, each with the rule that it breaks.

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
            By(message) => wire.sent(&encode(&message), false, &host).and_then(|()| wire.drained(Instant::ZERO, 10)),
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
const CANCEL: NaiveMessage = Cancel { index: 1, begin: 0, length: 5 };
const REJECT: NaiveMessage = RejectRequest { index: 1, begin: 0, length: 5 };

fn block() -> NaiveMessage {
    Piece { index: 1, begin: 0, block: vec![0; 5] }
}

#[test]
fn requests_are_judged() {
    assert_eq!(breach(true, [To(HaveAll), By(ASK)]), Some(Check::ChokedRequest));
    assert_eq!(breach(true, [To(HaveAll), To(Unchoke), By(Interested), By(ASK)]), None);
    assert_eq!(breach(true, [To(Unchoke), By(ASK)]), Some(Check::PossibleRequest));
    assert_eq!(breach(true, [To(HaveAll), To(Unchoke), By(Interested), By(ASK), By(ASK)]), Some(Check::AskedOnce));
    let beyond = Request { index: 3, begin: 32_760, length: 9 };
    assert_eq!(breach(true, [To(HaveAll), To(Unchoke), By(beyond)]), Some(Check::PossibleRequest));
}

#[test]
fn answers_are_judged() {
    assert_eq!(breach(true, [By(Unchoke), To(ASKED), By(block())]), None);
    assert_eq!(breach(true, [By(Unchoke), By(block())]), Some(Check::AnswerOnce));
    assert_eq!(breach(true, [By(Unchoke), To(ASKED), By(block()), By(REJECT)]), Some(Check::AnswerOnce));
    assert_eq!(breach(true, [By(Unchoke), To(ASKED), By(Choke)]), Some(Check::AnswerAll));
    assert_eq!(breach(false, [By(Unchoke), To(ASKED), By(Choke), By(Unchoke), By(block())]), Some(Check::AnswerOnce));
    assert_eq!(breach(false, [By(Unchoke), To(ASKED), By(Choke), By(block())]), Some(Check::NotChoking));
    assert_eq!(breach(true, [By(AllowedFast { index: 1 }), To(ASKED), By(block())]), None);
}

#[test]
fn cancels_are_judged() {
    assert_eq!(breach(true, [By(Unchoke), To(ASKED), To(CANCEL), By(REJECT)]), None);
    assert_eq!(breach(true, [By(Unchoke), To(ASKED), To(CANCEL), By(block())]), None, "they crossed");
    assert_eq!(breach(true, [By(Unchoke), To(ASKED), To(CANCEL), By(KeepAlive)]), Some(Check::AnswerAll));
    assert_eq!(breach(false, [By(Unchoke), To(ASKED), To(CANCEL), By(KeepAlive)]), None);
    let late = [By(Unchoke), To(ASKED), To(CANCEL), By(KeepAlive), By(block())];
    assert_eq!(breach(false, late), Some(Check::NotCancelled));
    let late = [By(Unchoke), To(ASKED), To(CANCEL), By(REJECT), By(block())];
    assert_eq!(breach(true, late), Some(Check::NotCancelled));
    assert_eq!(breach(true, [By(Unchoke), To(ASKED), By(block()), To(CANCEL), By(KeepAlive)]), None);
    let again = [By(Unchoke), To(ASKED), To(CANCEL), To(ASKED), By(REJECT), By(block())];
    assert_eq!(breach(true, again), None);
}

#[test]
fn interest_is_judged() {
    assert_eq!(breach(true, [To(Have { index: 4 }), By(KeepAlive)]), Some(Check::Interested));
    assert_eq!(breach(true, [To(Have { index: 4 }), By(Interested)]), None);
    assert_eq!(breach(true, [By(Interested)]), Some(Check::Interested));
    let both = [By(Have { index: 1 }), To(Have { index: 1 }), By(KeepAlive)];
    assert_eq!(breach(true, both), None, "we have it");
    assert_eq!(breach(true, [To(HaveAll), By(NotInterested)]), Some(Check::Interested));
}

#[test]
fn what_is_taken_back_is_judged() {
    let takes = || Extended { id: 0, payload: b"d1:md11:lt_donthavei3eee".to_vec() };
    let gone = |id, piece: u32| Extended { id, payload: piece.to_be_bytes().to_vec() };
    assert_eq!(breach(true, [To(takes()), By(Have { index: 1 }), By(gone(3, 1)), By(Have { index: 1 })]), None);
    assert_eq!(breach(true, [To(takes()), By(gone(3, 1))]), Some(Check::TakenBack));
    assert_eq!(breach(true, [By(Have { index: 1 }), By(gone(3, 1))]), Some(Check::Readable));
    let asks = [By(takes()), To(HaveAll), To(Unchoke), By(Interested), To(gone(3, 3)), By(ASK)];
    assert_eq!(breach(true, asks), Some(Check::PossibleRequest));
    // Told again in the same breath: one request may be older, and forgotten; the next may not.
    let told = || [By(takes()), To(HaveAll), To(Unchoke), By(Interested), To(gone(3, 3)), To(Have { index: 3 })];
    assert_eq!(breach(true, told().into_iter().chain([By(ASK), By(ASK)])), None);
    assert_eq!(breach(true, told().into_iter().chain([By(ASK), By(ASK), By(ASK)])), Some(Check::AskedOnce));
    assert_eq!(breach(true, told().into_iter().chain([By(KeepAlive), By(ASK), By(ASK)])), Some(Check::AskedOnce));
}

#[test]
fn what_was_called_off_may_have_been_under_way_until_all_are_looked_at() {
    let (mut wire, range) = (Wire::new(true), (3, 0, 16_384));
    wire.asked.insert(range);
    wire.say(Cancel { index: 3, begin: 0, length: 16_384 }, false, &Host(BTreeSet::new())).unwrap();
    assert!(wire.asked().is_empty() && wire.coming().eq([range]));
    wire.looked_at();
    assert_eq!(wire.coming().count(), 0);
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

#[test]
fn what_comes_is_to_be_announced_in_time() {
    let (mut wire, host) = (Wire::new(true), Host([1, 2].into()));
    let at = |s| Instant::ZERO + Duration::from_secs(s);
    let judge = |wire: &Wire, s, limited| wire.judge_unsaid(at(s), limited).err().map(|(check, _)| check);
    wire.verified(at(0), 0);
    wire.fast = [Some(true); 2];
    (1..=3).for_each(|piece| wire.verified(at(0), piece));
    assert_eq!(judge(&wire, 3, false), None, "its first message is to come");
    wire.say(HaveNone, false, &host).unwrap();
    assert_eq!(judge(&wire, 2, false), None);
    assert_eq!(judge(&wire, 3, false), Some(Check::HaveIsTold));
    assert_eq!(judge(&wire, 3, true), Some(Check::HaveIsTold), "no payload is held");
    wire.debts.requested((0, 0, 5));
    assert_eq!(judge(&wire, 3, true), None);
    assert_eq!(judge(&wire, 3, false), Some(Check::HaveIsTold));
    (1..=2).for_each(|index| wire.say(Have { index }, false, &host).unwrap());
    assert_eq!(wire.judge_unsaid(at(3), false).unwrap_err().1, "piece 3");
    wire.settle_unsaid(3);
    assert_eq!(judge(&wire, 3, false), None);
}
