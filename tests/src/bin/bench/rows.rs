//! The rows of the table: what is done, and who is measured doing it.

use ::tests::{Aria2, Client, Libtorrent, Qbittorrent, Rqbit, Sameseed, Transmission, programs};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The leechers, each with the same seeders.
    Download { from: From, seeders: usize, shape: Shape },
    /// Those leechers that can be held to a rate, from the first seeder there is, no faster than this.
    Paced { kib_s: u32 },
    /// The seeders, each with the same leecher.
    Seed { leecher: &'static str },
    /// One seeder and this many leechers, all of one client, who know each other: all of them are measured together.
    Swarm { leechers: usize },
    /// Those leechers that let so many in, each with so many peers in this process, of whom so many send.
    Crowd { peers: u32, senders: u32 },
    /// A check of what is there.
    Recheck,
    /// A torrent of so many files of 1 KiB, until it is seeded.
    Files { files: usize },
    /// So many torrents of 64 KiB that nobody asks for.
    Idle { torrents: usize },
}

/// Who seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// rqbit; when it is not there libtorrent, then aria2c.
    FirstThere,
    /// This one.
    Only(&'static str),
}

/// How the data is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) piece_kib: usize,
    pub(crate) files: usize,
}

/// One file in pieces of 1 MiB, as most rows have it.
pub(crate) const PIECES_1M: Shape = Shape { piece_kib: 1024, files: 1 };
const PIECES_256K: Shape = Shape { piece_kib: 256, files: 1 };
const PIECES_16M: Shape = Shape { piece_kib: 16 * 1024, files: 1 };
const FILES_2000: Shape = Shape { piece_kib: 1024, files: 2000 };

/// Fast, and not ours: the first of them that is there seeds.
const SEEDERS: [&str; 3] = ["rqbit", "libtorrent", "aria2c"];

/// Nine copies of a swarm's data lie in memory, and a crowd has one.
const SMALL_MIB: usize = 512;

const fn download(from: From, seeders: usize, shape: Shape) -> What {
    What::Download { from, seeders, shape }
}

/// All rows, by name.
pub(crate) const ROWS: &[(&str, What)] = &[
    ("download-1m", download(From::FirstThere, 1, PIECES_1M)),
    ("download-1m-libtorrent", download(From::Only("libtorrent"), 1, PIECES_1M)),
    ("download-256k", download(From::FirstThere, 1, PIECES_256K)),
    ("download-8", download(From::Only("libtorrent"), 8, PIECES_1M)),
    ("download-ours", download(From::Only("sameseed"), 1, PIECES_1M)),
    ("download-ours-8", download(From::Only("sameseed"), 8, PIECES_1M)),
    ("download-16m", download(From::FirstThere, 1, PIECES_16M)),
    ("download-2000-files", download(From::FirstThere, 1, FILES_2000)),
    ("seed", What::Seed { leecher: "libtorrent" }),
    ("seed-ours", What::Seed { leecher: "sameseed" }),
    ("swarm-9", What::Swarm { leechers: 8 }),
    ("peers-1", What::Crowd { peers: 1, senders: 1 }),
    ("peers-500", What::Crowd { peers: 500, senders: 50 }),
    ("recheck", What::Recheck),
    ("files-80000", What::Files { files: 80_000 }),
    ("paced", What::Paced { kib_s: 300 * 1024 }),
    ("idle-1000", What::Idle { torrents: 1000 }),
    ("idle-10000", What::Idle { torrents: 10_000 }),
];

const CLIENTS: [&dyn Client; 6] = [&Sameseed, &Aria2, &Libtorrent, &Rqbit, &Transmission, &Qbittorrent];

/// The names of all clients: those that are here, and those that are not.
pub(crate) fn clients() -> (Vec<&'static str>, Vec<&'static str>) {
    let is_here = |client: &&dyn Client| {
        programs::missing(client.needs()).is_empty() && (client.name() != Libtorrent.name() || Libtorrent::is_there())
    };
    let (here, missing): (Vec<&dyn Client>, Vec<&dyn Client>) = CLIENTS.into_iter().partition(is_here);
    let names =
        |clients: Vec<&dyn Client>| -> Vec<&'static str> { clients.iter().map(|client| client.name()).collect() };
    (names(here), names(missing))
}

