//! SHA-1 and SHA-256 of several streams side by side.
//!
//! One stream cannot use a modern processor: each round waits for the one before. Several streams can, since they do not wait for each other. So who has many pieces to hash
//! gives them to this crate at once, each as a [`Job`]: where the stream stands, and what comes next.
//!
//! ```
//! use sha_lanes::{Job, Lanes, Sha256, Stream};
//!
//! let first = [7; 1024];
//! let second = [8; 64];
//! let (first, second) = (&[first.as_chunks().0][..], &[second.as_chunks().0][..]);
//! let mut jobs: [Job<'_, Sha256>; 2] = [
//!     Job { stream: Stream::default(), slices: first },
//!     Job { stream: Stream::default(), slices: second },
//! ];
//! Lanes::best().absorb(&mut jobs);
//! let digest: [u8; 32] = jobs[1].stream.finish(b"and a ragged end");
//! # use sha2::{Digest, Sha256 as Reference};
//! # assert_eq!(digest[..], Reference::digest([&[8; 64][..], b"and a ragged end"].concat())[..]);
//! ```
//!
//! Which of the two is told by a type, [`Sha1`] or [`Sha256`]: every type that has to do with a stream takes it as a parameter, and means SHA-1 when none is named. They share all but their words and
//! their rounds (see [`Algorithm`]). Streams of both cannot lie side by side, so who has both makes two calls, with a [`Lanes`] of each: both are only a choice, and cost nothing to keep.
//!
//! A [`Stream`] is plain data: five or eight words, and a length. It can be kept, copied, sent elsewhere and gone on with, by another thread and another
//! backend. Blocks have 64 bytes; the ragged end, and with it the padding, belongs to [`Stream::finish`].
//!
//! What stands in files need not be in memory: [`Lanes::read`] reads several ranges in turns and hashes them side by side.
//!
//! # What it is hashed by
//!
//! | [`Backend`] | streams at a time | needs |
//! |---|---|---|
//! | `Avx512` | 16 | AVX-512 F and BW |
//! | `Avx2` | 8 | AVX2 |
//! | `ShaNi` | 2, interleaved | SHA-NI |
//! | `One` | 1, by the crates `sha1` and `sha2` | nothing; those crates use what there is |
//! | `Portable` | 4 | nothing. The same kernels as the first two, on arrays |
//!
//! [`Lanes::best`] takes the best that this processor has, asked at run time. For SHA-1 that is the widest. For SHA-256, SHA-NI comes before AVX2: its instructions do more of that algorithm's work. While few
//! jobs are left, empty lanes would cost as much as full ones: then SHA-NI takes over, or one stream at a time. Where that border lies was measured for each algorithm, see PERFORMANCE.md. [`Lanes::only`] never
//! mixes: for tests and measurements.
//!
//! It pays to come with as many jobs as [`Lanes::width`] says, or more, of similar length. Jobs may differ in length and in how they are cut: a lane that becomes empty gets the next job. What
//! is hashed should be in the cache: all streams together, so slices of 16 to 64 KiB.
//!
//! Nothing is allocated for each block, nothing is shared, and no thread is started: who has several cores calls it on several threads.
//!
//! # Unsafe code
//!
//! Instructions by name need it. It stands in the modules of `machine` that are named after instruction sets, each of which opens with its argument: a value of the machine's type is
//! the proof that the processor was asked, and memory is touched only through references to arrays. The rounds of each algorithm are written once, without unsafe code, over all widths.
//! All backends are compared with the crates `sha1` and `sha2`: over standard vectors, over generated jobs of any number, length and cut, and by a fuzzer.
//!
//! SHA-1 is broken as a proof against forgers. It is here because pieces of BitTorrent's first version are named by it; SHA-256, because those of the second are.

mod algorithm;
mod feed;
mod kernel;
mod machine;
mod page_buffer;
mod reading;

pub use algorithm::{Algorithm, Sha1, Sha256};
pub use page_buffer::PageBuffer;
pub use reading::{Absorbed, Reading};

use feed::Narrow;
use machine::Machines;
use std::marker::PhantomData;

/// Bytes of a block: what is taken in at a time.
pub const BLOCK_BYTES: usize = 64;

/// What is taken in at a time.
pub type Block = [u8; BLOCK_BYTES];

/// A hash in mid-stream, between two blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream<A: Algorithm = Sha1> {
    /// The state (FIPS 180-4, section 6).
    pub words: A::Words,
    /// What was absorbed.
    pub len_bytes: u64,
}

impl<A: Algorithm> Default for Stream<A> {
    fn default() -> Self {
        Stream { words: A::START, len_bytes: 0 }
    }
}

