//! One swarm of real programs: aria2, Transmission, qBittorrent and three of ours, some with limits, some without all files.
//!
//! Everybody gets what it wants, bit for bit; what ours did not want is not there; and no limit of ours is broken, by its own account nor by
//! what qBittorrent had from it and gave to it. The figures are printed (`-- --nocapture`).

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::{
    Announce, Aria2, Client, EmptyFiles, Job, Opentracker, Outcome, Process, Qbittorrent, Role, Running, Sameseed,
    Stage, Torrent, TrackerAddress, Transmission, Tree, TreeFile, difference, noise, programs,
};

/// It takes some twenty seconds; a busy machine is slower.
const LIMIT_S: u64 = 240;
/// One piece holds the borders of files.
const PIECE_LEN_BYTES: usize = 128 * 1024;
/// Between two looks at what everybody says.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Ours have addresses of their own, by which the others know them.
const OUR_SEED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OUR_SLOW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const OUR_PART: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// Numbers of files as in `--select-file`, of ours and of aria2.
const OUR_SELECTION: [usize; 2] = [2, 5];
const SELECTION_OF_ARIA2: [usize; 3] = [1, 2, 4];

const SEED_UP_KIB_S: u64 = 4096;
const SLOW_DOWN_KIB_S: u64 = 1536;
const PART_UP_KIB_S: u64 = 512;
const FOREIGN_UP_KIB_S: u32 = 2048;
const FOREIGN_DOWN_KIB_S: u32 = 3072;

/// Rates are looked at over no less than this: a limit holds for each second, but a look may come late.
const WINDOW_S: f64 = 5.0;
/// What a limit allows besides: one second's worth (in which it may be used up at any moment, and a look may be late), and 3 per cent.
const SLACK_S: f64 = 1.0;
const TOLERANCE: f64 = 1.03;

fn main() {
    let needs = [Aria2.needs(), Transmission.needs(), Qbittorrent.needs(), Opentracker::NEEDS].concat();
    let missing = programs::missing(&needs);
    let name = "three_of_ours_and_three_of_others_share_under_limits_with_files_left_out";
    let trial = if missing.is_empty() {
        Trial::test(name, move || Stage::run(name, LIMIT_S, play).map_err(Failed::from))
    } else {
        let reason = format!("not installed: {}", missing.join(", "));
        let failure = reason.clone();
        let trial = Trial::test(name, move || Err(Failed::from(failure)));
        trial.with_kind(reason).with_ignored_flag(!programs::required())
    };
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit();
}

/// 28 MiB in files whose borders lie within pieces.
fn tree() -> Tree {
    let sizes = [6_000_011, 5_000_003, 70_001, 9_000_049, 4_500_007, 5_000_017];
    let file = |(n, len)| TreeFile { path: vec![format!("{n}.bin")], bytes: noise(n, len) };
    Tree { name: "mixed swarm".into(), files: (1..).zip(sizes).map(file).collect() }
}