/// The client of this name.
pub(crate) fn client(name: &str) -> Option<&'static dyn Client> {
    CLIENTS.into_iter().find(|client| client.name() == name)
}

impl From {
    /// The seeder, of those that are here.
    pub(crate) fn among(self, here: &[&'static str]) -> Option<&'static str> {
        match self {
            From::FirstThere => SEEDERS.into_iter().find(|name| here.contains(name)),
            From::Only(name) => here.contains(&name).then_some(name),
        }
    }
}

impl What {
    /// Who stands on the other side, of those that are here.
    ///
    /// # Errors
    /// Who would be needed and is not here.
    pub(crate) fn other_side(self, here: &[&'static str]) -> Result<Option<&'static str>, &'static str> {
        match self {
            What::Download { from: From::Only(name), .. } if !here.contains(&name) => Err(name),
            What::Download { from, .. } => from.among(here).map(Some).ok_or("rqbit, libtorrent or aria2c"),
            // Whoever is held to a rate needs a seeder that keeps up with it.
            What::Paced { .. } => Ok(Some("sameseed")),
            What::Seed { leecher } if !here.contains(&leecher) => Err(leecher),
            What::Seed { leecher } => Ok(Some(leecher)),
            What::Swarm { .. } | What::Crowd { .. } | What::Recheck | What::Files { .. } | What::Idle { .. } => {
                Ok(None)
            }
        }
    }

    /// MiB of one copy of the data, when those of most rows are `size_mib`.
    pub(crate) fn copy_mib(self, size_mib: usize) -> usize {
        match self {
            What::Swarm { .. } | What::Crowd { .. } => size_mib.min(SMALL_MIB),
            _ => size_mib,
        }
    }

    /// MiB that are moved or looked at.
    pub(crate) fn work_mib(self, size_mib: usize) -> f64 {
        match self {
            What::Swarm { leechers } => (leechers * self.copy_mib(size_mib)) as f64,
            What::Files { files } => files as f64 / 1024.0,
            What::Idle { torrents } => torrents as f64 / 16.0,
            _ => self.copy_mib(size_mib) as f64,
        }
    }

    /// Who is measured, of those that are here.
    pub(crate) fn measured(self, here: &[&'static str]) -> Vec<&'static str> {
        let all: &[&str] = match self {
            // Transmission dials nobody on loopback, and of the seeders libtorrent alone dials when it is complete.
            What::Download { from: From::Only("libtorrent"), .. } => {
                &["sameseed", "aria2c", "libtorrent", "rqbit", "qbittorrent-nox", "transmission-daemon"]
            }
            What::Download { .. } => &["sameseed", "aria2c", "libtorrent", "rqbit", "qbittorrent-nox"],
            What::Paced { .. } | What::Seed { .. } => &["sameseed", "aria2c", "libtorrent", "rqbit"],
            What::Swarm { .. } => &["sameseed", "libtorrent", "rqbit"],
            What::Recheck => &["sameseed verify", "sameseed", "aria2c", "libtorrent", "rqbit"],
            // aria2c lets some fifty in, whatever it is told.
            What::Crowd { .. } => &["sameseed", "libtorrent"],
            What::Files { .. } => &["sameseed", "aria2c", "libtorrent"],
            What::Idle { .. } => &["sameseed", "libtorrent", "transmission-daemon"],
        };
        let is_here = |name: &&&'static str| here.iter().any(|there| name.split(' ').next() == Some(there));
        all.iter().filter(is_here).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeder_is_the_first_that_is_there() {
        assert_eq!(From::FirstThere.among(&["sameseed", "aria2c", "libtorrent"]), Some("libtorrent"));
        assert_eq!(From::FirstThere.among(&["sameseed"]), None);
        assert_eq!(From::Only("sameseed").among(&["rqbit"]), None);
    }

    #[test]
    fn who_is_not_there_is_not_measured() {
        assert_eq!(What::Recheck.measured(&["sameseed", "rqbit"]), ["sameseed verify", "sameseed", "rqbit"]);
    }
}
