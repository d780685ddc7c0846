//! What is said to be safe would survive a crash: seen from outside, in the order of the system calls that `strace` shows.
//!
//! No crash is tried here: what a kernel has not written yet nobody can take from it in a test.

use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use tests::{
    EmptyFiles, Outcome, Process, Stage, Torrent, Tree, TreeFile, difference, free_port, noise, programs,
    sameseed_binary,
};

/// Far more than it takes.
const LIMIT_S: u64 = 60;
const PIECE_LEN_BYTES: usize = 64 * 1024;
/// What writes, makes names, and brings to stable storage; some are called otherwise on some processors.
const CALLS: &str = "trace=fsync,fdatasync,openat,/mkdir,/rename,/write";

fn main() {
    let rows = [
        row("a_download_is_safe_before_it_is_complete_and_its_resume_data_before_it_has_its_name", download),
        row("a_torrent_file_is_safe_before_it_has_its_name", create),
    ];
    libtest_mimic::run(&Arguments::from_args(), rows.into()).exit();
}

/// Ignored where nothing can be traced; that `strace` is missing may count as a failure.
fn row(name: &'static str, play: fn(&Stage) -> Outcome) -> Trial {
    let without = |reason: &'static str, is_ignored| {
        Trial::test(name, move || Err(Failed::from(reason))).with_kind(reason).with_ignored_flag(is_ignored)
    };
    if !programs::missing(&["strace"]).is_empty() {
        return without("not installed: strace", !programs::required());
    }
    let traced = Command::new("strace").args(["-f", "-y", "-e", CALLS, "-o", "/dev/null", "true"]).output();
    if !traced.is_ok_and(|output| output.status.success()) {
        return without("nothing may be traced here", true);
    }
    Trial::test(name, move || Stage::run(name, LIMIT_S, play).map_err(Failed::from))
}

/// One system call, and the lines of the log in which it begins and ends.
#[derive(Debug)]
struct Call {
    text: String,
    begins: usize,
    ends: usize,
}

impl Call {
    /// Whether its name is one of these, and this stands among its arguments. A file descriptor is shown with its `<path>`.
    fn is(&self, names: &[&str], args: &str) -> bool {
        self.text.split_once('(').is_some_and(|(name, rest)| names.contains(&name) && rest.contains(args))
    }

    /// Whether it makes an entry of this name, given as the program gives it.
    fn makes(&self, name: &str) -> bool {
        let name = format!("\"{name}\"");
        self.is(&["mkdir", "mkdirat"], &name) || self.is(&["openat"], &name) && self.text.contains("O_CREAT")
    }
}

/// The calls of one run, in the order of their beginnings.
struct Calls(Vec<Call>);

impl Calls {
    /// Runs the program to its good end.
    fn of(stage: &Stage, args: &[&str]) -> Outcome<Calls> {
        let log = stage.path("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-s", "64", "-e", CALLS, "-o"]).arg(&log).arg(sameseed_binary()).args(args);
        let output = command.current_dir(stage.path("")).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(Calls::read(&String::from_utf8_lossy(&std::fs::read(log)?)))
    }

    /// Each line is `THREAD NAME(ARGS) = RESULT`; a call during which another thread has its say is told in two.
    fn read(log: &str) -> Calls {
        let mut calls: Vec<Call> = Vec::new();
        let mut open = BTreeMap::new();
        for (at, line) in log.lines().enumerate() {
            let Some((thread, text)) = line.split_once(' ') else { continue };
            let text = text.trim_start();
            if text.starts_with("<... ") {
                if let Some(call) = open.remove(thread).and_then(|call: usize| calls.get_mut(call)) {
                    call.ends = at;
                }
            } else if text.ends_with("<unfinished ...>") {
                open.insert(thread, calls.len());
                calls.push(Call { text: text.into(), begins: at, ends: usize::MAX });
            } else {
                calls.push(Call { text: text.into(), begins: at, ends: at });
            }
        }
        Calls(calls)
    }

    fn first(&self, what: &str, is_it: impl Fn(&Call) -> bool) -> Outcome<&Call> {
        self.0.iter().find(|call| is_it(call)).ok_or_else(|| format!("never: {what}").into())
    }

    /// What ends with this path must be brought to stable storage between two lines.
    fn check_synced(&self, path: &str, from: usize, to: usize) -> Outcome {
        let target = format!("/{path}>");
        let is_synced = |call: &Call| call.is(&["fsync", "fdatasync"], &target) && from < call.begins && call.ends < to;
        self.first(&format!("{path} synced between lines {from} and {to}"), is_synced).map(drop)
    }

    /// The entry `name` of a folder must be brought to stable storage before a line.
    fn check_entry(&self, folder: &str, name: &str, to: usize) -> Outcome {
        let made = self.first(&format!("{name} made"), |call| call.makes(name))?;
        self.check_synced(folder, made.ends, to)
    }

    /// A file whose last name begins so must be whole in stable storage before it has that name; gives where it has.
    fn check_renamed(&self, name: &str) -> Outcome<usize> {
        let is_it = |call: &Call| call.is(&["rename", "renameat", "renameat2"], name);
        let renamed = self.first(&format!("{name} renamed"), is_it)?;
        let before = renamed.text.split('"').nth(1).and_then(|path| path.rsplit('/').next()).ok_or("no path")?;
        let written = self.first(&format!("{before} written"), |call| call.is(&["write"], &format!("/{before}>")))?;
        self.check_synced(before, written.ends, renamed.begins)?;
        Ok(renamed.ends)
    }
}

