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
}
