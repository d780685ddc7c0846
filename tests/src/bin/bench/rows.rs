//! The rows of the table: who does what, and who is measured.

use crate::measure::{Cost, cpu_of, cpu_of_ended_children, peak_mib};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::{
    Aria2, Client, EmptyFiles, HttpTracker, Job, Libtorrent, Outcome, Role, Rqbit, Sameseed, Stage, Torrent, Tree,
    difference, programs, sameseed_binary,
};

/// Between two looks at a process.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Longer than any run takes.
const LIMIT_S: u64 = 300;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The leechers, each with the same seeder.
    Download { seeder: &'static str, piece_kib: usize },
    /// The seeders, each with the same leecher.
    Seed { leecher: &'static str, piece_kib: usize },
    /// A check of what is there.
    Check,
}

/// All rows, by name.
pub(crate) const ROWS: &[(&str, What)] = &[
    ("download-rqbit", What::Download { seeder: "rqbit", piece_kib: 1024 }),
    ("download-rqbit-256k", What::Download { seeder: "rqbit", piece_kib: 256 }),
    ("download-libtorrent", What::Download { seeder: "libtorrent", piece_kib: 1024 }),
    ("download-aria2c", What::Download { seeder: "aria2c", piece_kib: 1024 }),
    ("download-sameseed", What::Download { seeder: "sameseed", piece_kib: 1024 }),
    ("download-sameseed-16m", What::Download { seeder: "sameseed", piece_kib: 16 * 1024 }),
    ("seed-libtorrent", What::Seed { leecher: "libtorrent", piece_kib: 1024 }),
    ("seed-sameseed", What::Seed { leecher: "sameseed", piece_kib: 1024 }),
    ("check", What::Check),
];

const CLIENTS: [&dyn Client; 4] = [&Sameseed, &Aria2, &Libtorrent, &Rqbit];

/// The names of all clients, those that are here first.
pub(crate) fn clients() -> (Vec<&'static str>, Vec<&'static str>) {
    let is_here = |client: &&dyn Client| {
        programs::missing(client.needs()).is_empty() && (client.name() != Libtorrent.name() || Libtorrent::is_there())
    };
    let (here, missing): (Vec<&dyn Client>, Vec<&dyn Client>) = CLIENTS.into_iter().partition(is_here);
    (here.iter().map(|client| client.name()).collect(), missing.iter().map(|client| client.name()).collect())
}

fn client(name: &str) -> &'static dyn Client {
    CLIENTS.into_iter().find(|client| client.name() == name).unwrap_or(&Sameseed)
}

/// The data, and where everything happens.
pub(crate) struct Scene {
    /// On a file system in memory, if there is one.
    pub(crate) dir: PathBuf,
    /// What is shared.
    pub(crate) tree: Tree,
    /// Given to every `sameseed`.
    pub(crate) more: Vec<String>,
}

impl Scene {
    /// Runs a row once with one client.
    ///
    /// # Errors
    /// When somebody fails, or what was downloaded is not what was shared.
    pub(crate) fn run(&self, what: What, measured: &str) -> Outcome<Cost> {
        let mut cost = Cost::default();
        Stage::run_in(&self.dir.join("stage"), LIMIT_S, |stage| {
            cost = match what {
                What::Download { seeder, piece_kib } => {
                    self.transfer(stage, seeder, measured, piece_kib, Role::Leecher)
                }
                What::Seed { leecher, piece_kib } => self.transfer(stage, measured, leecher, piece_kib, Role::Seeder),
                What::Check => self.check(stage),
            }?;
            Ok(())
        })?;
        Ok(cost)
    }

