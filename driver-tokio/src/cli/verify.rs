//! `sameseed verify`: whether the files on disk are those of the torrent. Only reads.

use super::args::VerifyArgs;
use super::exit::{Exit, Failure, system_words};
use super::hashing::{Unreadable, hash_pieces, locate};
use super::output::{Redrawn, Stream};
use super::text::{clean, count, per_cent};
use super::{output, torrent_file};
use sameseed_core::id::PieceIndex;
use sameseed_core::metainfo::Metainfo;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::Path;

/// `--json`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Report {
    name: String,
    info_hash: String,
    pieces: u32,
    /// Pieces that are there and right.
    good_pieces: u32,
    complete: bool,
    /// Only those that are not complete.
    incomplete_files: Vec<IncompleteFile>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct IncompleteFile {
    path: String,
    /// Pieces that lie in this file, wholly or in part.
    pieces: u32,
    /// Of those, the ones that are missing or differ. A piece that is shared with a neighbour counts for both.
    bad_pieces: u32,
    /// What the system says, or a length that is too long.
    reason: Option<String>,
}

/// Compares.
pub(crate) fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let metainfo = torrent_file::load(&args.file)?;
    if !args.dir.is_dir() {
        let what = format!("{} is not a folder; --dir says where the files are", args.dir.display());
        return Err(Failure::new(Exit::Usage, what));
    }
    let mut line = Redrawn::new(Stream::Stderr);
    let pieces = u64::from(metainfo.layout.piece_count());
    let digests = hash_pieces(&metainfo.layout, &args.dir, |done| {
        line.draw(&[format!("verifying: {}", per_cent(u64::from(done), pieces))]);
    });
    line.clear();
    let report = compare(&metainfo, &args.dir, &digests);
    output::line(&if args.json {
        serde_json::to_string(&report).map_err(|error| Failure::new(Exit::Other, error.to_string()))?
    } else {
        describe(&report)
    });
    Ok(if report.complete { Exit::Done } else { Exit::Hash })
}

fn compare(metainfo: &Metainfo, dir: &Path, digests: &[Result<[u8; 20], Unreadable>]) -> Report {
    let layout = &metainfo.layout;
    // Per file: pieces, bad ones, and the first reason.
    let mut files: Vec<(u32, u32, Option<String>)> = vec![(0, 0, None); layout.files().len()];
    let mut good_pieces = 0;
    for ((n, digest), expected) in (0..).zip(digests).zip(&metainfo.piece_hashes) {
        let piece = PieceIndex(n);
        let good = digest.as_ref().is_ok_and(|digest| digest == expected);
        good_pieces += u32::from(good);
        for span in layout.spans(piece, 0, layout.len_of(piece)) {
            if let Some(file) = files.get_mut(span.file.0 as usize) {
                file.0 += 1;
                file.1 += u32::from(!good);
            }
        }
        if let Err(bad) = digest
            && let Some(file) = files.get_mut(bad.file.0 as usize)
        {
            file.2.get_or_insert_with(|| words(&bad.error));
        }
    }
    let incomplete_files = layout.files().iter().zip(files).filter(|(entry, _)| !entry.pad).filter_map(
        |(entry, (pieces, bad_pieces, reason))| {
            // Empty files lie in no piece, and no hash sees what stands behind the end.
            let reason = reason.or_else(|| wrong_end(dir, &entry.path, entry.len));
            let incomplete = bad_pieces > 0 || reason.is_some();
            incomplete.then(|| IncompleteFile { path: entry.path.join("/"), pieces, bad_pieces, reason })
        },
    );
    let incomplete_files: Vec<IncompleteFile> = incomplete_files.collect();
    Report {
        name: metainfo.name.clone(),
        info_hash: metainfo.info_hash.to_hex(),
        pieces: layout.piece_count(),
        good_pieces,
        complete: good_pieces == layout.piece_count() && incomplete_files.is_empty(),
        incomplete_files,
    }
}

fn wrong_end(dir: &Path, path: &[String], len: u64) -> Option<String> {
    match locate(dir, path).and_then(fs::metadata) {
        Ok(found) if found.len() > len => Some(format!("{} too long", count(found.len() - len, "byte"))),
        Ok(_) => None,
        Err(error) => Some(words(&error)),
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => String::from("too short"),
        io::ErrorKind::NotFound => String::from("missing"),
        _ => system_words(error),
    }
}

fn describe(report: &Report) -> String {
    let name = clean(&report.name);
    if report.complete {
        return format!("{name}: complete, all {} are right", count(u64::from(report.pieces), "piece"));
    }
    let mut lines: Vec<String> = report
        .incomplete_files
        .iter()
        .map(|file| {
            let reason = file.reason.as_ref().map_or(String::new(), |reason| format!(" ({})", clean(reason)));
            format!(
                "incomplete: {}: {} of {} bad{reason}",
                clean(&file.path),
                file.bad_pieces,
                count(u64::from(file.pieces), "piece")
            )
        })
        .collect();
    lines.push(format!(
        "{name}: {} ({}/{} pieces are right), {} incomplete",
        per_cent(u64::from(report.good_pieces), u64::from(report.pieces)),
        report.good_pieces,
        report.pieces,
        count(report.incomplete_files.len() as u64, "file"),
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::hash::sha1;
    use sameseed_core::id::InfoHash;
    use sameseed_core::layout::Layout;

    #[test]
    fn each_kind_of_damage_is_named_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["good", "missing", "long", "short", "differs", "empty", "no-empty"];
        let len = |name: &str| if name.ends_with("empty") { 0 } else { 20 };
        let files = names.map(|name| (vec![name.to_owned()], len(name), false));
        let metainfo = Metainfo {
            info_hash: InfoHash::V1([0; 20]),
            name: String::from("t"),
            layout: Layout::new(files.into(), 10).unwrap(),
            piece_hashes: vec![sha1(&[7; 10]); 10],
            private: false,
            trackers: vec![],
            web_seeds: vec![],
            comment: None,
            created_by: None,
            created_unix_s: None,
        };
        let check = || compare(&metainfo, dir.path(), &hash_pieces(&metainfo.layout, dir.path(), |_| ()));
        for name in names {
            fs::write(dir.path().join(name), vec![7; len(name) as usize]).unwrap();
        }
        assert_eq!(describe(&check()), "t: complete, all 10 pieces are right");
        fs::remove_file(dir.path().join("missing")).unwrap();
        fs::remove_file(dir.path().join("no-empty")).unwrap();
        fs::write(dir.path().join("long"), [7; 21]).unwrap();
        fs::write(dir.path().join("short"), [7; 19]).unwrap();
        fs::write(dir.path().join("differs"), [[7; 10], [8; 10]].concat()).unwrap();
        insta::assert_snapshot!(describe(&check()), @r##"
        incomplete: missing: 2 of 2 pieces bad (missing)
        incomplete: long: 0 of 2 pieces bad (1 byte too long)
        incomplete: short: 1 of 2 pieces bad (too short)
        incomplete: differs: 1 of 2 pieces bad
        incomplete: no-empty: 0 of 0 pieces bad (missing)
        t: 60.0% (6/10 pieces are right), 5 files incomplete
        "##);
        assert!(!check().complete);
    }
}
