//! What an engine can be given to do, over and over.

use ::tests::{Lone, Sizes};
use sameseed_core::wire::Message;

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A block comes, of a piece of 1 MiB: its share of the request, the runs to the disk and the verdict.
    BlockComes,
    /// A block is asked for and goes.
    BlockGoes,
    /// A peer has one more piece.
    Have,
    /// A peer is interested, or no longer.
    Interest,
    /// A message without meaning.
    KeepAlive,
    /// A block is asked for while others are under way, and called off.
    Cancel,
}

/// All works, by name.
pub(crate) const WORKS: [(&str, Work); 6] = [
    ("block-comes", Work::BlockComes),
    ("block-goes", Work::BlockGoes),
    ("have", Work::Have),
    ("interest", Work::Interest),
    ("keep-alive", Work::KeepAlive),
    ("request-and-cancel", Work::Cancel),
];

/// A hundred pieces.
const BLOCKS: u32 = 6400;
/// With what came before less than a peer may say in vain.
const WORDS: u32 = 500;
/// More than go before those that wait.
const ON_THE_WAY: u32 = 64;

impl Work {
    /// How often it is done, and twice that.
    pub(crate) fn times(self) -> u32 {
        match self {
            Work::BlockComes | Work::BlockGoes => BLOCKS,
            Work::Have => 4000,
            Work::Interest | Work::KeepAlive | Work::Cancel => WORDS,
        }
    }

    /// What surrounds it, as a rule.
    pub(crate) fn sizes(self) -> Sizes {
        Sizes::of_pieces(if self == Work::Have { 10_000 } else { 512 })
    }

    /// Does it so often, after a while of the same.
    pub(crate) fn run(self, times: u32, sizes: Sizes) {
        let mut lone = Lone::new(sizes, self != Work::BlockComes);
        match self {
            Work::BlockComes => lone.give_blocks(BLOCKS + times),
            Work::BlockGoes => lone.take_blocks(BLOCKS + times),
            Work::Have => lone.tell_of_pieces(0..1000 + times),
            Work::Interest => (0..WORDS + times).for_each(|i| {
                let interested = i % 2 == 1;
                lone.say_first(if interested { Message::Interested } else { Message::NotInterested });
            }),
            Work::KeepAlive => (0..WORDS + times).for_each(|_| lone.say_first(Message::KeepAlive)),
            Work::Cancel => {
                lone.take_blocks(1);
                lone.deaf = true;
                lone.take_blocks(ON_THE_WAY);
                lone.ask_and_cancel(WORDS + times);
            }
        }
    }
}