    /// A seeder and a leecher, of whom one is measured.
    fn transfer(&self, stage: &Stage, seeder: &str, leecher: &str, piece_kib: usize, measured: Role) -> Outcome<Cost> {
        let (seeder, leecher) = (client(seeder), client(leecher));
        let ours: Vec<&str> = ["--log-level", "warn"].into_iter().chain(self.more.iter().map(String::as_str)).collect();
        // Logs that tests want cost time.
        let more_for = |client: &dyn Client| match client.name() {
            "sameseed" => &ours[..],
            "aria2c" => &["--console-log-level=error"],
            _ => &[],
        };
        // Nobody answers there: the seeder waits for whoever comes.
        let seeders = self.torrent(stage, piece_kib, "http://127.0.0.1:9/announce", "seeder")?;
        let full = self.dir.join("full");
        let job = Job { more: more_for(seeder), ..Job::new(stage, &seeders, &full, Role::Seeder) };
        let mut seeding = seeder.start(&job)?;
        stage.deadline().wait_for("the seeder listens", || {
            seeding.process.check_alive()?;
            Ok(std::net::TcpStream::connect(seeding.listens).ok())
        })?;
        // It may have to look at its data first.
        settle(seeding.process.id());
        let tracker = HttpTracker::honest(&[seeding.listens])?;
        let leechers = self.torrent(stage, piece_kib, &tracker.url(), "leecher")?;
        let dir = stage.folder("got")?;
        let before = (cpu_of(seeding.process.id()), cpu_of_ended_children());
        let start = now();
        let job = Job {
            more: more_for(leecher),
            peer: Some(seeding.listens),
            ..Job::new(stage, &leechers, &dir, Role::Leecher)
        };
        let mut leeching = leecher.start(&job)?;
        let mut peak = 0.0;
        let status = loop {
            peak = peak_mib(leeching.process.id()).max(peak);
            if let Some(status) = leeching.process.try_wait()? {
                break status;
            }
            if stage.deadline().is_over() {
                return Err(format!("{} is not done in time", leecher.name()).into());
            }
            std::thread::sleep(LOOK_AGAIN);
        };
        let wall_s = start.elapsed().as_secs_f64();
        if !status.success() {
            return Err(format!("{}: {status}", leecher.name()).into());
        }
        if let Some(difference) = difference(&self.tree, &dir, EmptyFiles::Optional) {
            return Err(format!("{}: {difference}", leecher.name()).into());
        }
        Ok(match measured {
            Role::Leecher => Cost { wall_s, cpu_s: cpu_of_ended_children() - before.1, peak_mib: peak },
            Role::Seeder => {
                let id = seeding.process.id();
                Cost { wall_s, cpu_s: cpu_of(id) - before.0, peak_mib: peak_mib(id) }
            }
        })
    }

    /// `sameseed verify`.
    fn check(&self, stage: &Stage) -> Outcome<Cost> {
        let torrent = self.torrent(stage, 1024, "http://127.0.0.1:9/announce", "check")?;
        let mut command = std::process::Command::new(sameseed_binary());
        command.arg("verify").args(&self.more).arg(torrent).arg("--dir").arg(self.dir.join("full"));
        let (start, before) = (now(), cpu_of_ended_children());
        let mut child = command.stdout(std::process::Stdio::null()).spawn()?;
        let mut peak = 0.0;
        let status = loop {
            peak = peak_mib(child.id()).max(peak);
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::sleep(LOOK_AGAIN);
        };
        if !status.success() {
            return Err(format!("verify: {status}").into());
        }
        let wall_s = start.elapsed().as_secs_f64();
        Ok(Cost { wall_s, cpu_s: cpu_of_ended_children() - before, peak_mib: peak })
    }

    fn torrent(&self, stage: &Stage, piece_kib: usize, announce: &str, name: &str) -> Outcome<PathBuf> {
        let path = stage.path(format!("{name}.torrent"));
        Ok(Torrent::write(&self.tree, piece_kib << 10, announce, path)?.path)
    }

    /// Whether what a row needs is here.
    pub(crate) fn lacks(what: What, here: &[&str]) -> Option<&'static str> {
        let needed = match what {
            What::Download { seeder, .. } => seeder,
            What::Seed { leecher, .. } => leecher,
            What::Check => Sameseed.name(),
        };
        (!here.contains(&needed)).then_some(needed)
    }
}

/// Who is measured in a row, of those that are here.
pub(crate) fn measured(what: What, here: &[&'static str]) -> Vec<&'static str> {
    match what {
        What::Check => vec![Sameseed.name()],
        _ => here.to_vec(),
    }
}

/// Waits until a process does nothing for a moment.
fn settle(process: u32) {
    loop {
        let before = cpu_of(process);
        std::thread::sleep(Duration::from_millis(300));
        if cpu_of(process) - before < 0.02 {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn now() -> Instant {
    Instant::now()
}

/// Removes what an interrupted run has left, and makes the data.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn prepare(dir: &Path, tree: &Tree) -> Outcome {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    tree.write_into(&dir.join("full"))
}
