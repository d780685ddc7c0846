//! `sameseed explain` as its users see it: it runs for a moment, says why nothing comes, and changes nothing it should not.

use serde_json::Value;
use std::process::{Command, Stdio};
use tests::{Outcome, Process, Stage, free_port, noise, sameseed_binary};

/// A torrent file of one small file, and its folder.
fn torrent(stage: &Stage) -> Outcome<std::path::PathBuf> {
    let folder = stage.folder("full")?;
    std::fs::write(folder.join("content"), noise(1, 300_000))?;
    let torrent = stage.path("t.torrent");
    let status =
        Command::new(sameseed_binary()).arg("create").arg(folder.join("content")).arg("-o").arg(&torrent).status()?;
    if status.success() { Ok(torrent) } else { Err("no torrent file".into()) }
}

fn explain(stage: &Stage, args: &[&str]) -> Outcome<String> {
    let torrent = torrent(stage)?;
    let mut command = Command::new(sameseed_binary());
    command.arg("explain").arg(torrent).args(["--after", "1", "--no-resume", "--listen-port", "0", "--dir"]);
    let output = command.arg(stage.folder("empty")?).args(args).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(format!("{:?} {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn who_knows_nobody_is_told_so() -> Outcome {
    Stage::run("explain-nobody", 60, |stage| {
        let text = explain(stage, &[])?;
        let told =
            "  receiving: nobody is known who might have it: there is no tracker, and no peer was named; add one";
        if text.lines().eq(["content", told]) { Ok(()) } else { Err(text.into()) }
    })
}

#[test]
fn programs_read_the_cause_of_a_tracker_that_is_not_there() -> Outcome {
    Stage::run("explain-tracker", 60, |stage| {
        let tracker = format!("http://127.0.0.1:{}/announce", free_port());
        let line = explain(stage, &["--json", "--tracker", &tracker])?;
        let why: Value = serde_json::from_str(&line)?;
        let first = &why["receiving"][0];
        let is_told = first["text"].as_str().is_some_and(|text| text.contains(&tracker) && text.contains("refused"));
        match why["event"] == "explanation" && first["cause"] == "trackers_fail" && is_told {
            true => Ok(()),
            false => Err(line.into()),
        }
    })
}

/// The program with this torrent in that folder, on this port of loopback; it knows a peer on the other.
fn side(stage: &Stage, folder: &str, args: &str, [own, other]: [u16; 2]) -> Command {
    let mut command = Command::new(sameseed_binary());
    command.args(args.split(' ')).arg(stage.path("t.torrent")).arg("--dir").arg(stage.path(folder));
    command.args(["--no-resume", "--bind", "127.0.0.1", "--listen-port", &own.to_string()]);
    command.args(["--peer", &format!("127.0.0.1:{other}")]);
    command
}

/// Explains one side of a download of which the other goes as fast as it may; gives the names and sentences of one direction.
fn explained_limit(direction: &str, explained: [&str; 2], other: [&str; 2]) -> Outcome<String> {
    let mut causes = String::new();
    Stage::run(&format!("explain-{direction}"), 60, |stage| {
        torrent(stage)?;
        let ports = [free_port(), free_port()];
        let _other = Process::start(stage, "other", side(stage, other[0], other[1], ports))?;
        let args = format!("explain --json --after 3 {}", explained[1]);
        let output = side(stage, explained[0], &args, [ports[1], ports[0]]).stdin(Stdio::null()).output()?;
        let why: Value = serde_json::from_slice(&output.stdout)?;
        causes = why[direction].to_string();
        Ok(())
    })?;
    Ok(causes)
}

#[test]
fn a_limit_of_all_torrents_is_heard_each_in_its_direction() -> Outcome {
    let receives = ["empty", "--max-overall-download-limit 8K --max-overall-upload-limit 500M"];
    let receiving = explained_limit("receiving", receives, ["full", "--seed"])?;
    let sends = ["full", "--seed --max-overall-download-limit 500M --max-overall-upload-limit 8K"];
    let sending = explained_limit("sending", sends, ["empty", "--no-config"])?;
    for (causes, name) in [(receiving, r#""down_limit""#), (sending, r#""up_limit""#)] {
        let is_told = causes.contains(name) && causes.contains("the limit of all torrents together on ");
        if !is_told || !causes.contains("8.0 KiB/s") {
            return Err(causes.into());
        }
    }
    Ok(())
}
