//! Clients of one kind among themselves: one has everything, the others get it.

use crate::measure::{Cost, cpu_of, peak_mib};
use crate::scene::{NO_TRACKER, Shared, difference_in, until_ended};
use crate::warm::warm;
use ::tests::{Client, Job, Outcome, Process, Role, Stage};
use std::net::SocketAddr;

/// Runs one seeder and so many leechers. Who starts later knows all who started before. The cost is that of all together, but for the memory: that is the
/// largest one's.
///
/// # Errors
/// When one of them fails.
pub(crate) fn run(
    stage: &Stage,
    shared: &Shared,
    leechers: usize,
    client: &dyn Client,
    more: &[&str],
) -> Outcome<Cost> {
    let torrent = shared.torrent(stage, NO_TRACKER, "swarm")?;
    let seeder = shared.seed(stage, client, &Job { more, ..Job::new(stage, &torrent, &shared.full, Role::Seeder) })?;
    let seeder_cpu_s = cpu_of(seeder.process.id());
    let mut peers: Vec<SocketAddr> = vec![seeder.listens];
    let mut leeching: Vec<Process> = Vec::new();
    let mut dirs = Vec::new();
    warm(&stage.path(""), leechers * shared.tree.len_bytes())?;
    for i in 0..leechers {
        let dir = stage.folder(&format!("got-{i}"))?;
        let job = Job {
            more,
            peer: peers.first().copied(),
            more_peers: &peers[1..],
            ..Job::new(stage, &torrent, &dir, Role::Leecher)
        };
        let running = client.start(&job)?;
        peers.push(running.listens);
        leeching.push(running.process);
        dirs.push(dir);
    }
    let cost = until_ended(stage, leeching)?;
    dirs.iter().try_for_each(|dir| difference_in(shared, dir, client))?;
    let id = seeder.process.id();
    Ok(Cost { cpu_s: cost.cpu_s + cpu_of(id) - seeder_cpu_s, peak_mib: cost.peak_mib.max(peak_mib(id)), ..cost })
}
