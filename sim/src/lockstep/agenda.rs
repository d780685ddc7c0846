//! What happens later, in order of time and then of entry.

use super::world::Later;
use sameseed_core::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The heap of a world. Entries stand apart from it, so that sorting moves few bytes.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    entries: Vec<Option<Later>>,
    free: Vec<usize>,
    sequence: u64,
}

impl Agenda {
    /// Adds an entry.
    pub(super) fn push(&mut self, at: Instant, later: Later) {
        self.sequence += 1;
        let place = self.free.pop().unwrap_or(self.entries.len());
        if place == self.entries.len() {
            self.entries.push(None);
        }
        self.entries[place] = Some(later);
        self.heap.push(Reverse((at, self.sequence, place)));
    }

    /// When the next entry is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next entry.
    pub(super) fn pop(&mut self) -> Option<(Instant, Later)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.entries[place].take().map(|later| (at, later))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_by_time_and_at_one_time_as_they_were_entered() {
        let mut agenda = Agenda::default();
        for (second, node) in [(2, 0), (1, 1), (2, 2), (1, 3)] {
            agenda.push(Instant::from_secs(second), Later::Restart { node });
        }
        assert_eq!(agenda.next_at(), Some(Instant::from_secs(1)));
        let mut order = Vec::new();
        while let Some((_, Later::Restart { node })) = agenda.pop() {
            order.push(node);
        }
        assert_eq!(order, [1, 3, 0, 2]);
        agenda.push(Instant::from_secs(3), Later::Chaos);
        assert_eq!(agenda.entries.len(), 4, "places are used again");
    }
}
