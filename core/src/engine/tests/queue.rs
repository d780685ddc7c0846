//! Many torrents and few places: who is active, who waits, and that nobody waits for nothing. No peer is there: what counts is who would have some.

use super::config;
use crate::action::{Action, FileStat, Notice, Operation, TxBatch};
use crate::config::{ActiveLimits, Config, Goal, SeedingGoals};
use crate::engine::Engine;
use crate::event::{AddTorrent, Command, Event, Hashed, Outcome, QueueMove};
use crate::explain::Cause;
use crate::id::{Digest, InfoHash, OpId, TorrentId};
use crate::layout::Layout;
use crate::metainfo::Metainfo;
use crate::time::{Duration, Instant};
use crate::view::TorrentState::{self, *};
use crate::view::{LineView, Place};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const LEN: u64 = 40_000;
const DIGEST: Digest = Digest::Sha1([7; 20]);

/// One engine and its disk, on which some torrents are whole and of the others nothing is there.
struct Crowd {
    engine: Engine,
    now: Instant,
    whole: BTreeSet<TorrentId>,
    ops: Vec<(OpId, Operation)>,
    notices: Vec<Notice>,
}

fn limited(downloads: u32, seeds: u32) -> ActiveLimits {
    ActiveLimits { downloads: Some(downloads), seeds: Some(seeds) }
}

fn id(n: u32) -> TorrentId {
    TorrentId(n)
}

impl Crowd {
    fn new(active: ActiveLimits, goals: SeedingGoals) -> Self {
        let config = Config { active, goals, keep_resume: true, ..config() };
        Crowd {
            engine: Engine::new(config, [7; 32], Instant::ZERO, 0),
            now: Instant::ZERO,
            whole: BTreeSet::new(),
            ops: vec![],
            notices: vec![],
        }
    }

    /// With so many torrents, of which these are there; all are checked.
    fn of(active: ActiveLimits, count: u32, whole: &[u32]) -> Self {
        let mut crowd = Crowd::new(active, SeedingGoals::default());
        crowd.whole.extend(whole.iter().map(|n| id(*n)));
        (0..count).for_each(|n| crowd.add(n));
        crowd.run_disk();
        crowd
    }

    fn add(&mut self, n: u32) {
        let layout = Layout::new(vec![(vec![String::from("file")], LEN, false)], LEN as u32).unwrap();
        let mut info_hash = [0; 20];
        info_hash[..4].copy_from_slice(&n.to_be_bytes());
        let metainfo = Metainfo {
            info_hash: InfoHash::V1(info_hash),
            name: String::from("file"),
            piece_hashes: vec![[7; 20]],
            layout,
            private: false,
            trackers: vec![],
            web_seeds: vec![],
            comment: None,
            created_by: None,
            created_unix_s: None,
        };
        self.tell(Command::Add(Box::new(AddTorrent {
            peers: vec![([10, 1, 0, n as u8], 6881).into()],
            ..AddTorrent::new(id(n), metainfo)
        })));
    }

    fn tell(&mut self, command: Command) {
        self.handle(Event::Command(command));
    }

