//! Control messages of one connection: what each changes here, and what the torrent must know of it.

use super::Peer;
use crate::bitfield::Bitfield;
use crate::fault::PeerFault;
use crate::id::PieceIndex;
use crate::wire::{BlockRequest, ExtendedHandshake, Message};
use core::net::{IpAddr, SocketAddr};

/// Messages that change nothing are borne with up to this many at once (a lazy bitfield, a late cancel) ...
pub(super) const PATIENCE: u32 = 2000;
/// ... and this many a second: beyond is a flood, whose only effect is our work.
pub(super) const PATIENCE_PER_SECOND: u32 = 20;

/// The id under which we take BEP 54's message, as libtorrent does.
pub(crate) const LT_DONTHAVE_ID: u8 = 7;

/// What a message means beyond its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    None,
    /// It chokes us: without BEP 6 all requests are void.
    Choked,
    /// It lets us ask.
    Unchoked,
    /// It wants something, or no longer does.
    InterestChanged,
    /// It said for the first time which pieces it has.
    FirstPieces,
    /// It has one more piece.
    NewPiece(PieceIndex),
    /// It has several more pieces: exactly these.
    NewPieces(Bitfield),
    /// It has one piece less (BEP 54).
    LostPiece(PieceIndex),
    /// It asks for a block.
    Requests(BlockRequest),
    /// It no longer wants a block that it asked for.
    Cancels(BlockRequest),
    /// It will not send a block that we asked for (BEP 6).
    Rejects(BlockRequest),
    /// It told about itself (BEP 10), and perhaps where it sees us.
    Introduced(Option<IpAddr>),
}

impl Peer {
    /// Takes a message in.
    ///
    /// # Errors
    /// The peer broke the protocol.
    pub(crate) fn handle_message(&mut self, message: Message<'_>) -> Result<News, PeerFault> {
        let pieces = self.has.len();
        let first = !self.first_message_seen;
        // BEP 10's handshake may come before the bitfield: common clients send it so.
        self.first_message_seen |= !matches!(message, Message::Extended { .. } | Message::KeepAlive);
        match message {
            Message::KeepAlive | Message::Port(_) | Message::Unknown { .. } => self.redundant(),
            Message::Choke if self.peer_choking => self.redundant(),
            Message::Choke => {
                self.redundant()?;
                self.peer_choking = true;
                Ok(News::Choked)
            }
            Message::Unchoke if !self.peer_choking => self.redundant(),
            Message::Unchoke => {
                self.redundant()?;
                self.peer_choking = false;
                Ok(News::Unchoked)
            }
            Message::Interested | Message::NotInterested => {
                let interested = matches!(message, Message::Interested);
                let changed = self.peer_interested != interested;
                self.peer_interested = interested;
                self.redundant()?;
                Ok(if changed { News::InterestChanged } else { News::None })
            }
            Message::Have(piece) => {
                if piece.0 >= pieces {
                    return Err(PeerFault::NoSuchPiece);
                }
                if self.has.set(piece) { Ok(News::NewPiece(piece)) } else { self.redundant() }
            }
            Message::Bitfield(bytes) => {
                let said = Bitfield::from_wire(bytes, pieces).ok_or(PeerFault::BadBitfield)?;
                if first { self.first_pieces(said) } else { self.more_pieces(&said) }
            }
            Message::HaveAll | Message::HaveNone if !self.fast => Err(PeerFault::UnexpectedFast),
            Message::HaveAll if first => self.first_pieces(Bitfield::full(pieces)),
            Message::HaveAll => self.more_pieces(&Bitfield::full(pieces)),
            Message::HaveNone if first => self.first_pieces(Bitfield::empty(pieces)),
            Message::HaveNone => Err(PeerFault::LateHaveNone),
            Message::Request(request) => Ok(News::Requests(request)),
            Message::Cancel(request) => {
                self.redundant()?;
                Ok(News::Cancels(request))
            }
            Message::SuggestPiece(_) | Message::RejectRequest(_) | Message::AllowedFast(_) if !self.fast => {
                Err(PeerFault::UnexpectedFast)
            }
            Message::SuggestPiece(piece) | Message::AllowedFast(piece) => {
                if piece.0 >= pieces {
                    return Err(PeerFault::NoSuchPiece);
                }
                // Advice that we do not take: the rarest piece serves the swarm better, and choking is respected.
                self.redundant()
            }
            Message::RejectRequest(request) => Ok(News::Rejects(request)),
            Message::Extended { id: 0, payload } if self.extended => {
                let theirs = ExtendedHandshake::parse(payload)?;
                self.redundant()?;
                self.introduce(&theirs);
                Ok(News::Introduced(theirs.yourip))
            }
            // Also from who has not said that it takes such messages itself.
            Message::Extended { id: LT_DONTHAVE_ID, payload } if self.extended => self.take_back(payload),
            Message::Extended { .. } => self.redundant(),
        }
    }

