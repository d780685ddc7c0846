//! When to give a torrent up: nobody is there (`--peer-timeout`), nothing comes (`--stop-timeout`): exit code 4. Or the disk refuses (`--disk-timeout`): exit code 5.
//!
//! A pure function of what is seen and of the time since the start.

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::text::{clean, count, time};
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::metainfo::Metainfo;
use sameseed_core::view::{TorrentState, TorrentView};
use std::time::Duration;

/// How long the first peer may take, unless `--peer-timeout` says something else.
const FIRST_PEER_TIMEOUT: Duration = Duration::from_secs(300);

/// The patience with one torrent.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Trackers or peers that can be asked.
    somebody_to_ask: bool,
    /// `--peer-timeout`.
    peer_timeout: Option<Duration>,
    /// `--stop-timeout`, when there is one.
    stop_timeout: Option<Duration>,
    /// `--disk-timeout`.
    disk_timeout: Duration,
    /// The disk refused, and nothing was written since: when that was first seen, and what was lacking then.
    refused_since: Option<(Duration, u64)>,
    /// What it said.
    refusal: Option<DiskFault>,
    /// Something was written.
    disk_works: bool,
    /// The check of what is there has ended.
    checked: bool,
    /// A peer was there once.
    found: bool,
    /// Since when there is no peer.
    alone_since: Option<Duration>,
    /// Since when so many bytes have been received and no more.
    idle_since: Option<(Duration, u64)>,
    /// What the last tracker that failed said.
    last_failure: Option<String>,
}

impl Patience {
    /// At the start.
    pub(crate) fn new(metainfo: &Metainfo, args: &RunArgs) -> Self {
        Patience {
            somebody_to_ask: !metainfo.trackers.is_empty()
                || !args.trackers.is_empty()
                || !args.peers.is_empty()
                || args.listen_port.is_some()
                || args.peer_timeout.is_some(),
            peer_timeout: args.peer_timeout.map(Duration::from_secs),
            stop_timeout: Some(args.stop_timeout).filter(|limit_s| *limit_s > 0).map(Duration::from_secs),
            disk_timeout: Duration::from_secs(args.disk_timeout),
            refused_since: None,
            refusal: None,
            disk_works: false,
            checked: false,
            found: false,
            alone_since: None,
            idle_since: None,
            last_failure: None,
        }
    }

    /// The check of what is there has ended: from now on time counts.
    pub(crate) fn checked(&mut self) {
        self.checked = true;
    }

    /// A tracker failed: perhaps the reason why nobody is there.
    pub(crate) fn tracker_failed(&mut self, what: String) {
        self.last_failure = Some(what);
    }

    /// A piece was written.
    pub(crate) fn written(&mut self) {
        self.disk_works = true;
    }

    /// The disk refused: an error when there is no use in waiting; else whether this is news.
    ///
    /// What refuses before anything worked, such as a folder that may not be written, does not pass by itself; a full disk may.
    pub(crate) fn refused(&mut self, fault: &DiskFault, is_complete: bool) -> Result<bool, Failure> {
        let passes = self.checked && (self.disk_works || fault.kind == DiskFaultKind::Full);
        let ends = !is_complete && (!passes || self.disk_timeout.is_zero());
        let before = self.refusal.replace(fault.clone());
        if ends { Err(refusal(fault, "")) } else { Ok(before.as_ref() != Some(fault)) }
    }

