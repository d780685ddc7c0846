//! libtorrent (rasterbar), driven by a few lines of Python.

use crate::client::LOOPBACK;
use crate::{Client, Job, Outcome, Process, Role, Running, free_port};
use std::net::SocketAddr;
use std::process::Command;

/// Its Python binding, 2.x, of PyPI or Debian.
#[derive(Clone, Copy, Debug)]
pub struct Libtorrent;

impl Libtorrent {
    /// Whether Python finds it.
    pub fn is_there() -> bool {
        let output = Command::new("python3").args(["-c", "import libtorrent"]).output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Client for Libtorrent {
    fn name(&self) -> &'static str {
        "libtorrent"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["python3"]
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Running> {
        let port = free_port();
        let role = if job.role == Role::Seeder { "seed" } else { "leech" };
        // By another name: Python looks for modules beside the script first.
        let script = job.stage.path("client.py");
        std::fs::write(&script, include_str!("libtorrent.py"))?;
        let mut command = Command::new("python3");
        command.arg(&script).arg(role).arg(job.torrent).arg(job.dir).arg(port.to_string());
        command.args(job.peer.map(|peer| peer.port().to_string()));
        let mut process = Process::start(job.stage, &format!("libtorrent-{role}-{port}"), command)?;
        if job.role == Role::Seeder {
            process.wait_for_line("ready", job.stage.deadline())?;
        }
        Ok(Running { process, listens: SocketAddr::from((LOOPBACK, port)), control: None })
    }

    fn leaves_when_complete(&self) -> bool {
        true
    }
}
