//! Which torrents may be active: an order, and so many places for those that download and for those that seed.
//!
//! Who is active follows from the order alone: of all that ask for a kind of place, the first ones have it, as many as there are. So no torrent waits
//! while a place is free, whoever asks first; and one that comes back, or is moved up, takes the place of the last, which waits until it is its turn
//! again. Nothing is drawn at random and nothing depends on the past, so that "who is before me" explains everything.
//!
//! Who is paused, has seeded enough, or is being checked asks for nothing: a check uses the disk and not the network, and only its end tells which kind of
//! place is needed. Who is in trouble with its disk, finds no peer, or is being moved keeps its place: it is tried again in a moment, and the others
//! would be stopped and started over and over. Whoever is done downloading asks for a place to seed instead.
//!
//! Nothing here looks at all torrents: each change costs a logarithm, and as many steps as places change hands.

use crate::config::ActiveLimits;
use crate::event::QueueMove;
use crate::id::TorrentId;
use crate::view::{LineView, Place, QueueView};
use alloc::collections::{BTreeMap, BTreeSet};

/// A place in the order: the lower, the sooner. (Each move to an end takes a fresh one; 2^63 of them are not used up.)
type Rank = i64;

/// Those that ask for one kind of place.
#[derive(Clone, Debug)]
struct Line {
    limit: Option<u32>,
    active: BTreeSet<Rank>,
    waiting: BTreeSet<Rank>,
}

impl Line {
    fn new(limit: Option<u32>) -> Self {
        Line { limit, active: BTreeSet::new(), waiting: BTreeSet::new() }
    }

    fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.active.len() > limit as usize)
    }

    fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.active.len() < limit as usize)
    }

    /// Whoever asks stands here afterwards, perhaps in somebody's place.
    fn join(&mut self, rank: Rank, changed: &mut BTreeSet<Rank>) {
        self.waiting.insert(rank);
        self.settle(changed);
    }

    fn leave(&mut self, rank: Rank, changed: &mut BTreeSet<Rank>) {
        self.active.remove(&rank);
        self.waiting.remove(&rank);
        self.settle(changed);
    }

    /// The first have the places.
    fn settle(&mut self, changed: &mut BTreeSet<Rank>) {
        while let Some(first) = self.waiting.first().copied()
            && (self.has_room() || self.active.last().is_some_and(|last| first < *last))
        {
            self.waiting.pop_first();
            self.active.insert(first);
            changed.insert(first);
            if self.is_over() {
                self.give_up_last(changed);
            }
        }
        while self.is_over() {
            self.give_up_last(changed);
        }
    }

    fn give_up_last(&mut self, changed: &mut BTreeSet<Rank>) {
        if let Some(last) = self.active.pop_last() {
            self.waiting.insert(last);
            changed.insert(last);
        }
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = Rank> {
        self.active.iter().chain(&self.waiting).copied()
    }

    /// The nearest one before or after a rank.
    fn neighbour(&self, rank: Rank, before: bool) -> Option<Rank> {
        if before {
            let before = |ranks: &BTreeSet<Rank>| ranks.range(..rank).next_back().copied();
            before(&self.active).max(before(&self.waiting))
        } else {
            let after = |ranks: &BTreeSet<Rank>| ranks.range(rank..).find(|other| **other != rank).copied();
            after(&self.active).into_iter().chain(after(&self.waiting)).min()
        }
    }
}

/// Where a torrent stands, and what it asks for.
#[derive(Clone, Copy, Debug)]
struct Entry {
    rank: Rank,
    asks: Option<Place>,
}

/// All torrents in their order, and who of them may be active.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    entries: BTreeMap<TorrentId, Entry>,
    order: BTreeMap<Rank, TorrentId>,
    downloads: Line,
    seeds: Line,
    /// Who was given a place, or lost it, and has not been told.
    changed: BTreeSet<TorrentId>,
}

impl Queue {
    /// Nobody is there.
    pub(crate) fn new(limits: ActiveLimits) -> Self {
        Queue {
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            downloads: Line::new(limits.downloads),
            seeds: Line::new(limits.seeds),
            changed: BTreeSet::new(),
        }
    }

