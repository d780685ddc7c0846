//! The matrix of real programs: each is leeched from and seeded to, and what arrives is compared bit for bit.
//!
//! A row whose program is missing is shown as ignored, with the reason; with `SAMESEED_REQUIRE_PEERS=1` it fails. No row passes without
//! having run. The standard harness cannot ignore at run time, hence a `main` of its own.

use libtest_mimic::{Arguments, Failed, Trial};
use std::time::{Duration, Instant};
use tests::{
    Announce, Aria2, Client, Job, Opentracker, Outcome, Qbittorrent, Role, Running, Sameseed, Stage, Tap, Torrent,
    TrackerAddress, Transmission, Tree, difference, programs,
};

/// What one row may take. Most take two to six seconds; a busy machine is slower.
const ROW_LIMIT_S: u64 = 60;
/// Every row is three processes: more rows at a time only slow each other down.
const ROWS_AT_A_TIME: usize = 2;
/// `sameseed` says goodbye to its tracker and leaves within 5 s; the rest is for a busy machine.
const LEAVE_LIMIT_S: u64 = 8;

/// The 12 MiB of a row take six seconds.
const LIMIT_KIB_S: u32 = 2048;

const OTHERS: [&dyn Client; 3] = [&Aria2, &Transmission, &Qbittorrent];

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(ROWS_AT_A_TIME);
    libtest_mimic::run(&arguments, rows()).exit();
}

/// The shapes of content, each with its piece length.
#[derive(Clone, Copy, Debug)]
enum Shape {
    SingleFile,
    ManySmallFiles,
    NestedUnicode,
}

impl Shape {
    fn tree(self) -> Tree {
        match self {
            // Not a whole number of pieces, nor of blocks.
            Shape::SingleFile => Tree::single(12 * 1024 * 1024 + 54_321),
            Shape::ManySmallFiles => Tree::many_small(),
            Shape::NestedUnicode => Tree::nested_unicode(),
        }
    }

    fn piece_len_bytes(self) -> usize {
        match self {
            Shape::SingleFile => 256 * 1024,
            Shape::ManySmallFiles => 64 * 1024,
            Shape::NestedUnicode => 32 * 1024,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Shape::SingleFile => "a_single_file",
            Shape::ManySmallFiles => "many_small_files",
            Shape::NestedUnicode => "nested_unicode_names",
        }
    }
}

/// How the parties meet, and over what. Names on the disk have nothing to do with the tracker: once is enough for those.
const WAYS: [(Announce, Shape); 5] = [
    (Announce::Http, Shape::SingleFile),
    (Announce::Udp, Shape::SingleFile),
    (Announce::Http, Shape::ManySmallFiles),
    (Announce::Udp, Shape::ManySmallFiles),
    (Announce::Http, Shape::NestedUnicode),
];

fn announce_name(announce: Announce) -> &'static str {
    match announce {
        Announce::Http => "http",
        Announce::Udp => "udp",
    }
}

fn rows() -> Vec<Trial> {
    let mut rows = Vec::new();
    // The harness itself is checked by two programs that no one here wrote.
    rows.push(transfer_row(&Transmission, &Aria2, Shape::ManySmallFiles, Announce::Http));
    rows.push(row("sameseed_seeds_to_itself_no_faster_than_its_limit".into(), &[], |stage| {
        leech_under_a_limit(stage, &Sameseed, Some(LIMIT_KIB_S), None)
    }));
    for other in OTHERS {
        for (announce, shape) in WAYS {
            rows.push(transfer_row(other, &Sameseed, shape, announce));
            rows.push(transfer_row(&Sameseed, other, shape, announce));
        }
        rows.push(row(
            format!("sameseed_leeches_from_{}_named_on_the_command_line", word(other)),
            other.needs(),
            move |stage| leech_without_tracker(stage, other),
        ));
        rows.push(row(format!("sameseed_leeches_from_{}_no_faster_than_its_limit", word(other)), other.needs(), {
            move |stage| leech_under_a_limit(stage, other, None, Some(LIMIT_KIB_S))
        }));
        rows.push(row(format!("sameseed_resumes_from_{}_after_kill_9", word(other)), other.needs(), move |stage| {
            resume_after_kill(stage, other)
        }));
    }
    for announce in [Announce::Http, Announce::Udp] {
        let name = format!("opentracker_says_how_large_the_swarm_is_over_{}", announce_name(announce));
        rows.push(row(name, Opentracker::NEEDS, move |stage| scrape(stage, announce)));
    }
    rows
}

