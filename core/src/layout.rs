//! Pieces and files: which bytes of which file a piece covers.
//!
//! Both are cuts of one long row of bytes. Empty files cover nothing; pad files (BEP 47) cover zeros that are never written.

use crate::id::{BLOCK_LEN, FileIndex, PieceIndex};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Cleaned path elements below the download folder, the torrent's own folder included (so a single-file torrent has one).
    pub path: Vec<String>,
    /// Length in bytes.
    pub len: u64,
    /// Where it begins in the torrent's bytes.
    pub offset: u64,
    /// A pad file: zeros, never on disk.
    pub pad: bool,
}

/// What is known of a file on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStat {
    /// Length in bytes.
    pub len: u64,
    /// Last change, in nanoseconds since 1970 (0 when the system does not say).
    pub mtime_unix_ns: i64,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSpan {
    /// The file.
    pub file: FileIndex,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Length in bytes; never 0.
    pub len: u64,
    /// Zeros that are not on disk.
    pub pad: bool,
}

/// The cut of a torrent's bytes into pieces and files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Shared, so that whoever needs the layout can keep a copy of his own: 80,000 paths cost some 15 MiB.
    files: Arc<[FileEntry]>,
    piece_len: u32,
    total_len: u64,
}

impl Layout {
    /// A layout of `files` (offsets are computed here), cut into pieces of `piece_len` bytes.
    /// `None` when `piece_len` is 0, the sum overflows, or there would be more than `u32::MAX` pieces.
    pub fn new(files: Vec<(Vec<String>, u64, bool)>, piece_len: u32) -> Option<Self> {
        let mut total_len = 0u64;
        let mut entries = Vec::with_capacity(files.len());
        for (path, len, pad) in files {
            entries.push(FileEntry { path, len, offset: total_len, pad });
            total_len = total_len.checked_add(len)?;
        }
        if piece_len == 0 || u32::try_from(total_len.div_ceil(u64::from(piece_len))).is_err() {
            return None;
        }
        Some(Layout { files: entries.into(), piece_len, total_len })
    }

    /// The same cut with the file or folder `from` called `to`, both as path elements below the download folder. `None` when two files would
    /// share a path, or one be a folder of another; names that differ in case only count as equal, as some systems have it.
    pub fn renamed(&self, from: &[String], to: &[String]) -> Option<Self> {
        let mut files = self.files.to_vec();
        for file in files.iter_mut().filter(|file| file.path.starts_with(from)) {
            let rest = file.path.split_off(from.len());
            file.path = [to, &rest].concat();
        }
        let folded = |file: &FileEntry| file.path.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
        let mut paths: Vec<Vec<String>> = files.iter().filter(|file| !file.pad).map(folded).collect();
        // A folder sorts right before what is inside it.
        paths.sort_unstable();
        let clash = paths.iter().zip(paths.iter().skip(1)).any(|(one, next)| next.starts_with(one));
        (!clash).then(|| Layout { files: files.into(), ..*self })
    }

    /// The files, in order.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Length of every piece but the last, in bytes.
    pub fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// Bytes in all, pad files included.
    pub fn total_len(&self) -> u64 {
        self.total_len
    }

    /// How many pieces there are.
    pub fn piece_count(&self) -> u32 {
        self.total_len.div_ceil(u64::from(self.piece_len)) as u32
    }

    /// Length of one piece in bytes; 0 when there is no such piece.
    pub fn len_of(&self, piece: PieceIndex) -> u32 {
        let start = self.start_of(piece);
        self.total_len.saturating_sub(start).min(u64::from(self.piece_len)) as u32
    }

    /// Where a piece begins in the torrent's bytes.
    pub fn start_of(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_len)
    }

    /// How many blocks a piece has.
    pub fn blocks_of(&self, piece: PieceIndex) -> u32 {
        self.len_of(piece).div_ceil(BLOCK_LEN)
    }

    /// Length of one block of a piece, in bytes; 0 when there is none.
    pub fn block_len(&self, piece: PieceIndex, block: u32) -> u32 {
        self.len_of(piece).saturating_sub(block.saturating_mul(BLOCK_LEN)).min(BLOCK_LEN)
    }

    /// The parts of files that `len` bytes from `begin` in `piece` cover, in order. What lies beyond the torrent is left out.
    pub fn spans(&self, piece: PieceIndex, begin: u32, len: u32) -> impl Iterator<Item = FileSpan> + '_ {
        let from = self.start_of(piece) + u64::from(begin);
        let to = (from + u64::from(len)).min(self.total_len);
        // The first file that ends after `from`; empty files in between are skipped below.
        let first = self.files.partition_point(|file| file.offset + file.len <= from);
        self.files[first..].iter().enumerate().take_while(move |(_, file)| file.offset < to).filter_map(
            move |(i, file)| {
                let (start, end) = (from.max(file.offset), to.min(file.offset + file.len));
                (start < end).then(|| FileSpan {
                    file: FileIndex((first + i) as u32),
                    offset: start - file.offset,
                    len: end - start,
                    pad: file.pad,
                })
            },
        )
    }
}