    /// A torrent asks for a place of this kind, or for none any more; whether it has it. One that is new comes last.
    pub(crate) fn ask(&mut self, id: TorrentId, asks: Option<Place>) -> bool {
        let entry = self.entries.get(&id).copied().unwrap_or_else(|| self.add_last(id));
        if entry.asks != asks {
            self.set_asks(id, entry, asks);
        }
        // It knows by the answer.
        self.changed.remove(&id);
        self.has_place(id)
    }

    /// A torrent is gone.
    pub(crate) fn remove(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get(&id).copied() else { return };
        self.set_asks(id, entry, None);
        self.entries.remove(&id);
        self.order.remove(&entry.rank);
        self.changed.remove(&id);
    }

    /// How many torrents stand in it.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has the place that it asks for.
    pub(crate) fn has_place(&self, id: TorrentId) -> bool {
        let Some(Entry { rank, asks: Some(asks) }) = self.entries.get(&id) else { return false };
        self.line(*asks).active.contains(rank)
    }

    /// What it asks for.
    pub(crate) fn asks(&self, id: TorrentId) -> Option<Place> {
        self.entries.get(&id)?.asks
    }

    /// Changes how many places there are.
    pub(crate) fn set_limits(&mut self, limits: ActiveLimits) {
        for (place, limit) in [(Place::Download, limits.downloads), (Place::Seed, limits.seeds)] {
            let mut changed = BTreeSet::new();
            let line = self.line_mut(place);
            line.limit = limit;
            line.settle(&mut changed);
            self.note(changed);
        }
    }

    /// Changes where a torrent stands. Up and down pass by those that ask for another kind of place: nothing would change.
    pub(crate) fn move_to(&mut self, id: TorrentId, to: QueueMove) {
        let Some(entry) = self.entries.get(&id).copied() else { return };
        let neighbour = |before| match entry.asks {
            Some(asks) => self.line(asks).neighbour(entry.rank, before),
            None if before => self.order.range(..entry.rank).next_back().map(|(rank, _)| *rank),
            None => self.order.range(entry.rank..).nth(1).map(|(rank, _)| *rank),
        };
        let first = self.order.first_key_value().map(|(rank, _)| *rank).filter(|first| *first != entry.rank);
        let last = self.order.last_key_value().map(|(rank, _)| *rank).filter(|last| *last != entry.rank);
        match to {
            QueueMove::Top => first.into_iter().for_each(|first| self.set_rank(id, first - 1)),
            QueueMove::Bottom => last.into_iter().for_each(|last| self.set_rank(id, last + 1)),
            QueueMove::Up => neighbour(true).into_iter().for_each(|other| self.swap(id, other)),
            QueueMove::Down => neighbour(false).into_iter().for_each(|other| self.swap(id, other)),
        }
    }

    /// The next one that was given a place or lost it, and has not been told.
    pub(crate) fn pop_changed(&mut self) -> Option<TorrentId> {
        self.changed.pop_first()
    }

    /// How many come before a torrent, of those that ask for the same kind of place, and how many such places there are.
    pub(crate) fn ahead(&self, id: TorrentId) -> Option<(Place, u32, u32)> {
        let Entry { rank, asks } = *self.entries.get(&id)?;
        let line = self.line(asks?);
        let ahead = line.active.range(..rank).count() + line.waiting.range(..rank).count();
        Some((asks?, ahead as u32, line.limit?))
    }

    /// A picture of it.
    pub(crate) fn view(&self) -> QueueView {
        let line = |line: &Line| LineView { active: line.active.len() as u32, waiting: line.waiting.len() as u32 };
        QueueView {
            limits: ActiveLimits { downloads: self.downloads.limit, seeds: self.seeds.limit },
            order: self.order.values().copied().collect(),
            downloads: line(&self.downloads),
            seeds: line(&self.seeds),
        }
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        let back = self.order.iter().all(|(rank, id)| self.entries.get(id).is_some_and(|entry| entry.rank == *rank));
        assert!(back && self.order.len() == self.entries.len(), "each torrent stands in the order once");
        for place in [Place::Download, Place::Seed] {
            let line = self.line(place);
            let asking = self.order.iter().filter(|(_, id)| self.asks(**id) == Some(place)).map(|(rank, _)| *rank);
            let sorted: BTreeSet<Rank> = line.all().collect();
            assert!(
                sorted.len() == line.active.len() + line.waiting.len() && asking.eq(sorted),
                "who asks for a place stands in its line"
            );
            assert!(!line.is_over(), "no more are active than there are places");
            assert!(line.waiting.is_empty() || !line.has_room(), "nobody waits while a place is free");
            assert!(line.all().is_sorted(), "the first have the places");
        }
        assert!(self.changed.is_empty(), "who was given a place, or lost it, has been told");
    }

