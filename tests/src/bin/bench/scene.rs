//! Where the rows are played: the data, the other side, and a look at who is measured until it ends.

use crate::measure::{Cost, cpu_of, cpu_of_ended_children, now, peak_mib};
use crate::rows::{PIECES_1M, Shape, What, client};
use crate::staying::until_written;
use crate::warm::warm;
use ::tests::{
    Client, EmptyFiles, HttpTracker, Job, Outcome, Process, Role, Running, Stage, Torrent, Tree, TreeFile, difference,
    noise, sameseed_binary,
};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at a process.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Longer than any run takes.
const LIMIT_S: u64 = 600;
/// Nobody answers there: a seeder waits for whoever comes.
pub(crate) const NO_TRACKER: &str = "http://127.0.0.1:9/announce";

/// The data, and where everything happens.
pub(crate) struct Scene {
    /// A folder of our own, on a file system in memory if there is one.
    pub(crate) dir: PathBuf,
    /// Of the shared data.
    pub(crate) size_mib: usize,
    /// Given to every `sameseed` that downloads, seeds or checks at its start.
    pub(crate) more: Vec<String>,
}

/// Data that is shared, and where it lies.
pub(crate) struct Shared {
    pub(crate) tree: Tree,
    pub(crate) full: PathBuf,
    piece_kib: usize,
}

impl Scene {
    /// Runs a row once with one client.
    ///
    /// # Errors
    /// When somebody fails, or what was downloaded is not what was shared.
    pub(crate) fn run(&self, what: What, other: Option<&str>, measured: &str) -> Outcome<Cost> {
        // It may have to be built, which is not what is measured.
        sameseed_binary();
        let mut cost = Cost::default();
        Stage::run_in(&self.dir.join("stage"), LIMIT_S, |stage| {
            let other = other.and_then(client);
            let lone = client(measured);
            let shared = |shape| self.shared(shape, what.copy_mib(self.size_mib));
            cost = match (what, other, lone) {
                (What::Download { seeders, shape, .. }, Some(seeder), Some(leecher)) => {
                    self.transfer(stage, &shared(shape)?, (seeder, seeders), leecher, None, Role::Leecher)?
                }
                (What::Paced { kib_s }, Some(seeder), Some(leecher)) => {
                    let shared = shared(PIECES_1M)?;
                    self.transfer(stage, &shared, (seeder, 1), leecher, Some(kib_s), Role::Leecher)?
                }
                (What::Seed { .. }, Some(leecher), Some(seeder)) => {
                    let shared = shared(PIECES_1M)?;
                    self.transfer(stage, &shared, (seeder, 1), leecher, None, Role::Seeder)?
                }
                (What::Recheck, ..) => {
                    let shared = shared(PIECES_1M)?;
                    let torrent = shared.torrent(stage, NO_TRACKER, "check")?;
                    let command = crate::recheck::command(stage, measured, &torrent, &shared.full, &self.more)?;
                    until_ended(stage, vec![Process::start(stage, "check", command)?])?
                }
                (What::Swarm { leechers }, _, Some(client)) => {
                    crate::swarm::run(stage, &shared(PIECES_1M)?, leechers, client, &self.more_for(client))?
                }
                (What::Crowd { peers, senders }, _, Some(client)) => {
                    crate::crowd::run(stage, &shared(PIECES_1M)?, peers, senders, client)?
                }
                (What::Files { files }, ..) => crate::ready::run(stage, &self.dir, files, measured)?,
                (What::Idle { torrents }, ..) => crate::idle::run(stage, &self.dir, torrents, measured)?,
                _ => return Err(format!("{measured} has no part in {what:?}").into()),
            };
            Ok(())
        })?;
        Ok(cost)
    }

    /// The data in this shape; it is made once and then lies there.
    fn shared(&self, shape: Shape, size_mib: usize) -> Outcome<Shared> {
        let len_bytes = (size_mib << 20) / shape.files;
        let tree = if shape.files == 1 {
            Tree::single(len_bytes)
        } else {
            let file = |i: u64| TreeFile { path: vec![format!("{i:06}.bin")], bytes: noise(i, len_bytes) };
            Tree { name: "many files".into(), files: (0..shape.files as u64).map(file).collect() }
        };
        let full = self.dir.join(format!("full-{}-{size_mib}", shape.files));
        if !full.exists() {
            tree.write_into(&full)?;
        }
        Ok(Shared { tree, full, piece_kib: shape.piece_kib })
    }

    /// What a client is told besides: logs that tests want cost time.
    fn more_for(&self, client: &dyn Client) -> Vec<&str> {
        match client.name() {
            "sameseed" => ["--log-level", "warn"].into_iter().chain(self.more.iter().map(String::as_str)).collect(),
            "aria2c" => vec!["--console-log-level=error"],
            "transmission-daemon" => vec!["--log-error"],
            _ => Vec::new(),
        }
    }