    /// What is seen at `now` (since the start): an error when it lasts too long.
    pub(crate) fn look(&mut self, now: Duration, view: &TorrentView) -> Result<(), Failure> {
        self.disk(now, view)?;
        if view.state != TorrentState::Downloading || !self.checked {
            (self.idle_since, self.alone_since) = (None, None);
            return Ok(());
        }
        let failure = |what: String| Err(Failure::new(Exit::NoPeers, format!("{}: {what}", clean(&view.name))));
        if !self.somebody_to_ask {
            let what = "nobody to ask: the torrent names no tracker; give one with --tracker, or a peer with --peer";
            return failure(String::from(what));
        }
        let why = self.last_failure.as_ref().map_or(String::new(), |failure| format!(" (last trouble: {failure})"));
        let alone = self.alone(now, view);
        let limit = match self.peer_timeout {
            Some(Duration::ZERO) => None,
            Some(limit) => Some(limit),
            None => (!self.found).then_some(FIRST_PEER_TIMEOUT),
        };
        if limit.is_some_and(|limit| alone.is_some_and(|alone| alone >= limit)) {
            return failure(format!("no peer for {}{why}; try again later", time(alone.unwrap_or_default())));
        }
        let idle = self.idle(now, view);
        if self.stop_timeout.is_some_and(|limit| idle >= limit) {
            let peers = count(u64::from(view.peers), "peer");
            return failure(format!(
                "nothing received for {}, with {peers} connected{why}; try again later",
                time(idle)
            ));
        }
        Ok(())
    }

    /// Between two tries there is no trouble for a moment, so only what is written ends it.
    fn disk(&mut self, now: Duration, view: &TorrentView) -> Result<(), Failure> {
        if view.left_bytes == 0 {
            return Ok(());
        }
        let is_over = |(_, left): (Duration, u64)| view.left_bytes < left;
        if self.refused_since.is_some_and(is_over) {
            (self.refused_since, self.refusal) = (None, None);
        }
        let Some(fault) = &self.refusal else { return Ok(()) };
        let (since, _) = *self.refused_since.get_or_insert((now, view.left_bytes));
        let waited = now.saturating_sub(since);
        // A disk that works again, while nobody sends anything to write, is no reason to leave.
        if waited < self.disk_timeout || view.trouble.is_none() {
            return Ok(());
        }
        Err(refusal(fault, &format!(", for {} now", time(waited))))
    }

    /// How long no peer was there.
    fn alone(&mut self, now: Duration, view: &TorrentView) -> Option<Duration> {
        if view.peers > 0 {
            self.found = true;
            self.alone_since = None;
            return None;
        }
        Some(now.saturating_sub(*self.alone_since.get_or_insert(now)))
    }

    /// How long nothing was received.
    fn idle(&mut self, now: Duration, view: &TorrentView) -> Duration {
        match self.idle_since {
            Some((since, bytes)) if bytes == view.downloaded_bytes => now.saturating_sub(since),
            _ => {
                self.idle_since = Some((now, view.downloaded_bytes));
                Duration::ZERO
            }
        }
    }
}