    fn handle(&mut self, event: Event<'_>) {
        self.engine.handle(self.now, event);
        self.engine.check_invariants();
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Submit { op, operation } => self.ops.push((op, operation)),
                Action::Notify(notice) => self.notices.push(notice),
                _ => {}
            }
        }
        assert_eq!(self.engine.poll_transmit(&mut TxBatch::default()), None);
        self.judge();
    }

    /// What must hold whatever happens, by what is seen of each torrent.
    fn judge(&self) {
        let view = self.engine.view();
        let count = |is: &[TorrentState]| view.torrents.iter().filter(|t| is.contains(&t.state)).count() as u32;
        let limits = view.queue.limits;
        assert!(limits.downloads.is_none_or(|limit| count(&[Downloading, Troubled]) <= limit), "{view:?}");
        assert!(limits.seeds.is_none_or(|limit| count(&[Seeding]) <= limit), "{view:?}");
        for queued in view.torrents.iter().filter(|torrent| torrent.state == Queued) {
            let why = self.engine.explain_torrent(self.now, queued.torrent).unwrap();
            let [Cause::Queued { place, ahead, limit }] = why.down[..] else { panic!("{why:?}") };
            assert!(ahead >= limit, "who waits while a place is free: {view:?}");
            let whole = queued.have == queued.pieces;
            assert_eq!(place, if whole { Place::Seed } else { Place::Download });
        }
    }

    fn run_op(&mut self, at: usize) {
        let (op, operation) = self.ops.remove(at);
        let outcome = match operation {
            Operation::Stat { torrent } => {
                let file = self.whole.contains(&torrent).then_some(FileStat { len: LEN, mtime_unix_ns: 1 });
                Outcome::Stat(Ok(vec![file, None]))
            }
            Operation::Hash { .. } => Outcome::Hash(Ok(Hashed::Finished { digest: DIGEST, expected: DIGEST })),
            Operation::Prepare { .. } => Outcome::Prepare(Ok(())),
            Operation::Sync { .. } => Outcome::Sync(Ok(())),
            Operation::SaveResume { .. } => Outcome::SaveResume(Ok(())),
            Operation::Delete { .. } => Outcome::Delete(Ok(())),
            Operation::Move { .. } => Outcome::Move(Ok(())),
            other => panic!("{other:?}"),
        };
        self.handle(Event::Done { op, outcome });
    }

    fn run_disk(&mut self) {
        while !self.ops.is_empty() {
            self.run_op(0);
        }
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some((at, _)) = self.engine.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at.max(self.now);
            self.handle(Event::Tick);
        }
        self.now = end;
    }

    /// Its files came from elsewhere, and it is checked again: it is complete.
    fn complete(&mut self, n: u32) {
        self.whole.insert(id(n));
        self.tell(Command::Recheck { torrent: id(n) });
        self.run_disk();
    }

    fn states(&self) -> Vec<TorrentState> {
        self.engine.view().torrents.iter().map(|torrent| torrent.state).collect()
    }
}

#[test]
fn the_first_are_active_and_the_others_start_by_themselves_when_a_place_is_free() {
    let mut crowd = Crowd::of(limited(2, 1), 4, &[]);
    assert_eq!(crowd.states(), [Downloading, Downloading, Queued, Queued]);
    crowd.complete(0);
    assert_eq!(crowd.states(), [Seeding, Downloading, Downloading, Queued]);
    crowd.complete(1);
    assert_eq!(crowd.states(), [Seeding, Queued, Downloading, Downloading], "the only place to seed is taken");
    crowd.tell(Command::Remove { torrent: id(0), delete_data: false });
    crowd.run_disk();
    assert_eq!(crowd.states(), [Seeding, Downloading, Downloading]);
    let queue = crowd.engine.view().queue;
    assert_eq!((queue.downloads, queue.seeds.active), (LineView { active: 2, waiting: 0 }, 1));
}

#[test]
fn who_waits_has_no_peer_and_wakes_nobody() {
    let mut crowd = Crowd::of(limited(0, 0), 3, &[1]);
    assert_eq!(crowd.states(), [Queued; 3]);
    crowd.pass(Duration::from_secs(7200));
    assert_eq!((crowd.engine.poll_timeout(), crowd.engine.view().connections), (None, 0));
    let told = crowd.notices.iter().filter(|notice| matches!(notice, Notice::Complete { .. })).count();
    assert_eq!(told, 1, "what is there is known before it is its turn to seed");
    crowd.tell(Command::SetActiveLimits { limits: ActiveLimits::default() });
    assert_eq!(crowd.states(), [Downloading, Seeding, Downloading]);
    assert_eq!(crowd.engine.view().half_open, 3, "each dials its peer");
}

#[test]
fn limits_and_moves_act_at_once() {
    let mut crowd = Crowd::of(ActiveLimits::default(), 4, &[]);
    assert_eq!(crowd.states(), [Downloading; 4]);
    crowd.tell(Command::SetActiveLimits { limits: limited(1, 0) });
    assert_eq!(crowd.states(), [Downloading, Queued, Queued, Queued]);
    assert_eq!(crowd.engine.view().half_open, 1, "who waits again has no dial under way");
    crowd.tell(Command::MoveInQueue { torrent: id(3), to: QueueMove::Top });
    assert_eq!(crowd.states(), [Queued, Queued, Queued, Downloading]);
    crowd.tell(Command::MoveInQueue { torrent: id(3), to: QueueMove::Down });
    assert_eq!(crowd.states(), [Downloading, Queued, Queued, Queued]);
    assert_eq!(crowd.engine.view().queue.order, [0, 3, 1, 2].map(id));
    crowd.tell(Command::MoveInQueue { torrent: id(9), to: QueueMove::Down });
    assert!(matches!(crowd.notices.last(), Some(Notice::Refused { .. })));
}