    fn add_last(&mut self, id: TorrentId) -> Entry {
        let rank = self.order.last_key_value().map_or(0, |(last, _)| last + 1);
        let entry = Entry { rank, asks: None };
        self.order.insert(rank, id);
        self.entries.insert(id, entry);
        entry
    }

    fn line(&self, place: Place) -> &Line {
        match place {
            Place::Download => &self.downloads,
            Place::Seed => &self.seeds,
        }
    }

    fn line_mut(&mut self, place: Place) -> &mut Line {
        match place {
            Place::Download => &mut self.downloads,
            Place::Seed => &mut self.seeds,
        }
    }

    fn note(&mut self, changed: BTreeSet<Rank>) {
        self.changed.extend(changed.iter().filter_map(|rank| self.order.get(rank)));
    }

    fn set_asks(&mut self, id: TorrentId, entry: Entry, asks: Option<Place>) {
        let mut changed = BTreeSet::new();
        if let Some(place) = entry.asks {
            self.line_mut(place).leave(entry.rank, &mut changed);
        }
        if let Some(place) = asks {
            self.line_mut(place).join(entry.rank, &mut changed);
        }
        self.entries.insert(id, Entry { asks, ..entry });
        self.note(changed);
    }

    /// To a rank that nobody has.
    fn set_rank(&mut self, id: TorrentId, rank: Rank) {
        let Some(entry) = self.entries.get(&id).copied() else { return };
        self.set_asks(id, entry, None);
        self.order.remove(&entry.rank);
        self.order.insert(rank, id);
        self.set_asks(id, Entry { rank, asks: None }, entry.asks);
        self.changed.insert(id);
    }

