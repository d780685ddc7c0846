//! What the kernel runs on, and which of it this processor has.
//!
//! The modules with the name of an instruction set are the only ones with unsafe code; each opens with its argument.

#[cfg(not(target_arch = "x86_64"))]
mod absent;
mod array;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "instructions by name; the argument stands at the top of the module")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "instructions by name; the argument stands at the top of the module")]
mod avx512;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "instructions by name; the argument stands at the top of the module")]
mod sha_ni;

use crate::feed::{Narrow, feed};
use crate::{Backend, Job};
#[cfg(not(target_arch = "x86_64"))]
use absent::{Avx2, Avx512};
#[cfg(target_arch = "x86_64")]
use {avx2::Avx2, avx512::Avx512};

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use absent::ShaNi;
#[cfg(target_arch = "x86_64")]
pub(crate) use sha_ni::ShaNi;

/// What this processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machines {
    avx512: Option<Avx512>,
    avx2: Option<Avx2>,
    sha_ni: Option<ShaNi>,
}

impl Machines {
    pub(crate) fn detect() -> Self {
        Machines { avx512: Avx512::detect(), avx2: Avx2::detect(), sha_ni: ShaNi::detect() }
    }

    pub(crate) fn has(&self, backend: Backend) -> bool {
        match backend {
            Backend::One | Backend::Portable => true,
            Backend::ShaNi => self.sha_ni.is_some(),
            Backend::Avx2 => self.avx2.is_some(),
            Backend::Avx512 => self.avx512.is_some(),
        }
    }

    pub(crate) fn sha_ni(&self) -> Option<ShaNi> {
        self.sha_ni
    }

    /// One that is not there hashes one stream at a time.
    pub(crate) fn absorb(&self, backend: Backend, jobs: &mut [Job<'_>], narrow: Narrow) {
        match (backend, self.avx512, self.avx2) {
            (Backend::Avx512, Some(avx512), _) => feed(jobs, narrow, |state, blocks| avx512.compress(state, blocks)),
            (Backend::Avx2, _, Some(avx2)) => feed(jobs, narrow, |state, blocks| avx2.compress(state, blocks)),
            // Few streams share these lanes too, to find out which are the longest.
            _ => feed(jobs, narrow, array::compress_arrays),
        }
    }
}
