//! Causes in plain words: one sentence each, that says what is, and, where it can, what would help. Names for programs.

use super::{Cause, PieceList, Whose};
use crate::config::Goal;
use crate::fault::DiskFaultKind;
use crate::time::Duration;
use crate::view::Place;
use core::fmt;

impl Cause {
    /// Its name for programs: never changed, one for each kind of cause.
    pub const fn name(&self) -> &'static str {
        match self {
            Cause::Paused => "paused",
            Cause::Queued { .. } => "queued",
            Cause::SeededEnough { .. } => "seeded_enough",
            Cause::Leaving => "leaving",
            Cause::OnlyChecked => "only_checked",
            Cause::Moving => "moving",
            Cause::NothingSelected => "nothing_selected",
            Cause::Complete { .. } => "complete",
            Cause::DiskRefuses { .. } => "disk_refuses",
            Cause::CheckWaits => "check_waits",
            Cause::Checking { .. } => "checking",
            Cause::Finishing => "finishing",
            Cause::WritesAwaited { .. } => "writes_awaited",
            Cause::BuffersFull { .. } => "buffers_full",
            Cause::NobodyKnown => "nobody_known",
            Cause::TrackersAwaited { .. } => "trackers_awaited",
            Cause::TrackersFail { .. } => "trackers_fail",
            Cause::NobodyNamed { .. } => "nobody_named",
            Cause::OnlyOurselves { .. } => "only_ourselves",
            Cause::AllBanned { .. } => "all_banned",
            Cause::NobodyAnswers { .. } => "nobody_answers",
            Cause::RedialWaits { .. } => "redial_waits",
            Cause::NothingToTrade { .. } => "nothing_to_trade",
            Cause::Connecting { .. } => "connecting",
            Cause::ConnectionsFull { .. } => "connections_full",
            Cause::Choked { .. } => "choked",
            Cause::PeersHaveNothing { .. } => "peers_have_nothing",
            Cause::PiecesNowhere { .. } => "pieces_nowhere",
            Cause::PiecesSuspected { .. } => "pieces_suspected",
            Cause::Snubbed { .. } => "snubbed",
            Cause::LastBlocks { .. } => "last_blocks",
            Cause::AnswersAwaited { .. } => "answers_awaited",
            Cause::GivenUpArriving { .. } => "given_up_arriving",
            Cause::AskedNext { .. } => "asked_next",
            Cause::DownLimit { .. } => "down_limit",
            Cause::Receiving { .. } => "receiving",
            Cause::NobodyInterested { .. } => "nobody_interested",
            Cause::NoSlots => "no_slots",
            Cause::SlotsTaken { .. } => "slots_taken",
            Cause::UpLimit { .. } => "up_limit",
            Cause::Sending { .. } => "sending",
            Cause::AskNothing { .. } => "ask_nothing",
            Cause::NotReading { .. } => "not_reading",
            Cause::Dialing { .. } => "dialing",
            Cause::Handshaking { .. } => "handshaking",
            Cause::ChokesUs => "chokes_us",
            Cause::HasNothingForUs { .. } => "has_nothing_for_us",
            Cause::Snubs { .. } => "snubs",
            Cause::WindowFull { .. } => "window_full",
            Cause::AskedElsewhere { .. } => "asked_elsewhere",
            Cause::NotInterested => "not_interested",
            Cause::ChokedByUs { .. } => "choked_by_us",
        }
    }
}

