//! Vices of peers that talk too much, out of turn, or nonsense: each keeps to the framing and breaks the sense.

use super::content::Content;
use super::faults::Fault;
use super::hostile::{BLOCK_LEN, Reply, Talk};
use crate::naive_wire::{NaiveMessage, encode};
use sameseed_core::id::PieceIndex;
use sameseed_core::rng::Rng;

/// Seconds after which it falls silent on a connection: keeps long runs quick.
const MAX_ROUNDS: u32 = 60;

/// A random block of the torrent, as it would be asked for.
fn any_block(content: &Content, rng: &mut Rng) -> (u32, u32, u32) {
    let layout = content.layout();
    let index = rng.below(u64::from(layout.piece_count())) as u32;
    (index, 0, layout.len_of(PieceIndex(index)).min(BLOCK_LEN))
}

fn request((index, begin, length): (u32, u32, u32)) -> NaiveMessage {
    NaiveMessage::Request { index, begin, length }
}

fn cancel((index, begin, length): (u32, u32, u32)) -> NaiveMessage {
    NaiveMessage::Cancel { index, begin, length }
}

/// What an extended handshake can hold that nobody needs.
fn huge_handshake(rng: &mut Rng) -> Vec<u8> {
    match rng.below(5) {
        0 => [b"d1:v60000:", &vec![b'v'; 60_000][..], b"e"].concat(),
        1 => vec![b'l'; 30_000],
        2 => {
            let keys: Vec<u8> = (0..2000).flat_map(|n| format!("6:x{n:05}i1e").into_bytes()).collect();
            [b"d1:md", &keys[..], b"ee"].concat()
        }
        3 => b"d1:pi-99999e4:reqqi99999999999999999999ee".to_vec(),
        _ => vec![b'd'; 1 << 20],
    }
}

impl Talk {
    /// What it says besides at the beginning.
    pub(super) fn begin_abuse(&mut self, pieces: u32, rng: &mut Rng, reply: &mut Reply) {
        let before = reply.bytes.len();
        let mut say = |message: NaiveMessage| reply.bytes.extend(encode(&message));
        match self.vice {
            Fault::KeepAliveFlood => (0..100 << rng.below(7)).for_each(|_| say(NaiveMessage::KeepAlive)),
            Fault::HugeExtended => say(NaiveMessage::Extended { id: 0, payload: huge_handshake(rng) }),
            Fault::FastAbuse => {
                say(NaiveMessage::HaveAll);
                for _ in 0..rng.below(400) {
                    let index = rng.below(u64::from(pieces)) as u32;
                    say(NaiveMessage::AllowedFast { index });
                    say(NaiveMessage::SuggestPiece { index });
                }
            }
            _ => {}
        }
        reply.vices += u64::from(reply.bytes.len() > before);
    }