fn refusal(fault: &DiskFault, how_long: &str) -> Failure {
    let what = format!("{fault}{how_long}; what is complete is kept; the same command goes on from there");
    Failure::new(Exit::Disk, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::parse;
    use crate::cli::progress::tests::some_view;

    fn patience(args: &str) -> Patience {
        let torrent =
            b"d8:announce8:http://t4:infod6:lengthi9e4:name1:t12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
        let argv = format!("sameseed x {args}");
        let run = parse(&argv.split_whitespace().map(Into::into).collect::<Vec<_>>()).unwrap().run;
        let mut patience = Patience::new(&Metainfo::parse(torrent).unwrap(), &run);
        patience.checked();
        patience
    }

    /// The second in which it ends, of those in which `peers` are there and `bytes` have been received.
    fn given_up(args: &str, seconds: &[(u32, u64)]) -> Option<(usize, String)> {
        let mut patience = patience(args);
        seconds.iter().enumerate().find_map(|(second, (peers, bytes))| {
            let view = TorrentView { peers: *peers, downloaded_bytes: *bytes, ..some_view() };
            let failure = patience.look(Duration::from_secs(second as u64), &view).err()?;
            Some((second, failure.message))
        })
    }

    #[test]
    fn a_torrent_for_which_nothing_comes_is_given_up_after_its_time() {
        let stalls = [(2, 0), (2, 5), (2, 5), (2, 5), (1, 6), (1, 6), (1, 6), (1, 6), (1, 6)];
        let (second, what) = given_up("--stop-timeout 3", &stalls).unwrap();
        assert_eq!(second, 7);
        assert!(what.ends_with(": nothing received for 3s, with 1 peer connected; try again later"), "{what}");
        assert_eq!(given_up("", &stalls), None);
        assert_eq!(given_up("--stop-timeout 0", &stalls), None);
    }

    #[test]
    fn a_check_a_pause_and_a_move_do_not_count() {
        for (args, peers) in [("--stop-timeout 3", 1), ("--peer-timeout 3", 0)] {
            let mut patience = patience(args);
            for second in 0..20 {
                let state = if second % 3 == 2 { TorrentState::Moving } else { TorrentState::Downloading };
                patience.look(Duration::from_secs(second), &TorrentView { state, peers, ..some_view() }).unwrap();
            }
        }
    }

    #[test]
    fn a_disk_that_refuses_is_waited_for_and_given_up_after_its_time() {
        let fault = DiskFault { kind: DiskFaultKind::Full, path: "a".into(), detail: "no space left on device".into() };
        // What is lacking, second by second; the disk refuses in second 2 and again every third.
        let given_up = |args: &str, lacking: &[u64]| {
            let mut patience = patience(args);
            lacking.iter().zip(0u64..).find_map(|(left_bytes, second)| {
                let refused = if second % 3 == 2 { patience.refused(&fault, *left_bytes == 0) } else { Ok(false) };
                let trouble = Some(fault.clone()).filter(|_| second < 50);
                let view = TorrentView { left_bytes: *left_bytes, trouble, ..some_view() };
                let seen = refused.and_then(|_| patience.look(Duration::from_secs(second), &view));
                seen.err().map(|failure| (second, failure.exit, failure.message))
            })
        };
        let (second, exit, what) = given_up("--disk-timeout 4", &[9; 20]).unwrap();
        assert!(
            (second, exit) == (6, Exit::Disk) && what.contains("(no space left on device), for 4s now;"),
            "{second} {what}"
        );
        // Something was written in second 4.
        assert_eq!(given_up("--disk-timeout 4", &[9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 8]).unwrap().0, 9);
        assert_eq!(given_up("--disk-timeout 0", &[9; 20]).unwrap().0, 2);
        assert_eq!(given_up("", &[9; 60]).unwrap().0, 42);
        // What is complete waits.
        assert_eq!(given_up("--disk-timeout 4", &[0; 60]), None);
        assert_eq!(given_up("--disk-timeout 0", &[0; 60]), None);
        // Nor is one given up whose disk works again.
        assert_eq!(given_up("--disk-timeout 55", &[9; 120]), None);
    }

    #[test]
    fn what_refuses_at_the_start_is_given_up_at_once() {
        let fault = DiskFault { kind: DiskFaultKind::Denied, path: "a".into(), detail: "read-only".into() };
        let mut patience = patience("");
        patience.checked = false;
        assert_eq!(patience.refused(&fault, false).unwrap_err().exit, Exit::Disk);
        patience.checked();
        assert_eq!(patience.refused(&fault, false).unwrap_err().exit, Exit::Disk);
        // Later it is waited for, and told once.
        patience.written();
        assert_eq!([(); 2].map(|()| patience.refused(&fault, false).unwrap()), [false, false]);
    }

    #[test]
    fn who_is_alone_too_long_is_given_up() {
        let alone = [(0, 0), (0, 0), (1, 0), (0, 0), (0, 0), (0, 0), (0, 0)];
        assert_eq!(given_up("--peer-timeout 2", &alone).unwrap().0, 5);
        assert_eq!(given_up("--peer-timeout 0", &alone), None);
        let never = vec![(0, 0); 400];
        assert_eq!(given_up("", &never).unwrap().0, 300);
    }
}
