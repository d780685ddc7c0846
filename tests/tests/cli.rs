//! The program `sameseed` as its users see it: options, output, exit codes, files left behind.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tests::{
    Deadline, EmptyFiles, Outcome, Process, Stage, Tree, TreeFile, difference, free_port, noise, sameseed_binary,
};

/// Far more than any step here takes.
const LIMIT_S: u64 = 60;

fn sameseed<S: AsRef<std::ffi::OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(sameseed_binary());
    // Beside what tests look at, and never the user's.
    command.env("XDG_STATE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"));
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
    let full = stage.folder("full")?;
    tree.write_into(&full)?;
    let content = full.join(&tree.name);
    let torrent = stage.path("t.torrent");
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
        let mut command = sameseed(dir, [torrent]);
        command.args(words("--json --bind 127.0.0.1")).args(words(options));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        Ok(Run { child, lines })
    }

    /// The next event for which `wanted` holds.
    fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Outcome<Value> {
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
    for args in ["--help", "-h", "info --help", "create --help", "verify --help", "tracker --help"] {
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
        assert!(torrent.exists());
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
        let first = String::from_utf8(json.stdout)?.lines().next().unwrap_or_default().to_owned();
        assert_eq!(first, r#"{"index":1,"path":"bordering/a.bin","bytes":700001}"#);
        assert!(!stage.path("bordering").exists(), "nothing is made");
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
        // The second signal does not wait.
        let mut run = Run::start(&stage.path(""), &torrent, &options)?;
        run.named("status")?;
        let status = Deadline::in_s(2).wait_for("the end after a second signal", || {
            let status = run.child.try_wait()?;
            if status.is_none() {
                run.signal("-INT")?;
            }
            Ok(status)
        })?;
        assert_eq!(status.code(), Some(7));
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
