//! The program killed with SIGKILL over and over, on a real file system: each start goes on from what is there, and no byte is ever wrong.
//!
//! `SAMESEED_KILL_ROUNDS=200` takes more rounds than an ordinary run.

use serde_json::Value;
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use tests::{
    Deadline, EmptyFiles, Outcome, Process, Stage, Torrent, Tree, TreeFile, difference, free_port, noise,
    sameseed_binary,
};

/// Rounds of an ordinary run.
const ROUNDS: u64 = 10;
/// One round in so many ends in good order.
const CLEAN_EVERY: u64 = 4;
const PIECE_LEN: usize = 64 * 1024;
/// What a crash may cost: what was verified since the last checkpoint.
const MOST_LOST_BYTES: usize = 64 << 20;
/// Far more than one round takes.
const ROUND_S: u64 = 60;

/// Files of odd lengths: pieces lie across their borders, and some files are done while others are not.
fn tree() -> Tree {
    let files = (0..24u64).map(|i| {
        let len_bytes = if i == 7 { 0 } else { 900_001 + 61_337 * i as usize };
        TreeFile { path: vec![format!("file-{i:02}")], bytes: noise(300 + i, len_bytes) }
    });
    Tree { name: "killed".into(), files: files.collect() }
}

struct Loop<'a> {
    stage: &'a Stage,
    tree: Tree,
    torrent: Torrent,
    peer: String,
    dir: PathBuf,
    state: PathBuf,
}

/// What one round told.
#[derive(Debug, Default)]
struct Round {
    /// Pieces that the check found, and how many it had to read for that.
    found: usize,
    hashed: u64,
    fetched: BTreeSet<u64>,
    complete: bool,
}

impl Loop<'_> {
    /// Which pieces are right on disk.
    fn right(&self) -> Outcome<BTreeSet<u64>> {
        let mut all = Vec::with_capacity(self.tree.len_bytes());
        for file in &self.tree.files {
            let path = self.tree.path_in(&self.dir, file);
            let mut bytes = if path.exists() { fs::read(path)? } else { Vec::new() };
            bytes.resize(file.bytes.len(), 0);
            all.append(&mut bytes);
        }
        let pieces = all.chunks(PIECE_LEN).zip(&self.torrent.piece_hashes).zip(0u64..);
        Ok(pieces
            .filter(|((piece, hash), _)| <[u8; 20]>::from(Sha1::digest(piece)) == **hash)
            .map(|(_, n)| n)
            .collect())
    }

    /// Which pieces the resume file claims, read by looking for the key.
    fn claimed(&self) -> Outcome<BTreeSet<u64>> {
        let hex: String = self.torrent.info_hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let Ok(bytes) = fs::read(self.state.join(format!("{hex}.fastresume"))) else { return Ok(BTreeSet::new()) };
        let key = format!("6:pieces{}:", self.torrent.piece_hashes.len());
        let at = bytes.windows(key.len()).position(|window| window == key.as_bytes()).ok_or("no pieces")? + key.len();
        let pieces = bytes.get(at..at + self.torrent.piece_hashes.len()).ok_or("torn")?.iter().zip(0u64..);
        Ok(pieces.filter(|(byte, _)| **byte & 1 == 1).map(|(_, n)| n).collect())
    }

    fn start(&self) -> Outcome<(Child, BufReader<ChildStdout>)> {
        let mut command = Command::new(sameseed_binary());
        command.arg(&self.torrent.path).arg("--dir").arg(&self.dir).arg("--resume-dir").arg(&self.state);
        command.args(["--no-config", "--json", "--bind", "127.0.0.1", "--listen-port", "0", "--peer", &self.peer]);
        let log = fs::File::options().create(true).append(true).open(self.stage.path("leecher.log"))?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        Ok((child, BufReader::new(out)))
    }

    /// Runs until so many pieces came, or all; then ends it with this signal.
    fn round(&self, pieces: u64, signal: &str) -> Outcome<Round> {
        let (mut child, out) = self.start()?;
        let (mut round, mut checked, mut signalled) = (Round::default(), false, false);
        for line in out.lines() {
            // The last line may be torn.
            let Ok(value) = serde_json::from_str::<Value>(&line?) else { break };
            match value["event"].as_str().unwrap_or_default() {
                "status" => round.hashed = value["hashed_pieces"].as_u64().ok_or("no count")?,
                "checked" => {
                    checked = true;
                    round.found = value["have_pieces"].as_u64().ok_or("no count")? as usize;
                }
                "piece_verified" => _ = round.fetched.insert(value["piece"].as_u64().ok_or("no piece")?),
                "complete" => round.complete = true,
                "disk_trouble" | "resume_trouble" | "resume_refused" => return Err(value.to_string().into()),
                _ => {}
            }
            if !signalled && checked && round.fetched.len() as u64 >= pieces {
                signalled = true;
                // It may have ended by itself meanwhile.
                let _ = Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status()?;
            }
        }
        Deadline::in_s(ROUND_S).wait_for("the end of a round", || Ok(child.try_wait()?))?;
        Ok(round)
    }

    fn forget(&self) -> Outcome {
        fs::remove_dir_all(&self.dir)?;
        fs::remove_dir_all(&self.state)?;
        Ok(fs::create_dir(&self.dir)?)
    }
}

