//! Threads for the world around the program under test. They end with the process: nothing waits for them.

/// Does `work` on a thread of its own.
#[expect(clippy::disallowed_methods, reason = "the world around the program under test has threads of its own")]
pub fn in_background(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}
