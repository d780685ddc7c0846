//! Which files of a torrent are wanted, as people say it: numbers that begin at 1, in the order of the torrent, pad files not counted.

use super::exit::{Exit, Failure};
use super::json::Which;
use super::output;
use super::text::{clean, size};
use super::torrent_file::Loaded;
use sameseed_core::id::FileIndex;
use sameseed_core::layout::FileEntry;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::selection::Priority;
use serde::Serialize;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What `--select-file` takes: `1,3-5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileList(Vec<RangeInclusive<u32>>);

impl FromStr for FileList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number > 0);
        let range = |text: &str| match text.split_once('-') {
            Some((first, last)) => Some(number(first)?..=number(last)?).filter(|range| !range.is_empty()),
            None => number(text).map(|number| number..=number),
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(FileList).ok_or_else(|| String::from("files are numbers from 1 on, with commas and ranges: 1,3-5"))
    }
}

/// A line of `--show-files --json`.
#[derive(Serialize)]
struct JsonFile<'a> {
    index: usize,
    path: String,
    bytes: u64,
    #[serde(flatten)]
    which: &'a Which,
}

/// The files that have numbers, the first of which is 1.
pub(crate) fn numbered(metainfo: &Metainfo) -> impl Iterator<Item = (FileIndex, &FileEntry)> {
    let files = metainfo.layout.files().iter().enumerate().filter(|(_, file)| !file.pad);
    files.map(|(i, file)| (FileIndex(i as u32), file))
}

/// What the list leaves out is to be skipped.
pub(crate) fn priorities(metainfo: &Metainfo, list: &FileList) -> Result<Vec<(FileIndex, Priority)>, Failure> {
    let count = numbered(metainfo).count() as u32;
    if let Some(range) = list.0.iter().find(|range| *range.end() > count) {
        let files = if count == 1 { String::from("one file") } else { format!("{count} files") };
        let what = format!("--select-file {}: {} has {files}; see --show-files", range.end(), clean(&metainfo.name));
        return Err(Failure::new(Exit::Usage, what));
    }
    let is_listed = |number: u32| list.0.iter().any(|range| range.contains(&number));
    let left_out = numbered(metainfo).zip(1u32..).filter(|(_, number)| !is_listed(*number));
    Ok(left_out.map(|((file, _), _)| (file, Priority::Skip)).collect())
}

/// Prints the files with their numbers; of several torrents each below its name.
pub(crate) fn show(torrents: &[Loaded], json: bool) -> Result<Exit, Failure> {
    for Loaded { metainfo, .. } in torrents {
        let which = Which::from(metainfo);
        let width = numbered(metainfo).count().to_string().len();
        if torrents.len() > 1 && !json {
            output::line(&format!("{}:", which.name));
        }
        for ((_, file), index) in numbered(metainfo).zip(1..) {
            let path = file.path.join("/");
            output::line(&match json {
                true => serde_json::to_string(&JsonFile { index, path, bytes: file.len, which: &which })
                    .map_err(|error| Failure::new(Exit::Other, error.to_string()))?,
                false => format!("{index:>width$}  {}  ({})", clean(&path), size(file.len)),
            });
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_read() {
        assert_eq!("1".parse(), Ok(FileList(vec![1..=1])));
        assert_eq!("3,1-2, 7-7".parse(), Ok(FileList(vec![3..=3, 1..=2, 7..=7])));
        for bad in ["", ",", "0", "0-1", "2-1", "1-", "-1", "a", "1-2-3", "4294967296", "1 2"] {
            assert!(bad.parse::<FileList>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_pass_over_pad_files() {
        let torrent =
            b"d4:infod5:filesld6:lengthi9e4:pathl1:aeed4:attr1:p6:lengthi7e4:pathl1:peed6:lengthi5e4:pathl1:beee\
            4:name1:t12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
        let metainfo = Metainfo::parse(torrent).unwrap();
        let left_out = |list: &str| priorities(&metainfo, &list.parse().unwrap()).map_err(|failure| failure.message);
        assert_eq!(left_out("2"), Ok(vec![(FileIndex(0), Priority::Skip)]));
        assert_eq!(left_out("1"), Ok(vec![(FileIndex(2), Priority::Skip)]));
        assert_eq!(left_out("1-2"), Ok(vec![]));
        assert_eq!(left_out("1,3"), Err(String::from("--select-file 3: t has 2 files; see --show-files")));
    }
}