impl Layout {
    /// As [`Layout::spans`], each with its place in the part file when it stands there: that is where it stands in the torrent's bytes. `in_parts` are
    /// the ranges of the piece that do, each within one file.
    pub fn placed_spans(
        &self,
        piece: PieceIndex,
        begin: u32,
        len: u32,
        in_parts: &[Range<u32>],
    ) -> impl Iterator<Item = (FileSpan, Option<u64>)> {
        let start = self.start_of(piece);
        self.spans(piece, begin, len).map(move |span| {
            let at = self.files[span.file.0 as usize].offset + span.offset;
            let stands = in_parts.iter().any(|range| range.contains(&((at - start) as u32)));
            (span, stands.then_some(at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_of_all_pieces_tile_the_files_exactly(lens in proptest::collection::vec(0u64..100, 1..20), piece_len in 1u32..70) {
            let files = lens.iter().map(|len| (vec![String::from("x")], *len, false)).collect();
            let layout = Layout::new(files, piece_len).unwrap();
            let mut reached = vec![0u64; lens.len()];
            for piece in (0..layout.piece_count()).map(PieceIndex) {
                let mut sum = 0;
                for span in layout.spans(piece, 0, layout.len_of(piece)) {
                    prop_assert_eq!(reached[span.file.0 as usize], span.offset);
                    reached[span.file.0 as usize] += span.len;
                    sum += span.len;
                }
                prop_assert_eq!(sum, u64::from(layout.len_of(piece)));
            }
            prop_assert_eq!(reached, lens);
        }
    }

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(String::from).collect()
    }

    #[test]
    fn a_renamed_folder_takes_its_files_along_and_no_two_paths_become_equal() {
        let files = ["t/a/x", "t/a/y", "t/b", "t/a-b"].map(|name| (path(name), 5, false));
        let layout = Layout::new(files.to_vec(), 4).unwrap();
        let renamed = layout.renamed(&path("t/a"), &path("t/c")).unwrap();
        let paths: Vec<Vec<String>> = renamed.files().iter().map(|file| file.path.clone()).collect();
        assert_eq!(paths, ["t/c/x", "t/c/y", "t/b", "t/a-b"].map(path));
        assert_eq!(renamed.total_len(), 20);
        for taken in ["t/b", "t/B", "t/a-b"] {
            assert_eq!(layout.renamed(&path("t/a"), &path(taken)), None, "{taken}");
        }
        assert_eq!(layout.renamed(&path("t/b"), &path("t/a")), None, "a folder's name");
        assert_eq!(layout.renamed(&path("t/b"), &path("t/a/x")), None);
    }

    #[test]
    fn what_stands_in_the_part_file_stands_there_as_in_the_torrent() {
        let file = |len| (vec![String::from("x")], len, false);
        let layout = Layout::new(vec![file(15), file(10), file(15)], 20).unwrap();
        let placed = |piece, begin, len, parts: &[Range<u32>]| -> Vec<(u32, u64, Option<u64>)> {
            let spans = layout.placed_spans(PieceIndex(piece), begin, len, parts);
            spans.map(|(span, at)| (span.file.0, span.len, at)).collect()
        };
        assert_eq!(placed(0, 10, 8, core::slice::from_ref(&(15..20))), [(0, 5, None), (1, 3, Some(15))]);
        assert_eq!(placed(1, 0, 20, core::slice::from_ref(&(0..5))), [(1, 5, Some(20)), (2, 15, None)]);
        assert_eq!(placed(1, 2, 20, &[]), [(1, 3, None), (2, 15, None)]);
    }

    #[test]
    fn lengths_that_overflow_are_refused() {
        let file = |len| (vec![String::from("x")], len, false);
        assert!(Layout::new(vec![file(u64::MAX), file(1)], 16384).is_none());
        assert!(Layout::new(vec![file(u64::MAX)], 1).is_none());
        assert!(Layout::new(vec![file(1)], 0).is_none());
    }
}