fn to_do(place: Place) -> &'static str {
    match place {
        Place::Download => "download",
        Place::Seed => "seed",
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Paused => f.write_str("it is paused; resume it to go on"),
            Cause::Queued { place, ahead: _, limit: 0 } => {
                write!(f, "the settings let no torrent {}; it goes on by itself when they do", to_do(*place))
            }
            Cause::Queued { place, ahead, limit } => {
                let (come, may) = (verb(*ahead, "comes", "come"), to_do(*place));
                write!(
                    f,
                    "it waits for its turn: {} {come} before it, and {limit} may {may} at a time",
                    N(*ahead, "torrent")
                )
            }
            Cause::SeededEnough { goal: Goal::Ratio } => {
                f.write_str("everything is here and enough of it was given; resume it to seed on")
            }
            Cause::SeededEnough { goal: Goal::Time } => {
                f.write_str("everything is here and was seeded for as long as it was to be; resume it to seed on")
            }
            Cause::Leaving => f.write_str("it is being removed, or everything is being shut down"),
            Cause::OnlyChecked => f.write_str("it was only to be checked, and has been"),
            Cause::Moving => f.write_str("its files are being moved or renamed; it goes on by itself afterwards"),
            Cause::NothingSelected => f.write_str("none of its files is selected; select what is wanted"),
            Cause::Complete { whole: true } => f.write_str("everything is here"),
            Cause::Complete { whole: false } => f.write_str("everything that is selected is here"),
            Cause::DiskRefuses { fault, retry_in } => {
                let help = help_with(fault.kind);
                write!(f, "the disk refuses: {fault}; {help}, it goes on by itself: next try {}", In(*retry_in))
            }
            Cause::CheckWaits => {
                f.write_str("it is to be checked again, and waits for the disk to end what is under way")
            }
            Cause::Checking { checked, pieces } => {
                write!(f, "what is on the disk is being checked: {checked} of {} looked at", N(*pieces, "piece"))
            }
            Cause::Finishing => f.write_str("all that is wanted has come, and is being brought to stable storage"),
            Cause::WritesAwaited { pieces } => {
                write!(f, "{} came whole and {} for the disk", N(*pieces, "piece"), verb(*pieces, "waits", "wait"))
            }
            Cause::BuffersFull { buffers, filled } if filled * 2 >= *buffers => {
                write!(f, "the disk is slower than the peers: {filled} of {} wait for it; ", N(*buffers, "buffer"))?;
                f.write_str("nothing more is asked for until it has caught up")
            }
            Cause::BuffersFull { buffers, .. } => {
                write!(
                    f,
                    "{} reserved for what is under way; more of them would let us ask for more",
                    AllOf(*buffers, "buffer")
                )
            }
            Cause::NobodyKnown => {
                f.write_str("nobody is known who might have it: there is no tracker, and no peer was named; add one")
            }
            Cause::TrackersAwaited { asked, waited } => {
                write!(f, "{} asked and did not answer yet, for {}", Are(*asked, "tracker"), Time(*waited))
            }
            Cause::TrackersFail { failing, trackers, url, reason, silent, next_in } => {
                match (failing, trackers) {
                    (1, 1) => f.write_str("the tracker has not answered")?,
                    (failing, trackers) if failing == trackers => {
                        write!(f, "none of the {trackers} trackers has answered")?
                    }
                    (failing, trackers) => {
                        write!(f, "{failing} of {trackers} trackers {} not answered", verb(*failing, "has", "have"))?;
                    }
                }
                write!(f, " for {} ({url}: {reason})", Time(*silent))?;
                next_try(f, *next_in)
            }
            Cause::NobodyNamed { trackers, next_in } => {
                let know = verb(*trackers, "knows", "know");
                write!(f, "{} answered and {know} nobody else who has or wants it", N(*trackers, "tracker"))?;
                next_try(f, *next_in)
            }
            Cause::OnlyOurselves { next_in } => {
                f.write_str("the only address that anybody has named is our own")?;
                next_try(f, *next_in)
            }
            Cause::AllBanned { hosts, next_in } => {
                write!(f, "everybody who was known is banned for wrong bytes ({})", N(*hosts, "host"))?;
                f.write_str("; other peers are needed, bans last until the program starts again")?;
                next_try(f, *next_in)
            }
            Cause::NobodyAnswers { addresses, next_in } => {
                match addresses {
                    1 => f.write_str("the only address known cannot be reached")?,
                    n => write!(f, "none of the {n} addresses known can be reached")?,
                }
                match next_in.is_zero() {
                    true => f.write_str("; another try is under way"),
                    false => write!(f, "; the next try is {}", In(*next_in)),
                }
            }
            Cause::RedialWaits { addresses, next_in } => {
                let waits = verb(*addresses, "waits", "wait");
                write!(
                    f,
                    "{} {waits} to be dialled again, the next {}",
                    NPlural(*addresses, "address", "addresses"),
                    In(*next_in)
                )
            }
            Cause::NothingToTrade { addresses } => {
                f.write_str("there is nothing to trade: everybody known has all that is wanted, as we do")?;
                write!(f, " ({})", NPlural(*addresses, "address", "addresses"))
            }
            Cause::Connecting { dialing, handshaking, waited } => {
                f.write_str("connections are being made: ")?;
                match (dialing, handshaking) {
                    (dialing, 0) => write!(f, "{dialing} dialled")?,
                    (0, handshaking) => write!(f, "{handshaking} awaiting a handshake")?,
                    _ => write!(f, "{dialing} dialled, {handshaking} awaiting a handshake")?,
                }
                write!(f, ", for {}", Time(*waited))
            }
            Cause::ConnectionsFull { whose, limit, waiting } => {
                let (limit, waits) = (N(*limit, "connection"), verb(*waiting, "waits", "wait"));
                write!(f, "{} of {limit} is used up, and ", Limit(*whose))?;
                write!(
                    f,
                    "{} {waits}; raise it, or wait until somebody goes",
                    NPlural(*waiting, "address", "addresses")
                )
            }
            Cause::Choked { choking, of } if choking == of => {
                match of {
                    1 => f.write_str("the only peer that has something for us gives us no upload slot")?,
                    n => write!(f, "none of the {n} peers that have something for us gives us an upload slot")?,
                }
                f.write_str("; we get one in our turn, or for what we send")
            }
            Cause::Choked { choking, of } => {
                let give = verb(*choking, "gives", "give");
                write!(f, "{choking} of {} that have something for us {give} us no upload slot", N(*of, "peer"))
            }
            Cause::PeersHaveNothing { peers } => {
                match peers {
                    1 => f.write_str("the only connected peer has no piece yet")?,
                    n => write!(f, "none of the {n} connected peers has any piece yet")?,
                }
                f.write_str("; somebody who has some must come")
            }
            Cause::PiecesNowhere { pieces, copies_per_mille } => {
                let hundredths = copies_per_mille / 10;
                write!(f, "no connected peer has {pieces} ({}.{:02} copies", hundredths / 100, hundredths % 100)?;
                f.write_str(" among them and us); somebody who has the rest must come")
            }
            Cause::PiecesSuspected { pieces } => {
                write!(f, "{pieces} failed the hash and is fetched from one peer at a time, to find out who lies")
            }
            Cause::Snubbed { peers: 1 } => {
                f.write_str("the only peer that we may ask leaves our requests unanswered; others are needed")
            }
            Cause::Snubbed { peers } => {
                write!(f, "all {peers} peers that we may ask leave our requests unanswered; others are needed")
            }
            Cause::LastBlocks { requests, peers, waited } => {
                write!(f, "all that is left is asked for, {} of {}, ", N(*requests, "block"), N(*peers, "peer"))?;
                write!(f, "and has not come for {}; they are slow", Time(*waited))
            }
            Cause::AnswersAwaited { requests, peers, waited } => {
                let has = verb(*requests, "has", "have");
                write!(
                    f,
                    "{} asked of {} {has} not come for {}",
                    N(*requests, "block"),
                    N(*peers, "peer"),
                    Time(*waited)
                )
            }
            Cause::GivenUpArriving { peers } => {
                let is = verb(*peers, "is", "are");
                write!(
                    f,
                    "{} {is} still sending what was given up as too late; the rest is asked for after it",
                    N(*peers, "peer")
                )
            }
            Cause::AskedNext { pieces, next_in } => {
                write!(f, "who was asked for {} has refused, or gone; others are asked ", N(*pieces, "piece"))?;
                write!(f, "{}", In(*next_in))
            }
            Cause::DownLimit { whose, bytes_per_s, waiting } => {
                write!(
                    f,
                    "{} on receiving, {}, is used up; raise it to go faster",
                    Limit(*whose),
                    Speed(*bytes_per_s)
                )?;
                match waiting {
                    0 => Ok(()),
                    n => write!(f, " ({} to send)", Waits(*n, "peer")),
                }
            }
            Cause::Receiving { peers, bytes_per_s } => {
                let send = verb(*peers, "sends", "send");
                write!(f, "{} {send} {}, as fast as they and the line can", N(*peers, "peer"), Speed(*bytes_per_s))
            }
            Cause::NobodyInterested { peers: 1 } => f.write_str("the only connected peer wants nothing from us"),
            Cause::NobodyInterested { peers } => {
                write!(f, "none of the {peers} connected peers wants anything from us")
            }
            Cause::NoSlots => f.write_str("nobody may be served: the settings allow no upload slot"),
            Cause::SlotsTaken { slots, earned, waiting, next_in } => {
                write!(f, "{}: {}", Waits(*waiting, "peer"), SlotsUsed(*slots, *earned, *next_in))
            }
            Cause::UpLimit { whose, bytes_per_s, waiting } => {
                write!(f, "{} on sending, {}, is used up; raise it to go faster", Limit(*whose), Speed(*bytes_per_s))?;
                match waiting {
                    0 => Ok(()),
                    n => write!(f, " ({})", Waits(*n, "block")),
                }
            }
            Cause::Sending { peers, bytes_per_s } => {
                let take = verb(*peers, "takes", "take");
                write!(f, "{} {take} {}, as fast as they and the line can", N(*peers, "peer"), Speed(*bytes_per_s))
            }
            Cause::AskNothing { peers, waited } => {
                let has = verb(*peers, "has", "have");
                write!(f, "{} may ask and {has} asked for nothing for {}", N(*peers, "peer"), Time(*waited))
            }
            Cause::NotReading { peers, waited } => {
                let does = verb(*peers, "has", "have");
                write!(f, "{} {does} taken nothing of what waits for {}", N(*peers, "peer"), Time(*waited))
            }
            Cause::Dialing { waited, gives_up_in } => {
                write!(f, "dialled {} ago, no answer yet; given up {}", Time(*waited), In(*gives_up_in))
            }
            Cause::Handshaking { waited, gives_up_in } => {
                write!(f, "connected {} ago, no handshake yet; given up {}", Time(*waited), In(*gives_up_in))
            }
            Cause::ChokesUs => {
                f.write_str("it chokes us; we get a slot in our turn, or when we send it more than others do")
            }
            Cause::HasNothingForUs { pieces: 0 } => f.write_str("it has no pieces yet"),
            Cause::HasNothingForUs { pieces } => {
                write!(f, "we have all that it has ({})", N(*pieces, "piece"))
            }
            Cause::Snubs { waited } => {
                write!(f, "it leaves our requests unanswered, for {}; others are asked instead", Time(*waited))
            }
            Cause::WindowFull { requests, round_trip, most_bytes_per_s } => {
                write!(f, "no more than {} may be under way", N(*requests, "request"))?;
                write!(
                    f,
                    " and each takes {} ms: that gives {} at most",
                    round_trip.as_millis(),
                    Speed(*most_bytes_per_s)
                )
            }
            Cause::AskedElsewhere { pieces } => {
                write!(
                    f,
                    "all that it has and we lack ({}) is asked for already, or waits for the disk",
                    N(*pieces, "piece")
                )
            }
            Cause::NotInterested => f.write_str("it wants nothing from us"),
            Cause::ChokedByUs { slots, earned, ahead, next_in } => {
                write!(f, "choked by us: {}", SlotsUsed(*slots, *earned, *next_in))?;
                match ahead {
                    0 => Ok(()),
                    n => write!(f, ", {} before it", N(*n, "peer")),
                }
            }
        }
    }
}

