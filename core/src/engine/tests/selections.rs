//! Some files are wanted and others are not, from the start or from now on.

use super::harness::{Said, World};
use crate::action::{Notice, Operation, Refusal};
use crate::event::{Command, Event};
use crate::id::{BLOCK_LEN, ConnId};
use crate::selection::Priority::{High, Low, Normal, Skip};
use crate::time::Duration;
use crate::view::TorrentState;
use crate::wire::{BlockRequest, ExtendedHandshake, Message};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

const BLOCK: u64 = BLOCK_LEN as u64;

fn pieces_of(requests: &[BlockRequest]) -> Vec<u32> {
    let mut pieces: Vec<u32> = requests.iter().map(|request| request.piece.0).collect();
    pieces.dedup();
    pieces
}

fn asked_pieces(world: &World, conn: ConnId) -> Vec<u32> {
    let mut pieces = pieces_of(&world.asked(conn));
    pieces.sort_unstable();
    pieces.dedup();
    pieces
}

/// The last thing that was said of `upload_only` (BEP 21).
fn upload_only(news: &[Said]) -> Option<bool> {
    let told = |said: &Said| match said {
        Said::Extended(payload) => ExtendedHandshake::parse(payload).ok().map(|hello| hello.upload_only),
        _ => None,
    };
    news.iter().rev().find_map(told)
}

fn count(world: &World, wanted: impl Fn(&Notice) -> bool) -> usize {
    world.notices.iter().filter(|notice| wanted(notice)).count()
}

fn only(range: Range<u32>) -> Vec<Range<u32>> {
    Vec::from([range])
}

fn completions(world: &World) -> usize {
    count(world, |notice| matches!(notice, Notice::Complete { .. }))
}

fn syncs(world: &World) -> usize {
    world.ops.iter().filter(|(_, operation)| matches!(operation, Operation::Sync { .. })).count()
}

#[test]
fn only_pieces_that_touch_a_selected_file_are_asked_for_and_then_the_torrent_is_finished() {
    // Files end within pieces: 0 and 1 share piece 2, 1 and 2 share piece 5.
    let mut world = World::of_files(&[5 * BLOCK, 5 * BLOCK + 7, 6 * BLOCK], 2 * BLOCK_LEN, &[(0, Skip), (2, Skip)]);
    let view = world.torrent();
    assert_eq!((view.wanted, view.wanted_bytes, view.left_bytes), (4, 8 * BLOCK, 8 * BLOCK));
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    assert_eq!(asked_pieces(&world, peer), [2, 3, 4, 5]);
    world.serve(peer, 100);
    let view = world.torrent();
    assert_eq!((view.state, view.have, view.left_bytes), (TorrentState::Seeding, 4, 0));
    assert_eq!(completions(&world), 1);
    assert!(world.closed.contains_key(&peer), "who has everything is of no use to who wants nothing");
    world.audit();
}

#[test]
fn a_torrent_of_which_nothing_is_wanted_is_finished_at_once_and_interested_in_nobody() {
    let mut world = World::of_files(&[4 * BLOCK], BLOCK_LEN, &[(0, Skip)]);
    assert_eq!((world.torrent().state, completions(&world)), (TorrentState::Seeding, 1));
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    world.say_bits(peer, |piece| piece < 3);
    world.say(peer, &Message::Unchoke);
    let news = world.news(peer);
    assert!(!news.contains(&Said::Plain("interested")));
    assert_eq!(upload_only(&news), Some(true));
    assert!(world.asked(peer).is_empty());
    world.audit();
}

#[test]
fn what_is_deselected_is_called_off_at_once_and_what_is_verified_of_it_stays() {
    let mut world = World::of_files(&[8 * BLOCK, 8 * BLOCK], 2 * BLOCK_LEN, &[(0, High)]);
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    world.say_bits(peer, |piece| piece < 4);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 3);
    assert_eq!(world.torrent().have, 1);
    let asked = world.asked(peer);
    assert!(!asked.is_empty());
    world.news(peer);
    world.select(&[(0, Skip)]);
    let news = world.news(peer);
    assert!(asked.iter().all(|request| news.contains(&Said::Cancel(*request))), "each request is cancelled");
    assert!(news.contains(&Said::Plain("not interested")));
    assert_eq!((world.pool(), world.torrent().have), ((0, 0), 1));
    // With BEP 6 each is still answered: a late block is no breach, and of no use.
    asked.iter().for_each(|request| world.give(peer, *request));
    assert_eq!((world.closed.len(), world.torrent().have), (0, 1));
    world.select(&[(0, Normal)]);
    assert!(world.news(peer).contains(&Said::Plain("interested")));
    assert_eq!(asked_pieces(&world, peer).len(), 3, "what was given up is asked for again, what is had is not");
    world.serve(peer, 100);
    assert_eq!(world.torrent().have, 4);
    world.audit();
}