impl<A: Algorithm> Stream<A> {
    /// Absorbs the end, which may have any length, and gives the digest.
    pub fn finish(mut self, end: &[u8]) -> A::Digest {
        let len_bits = (self.len_bytes + end.len() as u64) * 8;
        let (whole, ragged) = end.as_chunks();
        A::one(&mut self.words, whole);
        // A one, zeros, and the length in bits (FIPS 180-4, section 5.1.1).
        let mut padded: [Block; 2] = [[0; BLOCK_BYTES]; 2];
        let used = if ragged.len() < BLOCK_BYTES - 8 { 1 } else { 2 };
        let flat = padded.as_flattened_mut();
        flat[..ragged.len()].copy_from_slice(ragged);
        flat[ragged.len()] = 0x80;
        flat[used * BLOCK_BYTES - 8..used * BLOCK_BYTES].copy_from_slice(&len_bits.to_be_bytes());
        A::one(&mut self.words, &padded[..used]);
        let mut digest = A::Digest::default();
        let out = digest.as_mut().as_chunks_mut().0;
        out.iter_mut().zip(self.words.as_ref()).for_each(|(out, word)| *out = word.to_be_bytes());
        digest
    }
}

/// A stream, and what it is to absorb.
#[derive(Clone, Debug)]
pub struct Job<'a, A: Algorithm = Sha1> {
    /// Where the stream stands; afterwards, where it stands then.
    pub stream: Stream<A>,
    /// The next blocks, in order, wherever they lie.
    pub slices: &'a [&'a [Block]],
}

/// What hashes; see the table in the crate's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// One stream at a time.
    One,
    /// Four streams in arrays, without any special instruction.
    Portable,
    /// Two streams, interleaved.
    ShaNi,
    /// Eight streams.
    Avx2,
    /// Sixteen streams.
    Avx512,
}

impl Backend {
    /// All there are, the widest last.
    pub const ALL: [Backend; 5] = [Backend::One, Backend::Portable, Backend::ShaNi, Backend::Avx2, Backend::Avx512];
}

/// Fewer ready lanes than this are faster without vectors. Measured: see PERFORMANCE.md.
fn border<A: Algorithm>(backend: Backend, has_sha_ni: bool) -> usize {
    match backend {
        Backend::One | Backend::ShaNi => usize::MAX,
        _ if has_sha_ni => A::MIN_LANES,
        // Without SHA-NI two streams one after the other take longer than a full set of lanes.
        _ => 2,
    }
}

/// The backend that was chosen for an algorithm. Cheap to copy; it holds no state.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<A: Algorithm = Sha1> {
    backend: Backend,
    machines: Machines,
    narrow: Narrow,
    algorithm: PhantomData<A>,
}

impl<A: Algorithm> Lanes<A> {
    /// The best that this processor has.
    pub fn best() -> Self {
        Lanes::up_to(Backend::Avx512)
    }

    /// The best that this processor has, but nothing wider than `backend`; for few jobs something narrower, where that is faster.
    pub fn up_to(backend: Backend) -> Self {
        let machines = Machines::detect();
        let has = |choice: &Backend| *choice <= backend && machines.has(*choice);
        let backend = A::BEST_FIRST.into_iter().find(has).unwrap_or(Backend::One);
        let narrow = Narrow { below: border::<A>(backend, machines.sha_ni().is_some()), pair: machines.sha_ni() };
        Lanes { backend, machines, narrow, algorithm: PhantomData }
    }

    /// This backend for any number of jobs; `None` when this processor does not have it.
    pub fn only(backend: Backend) -> Option<Self> {
        let machines = Machines::detect();
        let pair = machines.sha_ni().filter(|_| backend == Backend::ShaNi);
        let below = if matches!(backend, Backend::One | Backend::ShaNi) { usize::MAX } else { 0 };
        let narrow = Narrow { below, pair };
        machines.has(backend).then_some(Lanes { backend, machines, narrow, algorithm: PhantomData })
    }

    /// What was chosen.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// How many streams it hashes at a time: with fewer jobs it is slower for each.
    pub fn width(&self) -> usize {
        match self.backend {
            Backend::One => 1,
            Backend::ShaNi => 2,
            Backend::Avx2 => 8,
            Backend::Portable => 4,
            Backend::Avx512 => 16,
        }
    }

    /// Absorbs every job's slices into its stream.
    pub fn absorb(&self, jobs: &mut [Job<'_, A>]) {
        self.machines.absorb(self.backend, jobs, self.narrow);
    }
}
