//! `cargo bench -p tests --bench engine`: the time that the engine takes by itself for a block, by the number of pieces and peers. The peers' side is in it, so what counts is the ratio between
//! rows; counts that do not move with the machine are those of `instructions`.

use divan::Bencher;
use divan::counter::ItemsCount;
use tests::{Lone, Sizes};

/// Blocks of a piece.
const BLOCKS: u32 = 64;
/// A while of the same goes before.
const BEFORE: u32 = 10 * BLOCKS;
/// Pieces, and peers.
const SIZES: [(u32, u32); 5] = [(1_000, 1), (10_000, 1), (100_000, 1), (1_000_000, 1), (10_000, 100)];

fn main() {
    divan::main();
}

/// The blocks of a piece come: asked for, written, judged.
#[divan::bench(args = SIZES, sample_size = 1)]
fn piece_comes(bencher: Bencher<'_, '_>, (pieces, peers): (u32, u32)) {
    let mut lone = Lone::new(Sizes { peers, ..Sizes::of_pieces(pieces) }, false);
    lone.give_blocks(BEFORE);
    bencher.counter(ItemsCount::new(BLOCKS)).bench_local(|| lone.give_blocks(BLOCKS));
}

/// So many blocks are asked for, and go.
#[divan::bench(args = SIZES, sample_size = 1)]
fn piece_goes(bencher: Bencher<'_, '_>, (pieces, peers): (u32, u32)) {
    let mut lone = Lone::new(Sizes { peers, ..Sizes::of_pieces(pieces) }, true);
    lone.take_blocks(BEFORE);
    bencher.counter(ItemsCount::new(BLOCKS)).bench_local(|| lone.take_blocks(BLOCKS));
}