    /// BEP 54: a piece that was announced is gone. What was never announced may be taken back in vain: our books and those of the peer may have
    /// crossed. As often as there are pieces it is free, since a disk may lose all at once; beyond, `have` and `lt_donthave` in turns are a flood.
    fn take_back(&mut self, payload: &[u8]) -> Result<News, PeerFault> {
        let piece = PieceIndex(u32::from_be_bytes(payload.try_into().map_err(|_| PeerFault::BadExtension)?));
        if piece.0 >= self.has.len() {
            return Err(PeerFault::NoSuchPiece);
        }
        if !self.has.get(piece) {
            return self.redundant();
        }
        if self.taken_back >= self.has.len() {
            self.redundant()?;
        }
        self.taken_back = self.taken_back.saturating_add(1);
        self.has.clear(piece);
        Ok(News::LostPiece(piece))
    }

    fn first_pieces(&mut self, said: Bitfield) -> Result<News, PeerFault> {
        self.has = said;
        Ok(News::FirstPieces)
    }

    /// BEP 3 has the bitfield come first only, but aria2 sends one in place of many `have` messages: it is read as just that.
    /// A piece that it leaves out is not taken back: no message of BEP 3 can do so.
    fn more_pieces(&mut self, said: &Bitfield) -> Result<News, PeerFault> {
        let mut new = Bitfield::empty(self.has.len());
        said.iter_ones_not_in(&self.has).for_each(|piece| _ = new.set(piece));
        if new.is_empty_set() {
            return self.redundant();
        }
        new.iter_ones().for_each(|piece| _ = self.has.set(piece));
        Ok(News::NewPieces(new))
    }

    fn introduce(&mut self, theirs: &ExtendedHandshake) {
        if let Some(reqq) = theirs.reqq {
            self.pipeline.set_reqq(reqq);
        }
        if let Some(client) = &theirs.v {
            self.client.clone_from(client);
        }
        if let (None, Some(port)) = (self.listen_addr, theirs.p) {
            self.listen_addr = Some(SocketAddr::new(self.addr.ip(), port));
        }
        self.upload_only = theirs.upload_only;
        self.takes.update(&theirs.m);
    }

