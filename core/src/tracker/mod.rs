//! What trackers are sent and what they answer: HTTP (BEP 3, 7, 23, 24, 31, 48) and UDP (BEP 15, 41).
//!
//! Pure functions over bytes. When which tracker is asked is `announce`'s matter. Everything here may come from an enemy: sizes are capped
//! before memory is taken, and what is shown to people is cleaned first.

pub mod gzip;
pub mod http;
pub mod reach;
pub mod udp;
pub mod url;

use crate::id::{InfoHash, PeerId};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// More body than this is refused, as received and unpacked: an answer with 1,000 compact peers has 6 KiB, and libtorrent draws the line here
/// too.
pub const MAX_REPLY_BYTES: usize = 1024 * 1024;
/// Peers taken from one reply, the first ones. It is as many candidates as a torrent keeps, and fifteen times what we ask for.
pub const MAX_PEERS: usize = 3000;
/// Longer texts from trackers are cut: a line on a terminal.
pub const MAX_TEXT_BYTES: usize = 256;
/// A longer `tracker id` is ignored: it is sent back with every announce.
pub const MAX_TRACKER_ID_BYTES: usize = 256;

/// What an announce tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AnnounceKind {
    /// Nothing special: one of the regular announces.
    #[default]
    Regular,
    /// The download is complete.
    Completed,
    /// We are here.
    Started,
    /// We are leaving.
    Stopped,
}

/// How much was transferred since `started`, and how much is missing; in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Payload sent to peers.
    pub uploaded: u64,
    /// Payload received from peers.
    pub downloaded: u64,
    /// Bytes that are not yet verified.
    pub left: u64,
}

/// One announce, in either protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Announce {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Who we are.
    pub peer_id: PeerId,
    /// Where we listen.
    pub port: u16,
    /// What has happened.
    pub kind: AnnounceKind,
    /// The counters.
    pub totals: Totals,
    /// How many peers we would like.
    pub num_want: u32,
    /// The same random number in every announce: it proves who we are when our address has changed.
    pub key: u32,
}

/// How large a tracker says the swarm of one torrent is (BEP 48; announces tell the first two as well). What it does not say, or says in
/// numbers that cannot be, is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Swarm {
    /// Peers that have everything.
    pub complete: Option<u32>,
    /// Peers that have not.
    pub incomplete: Option<u32>,
    /// How often the torrent was ever downloaded to its end.
    pub downloaded: Option<u32>,
}

impl Swarm {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Swarm::default()
    }

    /// Takes over what is said anew; the rest stays as it is.
    pub fn update(&mut self, said: Swarm) {
        self.complete = said.complete.or(self.complete);
        self.incomplete = said.incomplete.or(self.incomplete);
        self.downloaded = said.downloaded.or(self.downloaded);
    }

    /// Number by number the larger one: of several trackers each sees a part of the swarm, and most peers are seen by all.
    #[must_use]
    pub fn max(self, other: Swarm) -> Swarm {
        Swarm {
            complete: self.complete.max(other.complete),
            incomplete: self.incomplete.max(other.incomplete),
            downloaded: self.downloaded.max(other.downloaded),
        }
    }
}

/// A successful answer to an announce, from either protocol. Numbers are as the tracker said them; the announcer clamps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Where peers listen: at most [`MAX_PEERS`], no port 0.
    pub peers: Vec<SocketAddr>,
    /// Seconds until the next regular announce.
    pub interval_s: Option<i64>,
    /// Never sooner than this many seconds.
    pub min_interval_s: Option<i64>,
    /// To be sent back next time.
    pub tracker_id: Option<Vec<u8>>,
    /// Peers that have everything.
    pub complete: Option<i64>,
    /// Peers that have not.
    pub incomplete: Option<i64>,
    /// The tracker's words to the user, cleaned.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}

impl Reply {
    /// What it says of the swarm.
    pub fn swarm(&self) -> Swarm {
        let count = |said: Option<i64>| said.and_then(counted);
        Swarm { complete: count(self.complete), incomplete: count(self.incomplete), downloaded: None }
    }
}