/// `sameseed explain` asks the tracker how large the swarm is (BEP 48, BEP 15). Only the answer to a scrape tells how often the torrent was
/// downloaded.
fn scrape(stage: &Stage, announce: Announce) -> Outcome {
    let shape = Shape::SingleFile;
    let tree = shape.tree();
    let address = TrackerAddress::free();
    let torrent =
        Torrent::write(&tree, shape.piece_len_bytes(), &address.url(announce), stage.path("content.torrent"))?;
    let tracker = Opentracker::start(stage, address, torrent.info_hash)?;
    let (full, empty) = (stage.folder("seeder")?, stage.folder("leecher")?);
    tree.write_into(&full)?;
    let _seeding = Sameseed.start(&Job { announce, ..Job::new(stage, &torrent.path, &full, Role::Seeder) })?;
    tracker.wait_for_peers(stage, 1)?;
    let mut command = std::process::Command::new(tests::sameseed_binary());
    command.arg("explain").arg(&torrent.path).arg("--dir").arg(&empty).args(["--json", "--after", "3"]);
    // It must not be over before.
    command.args(["--listen-port", "0", "--max-download-limit", "64K"]);
    let output = command.stdin(std::process::Stdio::null()).output()?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let shown = &told["trackers"][0];
    // The asker counts itself, or not yet.
    let incomplete = shown["incomplete"].as_u64();
    if shown["complete"] != 1 || !matches!(incomplete, Some(0 | 1)) || shown["downloaded"] != 0 {
        return Err(format!("{told}").into());
    }
    Ok(())
}

/// The name of a program as a part of a test's name.
fn word(client: &dyn Client) -> String {
    client.name().replace('-', "_")
}

fn transfer_row(seeder: &'static dyn Client, leecher: &'static dyn Client, shape: Shape, announce: Announce) -> Trial {
    let name =
        format!("{}_gets_{}_from_{}_over_{}", word(leecher), shape.name(), word(seeder), announce_name(announce));
    let needs = [seeder.needs(), leecher.needs(), Opentracker::NEEDS].concat();
    row(name, &needs, move |stage| transfer(stage, seeder, leecher, shape, announce))
}

