//! One deadline per key, the earliest first. Setting a key again moves it, so a timer can never leak.

use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};

/// A table of deadlines. Work per call grows with the logarithm of the number of keys.
#[derive(Clone, Debug)]
pub(crate) struct Timers<K> {
    at: BTreeMap<K, Instant>,
    queue: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { at: BTreeMap::new(), queue: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Sets, moves or (with `None`) clears the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.at.insert(key, at),
            None => self.at.remove(&key),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.queue.remove(&(old, key));
        }
        if let Some(at) = at {
            self.queue.insert((at, key));
        }
    }

    /// The earliest deadline and its key.
    pub(crate) fn next(&self) -> Option<(Instant, K)> {
        self.queue.first().copied()
    }

    /// The deadline of `key`.
    pub(crate) fn get(&self, key: K) -> Option<Instant> {
        self.at.get(&key).copied()
    }

    /// All keys with a deadline.
    pub(crate) fn keys(&self) -> impl Iterator<Item = K> {
        self.at.keys().copied()
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        let queued: BTreeSet<(Instant, K)> = self.at.iter().map(|(key, at)| (*at, *key)).collect();
        assert!(queued == self.queue, "each deadline stands in the queue once");
    }

    /// Takes out the earliest key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.next()?;
        (at <= now).then(|| {
            self.set(key, None);
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::breaches::check_breaches;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Set(u8, Option<Instant>),
        PopDue(Instant),
    }

    fn op() -> impl Strategy<Value = Op> {
        let at = || (0u64..12).prop_map(Instant::from_secs);
        prop_oneof![
            3 => (0u8..6, proptest::option::weighted(0.8, at())).prop_map(|(key, at)| Op::Set(key, at)),
            1 => at().prop_map(Op::PopDue),
        ]
    }

    /// Every deadline that is left, in the order in which it fires.
    fn drained(timers: &Timers<u8>) -> Vec<(Instant, u8)> {
        let mut timers = timers.clone();
        let end = Instant::from_micros(u64::MAX);
        core::iter::from_fn(|| timers.next().filter(|(_, key)| timers.pop_due(end) == Some(*key))).collect()
    }

    proptest! {
        #[test]
        fn the_table_behaves_like_a_row_that_is_sorted_each_time(ops in proptest::collection::vec(op(), 0..80)) {
            let mut timers = Timers::default();
            let mut row: Vec<(Instant, u8)> = Vec::new();
            for op in ops {
                match op {
                    Op::Set(key, at) => {
                        timers.set(key, at);
                        row.retain(|(_, other)| *other != key);
                        row.extend(at.map(|at| (at, key)));
                    }
                    Op::PopDue(now) => {
                        let due = row.first().copied().filter(|(at, _)| *at <= now);
                        prop_assert_eq!(timers.pop_due(now), due.map(|(_, key)| key));
                        row.retain(|entry| Some(*entry) != due);
                    }
                }
                row.sort_unstable();
                timers.check_invariants();
                prop_assert_eq!(timers.next(), row.first().copied());
                prop_assert_eq!(drained(&timers), row.clone());
                for key in 0..6 {
                    prop_assert_eq!(timers.get(key), row.iter().find(|(_, other)| *other == key).map(|(at, _)| *at));
                }
            }
        }
    }

    #[test]
    fn a_moved_deadline_fires_once() {
        let mut timers = Timers::default();
        timers.set('a', Some(Instant::from_secs(1)));
        timers.set('b', Some(Instant::from_secs(2)));
        timers.set('a', Some(Instant::from_secs(3)));
        assert_eq!(timers.next(), Some((Instant::from_secs(2), 'b')));
        assert_eq!(timers.pop_due(Instant::from_secs(9)), Some('b'));
        assert_eq!(timers.pop_due(Instant::from_secs(2)), None);
        assert_eq!(timers.pop_due(Instant::from_secs(9)), Some('a'));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_cleared_deadline_never_fires() {
        let mut timers = Timers::default();
        timers.set(1, Some(Instant::ZERO));
        timers.set(1, None);
        assert_eq!(timers.pop_due(Instant::from_secs(1)), None);
    }

    #[test]
    fn each_law_is_seen_to_be_broken() {
        let intact = || {
            let mut timers = Timers::default();
            timers.set('a', Some(Instant::ZERO));
            timers
        };
        check_breaches(
            include_str!("timers.rs"),
            intact,
            Timers::check_invariants,
            &[("each deadline stands in the queue once", |timers| timers.queue.clear())],
        );
    }
}