/// A number of peers. UDP has 32 bits for it, which some trackers mean as signed ones: what is too large for those is "unknown".
fn counted(number: i64) -> Option<u32> {
    i32::try_from(number).ok().and_then(|number| u32::try_from(number).ok())
}

/// Makes a tracker's text fit to be shown: valid UTF-8, no control characters (nor those that turn the reading direction), at most
/// [`MAX_TEXT_BYTES`].
pub fn clean_text(bytes: &[u8]) -> String {
    // No character shrinks below its own bytes, so what lies beyond the cut cannot matter.
    let bytes = bytes.get(..MAX_TEXT_BYTES).unwrap_or(bytes);
    let mut out = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        let steers =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        let c = if c.is_control() || steers { ' ' } else { c };
        if out.len() + c.len_utf8() > MAX_TEXT_BYTES {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end_matches(['\u{fffd}', ' ']).len());
    out
}

/// Compact IPv4 peers (BEP 23): 6 bytes each. A broken last entry is ignored.
fn compact_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> {
    bytes.chunks_exact(6).filter_map(|entry| {
        let (ip, port) = entry.split_first_chunk::<4>()?;
        Some(SocketAddr::from((*ip, u16::from_be_bytes(*port.first_chunk()?))))
    })
}

/// Compact IPv6 peers (BEP 7): 18 bytes each.
fn compact_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> {
    bytes.chunks_exact(18).filter_map(|entry| {
        let (ip, port) = entry.split_first_chunk::<16>()?;
        Some(SocketAddr::from((*ip, u16::from_be_bytes(*port.first_chunk()?))))
    })
}

/// Takes peers up to [`MAX_PEERS`], without those that cannot be dialled. Addresses come out in their plain form.
fn add_peers(peers: &mut Vec<SocketAddr>, more: impl Iterator<Item = SocketAddr>) {
    let room = MAX_PEERS.saturating_sub(peers.len());
    let usable = more.filter(|addr| addr.port() != 0 && reach::reach_of(addr.ip()) != reach::Reach::Nowhere);
    peers.extend(usable.map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port())).take(room));
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn what_a_tracker_does_not_say_stays_and_of_several_the_largest_is_shown() {
        let mut swarm = Swarm { complete: Some(3), incomplete: Some(4), downloaded: None };
        swarm.update(Swarm { complete: Some(2), incomplete: None, downloaded: Some(9) });
        assert_eq!(swarm, Swarm { complete: Some(2), incomplete: Some(4), downloaded: Some(9) });
        let other = Swarm { complete: None, incomplete: Some(7), downloaded: Some(1) };
        assert_eq!(swarm.max(other), Swarm { complete: Some(2), incomplete: Some(7), downloaded: Some(9) });
        assert!(Swarm::default().is_empty() && !swarm.is_empty());
    }

    #[test]
    fn numbers_that_cannot_be_are_not_shown() {
        let swarm = |complete, incomplete| Reply { complete, incomplete, ..Reply::default() }.swarm();
        assert!(swarm(Some(-1), Some(i64::MAX)).is_empty());
        assert!(swarm(Some(i64::MIN), Some(1 << 31)).is_empty());
        assert_eq!(swarm(Some(0), Some((1 << 31) - 1)).incomplete, Some((1 << 31) - 1));
    }

    #[test]
    fn texts_from_trackers_cannot_steer_a_terminal() {
        assert_eq!(clean_text(b"a\x1b[31mb\r\n"), "a [31mb");
        assert_eq!(clean_text("x\u{202e}y".as_bytes()), "x y");
        assert_eq!(clean_text(b"\xff\xfe"), "");
        assert_eq!(clean_text("caf\u{e9}".as_bytes()), "caf\u{e9}");
    }

    #[test]
    fn long_texts_are_cut_on_a_character_border() {
        let long = "a".to_string() + &"\u{e9}".repeat(300);
        let cut = clean_text(long.as_bytes());
        assert_eq!(cut, "a".to_string() + &"\u{e9}".repeat(127));
        assert!(clean_text(&[0xff; 4000]).len() <= MAX_TEXT_BYTES);
    }
}
