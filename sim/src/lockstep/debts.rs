//! What one peer asked of the client, and what became of it: each request has one answer.

use super::checks::Check;
use super::wire::{Breach, Range};
use std::collections::{BTreeMap, BTreeSet};

/// Requests of one peer that wait for an answer: beyond, it should have been cut off.
const MAX_OWED: usize = 2000;

/// How often a block is to be answered.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    /// Requested.
    waiting: u32,
    /// Requested, then cancelled.
    cancelled: u32,
}

/// The requests of one peer.
#[derive(Debug, Default)]
pub(super) struct Debts {
    /// Those that have not been answered.
    owed: BTreeMap<Range, Owed>,
    /// Those that the peer cancelled and did not repeat.
    cancelled: BTreeSet<Range>,
}

impl Debts {
    /// Whether nothing is owed.
    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Something that is owed.
    pub(super) fn first(&self) -> Option<Range> {
        self.owed.keys().next().copied()
    }

    /// What the peer cancelled and did not repeat.
    pub(super) fn all_cancelled(&self) -> &BTreeSet<Range> {
        &self.cancelled
    }

    /// The peer asked.
    pub(super) fn requested(&mut self, range: Range) {
        self.owed.entry(range).or_default().waiting += 1;
        self.cancelled.remove(&range);
    }

    /// The peer took back what it asked.
    pub(super) fn cancelled(&mut self, range: Range) {
        if let Some(owed) = self.owed.get_mut(&range).filter(|owed| owed.waiting > 0) {
            (owed.waiting, owed.cancelled) = (owed.waiting - 1, owed.cancelled + 1);
            self.cancelled.insert(range);
        }
    }

    /// The client answered by a block or a reject: `what`.
    ///
    /// # Errors
    /// When it owed no answer.
    pub(super) fn answered(&mut self, range: Range, what: &str) -> Result<(), Breach> {
        let Some(owed) = self.owed.get_mut(&range) else {
            let cancelled = what == "block" && self.cancelled.contains(&range);
            let check = if cancelled { Check::NotCancelled } else { Check::AnswerOnce };
            return Err((check, format!("{what} {range:?}")));
        };
        // A block may have been on its way to us when its cancel came in the same breath.
        match owed.cancelled {
            0 => owed.waiting -= 1,
            _ => owed.cancelled -= 1,
        }
        if owed.waiting + owed.cancelled == 0 {
            self.owed.remove(&range);
        }
        Ok(())
    }

    /// The client has told that it has a piece no more: without BEP 6 that answers all that was asked of it.
    pub(super) fn forget(&mut self, piece: u32) {
        self.owed.retain(|range, _| range.0 != piece);
    }

    /// All that the client had to say so far was said.
    ///
    /// # Errors
    /// When an answer should have been among it, to a peer that is `honest`, or when too many are owed.
    pub(super) fn settle(&mut self, fast: bool, honest: bool, we_choke: bool) -> Result<(), Breach> {
        if fast {
            let late = self.owed.iter().find(|(_, owed)| we_choke || owed.cancelled > 0).filter(|_| honest);
            if let Some((range, owed)) = late {
                return Err((Check::AnswerAll, format!("{range:?} {owed:?}, we choke: {we_choke}")));
            }
        } else {
            // A choke without BEP 6 is the answer to all of them, and a cancel needs none.
            self.owed.values_mut().for_each(|owed| owed.cancelled = 0);
            self.owed.retain(|_, owed| owed.waiting > 0 && !we_choke);
        }
        if self.owed.len() > MAX_OWED {
            return Err((Check::Limits, format!("{} requests wait for an answer", self.owed.len())));
        }
        Ok(())
    }
}
