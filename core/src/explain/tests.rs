//! The sentences: one each, in the singular and the plural, and without a word that needs a manual.

use super::*;
use crate::fault::{DiskFaultKind, LinkFault};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;

fn pieces(first: &[u32], count: u32) -> PieceList {
    PieceList { first: first.iter().map(|piece| PieceIndex(*piece)).collect(), count }
}

/// Every cause, with one of each and with several.
fn all() -> Vec<Cause> {
    let (s, soon, later) = (Duration::from_secs, Duration::from_millis(300), Duration::from_secs(4000));
    let fault = |kind| DiskFault { kind, path: String::from("/srv/film.mkv"), detail: String::from("os error 1") };
    let refuses = |kind| Cause::DiskRefuses { fault: fault(kind), retry_in: s(11) };
    let fails = |failing, trackers, reason, next_in| Cause::TrackersFail {
        failing,
        trackers,
        url: String::from("http://tracker.example/announce"),
        reason,
        silent: s(720),
        next_in,
    };
    let mut all = vec![
        Cause::Paused,
        Cause::Queued { place: Place::Seed, ahead: 7, limit: 0 },
        Cause::SeededEnough { goal: Goal::Ratio },
        Cause::SeededEnough { goal: Goal::Time },
        Cause::Leaving,
        Cause::OnlyChecked,
        Cause::Moving,
        Cause::NothingSelected,
        Cause::Complete { whole: true },
        Cause::Complete { whole: false },
        refuses(DiskFaultKind::Full),
        refuses(DiskFaultKind::Denied),
        refuses(DiskFaultKind::NotFound),
        refuses(DiskFaultKind::NotRegular),
        refuses(DiskFaultKind::Io),
        Cause::CheckWaits,
        Cause::Checking { checked: 3, pieces: 200 },
        Cause::Finishing,
        Cause::NobodyKnown,
        fails(1, 1, LinkFault::Refused.into(), Some(s(40))),
        fails(1, 5, TrackerFailure::Status(503), Some(Duration::ZERO)),
        fails(3, 5, TrackerFailure::Refused(String::from("not today")), Some(later)),
        fails(5, 5, LinkFault::NameNotFound.into(), None),
        Cause::ConnectionsFull { whose: Whose::All, limit: 400, waiting: 12 },
        Cause::Choked { choking: 2, of: 3 },
        Cause::PiecesNowhere { pieces: pieces(&[812], 1), copies_per_mille: 999 },
        Cause::PiecesNowhere { pieces: pieces(&[1, 2], 2), copies_per_mille: 0 },
        Cause::PiecesNowhere { pieces: pieces(&[1, 2, 3, 4, 5], 1005), copies_per_mille: 1250 },
        Cause::PiecesSuspected { pieces: pieces(&[7], 1) },
        Cause::BuffersFull { buffers: 1, filled: 0 },
        Cause::BuffersFull { buffers: 1024, filled: 1000 },
        Cause::UpLimit { whose: Whose::Torrent, bytes_per_s: 1000, waiting: 0 },
        Cause::NoSlots,
        Cause::ChokesUs,
        Cause::HasNothingForUs { pieces: 0 },
        Cause::HasNothingForUs { pieces: 12 },
        Cause::Snubs { waited: s(45) },
        Cause::WindowFull { requests: 250, round_trip: soon, most_bytes_per_s: 13_653_333 },
        Cause::NotInterested,
        Cause::Dialing { waited: s(3), gives_up_in: s(5) },
        Cause::Handshaking { waited: soon, gives_up_in: s(9) },
        Cause::ChokedByUs { slots: 4, earned: 4, ahead: 0, next_in: s(12) },
        Cause::ChokedByUs { slots: 4, earned: 3, ahead: 1, next_in: soon },
    ];
    for n in [1, 3] {
        let bytes_per_s = 5 * 1024 * u64::from(n);
        all.extend([
            Cause::Queued { place: Place::Download, ahead: n, limit: n },
            Cause::WritesAwaited { pieces: n },
            Cause::BuffersFull { buffers: 2 * n, filled: 0 },
            Cause::TrackersAwaited { asked: n, waited: s(3) },
            Cause::NobodyNamed { trackers: n, next_in: Some(s(100)) },
            Cause::OnlyOurselves { next_in: Some(s(100)) },
            Cause::AllBanned { hosts: n, next_in: None },
            Cause::NobodyAnswers { addresses: n, next_in: s(u64::from(n) - 1) },
            Cause::RedialWaits { addresses: n, next_in: s(2) },
            Cause::NothingToTrade { addresses: n },
            Cause::Connecting { dialing: n, handshaking: n - 1, waited: s(3) },
            Cause::ConnectionsFull { whose: Whose::Torrent, limit: n, waiting: n },
            Cause::Choked { choking: n, of: n },
            Cause::PeersHaveNothing { peers: n },
            Cause::Snubbed { peers: n },
            Cause::LastBlocks { requests: n, peers: n, waited: s(12) },
            Cause::AnswersAwaited { requests: n, peers: n, waited: s(300_000) },
            Cause::GivenUpArriving { peers: n },
            Cause::AskedNext { pieces: n, next_in: s(1) },
            Cause::DownLimit { whose: Whose::Torrent, bytes_per_s, waiting: n - 1 },
            Cause::Receiving { peers: n, bytes_per_s: bytes_per_s * 1000 },
            Cause::NobodyInterested { peers: n },
            Cause::SlotsTaken { slots: n, earned: n - 1, waiting: n, next_in: s(19) },
            Cause::UpLimit { whose: Whose::All, bytes_per_s, waiting: n },
            Cause::Sending { peers: n, bytes_per_s },
            Cause::AskNothing { peers: n, waited: s(30) },
            Cause::NotReading { peers: n, waited: s(30) },
            Cause::AskedElsewhere { pieces: n },
        ]);
    }
    all
}

#[test]
fn each_cause_is_one_sentence() {
    let all = all();
    let mut text = String::new();
    for cause in &all {
        let sentence = cause.to_string();
        assert!(!sentence.contains('\n') && !sentence.ends_with('.') && sentence.len() > 8, "{sentence}");
        text += &format!("{}: {sentence}\n", cause.name());
    }
    insta::assert_snapshot!(text);
}

#[test]
fn each_kind_of_cause_has_a_name_of_its_own() {
    let kind = |cause: &Cause| format!("{cause:?}").split([' ', '{']).next().map(String::from);
    let all = all();
    let kinds: BTreeSet<_> = all.iter().map(kind).collect();
    let names: BTreeSet<_> = all.iter().map(Cause::name).collect();
    assert_eq!((kinds.len(), names.len()), (52, 52));
}

#[test]
fn what_matters_most_is_of_the_side_that_is_not_over() {
    let complete = Cause::Complete { whole: true };
    let top = |down: &[Cause], up: &[Cause]| Explanation { down: down.to_vec(), up: up.to_vec() }.top().cloned();
    assert_eq!(top(&[Cause::ChokesUs], &[Cause::NoSlots]), Some(Cause::ChokesUs));
    assert_eq!(top(core::slice::from_ref(&complete), &[Cause::NoSlots]), Some(Cause::NoSlots));
    assert_eq!(top(core::slice::from_ref(&complete), &[]), Some(complete.clone()));
    assert_eq!(top(&[], &[]), None);
}

#[test]
fn a_list_of_pieces_names_the_first_and_counts_the_rest() {
    let mut list = PieceList::default();
    (0..1_000_000).for_each(|piece| list.push(PieceIndex(piece)));
    assert_eq!(list.to_string(), "pieces 0, 1, 2, 3, 4 and 999995 more");
}
