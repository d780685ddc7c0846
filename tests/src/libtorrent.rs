//! libtorrent (rasterbar), driven by a few lines of Python.

use crate::client::LOOPBACK;
use crate::{Client, Job, Outcome, Process, Role, Running, Stage, free_port};
use std::net::SocketAddr;
use std::path::Path;
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

    /// The script's command line; what its roles are stands at its head.
    ///
    /// # Errors
    /// When the script cannot be written to the stage.
    pub fn command(stage: &Stage, role: &str, torrent: &Path, dir: &Path, port: u16) -> Outcome<Command> {
        // By another name: Python looks for modules beside the script first.
        let script = stage.path("client.py");
        std::fs::write(&script, include_str!("libtorrent.py"))?;
        let mut command = Command::new("python3");
        command.arg(&script).arg(role).arg(torrent).arg(dir).arg(port.to_string());
        Ok(command)
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
        let mut command = Libtorrent::command(job.stage, role, job.torrent, job.dir, port)?;
        command.args(job.peer.iter().chain(job.more_peers).map(|peer| peer.port().to_string()));
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