    /// What it says besides, every second.
    pub(super) fn go_on_abusing(&mut self, content: &Content, rng: &mut Rng, reply: &mut Reply) {
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            return;
        }
        let pieces = content.layout().piece_count();
        let before = reply.bytes.len();
        match self.vice {
            Fault::ChokedRequests => {
                for _ in 0..10 + rng.below(50) {
                    reply.bytes.extend(encode(&request(any_block(content, rng))));
                }
            }
            Fault::CancelRaces if self.may_ask => {
                for _ in 0..10 {
                    let block = any_block(content, rng);
                    reply.bytes.extend(encode(&request(block)));
                    if rng.below(2) == 0 {
                        reply.bytes.extend(encode(&cancel(block)));
                    } else {
                        self.asked.push(block);
                    }
                }
            }
            Fault::OddMessages => {
                let body = vec![7; rng.below(300) as usize];
                for id in [10, 11, 12, 18, 19, 21 + rng.below(234) as u8] {
                    reply.bytes.extend(encode(&NaiveMessage::Unknown { id, body: body.clone() }));
                }
                reply.bytes.extend(encode(&NaiveMessage::Port { port: rng.next_u32() as u16 }));
            }
            Fault::FastAbuse => {
                let (index, begin, length) = any_block(content, rng);
                let message = match rng.below(20) {
                    0 => NaiveMessage::HaveNone,
                    1 => NaiveMessage::AllowedFast { index: pieces },
                    2 => NaiveMessage::HaveAll,
                    3 | 4 => NaiveMessage::Bitfield { bits: vec![0; pieces.div_ceil(8) as usize] },
                    _ => NaiveMessage::RejectRequest { index, begin, length },
                };
                reply.bytes.extend(encode(&message));
            }
            Fault::TakesBack if self.donthave_id != 0 => {
                for _ in 0..rng.below(80) {
                    let index = rng.below(u64::from(pieces)) as u32;
                    let message = match rng.below(200) {
                        0 => self.dont_have(pieces + index),
                        1 => NaiveMessage::Extended { id: self.donthave_id, payload: vec![0; rng.below(9) as usize] },
                        2 => NaiveMessage::HaveAll,
                        3 => NaiveMessage::Extended { id: 0, payload: b"d1:md11:lt_donthavei3eee".to_vec() },
                        4..100 => NaiveMessage::Have { index },
                        _ => self.dont_have(index),
                    };
                    let often = if rng.below(20) == 0 { 5 } else { 1 };
                    (0..often).for_each(|_| reply.bytes.extend(encode(&message)));
                }
            }
            _ => {}
        }
        reply.vices += u64::from(reply.bytes.len() > before);
    }

    /// BEP 54's message.
    pub(super) fn dont_have(&self, piece: u32) -> NaiveMessage {
        NaiveMessage::Extended { id: self.donthave_id, payload: piece.to_be_bytes().to_vec() }
    }

    /// Takes back some of what it asked for: perhaps it is just being sent.
    pub(super) fn cancel_some(&mut self, rng: &mut Rng, reply: &mut Reply) {
        if rng.below(2) == 0
            && let Some(block) = self.asked.pop()
        {
            reply.bytes.extend(encode(&cancel(block)));
            reply.vices += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content;
    use crate::naive_wire::{NaiveEnd, NaiveHandshake, NaiveLimits, decode, encode_handshake};
    use sameseed_core::rng::Stream;

    #[test]
    fn who_talks_too_much_keeps_to_the_framing() {
        let content = Content::new(&content::torrent("talk", &[50_000], 1000));
        let mut rng = Rng::new(&[4; 32], Stream::Choker, 0);
        let hello = encode_handshake(&NaiveHandshake { reserved: [0; 8], info_hash: [1; 20], peer_id: [2; 20] });
        let takes = NaiveMessage::Extended { id: 0, payload: b"d1:md11:lt_donthavei7eee".to_vec() };
        let heard = [hello, encode(&takes), encode(&NaiveMessage::Unchoke)].concat();
        for vice in [
            Fault::ChokedRequests,
            Fault::CancelRaces,
            Fault::OddMessages,
            Fault::FastAbuse,
            Fault::KeepAliveFlood,
            Fault::HugeExtended,
            Fault::TakesBack,
        ] {
            let mut talk = Talk::new(vice, [3; 20], [1; 20], true);
            let mut replies = vec![talk.connected(), talk.received(&heard, &content, &mut rng)];
            replies.extend((0..3).map(|_| talk.second(&content, &mut rng)));
            let bytes: Vec<u8> = replies.iter().flat_map(|reply| reply.bytes.clone()).collect();
            let limits = NaiveLimits { piece_count: None, max_extended_len: 2 << 20 };
            assert_eq!(decode(&bytes, limits).end, NaiveEnd::Clean, "{vice:?}");
            assert!(replies.iter().map(|reply| reply.vices).sum::<u64>() > 0, "{vice:?}");
        }
    }
}
