//! A client broken on purpose, so that each law is seen to be broken: what its engine says, does, shows or is told is changed on the way.
//!
//! For tests of the checkers alone: a client without a sabotage costs one comparison here and there.

use super::wire::{Knowledge, Wire};
use crate::naive_wire::{NaiveMessage, encode};
use sameseed_core::action::{Action, CloseReason, Fetch, Notice, Operation};
use sameseed_core::config::Goal;
use sameseed_core::event::{Command, Event, Outcome};
use sameseed_core::explain::Explanation;
use sameseed_core::fault::PeerFault;
use sameseed_core::id::{ConnId, FileIndex, OpId};
use sameseed_core::ledger::Ledger;
use sameseed_core::time::Duration;
use sameseed_core::tracker::Swarm;
use sameseed_core::view::{PeerView, TrackerView, View};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Sabotage {
    SendsUnknownMessage,
    AsksWhileChoked,
    AsksBeyondThePiece,
    AsksForTheUnwanted,
    ForgetsThePartFile,
    AsksTwice,
    AsksTwoPeers,
    AnswersTwice,
    SwallowsRejects,
    SwallowsBlocks,
    SendsWhatWasCancelled,
    SendsWhileChoking,
    TellsPiecesAgain,
    RepeatsHave,
    SwallowsHave,
    KeepsWhatIsGone,
    TakesBackWhatItNeverHad,
    AnnouncesWhatItLacks,
    SwallowsInterest,
    RotsBeforeUpload,
    ClosesTwice,
    ForgetsLimits,
    SubmitsTwice,
    ForgetsDone,
    SyncsNothing,
    LosesABlock,
    CountsPiecesTwice,
    CountsReceivedTwice,
    CountsUploadedTwice,
    WastesWithoutCounting,
    CreditsTooEarly,
    CreditsAPeerTooEarly,
    ExcusesJunk,
    ForgetsWhatItFound,
    RatesJunk,
    PraisesJunk,
    ShowsAPeerTwice,
    ShowsTooManyDials,
    TicksForEver,
    RisesEarly,
    IgnoresPause,
    ScrapesUnasked,
    IgnoresTheQueue,
    GivesUpInWords,
    KeepsFiles,
    BansTheHonest,
    KeepsTheLiar,
    NeverUnchokes,
    NeverAsks,
    InventsCounts,
    ForgetsCounts,
    ExplainsNothing,
    GrowsAFile,
    KeepsABuffer,
    SwallowsGoodbye,
    TalksAfterGoodbye,
    LeavesInMidWrite,
    ClaimsCompletion,
    ForgetsTheTracker,
}

use Sabotage::*;

/// Frame numbers of BEP 3 and 6.
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;
const REJECT: u8 = 16;

impl Sabotage {
    /// An event on its way to the engine; `false` when it gets lost.
    pub(super) fn event(self, event: &mut Event<'_>) -> bool {
        match (self, event) {
            (ForgetsLimits, Event::Command(Command::SetLimits { .. })) => false,
            (IgnoresTheQueue, Event::Command(Command::SetActiveLimits { .. })) => false,
            (IgnoresPause, Event::Command(Command::Pause { .. })) => false,
            (KeepsFiles, Event::Command(Command::Remove { delete_data, .. })) => {
                *delete_data = false;
                true
            }
            (ForgetsDone, Event::Done { outcome: Outcome::Absorb { .. }, .. }) => false,
            (LosesABlock, Event::Done { outcome: Outcome::Absorb { blocks, .. }, .. }) => {
                blocks.pop();
                true
            }
            _ => true,
        }
    }

