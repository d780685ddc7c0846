//! `--on-complete`: a program of the user's, run once for each torrent that is complete.
//!
//! No shell is asked: the program gets its arguments and environment as they are, so that nothing in a torrent's name can be taken for a
//! command. Whatever it does, the download goes on: it is neither waited for (but a while at the end) nor ever killed, and how it ended is
//! logged.

use super::exit::{Exit, Failure, system_words};
use super::selection::numbered;
use super::text::clean;
use sameseed_core::id::FileIndex;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::selection::Priority;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// So many at a time: thousands of torrents may be complete at once.
const MAX_RUNNING: usize = 8;
/// How long those that still run when all is done are waited for. After that they go on without us.
const WAIT_AT_THE_END: Duration = Duration::from_secs(30);

/// What the program is told of a torrent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    name: String,
    arguments: [OsString; 3],
    environment: Vec<(&'static str, OsString)>,
}

impl Call {
    fn new(metainfo: &Metainfo, dir: &Path, priorities: &[(FileIndex, Priority)]) -> Self {
        let dir = dir.canonicalize().or_else(|_| std::path::absolute(dir)).unwrap_or_else(|_| dir.to_path_buf());
        let is_skipped = |file: FileIndex| priorities.contains(&(file, Priority::Skip));
        let wanted: Vec<_> = numbered(metainfo).filter(|(file, _)| !is_skipped(*file)).collect();
        let on_disk = |path: &[String]| path.iter().fold(dir.clone(), |dir, element| dir.join(element));
        let first: &[String] = wanted.first().map_or(&[], |(_, file)| &file.path);
        let root = metainfo.layout.files().first().map_or(&[][..], |file| file.path.get(..1).unwrap_or_default());
        let info_hash = OsString::from(metainfo.info_hash.to_hex());
        let files = OsString::from(wanted.len().to_string());
        let bytes: u64 = wanted.iter().map(|(_, file)| file.len).sum();
        Call {
            name: metainfo.name.clone(),
            arguments: [info_hash.clone(), files.clone(), on_disk(first).into()],
            environment: vec![
                ("SAMESEED_INFO_HASH", info_hash),
                ("SAMESEED_NAME", OsString::from(&metainfo.name)),
                ("SAMESEED_DIR", dir.clone().into()),
                ("SAMESEED_PATH", on_disk(root).into()),
                ("SAMESEED_FILES", files),
                ("SAMESEED_BYTES", bytes.to_string().into()),
            ],
        }
    }
}

/// The program and its runs. Belongs to one runtime.
#[derive(Debug)]
pub(crate) struct Hooks {
    program: Option<PathBuf>,
    waiting: VecDeque<Call>,
    running: JoinSet<()>,
}

impl Hooks {
    /// Looks for the program at once, rather than when a long download is complete. Without one nothing is ever run.
    pub(crate) fn new(program: Option<&Path>) -> Result<Self, Failure> {
        let program = program.map(|program| {
            find(program).ok_or_else(|| {
                let what = "there is no such program; it is one program without arguments, a script for instance";
                Failure::new(Exit::Usage, format!("--on-complete {}: {what}", program.display()))
            })
        });
        Ok(Hooks { program: program.transpose()?, waiting: VecDeque::new(), running: JoinSet::new() })
    }

    /// What the program will be told of a torrent that goes to `dir`, without the files that are skipped.
    pub(crate) fn prepare(
        &self,
        metainfo: &Metainfo,
        dir: &Path,
        priorities: &[(FileIndex, Priority)],
    ) -> Option<Call> {
        self.program.as_ref().map(|_| Call::new(metainfo, dir, priorities))
    }

    /// Runs it for a torrent that is complete, now or when there is a place. `downloaded` is false when everything was there before.
    pub(crate) fn call(&mut self, mut call: Call, downloaded: bool) {
        call.environment.push(("SAMESEED_DOWNLOADED", u8::from(downloaded).to_string().into()));
        self.waiting.push_back(call);
        self.begin();
    }

