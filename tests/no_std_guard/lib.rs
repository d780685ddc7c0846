//! The guard that keeps std out of core: a static library that links `sameseed-core` and brings its own panic handler and allocator.
//!
//! Std has both too, so the day any dependency of core sneaks std in, this no longer compiles ("duplicate lang item `panic_impl`").
//! It is built by `tests/tests/no_std.rs` and never run.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use core::alloc::{GlobalAlloc, Layout};
use sameseed_core::time::Instant;

struct NoMemory;

// The one `unsafe` of this repository: the trait asks for it, and nothing is ever allocated.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _pointer: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static NO_MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Uses core and alloc, so that both are linked.
pub fn link(at: Instant) -> Box<Instant> {
    Box::new(at)
}
