//! Machines of other processors: there are none of them here, so nothing ever calls them.

use crate::kernel::Rows;
use crate::{Algorithm, Block};
use std::convert::Infallible;

macro_rules! absent {
    ($name:ident, $lanes:literal) => {
        /// Never there.
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name(Infallible);

        impl $name {
            pub(crate) fn detect() -> Option<Self> {
                None
            }

            #[expect(clippy::extra_unused_type_parameters, reason = "callers name it: it is that of the real machines")]
            pub(crate) fn compress<A: Algorithm>(self, _: &mut Rows<$lanes>, _: &[&[Block]; $lanes]) {
                match self.0 {}
            }
        }
    };
}
absent!(Avx2, 8);
absent!(Avx512, 16);

/// Never there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShaNi(Infallible);

impl ShaNi {
    pub(crate) fn detect() -> Option<Self> {
        None
    }

    pub(crate) fn sha1(self, _: [&mut [u32; 5]; 2], _: [&[Block]; 2]) {
        match self.0 {}
    }

    pub(crate) fn sha256(self, _: [&mut [u32; 8]; 2], _: [&[Block]; 2]) {
        match self.0 {}
    }
}
