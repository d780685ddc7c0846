//! What became of the payload that came in: each byte is counted once, under one fate.
//!
//! A byte is undecided from its arrival until its block turns out to be of no use, or its piece gets its verdict. Only what is verified makes
//! a peer a good uploader. The same ledger is kept per connection and per torrent.

/// Payload received, in bytes, by what became of it. The fields add up to all that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// Of pieces that were verified and written.
    pub verified: u64,
    /// Arriving, or of pieces that have no verdict yet.
    pub undecided: u64,
    /// Asked for, and here already when it came: in the end game a block is asked of two peers.
    pub duplicate: u64,
    /// Nobody had asked for it.
    pub unrequested: u64,
    /// Asked for, and given up before it came (cancelled, choked, too slow), or the connection ended in the middle of the block.
    pub late: u64,
    /// Of pieces that failed their hash, whoever in it sent the wrong bytes.
    pub corrupt: u64,
    /// Lost by our own disk, or dropped because the torrent was stopped.
    pub lost: u64,
}

/// How a byte of payload can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its piece was verified.
    Verified,
    /// It was here already.
    Duplicate,
    /// Nobody had asked.
    Unrequested,
    /// It was given up before, or is not whole.
    Late,
    /// Its piece failed.
    Corrupt,
    /// It did not reach the disk, through our own fault.
    Lost,
}

impl Ledger {
    /// All that came.
    pub fn total(&self) -> u64 {
        self.verified + self.undecided + self.wasted()
    }

    /// What was of no use.
    pub fn wasted(&self) -> u64 {
        self.duplicate + self.unrequested + self.late + self.corrupt + self.lost
    }

    /// Payload arrives.
    pub(crate) fn arrive(&mut self, bytes: u64) {
        self.undecided += bytes;
    }

    /// The fate of payload that had arrived is known.
    pub(crate) fn decide(&mut self, fate: Fate, bytes: u64) {
        self.undecided -= bytes;
        *match fate {
            Fate::Verified => &mut self.verified,
            Fate::Duplicate => &mut self.duplicate,
            Fate::Unrequested => &mut self.unrequested,
            Fate::Late => &mut self.late,
            Fate::Corrupt => &mut self.corrupt,
            Fate::Lost => &mut self.lost,
        } += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_counted_once_under_its_fate() {
        let mut ledger = Ledger::default();
        ledger.arrive(21);
        let fates =
            [Fate::Verified, Fate::Duplicate, Fate::Unrequested, Fate::Late, Fate::Corrupt, Fate::Lost].into_iter();
        fates.zip(1..).for_each(|(fate, bytes)| ledger.decide(fate, bytes));
        let Ledger { verified, undecided, duplicate, unrequested, late, corrupt, lost } = ledger;
        assert_eq!([verified, duplicate, unrequested, late, corrupt, lost], [1, 2, 3, 4, 5, 6]);
        assert_eq!((undecided, ledger.wasted(), ledger.total()), (0, 20, 21));
    }
}