#[test]
fn a_finished_torrent_downloads_again_when_more_is_selected_and_says_so() {
    let mut world = World::of_files(&[4 * BLOCK, 4 * BLOCK, 4 * BLOCK], 2 * BLOCK_LEN, &[(1, Skip), (2, Skip)]);
    let peer = world.accept(1);
    let bits = ExtendedHandshake::default();
    world.shake(peer, 1, true);
    let mut payload = vec![];
    bits.encode(&mut payload);
    world.say(peer, &Message::Extended { id: 0, payload: &payload });
    world.say_bits(peer, |piece| piece < 5);
    world.say(peer, &Message::Unchoke);
    assert_eq!(upload_only(&world.news(peer)), Some(false));
    world.serve(peer, 100);
    assert_eq!((world.torrent().state, completions(&world)), (TorrentState::Seeding, 1));
    assert_eq!(upload_only(&world.news(peer)), Some(true), "a partial seed");
    world.select(&[(1, Low)]);
    assert_eq!(world.torrent().state, TorrentState::Downloading);
    assert_eq!(upload_only(&world.news(peer)), Some(false));
    assert_eq!(asked_pieces(&world, peer), [2, 3]);
    world.serve(peer, 100);
    assert_eq!((world.torrent().state, completions(&world)), (TorrentState::Seeding, 2));
    world.audit();
}

#[test]
fn peers_with_whom_there_was_nothing_to_trade_are_dialled_again_when_more_is_selected() {
    let mut world = World::of_files(&[2 * BLOCK, 2 * BLOCK], BLOCK_LEN, &[(1, Skip)]);
    let addr = "10.0.7.7:6881".parse().unwrap();
    world.handle(Event::Command(Command::AddPeers { torrent: super::harness::TORRENT, peers: vec![addr] }));
    let peer = world.dial_succeeds(0);
    world.shake(peer, 1, true);
    world.say_bits(peer, |_| true);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    assert!(world.closed.contains_key(&peer));
    world.pass(Duration::from_secs(3600));
    assert!(world.dials.is_empty());
    world.select(&[(1, Normal)]);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.dials.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [addr]);
}

#[test]
fn who_left_during_the_last_sync_is_dialled_again_too() {
    let mut world = World::of_files(&[BLOCK, BLOCK], BLOCK_LEN, &[(1, Skip)]);
    let addr = "10.0.7.7:6881".parse().unwrap();
    world.handle(Event::Command(Command::AddPeers { torrent: super::harness::TORRENT, peers: vec![addr] }));
    let peer = world.dial_succeeds(0);
    world.shake(peer, 1, true);
    world.say_bits(peer, |_| true);
    world.say(peer, &Message::Unchoke);
    world.disk_works = false;
    world.serve(peer, 1);
    world.run_op(0);
    assert_eq!((syncs(&world), world.torrent().state), (1, TorrentState::Downloading));
    world.drop_link(peer);
    world.pass(Duration::from_secs(3600));
    assert!(world.dials.is_empty(), "there was nothing to trade");
    world.select(&[(1, Normal)]);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.dials.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [addr]);
}

#[test]
fn urgent_pieces_come_before_rare_ones_and_before_what_is_begun() {
    let mut world = World::of_files(&[4 * BLOCK, 4 * BLOCK, 4 * BLOCK], 2 * BLOCK_LEN, &[(0, Low), (2, High)]);
    let (full, partial) = (world.seed(1, false), world.accept(2));
    world.shake(partial, 2, false);
    world.say_bits(partial, |piece| piece >= 2);
    world.say(full, &Message::Unchoke);
    let asked = pieces_of(&world.asked(full));
    let urgency: Vec<u32> = asked.iter().map(|piece| piece / 2).collect();
    assert_eq!(urgency, [2, 2, 1, 1], "of {asked:?}, as far as the window goes");
    world.serve(full, 100);
    assert_eq!(world.torrent().have, 6);
    world.audit();
}

#[test]
fn a_file_raised_in_mid_download_goes_before_pieces_that_are_begun() {
    let mut world = World::of_files(&[64 * BLOCK, 2 * BLOCK], 16 * BLOCK_LEN, &[(1, Skip)]);
    let (a, b) = (world.seed(1, false), world.seed(2, false));
    world.say(a, &Message::Unchoke);
    world.serve(a, 1);
    // Half a piece is left behind by the one who is gone.
    world.drop_link(a);
    world.select(&[(1, High)]);
    world.say(b, &Message::Unchoke);
    assert_eq!(pieces_of(&world.asked(b))[0], 4);
    world.audit();
}

