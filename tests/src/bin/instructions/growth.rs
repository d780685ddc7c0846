//! What a block that comes costs as everything around it grows: it should not.

use crate::callgrind::count;
use crate::work::Work;
use ::tests::{Outcome, Sizes};

/// What grows alone; all else is one, and enough pieces to go on with.
const PIECES: u32 = 1000;
/// The most files; as many pieces in each row, so that no piece lies in two files.
const MOST_FILES: u32 = 80_000;

/// Prints the table.
///
/// # Errors
/// When valgrind fails.
pub(crate) fn print() -> Outcome {
    println!("| what grows | instructions for a block that comes |\n|---|---|");
    let base = Sizes::of_pieces(PIECES);
    row("pieces", [1000, 10_000, 100_000, 1_000_000].map(|pieces| (pieces, Sizes { pieces, ..base })))?;
    row("peers", [1, 10, 100, 500].map(|peers| (peers, Sizes { peers, ..base })))?;
    row("files", [1, 100, 10_000, MOST_FILES].map(|files| (files, Sizes { files, pieces: MOST_FILES, ..base })))?;
    row("torrents", [1, 100, 1000, 10_000].map(|torrents| (torrents, Sizes { torrents, ..base })))
}

fn row(what: &str, sizes: [(u32, Sizes); 4]) -> Outcome {
    for (number, sizes) in sizes {
        println!("| {number} {what} | {:.0} |", count(Work::BlockComes, sizes)?);
    }
    Ok(())
}