    /// Seeders and a leecher, of whom one side is measured.
    fn transfer(
        &self,
        stage: &Stage,
        shared: &Shared,
        (seeder, seeders): (&dyn Client, usize),
        leecher: &dyn Client,
        upload_limit_kib_s: Option<u32>,
        measured: Role,
    ) -> Outcome<Cost> {
        if !leecher.dials_loopback() {
            return self.transfer_by_seeders(stage, shared, (seeder, seeders), leecher);
        }
        let torrent = shared.torrent(stage, NO_TRACKER, "seeder")?;
        let more = self.more_for(seeder);
        let job = Job { more: &more, upload_limit_kib_s, ..Job::new(stage, &torrent, &shared.full, Role::Seeder) };
        let seeding = (0..seeders).map(|_| shared.seed(stage, seeder, &job)).collect::<Outcome<Vec<Running>>>()?;
        let peers: Vec<SocketAddr> = seeding.iter().map(|one| one.listens).collect();
        let tracker = HttpTracker::honest(&peers)?;
        let torrent = shared.torrent(stage, &tracker.url(), "leecher")?;
        let dir = stage.folder("got")?;
        let seeder_cpu_s = cpu_of(seeding[0].process.id());
        let more = self.more_for(leecher);
        let job = Job {
            more: &more,
            peer: peers.first().copied(),
            more_peers: &peers[1..],
            ..Job::new(stage, &torrent, &dir, Role::Leecher)
        };
        warm(&self.dir, shared.tree.len_bytes())?;
        let process = leecher.start(&job)?.process;
        let cost = if leecher.leaves_when_complete() {
            until_ended(stage, vec![process])?
        } else {
            until_written(stage, process, shared, &dir)?
        };
        difference_in(shared, &dir, leecher)?;
        let id = seeding[0].process.id();
        Ok(match measured {
            Role::Leecher => cost,
            Role::Seeder => Cost { cpu_s: cpu_of(id) - seeder_cpu_s, peak_mib: peak_mib(id), ..cost },
        })
    }

    /// The same to a leecher that waits to be dialled. It is what is measured.
    fn transfer_by_seeders(
        &self,
        stage: &Stage,
        shared: &Shared,
        (seeder, seeders): (&dyn Client, usize),
        leecher: &dyn Client,
    ) -> Outcome<Cost> {
        let torrent = shared.torrent(stage, NO_TRACKER, "both")?;
        let dir = stage.folder("got")?;
        let more = self.more_for(leecher);
        let leeching = leecher.start(&Job { more: &more, ..Job::new(stage, &torrent, &dir, Role::Leecher) })?;
        let more = self.more_for(seeder);
        let peer = Some(leeching.listens);
        let job = Job { more: &more, peer, ..Job::new(stage, &torrent, &shared.full, Role::Seeder) };
        warm(&self.dir, shared.tree.len_bytes())?;
        let _seeding = (0..seeders).map(|_| seeder.start(&job)).collect::<Outcome<Vec<Running>>>()?;
        let cost = until_written(stage, leeching.process, shared, &dir)?;
        difference_in(shared, &dir, leecher)?;
        Ok(cost)
    }
}

impl Shared {
    /// The torrent, with this tracker.
    pub(crate) fn write_torrent(&self, stage: &Stage, announce: &str, name: &str) -> Outcome<Torrent> {
        Torrent::write(&self.tree, self.piece_kib << 10, announce, stage.path(format!("{name}.torrent")))
    }

    /// Its path.
    pub(crate) fn torrent(&self, stage: &Stage, announce: &str, name: &str) -> Outcome<PathBuf> {
        Ok(self.write_torrent(stage, announce, name)?.path)
    }

    /// Starts a seeder and waits until it is ready.
    pub(crate) fn seed(&self, stage: &Stage, seeder: &dyn Client, job: &Job<'_>) -> Outcome<Running> {
        let mut seeding = seeder.start(job)?;
        stage.deadline().wait_for("the seeder listens", || {
            seeding.process.check_alive()?;
            Ok(TcpStream::connect(seeding.listens).ok())
        })?;
        // It may have to look at its data first.
        settle(seeding.process.id());
        Ok(seeding)
    }
}

/// Wants that all of it is in a folder.
///
/// # Errors
/// The first difference.
pub(crate) fn difference_in(shared: &Shared, dir: &Path, client: &dyn Client) -> Outcome {
    match difference(&shared.tree, dir, EmptyFiles::Optional) {
        Some(difference) => Err(format!("{}: {difference}", client.name()).into()),
        None => Ok(()),
    }
}

/// Watches processes that were just started until all have ended well. No other child ends meanwhile, so what ended children have cost more is their cost;
/// the memory is that of the largest.
///
/// # Errors
/// When one of them fails.
pub(crate) fn until_ended(stage: &Stage, mut processes: Vec<Process>) -> Outcome<Cost> {
    let (start, before) = (now(), cpu_of_ended_children());
    let mut peak = 0.0;
    while !processes.is_empty() {
        let mut running = Vec::new();
        for mut process in processes {
            peak = peak_mib(process.id()).max(peak);
            match process.try_wait()? {
                None => running.push(process),
                Some(status) if !status.success() => return Err(format!("it ended with {status}").into()),
                Some(_) => {}
            }
        }
        if stage.deadline().is_over() {
            return Err("it is not done in time".into());
        }
        processes = running;
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(Cost { wall_s: start.elapsed().as_secs_f64(), cpu_s: cpu_of_ended_children() - before, peak_mib: peak })
}

/// Waits until a process does nothing for a moment.
pub(crate) fn settle(process: u32) {
    loop {
        let before = cpu_of(process);
        std::thread::sleep(Duration::from_millis(300));
        if cpu_of(process) - before < 0.02 {
            return;
        }
    }
}

/// A fresh folder of our own in `base`. Whatever else lies there is left alone.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn own_folder(base: &Path) -> Outcome<PathBuf> {
    let dir = base.join(format!("sameseed-bench.{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}