/// One row: ignored when a program is missing, unless the environment demands all.
fn row(name: String, needs: &[&'static str], play: impl FnOnce(&Stage) -> Outcome + Send + 'static) -> Trial {
    let missing = programs::missing(needs);
    if missing.is_empty() {
        let stage = name.clone();
        return Trial::test(name, move || Stage::run(&stage, ROW_LIMIT_S, play).map_err(Failed::from));
    }
    let reason = format!("not installed: {}", missing.join(", "));
    let trial = Trial::test(name, {
        let reason = reason.clone();
        move || Err(Failed::from(reason))
    });
    trial.with_kind(reason).with_ignored_flag(!programs::required())
}

/// `leecher` gets everything from `seeder`; they find each other through the tracker alone.
fn transfer(stage: &Stage, seeder: &dyn Client, leecher: &dyn Client, shape: Shape, announce: Announce) -> Outcome {
    let tree = shape.tree();
    let address = TrackerAddress::free();
    let torrent =
        Torrent::write(&tree, shape.piece_len_bytes(), &address.url(announce), stage.path("content.torrent"))?;
    let tracker = Opentracker::start(stage, address, torrent.info_hash)?;
    let (full, empty) = (stage.folder("seeder")?, stage.folder("leecher")?);
    tree.write_into(&full)?;

    let job = |role| Job {
        announce,
        ..Job::new(stage, &torrent.path, if role == Role::Seeder { &full } else { &empty }, role)
    };
    // Who is to be dialled must be known to the tracker before the one who dials asks it.
    let (seeding, mut leeching);
    if leecher.dials_loopback() {
        seeding = seeder.start(&job(Role::Seeder))?;
        tracker.wait_for_peers(stage, 1)?;
        leeching = leecher.start(&job(Role::Leecher))?;
    } else {
        leeching = leecher.start(&job(Role::Leecher))?;
        tracker.wait_for_peers(stage, 1)?;
        seeding = seeder.start(&job(Role::Seeder))?;
    }
    wait_until_complete(stage, leecher, &mut leeching, &tree)?;
    leave(seeder, seeding)
}

/// `sameseed` gets everything from `seeder`, whose address it is told; the torrent's tracker does not exist.
fn leech_without_tracker(stage: &Stage, seeder: &dyn Client) -> Outcome {
    let shape = Shape::SingleFile;
    let tree = shape.tree();
    let nowhere = TrackerAddress::free().url(Announce::Http);
    let torrent = Torrent::write(&tree, shape.piece_len_bytes(), &nowhere, stage.path("content.torrent"))?;
    let (full, empty) = (stage.folder("seeder")?, stage.folder("leecher")?);
    tree.write_into(&full)?;
    let seeding = seeder.start(&seeder_job(stage, &torrent, &full, None))?;
    wait_until_listening(stage, &seeding)?;
    let mut leeching = Sameseed.start(&leecher_job(stage, &torrent, &empty, &seeding))?;
    wait_until_complete(stage, &Sameseed, &mut leeching, &tree)
}

/// `sameseed` gets everything from `seeder`, one of them with a limit, which the bytes on the wire between them keep.
fn leech_under_a_limit(stage: &Stage, seeder: &dyn Client, up: Option<u32>, down: Option<u32>) -> Outcome {
    let shape = Shape::SingleFile;
    let tree = shape.tree();
    let nowhere = TrackerAddress::free().url(Announce::Http);
    let torrent = Torrent::write(&tree, shape.piece_len_bytes(), &nowhere, stage.path("content.torrent"))?;
    let (full, empty) = (stage.folder("seeder")?, stage.folder("leecher")?);
    tree.write_into(&full)?;
    let seeding = seeder.start(&seeder_job(stage, &torrent, &full, up))?;
    wait_until_listening(stage, &seeding)?;
    let tap = Tap::start(seeding.listens)?;
    let mut job = leecher_job(stage, &torrent, &empty, &seeding);
    (job.peer, job.download_limit_kib_s) = (Some(tap.listens()), down);
    let mut leeching = Sameseed.start(&job)?;
    let limit_bytes_per_s = u64::from(up.or(down).unwrap_or_default()) * 1024;
    stage.deadline().wait_for("the first bytes", || Ok((tap.received_bytes() > 1024).then_some(())))?;
    #[expect(clippy::disallowed_methods, reason = "a rate is measured on the real clock")]
    let begun = Instant::now();
    let before = tap.received_bytes();
    wait_until_complete(stage, &Sameseed, &mut leeching, &tree)?;
    let (seconds, bytes) = (begun.elapsed().as_secs_f64(), tap.received_bytes() - before);
    let per_s = bytes as f64 / seconds;
    // What lies in the relay's sockets came before it was wanted: some of what is asked for ahead. A busy machine is slower.
    if per_s > limit_bytes_per_s as f64 * 1.1 || per_s < limit_bytes_per_s as f64 * 0.3 {
        return Err(format!("{bytes} bytes in {seconds:.1} s are {per_s:.0} a second").into());
    }
    Ok(())
}

/// `sameseed` is killed in mid-download by SIGKILL, started again, and fetches again no piece that was on the disk.
fn resume_after_kill(stage: &Stage, seeder: &dyn Client) -> Outcome {
    let shape = Shape::SingleFile;
    let tree = shape.tree();
    let nowhere = TrackerAddress::free().url(Announce::Http);
    let torrent = Torrent::write(&tree, shape.piece_len_bytes(), &nowhere, stage.path("content.torrent"))?;
    let (full, part) = (stage.folder("seeder")?, stage.folder("leecher")?);
    tree.write_into(&full)?;

    // Slow enough to be caught in the midst of it.
    let seeding = seeder.start(&seeder_job(stage, &torrent, &full, Some(3 * 1024)))?;
    wait_until_listening(stage, &seeding)?;
    let mut first = Sameseed.start(&leecher_job(stage, &torrent, &part, &seeding))?;
    let third = torrent.piece_hashes.len() / 3;
    stage.deadline().wait_for("a third of the pieces on the disk", || {
        let pieces = torrent.pieces_in(&tree, &part)?;
        if pieces < third {
            first.process.check_alive()?;
        }
        Ok((pieces >= third).then_some(()))
    })?;
    first.process.kill()?;
    let kept = torrent.pieces_in(&tree, &part)?;
    if kept == torrent.piece_hashes.len() {
        return Err("the download was over before it could be killed".into());
    }

    let tap = Tap::start(seeding.listens)?;
    let mut job = leecher_job(stage, &torrent, &part, &seeding);
    job.peer = Some(tap.listens());
    let mut second = Sameseed.start(&job)?;
    wait_until_complete(stage, &Sameseed, &mut second, &tree)?;
    let lacking_bytes = ((torrent.piece_hashes.len() - kept) * torrent.piece_len_bytes) as u64;
    // 13 bytes of header to 16 KiB of data, the bitfield and handshakes: less than a hundredth, and less than one piece.
    let limit_bytes = lacking_bytes + lacking_bytes / 100 + 8 * 1024;
    if tap.received_bytes() > limit_bytes {
        let received_bytes = tap.received_bytes();
        let message = format!("{kept} pieces were kept, {lacking_bytes} bytes lacking, {received_bytes} bytes fetched");
        return Err(message.into());
    }
    Ok(())
}

fn seeder_job<'a>(
    stage: &'a Stage,
    torrent: &'a Torrent,
    dir: &'a std::path::Path,
    upload_limit_kib_s: Option<u32>,
) -> Job<'a> {
    Job { upload_limit_kib_s, ..Job::new(stage, &torrent.path, dir, Role::Seeder) }
}