#[test]
fn who_is_paused_or_checked_or_has_seeded_enough_holds_no_place() {
    let mut crowd = Crowd::of(limited(1, 1), 3, &[1]);
    assert_eq!(crowd.states(), [Downloading, Seeding, Queued]);
    crowd.tell(Command::Pause { torrent: Some(id(0)) });
    assert_eq!(crowd.states(), [Paused, Seeding, Downloading]);
    crowd.run_disk();
    crowd.tell(Command::Recheck { torrent: id(2) });
    crowd.tell(Command::Resume { torrent: None });
    assert_eq!(crowd.states(), [Downloading, Seeding, Checking]);
    crowd.run_disk();
    assert_eq!(crowd.states(), [Downloading, Seeding, Queued]);
    crowd.complete(0);
    assert_eq!(crowd.states(), [Seeding, Queued, Downloading], "the first in the order seeds");
    let goals = Some(SeedingGoals { time: Some(Duration::from_secs(60)), ratio_per_mille: None });
    crowd.tell(Command::SetGoals { torrent: None, goals });
    crowd.pass(Duration::from_secs(61));
    assert_eq!(crowd.states(), [Finished(Goal::Time), Seeding, Downloading]);
    crowd.pass(Duration::from_secs(61));
    assert_eq!(crowd.states(), [Finished(Goal::Time), Finished(Goal::Time), Downloading]);
}

#[test]
fn who_lost_pieces_asks_for_a_place_to_download_again_and_gives_its_place_to_seed_back() {
    let mut crowd = Crowd::of(limited(1, 1), 3, &[0, 2]);
    assert_eq!(crowd.states(), [Seeding, Downloading, Queued]);
    crowd.whole.remove(&id(0));
    crowd.tell(Command::Recheck { torrent: id(0) });
    assert_eq!(crowd.states(), [Checking, Downloading, Seeding]);
    crowd.run_disk();
    assert_eq!(crowd.states(), [Downloading, Queued, Seeding], "it comes first");
    let queue = crowd.engine.view().queue;
    assert_eq!(
        (queue.downloads, queue.seeds),
        (LineView { active: 1, waiting: 1 }, LineView { active: 1, waiting: 0 })
    );
}

#[test]
fn who_is_paused_in_the_queue_loses_nothing_but_its_place() {
    let mut crowd = Crowd::of(limited(1, 0), 3, &[]);
    let line = |crowd: &Crowd| crowd.engine.view().queue.downloads;
    for torrent in [id(0), id(1)] {
        crowd.tell(Command::Pause { torrent: Some(torrent) });
    }
    crowd.run_disk();
    assert_eq!((crowd.states(), line(&crowd)), (vec![Paused, Paused, Downloading], LineView { active: 1, waiting: 0 }));
    crowd.tell(Command::Resume { torrent: Some(id(1)) });
    assert_eq!((crowd.states(), line(&crowd)), (vec![Paused, Downloading, Queued], LineView { active: 1, waiting: 1 }));
    crowd.tell(Command::Resume { torrent: Some(id(0)) });
    assert_eq!((crowd.states(), line(&crowd)), (vec![Downloading, Queued, Queued], LineView { active: 1, waiting: 2 }));
}

#[test]
fn resuming_all_starts_only_those_that_stay() {
    let mut crowd = Crowd::of(limited(2, 0), 6, &[]);
    crowd.tell(Command::MoveInQueue { torrent: id(5), to: QueueMove::Top });
    crowd.tell(Command::Pause { torrent: None });
    crowd.run_disk();
    assert_eq!(crowd.engine.view().half_open, 0);
    crowd.tell(Command::Resume { torrent: None });
    assert_eq!(crowd.states(), [Downloading, Queued, Queued, Queued, Queued, Downloading]);
}