    /// With the torrent that has this rank.
    fn swap(&mut self, id: TorrentId, other: Rank) {
        let Some(other_id) = self.order.get(&other).copied() else { return };
        let (Some(mine), Some(theirs)) = (self.entries.get(&id).copied(), self.entries.get(&other_id).copied()) else {
            return;
        };
        self.set_asks(id, mine, None);
        self.set_asks(other_id, theirs, None);
        self.order.insert(theirs.rank, id);
        self.order.insert(mine.rank, other_id);
        self.set_asks(id, Entry { rank: theirs.rank, asks: None }, mine.asks);
        self.set_asks(other_id, Entry { rank: mine.rank, asks: None }, theirs.asks);
        self.changed.extend([id, other_id]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::breaches::check_breaches;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const A: TorrentId = TorrentId(1);
    const B: TorrentId = TorrentId(2);
    const C: TorrentId = TorrentId(3);
    const DOWNLOAD: Option<Place> = Some(Place::Download);
    const SEED: Option<Place> = Some(Place::Seed);

    fn limited(downloads: u32, seeds: u32) -> Queue {
        Queue::new(ActiveLimits { downloads: Some(downloads), seeds: Some(seeds) })
    }

    fn changes(queue: &mut Queue) -> Vec<TorrentId> {
        core::iter::from_fn(|| queue.pop_changed()).collect()
    }

    #[test]
    fn without_a_limit_everybody_is_active_and_nobody_is_told_anything() {
        let mut queue = Queue::new(ActiveLimits::default());
        assert!((0..1000).all(|id| queue.ask(TorrentId(id), DOWNLOAD)));
        assert!((0..1000).all(|id| queue.ask(TorrentId(id), SEED)));
        assert_eq!(changes(&mut queue), []);
    }

    #[test]
    fn who_completes_gives_its_place_to_the_next_and_asks_for_one_to_seed() {
        let mut queue = limited(1, 1);
        assert_eq!([A, B, C].map(|id| queue.ask(id, DOWNLOAD)), [true, false, false]);
        assert!(queue.ask(A, SEED));
        assert_eq!(changes(&mut queue), [B]);
        assert!(!queue.ask(B, SEED), "the only place is taken");
        assert_eq!(changes(&mut queue), [C]);
        assert!(!queue.ask(A, None));
        assert_eq!((changes(&mut queue), queue.has_place(B)), (Vec::from([B]), true));
    }

    #[test]
    fn who_comes_back_or_moves_up_has_its_place_again_and_the_last_one_waits() {
        let mut queue = limited(1, 0);
        queue.ask(A, None);
        assert!(queue.ask(B, DOWNLOAD) && queue.ask(A, DOWNLOAD));
        assert_eq!(changes(&mut queue), [B]);
        assert_eq!(queue.ahead(B), Some((Place::Download, 1, 1)));
        queue.move_to(B, QueueMove::Up);
        assert_eq!((changes(&mut queue), queue.has_place(A), queue.has_place(B)), (Vec::from([A, B]), false, true));
        queue.ask(C, SEED);
        queue.move_to(C, QueueMove::Top);
        assert_eq!((queue.view().order, queue.has_place(C)), (Vec::from([C, B, A]), false));
    }

    #[test]
    fn up_and_down_pass_by_those_that_would_change_nothing() {
        let mut queue = limited(1, 9);
        for (id, asks) in [(A, DOWNLOAD), (B, SEED), (C, DOWNLOAD)] {
            queue.ask(id, asks);
        }
        queue.move_to(C, QueueMove::Up);
        assert_eq!(queue.view().order, [C, B, A]);
        queue.move_to(C, QueueMove::Down);
        assert_eq!((queue.view().order, queue.has_place(A)), (Vec::from([A, B, C]), true));
        queue.move_to(A, QueueMove::Up);
        assert_eq!(queue.view().order, [A, B, C], "it is the first");
    }

    #[test]
    fn each_law_is_seen_to_be_broken() {
        let intact = || {
            let mut queue = limited(2, 1);
            [A, B, C].into_iter().for_each(|id| _ = queue.ask(id, DOWNLOAD));
            queue
        };
        check_breaches(
            include_str!("queue.rs"),
            intact,
            Queue::check_invariants,
            &[
                ("each torrent stands in the order once", |queue| _ = queue.order.insert(9, A)),
                ("who asks for a place stands in its line", |queue| _ = queue.downloads.waiting.pop_last()),
                ("no more are active than there are places", |queue| queue.downloads.limit = Some(1)),
                ("nobody waits while a place is free", |queue| queue.downloads.limit = None),
                ("the first have the places", |queue| {
                    let (first, last) = (queue.downloads.active.pop_first(), queue.downloads.waiting.pop_first());
                    queue.downloads.active.extend(last);
                    queue.downloads.waiting.extend(first);
                }),
                ("who was given a place, or lost it, has been told", |queue| _ = queue.changed.insert(A)),
            ],
        );
    }

    #[derive(Clone, Debug)]
    enum Op {
        Ask(u32, Option<Place>),
        Remove(u32),
        Limits(Option<u32>, Option<u32>),
        Move(u32, QueueMove),
    }

    fn op() -> impl Strategy<Value = Op> {
        let id = || 0u32..9;
        let asks = proptest::option::weighted(0.8, prop_oneof![Just(Place::Download), Just(Place::Seed)]);
        let to = prop_oneof![Just(QueueMove::Top), Just(QueueMove::Up), Just(QueueMove::Down), Just(QueueMove::Bottom)];
        let limit = || proptest::option::weighted(0.8, 0u32..5);
        prop_oneof![
            6 => (id(), asks).prop_map(|(id, asks)| Op::Ask(id, asks)),
            1 => id().prop_map(Op::Remove),
            1 => (limit(), limit()).prop_map(|(downloads, seeds)| Op::Limits(downloads, seeds)),
            3 => (id(), to).prop_map(|(id, to)| Op::Move(id, to)),
        ]
    }

    /// The same, by looking at all of it each time.
    #[derive(Debug, Default)]
    struct Naive {
        limits: ActiveLimits,
        order: Vec<(TorrentId, Option<Place>)>,
    }

    impl Naive {
        fn at(&self, id: TorrentId) -> Option<usize> {
            self.order.iter().position(|(other, _)| *other == id)
        }

        fn apply(&mut self, op: &Op) {
            match op {
                Op::Ask(id, asks) => match self.at(TorrentId(*id)) {
                    Some(at) => self.order[at].1 = *asks,
                    None => self.order.push((TorrentId(*id), *asks)),
                },
                Op::Remove(id) => self.order.retain(|(other, _)| *other != TorrentId(*id)),
                Op::Limits(downloads, seeds) => {
                    self.limits = ActiveLimits { downloads: *downloads, seeds: *seeds };
                }
                Op::Move(id, to) => {
                    let Some(at) = self.at(TorrentId(*id)) else { return };
                    let asks = self.order[at].1;
                    let is_rival = |other: &usize| asks.is_none() || self.order[*other].1 == asks;
                    match to {
                        QueueMove::Top => self.order[..=at].rotate_right(1),
                        QueueMove::Bottom => self.order[at..].rotate_left(1),
                        QueueMove::Up => {
                            if let Some(other) = (0..at).rev().find(is_rival) {
                                self.order.swap(at, other);
                            }
                        }
                        QueueMove::Down => {
                            if let Some(other) = (at + 1..self.order.len()).find(is_rival) {
                                self.order.swap(at, other);
                            }
                        }
                    }
                }
            }
        }

        fn has_place(&self, id: TorrentId) -> bool {
            let Some(at) = self.at(id) else { return false };
            let limit = match self.order[at].1 {
                None => return false,
                Some(Place::Download) => self.limits.downloads,
                Some(Place::Seed) => self.limits.seeds,
            };
            let before = self.order[..at].iter().filter(|(_, asks)| *asks == self.order[at].1).count();
            limit.is_none_or(|limit| before < limit as usize)
        }
    }

    proptest! {
        #[test]
        fn it_does_what_a_look_at_everything_would_do_and_tells_whom_it_concerns(
            ops in proptest::collection::vec(op(), 1..80),
        ) {
            let (mut queue, mut naive) = (Queue::new(ActiveLimits::default()), Naive::default());
            let mut told: BTreeMap<TorrentId, bool> = BTreeMap::new();
            for op in ops {
                naive.apply(&op);
                match op {
                    Op::Ask(id, asks) => {
                        told.insert(TorrentId(id), queue.ask(TorrentId(id), asks));
                    }
                    Op::Remove(id) => {
                        queue.remove(TorrentId(id));
                        told.remove(&TorrentId(id));
                    }
                    Op::Limits(downloads, seeds) => queue.set_limits(ActiveLimits { downloads, seeds }),
                    Op::Move(id, to) => queue.move_to(TorrentId(id), to),
                }
                while let Some(id) = queue.pop_changed() {
                    told.insert(id, queue.has_place(id));
                }
                queue.check_invariants();
                let order: Vec<TorrentId> = naive.order.iter().map(|(id, _)| *id).collect();
                prop_assert_eq!(&queue.view().order, &order);
                prop_assert!(order.iter().all(|id| told[id] == naive.has_place(*id)), "{:?} is not {:?}", told, naive);
            }
        }
    }

    #[test]
    fn ten_thousand_torrents_are_looked_at_one_by_one() {
        // Each asks, completes, and is done: by a look at all of them this would be 10^8 steps and more.
        let mut queue = limited(10, 10);
        let ids = || (0..10_000).map(TorrentId);
        ids().for_each(|id| _ = queue.ask(id, DOWNLOAD));
        let mut handed_on = changes(&mut queue).len();
        for id in ids() {
            assert!(queue.ask(id, SEED));
            queue.ask(id, None);
            handed_on += changes(&mut queue).len();
        }
        assert_eq!(handed_on, 9_990, "each place is handed on once");
    }
}
