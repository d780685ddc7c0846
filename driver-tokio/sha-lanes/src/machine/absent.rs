//! Machines of other processors: there are none of them here, so nothing ever calls them.

use crate::Block;
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

            pub(crate) fn compress(self, _: &mut [[u32; $lanes]; 5], _: &[&[Block]; $lanes]) {
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

    pub(crate) fn compress(self, _: [&mut [u32; 5]; 2], _: [&[Block]; 2]) {
        match self.0 {}
    }
}
