//! SHA-1 in lanes is SHA-1: on every backend of this processor, for any number of streams, lengths and cuts.
//!
//! Input: a [`Plan`], as `arbitrary` reads it. The streams' bytes are taken from `bytes`, each from a place of its own.

use arbitrary::{Arbitrary, Unstructured};
use sha_lanes::{Backend, Block, Job, Lanes, Stream};
use sha1::{Digest, Sha1};

/// More streams than the widest backend has lanes, so that some wait.
const MAX_STREAMS: usize = 40;

#[derive(Arbitrary, Debug)]
struct Plan<'a> {
    /// Of each stream: from where, and lengths in bytes of what is absorbed in one call after the other.
    streams: Vec<(u8, Vec<u8>)>,
    bytes: &'a [u8],
}

/// Runs a plan on every backend, alone and mixed.
pub fn check(data: &[u8]) {
    let Ok(plan) = Plan::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let messages: Vec<Vec<&[u8]>> =
        plan.streams.iter().take(MAX_STREAMS).map(|(from, parts)| message(plan.bytes, *from, parts)).collect();
    let expected: Vec<[u8; 20]> = messages.iter().map(|parts| Sha1::digest(parts.concat()).into()).collect();
    let only = Backend::ALL.into_iter().filter_map(Lanes::only);
    for lanes in only.chain(Backend::ALL.into_iter().map(Lanes::up_to)) {
        assert_eq!(digests(lanes, &messages), expected, "{lanes:?}");
    }
}

/// What one stream absorbs: all parts but the last are whole blocks.
fn message<'a>(bytes: &'a [u8], from: u8, parts: &[u8]) -> Vec<&'a [u8]> {
    let rest = &bytes[usize::from(from).min(bytes.len())..];
    let part = |(n, len): (usize, &u8)| {
        let len = usize::from(*len).min(rest.len());
        &rest[..if n + 1 == parts.len() { len } else { len & !63 }]
    };
    parts.iter().enumerate().map(part).collect()
}

/// Every stream absorbs its first part together with the others, and so on.
fn digests(lanes: Lanes, messages: &[Vec<&[u8]>]) -> Vec<[u8; 20]> {
    let mut streams = vec![Stream::default(); messages.len()];
    let rounds = messages.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let slices: Vec<[&[Block]; 2]> =
            messages.iter().map(|parts| in_two(parts.get(round).copied().unwrap_or_default())).collect();
        let mut jobs: Vec<Job<'_>> =
            streams.iter().zip(&slices).map(|(stream, slices)| Job { stream: *stream, slices }).collect();
        lanes.absorb(&mut jobs);
        streams = jobs.into_iter().map(|job| job.stream).collect();
    }
    let end = |parts: &Vec<&[u8]>| parts.last().map_or(&[][..], |last| &last[last.len() & !63..]).to_vec();
    streams.iter().zip(messages).map(|(stream, parts)| stream.finish(&end(parts))).collect()
}

/// In two slices, so that a lane goes on from one to the next.
fn in_two(part: &[u8]) -> [&[Block]; 2] {
    let blocks = part.as_chunks().0;
    let (first, second) = blocks.split_at(blocks.len() / 2);
    [first, second]
}
