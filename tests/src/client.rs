//! What a BitTorrent program is to a test, whoever wrote it: something that is started as seeder or as leecher.

use crate::{EmptyFiles, Outcome, Process, Stage};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// Where every program listens.
pub(crate) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What a program is to do with the torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All of the data is in the folder.
    Seeder,
    /// Get the data into the folder.
    Leecher,
}

/// How the parties of a test find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// The torrent names an HTTP tracker (BEP 3).
    Http,
    /// The torrent names a UDP tracker (BEP 15).
    Udp,
}

/// One thing for a program to do.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Where logs and settings go.
    pub stage: &'a Stage,
    /// The torrent file.
    pub torrent: &'a Path,
    /// Where the torrent's file or folder lies, or is to lie.
    pub dir: &'a Path,
    /// Seed or leech.
    pub role: Role,
    /// How the torrent's tracker is spoken to.
    pub announce: Announce,
    /// Upload no faster than so many KiB a second.
    pub upload_limit_kib_s: Option<u32>,
    /// Download no faster than so many KiB a second.
    pub download_limit_kib_s: Option<u32>,
    /// A peer to dial, told on the command line.
    pub peer: Option<SocketAddr>,
    /// Further ones; only for `sameseed` and for those that ask no tracker, libtorrent and rqbit.
    pub more_peers: &'a [SocketAddr],
    /// Its own address; only for `sameseed`, the others have 127.0.0.1.
    pub bind: Ipv4Addr,
    /// More arguments; only for `sameseed` and aria2, which have much in common, and for transmission's daemon.
    pub more: &'a [&'a str],
}

impl<'a> Job<'a> {
    /// Peers from an HTTP tracker, no limits, nothing more.
    pub fn new(stage: &'a Stage, torrent: &'a Path, dir: &'a Path, role: Role) -> Job<'a> {
        Job {
            stage,
            torrent,
            dir,
            role,
            announce: Announce::Http,
            upload_limit_kib_s: None,
            download_limit_kib_s: None,
            peer: None,
            more_peers: &[],
            bind: LOOPBACK,
            more: &[],
        }
    }
}

/// A program at work.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub process: Process,
    /// Where it takes peers.
    pub listens: SocketAddr,
    /// Where it answers questions over HTTP, if it does.
    pub control: Option<SocketAddr>,
}

/// A BitTorrent program.
pub trait Client: Sync {
    /// Its name, as in the names of tests.
    fn name(&self) -> &'static str;

    /// The programs that must be there.
    fn needs(&self) -> &'static [&'static str];

    /// Starts it on a job.
    ///
    /// # Errors
    /// When it does not start, or does not take the torrent.
    fn start(&self, job: &Job<'_>) -> Outcome<Running>;

    /// Whether it dials peers in 127.0.0.0/8; if not, the other side must dial.
    fn dials_loopback(&self) -> bool {
        true
    }

    /// Whether a leecher leaves with exit code 0 when it is complete.
    fn leaves_when_complete(&self) -> bool {
        false
    }

    /// Whether it makes files of no bytes.
    fn empty_files(&self) -> EmptyFiles {
        EmptyFiles::Made
    }
}
