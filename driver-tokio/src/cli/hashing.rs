//! The SHA-1 of every piece of files on disk, on all cores: what `create` and `verify` have in common.
//!
//! Only reads, and never through a link below the folder.

use sameseed_core::id::{FileIndex, PieceIndex};
use sameseed_core::layout::Layout;
use sha_lanes::{Absorbed, Lanes, PageBuffer, Reading, Stream};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

/// Results under way to the collector.
const MAX_RESULTS: usize = 1024;

/// Why a piece has no digest.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// The file that could not be read.
    pub(crate) file: FileIndex,
    /// What the system said.
    pub(crate) error: io::Error,
}

/// One result per piece, in order. `progress` is told how many pieces are done, on the caller's thread.
pub(crate) fn hash_pieces(
    layout: &Layout,
    dir: &Path,
    mut progress: impl FnMut(u32),
) -> Vec<Result<[u8; 20], Unreadable>> {
    let next = AtomicU32::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let lanes = Lanes::best();
    // Several pieces are hashed side by side; but no thread shall have all that there are.
    let batch = layout.piece_count().div_ceil(threads as u32).clamp(1, lanes.width() as u32);
    let (tell, results) = mpsc::sync_channel(MAX_RESULTS);
    let mut digests: Vec<Option<Result<[u8; 20], Unreadable>>> = Vec::new();
    digests.resize_with(layout.piece_count() as usize, || None);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (tell, next) = (tell.clone(), &next);
            scope.spawn(move || {
                let mut reader = Reader { layout, dir, lanes, open: None, scratch: lanes.scratch() };
                loop {
                    let first = next.fetch_add(batch, Ordering::Relaxed);
                    let pieces = first..first.saturating_add(batch).min(layout.piece_count());
                    let results = reader.hash(pieces.clone().map(PieceIndex).collect());
                    if pieces.is_empty() || pieces.zip(results).any(|result| tell.send(result).is_err()) {
                        return;
                    }
                }
            });
        }
        drop(tell);
        for (done, (piece, result)) in (1..).zip(results) {
            if let Some(slot) = digests.get_mut(piece as usize) {
                *slot = Some(result);
            }
            progress(done);
        }
    });
    digests.into_iter().flatten().collect()
}

/// Where a file lies. An error when a part of the way is a link, or its end no regular file.
pub(crate) fn locate(dir: &Path, elements: &[String]) -> io::Result<PathBuf> {
    let mut path = dir.to_path_buf();
    for (n, element) in elements.iter().enumerate() {
        path.push(element);
        let kind = std::fs::symlink_metadata(&path)?.file_type();
        let fits = if n + 1 == elements.len() { kind.is_file() } else { kind.is_dir() };
        if !fits {
            return Err(io::Error::other("not a regular file, or behind a link"));
        }
    }
    Ok(path)
}

/// One worker's place: the file it read last stays open.
struct Reader<'a> {
    layout: &'a Layout,
    dir: &'a Path,
    lanes: Lanes,
    open: Option<(FileIndex, File)>,
    scratch: PageBuffer,
}

impl Reader<'_> {
    /// Hashes pieces side by side.
    fn hash(&mut self, pieces: Vec<PieceIndex>) -> Vec<Result<[u8; 20], Unreadable>> {
        let len_bytes = |piece: &PieceIndex| u64::from(self.layout.len_of(*piece));
        let whole = |piece| Reading { stream: Stream::default(), len_bytes: len_bytes(piece), last: true };
        let readings: Vec<Reading> = pieces.iter().map(whole).collect();
        let (layout, dir, open) = (self.layout, self.dir, &mut self.open);
        let read = |which: usize, at: u64, chunk: &mut [u8]| {
            let mut rest = chunk;
            for span in layout.spans(pieces[which], at as u32, rest.len() as u32) {
                let (part, after) = rest.split_at_mut(span.len as usize);
                rest = after;
                if span.pad {
                    part.fill(0);
                } else {
                    read(open, layout, dir, span.file, span.offset, part)
                        .map_err(|error| Unreadable { file: span.file, error })?;
                }
            }
            Ok(())
        };
        let absorbed = self.lanes.read(&mut self.scratch, &readings, read);
        let digest = |absorbed| match absorbed {
            Absorbed::Finished(digest) => digest,
            Absorbed::Running(stream) => stream.finish(&[]),
        };
        absorbed.into_iter().map(|result| result.map(digest)).collect()
    }
}

fn read(
    open: &mut Option<(FileIndex, File)>,
    layout: &Layout,
    dir: &Path,
    file: FileIndex,
    at: u64,
    out: &mut [u8],
) -> io::Result<()> {
    let handle = match open {
        Some((index, handle)) if *index == file => handle,
        _ => {
            let elements = layout.files().get(file.0 as usize).map(|entry| entry.path.as_slice()).unwrap_or_default();
            let handle = File::open(locate(dir, elements)?)?;
            &mut open.insert((file, handle)).1
        }
    };
    handle.seek(SeekFrom::Start(at))?;
    handle.read_exact(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::hash::sha1;

    fn file(name: &str, len: u64, pad: bool) -> (Vec<String>, u64, bool) {
        (name.split('/').map(String::from).collect(), len, pad)
    }

    #[test]
    fn pieces_across_files_and_pads_are_hashed_as_one_row_of_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..700_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        std::fs::create_dir(dir.path().join("t")).unwrap();
        std::fs::write(dir.path().join("t/a"), &all[..300_001]).unwrap();
        std::fs::write(dir.path().join("t/b"), &all[300_001..600_000]).unwrap();
        let files = vec![
            file("t/a", 300_001, false),
            file("t/empty", 0, false),
            file("t/b", 299_999, false),
            file("p", 5, true),
        ];
        let expected = [&all[..600_000], &[0; 5]].concat();
        for piece_len in [100_003, 262_144, 600_005, 1 << 20] {
            let layout = Layout::new(files.clone(), piece_len).unwrap();
            let mut told = 0;
            let digests = hash_pieces(&layout, dir.path(), |done| told = done);
            assert_eq!(told, layout.piece_count());
            let digests: Vec<[u8; 20]> = digests.into_iter().map(Result::unwrap).collect();
            assert_eq!(digests, expected.chunks(piece_len as usize).map(sha1).collect::<Vec<_>>());
        }
    }

    #[test]
    fn missing_and_short_files_fail_their_own_pieces_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), [1; 20]).unwrap();
        std::fs::write(dir.path().join("c"), [1; 9]).unwrap();
        let files = vec![file("a", 20, false), file("b", 10, false), file("c", 10, false)];
        let layout = Layout::new(files, 10).unwrap();
        let bad: Vec<Option<FileIndex>> = hash_pieces(&layout, dir.path(), |_| ())
            .into_iter()
            .map(|result| result.err().map(|bad| bad.file))
            .collect();
        assert_eq!(bad, [None, None, Some(FileIndex(1)), Some(FileIndex(2))]);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_read_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::fs::write(dir.path().join("real/a"), "x").unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("real/b")).unwrap();
        let locate = |path: &str| locate(dir.path(), &path.split('/').map(String::from).collect::<Vec<_>>());
        assert!(locate("real/a").is_ok());
        assert!(locate("link/a").is_err());
        assert!(locate("real/b").is_err());
        assert!(locate("real").is_err());
    }
}
