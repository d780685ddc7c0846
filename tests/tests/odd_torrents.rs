//! Torrents and folders that are not as they should be, against the real program.
//!
//! What has a safe meaning is downloaded bit for bit; what has none is refused in one line; nothing is ever written outside the folder or through a link.

use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{
    Deadline, OddFile, OddTorrent, Outcome, Rows, Run, Sample, ScriptedPeer, Stage, files_below, free_port, noise,
    raw_bytes, raw_dict, raw_int, raw_list,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// A transfer of some KiB from a seeder that pauses for a moment, on a busy machine.
const SOON_S: u64 = 10;
/// How often a disk that refuses is tried again.
const DISK_RETRY_S: u64 = 15;

const USAGE: i32 = 2;
const BAD_TORRENT: i32 = 3;
const DISK: i32 = 5;

fn main() {
    let mut rows = Rows::default();
    names(&mut rows);
    shapes(&mut rows);
    refused(&mut rows);
    in_the_way(&mut rows);
    what_is_there_already(&mut rows);
    start(&mut rows);
    rows.run();
}

/// Odd names, and the names under which the files must lie.
fn names(rows: &mut Rows) {
    rows.add("paths_that_lead_out_of_the_folder_stay_in_it", |stage| {
        let files = [
            OddFile::new(&["..", "..", "..", "up"], 1000),
            OddFile::new(&["/etc", "passwd"], 2000),
            OddFile::new(&["a/../../../b"], 3000),
            OddFile::new(&["", ".", "..", "..."], 4000),
            OddFile::new(&["c\\..\\d", "e\0f"], 5000),
            OddFile::new(&[".."], 600),
            OddFile::new::<&str>(&[], 700),
        ];
        let odd = OddTorrent::write(stage, b"../../t", &files, 16 * KIB)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        odd.check_files(&[
            (".._.._t/up", 0),
            (".._.._t/_etc/passwd", 1),
            (".._.._t/a_.._.._.._b", 2),
            (".._.._t/...", 3),
            (".._.._t/c_.._d/e_f", 4),
            (".._.._t/unnamed", 5),
            (".._.._t/unnamed (2)", 6),
        ])
    });
    rows.add("a_torrent_called_dot_dot_gets_a_folder_of_its_own", |stage| {
        let odd = OddTorrent::write(stage, b"..", &[OddFile::new(&["a"], 1000)], 16 * KIB)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        let folder: String = odd.sample.torrent.info_hash.iter().map(|byte| format!("{byte:02x}")).collect();
        odd.check_files(&[(&format!("{folder}/a"), 0)])
    });
    rows.add("files_with_equal_names_are_numbered", |stage| {
        let files = [OddFile::new(&["a.txt"], 1), OddFile::new(&["a.txt"], 20_000), OddFile::new(&["a.txt"], 0)];
        let odd = OddTorrent::write(stage, b"t", &files, 16 * KIB)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        odd.check_files(&[("t/a.txt", 0), ("t/a (2).txt", 1), ("t/a (3).txt", 2)])
    });
    rows.add("a_file_that_is_also_a_folder_is_numbered", |stage| {
        let files = [OddFile::new(&["a"], 100), OddFile::new(&["a", "b"], 200), OddFile::new(&["a", "b", "c"], 300)];
        let odd = OddTorrent::write(stage, b"t", &files, 16 * KIB)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        odd.check_files(&[("t/a (2)", 0), ("t/a/b (2)", 1), ("t/a/b/c", 2)])
    });
    rows.add("names_of_300_bytes_are_cut_and_keep_their_extension", |stage| {
        let (ascii, wide) = (format!("{}.flac", "x".repeat(300)), format!("{}.mkv", "日".repeat(100)));
        let files = [OddFile::new(&[&ascii], 1000), OddFile::new(&[&ascii], 1100), OddFile::new(&[&wide], 1200)];
        let odd = OddTorrent::write(stage, &[b'n'; 300], &files, 16 * KIB)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        let found = files_below(&odd.sample.dir)?;
        let extensions =
            ["flac", "mkv"].map(|e| found.iter().filter(|path| path.extension().is_some_and(|x| x == e)).count());
        if extensions != [2, 1] {
            return Err(format!("{found:?}").into());
        }
        Ok(())
    });
    rows.add("names_that_are_not_utf_8_are_kept_apart", |stage| {
        let files = [
            OddFile::new(&[b"caf\xe9.bin"], 100),
            OddFile::new(&[b"caf\xe8.bin"], 200),
            OddFile::new(&[b"\xff\xfe\x80"], 300),
        ];
        let odd = OddTorrent::write(stage, b"\xc0\xaf..", &files, 16 * KIB)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        let found = files_below(&odd.sample.dir)?;
        if found.len() != 3 || found.iter().any(|path| path.to_str().is_none()) {
            return Err(format!("{found:?}").into());
        }
        Ok(())
    });
    rows.add("names_that_would_command_a_terminal_are_shown_harmless", |stage| {
        let odd = OddTorrent::write(
            stage,
            b"\x1b]0;evil\x07\x1b[2J",
            &[OddFile::new(&["\r\x1b[1A\u{9b}2J\u{202e}gpj.exe"], 100)],
            16 * KIB,
        )?;
        let mut info = Run::start(stage, "info", ["info".as_ref(), odd.sample.torrent.path.as_os_str()])?;
        info.expect_exit(0, SOON_S)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        match info.output()?.chars().find(|c| c.is_control() && *c != '\n') {
            Some(c) => Err(format!("{c:?} was printed").into()),
            None => Ok(()),
        }
    });
}

fn shapes(rows: &mut Rows) {
    for (name, len, piece_len) in [
        ("pieces_of_one_byte", 300, 1),
        ("pieces_of_12345_bytes", 100_000, 12_345),
        ("a_single_piece_of_odd_length", 777, 12_345),
        ("a_piece_longer_than_the_torrent", 16_385, 1 << 29),
        ("a_single_byte", 1, 16_384),
    ] {
        rows.add(&format!("a_torrent_with_{name}"), move |stage| {
            let odd = OddTorrent::write(
                stage,
                b"t",
                &[OddFile::new(&["a"], len / 2), OddFile::new(&["b"], len - len / 2)],
                piece_len,
            )?;
            odd.download(stage)?.expect_exit(0, SOON_S)?;
            odd.check_files(&[("t/a", 0), ("t/b", 1)])
        });
    }
    rows.add("pad_files_are_not_written", |stage| {
        let files = [
            OddFile::new(&["a"], 1000),
            OddFile::pad(16 * KIB - 1000),
            OddFile::new(&["b"], 20_000),
            OddFile::pad(12 * KIB),
        ];
        let odd = OddTorrent::write(stage, b"t", &files, 16 * KIB)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        odd.check_files(&[("t/a", 0), ("t/b", 2)])
    });
    rows.add("empty_files_are_made", |stage| {
        let files = [OddFile::new(&["a"], 0), OddFile::new(&["d", "b"], 5000), OddFile::new(&["d", "e", "c"], 0)];
        let odd = OddTorrent::write(stage, b"t", &files, 16 * KIB)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        odd.check_files(&[("t/a", 0), ("t/d/b", 1), ("t/d/e/c", 2)])
    });
    rows.add("a_torrent_without_a_byte_is_complete_at_once", |stage| {
        let odd = OddTorrent::write(stage, b"t", &[OddFile::new(&["a"], 0), OddFile::new(&["b"], 0)], 16 * KIB)?;
        odd.download(stage)?.expect_exit(0, SOON_S)?;
        odd.check_files(&[("t/a", 0), ("t/b", 1)])
    });
}

/// No safe meaning: one line on the error, exit code 3, nothing written.
fn refused(rows: &mut Rows) {
    let mut row = |name: &str, bytes: fn() -> Vec<u8>| {
        rows.add(&format!("refused_is_{name}"), move |stage| {
            let path = stage.path("bad.torrent");
            fs::write(&path, bytes())?;
            refuse(stage, &path)
        });
    };
    row("an_empty_file", Vec::new);
    row("no_bencode", || b"<html>not found</html>".to_vec());
    row("a_list", || b"le".to_vec());
    row("a_truncated_torrent", || {
        let whole = single(&[("piece length", raw_int(16_384))]);
        whole[..whole.len() - 30].to_vec()
    });
    row("huge_nesting", || b"d4:info".iter().copied().chain(std::iter::repeat_n(b'l', 5_000_000)).collect());
    row("nesting_of_dictionaries", || b"d1:a".repeat(1_000_000));
    row("a_length_without_end", || b"d4:info99999999999999999999:".to_vec());
    row("a_string_longer_than_memory", || b"d4:info9223372036854775807:abc".to_vec());
    row("100_mb_of_junk", || vec![b'd'; 100_000_000]);
    row("60_mb_of_empty_lists", || [b"d4:infol".as_slice(), &b"le".repeat(30_000_000)].concat());
    row("piece_length_0", || single(&[("piece length", raw_int(0))]));
    row("a_negative_piece_length", || single(&[("piece length", raw_int(-16_384))]));
    row("a_piece_length_of_2_to_the_63", || single(&[("piece length", raw_int("9223372036854775808"))]));
    row("a_piece_length_of_2_to_the_62", || single(&[("piece length", raw_int(1u64 << 62))]));
    row("no_piece_length", || single(&[]));
    row("a_piece_length_that_is_a_string", || single(&[("piece length", raw_bytes(b"16384"))]));
    row("a_negative_length", || single(&[("piece length", raw_int(16_384)), ("length", raw_int(-1))]));
    row("a_length_of_2_to_the_63", || single(&[("piece length", raw_int(16_384)), ("length", raw_int(u64::MAX))]));
    row("a_length_that_needs_more_pieces", || {
        single(&[("piece length", raw_int(16_384)), ("length", raw_int(i64::MAX))])
    });
    row("pieces_that_are_no_multiple_of_20", || {
        single(&[("piece length", raw_int(16_384)), ("pieces", raw_bytes(&[7; 19]))])
    });
    row("one_hash_too_many", || single(&[("piece length", raw_int(16_384)), ("pieces", raw_bytes(&[7; 40]))]));
    row("lengths_that_overflow", || {
        let file = raw_dict(&[("length", raw_int(i64::MAX)), ("path", raw_list(&[raw_bytes(b"a")]))]);
        let list = raw_list(&[file.clone(), file.clone(), file]);
        raw_dict(&[(
            "info",
            raw_dict(&[
                ("files", list),
                ("name", raw_bytes(b"t")),
                ("piece length", raw_int(16_384)),
                ("pieces", raw_bytes(&[7; 20])),
            ]),
        )])
    });
    row("no_info", || b"d8:announce3:urle".to_vec());
    row("info_that_is_a_string", || b"d4:info3:urle".to_vec());
    row("no_pieces", || {
        raw_dict(&[(
            "info",
            raw_dict(&[("length", raw_int(5)), ("name", raw_bytes(b"t")), ("piece length", raw_int(16_384))]),
        )])
    });
    row("no_name", || {
        raw_dict(&[(
            "info",
            raw_dict(&[("length", raw_int(5)), ("piece length", raw_int(16_384)), ("pieces", raw_bytes(&[7; 20]))]),
        )])
    });
    rows.add("refused_is_a_folder", |stage| refuse(stage, &stage.folder("folder")?));
    rows.add("refused_is_a_file_that_is_not_there", |stage| refuse(stage, &stage.path("nowhere.torrent")));
    rows.add("refused_is_an_endless_device", |stage| refuse(stage, Path::new("/dev/zero")));
}

/// A single-file torrent of 5 bytes with these keys in the place of the usual ones.
fn single(keys: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut pairs = vec![("length", raw_int(5)), ("name", raw_bytes(b"t")), ("pieces", raw_bytes(&[7; 20]))];
    pairs.retain(|(key, _)| keys.iter().all(|(other, _)| key != other));
    pairs.extend_from_slice(keys);
    raw_dict(&[("info", raw_dict(&pairs))])
}

fn refuse(stage: &Stage, torrent: &Path) -> Outcome {
    let dir = stage.folder("download")?;
    let run = |name: &str, args: &[&std::ffi::OsStr]| -> Outcome {
        let mut run = Run::start(stage, name, args)?;
        run.expect_exit(BAD_TORRENT, SOON_S)?;
        one_line(&run)
    };
    run("download", &[torrent.as_os_str(), "--dir".as_ref(), dir.as_os_str()])?;
    run("info", &["info".as_ref(), torrent.as_os_str()])?;
    run("verify", &["verify".as_ref(), torrent.as_os_str(), "--dir".as_ref(), dir.as_os_str()])?;
    match files_below(&dir)?.as_slice() {
        [] => Ok(()),
        files => Err(format!("written: {files:?}").into()),
    }
}

/// One clear line, not a wall.
fn one_line(run: &Run) -> Outcome {
    let said = run.output()?;
    if said.lines().count() != 1 || !said.starts_with("sameseed: ") || said.len() > 500 {
        return Err(format!("not one clear line: {said}").into());
    }
    Ok(())
}

/// Something else stands where a file or folder is to go: exit code 5, and nothing is written to what a link leads to.
fn in_the_way(rows: &mut Rows) {
    let mut row = |name: &str, put: fn(&Path, &Path) -> std::io::Result<()>| {
        rows.add(&format!("not_written_to_is_{name}"), move |stage| {
            let odd = OddTorrent::write(
                stage,
                b"t",
                &[OddFile::new(&["a", "b"], 30_000), OddFile::new(&["c"], 0)],
                16 * KIB,
            )?;
            let outside = stage.folder("outside")?;
            fs::write(outside.join("b"), b"precious")?;
            put(&odd.sample.dir, &outside)?;
            let mut run = odd.download(stage)?;
            run.expect_exit(DISK, SOON_S)?;
            if fs::read(outside.join("b"))? != b"precious" || files_below(&outside)?.len() != 1 {
                return Err("something was written through a link".into());
            }
            let said = run.output()?;
            let last = said.lines().last().unwrap_or_default();
            if !last.contains("download/t") { Err(format!("the path is not named: {last}").into()) } else { Ok(()) }
        });
    };
    row("a_link_in_place_of_the_torrents_folder", |dir, outside| symlink(outside, dir.join("t")));
    row("a_link_in_place_of_a_folder", |dir, outside| {
        fs::create_dir(dir.join("t"))?;
        symlink(outside, dir.join("t/a"))
    });
    row("a_link_in_place_of_a_file", |dir, outside| {
        fs::create_dir_all(dir.join("t/a"))?;
        symlink(outside.join("b"), dir.join("t/a/b"))
    });
    row("a_dangling_link_in_place_of_a_file", |dir, outside| {
        fs::create_dir_all(dir.join("t/a"))?;
        symlink(outside.join("new"), dir.join("t/a/b"))
    });
    row("a_dangling_link_in_place_of_an_empty_file", |dir, outside| {
        fs::create_dir_all(dir.join("t"))?;
        symlink(outside.join("new"), dir.join("t/c"))
    });
    row("a_file_in_place_of_a_folder", |dir, _| {
        fs::create_dir(dir.join("t"))?;
        fs::write(dir.join("t/a"), b"file")
    });
    row("a_folder_in_place_of_a_file", |dir, _| fs::create_dir_all(dir.join("t/a/b")));
    row("a_pipe_in_place_of_a_file", |dir, _| {
        fs::create_dir_all(dir.join("t/a"))?;
        Command::new("mkfifo").arg(dir.join("t/a/b")).status().map(drop)
    });
    rows.add("a_download_folder_that_is_a_file_is_refused", |stage| {
        let odd = OddTorrent::write(stage, b"t", &[OddFile::new(&["a"], 30_000)], 16 * KIB)?;
        let file = stage.path("file");
        fs::write(&file, b"in the way")?;
        let mut run =
            Run::start(stage, "run", [odd.sample.torrent.path.as_os_str(), "--dir".as_ref(), file.as_os_str()])?;
        run.expect_exit(DISK, SOON_S)?;
        one_line(&run)
    });
    mounted(rows, "a_read_only_folder_ends_with_exit_code_5", memory("size=1m,ro"), |stage, mount| {
        let sample = in_dir(stage, mount, 200 * KIB)?;
        let seeder = ScriptedPeer::honest(2, &sample)?;
        sample.download_from(stage, &[seeder.addr], &[])?.expect_exit(DISK, SOON_S)
    });
    mounted(rows, "a_full_disk_ends_with_exit_code_5_and_keeps_what_is_there", memory("size=1m"), |stage, mount| {
        let mut sample = in_dir(stage, mount, 3000 * KIB)?;
        let seeder = ScriptedPeer::honest(2, &sample)?;
        let mut run = sample.download_from(stage, &[seeder.addr], &["--disk-timeout", "2"])?;
        run.expect_exit(DISK, SOON_S)?;
        let kept = sample.torrent.pieces_in(&sample.tree, mount)?;
        if kept < 8 {
            return Err(format!("{kept} pieces were kept").into());
        }
        // With room it goes on where it ended.
        let status = Command::new("mount").args(["-o", "remount,size=8m"]).arg(mount).status()?;
        if !status.success() {
            return Err("no room could be made".into());
        }
        sample.dir = mount.to_path_buf();
        let served = seeder.served();
        sample.download_from(stage, &[seeder.addr], &[])?.expect_exit(0, SOON_S)?;
        sample.check_data()?;
        let fetched = (seeder.served() - served) as usize;
        let lacking = (sample.pieces() - kept) * 4;
        if fetched > lacking { Err(format!("{fetched} blocks fetched, {lacking} were lacking").into()) } else { Ok(()) }
    });
    mounted(rows, "a_full_disk_is_waited_for_and_the_download_goes_on_by_itself", EXT4, |stage, mount| {
        let fillers = (0..3).map(|n| mount.join(format!("filler-{n}"))).collect::<Vec<_>>();
        for filler in &fillers {
            fs::write(filler, noise(7, MIB))?;
        }
        let free_kib = free_kib(mount)?;
        // With the last filler gone there is just room for it.
        let sample = in_dir(stage, mount, (free_kib + 2 * 1024 + 512) * KIB)?;
        let seeder = ScriptedPeer::honest(2, &sample)?;
        let mut run = sample.download_from(stage, &[seeder.addr], &[])?;
        let mut lacking = u64::MAX;
        for filler in &fillers {
            let full_again = |run: &mut Run| -> Outcome<Option<u64>> {
                run.check_alive()?;
                let output = run.output()?;
                let mut lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let Some(last) = lines.rfind(|line| line["event"] == "status") else { return Ok(None) };
                let left = last["left_bytes"].as_u64().filter(|left| *left < lacking);
                Ok(left.filter(|_| last["state"] == "troubled"))
            };
            lacking = Deadline::in_s(2 * DISK_RETRY_S + SOON_S)
                .wait_for("the disk is full again", || full_again(&mut run))?;
            fs::remove_file(filler)?;
        }
        run.expect_exit(0, 2 * DISK_RETRY_S + SOON_S)?;
        sample.check_data()?;
        // What was verified is never fetched again.
        let verified = run.output()?.matches("\"piece_verified\"").count();
        if verified != sample.pieces() {
            Err(format!("{verified} of {} verified", sample.pieces()).into())
        } else {
            Ok(())
        }
    });
}

/// What programs may still write there.
fn free_kib(dir: &Path) -> Outcome<usize> {
    let output = Command::new("df").args(["--output=avail", "--block-size=1K"]).arg(dir).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().last().unwrap_or_default().trim().parse()?)
}

