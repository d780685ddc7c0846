//! The folder of one test and the limit it runs under.
//!
//! Every process of the test logs into it, so that a failure can show the tail of every log. It goes when the test has passed and stays
//! when it has failed.

use crate::{Deadline, Outcome};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of each log a failure shows: some forty lines.
const TAIL_BYTES: u64 = 4096;

/// Where one test plays.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    deadline: Deadline,
}

impl Stage {
    /// Runs `play` on an empty stage called `name`.
    ///
    /// # Errors
    /// What `play` fails with, together with the tail of every log.
    pub fn run(name: &str, limit_s: u64, play: impl FnOnce(&Stage) -> Outcome) -> Outcome {
        let dir = crate::target_dir().0.join("tmp").join("stages").join(format!("{name}.{}", std::process::id()));
        Stage::run_in(&dir, limit_s, play)
    }

    /// The same in this folder, which is emptied before.
    ///
    /// # Errors
    /// What `play` fails with, together with the tail of every log.
    pub fn run_in(dir: &Path, limit_s: u64, play: impl FnOnce(&Stage) -> Outcome) -> Outcome {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        // Built before time counts.
        crate::sameseed_binary();
        let stage = Stage { dir: dir.to_path_buf(), deadline: Deadline::in_s(limit_s) };
        match play(&stage) {
            Ok(()) => Ok(fs::remove_dir_all(&stage.dir)?),
            Err(error) => Err(format!("{error}\nkept in {}\n{}", stage.dir.display(), stage.log_tails()).into()),
        }
    }

    /// The limit of the whole test.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// A path in the test's folder; nothing is created.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// A fresh folder in the test's folder.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn folder(&self, name: &str) -> Outcome<PathBuf> {
        let folder = self.path(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    fn log_tails(&self) -> String {
        let Ok(entries) = fs::read_dir(&self.dir) else { return String::new() };
        let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        logs.iter().map(|log| format!("--- {} ---\n{}\n", log.display(), tail(log))).collect()
    }
}

fn tail(path: &Path) -> String {
    let read = || {
        let mut file = fs::File::open(path)?;
        let len_bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(len_bytes.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(unreadable: {error})"))
}
