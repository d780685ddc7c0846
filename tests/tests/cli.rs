//! The program `sameseed` as its users see it: options, output, exit codes, files left behind.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::{
    Deadline, EmptyFiles, HttpTracker, Outcome, Process, Sample, ScriptedPeer, Stage, Torrent, Tree, TreeFile,
    difference, free_port, http_ok, noise, reply, sameseed_binary,
};

/// Far more than any step here takes.
const LIMIT_S: u64 = 60;

fn sameseed<S: AsRef<std::ffi::OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(sameseed_binary());
    // Never the user's, nor that of another test: who begins clears away what others have not finished writing there.
    command.env("XDG_STATE_HOME", dir.join("state"));
    command.env("XDG_CONFIG_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/config"));
    command.args(args).current_dir(dir).env_remove("COLUMNS").stdin(Stdio::null());
    command
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

fn output(dir: &Path, args: &str) -> Outcome<Output> {
    Ok(sameseed(dir, words(args)).output()?)
}

/// Exit code and both outputs, on one line each.
fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().replace('\n', "\n     ");
    format!("{:?} {}{}", output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn expect(output: &Output, code: i32) -> Outcome {
    if output.status.code() == Some(code) { Ok(()) } else { Err(format!("not {code}: {}", told(output)).into()) }
}

fn create(stage: &Stage, tree: &Tree, options: &[&str]) -> Outcome<PathBuf> {
    create_as(stage, "t.torrent", tree, options)
}

fn create_as(stage: &Stage, name: &str, tree: &Tree, options: &[&str]) -> Outcome<PathBuf> {
    let full = stage.folder("full")?;
    tree.write_into(&full)?;
    let content = full.join(&tree.name);
    let torrent = stage.path(name);
    let args = ["create".as_ref(), content.as_os_str(), "-o".as_ref(), torrent.as_os_str()];
    let output = sameseed(&full, args).args(options).output()?;
    expect(&output, 0)?;
    Ok(torrent)
}

/// A tracker on a free port.
fn tracker(stage: &Stage) -> Outcome<(Process, SocketAddr)> {
    let command = sameseed(&stage.path(""), words("tracker --listen 127.0.0.1:0 --interval 1"));
    let mut process = Process::start(stage, "tracker", command)?;
    let line = process.wait_for_line("tracker ready: ", stage.deadline())?;
    let addr = line.split('/').nth(2).ok_or("no address")?.parse()?;
    Ok((process, addr))
}

fn http(addr: SocketAddr, request: &[u8]) -> Outcome<Vec<u8>> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(LIMIT_S)))?;
    stream.write_all(request)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply)
}

fn scrape(addr: SocketAddr, info_hash_hex: &str) -> Outcome<String> {
    let escaped: String =
        info_hash_hex.as_bytes().chunks(2).map(|hex| format!("%{}{}", hex[0] as char, hex[1] as char)).collect();
    let reply = http(addr, format!("GET /scrape?info_hash={escaped} HTTP/1.1\r\n\r\n").as_bytes())?;
    let reply = reply.escape_ascii().to_string();
    Ok(reply.rsplit_once("d8:complete").ok_or("no counts")?.1.to_owned())
}