#[test]
fn in_sequence_pieces_are_begun_in_the_order_of_the_torrent() {
    let mut world = World::of_files(&[40 * BLOCK], BLOCK_LEN, &[]);
    let command = Command::SetSequential { torrent: super::harness::TORRENT, sequential: true };
    world.handle(Event::Command(command));
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    let mut order = vec![];
    while let Some(request) = world.asked(peer).first().copied() {
        order.push(request.piece.0);
        world.give(peer, request);
    }
    assert_eq!(order, (0..40).collect::<Vec<_>>());
    world.audit();
}

#[test]
fn a_file_that_is_not_there_changes_nothing() {
    let mut world = World::of_files(&[2 * BLOCK, 2 * BLOCK], BLOCK_LEN, &[]);
    world.select(&[(0, Skip), (2, Skip)]);
    let refusal = Notice::Refused { torrent: super::harness::TORRENT, why: Refusal::NoSuchFile };
    assert_eq!(world.notices.last(), Some(&refusal));
    assert_eq!(world.torrent().wanted, 4);
    let mut refused = World::of_files(&[2 * BLOCK], BLOCK_LEN, &[(1, Skip)]);
    assert!(refused.engine.view().torrents.is_empty());
    assert!(matches!(refused.notices.pop(), Some(Notice::Refused { .. })));
}

#[test]
fn completion_waits_for_a_sync_that_covers_what_was_selected_meanwhile() {
    let mut world = World::of_files(&[BLOCK, BLOCK], BLOCK_LEN, &[(1, Skip)]);
    let peer = world.accept(1);
    world.shake(peer, 1, false);
    world.say_bits(peer, |_| true);
    world.say(peer, &Message::Unchoke);
    world.disk_works = false;
    world.serve(peer, 1);
    world.run_op(0);
    assert_eq!(syncs(&world), 1);
    world.select(&[(1, Normal)]);
    assert!(matches!(world.ops[1].1, Operation::Prepare { .. }));
    world.run_op(1);
    world.serve(peer, 1);
    world.run_op(1);
    assert_eq!((world.torrent().have, syncs(&world)), (2, 2));
    world.run_op(0);
    assert_eq!(completions(&world), 0, "the first sync began before the second piece was written");
    world.run_op(0);
    assert_eq!(completions(&world), 1);
    world.audit();
}

#[test]
fn a_piece_that_only_waits_for_its_verdict_is_kept_when_it_is_deselected() {
    let mut world = World::of_files(&[BLOCK, BLOCK], BLOCK_LEN, &[]);
    let peer = world.accept(1);
    world.shake(peer, 1, false);
    world.say_bits(peer, |piece| piece == 0);
    world.say(peer, &Message::Unchoke);
    world.disk_works = false;
    world.serve(peer, 1);
    world.select(&[(0, Skip)]);
    world.run_op(0);
    assert_eq!(world.torrent().have, 1);
    assert!(world.news(peer).contains(&Said::Have(0)));
    assert_eq!(world.torrent().left_bytes, BLOCK);
    world.audit();
}

