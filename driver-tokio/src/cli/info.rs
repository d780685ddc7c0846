//! `sameseed info`: what a torrent file contains.

use super::args::InfoArgs;
use super::exit::{Exit, Failure};
use super::text::{clean, count, size};
use super::{output, torrent_file};
use sameseed_core::metainfo::Metainfo;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// `--json`: names as they will be on disk, sizes in bytes.
#[derive(Serialize)]
struct Json<'a> {
    name: &'a str,
    info_hash: String,
    total_bytes: u64,
    piece_length: u32,
    pieces: u32,
    private: bool,
    comment: Option<&'a str>,
    created_by: Option<&'a str>,
    created_unix_s: Option<i64>,
    /// Tiers, the first asked first.
    trackers: &'a [Vec<String>],
    web_seeds: &'a [String],
    files: Vec<JsonFile>,
}

#[derive(Serialize)]
struct JsonFile {
    path: String,
    bytes: u64,
    /// Zeros that are never written (BEP 47).
    pad: bool,
}

/// Prints it.
pub(crate) fn info(args: &InfoArgs) -> Result<Exit, Failure> {
    let metainfo = torrent_file::load(&args.file)?;
    output::line(&if args.json { to_json(&metainfo)? } else { describe(&metainfo) });
    Ok(Exit::Done)
}

fn to_json(metainfo: &Metainfo) -> Result<String, Failure> {
    let layout = &metainfo.layout;
    let json = Json {
        name: &metainfo.name,
        info_hash: metainfo.info_hash.to_hex(),
        total_bytes: layout.total_len(),
        piece_length: layout.piece_len(),
        pieces: layout.piece_count(),
        private: metainfo.private,
        comment: metainfo.comment.as_deref(),
        created_by: metainfo.created_by.as_deref(),
        created_unix_s: metainfo.created_unix_s,
        trackers: &metainfo.trackers,
        web_seeds: &metainfo.web_seeds,
        files: layout
            .files()
            .iter()
            .map(|file| JsonFile { path: file.path.join("/"), bytes: file.len, pad: file.pad })
            .collect(),
    };
    serde_json::to_string(&json).map_err(|error| Failure::new(Exit::Other, error.to_string()))
}

/// Several lines for people, without the last line feed.
fn describe(metainfo: &Metainfo) -> String {
    let layout = &metainfo.layout;
    let files = layout.files().iter().filter(|file| !file.pad);
    let mut out = summary(metainfo);
    let mut field = |name: &str, value: &str| {
        let _ = write!(out, "\n{name:<12}{}", clean(value));
    };
    field("Private", if metainfo.private { "yes: peers come from these trackers only" } else { "no" });
    let created = [metainfo.created_unix_s.map(date), metainfo.created_by.as_ref().map(|by| format!("by {by}"))];
    let created: Vec<String> = created.into_iter().flatten().collect();
    if !created.is_empty() {
        field("Created", &created.join(" "));
    }
    if let Some(comment) = &metainfo.comment {
        field("Comment", comment);
    }
    for (n, tier) in metainfo.trackers.iter().enumerate() {
        field(if n == 0 { "Trackers" } else { "" }, &tier.join(" "));
    }
    for (n, url) in metainfo.web_seeds.iter().enumerate() {
        field(if n == 0 { "Web seeds" } else { "" }, url);
    }
    out.push_str("\nFiles");
    for file in files {
        let _ = write!(out, "\n{:>10}  {}", size(file.len), clean(&file.path.join("/")));
    }
    out
}

/// Name, info-hash, size and pieces.
pub(crate) fn summary(metainfo: &Metainfo) -> String {
    let layout = &metainfo.layout;
    let files = layout.files().iter().filter(|file| !file.pad).count() as u64;
    let total = layout.total_len();
    let exact = if total < 1024 { String::new() } else { format!(" ({total} bytes)") };
    format!(
        "{:<12}{}\n{:<12}{}\n{:<12}{}{exact} in {}\n{:<12}{} of {}",
        "Name",
        clean(&metainfo.name),
        "Info-hash",
        metainfo.info_hash,
        "Size",
        size(total),
        count(files, "file"),
        "Pieces",
        layout.piece_count(),
        piece_length(layout.piece_len()),
    )
}

