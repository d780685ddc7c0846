//! SHA-1 in lanes is SHA-1, and SHA-256 is SHA-256: on every backend of this processor, for any number of streams, lengths and cuts.
//!
//! Input: a [`Plan`], as `arbitrary` reads it. The streams' bytes are taken from `bytes`, each from a place of its own.

use arbitrary::{Arbitrary, Unstructured};
use sha_lanes::{Algorithm, Backend, Block, Job, Lanes, Sha1, Sha256, Stream};
use sha1::Digest;

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
    agree::<Sha1>(&messages, |bytes| sha1::Sha1::digest(bytes).into());
    // `finish` takes a whole message by the crate `sha2`; its padding is that of SHA-1, which stands above.
    agree::<Sha256>(&messages, |bytes| Stream::<Sha256>::default().finish(bytes));
}

/// Every backend says of each message what `expected` says.
fn agree<A: Algorithm>(messages: &[Vec<&[u8]>], expected: impl Fn(&[u8]) -> A::Digest) {
    let expected: Vec<A::Digest> = messages.iter().map(|parts| expected(&parts.concat())).collect();
    let only = Backend::ALL.into_iter().filter_map(Lanes::<A>::only);
    for lanes in only.chain(Backend::ALL.into_iter().map(Lanes::up_to)) {
        assert_eq!(digests(lanes, messages), expected, "{lanes:?}");
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
fn digests<A: Algorithm>(lanes: Lanes<A>, messages: &[Vec<&[u8]>]) -> Vec<A::Digest> {
    let mut streams = vec![Stream::default(); messages.len()];
    let rounds = messages.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let slices: Vec<[&[Block]; 2]> =
            messages.iter().map(|parts| in_two(parts.get(round).copied().unwrap_or_default())).collect();
        let mut jobs: Vec<Job<'_, A>> =
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