impl fmt::Display for PieceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(verb(self.count, "piece ", "pieces "))?;
        for (n, piece) in self.first.iter().enumerate() {
            f.write_str(match n {
                0 => "",
                n if n + 1 == self.count as usize => " and ",
                _ => ", ",
            })?;
            write!(f, "{}", piece.0)?;
        }
        match self.count as usize - self.first.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// What helps with the disk.
const fn help_with(kind: DiskFaultKind) -> &'static str {
    match kind {
        DiskFaultKind::Full => "free some space",
        DiskFaultKind::Denied => "allow it to write there",
        DiskFaultKind::NotFound | DiskFaultKind::Short => "put the file back, or have everything checked again",
        DiskFaultKind::NotRegular => "remove what stands in its place",
        DiskFaultKind::Io => "look after the disk",
    }
}

fn next_try(f: &mut fmt::Formatter<'_>, next_in: Option<Duration>) -> fmt::Result {
    match next_in {
        Some(next_in) => write!(f, "; the next tracker is asked {}", In(next_in)),
        None => Ok(()),
    }
}

const fn verb(n: u32, one: &'static str, many: &'static str) -> &'static str {
    if n == 1 { one } else { many }
}

/// `1 peer`, `2 peers`.
struct N(u32, &'static str);

impl fmt::Display for N {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, verb(self.0, "", "s"))
    }
}

