//! A torrent to add: where it comes from, where it goes, and how it begins.

use crate::piece_hashes::PieceHashes;
use crate::storage::Home;
use sameseed_core::config::SeedingGoals;
use sameseed_core::id::FileIndex;
use sameseed_core::metainfo::{MAX_TORRENT_BYTES, Metainfo, MetainfoError};
use sameseed_core::selection::Priority;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A torrent to add. What is not said is as usual.
///
/// It comes from a file ([`from_file`](Self::from_file)), from bytes ([`from_bytes`](Self::from_bytes)) or from what was read already ([`new`](Self::new), `from`).
///
/// ```no_run
/// # use driver_tokio::{AddTorrentOptions, TorrentError, TorrentFileError, core::selection::Priority, core::id::FileIndex};
/// # fn example() -> Result<AddTorrentOptions, TorrentFileError> {
/// Ok(AddTorrentOptions {
///     sequential: true,
///     priorities: vec![(FileIndex(0), Priority::High)],
///     ..AddTorrentOptions::from_file("debian.torrent")?.at("downloads")
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AddTorrentOptions {
    /// What it is.
    pub metainfo: Metainfo,
    /// What its pieces must hash to, where [`HashStore::keep`](crate::HashStore::keep) has taken it out of the metainfo already. By default the session does so when the torrent is
    /// added.
    pub hashes: Option<PieceHashes>,
    /// Where its bytes stand. By default the session's home.
    pub home: Option<Home>,
    /// Peers to try at once.
    pub peers: Vec<SocketAddr>,
    /// Extra trackers, asked after the torrent's.
    pub extra_trackers: Vec<String>,
    /// Only check what is on disk: no peers, no trackers, nothing is written.
    pub check_only: bool,
    /// Begin paused: nothing is looked at until it is resumed.
    pub paused: bool,
    /// Resume data to begin with, also of libtorrent and its kin (`.fastresume`). By default that of `SessionConfig::resume_dir`.
    pub resume: Option<Vec<u8>>,
    /// Hash all that is there, whatever the resume data claims.
    pub force_check: bool,
    /// How urgently files are wanted; those not named as usual.
    pub priorities: Vec<(FileIndex, Priority)>,
    /// Ask for pieces in the order of the torrent.
    pub sequential: bool,
    /// When it has been seeded enough. By default as all others: [`SessionBuilder::seeding_goals`](crate::SessionBuilder::seeding_goals).
    pub goals: Option<SeedingGoals>,
}

impl AddTorrentOptions {
    /// Download into `home`, mostly a folder, with peers from the torrent's trackers.
    pub fn new(metainfo: Metainfo, home: impl Into<Home>) -> Self {
        AddTorrentOptions::from(metainfo).at(home)
    }

    /// Reads a torrent file, at once and on this thread.
    ///
    /// # Errors
    /// When it cannot be read, or is no torrent file: both name the path.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TorrentFileError> {
        let path = path.as_ref();
        let read = || {
            let mut bytes = Vec::new();
            // One byte more tells that it is too long.
            File::open(path)?.take(MAX_TORRENT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| TorrentFileError::Read { path: path.to_owned(), source })?;
        AddTorrentOptions::from_bytes(&bytes)
            .map_err(|source| TorrentFileError::Parse { path: path.to_owned(), source })
    }

    /// A torrent file that is in memory.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_bytes(torrent: &[u8]) -> Result<Self, MetainfoError> {
        Ok(AddTorrentOptions::from(Metainfo::parse(torrent)?))
    }

    /// The same with its bytes standing there: in a folder, or any other [`Home`].
    #[must_use]
    pub fn at(mut self, home: impl Into<Home>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// The same with these peers to try at once.
    #[must_use]
    pub fn with_peers(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.peers.extend(peers);
        self
    }
}

impl From<Metainfo> for AddTorrentOptions {
    /// Into the session's home.
    fn from(metainfo: Metainfo) -> Self {
        AddTorrentOptions {
            metainfo,
            hashes: None,
            home: None,
            peers: Vec::new(),
            extra_trackers: Vec::new(),
            check_only: false,
            paused: false,
            resume: None,
            force_check: false,
            priorities: Vec::new(),
            sequential: false,
            goals: None,
        }
    }
}

/// Why a torrent file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TorrentFileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no torrent file.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MetainfoError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_comes_from_a_file_or_from_bytes_and_errors_name_the_file() {
        let bytes = b"d4:infod6:lengthi3e4:name5:a.txt12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.torrent");
        std::fs::write(&path, bytes).unwrap();
        let options = AddTorrentOptions::from_file(&path).unwrap().at("x");
        assert_eq!(options.metainfo, AddTorrentOptions::from_bytes(bytes).unwrap().metainfo);
        assert!(matches!(options.home, Some(Home::Folder(path)) if path == Path::new("x")));
        std::fs::write(&path, b"d4:infodee").unwrap();
        let error = AddTorrentOptions::from_file(&path).unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()) && error.contains("name"), "{error}");
        let error = AddTorrentOptions::from_file(dir.path().join("no")).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
        assert!(AddTorrentOptions::from_file(dir.path()).is_err(), "a folder");
    }
}