#[test]
fn what_lies_beyond_the_border_of_a_selected_file_goes_to_the_part_file() {
    // Pieces of two blocks; file 0 ends in piece 1, file 1 in piece 3.
    let mut world = World::of_files(&[3 * BLOCK, 4 * BLOCK, BLOCK], 2 * BLOCK_LEN, &[(0, Skip), (2, Skip)]);
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    assert_eq!(world.torrent().state, TorrentState::Seeding);
    let expected = [(1, only(0..BLOCK_LEN)), (3, only(BLOCK_LEN..2 * BLOCK_LEN))];
    assert_eq!(world.placed.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_file_selected_later_gets_its_bytes_from_the_part_file_before_the_torrent_is_complete() {
    let mut world = World::of_files(&[3 * BLOCK, 3 * BLOCK], 2 * BLOCK_LEN, &[(0, Skip)]);
    let peer = world.accept(1);
    world.shake(peer, 1, false);
    // All but the piece that lies in the first file alone.
    world.say_bits(peer, |piece| piece > 0);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    assert_eq!((completions(&world), world.placed.get(&1)), (1, Some(&only(0..BLOCK_LEN))));
    world.disk_works = false;
    world.select(&[(0, Normal)]);
    let moves = |op: &Operation| matches!(op, Operation::Unpart { ranges, .. } if *ranges == only(0..BLOCK_LEN));
    let at = world.ops.iter().position(|(_, operation)| moves(operation)).expect("it is moved at once");
    // Meanwhile it is read where it stood.
    assert_eq!(world.placed.get(&1), Some(&only(0..BLOCK_LEN)));
    world.select(&[(0, Skip)]);
    assert_eq!(syncs(&world), 0, "not complete while something is being moved");
    world.run_op(at);
    assert_eq!(world.placed.get(&1), Some(&vec![]));
    world.run_disk();
    assert_eq!(completions(&world), 2);
    world.audit();
}

#[test]
fn an_open_piece_begins_anew_rather_than_write_into_a_file_that_is_deselected() {
    let mut world = World::of_files(&[20 * BLOCK, 20 * BLOCK], 40 * BLOCK_LEN, &[]);
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 17);
    assert_eq!(world.placed.get(&0), None, "all in files");
    world.select(&[(0, Skip)]);
    let asked = world.asked(peer);
    assert_eq!(asked.first().map(|request| request.begin), Some(0), "from its first block");
    world.serve(peer, 100);
    assert_eq!(world.placed.get(&0), Some(&only(0..20 * BLOCK_LEN)));
    assert_eq!(completions(&world), 1);
    world.audit();
}

#[test]
fn a_move_that_fails_is_tried_again_and_nothing_is_called_complete_before() {
    let mut world = World::of_files(&[3 * BLOCK, 3 * BLOCK], 2 * BLOCK_LEN, &[(0, Skip)]);
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    world.select(&[(1, Skip)]);
    world.disk_full = true;
    world.select(&[(0, Normal), (1, Normal)]);
    assert_eq!((world.torrent().state, completions(&world)), (TorrentState::Troubled, 1));
    world.disk_full = false;
    world.pass(Duration::from_secs(60));
    assert_eq!(world.placed.get(&1), Some(&vec![]));
    world.audit();
}

#[test]
fn what_is_selected_while_paused_is_prepared_and_fetched_when_it_goes_on() {
    let mut world = World::of_files(&[2 * BLOCK, 2 * BLOCK, 0], BLOCK_LEN, &[(1, Skip), (2, Skip)]);
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    assert_eq!(completions(&world), 1);
    world.handle(Event::Command(Command::Pause { torrent: None }));
    world.disk_works = false;
    world.select(&[(1, Normal), (2, Normal)]);
    let prepares = |world: &World| world.ops.iter().filter(|(_, op)| matches!(op, Operation::Prepare { .. })).count();
    assert_eq!((world.torrent().state, prepares(&world)), (TorrentState::Paused, 0));
    world.handle(Event::Command(Command::Resume { torrent: None }));
    assert_eq!((world.torrent().state, prepares(&world)), (TorrentState::Downloading, 1));
    world.run_disk();
    world.disk_works = true;
    let peer = world.seed(2, false);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    assert_eq!((world.torrent().state, completions(&world)), (TorrentState::Seeding, 2));
    world.audit();
}

#[test]
fn a_recheck_keeps_the_selection_and_finds_what_stands_in_the_part_file() {
    let mut world = World::of_files(&[3 * BLOCK, 3 * BLOCK], 2 * BLOCK_LEN, &[(0, Skip)]);
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    assert_eq!((world.torrent().have, completions(&world)), (2, 1));
    world.handle(Event::Command(Command::Recheck { torrent: super::harness::TORRENT }));
    assert_eq!((world.torrent().wanted, world.torrent().have, completions(&world)), (2, 2, 2));
    assert_eq!((world.torrent().state, world.placed.get(&1)), (TorrentState::Seeding, Some(&only(0..BLOCK_LEN))));
    // Where it stands is still known: what is selected now gets its bytes from there.
    world.select(&[(0, Normal)]);
    world.run_disk();
    assert_eq!(world.placed.get(&1), Some(&vec![]));
    world.audit();
}

#[test]
fn the_reject_of_what_was_called_off_is_no_answer_to_what_was_asked_for_since() {
    let mut world = World::of_files(&[2 * BLOCK, 2 * BLOCK], 2 * BLOCK_LEN, &[]);
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    assert_eq!(world.asked(peer).len(), 4);
    world.select(&[(1, Skip)]);
    world.select(&[(1, Normal)]);
    let called_off: Vec<BlockRequest> = world.asked(peer).into_iter().filter(|request| request.piece.0 == 1).collect();
    assert_eq!(called_off.len(), 2, "it is asked for again");
    world.news(peer);
    called_off.iter().for_each(|request| world.say(peer, &Message::RejectRequest(*request)));
    let again = world.news(peer);
    assert!(!again.iter().any(|said| matches!(said, Said::Request(_))), "what is under way is not asked for again");
    world.serve(peer, 2);
    called_off.iter().for_each(|request| world.give(peer, *request));
    assert_eq!(completions(&world), 1);
    world.audit();
}