/// `1 address`, `2 addresses`.
struct NPlural(u32, &'static str, &'static str);

impl fmt::Display for NPlural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, verb(self.0, self.1, self.2))
    }
}

/// `1 peer waits`, `2 peers wait`.
struct Waits(u32, &'static str);

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", N(self.0, self.1), verb(self.0, "waits", "wait"))
    }
}

/// `the tracker was`, `2 trackers were`.
struct Are(u32, &'static str);

impl fmt::Display for Are {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => write!(f, "the {} was", self.1),
            n => write!(f, "{n} {}s were", self.1),
        }
    }
}

/// `the only buffer is`, `all 4 buffers are`.
struct AllOf(u32, &'static str);

impl fmt::Display for AllOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => write!(f, "the only {} is", self.1),
            n => write!(f, "all {n} {}s are", self.1),
        }
    }
}

/// Whose limit.
struct Limit(Whose);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Whose::Torrent => "the torrent's limit",
            Whose::All => "the limit of all torrents together",
        })
    }
}

/// How the upload slots are used: how many, by whom, and when one is free.
struct SlotsUsed(u32, u32, Duration);

impl fmt::Display for SlotsUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SlotsUsed(slots, earned, next_in) = self;
        write!(f, "{} taken", N(*slots, "slot"))?;
        match (earned, slots) {
            (0, _) => {}
            (earned, slots) if earned == slots => f.write_str(" by peers that send us more")?,
            (earned, _) => write!(f, ", {earned} by peers that send us more")?,
        }
        write!(f, ", next turn {}", In(*next_in))
    }
}

/// `12 s`, `3 min`, `2 h 05 min`, `4 days`.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => f.write_str("less than a second"),
            s @ 1..120 => write!(f, "{s} s"),
            s @ 120..3600 => write!(f, "{} min", s / 60),
            s @ 3600..172_800 => write!(f, "{} h {:02} min", s / 3600, s / 60 % 60),
            s => write!(f, "{} days", s / 86_400),
        }
    }
}

/// `at once`, `in 12 s`.
struct In(Duration);

impl fmt::Display for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => f.write_str("at once"),
            _ => write!(f, "in {}", Time(self.0)),
        }
    }
}

/// `17 B/s`, `5.0 KiB/s`, `1.5 MiB/s`.
struct Speed(u64);

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            bytes @ 0..1024 => return write!(f, "{bytes} B/s"),
            0..1_048_576 => (1024, "KiB/s"),
            _ => (1_048_576, "MiB/s"),
        };
        write!(f, "{}.{} {name}", self.0 / unit, self.0 % unit * 10 / unit)
    }
}
