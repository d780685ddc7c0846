//! `sameseed` itself, in the part of any other client.

use crate::{Client, Job, Outcome, Process, Role, Running, free_port, sameseed_binary};
use std::net::SocketAddr;
use std::process::Command;

/// The program under test.
#[derive(Clone, Copy, Debug)]
pub struct Sameseed;

impl Client for Sameseed {
    fn name(&self) -> &'static str {
        "sameseed"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Running> {
        let port = free_port();
        let mut command = Command::new(sameseed_binary());
        command.arg(job.torrent).arg("--dir").arg(job.dir);
        command.args(["--bind", &job.bind.to_string(), "--listen-port", &port.to_string()]);
        if !job.more.contains(&"--log-level") {
            // For whoever reads the log of a test that failed.
            command.args(["--log-level", "debug"]);
        }
        if job.role == Role::Seeder {
            command.arg("--seed");
        }
        if let Some(limit) = job.upload_limit_kib_s {
            command.arg(format!("--max-upload-limit={limit}K"));
        }
        if let Some(limit) = job.download_limit_kib_s {
            command.arg(format!("--max-overall-download-limit={limit}K"));
        }
        for peer in job.peer.iter().chain(job.more_peers) {
            command.args(["--peer", &peer.to_string()]);
        }
        command.args(job.more);
        let process = Process::start(job.stage, &format!("sameseed-{:?}-{}-{port}", job.role, job.bind), command)?;
        Ok(Running { process, listens: SocketAddr::from((job.bind, port)), control: None })
    }

    fn leaves_when_complete(&self) -> bool {
        true
    }
}
