//! Each backend, for each algorithm, over streams that fit in the cache. Figures are for one core; what counts is the ratio between rows.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use sha_lanes::{Algorithm, Backend, Block, Job, Lanes, Sha1, Sha256, Stream};

fn main() {
    divan::main();
}

/// Bytes of all streams together: half of the second-level cache of most processors.
const ALL_BYTES: usize = 256 << 10;

/// So many jobs, which share `ALL_BYTES`.
fn hash<A: Algorithm>(bencher: Bencher<'_, '_>, lanes: Lanes<A>, jobs: usize) {
    let data = vec![[7; 64]; ALL_BYTES / 64 / jobs];
    let streams: Vec<Vec<Block>> = vec![data; jobs];
    let slices: Vec<[&[Block]; 1]> = streams.iter().map(|blocks| [blocks.as_slice()]).collect();
    bencher.counter(BytesCount::new(ALL_BYTES)).bench(|| {
        let jobs = slices.iter().map(|slices| Job { stream: Stream::default(), slices });
        let mut jobs: Vec<Job<'_, A>> = jobs.collect();
        lanes.absorb(black_box(&mut jobs));
        jobs
    });
}

/// What this processor has.
fn available() -> impl Iterator<Item = Backend> {
    Backend::ALL.into_iter().filter(|backend| Lanes::<Sha1>::only(*backend).is_some())
}

/// A backend with as many streams as it takes; and two of it at a time, as neighbours that may share a core.
#[divan::bench(types = [Sha1, Sha256], args = available(), threads = [1, 2])]
fn full<A: Algorithm>(bencher: Bencher<'_, '_>, backend: Backend) {
    if let Some(lanes) = Lanes::<A>::only(backend) {
        hash(bencher, lanes, lanes.width());
    }
}

/// Where the border lies between few streams and lanes: a backend, and how many streams are ready.
#[divan::bench(
    types = [Sha1, Sha256],
    args = available().flat_map(|backend| (1..=16).map(move |ready| (backend, ready))),
)]
fn ready<A: Algorithm>(bencher: Bencher<'_, '_>, (backend, ready): &(Backend, usize)) {
    if let Some(lanes) = Lanes::<A>::only(*backend) {
        hash(bencher, lanes, *ready);
    }
}

/// What is chosen when nothing is forced.
#[divan::bench(types = [Sha1, Sha256], args = 1..=16)]
fn best<A: Algorithm>(bencher: Bencher<'_, '_>, ready: usize) {
    hash(bencher, Lanes::<A>::best(), ready);
}