fn leecher_job<'a>(stage: &'a Stage, torrent: &'a Torrent, dir: &'a std::path::Path, seeding: &Running) -> Job<'a> {
    Job { peer: Some(seeding.listens), ..Job::new(stage, &torrent.path, dir, Role::Leecher) }
}

fn wait_until_listening(stage: &Stage, running: &Running) -> Outcome {
    stage.deadline().wait_for(&format!("somebody listens at {}", running.listens), || {
        Ok(std::net::TcpStream::connect_timeout(&running.listens, Duration::from_secs(1)).ok().map(drop))
    })
}

/// Waits until the leecher's data is all there and, if it is one that then leaves, has left with exit code 0.
fn wait_until_complete(stage: &Stage, leecher: &dyn Client, leeching: &mut Running, tree: &Tree) -> Outcome {
    let dir = stage.path("leecher");
    if leecher.leaves_when_complete() {
        let status = leeching.process.wait_for_exit(stage.deadline())?;
        if !status.success() {
            return Err(format!("{} has left with {status}", leecher.name()).into());
        }
        return match difference(tree, &dir, leecher.empty_files()) {
            None => Ok(()),
            Some(difference) => Err(difference.into()),
        };
    }
    let mut last = None;
    let complete = stage.deadline().wait_for("the data is complete", || {
        leeching.process.check_alive()?;
        last = difference(tree, &dir, leecher.empty_files());
        Ok(last.is_none().then_some(()))
    });
    complete.map_err(|error| format!("{error}; {}", last.unwrap_or_default()).into())
}

/// A seeding `sameseed` leaves soon after SIGTERM. The other programs are simply killed.
fn leave(seeder: &dyn Client, mut seeding: Running) -> Outcome {
    if seeder.name() == Sameseed.name() {
        seeding.process.terminate()?;
        seeding.process.wait_for_exit(tests::Deadline::in_s(LEAVE_LIMIT_S))?;
    }
    Ok(())
}
