//! Every backend of this processor gives what the crate `sha1` gives.

use proptest::collection::vec;
use proptest::prelude::*;
use sha_lanes::{Absorbed, Backend, Block, Job, Lanes, Reading, Stream};
use sha1::{Digest, Sha1};

/// Each backend alone, and each as the widest of a mixture.
fn all() -> Vec<Lanes> {
    let only = Backend::ALL.into_iter().filter_map(Lanes::only);
    only.chain(Backend::ALL.into_iter().map(Lanes::up_to)).collect()
}

fn expected(bytes: &[u8]) -> [u8; 20] {
    Sha1::digest(bytes).into()
}

/// Hashes messages side by side, each cut into slices of `cuts` blocks in turn; the ragged ends are left to `finish`.
fn side_by_side(lanes: Lanes, messages: &[Vec<u8>], cuts: &[usize]) -> Vec<[u8; 20]> {
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
    let mut jobs: Vec<Job<'_>> = slices.iter().map(|slices| Job { stream: Stream::default(), slices }).collect();
    lanes.absorb(&mut jobs);
    let finish = |(job, message): (&Job<'_>, &Vec<u8>)| {
        let end = message.as_chunks::<64>().1;
        assert_eq!(job.stream.len_bytes as usize, message.len() - end.len());
        job.stream.finish(end)
    };
    jobs.iter().zip(messages).map(finish).collect()
}

#[test]
fn the_vectors_of_the_standard_hold_on_every_backend() {
    let messages: [&[u8]; 5] = [
        b"",
        b"abc",
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        &[b'a'; 1_000_000],
    ];
    let digests = [
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        "a49b2446a02c645bf419f995b67091253a04a259",
        "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
    ];
    let messages = messages.map(<[u8]>::to_vec);
    for lanes in all() {
        for copies in [1, 4] {
            let digests: Vec<&str> = digests.into_iter().cycle().take(digests.len() * copies).collect();
            let found = side_by_side(lanes, &vec![messages.to_vec(); copies].concat(), &[100]);
            let hex = |digest: &[u8; 20]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert_eq!(found.iter().map(hex).collect::<Vec<_>>(), digests, "{lanes:?}");
        }
    }
}

#[test]
fn no_job_and_jobs_of_nothing_are_left_as_they_are() {
    for lanes in all() {
        lanes.absorb(&mut []);
        let stream = Stream { words: [1, 2, 3, 4, 5], len_bytes: 64 };
        let empty: [&[Block]; 2] = [&[], &[]];
        let mut jobs = [&empty[..0], &empty].map(|slices| Job { stream, slices });
        lanes.absorb(&mut jobs);
        assert!(jobs.iter().all(|job| job.stream == stream), "{lanes:?}");
    }
}

#[test]
fn what_is_chosen_is_there_and_no_wider_than_allowed() {
    for widest in Backend::ALL {
        let chosen = Lanes::up_to(widest).backend();
        assert!(chosen <= widest && Lanes::only(chosen).is_some());
    }
    assert_eq!(Lanes::best().backend(), Lanes::up_to(Backend::Avx512).backend());
    assert_eq!(Lanes::up_to(Backend::Portable).backend(), Backend::One);
}

proptest! {
    #[test]
    fn any_number_of_messages_of_any_length_and_cut(
        messages in vec(prop_oneof![vec(any::<u8>(), 0..700), vec(any::<u8>(), 0..6000)], 0..40),
        cuts in vec(1usize..30, 1..8),
    ) {
        let digests: Vec<[u8; 20]> = messages.iter().map(|message| expected(message)).collect();
        for lanes in all() {
            prop_assert_eq!(&side_by_side(lanes, &messages, &cuts), &digests, "{:?}", lanes);
        }
    }

    #[test]
    fn a_stream_goes_on_where_another_backend_left_it(bytes in vec(any::<u8>(), 0..4000), cut in 0usize..60) {
        let (blocks, end) = bytes.as_chunks();
        let (first, second) = blocks.split_at(cut.min(blocks.len()));
        for lanes in all().windows(2) {
            let mut jobs = [Job { stream: Stream::default(), slices: &[first] }];
            lanes[0].absorb(&mut jobs);
            jobs[0].slices = std::slice::from_ref(&second);
            lanes[1].absorb(&mut jobs);
            prop_assert_eq!(jobs[0].stream.finish(end), expected(&bytes));
        }
    }

    #[test]
    fn ranges_that_are_read_in_turns_are_hashed_as_a_whole_and_one_that_fails_ends_alone(
        messages in vec(vec(any::<u8>(), 0..3000), 1..20),
        broken in any::<proptest::sample::Index>(),
        room in 1usize..9,
    ) {
        let broken = broken.index(messages.len());
        let mut scratch = vec![0; messages.len() * room * 64 + 17];
        for lanes in all() {
            let range = |message: &Vec<u8>| {
                Reading { stream: Stream::default(), len_bytes: message.len() as u64, last: true }
            };
            let ranges: Vec<Reading> = messages.iter().map(range).collect();
            let results = lanes.read(&mut scratch, &ranges, |which, at, chunk: &mut [u8]| {
                // The broken one fails at its second read, if it has one.
                if which == broken && at > 0 {
                    return Err(which);
                }
                chunk.copy_from_slice(&messages[which][at as usize..][..chunk.len()]);
                Ok(())
            });
            for (which, (result, message)) in results.iter().zip(&messages).enumerate() {
                let fails = which == broken && message.len() > room * 64;
                let wanted = if fails { Err(which) } else { Ok(Absorbed::Finished(expected(message))) };
                prop_assert_eq!(result, &wanted, "{:?}", lanes);
            }
            prop_assert_eq!(results.len(), messages.len());
        }
    }
}

#[test]
fn a_range_in_mid_stream_leaves_the_stream_running() {
    let bytes: Vec<u8> = (0..=255).cycle().take(64 * 10 + 5).collect();
    for lanes in all() {
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
        assert_eq!(ended, [Ok(Absorbed::Finished(expected(&bytes)))]);
    }
}