#[expect(clippy::print_stdout, reason = "the figures are for who reads them")]
fn play(stage: &Stage) -> Outcome {
    let tree = tree();
    let address = TrackerAddress::free();
    let torrent = Torrent::write(&tree, PIECE_LEN_BYTES, &address.url(Announce::Http), stage.path("content.torrent"))?;
    let tracker = Opentracker::start(stage, address, torrent.info_hash)?;
    let folder = |name: &str| stage.folder(name);
    let full = folder("seed")?;
    tree.write_into(&full)?;
    let (slow, part) = (folder("slow")?, folder("part")?);
    let (aria2, transmission, qbittorrent) = (folder("aria2")?, folder("transmission")?, folder("qbittorrent")?);
    let job = |dir, role| Job::new(stage, &torrent.path, dir, role);

    // Transmission dials nobody on loopback: it comes first, so that the others know of it.
    let down = Some(FOREIGN_DOWN_KIB_S);
    let mut transmitting =
        Transmission.start(&Job { download_limit_kib_s: down, ..job(&transmission, Role::Leecher) })?;
    tracker.wait_for_peers(stage, 1)?;
    let limited = format!("--max-upload-limit={SEED_UP_KIB_S}K");
    let seed = Ours::start(&Job { bind: OUR_SEED, more: &["--json", &limited], ..job(&full, Role::Seeder) })?;
    tracker.wait_for_peers(stage, 2)?;
    let up = Some(FOREIGN_UP_KIB_S);
    let mut qbitting = Qbittorrent.start(&Job { upload_limit_kib_s: up, ..job(&qbittorrent, Role::Leecher) })?;
    let control = qbitting.control.ok_or("qBittorrent can be asked")?;
    tracker.wait_for_peers(stage, 3)?;
    let limited = format!("--max-download-limit={SLOW_DOWN_KIB_S}K");
    let more = ["--json", "--seed", &limited];
    let slow_ours = Ours::start(&Job { bind: OUR_SLOW, more: &more, ..job(&slow, Role::Leecher) })?;
    let (selected, limited) =
        (list("--select-file", &OUR_SELECTION), format!("--max-overall-upload-limit={PART_UP_KIB_S}K"));
    let more = ["--json", "--seed", &selected, &limited];
    let part_ours = Ours::start(&Job { bind: OUR_PART, more: &more, ..job(&part, Role::Leecher) })?;
    let selected = list("--select-file", &SELECTION_OF_ARIA2);
    let mut aria = Aria2.start(&Job { upload_limit_kib_s: up, more: &[&selected], ..job(&aria2, Role::Leecher) })?;

    let mut ours = [seed, slow_ours, part_ours];
    let mut foreign = Foreign::default();
    let mut aria_left = None;
    loop {
        for one in &mut ours {
            one.look()?;
        }
        transmitting.process.check_alive()?;
        qbitting.process.check_alive()?;
        foreign.look(&Qbittorrent::peers_json(control, torrent.info_hash).unwrap_or_default());
        aria_left = aria_left.or(exit_of(&mut aria.process));
        // The cheap looks first.
        let ours_lacks =
            || ours[1..].iter().find(|one| !one.complete).map(|one| format!("{} is not complete", one.name));
        let lacking = ours_lacks()
            .or_else(|| aria_left.is_none().then(|| String::from("aria2 has not left")))
            .or_else(|| difference(&tree, &transmission, EmptyFiles::Optional))
            .or_else(|| difference(&tree, &qbittorrent, EmptyFiles::Optional));
        let Some(lacking) = lacking else { break };
        if stage.deadline().is_over() {
            return Err(format!("not in time: {lacking}").into());
        }
        std::thread::sleep(LOOK_EVERY);
    }

    expect(aria_left == Some(0), || format!("aria2 left with {aria_left:?}"))?;
    expect_none(difference(&tree, &slow, EmptyFiles::Made))?;
    expect_files(&tree, &aria2, &SELECTION_OF_ARIA2)?;
    expect_files(&tree, &part, &OUR_SELECTION)?;
    let left_out = (1..=tree.files.len()).filter(|number| !OUR_SELECTION.contains(number));
    for path in left_out.map(|number| tree.path_in(&part, &tree.files[number - 1])) {
        expect(!path.exists(), || format!("{} was not wanted", path.display()))?;
    }

    let [seed, slow_ours, part_ours] = &ours;
    let mut figures = String::new();
    let mut breaches = Vec::new();
    let mut limit = |what: &str, kib_s: u64, samples: &[(f64, u64)]| match check(what, kib_s, samples) {
        Ok(line) => figures.push_str(&line),
        Err(breach) => breaches.push(breach),
    };
    limit("our seed sends, as it says", SEED_UP_KIB_S, &seed.uploaded);
    limit("our seed sends, as qBittorrent saw", SEED_UP_KIB_S, foreign.of(OUR_SEED, "downloaded"));
    limit("our slow one receives, as it says", SLOW_DOWN_KIB_S, &slow_ours.downloaded);
    limit("our slow one receives, as qBittorrent saw", SLOW_DOWN_KIB_S, foreign.of(OUR_SLOW, "uploaded"));
    limit("our part sends, as it says", PART_UP_KIB_S, &part_ours.uploaded);
    limit("our part sends, as qBittorrent saw", PART_UP_KIB_S, foreign.of(OUR_PART, "downloaded"));
    println!("{figures}");
    expect(breaches.is_empty(), || breaches.join("\n"))?;
    // Who is slow because of its limit uses it: everybody else has far more to give. A busy machine is slower.
    let mean = mean_per_s(&slow_ours.downloaded);
    let least = (SLOW_DOWN_KIB_S * 1024) as f64 * 0.3;
    expect(mean > least, || format!("our slow one received {mean:.0} bytes a second of {SLOW_DOWN_KIB_S} KiB"))?;
    for one in &mut ours {
        one.running.process.terminate()?;
    }
    for one in &mut ours {
        let status = one.running.process.wait_for_exit(stage.deadline())?;
        expect(status.success(), || format!("{} left with {status}", one.name))?;
    }
    Ok(())
}

/// One of ours, and what it has said with `--json`.
struct Ours {
    running: Running,
    name: String,
    begun: Instant,
    lines: usize,
    complete: bool,
    /// Seconds since its start, and bytes.
    downloaded: Vec<(f64, u64)>,
    uploaded: Vec<(f64, u64)>,
}

impl Ours {
    #[expect(clippy::disallowed_methods, reason = "a rate is measured on the real clock")]
    fn start(job: &Job<'_>) -> Outcome<Ours> {
        let running = Sameseed.start(job)?;
        let name = format!("sameseed at {}", job.bind);
        Ok(Ours {
            running,
            name,
            begun: Instant::now(),
            lines: 0,
            complete: false,
            downloaded: vec![],
            uploaded: vec![],
        })
    }