/// Name and size.
pub(crate) fn one_line(metainfo: &Metainfo) -> String {
    let layout = &metainfo.layout;
    let files = layout.files().iter().filter(|file| !file.pad).count() as u64;
    format!("{:<12}{}, {} in {}", "Name", clean(&metainfo.name), size(layout.total_len()), count(files, "file"))
}

/// Nearly always a power of two: `64 KiB`.
fn piece_length(len: u32) -> String {
    if len.is_power_of_two() { size(u64::from(len)).replace(".0 ", " ") } else { format!("{len} bytes") }
}

/// A moment in UTC: `2026-11-21 03:44 UTC`. Howard Hinnant's algorithm for the Gregorian calendar, years beginning in March.
fn date(unix_s: i64) -> String {
    let (days, s) = (unix_s.div_euclid(86_400), unix_s.rem_euclid(86_400));
    let shifted = i128::from(days) + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", s / 3600, s / 60 % 60)
}

/// What people read when a torrent was made.
pub(crate) fn made(metainfo: &Metainfo, path: &Path) -> String {
    format!("{}\n{:<12}{}", summary(metainfo), "Written to", clean(&path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::id::InfoHash;
    use sameseed_core::layout::Layout;

    fn some_metainfo() -> Metainfo {
        let file = |path: &str, len, pad| (path.split('/').map(String::from).collect(), len, pad);
        let files = vec![file("t/a b", 1 << 20, false), file("t/.pad/1", 5, true), file("t/sub/ü\u{202e}", 0, false)];
        Metainfo {
            info_hash: InfoHash::V1([0xab; 20]),
            name: String::from("t\x1b[2J"),
            layout: Layout::new(files, 1 << 18).unwrap(),
            piece_hashes: vec![[0; 20]; 5],
            private: true,
            trackers: vec![
                vec![String::from("http://a/announce"), String::from("udp://b:1")],
                vec![String::from("http://c")],
            ],
            web_seeds: vec![String::from("http://w/")],
            comment: Some(String::from("two\nlines")),
            created_by: Some(String::from("mktorrent 1.1")),
            created_unix_s: Some(1_700_000_000),
        }
    }

    #[test]
    fn everything_is_told_and_nothing_steers_the_terminal() {
        insta::assert_snapshot!(describe(&some_metainfo()), @r##"
        Name        t�[2J
        Info-hash   abababababababababababababababababababab
        Size        1.0 MiB (1048581 bytes) in 2 files
        Pieces      5 of 256 KiB
        Private     yes: peers come from these trackers only
        Created     2023-11-14 22:13 UTC by mktorrent 1.1
        Comment     two�lines
        Trackers    http://a/announce udp://b:1
                    http://c
        Web seeds   http://w/
        Files
           1.0 MiB  t/a b
               0 B  t/sub/ü�
        "##);
    }

    #[test]
    fn json_holds_one_object() {
        let json = to_json(&some_metainfo()).unwrap().replace('\u{202e}', "<U+202E>");
        insta::assert_snapshot!(json, @r##"
        {"name":"t\u001b[2J","info_hash":"abababababababababababababababababababab","total_bytes":1048581,"piece_length":262144,"pieces":5,"private":true,"comment":"two\nlines","created_by":"mktorrent 1.1","created_unix_s":1700000000,"trackers":[["http://a/announce","udp://b:1"],["http://c"]],"web_seeds":["http://w/"],"files":[{"path":"t/a b","bytes":1048576,"pad":false},{"path":"t/.pad/1","bytes":5,"pad":true},{"path":"t/sub/ü<U+202E>","bytes":0,"pad":false}]}
        "##);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let shown = [0, 951_782_400, 1_709_164_740, -1, i64::MIN, i64::MAX].map(date);
        insta::assert_snapshot!(shown.join("\n"), @r##"
        1970-01-01 00:00 UTC
        2000-02-29 00:00 UTC
        2024-02-28 23:59 UTC
        1969-12-31 23:59 UTC
        -292277022657-01-27 08:29 UTC
        292277026596-12-04 15:30 UTC
        "##);
    }
}
