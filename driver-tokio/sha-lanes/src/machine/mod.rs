//! What the kernels run on, and which of it this processor has.
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
use crate::{Algorithm, Backend, Job};
#[cfg(not(target_arch = "x86_64"))]
use absent::{Avx2, Avx512};
use array::Array;
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
    pub(crate) fn absorb<A: Algorithm>(&self, backend: Backend, jobs: &mut [Job<'_, A>], narrow: Narrow) {
        match (backend, self.avx512, self.avx2) {
            (Backend::Avx512, Some(avx512), _) => feed(jobs, narrow, |rows, blocks| avx512.compress::<A>(rows, blocks)),
            (Backend::Avx2, _, Some(avx2)) => feed(jobs, narrow, |rows, blocks| avx2.compress::<A>(rows, blocks)),
            // Few streams share these lanes too, to find out which are the longest.
            _ => feed(jobs, narrow, |rows, blocks| Array.compress::<A>(rows, blocks)),
        }
    }
}
