//! Many runs side by side. A run is deterministic by itself; only the order in which runs end is not. One that never ends is told of, too.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A run that takes longer hangs: an engine that never comes back from an event cannot be stopped otherwise. Most take some 50 ms.
const HANGS_AFTER: Duration = Duration::from_secs(180);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// As many threads as the machine has cores for us.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Calls `run` for each number on so many `threads`, and `note` with each result, one at a time, in the order in which they end.
///
/// A run that hangs ends the process with code 101, after its number was printed.
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
    let under_way: Vec<Mutex<Option<(u64, Instant)>>> = (0..threads.max(1)).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        let (alive, all_gone) = channel::<()>();
        let under_way = &under_way;
        scope.spawn(move || {
            while all_gone.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                under_way.iter().for_each(|place| tell_if_it_hangs(*look(place)));
            }
        });
        for place in under_way {
            let (alive, next, note, run): (Sender<()>, _, _, _) = (alive.clone(), &next, &note, &run);
            scope.spawn(move || {
                // Given up with the thread, also by a panic: the last one ends the watch.
                let _alive = alive;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    *look(place) = Some((number, now()));
                    let result = run(number);
                    *look(place) = None;
                    // Poisoned: another thread has panicked, and the scope will.
                    let Ok(mut note) = note.lock() else { return };
                    note(number, result);
                }
            });
        }
    });
}

fn look<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "whether a run hangs is a matter of real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stderr, reason = "nobody else is left to say it")]
fn tell_if_it_hangs(run: Option<(u64, Instant)>) {
    if let Some((number, began)) = run
        && now().duration_since(began) > HANGS_AFTER
    {
        eprintln!(
            "number {number} has not come to its end in {HANGS_AFTER:?}: it hangs. Look with: cargo run --release -p sim -- run {number}"
        );
        std::process::exit(101);
    }
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
