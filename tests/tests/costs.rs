//! What the engine costs by itself, in counts that no busy machine changes: allocations for each block that comes, each that goes, and each `have`.
//!
//! The limits are what was counted, and a little more. Whoever needs more says why here; whoever needs less lowers them.

#![expect(clippy::print_stdout, reason = "the counts are what it is for")]

use allocation_counter::{AllocationInfo, measure};
use tests::{Lone, Sizes};

/// Prints and judges: at most so many allocations in a thousand of these.
fn judge(what: &str, count: u32, counted: AllocationInfo, most_per_thousand: u64) {
    let per_thousand = counted.count_total * 1000 / u64::from(count);
    println!("{what}: {per_thousand} allocations in a thousand, {} bytes kept", counted.bytes_current);
    assert!(
        per_thousand <= most_per_thousand,
        "{what}: {per_thousand} allocations in a thousand, not {most_per_thousand}"
    );
}

#[test]
fn blocks_that_come() {
    let mut lone = Lone::new(Sizes::of_pieces(512), false);
    lone.give_blocks(8192);
    let have = lone.have();
    let counted = measure(|| lone.give_blocks(8192));
    let pieces = lone.have() - have;
    assert!(
        pieces.abs_diff(128) <= 1,
        "all of them were of use, but for the piece that is open at either end: {pieces}"
    );
    // Of each piece, of 64 blocks, 11: one for each of four runs to the disk, and seven for the piece. Every third one more: pieces of a fast peer take turns,
    // and where more than eleven are open their map has a second leaf.
    judge("blocks that come", 8192, counted, 185);
}

#[test]
fn blocks_that_go() {
    let mut lone = Lone::new(Sizes::of_pieces(512), true);
    lone.take_blocks(8192);
    let sent = lone.sent_blocks;
    let counted = measure(|| lone.take_blocks(8192));
    assert_eq!(lone.sent_blocks - sent, 8192);
    judge("blocks that go", 8192, counted, 0);
}

#[test]
fn tidings_of_pieces() {
    let mut lone = Lone::new(Sizes::of_pieces(10_000), true);
    lone.tell_of_pieces(0..1000);
    let counted = measure(|| lone.tell_of_pieces(1000..9000));
    judge("`have` messages", 8000, counted, 0);
}
