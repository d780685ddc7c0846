//! Where a range stands that the system can send from its file: the right file, the right place in it, and only what is there as a whole.

use super::*;
use crate::disk::FileRange;
use std::os::unix::fs::FileExt;

/// Pieces 0 and 1 over two files and a pad file, 2 and 3 in two more.
const FILES: [(&str, u64, bool); 5] = [
    ("t/a", 40_000, false),
    ("t/b", 30_000, false),
    ("t/.pad/0", 61_072, true),
    ("t/c", 80_000, false),
    ("t/d", 20_000, false),
];
/// The last file, which is not wanted: of piece 3 this stands in the part file.
const IN_PARTS: Range<u32> = 14_464..34_464;

async fn written_bench() -> Bench {
    let mut bench = bench(&FILES);
    bench.prepare().await;
    bench.disk.place(TORRENT, PieceIndex(3), Vec::from([IN_PARTS]));
    for piece in 0..4 {
        let len = if piece == 3 { 34_464 } else { PIECE_LEN as usize };
        assert_eq!(bench.absorb(piece, len).await.2, Ok(()));
    }
    bench
}

fn find(bench: &mut Bench, piece: u32, begin: u32, len: u32) -> Option<FileRange> {
    bench.disk.at_hand(TORRENT, PieceIndex(piece), begin, len)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_at_hand_stands_at_its_place_in_its_file() {
    let mut bench = written_bench().await;
    let whole_pieces = [
        (0, 0, 16_384, "t/a", 0),
        (0, 39_000, 1000, "t/a", 39_000),
        (0, 40_000, 16_384, "t/b", 0),
        (0, 65_535, 1, "t/b", 25_535),
        (1, 0, 4464, "t/b", 25_536),
        (2, 1000, 16_384, "t/c", 1000),
        (3, 0, 14_464, "t/c", 65_536),
        (3, 14_464, 16_384, ".t.parts", 211_072),
        (3, 34_463, 1, ".t.parts", 231_071),
    ];
    for (piece, begin, len, path, offset) in whole_pieces {
        let found = find(&mut bench, piece, begin, len).unwrap_or_else(|| panic!("{begin} of piece {piece}"));
        assert_eq!((found.path, found.offset, found.len), (bench.root().join(path), offset, len));
        let mut bytes = vec![0; len as usize];
        found.file.read_exact_at(&mut bytes, found.offset).unwrap();
        assert!((piece as usize * PIECE_LEN as usize + begin as usize..).map(byte).zip(bytes).all(|(a, b)| a == b));
    }
}

#[tokio::test]
async fn what_is_not_at_hand_as_a_whole_is_read() {
    let mut bench = written_bench().await;
    let across_borders = [(0, 39_000, 1001), (1, 4400, 100), (3, 14_000, 465)];
    let in_pad_files = [(1, 4464, 100), (1, 5000, 16_384)];
    for (piece, begin, len) in across_borders.into_iter().chain(in_pad_files) {
        assert!(find(&mut bench, piece, begin, len).is_none(), "{begin} of piece {piece}");
    }
    assert!(find(&mut bench, 0, 0, 0).is_none(), "nothing stands nowhere");
    // A file that is shorter than it was.
    std::fs::File::options().write(true).open(bench.root().join("t/c")).unwrap().set_len(79_999).unwrap();
    assert!(find(&mut bench, 3, 0, 14_464).is_none());
    // What is not open, and what is not known.
    bench.disk.pool.files.forget_handles(TORRENT);
    assert!(find(&mut bench, 0, 0, 16_384).is_none());
    bench.disk.forget(TORRENT);
    assert!(find(&mut bench, 0, 0, 16_384).is_none());
}