/// A sample whose download folder is `dir`.
fn in_dir(stage: &Stage, dir: &Path, len_bytes: usize) -> Outcome<Sample> {
    let nowhere = format!("http://127.0.0.1:{}/announce", free_port());
    Ok(Sample { dir: dir.to_path_buf(), ..Sample::new(stage, len_bytes, 64 * KIB, &nowhere)? })
}

/// A file system of a test's own.
#[derive(Clone, Copy)]
enum FileSystem {
    /// In memory, with these options.
    Memory(&'static str),
    /// ext4 in an image of so many MiB.
    Ext4(u64),
}

const EXT4: FileSystem = FileSystem::Ext4(16);

fn memory(options: &'static str) -> FileSystem {
    FileSystem::Memory(options)
}

/// A row on a file system of its own; ignored where it cannot be mounted.
fn mounted(rows: &mut Rows, name: &str, system: FileSystem, play: fn(&Stage, &Path) -> Outcome) {
    let probe = Stage::run("mount_probe", 10, |stage| Mount::new(stage, system).map(drop));
    if probe.is_err() {
        return rows.ignore(name, "it cannot be mounted here (not root, or no loop device)");
    }
    rows.add(name, move |stage| {
        let mount = Mount::new(stage, system)?;
        play(stage, &mount.at)
    });
}

/// A mounted file system, unmounted on drop.
struct Mount {
    at: PathBuf,
}

impl Mount {
    fn new(stage: &Stage, system: FileSystem) -> Outcome<Mount> {
        let at = stage.folder("mount")?;
        let mut command = Command::new("mount");
        match system {
            FileSystem::Memory(options) => _ = command.args(["-t", "tmpfs", "-o", options, "tmpfs"]),
            FileSystem::Ext4(mib) => {
                let image = stage.path("image");
                fs::File::create(&image)?.set_len(mib << 20)?;
                said(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-O", "^has_journal"]).arg(&image))?;
                command.args(["-o", "loop"]).arg(&image);
            }
        }
        said(command.arg(&at))?;
        Ok(Mount { at })
    }
}

/// Runs it; what it complains of is the error.
fn said(command: &mut Command) -> Outcome {
    let output = command.output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a program that is about to end may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// The file is there with other contents: what is right is kept, the rest fetched.
fn what_is_there_already(rows: &mut Rows) {
    let mut row = |name: &str, lacking_blocks: u32, change: fn(&mut Vec<u8>)| {
        rows.add(&format!("a_file_that_is_there_{name}"), move |stage| {
            let nowhere = format!("http://127.0.0.1:{}/announce", free_port());
            let sample = Sample::new(stage, 10 * 64 * KIB, 64 * KIB, &nowhere)?;
            let mut bytes = sample.bytes().to_vec();
            change(&mut bytes);
            fs::write(sample.dir.join(&sample.tree.name), bytes)?;
            let seeder = ScriptedPeer::honest(2, &sample)?;
            let mut run = sample.download_from(stage, &[seeder.addr], &[])?;
            run.expect_exit(0, SOON_S)?;
            sample.check_data()?;
            if seeder.served() != lacking_blocks {
                return Err(format!("{} blocks fetched instead of {lacking_blocks}", seeder.served()).into());
            }
            Ok(())
        });
    };
    row("and_right_needs_nothing", 0, |_| ());
    row("and_longer_is_cut", 0, |bytes| bytes.extend_from_slice(b"more"));
    row("and_shorter_is_completed", 4, |bytes| bytes.truncate(9 * 64 * KIB + 3));
    row("and_empty_is_filled", 40, Vec::clear);
    row("and_differs_in_one_byte_is_mended", 4, |bytes| bytes[100_000] ^= 1);
    row("and_is_all_zeros_is_fetched", 40, |bytes| bytes.fill(0));
}

fn start(rows: &mut Rows) {
    let mut row = |name: &str, exit, args: fn() -> Vec<String>| {
        rows.add(name, move |stage| {
            let sample = Sample::new(stage, 100, 16 * KIB, "http://127.0.0.1:1/announce")?;
            let mut run = sample.download(stage, &args().iter().map(String::as_str).collect::<Vec<_>>())?;
            run.expect_exit(exit, SOON_S)
        });
    };
    row("a_bind_address_that_is_not_ours_is_refused", USAGE, || vec!["--bind".into(), "203.0.113.7".into()]);
    row("a_bind_address_that_is_none_is_refused", USAGE, || vec!["--bind".into(), "nonsense".into()]);
    row("a_peer_without_a_port_is_refused", USAGE, || vec!["--peer".into(), "127.0.0.1".into()]);
    row("a_peer_with_port_0_is_refused", USAGE, || vec!["--peer".into(), "127.0.0.1:0".into()]);
    row("a_peer_with_port_65536_is_refused", USAGE, || vec!["--peer".into(), "127.0.0.1:65536".into()]);
    row("a_tracker_of_an_unknown_kind_is_refused", USAGE, || vec!["--tracker".into(), "ftp://x".into()]);
    rows.add("a_busy_port_is_refused", |stage| {
        let listener = TcpListener::bind(("0.0.0.0", 0))?;
        let sample = Sample::new(stage, 100, 16 * KIB, "http://127.0.0.1:1/announce")?;
        let port = listener.local_addr()?.port().to_string();
        let args = [
            sample.torrent.path.as_os_str(),
            "--dir".as_ref(),
            sample.dir.as_os_str(),
            "--listen-port".as_ref(),
            port.as_ref(),
        ];
        let mut run = Run::start(stage, "run", args)?;
        run.expect_exit(USAGE, SOON_S)?;
        one_line(&run)
    });
    rows.add("a_torrent_without_trackers_and_peers_is_given_up", |stage| {
        let odd = OddTorrent::write(stage, b"t", &[OddFile::new(&["a"], 100)], 16 * KIB)?;
        let args = [odd.sample.torrent.path.as_os_str(), "--dir".as_ref(), odd.sample.dir.as_os_str()];
        Run::start(stage, "run", args)?.expect_exit(4, SOON_S)
    });
    rows.add("a_file_that_is_deleted_in_mid_download_ends_in_order", |stage| {
        let nowhere = format!("http://127.0.0.1:{}/announce", free_port());
        let sample = Sample::new(stage, 4096 * KIB, 64 * KIB, &nowhere)?;
        let shared = sample.clone();
        let seeder = ScriptedPeer::start(2, move |this, mut link| {
            this.greet(&mut link, &shared)?;
            this.seed(link, &shared, |_, _| std::thread::sleep(std::time::Duration::from_millis(5)))
        })?;
        let peers: [SocketAddr; 1] = [seeder.addr];
        let mut run = sample.download_from(stage, &peers, &[])?;
        run.wait_for_line("piece_verified", Deadline::in_s(SOON_S))?;
        fs::remove_file(sample.dir.join(&sample.tree.name))?;
        // Either the loss is noticed, or the rest goes to the file that nobody can see: no panic, no hang.
        let code = run.wait_for_exit(Deadline::in_s(SOON_S))?;
        if [0, DISK].contains(&code) { Ok(()) } else { Err(format!("exit code {code}").into()) }
    });
}