fn download(stage: &Stage) -> Outcome {
    let file = |path: &[&str], seed, len| TreeFile {
        path: path.iter().map(|name| name.to_string()).collect(),
        bytes: noise(seed, len),
    };
    let files = vec![file(&["a"], 1, 200_000), file(&["sub", "b"], 2, 300_000), file(&["c"], 3, 100_000)];
    let tree = Tree { name: "safe".into(), files };
    let torrent = Torrent::write(&tree, PIECE_LEN_BYTES, "http://127.0.0.1:1/announce", stage.path("t.torrent"))?;
    let full = stage.folder("full")?;
    tree.write_into(&full)?;
    let (port, mut seed) = (free_port().to_string(), Command::new(sameseed_binary()));
    seed.arg(&torrent.path).arg("--dir").arg(&full).args(["--no-config", "--no-resume", "--seed"]);
    seed.args(["--bind", "127.0.0.1", "--listen-port", &port]);
    let _seed = Process::start(stage, "seed", seed)?;

    let peer = format!("127.0.0.1:{port}");
    let args = "t.torrent --dir new/get --resume-dir new/state --no-config --json --bind 127.0.0.1 --listen-port 0 \
                --stop-timeout 20 --peer";
    let calls = Calls::of(stage, &args.split(' ').chain([peer.as_str()]).collect::<Vec<_>>())?;
    if let Some(difference) = difference(&tree, &stage.path("new/get"), EmptyFiles::Made) {
        return Err(difference.into());
    }

    let complete = calls.first("complete said", |call| call.is(&["write"], r#"{\"event\":\"complete\""#))?.begins;
    for path in ["safe/a", "safe/sub/b", "safe/c"] {
        let target = format!("/get/{path}>");
        let is_write = |call: &&Call| call.is(&["pwrite64", "pwritev", "pwritev2", "write"], &target);
        let written = calls.0.iter().rfind(is_write).ok_or("never written")?;
        calls.check_synced(&format!("get/{path}"), written.ends, complete)?;
    }
    let root = root_of(stage)?;
    let entries = [
        (root.as_str(), "new"),
        ("new", "new/get"),
        ("get", "safe"),
        ("get/safe", "a"),
        ("get/safe", "sub"),
        ("safe/sub", "b"),
        ("get/safe", "c"),
    ];
    for (folder, name) in entries {
        calls.check_entry(folder, name, complete)?;
    }
    calls.check_entry("new", "new/state", usize::MAX)?;
    let renamed = calls.check_renamed(".fastresume\")")?;
    calls.check_synced("new/state", renamed, usize::MAX)
}

/// What the folder of a stage is called.
fn root_of(stage: &Stage) -> Outcome<String> {
    let root = stage.path("").canonicalize()?;
    Ok(root.file_name().and_then(|name| name.to_str()).ok_or("no name")?.into())
}

fn create(stage: &Stage) -> Outcome {
    std::fs::write(stage.path("content"), noise(1, 100_000))?;
    let calls = Calls::of(stage, &["create", "content", "-o", "t.torrent"])?;
    let renamed = calls.check_renamed("\"t.torrent\")")?;
    calls.check_synced(&root_of(stage)?, renamed, usize::MAX)
}
