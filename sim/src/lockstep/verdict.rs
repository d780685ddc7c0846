//! One scenario run to its verdict: a summary, or the failure as a value. It never prints.

use super::checks::{Check, SharedScene};
use super::faults::Fault;
use super::phases::{Summary, run};
use super::scenario::Scenario;
use sameseed_core::time::Instant;
use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Columns above the lines of a log.
pub const COLUMNS: &str = "     seconds     step  host     what";

/// A law was broken, or something panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The law; `None` for a panic that names none.
    pub check: Option<Check>,
    /// The message as it was given.
    pub text: String,
    /// File, line and column of the panic.
    pub place: String,
    /// Whom it happened to.
    pub host: usize,
    /// The step of the world.
    pub step: u64,
    /// The simulated time.
    pub now: Instant,
    /// How often each fault had struck.
    pub counts: Vec<u64>,
    /// The hosts to look at: the one it happened to, then those at the other ends of the connections that the message names.
    pub involved: Vec<usize>,
}

thread_local! {
    /// A panic of this thread is noted instead of printed.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// Where the last such panic happened.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics of runs are noted in silence; all others go the way they went.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if WATCHED.get() {
                PLACE.set(info.location().map(ToString::to_string).unwrap_or_default());
            } else {
                before(info);
            }
        }));
    });
}

/// Runs a scenario; what is known of it stands in `scene` afterwards.
///
/// # Errors
/// When a law is broken, or anything panics.
pub fn attempt(scenario: &Scenario, scene: &SharedScene) -> Result<Summary, Box<Failure>> {
    watch_panics();
    WATCHED.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| run(scenario, scene)));
    WATCHED.set(false);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        Box::new(Failure::new(text, PLACE.take(), scene))
    })
}

impl Failure {
    fn new(text: String, place: String, scene: &SharedScene) -> Self {
        let scene = scene.borrow();
        let check = Check::ALL.iter().copied().find(|check| text.starts_with(&format!("{check:?}: ")));
        let named = text.split_once("(host-").filter(|_| check.is_some()).and_then(|(_, rest)| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        });
        let host = named.unwrap_or(scene.host);
        let mut involved = vec![host];
        let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        for (here, conn, there) in &scene.neighbours {
            if *here == host && words.contains(&conn.to_string().as_str()) && !involved.contains(there) {
                involved.push(*there);
            }
        }
        let (step, now, counts) = (scene.steps, scene.now, scene.counts.clone());
        Failure { check, text, place, host, step, now, counts, involved }
    }

    /// What tells this failure from others: the law, or the place of the panic.
    pub fn name(&self) -> String {
        self.check.map_or_else(|| format!("panic at {}", self.place), |check| format!("{check:?}"))
    }

    /// What should have held.
    pub fn sentence(&self) -> &'static str {
        self.check.map_or("nothing panics, whatever the others do", Check::sentence)
    }

    /// The whole story, without the log.
    pub fn report(&self) -> String {
        let mut out = format!("FAILED {}: {}\n", self.name(), self.sentence());
        let Failure { host, step, place, .. } = self;
        let seconds = self.now.as_micros() as f64 / 1e6;
        // Writing to a string never fails.
        let _ = writeln!(out, "host-{host}, step {step}, {seconds:.6} s simulated, {place}");
        let _ = writeln!(out, "{}", self.text);
        let _ = write!(out, "faults: {}", told(&self.counts));
        out
    }
}

/// The faults that struck, and how often.
pub fn told(counts: &[u64]) -> String {
    let struck = Fault::ALL.iter().zip(counts).filter(|(_, count)| **count > 0);
    let struck: Vec<String> = struck.map(|(fault, count)| format!("{} {count}", fault.name())).collect();
    if struck.is_empty() { String::from("none") } else { struck.join(", ") }
}

/// One number for many traces, in the order of their seeds.
pub fn combined(traces: impl IntoIterator<Item = u64>) -> u64 {
    let mix = |hash: u64, trace: u64| (hash ^ trace).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    traces.into_iter().fold(0, mix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::id::ConnId;

    fn scene() -> SharedScene {
        let scene = SharedScene::default();
        (scene.borrow_mut().host, scene.borrow_mut().steps) = (7, 11);
        scene.borrow_mut().neighbours = vec![(3, ConnId::dialed(1), 5), (3, ConnId::dialed(10), 6)];
        scene
    }

    #[test]
    fn a_broken_law_is_known_by_its_name_with_both_ends_of_the_connection() {
        let text = format!("ChokedRequest: {} (host-3: out1: (0, 0, 5))", Check::ChokedRequest.sentence());
        let failure = Failure::new(text, String::from("checks.rs:1:2"), &scene());
        assert_eq!((failure.check, failure.host, failure.step), (Some(Check::ChokedRequest), 3, 11));
        assert_eq!(failure.involved, [3, 5]);
        assert_eq!(failure.name(), "ChokedRequest");
    }

    #[test]
    fn a_panic_is_known_by_its_place() {
        let failure = Failure::new(String::from("overflow"), String::from("pieces.rs:9:1"), &scene());
        assert_eq!((failure.check, failure.host), (None, 7));
        assert_eq!(failure.name(), "panic at pieces.rs:9:1");
        assert!(failure.report().contains("host-7, step 11"));
    }
}