    fn begin(&mut self) {
        let Some(program) = &self.program else { return };
        while self.running.len() < MAX_RUNNING
            && let Some(call) = self.waiting.pop_front()
        {
            self.running.spawn(run(program.clone(), call));
        }
    }

    /// Waits until one has ended, and begins the next. Without any it waits for ever. Giving the future up loses nothing.
    pub(crate) async fn next(&mut self) {
        match self.running.join_next().await {
            Some(_) => self.begin(),
            None => pending().await,
        }
    }

    /// Waits for all of them, but not for ever.
    pub(crate) async fn finish(&mut self) {
        let all = async {
            while !self.running.is_empty() {
                self.next().await;
            }
        };
        let _ = timeout(WAIT_AT_THE_END, all).await;
    }

    /// Says what is left to itself, or was never run.
    pub(crate) fn leave(mut self) {
        let Some(program) = &self.program else { return };
        let program = program.display();
        if !self.running.is_empty() {
            tracing::warn!(%program, "the program of --on-complete still runs for {}, and is left to itself", torrents(self.running.len()));
            self.running.detach_all();
        }
        if !self.waiting.is_empty() {
            let names: Vec<String> = self.waiting.iter().map(|call| clean(&call.name)).collect();
            let names = names.join(", ");
            tracing::warn!(%program, %names, "the program of --on-complete was not run for {}", torrents(self.waiting.len()));
        }
    }
}

fn torrents(count: usize) -> String {
    super::text::count(count as u64, "torrent")
}

/// Runs it to its end and logs that.
async fn run(program: PathBuf, call: Call) {
    let mut command = Command::new(&program);
    command.args(&call.arguments).envs(call.environment).stdin(Stdio::null()).stdout(io::stderr());
    // Ctrl-C is for us, not for what it has begun.
    #[cfg(unix)]
    command.process_group(0);
    let (torrent, program) = (clean(&call.name), program.display());
    match status(command).await {
        Ok(status) if status.success() => tracing::info!(%torrent, %program, "the program of --on-complete is done"),
        Ok(status) => tracing::warn!(%torrent, %program, "the program of --on-complete has failed: {status}"),
        Err(error) => {
            tracing::warn!(%torrent, %program, "the program of --on-complete cannot be run: {}", system_words(&error));
        }
    }
}

async fn status(mut command: Command) -> io::Result<std::process::ExitStatus> {
    command.spawn()?.wait().await
}

/// As a shell would find it: by its path, or by its name in one of the folders of `PATH`.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 || program.has_root() {
        return std::path::absolute(program).ok().filter(|path| is_program(path));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && is_executable(&found))
}

#[cfg(unix)]
fn is_executable(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    found.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_path_or_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert_eq!(find(&script), None, "it cannot be run");
        assert!(find(Path::new("sh")).is_some_and(|path| path.is_absolute()));
        for wrong in ["", "no-such-program-anywhere", "sh -c true", "/", ".", "/tmp"] {
            assert_eq!(find(Path::new(wrong)), None, "{wrong}");
        }
        let what = Hooks::new(Some(Path::new("rm -rf /"))).unwrap_err();
        assert_eq!(what.exit, Exit::Usage);
    }

    #[test]
    fn a_call_tells_of_the_files_that_were_wanted() {
        let torrent = b"d4:infod5:filesld6:lengthi9e4:pathl1:aeed6:lengthi7e4:pathl1:d1:beed6:lengthi5e4:pathl1:ceee\
            4:name1:t12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
        let metainfo = Metainfo::parse(torrent).unwrap();
        let call = Call::new(&metainfo, Path::new("/"), &[(FileIndex(0), Priority::Skip)]);
        assert_eq!(call.arguments[1..], ["2", "/t/d/b"]);
        let value = |name: &str| call.environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
        assert_eq!(value("SAMESEED_PATH"), Some("/t".into()));
        assert_eq!(value("SAMESEED_BYTES"), Some("12".into()));
        assert_eq!(value("SAMESEED_INFO_HASH"), Some(call.arguments[0].clone()));
    }
}