#[test]
fn who_waits_can_be_moved_removed_and_shut_down() {
    let mut crowd = Crowd::of(limited(1, 1), 3, &[]);
    let to = crate::id::Folder(b"elsewhere".to_vec());
    crowd.tell(Command::Move { torrent: id(1), to });
    assert_eq!(crowd.states(), [Downloading, Moving, Queued]);
    crowd.run_disk();
    assert_eq!(crowd.states(), [Downloading, Queued, Queued]);
    crowd.tell(Command::Remove { torrent: id(1), delete_data: true });
    crowd.run_disk();
    assert_eq!(crowd.states(), [Downloading, Queued]);
    crowd.tell(Command::Shutdown);
    crowd.run_disk();
    assert_eq!(crowd.notices.last(), Some(&Notice::ShutDown));
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Fill(u32),
    Empty(u32),
    Pause(Option<u32>),
    Resume(Option<u32>),
    Remove(u32),
    Shift(u32, QueueMove),
    Limits(Option<u32>, Option<u32>),
    Goals(Option<u32>, Option<u64>),
    Relocate(u32),
    Disk(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0u32..6;
    let one = || proptest::option::weighted(0.8, 0u32..6);
    let limit = || proptest::option::weighted(0.8, 0u32..4);
    let to = prop_oneof![Just(QueueMove::Top), Just(QueueMove::Up), Just(QueueMove::Down), Just(QueueMove::Bottom)];
    prop_oneof![
        3 => n().prop_map(Step::Add),
        2 => n().prop_map(Step::Fill),
        1 => n().prop_map(Step::Empty),
        2 => one().prop_map(Step::Pause),
        3 => one().prop_map(Step::Resume),
        1 => n().prop_map(Step::Remove),
        2 => (n(), to).prop_map(|(n, to)| Step::Shift(n, to)),
        2 => (limit(), limit()).prop_map(|(downloads, seeds)| Step::Limits(downloads, seeds)),
        1 => (one(), proptest::option::of(0u64..100)).prop_map(|(n, time)| Step::Goals(n, time)),
        1 => n().prop_map(Step::Relocate),
        12 => (0usize..8).prop_map(Step::Disk),
        2 => (1u64..100).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn whatever_users_do_no_more_are_active_than_may_be_and_nobody_waits_for_nothing(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut crowd = Crowd::new(limited(2, 1), SeedingGoals::default());
        let mut next = 0;
        // Numbers are given once; what a step means is one of those that are there.
        let there = |crowd: &Crowd, n: u32| {
            let view = crowd.engine.view();
            view.torrents.get(n as usize % view.torrents.len().max(1)).map_or(id(999), |torrent| torrent.torrent)
        };
        for step in steps {
            match step {
                Step::Add(whole) if crowd.engine.view().torrents.len() < 6 => {
                    crowd.whole.extend((whole % 2 == 0).then_some(id(next)));
                    crowd.add(next);
                    next += 1;
                }
                Step::Add(_) => {}
                Step::Fill(n) | Step::Empty(n) => {
                    let torrent = there(&crowd, n);
                    if matches!(step, Step::Fill(_)) {
                        crowd.whole.insert(torrent);
                    } else {
                        crowd.whole.remove(&torrent);
                    }
                    crowd.tell(Command::Recheck { torrent });
                }
                Step::Pause(n) => {
                    let torrent = n.map(|n| there(&crowd, n));
                    crowd.tell(Command::Pause { torrent });
                }
                Step::Resume(n) => {
                    let torrent = n.map(|n| there(&crowd, n));
                    crowd.tell(Command::Resume { torrent });
                }
                Step::Remove(n) => {
                    let torrent = there(&crowd, n);
                    crowd.tell(Command::Remove { torrent, delete_data: n % 2 == 0 });
                }
                Step::Shift(n, to) => {
                    let torrent = there(&crowd, n);
                    crowd.tell(Command::MoveInQueue { torrent, to });
                }
                Step::Limits(downloads, seeds) => {
                    crowd.tell(Command::SetActiveLimits { limits: ActiveLimits { downloads, seeds } });
                }
                Step::Goals(n, time) => {
                    let torrent = n.map(|n| there(&crowd, n));
                    let goals = time.map(|s| SeedingGoals { time: Some(Duration::from_secs(s)), ratio_per_mille: None });
                    crowd.tell(Command::SetGoals { torrent, goals });
                }
                Step::Relocate(n) => {
                    let torrent = there(&crowd, n);
                    crowd.tell(Command::Move { torrent, to: crate::id::Folder(b"elsewhere".to_vec()) });
                }
                Step::Disk(n) if !crowd.ops.is_empty() => crowd.run_op(n % crowd.ops.len()),
                Step::Disk(_) => {}
                Step::Pass(seconds) => crowd.pass(Duration::from_secs(seconds)),
            }
        }
        // In the end, with room for all and no goals, everybody is active.
        crowd.run_disk();
        crowd.tell(Command::SetActiveLimits { limits: ActiveLimits::default() });
        crowd.tell(Command::Resume { torrent: None });
        crowd.tell(Command::SetGoals { torrent: None, goals: None });
        for torrent in crowd.engine.view().torrents {
            crowd.tell(Command::SetGoals { torrent: Some(torrent.torrent), goals: None });
        }
        crowd.run_disk();
        let states = crowd.states();
        prop_assert!(states.iter().all(|state| matches!(state, Downloading | Seeding)), "{:?}", states);
    }
}