    /// An action on its way to the world. `victim` is the address of somebody honest.
    pub(super) fn action(self, action: Action, victim: SocketAddr) -> Vec<Action> {
        let corrupt = CloseReason::Fault(PeerFault::CorruptPiece);
        match (self, &action) {
            (ClosesTwice, Action::Close { .. })
            | (SubmitsTwice, Action::Submit { .. })
            | (TalksAfterGoodbye, Action::Notify(Notice::ShutDown)) => vec![action.clone(), action],
            (BansTheHonest, Action::Notify(Notice::PieceVerified { torrent, .. })) => {
                let torrent = *torrent;
                vec![action, Action::Notify(Notice::Banned { torrent, addr: victim })]
            }
            (ForgetsWhatItFound, Action::Notify(Notice::PieceVerified { torrent, .. })) => {
                let torrent = *torrent;
                vec![action, Action::Notify(Notice::Checked { torrent, have: 0 })]
            }
            (ForgetsThePartFile, Action::Place { .. }) => Vec::new(),
            (KeepsTheLiar, Action::Close { reason, .. }) if *reason == corrupt => Vec::new(),
            (LeavesInMidWrite, Action::Submit { operation: Operation::Absorb { .. }, .. }) => {
                vec![action, Action::Notify(Notice::ShutDown)]
            }
            (ClaimsCompletion | ForgetsTheTracker, Action::Submit { op, operation: Operation::Fetch(fetch) }) => {
                let (told, instead) = if self == ClaimsCompletion {
                    ("event=started", "event=completed")
                } else {
                    ("&event=stopped", "")
                };
                let target = fetch.target.replace(told, instead);
                let operation = Operation::Fetch(Box::new(Fetch { target, ..Fetch::clone(fetch) }));
                vec![Action::Submit { op: *op, operation }]
            }
            // Instead of the goodbye.
            (ScrapesUnasked, Action::Submit { op, operation: Operation::Fetch(fetch) })
                if fetch.target.contains("event=stopped") =>
            {
                let target = fetch.target.replace("/announce", "/scrape").replace("event=stopped", "");
                let operation = Operation::Fetch(Box::new(Fetch { target, ..Fetch::clone(fetch) }));
                vec![Action::Submit { op: *op, operation }]
            }
            (GivesUpInWords, Action::Notify(Notice::Complete { torrent, .. })) => {
                let enough = Notice::SeededEnough { torrent: *torrent, goal: Goal::Ratio };
                vec![action, Action::Notify(enough)]
            }
            (SwallowsGoodbye, Action::Notify(Notice::ShutDown)) => Vec::new(),
            (GrowsAFile, Action::Notify(Notice::Complete { torrent, .. })) => {
                let operation = Operation::Truncate { torrent: *torrent, file: FileIndex(0), len: 1 << 40 };
                vec![action, Action::Submit { op: OpId(u64::MAX), operation }]
            }
            _ => vec![action],
        }
    }

    /// Bytes on their way to `conn`: whole messages, as the engine gives them out.
    pub(super) fn bytes(
        self,
        conn: ConnId,
        bytes: Vec<u8>,
        wires: &BTreeMap<ConnId, Wire>,
        host: &impl Knowledge,
    ) -> Vec<u8> {
        let Some(wire) = wires.get(&conn).filter(|wire| wire.is_live()) else { return bytes };
        let add =
            |message: Option<NaiveMessage>| [bytes.clone(), message.map(|m| encode(&m)).unwrap_or_default()].concat();
        let ask = |(index, begin, length)| NaiveMessage::Request { index, begin, length };
        let wanted = (0..host.pieces()).find(|piece| wire.has_told(*piece) && !wire.has_said(*piece));
        let first_block = wanted.map(|piece| (piece, 0, host.piece_len(piece).min(16_384)));
        match self {
            SendsUnknownMessage => add(Some(NaiveMessage::Unknown { id: 99, body: Vec::new() })),
            AsksWhileChoked => add(first_block.filter(|_| !wire.lets_us_ask()).map(ask)),
            AsksBeyondThePiece => {
                let beyond = wanted.map(|piece| (piece, host.piece_len(piece) - 1, 2));
                add(beyond.filter(|_| wire.lets_us_ask()).map(ask))
            }
            AsksForTheUnwanted => {
                let mut unwanted = (0..host.pieces()).filter(|piece| wire.has_told(*piece) && !wire.wants(*piece));
                let block = unwanted.next().map(|piece| (piece, 0, host.piece_len(piece).min(16_384)));
                add(block.filter(|_| wire.lets_us_ask()).map(ask))
            }
            AsksTwice => add(wire.asked().first().filter(|_| wire.lets_us_ask()).copied().map(ask)),
            AsksTwoPeers => {
                let elsewhere = wires.iter().filter(|(other, _)| **other != conn).flat_map(|(_, other)| other.asked());
                let mut new = elsewhere.filter(|range| wire.has_told(range.0) && !wire.asked().contains(range));
                add(new.next().filter(|_| wire.lets_us_ask()).copied().map(ask))
            }
            AnswersTwice => double(&bytes, PIECE),
            SwallowsRejects => keep(&bytes, |id| id != REJECT),
            SwallowsBlocks => keep(&bytes, |id| id != PIECE),
            SendsWhatWasCancelled => {
                let late = wire.cancelled().first().filter(|_| wire.lets_them_ask()).copied();
                add(late.map(|(index, begin, len)| NaiveMessage::Piece { index, begin, block: vec![0; len as usize] }))
            }
            SendsWhileChoking if frames(&bytes).iter().any(|frame| frame.get(4) == Some(&PIECE)) => {
                [encode(&NaiveMessage::Choke), bytes].concat()
            }
            TellsPiecesAgain if (0..host.pieces()).any(|piece| wire.has_said(piece)) => {
                add(Some(NaiveMessage::HaveNone))
            }
            RepeatsHave => double(&bytes, HAVE),
            SwallowsHave => keep(&bytes, |id| id != HAVE),
            KeepsWhatIsGone => {
                frames(&bytes).into_iter().filter(|frame| !is_donthave(frame)).collect::<Vec<_>>().concat()
            }
            TakesBackWhatItNeverHad => {
                let never = (0..host.pieces()).find(|piece| !wire.has_said(*piece));
                let id = wire.takes_donthave();
                add(never
                    .zip(id)
                    .map(|(piece, id)| NaiveMessage::Extended { id, payload: piece.to_be_bytes().to_vec() }))
            }
            AnnouncesWhatItLacks => {
                let lacks = (0..host.pieces()).find(|piece| !host.holds(*piece));
                add(lacks.map(|index| NaiveMessage::Have { index }))
            }
            SwallowsInterest => keep(&bytes, |id| id != INTERESTED && id != NOT_INTERESTED),
            // As long as the message that it takes the place of: what is not taken by the network would count as not read.
            NeverUnchokes => replace(&bytes, UNCHOKE, &encode(&NaiveMessage::NotInterested)),
            NeverAsks => keep(&bytes, |id| id != REQUEST),
            _ => bytes,
        }
    }