fn info(torrent: &Path) -> Outcome<Value> {
    let output = sameseed(Path::new("."), ["info".as_ref(), torrent.as_os_str(), "--json".as_ref()]).output()?;
    expect(&output, 0)?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A download on loopback with `--json`, its lines read as they come; killed when dropped.
struct Run {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Run {
    fn start(dir: &Path, torrent: &Path, options: &str) -> Outcome<Run> {
        Run::start_with(dir, &[torrent], options)
    }

    fn start_with(dir: &Path, torrents: &[&Path], options: &str) -> Outcome<Run> {
        let mut command = sameseed(dir, torrents);
        command.args(words(options));
        Run::spawn(command)
    }

    fn spawn(mut command: Command) -> Outcome<Run> {
        command.args(words("--json --bind 127.0.0.1"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        Ok(Run { child, lines })
    }

    /// The next event for which `wanted` holds.
    fn event(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Outcome<Value> {
        for line in self.lines.by_ref() {
            let value: Value = serde_json::from_str(&line?)?;
            if wanted(&value) {
                return Ok(value);
            }
            if value["event"] == "ended" {
                return Err(format!("it ended: {value}").into());
            }
        }
        Err("its output ended".into())
    }

    fn named(&mut self, event: &str) -> Outcome<Value> {
        self.event(|value| value["event"] == event)
    }

    fn signal(&self, signal: &str) -> Outcome {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err("it cannot be signalled".into()) }
    }

    /// Its exit code.
    fn end(&mut self, within_s: u64) -> Outcome<i32> {
        let status = Deadline::in_s(within_s).wait_for("the end of a run", || Ok(self.child.try_wait()?))?;
        status.code().ok_or_else(|| "ended by a signal".into())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn port_of(started: &Value) -> Outcome<u64> {
    started["listen_port"].as_u64().filter(|port| *port > 0).ok_or_else(|| "no port".into())
}

#[test]
fn help_is_a_small_manual() -> Outcome {
    let mut manual = String::new();
    for args in
        ["--help", "-h", "info --help", "create --help", "verify --help", "tracker --help", "completions --help"]
    {
        let output = output(Path::new("."), args)?;
        expect(&output, 0)?;
        manual.push_str(&format!("$ sameseed {args}\n{}\n", String::from_utf8(output.stdout)?));
    }
    insta::assert_snapshot!(manual);
    Ok(())
}

#[test]
fn what_cannot_be_done_is_one_line_and_an_exit_code() -> Outcome {
    Stage::run("cli-refusals", LIMIT_S, |stage| {
        let dir = stage.path("");
        let torrent = create(stage, &Tree::single(100_000), &[])?;
        std::fs::write(stage.path("bad.torrent"), "d4:infod6:lengthi5eee")?;
        std::fs::write(stage.path("empty.torrent"), "")?;
        std::fs::create_dir(stage.path("hollow"))?;
        std::fs::copy(&torrent, stage.path("copy.torrent"))?;
        std::fs::write(stage.path("bad.toml"), "seed = true\nmax-downlod-limit = '5K'\n")?;
        std::fs::write(stage.path("wrong.toml"), "max-upload-limit = 'fast'\n")?;
        let other = Tree { name: "other".into(), ..Tree::single(100) };
        create_as(stage, "other.torrent", &other, &[])?;
        let busy = TcpListener::bind("127.0.0.1:0")?;
        let port = busy.local_addr()?.port();
        let mut all = String::new();
        for args in [
            "missing.torrent",
            "bad.torrent",
            "empty.torrent",
            "hollow",
            "info bad.torrent",
            "verify bad.torrent",
            "verify t.torrent --dir missing",
            "t.torrent --dir bad.torrent/x",
            "t.torrent --bind 192.0.2.1 --dir get",
            "t.torrent --bind 127.0.0.1 --listen-port BUSY --dir get",
            "t.torrent --bind 127.0.0.1 --listen-port BUSY-BUSY --dir get",
            "t.torrent --log-file missing/log --dir get",
            "t.torrent --select-file 2 --dir get",
            "t.torrent --select-file 1-9 --dir get",
            "t.torrent bad.torrent --dir get",
            "t.torrent copy.torrent --dir get",
            "t.torrent t.torrent --dir get",
            "t.torrent other.torrent --select-file 1 --dir get",
            "t.torrent --config bad.toml --dir get",
            "t.torrent --config wrong.toml --dir get",
            "t.torrent --config missing.toml --dir get",
            "t.torrent --config hollow --dir get",
            "explain t.torrent --config bad.toml",
            "t.torrent --on-complete ./missing --dir get",
            "tracker --listen 127.0.0.1:BUSY",
            "create missing",
            "create hollow",
            "create /dev/null",
            "create t.torrent -o bad.torrent",
            "create t.torrent -o missing/x.torrent",
        ] {
            let output = output(&dir, &args.replace("BUSY", &port.to_string()))?;
            let told = told(&output).replace(&port.to_string(), "BUSY");
            assert!(!told.contains('\n') && !told.contains("panicked"), "{told}");
            all.push_str(&format!("$ sameseed {args}\n{told}\n"));
        }
        let all = all.replace(&format!("{}", dir.display()), "STAGE/");
        insta::assert_snapshot!(all);
        let arguments = output(&dir, "")?;
        expect(&arguments, 2)?;
        assert!(String::from_utf8_lossy(&arguments.stderr).contains("Usage: sameseed [OPTIONS] FILE..."));
        Ok(())
    })
}

#[test]
fn the_same_content_makes_the_same_torrent_and_verifies() -> Outcome {
    Stage::run("cli-create", LIMIT_S, |stage| {
        let tree = Tree::nested_unicode();
        let torrent = create(
            stage,
            &tree,
            &["--tracker", "http://a/announce", "--tracker", "udp://b:1", "--private", "--comment", "x"],
        )?;
        let first = std::fs::read(&torrent)?;
        std::fs::remove_file(&torrent)?;
        let torrent = create(
            stage,
            &tree,
            &["--tracker", "http://a/announce", "--tracker", "udp://b:1", "--private", "--comment", "x"],
        )?;
        assert_eq!(std::fs::read(&torrent)?, first);

        let json = info(&torrent)?;
        assert_eq!(json["name"], tree.name.as_str());
        assert_eq!(json["total_bytes"], tree.len_bytes());
        assert_eq!(json["private"], true);
        assert_eq!(json["trackers"], serde_json::json!([["http://a/announce"], ["udp://b:1"]]));
        assert_eq!(json["files"].as_array().map(Vec::len), Some(tree.files.len()));

        let full = stage.path("full");
        expect(&output(&stage.path(""), "verify t.torrent --dir full")?, 0)?;
        let victim = tree.path_in(&full, &tree.files[3]);
        let mut bytes = std::fs::read(&victim)?;
        bytes[100_000] ^= 1;
        std::fs::write(&victim, bytes)?;
        let output = output(&stage.path(""), "verify t.torrent --dir full --json")?;
        expect(&output, 6)?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(report["incomplete_files"][0]["path"], format!("{}/{}", tree.name, tree.files[3].path.join("/")));
        assert_eq!(report["incomplete_files"].as_array().map(Vec::len), Some(1));
        assert_eq!(report["complete"], false);
        Ok(())
    })
}

#[test]
fn two_programs_meet_at_the_tracker_and_share() -> Outcome {
    for scheme in ["http", "udp"] {
        Stage::run(&format!("cli-share-{scheme}"), LIMIT_S, |stage| {
            let (_tracker, addr) = tracker(stage)?;
            let tree = Tree::many_small();
            let torrent =
                create(stage, &tree, &["--piece-length", "64K", "--tracker", &format!("{scheme}://{addr}/announce")])?;
            let info_hash = info(&torrent)?["info_hash"].as_str().unwrap_or_default().to_owned();
            let mut seed = Run::start(&stage.path(""), &torrent, "--dir full --seed --listen-port 0")?;
            assert_eq!(seed.named("complete")?["downloaded"], false);
            seed.named("tracker_answered")?;
            assert!(scrape(addr, &info_hash)?.starts_with("i1e10:downloadedi0e10:incompletei0e"));

            let mut leech = Run::start(&stage.path(""), &torrent, "--dir get --listen-port 0")?;
            assert_eq!(leech.named("complete")?["downloaded"], true);
            assert_eq!(leech.named("ended")?["exit_code"], 0);
            assert_eq!(leech.end(5)?, 0);
            assert_eq!(difference(&tree, &stage.path("get"), EmptyFiles::Made), None);
            // The leecher has said `completed` and `stopped`.
            assert!(
                scrape(addr, &info_hash)?.starts_with("i1e10:downloadedi1e10:incompletei0e"),
                "{}",
                scrape(addr, &info_hash)?
            );

            seed.signal("-TERM")?;
            assert_eq!(seed.end(5)?, 0, "a seed that is ended has done its work");
            assert!(scrape(addr, &info_hash)?.starts_with("i0e"));
            Ok(())
        })?;
    }
    Ok(())
}

/// Three files whose borders lie within pieces of 64 KiB, an empty one, and a folder.
fn bordering() -> Tree {
    let file = |path: &[&str], seed, len| TreeFile {
        path: path.iter().map(|name| name.to_string()).collect(),
        bytes: noise(seed, len),
    };
    let files = vec![
        file(&["a.bin"], 1, 700_001),
        file(&["b", "b.bin"], 2, 500_003),
        file(&["c.empty"], 3, 0),
        file(&["d.bin"], 4, 900_007),
    ];
    Tree { name: "bordering".into(), files }
}

fn part_files(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let entries: Result<Vec<_>, _> = std::fs::read_dir(dir)?.collect();
    let paths = entries?.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "parts")).collect())
}

#[test]
fn only_selected_files_are_fetched_and_the_rest_later_without_a_byte_lost() -> Outcome {
    Stage::run("cli-select", LIMIT_S, |stage| {
        let tree = bordering();
        let torrent = create(stage, &tree, &["--piece-length", "64K"])?;
        let mut seed = Run::start(&stage.path(""), &torrent, "--dir full --seed --listen-port 0")?;
        let port = port_of(&seed.named("started")?)?;
        let get = stage.folder("get")?;
        let path = |i: usize| tree.path_in(&get, &tree.files[i]);
        // The user's own file stands where one of the torrent could.
        std::fs::create_dir_all(path(3).parent().ok_or("a folder")?)?;
        std::fs::write(path(3), "mine")?;

        let options = format!("--dir get --listen-port 0 --peer 127.0.0.1:{port}");
        let mut leech = Run::start(&stage.path(""), &torrent, &format!("{options} --select-file 2-3 --sequential"))?;
        leech.named("complete")?;
        let mut last = Value::Null;
        while let Ok(line) = leech.event(|_| true) {
            last = if line["event"] == "status" { line } else { last };
        }
        assert_eq!(leech.end(10)?, 0);
        if last != Value::Null {
            assert_eq!((last["left_bytes"].as_u64(), last["state"].as_str()), (Some(0), Some("seeding")));
            assert!(last["wanted_bytes"].as_u64() < last["total_bytes"].as_u64());
        }
        assert!(!path(0).exists(), "a file that is not selected is not made");
        assert_eq!(std::fs::read(path(1))?, tree.files[1].bytes);
        assert_eq!(std::fs::read(path(2))?, b"");
        assert_eq!(std::fs::read(path(3))?, b"mine");
        assert_eq!(part_files(&get)?.len(), 1, "what lies beyond the borders waits there");

        // The same again finds everything: also what stands in the part file.
        let again = output(&stage.path(""), "t.torrent --dir get --bind 127.0.0.1 --select-file 2,3 --json")?;
        expect(&again, 0)?;
        assert!(String::from_utf8_lossy(&again.stdout).contains(r#""event":"complete","downloaded":false"#));

        let mut rest = Run::start(&stage.path(""), &torrent, &options)?;
        assert_eq!(rest.named("checked")?["have_pieces"], leech_pieces(&tree), "border pieces are found");
        rest.named("complete")?;
        assert_eq!(rest.end(10)?, 0);
        assert_eq!(difference(&tree, &get, EmptyFiles::Made), None);
        assert_eq!(part_files(&get)?, Vec::<PathBuf>::new(), "nothing is left of it");
        Ok(())
    })
}

/// Pieces of 64 KiB that the second file of `bordering` touches.
fn leech_pieces(tree: &Tree) -> usize {
    let (start, len) = (tree.files[0].bytes.len(), tree.files[1].bytes.len());
    (start + len - 1) / 65_536 - start / 65_536 + 1
}

#[test]
fn the_files_of_a_torrent_are_listed_with_their_numbers() -> Outcome {
    Stage::run("cli-show-files", LIMIT_S, |stage| {
        create(stage, &bordering(), &[])?;
        let shown = output(&stage.path(""), "--show-files t.torrent")?;
        expect(&shown, 0)?;
        insta::assert_snapshot!(String::from_utf8(shown.stdout)?, @r"
        1  bordering/a.bin  (684 KiB)
        2  bordering/b/b.bin  (488 KiB)
        3  bordering/c.empty  (0 B)
        4  bordering/d.bin  (879 KiB)
        ");
        let json = output(&stage.path(""), "-S t.torrent --json")?;
        let torrent = info(&stage.path("t.torrent"))?;
        let hash = torrent["info_hash"].as_str().unwrap_or_default();
        let first = String::from_utf8(json.stdout)?.lines().next().unwrap_or_default().to_owned();
        assert_eq!(
            first,
            r#"{"index":1,"path":"bordering/a.bin","bytes":700001,"info_hash":"HASH","name":"bordering"}"#
                .replace("HASH", hash)
        );
        assert!(!stage.path("bordering").exists(), "nothing is made");
        Ok(())
    })
}

/// Two torrents to download side by side.
fn pair(stage: &Stage, options: &[&str]) -> Outcome<[(PathBuf, Tree); 2]> {
    let [one, two] = [("one.torrent", Tree::single(3_000_000)), ("two.torrent", bordering())];
    let create = |(name, tree): (&str, Tree)| -> Outcome<(PathBuf, Tree)> {
        Ok((create_as(stage, name, &tree, options)?, tree))
    };
    Ok([create(one)?, create(two)?])
}

#[test]
fn several_torrents_share_one_session_and_each_line_names_its_own() -> Outcome {
    Stage::run("cli-several", LIMIT_S, |stage| {
        let (_tracker, addr) = tracker(stage)?;
        let options = ["--piece-length", "64K", "--tracker", &format!("http://{addr}/announce")];
        let [(one, single), (two, many)] = pair(stage, &options)?;
        let mut seed = Run::start_with(&stage.path(""), &[&one, &two], "--dir full --seed --listen-port 0")?;
        let port = port_of(&seed.named("started")?)?;
        assert_eq!(port_of(&seed.named("started")?)?, port, "one port for all");
        seed.named("tracker_answered")?;
        seed.named("tracker_answered")?;

        let mut leech = Run::start_with(&stage.path(""), &[&one, &two], "--dir get --listen-port 0")?;
        let hashes = [info(&one)?["info_hash"].clone(), info(&two)?["info_hash"].clone()];
        let names = [&single.name, &many.name];
        let mut ended = Vec::new();
        let last = leech.event(|line| {
            let known = hashes.iter().position(|hash| *hash == line["info_hash"]);
            match (line["event"].as_str(), known) {
                (Some("ended" | "shut_down"), None) => (),
                (_, Some(n)) => assert_eq!(line["name"], names[n].as_str()),
                (_, None) => panic!("which torrent? {line}"),
            }
            if line["event"] == "torrent_ended" {
                assert_eq!(line["exit_code"], 0);
                ended.push(line["name"].clone());
            }
            line["event"] == "ended"
        })?;
        assert_eq!((last["exit_code"].as_u64(), ended.len()), (Some(0), 2));
        assert_eq!(leech.end(10)?, 0);
        for tree in [&single, &many] {
            assert_eq!(difference(tree, &stage.path("get"), EmptyFiles::Made), None);
        }
        // Each has said `completed` and `stopped`, also the one that was done first.
        for hash in &hashes {
            let counts = scrape(addr, hash.as_str().unwrap_or_default())?;
            assert!(counts.starts_with("i1e10:downloadedi1e10:incompletei0e"), "{counts}");
        }
        seed.signal("-TERM")?;
        assert_eq!(seed.end(6)?, 0, "seeds that are ended have done their work");
        Ok(())
    })
}

#[test]
fn torrents_beyond_the_limit_wait_for_their_turn_in_the_order_of_the_command() -> Outcome {
    Stage::run("cli-queue", LIMIT_S, |stage| {
        let [(one, single), (two, many)] = pair(stage, &["--piece-length", "64K"])?;
        let mut seed = Run::start_with(&stage.path(""), &[&one, &two], "--dir full --seed --listen-port 0")?;
        let port = port_of(&seed.named("started")?)?;
        let args = format!("--dir get --listen-port 0 --peer 127.0.0.1:{port} -j 1 --max-download-limit 1M");
        let mut leech = Run::start_with(&stage.path(""), &[&two, &one], &args)?;
        let mut waited = false;
        let first = leech.event(|line| {
            waited |= line["state"] == "queued" && line["name"] == single.name.as_str();
            assert!(line["event"] != "piece_verified" || line["name"] == many.name.as_str(), "it is not its turn");
            line["event"] == "complete"
        })?;
        assert_eq!((first["name"].as_str(), waited), (Some(many.name.as_str()), true));
        assert_eq!(leech.named("complete")?["name"], single.name.as_str());
        leech.event(|line| line["event"] == "ended")?;
        assert_eq!(leech.end(10)?, 0);
        for tree in [&single, &many] {
            assert_eq!(difference(tree, &stage.path("get"), EmptyFiles::Made), None);
        }
        Ok(())
    })
}

#[test]
fn a_seed_ends_by_itself_when_it_has_given_enough_or_for_long_enough() -> Outcome {
    Stage::run("cli-goals", LIMIT_S, |stage| {
        let tree = Tree::single(1_000_000);
        let torrent = create(stage, &tree, &["--piece-length", "64K"])?;
        let mut seed = Run::start(&stage.path(""), &torrent, "--dir full --seed-ratio 1 --listen-port 0 --no-resume")?;
        let port = port_of(&seed.named("started")?)?;
        let args = format!("--dir get --listen-port 0 --peer 127.0.0.1:{port} --seed-time 0.02 --no-resume");
        let mut leech = Run::start(&stage.path(""), &torrent, &args)?;
        assert_eq!(seed.named("seeded_enough")?["goal"], "ratio");
        assert_eq!(seed.named("torrent_ended")?["exit_code"], 0);
        assert_eq!(seed.end(10)?, 0);
        // What it was given it was given whole.
        leech.named("complete")?;
        assert_eq!(leech.named("seeded_enough")?["goal"], "time");
        assert_eq!(leech.end(10)?, 0);
        assert_eq!(difference(&tree, &stage.path("get"), EmptyFiles::Made), None);
        Ok(())
    })
}

#[test]
fn one_torrent_that_fails_keeps_no_other_and_gives_the_exit_code() -> Outcome {
    Stage::run("cli-one-fails", LIMIT_S, |stage| {
        let (_tracker, addr) = tracker(stage)?;
        let [(one, single), (two, _)] = pair(stage, &["--tracker", &format!("http://{addr}/announce")])?;
        let mut seed = Run::start(&stage.path(""), &one, "--dir full --seed --listen-port 0 --max-upload-limit 1M")?;
        let port = port_of(&seed.named("started")?)?;
        // Nobody has the other one, and its time is over while the first is in the middle.
        let args = format!(
            "one.torrent two.torrent --dir get --bind 127.0.0.1 --listen-port 0 --peer 127.0.0.1:{port} --peer-timeout 3"
        );
        let output = output(&stage.path(""), &args)?;
        expect(&output, 4)?;
        assert_eq!(difference(&single, &stage.path("get"), EmptyFiles::Made), None);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let why = said.lines().next().and_then(|line| line.strip_prefix("sameseed: ")).unwrap_or_default();
        assert!(why.starts_with("bordering: no peer for ") && why.ends_with("; try again later"), "{said}");
        assert_eq!(said, format!("sameseed: {why}\nsameseed: 1 of 2 torrents failed; the first: {why}\n"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("single file.bin: complete, in get\n"), "{said}");
        // Interrupted while one is complete and the other is not. Who is complete has said goodbye, whatever the other waits for: the seed is
        // the only one that is left.
        let mut run = Run::start_with(&stage.path(""), &[&one, &two], "--dir again --listen-port 0")?;
        run.named("torrent_ended")?;
        let hash = info(&one)?["info_hash"].as_str().unwrap_or_default().to_owned();
        stage.deadline().wait_for("goodbye", || {
            Ok(scrape(addr, &hash)?.starts_with("i1e10:downloadedi2e10:incompletei0e").then_some(()))
        })?;
        run.signal("-INT")?;
        assert_eq!(run.end(6)?, 7);
        Ok(())
    })
}

/// Each has news before the last of them is added: more than wait for who does not listen.
#[test]
fn thousands_of_torrents_that_are_all_there_end() -> Outcome {
    const TORRENTS: usize = 3000;
    Stage::run("cli-thousands", LIMIT_S, |stage| {
        let (torrents, data) = (stage.folder("torrents")?, stage.folder("data")?);
        let mut paths = Vec::new();
        for n in 0..TORRENTS {
            let content = TreeFile { path: Vec::new(), bytes: vec![1; 100] };
            let tree = Tree { name: format!("{n}"), files: vec![content] };
            tree.write_into(&data)?;
            let torrent = Torrent::write(&tree, 16_384, "http://127.0.0.1:9/announce", torrents.join(&tree.name))?;
            paths.push(torrent.path);
        }
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let mut run = Run::start_with(&stage.path(""), &paths, "--dir data --no-resume --listen-port 0")?;
        let mut ended = 0;
        let last = run.event(|line| {
            ended += usize::from(line["event"] == "torrent_ended" && line["exit_code"] == 0);
            // Else it would tell for ever how far it is.
            line["event"] == "ended" || stage.deadline().is_over()
        })?;
        assert_eq!((&last["event"], ended), (&Value::from("ended"), TORRENTS));
        assert_eq!(run.end(10)?, 0);
        Ok(())
    })
}

#[test]
fn progress_of_several_torrents_fits_the_terminal() -> Outcome {
    Stage::run("cli-terminal", LIMIT_S, |stage| {
        let mut torrents = Vec::new();
        for n in 0..6 {
            let tree =
                Tree { name: format!("a long name of a file that nobody has, number {n}"), ..Tree::single(1000 + n) };
            create_as(stage, &format!("{n}.torrent"), &tree, &[])?;
            torrents.push(format!("{n}.torrent"));
        }
        let sameseed = sameseed_binary();
        let run = format!(
            "stty rows 5 cols 60; {} {} --no-config --no-resume --dir get --bind 127.0.0.1 --peer-timeout 2",
            sameseed.display(),
            torrents.join(" ")
        );
        // A terminal by the program that Debian always has.
        let output = Command::new("script")
            .args(["-qec", &run, "/dev/null"])
            .current_dir(stage.path(""))
            .stdin(Stdio::null())
            .output()?;
        expect(&output, 4)?;
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let frame = shown.rsplit("\x1b[J").find(|frame| frame.contains("not shown")).ok_or_else(|| shown.clone())?;
        let lines: Vec<&str> =
            frame.trim_start_matches(['\r', '\u{1b}', '[', 'A']).split("\x1b[K").map(str::trim).collect();
        assert_eq!(lines.len(), 4, "{frame:?}");
        assert!(lines.iter().all(|line| line.chars().count() < 60), "{frame:?}");
        assert!(lines[3].starts_with("All: 0/6 complete, 3 not shown, 0.0% of "), "{frame:?}");
        Ok(())
    })
}

#[test]
fn a_torrent_for_which_nothing_comes_is_stopped_in_time() -> Outcome {
    Stage::run("cli-stop-timeout", LIMIT_S, |stage| {
        let tree = Tree::single(1 << 20);
        let torrent = create(stage, &tree, &["--piece-length", "64K"])?;
        // A peer with the first half only, which stays.
        let half = stage.folder("half")?;
        std::fs::write(half.join(&tree.name), &tree.files[0].bytes[..1 << 19])?;
        let mut half_seed = Run::start(&stage.path(""), &torrent, "--dir half --listen-port 0")?;
        let port = port_of(&half_seed.named("started")?)?;
        half_seed.named("checked")?;
        let args =
            format!("t.torrent --dir get --bind 127.0.0.1 --listen-port 0 --peer 127.0.0.1:{port} --stop-timeout 2");
        let output = output(&stage.path(""), &args)?;
        expect(&output, 4)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(": nothing received for ") && said.contains("s, with 1 peer connected; try"), "{said}");
        Ok(())
    })
}

#[test]
fn options_come_from_the_config_file_and_the_command_line_goes_before_it() -> Outcome {
    Stage::run("cli-config", LIMIT_S, |stage| {
        let torrent = create(stage, &Tree::single(100_000), &[])?;
        let config = stage.folder("config/sameseed")?.join("config.toml");
        std::fs::write(&config, "# mine\njson = true\ndir = 'full'\nlisten-port = 0\nbind = '127.0.0.1'\n")?;
        let run = |args: &str| {
            let mut command = sameseed(&stage.path(""), [&torrent]);
            command.args(words(args)).env("XDG_CONFIG_HOME", stage.path("config"));
            command.output()
        };
        let usual = run("")?;
        expect(&usual, 0)?;
        assert!(usual.stdout.starts_with(br#"{"event":"started""#), "{}", told(&usual));
        expect(&run("--dir elsewhere --peer-timeout 1")?, 4)?;
        let plain = run("--json=false")?;
        expect(&plain, 0)?;
        assert!(!plain.stdout.contains(&b'{'), "{}", told(&plain));
        std::fs::write(&config, "surprise = 1")?;
        let refused = run("")?;
        expect(&refused, 2)?;
        expect(&run("--no-config --dir full --bind 127.0.0.1 --listen-port 0")?, 0)?;
        Ok(())
    })
}

#[test]
fn a_shell_completes_options_commands_and_values() -> Outcome {
    let script = |shell: &str| -> Outcome<String> {
        let output = output(Path::new("."), &format!("completions {shell}"))?;
        expect(&output, 0)?;
        Ok(String::from_utf8(output.stdout)?)
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell)?;
        for word in ["max-overall-download-limit", "on-complete", "verify", "piece-length"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // What bash itself makes of it.
    let complete = |line: &[&str]| -> Outcome<String> {
        let words = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let (at, now) = (line.len() - 1, line.last().ok_or("a word")?);
        let ask = format!(
            "{}\nCOMP_WORDS=({words}); COMP_CWORD={at}; _sameseed sameseed '{now}' '{}'; echo \"${{COMPREPLY[@]}}\"",
            script("bash")?,
            line.get(at.wrapping_sub(1)).unwrap_or(&"")
        );
        let output = Command::new("bash").args(["--norc", "-c", &ask]).output()?;
        if !output.stderr.is_empty() {
            return Err(told(&output).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    assert_eq!(complete(&["sameseed", "--max-d"])?, "--max-download-limit");
    assert_eq!(complete(&["sameseed", "ver"])?, "verify");
    assert_eq!(complete(&["sameseed", "create", "--pri"])?, "--private");
    assert!(complete(&["sameseed", "--log-level", ""])?.contains("trace"));
    Ok(())
}

/// A program for `--on-complete`.
fn write_script(path: &Path, text: &str) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/bin/sh\n{text}"))?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

#[test]
fn a_program_is_run_for_each_complete_torrent_and_no_shell_sees_its_name() -> Outcome {
    Stage::run("cli-hook", LIMIT_S, |stage| {
        let nasty = "$(touch pwned);`touch pwned` | touch pwned && '\"";
        let tree = Tree { name: nasty.into(), ..Tree::single(100_000) };
        let one = create_as(stage, "one.torrent", &tree, &[])?;
        let two = create_as(stage, "two.torrent", &bordering(), &[])?;
        let told = "printf '%s\\n' \"$1 $2 $3|$SAMESEED_INFO_HASH $SAMESEED_FILES $SAMESEED_BYTES $SAMESEED_DOWNLOADED|\
                    $SAMESEED_NAME|$SAMESEED_DIR|$SAMESEED_PATH\" >> told; echo 'not JSON'; exit 3";
        write_script(&stage.path("hook.sh"), told)?;
        let mut command = sameseed(&stage.path(""), [&one, &two]);
        command.args(words("--dir full --json --bind 127.0.0.1 --listen-port 0 --on-complete ./hook.sh"));
        let output = command.output()?;
        expect(&output, 0)?;
        let lines = String::from_utf8(output.stdout)?;
        assert!(lines.lines().all(|line| line.starts_with('{')), "{lines}");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(log.matches("has failed: exit status: 3").count(), 2, "{log}");
        let full = stage.path("full").canonicalize()?;
        let line = |torrent: &Path, name: &str, first: &str, files: u32, bytes: usize| -> Outcome<String> {
            let hash = info(torrent)?["info_hash"].as_str().unwrap_or_default().to_owned();
            let full = full.display();
            Ok(format!("{hash} {files} {full}/{first}|{hash} {files} {bytes} 0|{name}|{full}|{full}/{name}"))
        };
        let mut expected = [
            line(&one, nasty, nasty, 1, 100_000)?,
            line(&two, "bordering", "bordering/a.bin", 4, bordering().len_bytes())?,
        ];
        expected.sort();
        let told = std::fs::read_to_string(stage.path("told"))?;
        let mut told: Vec<&str> = told.lines().collect();
        told.sort_unstable();
        assert_eq!(told, expected);
        assert!(!stage.path("pwned").exists());
        Ok(())
    })
}

#[test]
fn a_program_that_hangs_holds_neither_the_download_nor_the_end() -> Outcome {
    Stage::run("cli-hook-hangs", LIMIT_S, |stage| {
        let [(one, _), (two, _)] = pair(stage, &[])?;
        write_script(&stage.path("hook.sh"), "echo $$ >> pids; exec sleep 50")?;
        let mut command = sameseed(&stage.path(""), [&one, &two]);
        command.args(words("--dir full --listen-port 0 --on-complete ./hook.sh")).process_group(0);
        let mut run = Run::spawn(command)?;
        run.named("torrent_ended")?;
        run.named("torrent_ended")?;
        let pids = stage.deadline().wait_for("both programs", || {
            let pids = std::fs::read_to_string(stage.path("pids")).unwrap_or_default();
            Ok((pids.lines().count() == 2).then_some(pids))
        })?;
        // Only the programs are waited for now: Ctrl-C ends that, and not them. A terminal sends it to the whole group.
        let group = format!("-{}", run.child.id());
        assert!(Command::new("kill").args(["-INT", "--", &group]).status()?.success());
        assert_eq!(run.end(6)?, 0);
        for pid in pids.lines() {
            // Of one that was killed nothing is left to read there.
            assert_eq!(std::fs::read(format!("/proc/{pid}/cmdline"))?, b"sleep\x0050\0");
            let killed = Command::new("kill").arg(pid).status()?;
            assert!(killed.success(), "{pid} goes on by itself");
        }
        Ok(())
    })
}

#[test]
fn a_download_goes_on_after_kill_9_where_it_was() -> Outcome {
    Stage::run("cli-resume", LIMIT_S, |stage| {
        let tree = Tree::single(8 << 20);
        let torrent = create(stage, &tree, &["--piece-length", "64K"])?;
        // A seed of the first half only: the download stands still in the middle for certain.
        let half = stage.folder("half")?;
        std::fs::write(half.join(&tree.name), &tree.files[0].bytes[..4 << 20])?;
        let mut half_seed = Run::start(&stage.path(""), &torrent, "--dir half --listen-port 0")?;
        let port = port_of(&half_seed.named("started")?)?;
        half_seed.named("checked")?;
        let options = format!("--dir get --listen-port 0 --peer 127.0.0.1:{port}");
        let mut leech = Run::start(&stage.path(""), &torrent, &options)?;
        leech.event(|value| value["event"] == "status" && value["have_pieces"] == 64)?;
        leech.child.kill()?;
        leech.child.wait()?;

        let mut seed = Run::start(&stage.path(""), &torrent, "--dir full --seed --listen-port 0")?;
        let port = port_of(&seed.named("started")?)?;
        let options = format!("--dir get --listen-port 0 --peer 127.0.0.1:{port}");
        let mut leech = Run::start(&stage.path(""), &torrent, &options)?;
        assert_eq!(leech.named("checked")?["have_pieces"], 64);
        leech.named("complete")?;
        assert_eq!(leech.end(10)?, 0);
        assert_eq!(difference(&tree, &stage.path("get"), EmptyFiles::Made), None);
        // What is complete is not downloaded again.
        let mut again = Run::start(&stage.path(""), &torrent, "--dir get --listen-port 0")?;
        assert_eq!(again.named("complete")?["downloaded"], false);
        assert_eq!(again.end(10)?, 0);
        Ok(())
    })
}

#[test]
fn what_has_not_changed_is_read_again_only_when_that_is_asked_for() -> Outcome {
    Stage::run("cli-force-check", LIMIT_S, |stage| {
        let tree = Tree::single(1 << 20);
        let torrent = create(stage, &tree, &["--piece-length", "64K"])?;
        let found = |options: &str| -> Outcome<(Value, i32)> {
            let options = format!("--dir full --listen-port 0 --peer-timeout 1 {options}");
            let mut run = Run::start(&stage.path(""), &torrent, &options)?;
            let have = run.named("checked")?["have_pieces"].clone();
            Ok((have, run.end(10)?))
        };
        assert_eq!(found("--no-resume")?, (16.into(), 0));
        assert!(!stage.path("state").exists(), "nothing is kept");
        assert_eq!(found("")?, (16.into(), 0));
        assert_eq!(std::fs::read_dir(stage.path("state/sameseed"))?.count(), 1);
        // A byte rots: no mtime tells.
        let path = tree.path_in(&stage.path("full"), &tree.files[0]);
        let written = std::fs::metadata(&path)?.modified()?;
        let mut file = std::fs::File::options().write(true).open(&path)?;
        file.write_all(&[!tree.files[0].bytes[0]])?;
        file.set_modified(written)?;
        assert_eq!(found("")?, (16.into(), 0), "it is believed");
        assert_eq!(found("--no-resume")?, (15.into(), 4), "what was kept before is not believed either");
        assert_eq!(found("")?, (16.into(), 0), "and stays");
        assert_eq!(found("--force-check")?, (15.into(), 4));
        Ok(())
    })
}

#[test]
fn in_sequence_pieces_are_asked_for_in_the_order_of_the_torrent() -> Outcome {
    Stage::run("cli-sequential", LIMIT_S, |stage| {
        let sample = Sample::new(stage, 40 << 16, 1 << 16, "http://127.0.0.1:1/announce")?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (content, asking) = (sample.clone(), asked.clone());
        let peer = ScriptedPeer::start(2, move |this, mut link| {
            this.greet(&mut link, &content)?;
            this.seed(link, &content, |piece, _| asking.lock().unwrap().push(piece))
        })?;
        sample.download_from(stage, &[peer.addr], &["--sequential"])?.expect_exit(0, 30)?;
        let asked = asked.lock().unwrap();
        assert!(asked.len() == 160 && asked.is_sorted(), "{asked:?}");
        Ok(())
    })
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_reader_that_has_gone_is_not() -> Outcome {
    Stage::run("cli-output", LIMIT_S, |stage| {
        create(stage, &Tree::single(100_000), &[])?;
        let download = "t.torrent --dir full --bind 127.0.0.1 --listen-port 0";
        for args in [download, &format!("{download} --json"), "info t.torrent", "verify t.torrent -d full", "--help"] {
            let mut full = sameseed(&stage.path(""), words(args));
            let full = full.stdout(std::fs::File::options().write(true).open("/dev/full")?).output()?;
            assert_eq!(told(&full), "Some(5) sameseed: standard output: no space left on device", "{args}");
            let (reader, writer) = std::io::pipe()?;
            drop(reader);
            let gone = sameseed(&stage.path(""), words(args)).stdout(writer).output()?;
            assert_eq!(told(&gone), "Some(0) ", "{args}");
        }
        Ok(())
    })
}

#[test]
fn a_signal_ends_it_within_5_seconds_whatever_the_tracker_does() -> Outcome {
    Stage::run("cli-signal", LIMIT_S, |stage| {
        // It accepts and never answers.
        let mute = TcpListener::bind("127.0.0.1:0")?;
        let mute_udp = UdpSocket::bind("127.0.0.1:0")?;
        let (http, udp) = (mute.local_addr()?, mute_udp.local_addr()?);
        let options = format!("--dir get --listen-port 0 --tracker http://{http}/announce --tracker udp://{udp}");
        let torrent = create(stage, &Tree::single(100_000), &[])?;
        for signal in ["-TERM", "-INT"] {
            let mut run = Run::start(&stage.path(""), &torrent, &options)?;
            run.named("status")?;
            run.signal(signal)?;
            assert_eq!(run.end(6)?, 7);
        }
        Ok(())
    })
}

#[test]
fn a_second_signal_ends_it_while_a_tracker_still_has_not_heard_the_goodbye() -> Outcome {
    Stage::run("cli-second-signal", LIMIT_S, |stage| {
        let tracker = HttpTracker::start(|target, stream| {
            // The goodbye is never answered: the connection stands until the program is gone.
            let _ = match target.contains("event=stopped") {
                true => stream.read(&mut [0]).map(drop),
                false => stream.write_all(&http_ok(&reply(1800, &[]))),
            };
        })?;
        let torrent = create(stage, &Tree::single(100_000), &["--tracker", &tracker.url()])?;
        let mut run = Run::start(&stage.path(""), &torrent, "--dir get --listen-port 0")?;
        run.named("tracker_answered")?;
        run.signal("-INT")?;
        stage.deadline().wait_for("the goodbye", || {
            Ok(tracker.requests().iter().any(|target| target.contains("event=stopped")).then_some(()))
        })?;
        run.signal("-INT")?;
        assert_eq!(run.end(2)?, 7);
        Ok(())
    })
}

#[test]
fn without_anybody_to_ask_it_gives_up() -> Outcome {
    Stage::run("cli-no-peers", LIMIT_S, |stage| {
        create(stage, &Tree::single(100_000), &[])?;
        let dead = free_port();
        for options in [
            "",
            &format!("--peer 127.0.0.1:{dead} --peer-timeout 1"),
            &format!("--tracker http://127.0.0.1:{dead}/announce --peer-timeout 1"),
        ] {
            let output = output(&stage.path(""), &format!("t.torrent --dir get --bind 127.0.0.1 {options}"))?;
            expect(&output, 4)?;
        }
        Ok(())
    })
}

#[test]
fn a_port_that_nobody_asked_for_may_be_taken() -> Outcome {
    Stage::run("cli-ports", LIMIT_S, |stage| {
        let torrent = create(stage, &Tree::single(100_000), &[])?;
        // All the usual ports, as far as they are free now.
        let _taken: Vec<TcpListener> = (6881..=6889).flat_map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        let mut run = Run::start(&stage.path(""), &torrent, "--dir full")?;
        assert!(!(6881..=6889).contains(&port_of(&run.named("started")?)?));
        assert_eq!(run.end(10)?, 0);
        Ok(())
    })
}

#[test]
fn a_disk_that_refuses_is_named_and_ends_the_download() -> Outcome {
    Stage::run("cli-disk", LIMIT_S, |stage| {
        let tree = Tree::many_small();
        let torrent = create(stage, &tree, &["--piece-length", "64K"])?;
        // A file where the torrent has a folder.
        std::fs::create_dir(stage.path("get"))?;
        std::fs::write(stage.path("get").join(&tree.name), "in the way")?;
        let mut seed = Run::start(&stage.path(""), &torrent, "--dir full --seed --listen-port 0")?;
        let port = port_of(&seed.named("started")?)?;
        let args = format!("t.torrent --dir get --bind 127.0.0.1 --listen-port 0 --peer 127.0.0.1:{port}");
        let output = output(&stage.path(""), &args)?;
        expect(&output, 5)?;
        assert_eq!(std::fs::read(stage.path("get").join(&tree.name))?, b"in the way");
        Ok(())
    })
}

#[test]
fn the_tracker_survives_nonsense_and_ends_by_a_signal() -> Outcome {
    Stage::run("cli-tracker", LIMIT_S, |stage| {
        let (mut process, addr) = tracker(stage)?;
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        udp.connect(addr)?;
        udp.set_read_timeout(Some(Duration::from_secs(LIMIT_S)))?;
        for len in [0, 1, 15, 16, 97, 98, 1400, 60_000] {
            udp.send(&vec![0xff; len])?;
        }
        assert!(http(addr, b"\x16\x03\x01 not http\r\n\r\n")?.starts_with(b"HTTP/1.1 400"));
        assert!(http(addr, b"GET /etc/passwd HTTP/1.1\r\n\r\n")?.starts_with(b"HTTP/1.1 404"));
        assert!(http(addr, &[b'x'; 8 << 10])?.starts_with(b"HTTP/1.1 431"));
        // Who says nothing keeps nobody else waiting.
        let _mute: Vec<TcpStream> = (0..50).flat_map(|_| TcpStream::connect(addr)).collect();
        let announce =
            "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=1&left=0 HTTP/1.0\r\n\r\n";
        assert!(http(addr, announce.as_bytes())?.ends_with(b"5:peers0:e"));
        // The same swarm over UDP (BEP 15): connect, then scrape.
        udp.send(&[&0x0417_2710_1980u64.to_be_bytes()[..], &[0, 0, 0, 0], b"tx01"].concat())?;
        let mut reply = [0; 100];
        let len = loop {
            let len = udp.recv(&mut reply)?;
            if reply[4..8] == *b"tx01" {
                break len;
            }
        };
        assert_eq!(len, 16);
        udp.send(&[&reply[8..16], &[0, 0, 0, 2], b"tx02", &[b'a'; 20]].concat())?;
        assert_eq!(udp.recv(&mut reply)?, 20);
        assert_eq!(reply[..20], [&[0, 0, 0, 2][..], b"tx02", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat());
        process.terminate()?;
        let status = process.wait_for_exit(stage.deadline())?;
        assert_eq!(status.code(), Some(0));
        Ok(())
    })
}