    fn look(&mut self) -> Outcome {
        self.running.process.check_alive()?;
        let said = self.running.process.output()?;
        let now = self.begun.elapsed().as_secs_f64();
        // The last line may be half written.
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        let new = whole.lines().skip(self.lines);
        for line in new.filter(|line| line.starts_with('{')) {
            let line: Value = serde_json::from_str(line)?;
            self.complete |= line["event"] == "complete";
            if line["event"] == "status" {
                self.downloaded.push((now, line["downloaded_bytes"].as_u64().unwrap_or(0)));
                self.uploaded.push((now, line["uploaded_bytes"].as_u64().unwrap_or(0)));
            }
        }
        self.lines = whole.lines().count();
        Ok(())
    }
}

/// What qBittorrent has seen of its peers.
struct Foreign {
    begun: Instant,
    samples: BTreeMap<(Ipv4Addr, &'static str), Vec<(f64, u64)>>,
}

impl Default for Foreign {
    #[expect(clippy::disallowed_methods, reason = "a rate is measured on the real clock")]
    fn default() -> Foreign {
        Foreign { begun: Instant::now(), samples: BTreeMap::new() }
    }
}

impl Foreign {
    fn look(&mut self, json: &str) {
        let peers: Value = serde_json::from_str(json).unwrap_or_default();
        let now = self.begun.elapsed().as_secs_f64();
        for peer in peers["peers"].as_object().into_iter().flat_map(|peers| peers.values()) {
            let Some(ip) = peer["ip"].as_str().and_then(|ip| ip.parse().ok()) else { continue };
            for what in ["downloaded", "uploaded"] {
                let samples = self.samples.entry((ip, what)).or_default();
                let bytes = peer[what].as_u64().unwrap_or(0);
                // A connection that comes back counts from nothing.
                if samples.last().is_none_or(|(_, last)| bytes > *last) {
                    samples.push((now, bytes));
                }
            }
        }
    }

    fn of(&self, ip: Ipv4Addr, what: &'static str) -> &[(f64, u64)] {
        self.samples.get(&(ip, what)).map_or(&[], |samples| samples)
    }
}

/// A line with the figures, or the window in which the limit was broken.
fn check(what: &str, kib_s: u64, samples: &[(f64, u64)]) -> Result<String, String> {
    let limit = (kib_s * 1024) as f64;
    let mut fastest: f64 = 0.0;
    for (n, (from, before)) in samples.iter().enumerate() {
        for (until, after) in samples[n..].iter().filter(|(until, _)| until - from >= WINDOW_S) {
            let (seconds, bytes) = (until - from, after.saturating_sub(*before) as f64);
            fastest = fastest.max(bytes / seconds);
            if bytes > limit * (seconds + SLACK_S) * TOLERANCE {
                return Err(format!("{what}: {bytes} bytes in {seconds:.1} s, and the limit is {kib_s} KiB/s"));
            }
        }
    }
    let kib = |bytes_per_s: f64| bytes_per_s / 1024.0;
    let (mean, fastest) = (kib(mean_per_s(samples)), kib(fastest));
    Ok(format!("{what}: limit {kib_s} KiB/s, mean {mean:.0}, at most {fastest:.0} over {WINDOW_S} s or more\n"))
}

/// From the last sample without progress at the beginning to the first of those without progress at the end.
fn mean_per_s(samples: &[(f64, u64)]) -> f64 {
    let (Some((_, first)), Some((_, last))) = (samples.first(), samples.last()) else { return 0.0 };
    let from = samples.iter().take_while(|(_, bytes)| bytes == first).last().map_or(0.0, |(at, _)| *at);
    let until = samples.iter().find(|(_, bytes)| bytes == last).map_or(0.0, |(at, _)| *at);
    if until > from { (last - first) as f64 / (until - from) } else { 0.0 }
}

fn list(option: &str, numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|number| number.to_string()).collect();
    format!("{option}={}", numbers.join(","))
}

fn exit_of(process: &mut Process) -> Option<i32> {
    let status = process.wait_for_exit(tests::Deadline::in_s(0)).ok()?;
    Some(status.code().unwrap_or(-1))
}

fn expect_files(tree: &Tree, dir: &Path, numbers: &[usize]) -> Outcome {
    for file in numbers.iter().map(|number| &tree.files[number - 1]) {
        let path: PathBuf = tree.path_in(dir, file);
        let found = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        expect(found == file.bytes, || format!("{} differs", path.display()))?;
    }
    Ok(())
}

fn expect_none(difference: Option<String>) -> Outcome {
    difference.map_or(Ok(()), |difference| Err(difference.into()))
}

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