    /// What the engine shows of everything.
    pub(super) fn view(self, view: &mut View) {
        for torrent in &mut view.torrents {
            torrent.have += u32::from(self == CountsPiecesTwice && torrent.have > 0);
            torrent.downloaded_bytes += u64::from(self == CountsReceivedTwice && torrent.downloaded_bytes > 0);
            torrent.uploaded_bytes += u64::from(self == CountsUploadedTwice && torrent.uploaded_bytes > 0);
            torrent.wasted_bytes += u64::from(self == WastesWithoutCounting && torrent.downloaded_bytes > 0);
            let ledger = &mut torrent.ledger;
            match self {
                CreditsTooEarly => ledger.verified += std::mem::take(&mut ledger.undecided),
                ExcusesJunk => ledger.late += std::mem::take(&mut ledger.unrequested),
                _ => {}
            }
        }
        match self {
            ShowsTooManyDials => view.half_open = 1000,
            KeepsABuffer => view.pool.2 += 1,
            _ => {}
        }
    }

    /// What the engine shows of its peers.
    pub(super) fn peers(self, peers: &mut Vec<PeerView>) {
        match self {
            ShowsAPeerTwice => peers.extend(peers.first().cloned()),
            CreditsAPeerTooEarly => {
                let credit = |ledger: &mut Ledger| ledger.verified += std::mem::take(&mut ledger.undecided);
                peers.iter_mut().for_each(|peer| credit(&mut peer.ledger));
            }
            PraisesJunk => peers.iter_mut().for_each(|peer| peer.useful_rate += 1),
            RatesJunk => peers.iter_mut().for_each(|peer| peer.down_rate += 1),
            _ => {}
        }
    }

    /// What the engine shows of its trackers.
    pub(super) fn trackers(self, trackers: &mut [TrackerView]) {
        for tracker in trackers {
            match self {
                InventsCounts => tracker.swarm.complete = tracker.swarm.complete.map(|count| count + 1),
                ForgetsCounts => tracker.swarm = Swarm::default(),
                _ => {}
            }
        }
    }

    /// What the engine says when it is asked why it is not faster.
    pub(super) fn explanation(self, explanation: &mut Explanation) {
        if self == ExplainsNothing {
            explanation.down.clear();
        }
    }

    /// When the idle tick comes that should change nothing.
    pub(super) fn early(self) -> Duration {
        if self == RisesEarly { Duration::from_secs(3600) } else { Duration::ZERO }
    }
}

/// The frames of some bytes; a handshake is one of them.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let [a, b, c, d, ..] = *bytes {
        let len = if a == 19 { 68 } else { 4 + u32::from_be_bytes([a, b, c, d]) as usize };
        let (frame, rest) = bytes.split_at(len.min(bytes.len()));
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// Whether a frame is an extended message other than the handshake: the client sends no other than BEP 54's.
fn is_donthave(frame: &[u8]) -> bool {
    frame[0] != 19 && matches!(frame.get(4..6), Some([20, id]) if *id != 0)
}

fn keep(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Vec<u8> {
    let is_wanted = |frame: &&[u8]| frame[0] == 19 || frame.get(4).is_none_or(|id| wanted(*id));
    frames(bytes).into_iter().filter(is_wanted).collect::<Vec<_>>().concat()
}

fn replace(bytes: &[u8], which: u8, by: &[u8]) -> Vec<u8> {
    let is_it = |frame: &[u8]| frame[0] != 19 && frame.get(4) == Some(&which);
    frames(bytes).into_iter().map(|frame| if is_it(frame) { by } else { frame }).collect::<Vec<_>>().concat()
}

fn double(bytes: &[u8], which: u8) -> Vec<u8> {
    let times = |frame: &&[u8]| if frame[0] != 19 && frame.get(4) == Some(&which) { 2 } else { 1 };
    frames(bytes).into_iter().flat_map(|frame| std::iter::repeat_n(frame, times(&frame))).collect::<Vec<_>>().concat()
}
