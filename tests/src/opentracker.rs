//! opentracker, the tracker through which the parties of a test find each other: HTTP and UDP on one port.

use crate::client::LOOPBACK;
use crate::{Announce, Outcome, Process, Stage, free_port};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

/// A scrape on loopback is answered at once or not at all.
const SCRAPE_LIMIT: Duration = Duration::from_secs(2);

/// Where the tracker will be, so that a torrent can name it before the tracker, which must know the torrent, is started.
#[derive(Clone, Copy, Debug)]
pub struct TrackerAddress(u16);

impl TrackerAddress {
    /// On a free port.
    pub fn free() -> Self {
        TrackerAddress(free_port())
    }

    /// What the torrent names.
    pub fn url(self, announce: Announce) -> String {
        let scheme = match announce {
            Announce::Http => "http",
            Announce::Udp => "udp",
        };
        format!("{scheme}://{LOOPBACK}:{}/announce", self.0)
    }
}

/// How many peers the tracker knows for a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// Seeders.
    pub complete: u64,
    /// Leechers.
    pub incomplete: u64,
}

/// A running tracker that serves one torrent.
#[derive(Debug)]
pub struct Opentracker {
    address: TrackerAddress,
    info_hash: [u8; 20],
    process: Process,
}

impl Opentracker {
    /// The program that must be there.
    pub const NEEDS: &[&str] = &["opentracker"];

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not start or does not answer.
    pub fn start(stage: &Stage, address: TrackerAddress, info_hash: [u8; 20]) -> Outcome<Opentracker> {
        // Debian's build serves only the torrents on its list. When started by root it changes root to its folder and becomes `nobody`,
        // who must then be able to read the list.
        let dir = stage.folder("opentracker")?;
        let mut list = String::new();
        info_hash.iter().try_for_each(|byte| write!(list, "{byte:02x}"))?;
        fs::write(dir.join("whitelist"), list + "\n")?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(dir.join("whitelist"), fs::Permissions::from_mode(0o644))?;

        let port = address.0.to_string();
        let mut command = Command::new("opentracker");
        command.current_dir(&dir).args(["-i", "127.0.0.1", "-p", &port, "-P", &port, "-u", "nobody"]);
        command.args(["-w", "whitelist", "-d"]).arg(&dir);
        let process = Process::start(stage, "opentracker", command)?;
        let mut tracker = Opentracker { address, info_hash, process };
        stage.deadline().wait_for("opentracker answers", || {
            tracker.process.check_alive()?;
            Ok(tracker.scrape().ok())
        })?;
        Ok(tracker)
    }

    /// Waits until the tracker knows `peers` peers.
    ///
    /// # Errors
    /// When the stage's time is over.
    pub fn wait_for_peers(&self, stage: &Stage, peers: u64) -> Outcome {
        stage.deadline().wait_for(&format!("the tracker knows {peers} peers"), || {
            let scrape = self.scrape()?;
            Ok((scrape.complete + scrape.incomplete >= peers).then_some(()))
        })
    }

    /// Asks how many peers there are (BEP 48).
    ///
    /// # Errors
    /// When there is no answer or not the one that was asked for.
    pub fn scrape(&self) -> Outcome<Scrape> {
        let mut escaped = String::new();
        self.info_hash.iter().try_for_each(|byte| write!(escaped, "%{byte:02x}"))?;
        let mut stream = TcpStream::connect((LOOPBACK, self.address.0))?;
        stream.set_read_timeout(Some(SCRAPE_LIMIT))?;
        write!(stream, "GET /scrape?info_hash={escaped} HTTP/1.0\r\n\r\n")?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let reply = String::from_utf8_lossy(&reply);
        let field = |key: &str| -> Outcome<u64> {
            let (_, rest) = reply.split_once(key).ok_or_else(|| format!("no {key} in the scrape: {reply:?}"))?;
            Ok(rest.split_once('e').ok_or("an integer without its end")?.0.parse()?)
        };
        // No torrent yet is an answer too: an empty dictionary.
        if reply.ends_with("5:filesdee") {
            return Ok(Scrape { complete: 0, incomplete: 0 });
        }
        Ok(Scrape { complete: field("8:completei")?, incomplete: field("10:incompletei")? })
    }
}
