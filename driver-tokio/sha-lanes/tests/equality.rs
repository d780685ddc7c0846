//! Every backend of this processor gives what the crates `sha1` and `sha2` give.

use proptest::collection::vec;
use proptest::prelude::*;
use sha_lanes::{Absorbed, Algorithm, Backend, Block, Job, Lanes, Reading, Sha1, Sha256, Stream};
use sha2::Digest;

/// An algorithm with a second opinion.
trait Known: Algorithm {
    /// What another crate says.
    fn expected(bytes: &[u8]) -> Self::Digest;
}

impl Known for Sha1 {
    fn expected(bytes: &[u8]) -> [u8; 20] {
        sha1::Sha1::digest(bytes).into()
    }
}

impl Known for Sha256 {
    fn expected(bytes: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(bytes).into()
    }
}

/// Each backend alone, and each as the widest of a mixture.
fn all<A: Algorithm>() -> Vec<Lanes<A>> {
    let only = Backend::ALL.into_iter().filter_map(Lanes::only);
    only.chain(Backend::ALL.into_iter().map(Lanes::up_to)).collect()
}

/// Hashes messages side by side, each cut into slices of `cuts` blocks in turn; the ragged ends are left to `finish`.
fn side_by_side<A: Algorithm>(lanes: Lanes<A>, messages: &[Vec<u8>], cuts: &[usize]) -> Vec<A::Digest> {
    let mut cuts = cuts.iter().cycle();
    let mut cut = |message| {
        let mut rest: &[Block] = <[u8]>::as_chunks(message).0;
        let mut slices = Vec::new();
        for cut in cuts.by_ref() {
            let (slice, after) = rest.split_at(rest.len().min(*cut));
            slices.push(slice);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        slices
    };
    let slices: Vec<Vec<&[Block]>> = messages.iter().map(|message| cut(message.as_slice())).collect();
    let mut jobs: Vec<Job<'_, A>> = slices.iter().map(|slices| Job { stream: Stream::default(), slices }).collect();
    lanes.absorb(&mut jobs);
    let finish = |(job, message): (&Job<'_, A>, &Vec<u8>)| {
        let end = message.as_chunks::<64>().1;
        assert_eq!(job.stream.len_bytes as usize, message.len() - end.len());
        job.stream.finish(end)
    };
    jobs.iter().zip(messages).map(finish).collect()
}

/// Hashes the messages of the standard's examples: nothing, one block, two (those of the second are longer), and many.
fn examples_hold<A: Algorithm>(digests: [&str; 5]) {
    let messages: [&[u8]; 5] = [
        b"",
        b"abc",
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        &[b'a'; 1_000_000],
    ];
    let messages = messages.map(<[u8]>::to_vec);
    for lanes in all::<A>() {
        for copies in [1, 4] {
            let digests: Vec<&str> = digests.into_iter().cycle().take(digests.len() * copies).collect();
            let found = side_by_side(lanes, &vec![messages.to_vec(); copies].concat(), &[100]);
            let hex = |digest: &A::Digest| digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert_eq!(found.iter().map(hex).collect::<Vec<_>>(), digests, "{lanes:?}");
        }
    }
}

#[test]
fn the_vectors_of_the_standard_hold_on_every_backend() {
    examples_hold::<Sha1>([
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        "a49b2446a02c645bf419f995b67091253a04a259",
        "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
    ]);
    examples_hold::<Sha256>([
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    ]);
}

fn nothing_changes_nothing<A: Algorithm>() {
    for lanes in all::<A>() {
        lanes.absorb(&mut []);
        let mut stream = Stream::<A> { len_bytes: 64, ..Stream::default() };
        stream.words.as_mut().iter_mut().zip(1..).for_each(|(word, n)| *word = n);
        let empty: [&[Block]; 2] = [&[], &[]];
        let mut jobs = [&empty[..0], &empty].map(|slices| Job { stream, slices });
        lanes.absorb(&mut jobs);
        assert!(jobs.iter().all(|job| job.stream == stream), "{lanes:?}");
    }
}

#[test]
fn no_job_and_jobs_of_nothing_are_left_as_they_are() {
    nothing_changes_nothing::<Sha1>();
    nothing_changes_nothing::<Sha256>();
}

fn choice_is_allowed<A: Algorithm>() {
    for widest in Backend::ALL {
        let chosen = Lanes::<A>::up_to(widest).backend();
        assert!(chosen <= widest && Lanes::<A>::only(chosen).is_some());
    }
    assert_eq!(Lanes::<A>::best().backend(), Lanes::<A>::up_to(Backend::Avx512).backend());
    assert_eq!(Lanes::<A>::up_to(Backend::Portable).backend(), Backend::One);
}

#[test]
fn what_is_chosen_is_there_and_no_wider_than_allowed() {
    choice_is_allowed::<Sha1>();
    choice_is_allowed::<Sha256>();
}

#[test]
fn sha_256_takes_sha_ni_before_avx2() {
    let has = |backend| Lanes::<Sha256>::only(backend).is_some();
    if has(Backend::ShaNi) {
        assert_eq!(Lanes::<Sha256>::up_to(Backend::Avx2).backend(), Backend::ShaNi);
    }
    if has(Backend::Avx2) {
        assert_eq!(Lanes::<Sha1>::up_to(Backend::Avx2).backend(), Backend::Avx2);
    }
}

fn messages_hold<A: Known>(messages: &[Vec<u8>], cuts: &[usize]) -> Result<(), TestCaseError> {
    let digests: Vec<A::Digest> = messages.iter().map(|message| A::expected(message)).collect();
    for lanes in all::<A>() {
        prop_assert_eq!(&side_by_side(lanes, messages, cuts), &digests, "{:?}", lanes);
    }
    Ok(())
}

fn backends_go_on<A: Known>(bytes: &[u8], cut: usize) -> Result<(), TestCaseError> {
    let (blocks, end) = bytes.as_chunks();
    let (first, second) = blocks.split_at(cut.min(blocks.len()));
    for lanes in all::<A>().windows(2) {
        let mut jobs = [Job { stream: Stream::default(), slices: &[first] }];
        lanes[0].absorb(&mut jobs);
        jobs[0].slices = std::slice::from_ref(&second);
        lanes[1].absorb(&mut jobs);
        prop_assert_eq!(jobs[0].stream.finish(end), A::expected(bytes));
    }
    Ok(())
}

/// `room`: blocks of memory for each message.
fn ranges_hold<A: Known>(messages: &[Vec<u8>], broken: usize, room: usize) -> Result<(), TestCaseError> {
    let mut scratch = vec![0; messages.len() * room * 64 + 17];
    for lanes in all::<A>() {
        let range =
            |message: &Vec<u8>| Reading { stream: Stream::default(), len_bytes: message.len() as u64, last: true };
        let ranges: Vec<Reading<A>> = messages.iter().map(range).collect();
        let results = lanes.read(&mut scratch, &ranges, |which, at, chunk: &mut [u8]| {
            // The broken one fails at its second read, if it has one.
            if which == broken && at > 0 {
                return Err(which);
            }
            chunk.copy_from_slice(&messages[which][at as usize..][..chunk.len()]);
            Ok(())
        });
        for (which, (result, message)) in results.iter().zip(messages).enumerate() {
            let fails = which == broken && message.len() > room * 64;
            let wanted = if fails { Err(which) } else { Ok(Absorbed::Finished(A::expected(message))) };
            prop_assert_eq!(result, &wanted, "{:?}", lanes);
        }
        prop_assert_eq!(results.len(), messages.len());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_number_of_messages_of_any_length_and_cut(
        messages in vec(prop_oneof![vec(any::<u8>(), 0..700), vec(any::<u8>(), 0..6000)], 0..40),
        cuts in vec(1usize..30, 1..8),
    ) {
        messages_hold::<Sha1>(&messages, &cuts)?;
        messages_hold::<Sha256>(&messages, &cuts)?;
    }

    #[test]
    fn a_stream_goes_on_where_another_backend_left_it(bytes in vec(any::<u8>(), 0..4000), cut in 0usize..60) {
        backends_go_on::<Sha1>(&bytes, cut)?;
        backends_go_on::<Sha256>(&bytes, cut)?;
    }

    #[test]
    fn ranges_that_are_read_in_turns_are_hashed_as_a_whole_and_one_that_fails_ends_alone(
        messages in vec(vec(any::<u8>(), 0..3000), 1..20),
        broken in any::<proptest::sample::Index>(),
        room in 1usize..9,
    ) {
        let broken = broken.index(messages.len());
        ranges_hold::<Sha1>(&messages, broken, room)?;
        ranges_hold::<Sha256>(&messages, broken, room)?;
    }
}

fn ranges_go_on<A: Known>() {
    let bytes: Vec<u8> = (0..=255).cycle().take(64 * 10 + 5).collect();
    for lanes in all::<A>() {
        let copy = |from: usize| {
            let bytes = &bytes[from..];
            move |_: usize, at: u64, chunk: &mut [u8]| -> Result<(), ()> {
                chunk.copy_from_slice(&bytes[at as usize..][..chunk.len()]);
                Ok(())
            }
        };
        let first = Reading { stream: Stream::default(), len_bytes: 256, last: false };
        let [Ok(Absorbed::Running(stream))] = lanes.read(&mut [0; 128], &[first], copy(0))[..] else { panic!() };
        let second = Reading { stream, len_bytes: 64 * 6 + 5, last: true };
        let ended = lanes.read(&mut [0; 128], &[second], copy(256));
        assert_eq!(ended, [Ok(Absorbed::Finished(A::expected(&bytes)))]);
    }
}

#[test]
fn a_range_in_mid_stream_leaves_the_stream_running() {
    ranges_go_on::<Sha1>();
    ranges_go_on::<Sha256>();
}
