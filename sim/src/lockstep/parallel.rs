//! Many runs side by side. A run is deterministic by itself; only the order in which runs end is not.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// As many threads as the machine has cores for us.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Calls `run` for each number on so many `threads`, and `note` with each result, one at a time, in the order in which they end.
///
/// # Panics
/// When `run` or `note` panics.
pub fn side_by_side<R>(
    numbers: Range<u64>,
    threads: usize,
    run: impl Fn(u64) -> R + Sync,
    note: impl FnMut(u64, R) + Send,
) {
    let next = AtomicU64::new(numbers.start);
    let note = Mutex::new(note);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    let result = run(number);
                    // Poisoned: another thread has panicked, and the scope will.
                    let Ok(mut note) = note.lock() else { return };
                    note(number, result);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_run_once() {
        let mut seen = Vec::new();
        side_by_side(5..105, 4, |number| number * 2, |number, double| seen.push((number, double)));
        seen.sort_unstable();
        assert_eq!(seen, (5..105).map(|number| (number, number * 2)).collect::<Vec<_>>());
    }
}
