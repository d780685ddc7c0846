//! The kinds of faults, how often each strikes, and how often it has struck.
//!
//! A kind that is not drawn for a scenario has rate 0 and never strikes. Healing turns all of them off.

use sameseed_core::rng::Rng;

macro_rules! faults {
    ($($kind:ident $name:literal),* $(,)?) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names beside the kinds say it")]
        pub enum Fault { $($kind),* }

        impl Fault {
            /// Every kind.
            pub const ALL: &[Fault] = &[$(Fault::$kind),*];

            /// What it is called in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Fault::$kind => $name),* }
            }
        }
    };
}

faults! {
    ShortRead "link: short read",
    ShortWrite "link: short write",
    DelaySpike "link: delay spike",
    Squeeze "link: squeeze",
    Burst "link: burst after hold",
    Stall "link: one-way stall",
    CutAtByte "link: cut at byte n",
    Reset "link: reset",
    RefusedDial "link: refused dial",
    HangingDial "link: hanging dial",
    Partition "link: partition",
    OneWay "link: one-way partition",
    NewAddress "link: peer from a new address",
    CrossDial "link: simultaneous cross-dial",
    Flood "link: flood of connections",
    Nat "link: no incoming",
    SlowDisk "disk: slow",
    DiskReorder "disk: reordered completions",
    DiskError "disk: transient error",
    DiskFull "disk: full, then freed",
    DiskDead "disk: permanent error",
    ReadFails "disk: read fails while seeding",
    Misdirected "disk: misdirected write",
    BitRot "disk: bit rot",
    FileChanged "disk: file changed under us",
    FileCut "disk: file truncated under us",
    FileGone "disk: file deleted under us",
    FileMissing "disk: file missing at start",
    FileLonger "disk: file too long at start",
    FileGarbage "disk: garbage at start",
    ResumeLost "resume data: lost",
    ResumeTorn "resume data: torn",
    ResumeRot "resume data: bit rot",
    ResumeOld "resume data: of an older time",
    ResumeOther "resume data: of another torrent",
    LostWrites "disk: unsynced writes lost",
    TornWrites "disk: unsynced writes torn",
    Crash "host: crash and restart",
    Silence "host: crash without a word",
    Leaving "host: shutdown in mid-everything",
    PauseFlood "user: pause and resume flood",
    Removal "user: removed and added again",
    Deletion "user: removed with its files and added again",
    Recheck "user: re-check in mid-everything",
    AskFlood "user: re-announce flood",
    Moving "user: files moved and renamed",
    Queueing "user: limits on active torrents set and taken back",
    SeedGoals "user: seeding goals set, reached and taken back",
    Reselect "host: other files selected",
    LateTick "time: late tick",
    TimeJump "time: jump forward",
    LateDrain "driver: postponed drain",
    Batched "driver: events batched",
    TwoTicks "driver: two ticks at once",
    StaleDone "driver: completion after shutdown",
    CorruptBlock "peer: corrupt block",
    Unrequested "peer: unrequested block",
    WrongOffset "peer: wrong offset",
    NeverUnchokes "peer: never unchokes",
    ChokeFlapping "peer: choke flapping",
    RejectsAll "peer: rejects everything",
    HaveFlood "peer: have flood",
    BadBitfield "peer: bad bitfield",
    Oversize "peer: oversize",
    HalfHandshake "peer: half a handshake",
    OneByte "peer: one byte a second",
    RequestFlood "peer: request flood",
    MidBlock "peer: closes in mid-block",
    SilentHolder "peer: has all, sends nothing",
    NeverReads "peer: never reads",
    DuplicateBlock "peer: duplicate block",
    FalseHave "peer: lies about having",
    ChokedRequests "peer: requests while choked",
    WrongInfoHash "peer: wrong info-hash",
    CancelRaces "peer: cancel races",
    HalfBlock "peer: silence in mid-block",
    FastAbuse "peer: abuse of the fast set",
    CopiedId "peer: copied peer id",
    HugeExtended "peer: huge extended handshake",
    KeepAliveFlood "peer: keep-alive flood",
    OddMessages "peer: port and unknown messages",
    TakesBack "peer: takes pieces back",
    TrackerHangs "tracker: hangs",
    TrackerRefuses "tracker: refuses",
    TrackerMalformed "tracker: malformed",
    TrackerOurselves "tracker: our own address",
    TrackerZero "tracker: interval 0",
    TrackerLossy "tracker: datagrams lost",
    TrackerEmpty "tracker: empty",
    TrackerMillion "tracker: a million peers",
    TrackerFails "tracker: failure reason",
    TrackerDead "tracker: dies for an hour",
    TrackerLoop "tracker: redirect loop",
    TrackerExtras "tracker: id and warning",
    TrackerGzip "tracker: broken gzip",
}

/// Rates and counts.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Whether anything goes wrong at all.
    pub on: bool,
    /// Chance of each kind, in 1/1000 per occasion.
    pub per_mille: Vec<u64>,
    /// How often each kind has struck.
    pub counts: Vec<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Faults { on: false, per_mille: vec![0; Fault::ALL.len()], counts: vec![0; Fault::ALL.len()] }
    }
}

impl Faults {
    /// Whether this kind is let loose now; to be counted when it has struck.
    pub fn rolls(&self, rng: &mut Rng, fault: Fault) -> bool {
        let rate = self.per_mille[fault as usize];
        self.on && rate > 0 && rng.below(1000) < rate
    }

    /// Whether this kind strikes now; counted when it does.
    pub fn strike(&mut self, rng: &mut Rng, fault: Fault) -> bool {
        let strikes = self.rolls(rng, fault);
        self.counts[fault as usize] += u64::from(strikes);
        strikes
    }

    /// Counts a fault that struck for a reason of its own.
    pub fn count(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }

    /// Whether this kind was drawn.
    pub fn is_drawn(&self, fault: Fault) -> bool {
        self.per_mille[fault as usize] > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::rng::Stream;

    #[test]
    fn a_kind_strikes_only_when_it_is_drawn_and_faults_are_on() {
        let mut rng = Rng::new(&[1; 32], Stream::Choker, 0);
        let mut faults = Faults::default();
        faults.per_mille[Fault::Reset as usize] = 1000;
        assert!(!faults.strike(&mut rng, Fault::Reset), "off");
        faults.on = true;
        assert!(faults.strike(&mut rng, Fault::Reset) && !faults.strike(&mut rng, Fault::Crash));
        assert_eq!(faults.counts[Fault::Reset as usize], 1);
    }
}