/// A number that depends on the round alone.
fn draw(round: u64, below: u64) -> u64 {
    let bytes = noise(9000 + round, 8);
    u64::from_le_bytes(bytes.try_into().unwrap_or_default()) % below
}

fn seeder(stage: &Stage, torrent: &Path, full: &Path) -> Outcome<(Process, String)> {
    let addr = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(sameseed_binary());
    command.arg(torrent).arg("--dir").arg(full).args(["--seed", "--json", "--bind", "127.0.0.1", "--listen-port"]);
    command.arg(addr.rsplit(':').next().unwrap_or_default());
    let mut process = Process::start(stage, "seeder", command)?;
    process.wait_for_line("\"complete\"", stage.deadline())?;
    Ok((process, addr))
}

#[test]
fn a_program_that_is_killed_over_and_over_loses_nothing_that_was_saved_and_no_byte_is_wrong() -> Outcome {
    let rounds = std::env::var("SAMESEED_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    Stage::run("kill_loop", 60 + 20 * rounds, |stage| {
        let (tree, full) = (tree(), stage.folder("full")?);
        tree.write_into(&full)?;
        let torrent = Torrent::write(&tree, PIECE_LEN, "http://127.0.0.1:9/announce", stage.path("t.torrent"))?;
        let (mut seeder, peer) = seeder(stage, &torrent.path, &full)?;
        let (dir, state) = (stage.folder("part")?, stage.folder("state")?);
        let it = Loop { stage, tree, torrent, peer, dir, state };
        let (mut kills, mut completed, mut believed, mut lost, mut most_lost) = (0, 0, 0, 0, 0);
        let mut was_clean = false;
        for n in 0..rounds {
            let before = it.right()?;
            let false_claims: Vec<u64> = it.claimed()?.difference(&before).copied().collect();
            assert!(false_claims.is_empty(), "round {n}: {false_claims:?} are claimed, and not right on disk");
            let clean = n % CLEAN_EVERY == CLEAN_EVERY - 1;
            let round = it.round(draw(n, 150), if clean { "-TERM" } else { "-KILL" })?;
            let again: Vec<u64> = round.fetched.intersection(&before).copied().collect();
            assert!(
                round.found <= before.len(),
                "round {n}: {} are right, {} are said to be",
                before.len(),
                round.found
            );
            let lost_now = again.len().max((before.len() - round.found).min(again.len()));
            (lost, most_lost) = (lost + lost_now, most_lost.max(lost_now));
            assert!(lost_now * PIECE_LEN <= MOST_LOST_BYTES, "round {n}: {lost_now} pieces were fetched again");
            if was_clean && round.found > 0 {
                assert_eq!(
                    (round.found, round.hashed),
                    (before.len(), 0),
                    "round {n}: nothing is read after a clean end"
                );
                believed += 1;
            }
            (kills, was_clean) = (kills + u64::from(!clean && !round.complete), clean && !round.complete);
            if round.complete {
                completed += 1;
                assert_eq!(difference(&it.tree, &it.dir, EmptyFiles::Made), None, "round {n}");
                it.forget()?;
            }
        }
        seeder.check_alive()?;
        let last = it.round(u64::MAX, "-KILL")?;
        assert!(last.complete);
        assert_eq!(difference(&it.tree, &it.dir, EmptyFiles::Made), None);
        println!(
            "{rounds} rounds: {kills} kills, {completed} downloads complete, {believed} starts without reading; fetched \
             again: {lost} pieces of {PIECE_LEN} bytes in all, {most_lost} at most in one round"
        );
        Ok(())
    })
}