    /// A message that changes nothing, or that costs the sender nothing to repeat.
    ///
    /// # Errors
    /// [`PeerFault::Flood`] when there are too many.
    pub(crate) fn redundant(&mut self) -> Result<News, PeerFault> {
        self.patience = self.patience.checked_sub(1).ok_or(PeerFault::Flood)?;
        Ok(News::None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stage;
    use super::*;
    use crate::id::{ConnId, PeerId};
    use crate::time::Instant;
    use crate::wire::Handshake;

    fn peer(fast: bool) -> Peer {
        let addr = "127.0.0.1:2000".parse().unwrap();
        let mut peer = Peer::new(ConnId::dialed(0), addr, Instant::ZERO, Stage::Handshaking);
        let ours = Handshake::new([0; 20], PeerId([1; 20]));
        let mut theirs = Handshake::new([0; 20], PeerId([2; 20]));
        if !fast {
            theirs.reserved = [0; 8];
        }
        peer.go_live(Instant::ZERO, &theirs, &ours, 10);
        peer
    }

    #[test]
    fn a_late_bitfield_stands_for_many_haves() {
        assert_eq!(peer(false).handle_message(Message::Bitfield(&[0x80, 0])), Ok(News::FirstPieces));
        let mut late = peer(false);
        late.handle_message(Message::Have(PieceIndex(1))).unwrap();
        let new = Bitfield::from_wire(&[0b1010_0000, 0], 10).unwrap();
        assert_eq!(late.handle_message(Message::Bitfield(&[0b1110_0000, 0])), Ok(News::NewPieces(new)));
        assert_eq!(late.handle_message(Message::Bitfield(&[0b1000_0000, 0])), Ok(News::None));
        assert_eq!(late.has, Bitfield::from_wire(&[0b1110_0000, 0], 10).unwrap(), "nothing is taken back");
        assert_eq!(late.handle_message(Message::Bitfield(&[0x80, 1])), Err(PeerFault::BadBitfield));
        assert_eq!(peer(false).handle_message(Message::Bitfield(&[0x80, 1])), Err(PeerFault::BadBitfield));
    }

    #[test]
    fn fast_messages_need_the_agreement() {
        assert_eq!(peer(false).handle_message(Message::HaveAll), Err(PeerFault::UnexpectedFast));
        let mut fast = peer(true);
        assert_eq!(fast.handle_message(Message::HaveAll), Ok(News::FirstPieces));
        assert!(fast.has.is_full());
        assert_eq!(fast.handle_message(Message::HaveNone), Err(PeerFault::LateHaveNone));
        let mut late = peer(true);
        assert_eq!(late.handle_message(Message::HaveNone), Ok(News::FirstPieces));
        assert_eq!(late.handle_message(Message::HaveAll), Ok(News::NewPieces(Bitfield::full(10))));
    }

    #[test]
    fn pieces_beyond_the_torrent_end_the_connection() {
        assert_eq!(peer(true).handle_message(Message::Have(PieceIndex(10))), Err(PeerFault::NoSuchPiece));
        assert_eq!(peer(true).handle_message(Message::AllowedFast(PieceIndex(10))), Err(PeerFault::NoSuchPiece));
    }

    fn dont_have(piece: u32) -> [u8; 4] {
        piece.to_be_bytes()
    }

    #[test]
    fn a_piece_that_is_taken_back_is_no_longer_there() {
        let mut peer = peer(true);
        let mut say = |payload: &[u8]| peer.handle_message(Message::Extended { id: LT_DONTHAVE_ID, payload });
        assert_eq!(say(&dont_have(3)), Ok(News::None), "nothing was announced");
        assert_eq!(say(&dont_have(10)), Err(PeerFault::NoSuchPiece));
        assert_eq!(say(&dont_have(3)[..3]), Err(PeerFault::BadExtension));
        assert_eq!(say(b"\0\0\0\0\0"), Err(PeerFault::BadExtension));
        peer.handle_message(Message::HaveAll).unwrap();
        let taken = peer.handle_message(Message::Extended { id: LT_DONTHAVE_ID, payload: &dont_have(3) });
        assert_eq!((taken, peer.has.count(), peer.is_seed()), (Ok(News::LostPiece(PieceIndex(3))), 9, false));
    }

    #[test]
    fn who_has_and_has_not_in_turns_is_a_flood_sooner_or_later() {
        let mut peer = peer(true);
        let mut rounds = 0;
        let fault = loop {
            peer.handle_message(Message::Have(PieceIndex(1))).unwrap();
            match peer.handle_message(Message::Extended { id: LT_DONTHAVE_ID, payload: &dont_have(1) }) {
                Ok(_) => rounds += 1,
                Err(fault) => break fault,
            }
        };
        assert_eq!((fault, rounds), (PeerFault::Flood, 10 + PATIENCE));
    }

    #[test]
    fn a_flood_of_messages_that_change_nothing_ends_the_connection() {
        let mut peer = peer(true);
        let fault = (0..=PATIENCE).find_map(|_| peer.handle_message(Message::Have(PieceIndex(1))).err());
        assert_eq!(fault, None, "the first `have` is news");
        assert_eq!(peer.handle_message(Message::Have(PieceIndex(1))), Err(PeerFault::Flood));
        let mut flapping = self::peer(false);
        let fault = (0..=PATIENCE / 2).find_map(|_| {
            flapping.handle_message(Message::Unchoke).err().or(flapping.handle_message(Message::Choke).err())
        });
        assert_eq!(fault, Some(PeerFault::Flood));
    }
}
